//! Stored hashes of all kinds, made by `doveadm pw` and crypt(3) and used over the wire; who waits for whom; what is remembered, and what is
//! renewed.

use std::process::Command;
use std::time::Instant;

use gatepost::config::Secret;
use gatepost::directory::Lookup;
use gatepost::mail::Address;
use gatepost::password::{Scheme, StoredHash};

use crate::instance::{HASHED_WITHIN, Instance, Lines, plain, until};

const PASSWORD: &str = "g\u{e9}heim 1$";

/// What Dovecot makes and we do not take: each needs something that PLAIN does not bring, or protects nothing.
const NOT_OURS: [&str; 7] =
    ["CRAM-MD5", "HMAC-MD5", "DIGEST-MD5", "OTP", "DES-CRYPT", "PLAIN-MD4", "PLAIN-TRUNC"];

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn doveadm(scheme: &str) -> String {
    output("doveadm", &["-O", "pw", "-s", scheme, "-u", "alice@example.com", "-p", PASSWORD])
}

fn is_right(hash: &str, password: &str) -> bool {
    StoredHash::parse(hash.to_owned())
        .verify(&Secret::new(password.to_owned()))
        .unwrap_or_else(|error| panic!("{hash}: {error}"))
}

/// Every hash that the Dovecot of this machine makes and that is ours, with its scheme.
fn hashes() -> Vec<(String, String)> {
    let list = output("doveadm", &["-O", "pw", "-l"]);
    let schemes: Vec<&str> = list.split_whitespace().filter(|scheme| !NOT_OURS.contains(scheme)).collect();
    assert!(schemes.len() >= 20, "{list}");
    schemes.into_iter().map(|scheme| (scheme.to_owned(), doveadm(scheme))).collect()
}

#[test]
fn every_scheme_that_doveadm_makes_is_verified_or_refused_by_name() {
    for (scheme, hash) in hashes() {
        assert!(
            ["CRYPT", "ARGON2"].contains(&scheme.as_str()) || Scheme::named(&scheme).is_some(),
            "{scheme} is new: take it, or say that it is not ours"
        );
        assert!(is_right(&hash, PASSWORD), "{hash}");
        assert!(!is_right(&hash, "geheim 1$") && !is_right(&hash, ""), "{hash}");
        for encoding in ["hex", "b64", "HEX"] {
            let hash = doveadm(&format!("{scheme}.{encoding}"));
            assert!(is_right(&hash, PASSWORD), "{hash}");
        }
    }
    for scheme in NOT_OURS {
        assert!(StoredHash::parse(format!("{{{scheme}}}x")).scheme().is_none(), "{scheme}");
    }
}

#[test]
fn doveadm_and_crypt_verify_ours_and_we_verify_theirs() {
    let new = StoredHash::new(&Secret::new(PASSWORD.to_owned())).unwrap();
    let told = output("doveadm", &["-O", "pw", "-t", new.with_prefix().expose(), "-p", PASSWORD]);
    assert!(told.ends_with("(verified)"), "{told}");
    // crypt(3) of this machine: yescrypt with several costs, and rounds that are not the usual ones.
    for setting in [
        "$y$j9T$abcdefgh$",
        "$y$j75$abcdefghijkl$",
        "$6$rounds=7777$salt$",
        "$5$rounds=1000$saltsaltsaltsalt$",
        "$1$salt$",
    ] {
        let hash = output("perl", &["-e", "print crypt($ARGV[0], $ARGV[1])", PASSWORD, setting]);
        assert!(hash.starts_with(setting), "{hash}");
        for hash in [hash.clone(), format!("{{CRYPT}}{hash}")] {
            assert!(is_right(&hash, PASSWORD) && !is_right(&hash, "x"), "{hash}");
        }
    }
}

async fn add(instance: &Instance, local: &str, hash: &str) {
    let statement = format!(
        "INSERT INTO users (local, domain, password_hash) VALUES ('{local}', 'example.com', '{hash}')
         ON CONFLICT (local, domain) DO UPDATE SET password_hash = excluded.password_hash"
    );
    instance.database.sql(&statement).await;
}

async fn log_in(lines: &mut Lines, id: u32, login: &str, password: &str) -> String {
    let line = format!("AUTH\t{id}\tPLAIN\tservice=imap\trip=192.0.2.1\tresp={}", plain(login, password));
    let mut answer = String::new();
    // Whoever is put off because the machine is busy beyond measure tries again.
    for _ in 0..10 {
        let asked = Instant::now();
        lines.say(&[&line]).await;
        answer = lines.hear().await;
        if asked.elapsed() < HASHED_WITHIN || !answer.ends_with("\tcode=temp_fail") {
            break;
        }
    }
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_log_in_with_hashes_of_every_kind_and_with_weak_ones_where_they_are_named() {
    for weak in [false, true] {
        let names = ["PLAIN", "MD5-CRYPT", "SMD5", "SHA", "SHA256", "SHA512", "PLAIN-MD5"]
            .map(|name| format!("\"{name}\""));
        let settings = if weak { format!("weak-schemes = [{}]", names.join(", ")) } else { String::new() };
        let instance = Instance::start(&settings).await;
        let mut lines = instance.lines("login").await;
        lines.handshake(1).await;
        for (number, (scheme, hash)) in (1..).zip(hashes()) {
            let local = scheme.to_ascii_lowercase();
            add(&instance, &local, &hash).await;
            let login = format!("{local}@example.com");
            let is_weak = StoredHash::parse(hash).scheme().unwrap().weak;
            let answer = log_in(&mut lines, number, &login, PASSWORD).await;
            if is_weak && !weak {
                // The operator must act: that the password is wrong is not true.
                assert_eq!(answer, format!("FAIL\t{number}\tuser={login}\tcode=temp_fail"));
                continue;
            }
            assert_eq!(answer, format!("OK\t{number}\tuser={login}"));
            let answer = log_in(&mut lines, number, &login, "wrong").await;
            assert_eq!(answer, format!("FAIL\t{number}\tuser={login}"));
        }
        instance.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_hashes_are_told_to_the_operator_and_cost_nothing() {
    let instance = Instance::start("").await;
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    let rest = "QUplUG8wTnc0V0dCczFYcQ$MtOlTfFTDeUb/aVv9nj9Fg";
    for (number, hash) in (1..).zip([
        format!("$argon2id$v=19$m=4194304,t=3,p=1${rest}"),
        format!("$argon2id$v=19$m=65536,t=1000000,p=1${rest}"),
        "$2y$31$abcdefghijklmnopqrstuuWm9TDQ3V5lTPiDcEYGCNFv2V9x8lJ0a".to_owned(),
        format!("$6$rounds=999999999$salt${}", "x".repeat(86)),
        "{PBKDF2}$1$salt$1000000000$4ae56ddd5f7928253e3c08c83fd84ae7d4f1dd53".to_owned(),
        "{LANMAN}x".to_owned(),
        "{SSHA}".to_owned(),
        "hello".to_owned(),
    ]) {
        let local = format!("absurd{number}");
        add(&instance, &local, &hash).await;
        let answer = log_in(&mut lines, number, &format!("{local}@example.com"), "x").await;
        assert_eq!(answer, format!("FAIL\t{number}\tuser={local}@example.com\tcode=temp_fail"), "{hash}");
    }
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_many_logins_waits_for_itself_alone() {
    let instance = Instance::start("[limits]\nthreads = 1").await;
    let hash = "$2y$09$abcdefghijklmnopqrstuuWm9TDQ3V5lTPiDcEYGCNFv2V9x8lJ0a";
    add(&instance, "slow", hash).await;
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    let from = |id: u32, address: &str| {
        format!("AUTH\t{id}\tPLAIN\tservice=imap\trip={address}\tresp={}", plain("slow@example.com", "x"))
    };
    let mut said: Vec<String> = (1..=40).map(|id| from(id, "192.0.2.1")).collect();
    said.push(from(41, "192.0.2.2"));
    lines.say(&said.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut before = 0;
    while lines.hear().await != "FAIL\t41\tuser=slow@example.com" {
        before += 1;
    }
    assert!(before <= 4, "{before} logins of another client came first");
    for _ in before..40 {
        assert!(lines.hear().await.starts_with("FAIL\t"));
    }
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remembered_password_dies_with_its_hash_at_once() {
    let instance = Instance::with_schema("").await;
    let slow = output("perl", &["-e", "print crypt('old', q($2y$12$abcdefghijklmnopqrstuu))"]);
    add(&instance, "web", &slow).await;
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    let mut log_in = async |id, password| log_in(&mut lines, id, "web@example.com", password).await;
    // A machine that is busy beyond measure may put the first one off.
    until("it is hashed once", async || log_in(1, "old").await == "OK\t1\tuser=web@example.com").await;
    // Two hundred of these would take a minute of hashing.
    for id in 2..200 {
        assert_eq!(log_in(id, "old").await, format!("OK\t{id}\tuser=web@example.com"));
    }
    assert_eq!(log_in(300, "Old").await, "FAIL\t300\tuser=web@example.com");
    let new = output("perl", &["-e", "print crypt('new', q($2y$04$abcdefghijklmnopqrstuu))"]);
    add(&instance, "web", &new).await;
    until("the announcement has come", async || log_in(301, "new").await.starts_with("OK\t")).await;
    assert_eq!(log_in(302, "old").await, "FAIL\t302\tuser=web@example.com");
    // The same hash once more: what was right is right again, and nothing else is.
    add(&instance, "web", &slow).await;
    until("the announcement has come", async || log_in(303, "old").await.starts_with("OK\t")).await;
    assert_eq!(log_in(304, "new").await, "FAIL\t304\tuser=web@example.com");
    instance.stop().await;
}

const HASH_OF_OLD: &str = "SELECT password_hash FROM users WHERE local = 'old'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_hash_is_renewed_at_a_login_and_never_over_a_newer_password() {
    let instance = Instance::with_schema("rehash = true").await;
    let old = doveadm("SSHA");
    add(&instance, "old", &old).await;
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    assert_eq!(log_in(&mut lines, 1, "old@example.com", "wrong").await, "FAIL\t1\tuser=old@example.com");
    assert_eq!(log_in(&mut lines, 2, "old@example.com", PASSWORD).await, "OK\t2\tuser=old@example.com");
    until("the hash is new", async || {
        instance.database.sql(HASH_OF_OLD).await.starts_with("$argon2id$v=19$m=65536,t=4,p=1$")
    })
    .await;
    let new = instance.database.sql(HASH_OF_OLD).await;
    assert!(is_right(&new, PASSWORD));
    assert_eq!(log_in(&mut lines, 3, "old@example.com", PASSWORD).await, "OK\t3\tuser=old@example.com");
    assert_eq!(log_in(&mut lines, 4, "old@example.com", "wrong").await, "FAIL\t4\tuser=old@example.com");
    // What has become of the old one meanwhile is left alone.
    let (login, parsed) =
        (Address::parse("old@example.com").unwrap(), |text: &str| StoredHash::parse(text.to_owned()));
    let (store, directory) = (&instance.parts.store, &instance.parts.directory);
    assert_eq!(store.rehash(directory, &login, &parsed(&old), &parsed("{SSHA}x")).await, Lookup::None);
    assert_eq!(instance.database.sql(HASH_OF_OLD).await, new);
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_to_update_logins_go_on_and_the_operator_is_told_what_to_grant() {
    let instance = Instance::with_schema("rehash = true").await;
    let role = format!("reader_{}", instance.database.name());
    let statements = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT gatepost_auth TO {role}; ALTER ROLE {role} INHERIT"
    );
    instance.database.sql(&statements).await;
    add(&instance, "old", &doveadm("SSHA")).await;
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "x\n").unwrap();
    let mut config = instance.database.config();
    config.user = Some(role);
    config.password_file = Some(password.path().to_owned());
    let database = gatepost::database::Database::new(&config, "test").unwrap();
    let directory = gatepost::directory::Directory::new(database, &config);
    let store = gatepost::store::Store::new(&directory);
    let old = StoredHash::parse(instance.database.sql(HASH_OF_OLD).await);
    let login = Address::parse("old@example.com").unwrap();
    let answer = store.rehash(&directory, &login, &old, &StoredHash::parse("{SSHA}x".into())).await;
    let Lookup::Misconfigured(why) = answer else { panic!("{answer:?}") };
    assert!(why.contains("GRANT UPDATE (password_hash) ON public.users TO gatepost_auth"), "{why}");
    instance.database.sql("GRANT UPDATE (password_hash) ON public.users TO gatepost_auth").await;
    let answer = store.rehash(&directory, &login, &old, &StoredHash::parse("{SSHA}x".into())).await;
    assert_eq!(answer, Lookup::Found(()));
    instance.stop().await;
}
