//! What is left of a password in the program's memory when its login has been answered: nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;

use crate::instance::{configuration, plain, soon, until};
use crate::postgres::Database;

/// Hashes of [`password`], made by `doveadm pw` and by crypt(3).
const HASHES: &[(&str, &str)] = &[
    (
        "argon2id",
        "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$Vh0D9ji3Vc70eMB7NDL5bQ$i27M42Zk2Nskr0b803ACha9fk2hta1uKzBebIrA1xOc",
    ),
    ("blf-crypt", "{BLF-CRYPT}$2y$05$Ykjc5uhfJKx1AMXrzj6qi.b9B9hDHwG0FeAScMbO1WO0hKmMOzAXe"),
    (
        "sha512-crypt",
        "{SHA512-CRYPT}$6$FHV63OjAqPDxEJKV$jkDLvhnGTYvSt/usPnMmhsPO2SETpY7ZkuRJQK9S0jIu9bfZKWnW42jdOLKk9WlzygYPsltOFw403LoCiTZOF/",
    ),
    ("sha256-crypt", "{SHA256-CRYPT}$5$Nf2haxfu8nyc74Sh$EIOh3L4CGJQ4GpBGywLx6kUsMH.PmOLq8Yl4r2ZKvP."),
    ("yescrypt", "$y$j75$abcdefghijklmnop$cndaF5/2ULkFOyvtw0Ear3Y6LPd6W9hkwkWUxhdU301"),
    ("md5-crypt", "{MD5-CRYPT}$1$iNdUN64C$pIxX9QA3QQRm2jCNFdvUe0"),
    (
        "ssha512",
        "{SSHA512}MWljT0ebknSW0TABZcC+Ywd/FqeGaozdSLfshzthxybh3vHZjuVVGsFXlLuw8cHSxQCE9Wq0+XKcBr4GcxUguzztLUk=",
    ),
    ("pbkdf2", "{PBKDF2}$1$6JU.s3aop0agI5.0$5000$b4e4872ed3d54a9861db056dde484b6498b6150e"),
    (
        "scram-sha-256",
        "{SCRAM-SHA-256}4096,9z2PeYYr7Sj5dd0/IhxxEQ==,r3jyLYsyIBZ/Vvp7/qVuBM9DJVDbPq05pi50n39S1TQ=,siia0RY9qYCyplcJabgKa3WM29UxIewgdIBf00FZa4s=",
    ),
];

fn password(scheme: &str) -> String {
    format!("Xq9-Z\u{eb}bra-Tinfoil-{}", scheme.to_ascii_uppercase())
}

/// The allocator writes over the first bytes of what was given back (`malloc_chunk`'s two pointers): the rest is searched for.
const HEAD: usize = 16;

fn wrong(scheme: &str) -> String {
    format!("Wq8-Giraffe-Velvet-{scheme}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_password_stays_in_memory() {
    let (directory, database) = (tempfile::tempdir().unwrap(), Database::create().await);
    let here = directory.path();
    for (scheme, hash) in HASHES {
        let user = format!(
            "INSERT INTO users (local, domain, password_hash) VALUES ('{scheme}', 'example.com', '{hash}')"
        );
        database.sql(&user).await;
    }
    let config = here.join("gatepost.toml");
    std::fs::write(&config, configuration(here, &database.toml(), "weak-schemes = [\"MD5-CRYPT\"]")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_gatepost-dovecot-auth"))
        .arg("--config")
        .arg(&config)
        .arg("run")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .stderr(File::create(here.join("log")).unwrap())
        .spawn()
        .unwrap();
    until("it serves", async || UnixStream::connect(here.join("login")).await.is_ok()).await;
    let pid = child.id().unwrap();
    if let Err(error) = memory(pid) {
        println!("NOT RUN: the program's memory cannot be read (that needs root): {error}");
        return;
    }
    let holds = |text: &str| {
        memory(pid).unwrap().iter().any(|area| memchr::memmem::find(area, text.as_bytes()).is_some())
    };
    for (scheme, _) in HASHES {
        let login = format!("{scheme}@example.com");
        for (password, answer) in [(wrong(scheme), "FAIL"), (password(scheme), "OK")] {
            // The second time it is remembered, if it was right.
            for time in ["first", "second"] {
                assert_eq!(log_in(here, &login, &password).await, answer, "{scheme}");
                // Its end, because the beginning is the name.
                let encoded = plain(&login, &password).split_off(40);
                let what = format!("nothing is left of {scheme}'s {time} {answer}");
                until(&what, async || !holds(&password[HEAD..]) && !holds(&encoded)).await;
            }
        }
        assert!(holds(&login), "the search does not find a name that is there");
    }
}

/// The first word of the answer.
async fn log_in(directory: &Path, login: &str, password: &str) -> String {
    let mut connection = BufReader::new(UnixStream::connect(directory.join("login")).await.unwrap());
    let auth = format!("AUTH\t1\tPLAIN\tservice=imap\tresp={}", plain(login, password));
    connection.write_all(format!("VERSION\t1\t2\nCPID\t7\n{auth}\n").as_bytes()).await.unwrap();
    let mut line = String::new();
    while !line.starts_with("OK\t") && !line.starts_with("FAIL\t") {
        line.clear();
        assert_ne!(soon("a line", connection.read_line(&mut line)).await.unwrap(), 0, "it hung up");
    }
    line.split('\t').next().unwrap().to_owned()
}

/// All that a process can write to.
fn memory(pid: u32) -> io::Result<Vec<Vec<u8>>> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let (mut areas, mut refused) = (Vec::new(), None);
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|address| u64::from_str_radix(address, 16).unwrap());
        if !rest.starts_with("rw") {
            continue;
        }
        let mut area = vec![0; usize::try_from(end - start).unwrap()];
        // One that is given back meanwhile holds nothing any more.
        match memory.read_exact_at(&mut area, start) {
            Ok(()) => areas.push(area),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if areas.is_empty() => Err(error),
        _ => Ok(areas),
    }
}
