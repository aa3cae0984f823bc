//! The training log by the tool: folders are read into it, it goes out and comes in, users and old samples go.

use std::time::Duration;

use gatepost::directory::{Directory, Lookup};
use gatepost::store::Store;

use crate::postgres::Database;
use crate::tool::Tool;

const LETTER: &str = "From: Ann <ann@sender.test>\r\nSubject: minutes\r\n\r\nThe minutes are attached.\r\n";

async fn tool() -> (Database, Tool) {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("schema install");
    (database, tool)
}

/// What the log says, without the samples' bytes.
async fn log(database: &Database) -> String {
    let rows = "SELECT string_agg(label || ' ' || coalesce(owner, '-') || ' ' || source, ', ' ORDER BY position) FROM gatepost.training_log";
    database.sql(rows).await
}

async fn epoch(database: &Database) -> i64 {
    database.sql("SELECT epoch FROM gatepost.training_epoch").await.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_a_maildir_an_mbox_and_stdin_are_learned_once() {
    let (database, tool) = tool().await;
    let place = |name: &str| tool.dir().join(name).display().to_string();
    let write = |name: &str, text: &[u8]| {
        let path = tool.dir().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("one.eml", LETTER.as_bytes());
    for name in [
        "Maildir/cur/1:2,S",
        "Maildir/new/2",
        "Maildir/tmp/3",
        "Maildir/.Junk/cur/4:2,",
        "Maildir/dovecot-uidlist",
    ] {
        write(name, LETTER.replace("minutes", &format!("minutes {name}")).as_bytes());
    }
    let letter = |number: u8| {
        format!("From x Sat Nov 21 10:00:00 2026\nSubject: {number}\n\nbuy\n>From us {number}\n\n")
    };
    write("Junk.mbox", (1..=3).map(letter).collect::<String>().as_bytes());
    for (arguments, said) in [
        (format!("learn ham {}", place("one.eml")), "1 of 1 messages learned as ham, 0 known already"),
        (format!("learn ham {}", place("one.eml")), "0 of 1 messages learned as ham, 1 known already"),
        (format!("learn --dry-run spam {}", place("Maildir")), "3 messages in 3 files; nothing was learned"),
        // Junk below it is no ham.
        (format!("learn ham --user Bob@Example.com {}", place("Maildir")), "2 of 2 messages learned as ham"),
        (format!("learn spam {}", place("Junk.mbox")), "3 of 3 messages learned as spam"),
        (
            format!("learn spam {} {}", place("Junk.mbox"), place("one.eml")),
            "1 of 4 messages learned as spam, 3 known",
        ),
    ] {
        let out = tool.ok(&arguments);
        assert!(out.starts_with(said), "{arguments}: {out}");
    }
    let (code, out, err) = tool.run("learn spam -", "Subject: from a pipe\n\nx\n");
    assert_eq!((code, out.starts_with("1 of 1 messages learned as spam")), (0, true), "{out}{err}");
    let expected = "ham - tool, ham bob@example.com tool, ham bob@example.com tool, spam - tool, spam - tool, spam - tool, spam - tool, spam - tool";
    assert_eq!(log(&database).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_garbage_and_missing_messages_are_told_and_cost_nothing() {
    let (database, tool) = tool().await;
    let folder = tool.dir().join("odd");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("empty"), "").unwrap();
    std::fs::write(folder.join("blank"), "\r\n \n").unwrap();
    let noise: Vec<u8> = (0..300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(folder.join("noise"), noise).unwrap();
    let huge = [LETTER.as_bytes(), &b"0123456789abcdef 0123456789abcdef\r\n".repeat(1_500_000)].concat();
    assert!(huge.len() > 50 << 20);
    std::fs::write(folder.join("huge"), huge).unwrap();
    let out = tool.ok(&format!("learn spam {}", folder.display()));
    assert!(
        out.starts_with("2 of 4 messages learned as spam, 0 known already, 2 empty or too large"),
        "{out}"
    );
    let longest =
        database.sql("SELECT max(length(sample)) <= 131072 + 1024 FROM gatepost.training_log").await;
    assert_eq!(longest, "t", "of 50 MiB the start is kept");
    let error = tool.refused("learn spam /does/not/exist.eml");
    assert!(error.contains("/does/not/exist.eml: No such file"), "{error}");
    let error = tool.refused(&format!("learn spam --read-for 3 --user bob@example.com {}", folder.display()));
    assert!(error.contains("--read-for") && error.contains("ham"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_goes_out_and_comes_in_as_it_was_and_bad_lines_import_nothing() {
    let (database, tool) = tool().await;
    let file = tool.dir().join("log.jsonl");
    let learn = |label: &str, user: &str, subject: &str| {
        let (code, out, err) =
            tool.run(&format!("learn {label} {user} -"), &format!("Subject: {subject}\n\nx\n"));
        assert_eq!(code, 0, "{out}{err}");
    };
    learn("spam", "", "one");
    learn("ham", "--user bob@example.com", "two");
    learn("spam", "--user bob@example.com", "two");
    tool.ok(&format!("model export {}", file.display()));
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o077, 0, "people's mail is nobody's to read");
    let content = "SELECT string_agg(concat_ws(' ', label, owner, encode(message, 'hex'), encode(sample, 'hex')), E'\\n' ORDER BY position) FROM gatepost.training_log";
    let (other, there) = self::tool().await;
    let out = there.ok(&format!("model import {}", file.display()));
    assert_eq!(out, "3 of 3 samples imported, the others were known\n");
    assert_eq!(other.sql(content).await, database.sql(content).await, "the same rows in the same order");
    let corrections = other.sql("SELECT count(*) - count(DISTINCT (message, owner)) FROM gatepost.training_log WHERE owner IS NOT NULL").await;
    assert_eq!(corrections, "1");

    let good = std::fs::read_to_string(&file).unwrap();
    let first = good.lines().next().unwrap();
    let (third, empty) = self::tool().await;
    for (line, why) in [
        ("{\"label\":", "log.jsonl:2"),
        (
            first.replace("\"spam\"", "\"eggs\"").as_str(),
            "log.jsonl:2: label \"eggs\", expected spam or ham; nothing was imported",
        ),
        (
            first.replace("\"message\":\"", "\"message\":\"x").as_str(),
            "expected 32 hexadecimal digits; nothing was imported",
        ),
        (first.replace("\"sample\":\"A", "\"sample\":\"B").as_str(), "log.jsonl:2"),
        (first.replace("\"label\"", "\"lable\"").as_str(), "log.jsonl:2"),
    ] {
        std::fs::write(&file, format!("{first}\n{line}\n")).unwrap();
        let error = empty.refused(&format!("model import {}", file.display()));
        assert!(error.contains(why), "{line:.40}: {error}");
    }
    assert_eq!(third.sql("SELECT count(*) FROM gatepost.training_log").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_users_samples_go_and_every_model_is_made_anew() {
    let (database, tool) = tool().await;
    for (user, subject) in
        [("bob@example.com", "one"), ("alice@example.com", "two"), ("bob@example.com", "three")]
    {
        let (code, out, err) =
            tool.run(&format!("learn ham --user {user} -"), &format!("Subject: {subject}\n\nx\n"));
        assert_eq!(code, 0, "{out}{err}");
    }
    let before = epoch(&database).await;
    assert!(
        tool.refused("model forget eve@example.com --yes").contains("eve@example.com has taught nothing")
    );
    assert_eq!(epoch(&database).await, before);
    let out = tool.ok("model forget Bob@Example.com --yes");
    assert!(out.starts_with("2 samples of bob@example.com are forgotten"), "{out}");
    assert_eq!(log(&database).await, "ham alice@example.com tool");
    assert_eq!(epoch(&database).await, before + 1);
    tool.ok("model rebuild");
    assert_eq!(epoch(&database).await, before + 2);
    assert_eq!(log(&database).await, "ham alice@example.com tool", "a new model, the same log");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_retention_goes() {
    let (database, tool) = tool().await;
    for subject in ["old", "new"] {
        let (code, ..) = tool.run("learn spam -", &format!("Subject: {subject}\n\nx\n"));
        assert_eq!(code, 0);
    }
    database
        .sql(
            "UPDATE gatepost.training_log SET at = at - interval '181 days' WHERE position = (SELECT min(position) FROM gatepost.training_log);
             INSERT INTO gatepost.judged_messages (message, judged_at, sample)
             SELECT decode(repeat(n, 16), 'hex'), now() - age, '\\x01' FROM (VALUES ('ab', interval '15 days'), ('cd', interval '13 days')) AS j (n, age)",
        )
        .await;
    let before = epoch(&database).await;
    let config = database.config();
    let directory = Directory::new(gatepost::database::Database::new(&config, "test").unwrap(), &config);
    let (store, day) = (Store::new(&directory), Duration::from_secs(86_400));
    assert_eq!(store.forget_old(14 * day, 180 * day).await, Lookup::Found(1));
    assert_eq!(database.sql("SELECT count(*) FROM gatepost.training_log").await, "1");
    assert_eq!(
        database.sql("SELECT encode(message, 'hex') FROM gatepost.judged_messages").await,
        "cd".repeat(16)
    );
    assert_eq!(epoch(&database).await, before + 1, "the models are made anew without it");
    assert_eq!(store.forget_old(14 * day, 180 * day).await, Lookup::Found(0));
    assert_eq!(epoch(&database).await, before + 1, "nothing went, nothing is made anew");
    // Nobody takes out what was said this week, whatever a configuration says.
    assert!(matches!(
        store.forget_old(14 * day, day).await,
        Lookup::Unavailable(_) | Lookup::Misconfigured(_)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_what_it_takes() {
    let (_database, tool) = tool().await;
    let status = tool.ok("model status");
    assert!(status.contains("sure     of nothing: 0 ") && status.contains("5 of each kind"), "{status}");
    let letter = |number: usize| format!("From x\nSubject: number {number}\n\nbody {number}\n\n");
    let mbox = tool.dir().join("mbox");
    std::fs::write(&mbox, (0..120).map(letter).collect::<String>()).unwrap();
    tool.ok(&format!("learn spam {}", mbox.display()));
    std::fs::write(&mbox, (200..210).map(letter).collect::<String>()).unwrap();
    tool.ok(&format!("learn ham --user bob@example.com {}", mbox.display()));
    let status = tool.ok("model status");
    for line in [
        "samples  120 spam, 10 ham, 0 of them corrections; of 1 users",
        "sources  120 spam by tool, 10 ham by tool",
        "balance  12.0 spam for each ham; ham is rare: `gatepost learn ham`",
        "sure     at most 97 %: 10 ham, and it takes 21 of the rarer kind to say 99 %",
    ] {
        assert!(status.contains(line), "{line}: {status}");
    }
}
