//! `gatepost dkim` as an admin runs it: keys from nothing to the end of their life, keys of other programs, keys encrypted. DNS is the
//! fake name server; keys of others are made by openssl.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::dkim_import::openssl;
use crate::dns_server::Dns;
use crate::postgres::Database;
use crate::tool::Tool;

pub(crate) async fn world() -> (Database, Dns, Tool) {
    let (database, dns) = (Database::create().await, Dns::serve(""));
    let tool = Tool::with(&database, &dns.toml());
    tool.ok("schema install");
    (database, dns, tool)
}

/// The zone with what `gatepost dkim dns` prints, as the fake server takes it.
fn zone(printed: &str) -> String {
    printed
        .lines()
        .map(|line| {
            let (name, rest) = line.split_once(". 3600 IN TXT ( ").unwrap();
            let text: String = rest.split('"').skip(1).step_by(2).collect();
            format!("{name} TXT {text}\n")
        })
        .collect()
}

pub(crate) async fn states(database: &Database) -> String {
    database.sql("SELECT selector, state, dns FROM gatepost.dkim_keys ORDER BY created_at, selector").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_activated_once_dns_shows_it_and_not_before() {
    let database = Database::create().await;
    let dns = Dns::serve("");
    let tool = Tool::with(&database, &dns.toml());
    assert!(tool.refused("dkim generate example.com").contains("gatepost schema install"));
    tool.ok("schema install");
    let out = tool.ok("dkim generate example.com --selector 20260120");
    let record = tool.ok("dkim dns example.com");
    assert!(out.contains(record.trim()), "{out}");
    assert!(record.starts_with("20260120._domainkey.example.com. 3600 IN TXT ( \"v=DKIM1; k=rsa; p="));
    let plain = tool.ok("dkim dns example.com 20260120 --plain");
    assert!(
        plain.starts_with("20260120._domainkey.example.com\nv=DKIM1; k=rsa; p=MII") && !plain.contains('"')
    );

    let refused = tool.refused("dkim activate example.com 20260120");
    assert!(refused.contains("DNS does not show key 20260120 of example.com: no TXT record"), "{refused}");
    assert!(refused.contains(record.trim()), "{refused}");
    assert_eq!(states(&database).await, "20260120|new|missing");
    assert!(
        tool.ok("dkim check")
            .starts_with("wait  20260120._domainkey.example.com (rsa-2048, new): DNS has no record yet")
    );
    dns.change("20260120._domainkey.example.com TXT v=DKIM1; p=AAAA\n");
    assert!(tool.refused("dkim activate example.com").contains("another key stands there"));
    dns.change("20260120._domainkey.example.com TXT SERVFAIL\n");
    assert!(tool.refused("dkim activate example.com").contains("cannot be said now"));
    dns.change(&zone(&record));
    assert!(
        tool.ok("dkim check example.com")
            .starts_with("ok    20260120._domainkey.example.com (rsa-2048, published): DNS shows it")
    );
    assert_eq!(states(&database).await, "20260120|published|shown");
    assert!(tool.ok("dkim activate example.com").contains("key 20260120 of example.com is active"));
    assert!(tool.ok("dkim activate example.com 20260120").contains("active already"));
    assert_eq!(states(&database).await, "20260120|active|shown");
    assert!(tool.ok("check --only keys").contains("1 signing keys, 1 of them sign"));

    for (arguments, why) in [
        ("dkim generate example.com --selector 20260120", "already (active)"),
        ("dkim generate example.net", "not hosted"),
        ("dkim activate example.com nosuch", "no key with selector nosuch"),
        ("dkim activate 123qwe.com", "no key of 123qwe.com waits"),
        ("dkim retire example.com nosuch", "no key with selector nosuch"),
        ("dkim remove example.com 20260120 --yes", "signs; first: gatepost dkim retire"),
        ("dkim rotate 123qwe.com", "has no key that signs"),
        ("dkim check 123qwe.com", "has no key"),
        ("dkim dns 123qwe.com", "has no such key"),
    ] {
        let refused = tool.refused(arguments);
        assert!(refused.contains(why), "{arguments}: {refused}");
    }
    let pem = database.sql("SELECT private_key FROM gatepost.dkim_keys").await;
    for shown in [&out, &tool.ok("dkim list"), &tool.ok("check --only keys")] {
        assert!(!shown.contains(pem.lines().nth(1).unwrap()), "the private key was shown");
    }

    // Gone from DNS: said by both checks, with status 1.
    dns.change("");
    let (code, out, _) = tool.run("dkim check", "");
    assert!(
        code == 1
            && out.starts_with("fail  20260120._domainkey.example.com (rsa-2048, active): no TXT record"),
        "{out}"
    );
    let (code, out, _) = tool.run("check --only keys", "");
    assert!(
        code == 1 && out.contains("fail  DNS does not show key 20260120 of example.com (no TXT record"),
        "{out}"
    );
    dns.change("20260120._domainkey.example.com TXT SERVFAIL\n");
    let (code, out, _) = tool.run("dkim check", "");
    assert!(
        code == 1 && out.contains("DNS cannot say") && out.contains("its last answer counts: missing"),
        "{out}"
    );

    let out = tool.ok("dkim retire example.com 20260120");
    assert!(
        out.contains("leave its record in DNS until") && out.contains("its mail leaves unsigned"),
        "{out}"
    );
    assert!(tool.refused("dkim remove example.com 20260120").contains("less than a week ago"));
    assert!(tool.ok("dkim remove example.com 20260120 --yes").contains("take its record out of DNS"));
    assert!(tool.refused("dkim activate example.com 20260120").contains("its private half is gone"));
    assert_eq!(database.sql("SELECT private_key = '' FROM gatepost.dkim_keys").await, "t");
    assert!(!tool.ok("dkim list").contains("20260120") && tool.ok("dkim list --all").contains("20260120"));
}

#[tokio::test(flavor = "multi_thread")]
async fn activate_can_wait_for_dns() {
    let (database, dns, tool) = world().await;
    tool.ok("dkim generate example.com --selector s --kind ed25519");
    let record = tool.ok("dkim dns example.com");
    let waiting =
        tokio::task::spawn_blocking(move || (tool.ok("dkim activate example.com s --wait 5m"), tool));
    crate::until("asked", async || dns.asked("s._domainkey.example.com") > 0).await;
    dns.change(&zone(&record));
    let (out, _tool) = waiting.await.unwrap();
    assert!(out.contains("asking again every 5 s") && out.contains("is active"), "{out}");
    assert_eq!(states(&database).await, "s|active|shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn rotate_takes_one_step_after_the_other() {
    let (database, dns, tool) = world().await;
    tool.ok("dkim generate example.com --selector old --kind rsa-3072");
    tool.ok("dkim generate example.com --selector oldie --kind ed25519");
    let first = zone(&tool.ok("dkim dns example.com"));
    dns.change(&first);
    tool.ok("dkim rotate example.com");
    assert_eq!(states(&database).await, "old|active|shown\noldie|active|shown");
    // Young keys are left alone.
    assert!(tool.ok("dkim rotate example.com").contains("nothing to do before"));
    let out = tool.ok("dkim rotate example.com --min-age 0");
    let today = database.sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')").await;
    assert!(
        out.contains(&format!("{today}._domainkey.example.com"))
            && out.contains(&format!("{today}-ed25519._domainkey")),
        "{out}"
    );
    let expected = |new: &str, old: &str, dns: &str| {
        format!("old|{old}|shown\noldie|{old}|shown\n{today}|{new}|{dns}\n{today}-ed25519|{new}|{dns}")
    };
    assert_eq!(states(&database).await, expected("new", "active", "unknown"));
    // As long as DNS does not show them, it says so, makes no others, and the old ones sign.
    for _ in 0..2 {
        let out = tool.ok("dkim rotate example.com --min-age 0");
        assert!(out.contains("DNS says: no TXT record. Publish this record"), "{out}");
        assert_eq!(states(&database).await, expected("new", "active", "missing"));
    }
    let second = zone(&tool.ok("dkim dns example.com"));
    dns.change(&second);
    let out = tool.ok("dkim rotate example.com");
    assert!(out.contains("is active") && out.contains("is retired; leave its record in DNS until"), "{out}");
    assert_eq!(states(&database).await, expected("active", "retired", "shown"));
    assert!(tool.ok("dkim rotate example.com --min-age 0").contains("leave its record in DNS until"));
    assert_eq!(states(&database).await, expected("active", "retired", "shown"));
    database
        .sql("UPDATE gatepost.dkim_keys SET retired_at = now() - interval '8 days' WHERE state = 'retired'")
        .await;
    assert!(tool.ok("dkim check").contains("the record may go"));
    let out = tool.ok("dkim rotate example.com");
    assert!(out.contains("take its record out of DNS now: old._domainkey.example.com"), "{out}");
    assert_eq!(states(&database).await, expected("active", "removed", "shown"));
    assert_eq!(
        database
            .sql("SELECT length(public_key) FROM gatepost.dkim_keys WHERE state = 'active' ORDER BY 1")
            .await,
        "44\n564"
    );
    // A year on, `gatepost check` says what is due; a rotation on the same day finds another name.
    database
        .sql(
            "UPDATE gatepost.dkim_keys SET activated_at = now() - interval '366 days' WHERE state = 'active'",
        )
        .await;
    assert!(tool.ok("check --only keys").contains(&format!("warn  key {today} of example.com signs since")));
    assert!(tool.ok("dkim rotate example.com").contains(&format!("{today}b._domainkey.example.com")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_kind_comes_beside_and_none_is_retired_for_it() {
    let (database, dns, tool) = world().await;
    tool.ok("dkim generate example.com --selector rsa");
    dns.change(&zone(&tool.ok("dkim dns example.com")));
    tool.ok("dkim activate example.com");
    tool.ok("dkim generate example.com --selector ed --kind ed25519");
    dns.change(&zone(&tool.ok("dkim dns example.com")));
    tool.ok("dkim rotate example.com");
    assert_eq!(states(&database).await, "rsa|active|shown\ned|active|shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_warns_of_what_bites_later() {
    let (_database, dns, tool) = world().await;
    tool.ok("dkim generate example.com --selector long --kind rsa-4096");
    let record = zone(&tool.ok("dkim dns example.com"));
    dns.change(&record.replace("k=rsa", "t=y; k=rsa"));
    let out = tool.ok("dkim check");
    assert!(out.contains("warn  long._domainkey.example.com: t=y: receivers may treat"), "{out}");
    assert!(
        out.contains("warn  long._domainkey.example.com: the record has 7") && out.contains("over UDP"),
        "{out}"
    );
    let text = record.split_once("TXT ").unwrap().1.trim();
    dns.change(&format!(
        "long._domainkey.example.com TXT {}\nlong._domainkey.example.com TXT {}\n",
        &text[..255],
        &text[255..]
    ));
    let (code, out, _) = tool.run("dkim check", "");
    assert!(code == 1 && out.contains("the key is split into 2 TXT records"), "{out}");
}

/// `[dkim]` with a key file of these lines.
fn key_file(directory: &Path, lines: &str) {
    let file = directory.join("dkim.key");
    std::fs::write(&file, lines).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
}

const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const TWO: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n";

#[tokio::test(flavor = "multi_thread")]
async fn private_keys_are_encrypted_once_a_key_file_is_there() {
    let (database, dns) = (Database::create().await, Dns::serve(""));
    let plain = Tool::with(&database, &dns.toml());
    plain.ok("schema install");
    plain.ok("dkim generate example.com --selector before");
    assert!(plain.refused("dkim encrypt").contains("no key file is configured"));
    let directory = tempfile::tempdir().unwrap();
    let section =
        format!("{}[dkim]\nkey-file = \"{}\"\n", dns.toml(), directory.path().join("dkim.key").display());
    let tool = Tool::with(&database, &section);
    let (code, _, err) = tool.run("dkim generate example.com", "");
    assert!(
        code == 78 && err.contains("dkim.key: No such file") && err.contains("openssl rand -base64 32"),
        "{code} {err}"
    );
    key_file(directory.path(), ONE);
    let forms = async || {
        let rows = database
            .sql("SELECT selector, left(private_key, 36) FROM gatepost.dkim_keys ORDER BY created_at")
            .await;
        rows.lines().filter(|row| row.contains('|')).map(str::to_owned).collect::<Vec<_>>()
    };
    tool.ok("dkim generate 123qwe.com --selector after --kind ed25519");
    let rows = forms().await;
    assert!(
        rows[0].starts_with("before|-----BEGIN") && rows[1].starts_with("after|gatepost-dkim:1:aes-256-gcm:"),
        "{rows:?}"
    );
    assert!(
        tool.ok("check --only keys")
            .contains("warn  private key before of example.com is not encrypted; `gatepost dkim encrypt`")
    );
    assert!(tool.ok("dkim encrypt").contains("1 of 2 private keys changed"));
    let rows = forms().await;
    assert!(rows.iter().all(|row| row.contains("|gatepost-dkim:1:aes-256-gcm:")), "{rows:?}");
    assert!(!tool.ok("check --only keys").contains("encrypted"));

    // Without the key file: said, and nothing guessed.
    let (code, out, _) = plain.run("check --only keys", "");
    assert!(
        code == 1
            && out.contains(
                "private key before of example.com: it is encrypted, and no key file is configured"
            ),
        "{out}"
    );
    // Another key file, then the old key below the new one.
    key_file(directory.path(), TWO);
    let (code, _, err) = tool.run("dkim encrypt", "");
    assert!(
        code == 1 && err.contains("nothing was changed") && err.contains("add that key as a further line"),
        "{err}"
    );
    key_file(directory.path(), &format!("{TWO}{ONE}"));
    assert!(tool.ok("check --only keys").contains("is encrypted with a former key"));
    assert!(tool.ok("dkim encrypt").contains("2 of 2 private keys changed"));
    key_file(directory.path(), TWO);
    assert!(!tool.ok("check --only keys").contains("encrypted"));
    assert!(tool.ok("dkim encrypt").contains("0 of 2 private keys changed"));

    // A row that was changed by hand is found, and stops all of it.
    database.sql("UPDATE gatepost.dkim_keys SET private_key = (SELECT private_key FROM gatepost.dkim_keys WHERE selector = 'before') WHERE selector = 'after'").await;
    assert!(tool.refused("dkim encrypt --undo").contains("made for another domain or selector"));
    database.sql("DELETE FROM gatepost.dkim_keys WHERE selector = 'after'").await;
    assert!(tool.ok("dkim encrypt --undo").contains("1 of 1 private keys changed; all are plain now"));
    assert!(forms().await[0].starts_with("before|-----BEGIN"));
}

/// Does the record that we print fit the key that we made, in the judgement of others?
#[tokio::test(flavor = "multi_thread")]
async fn dkimpy_signs_with_our_keys_and_verifies_with_our_records() {
    const PROGRAM: &str = "import sys, dkim\n\
        pem, record, algorithm = (open(sys.argv[1], 'rb').read(), sys.argv[2].encode(), sys.argv[3].encode())\n\
        message = b'From: a@example.com\\r\\nSubject: x\\r\\n\\r\\nhello\\r\\n'\n\
        header = dkim.sign(message, b's', b'example.com', pem, signature_algorithm=algorithm)\n\
        sys.exit(0 if dkim.verify(header + message, dnsfunc=lambda name, timeout=5: record) else 1)\n";
    let (database, _dns, tool) = world().await;
    for (kind, algorithm) in
        [("rsa-2048", "rsa-sha256"), ("rsa-4096", "rsa-sha256"), ("ed25519", "ed25519-sha256")]
    {
        database.sql("DELETE FROM gatepost.dkim_keys").await;
        tool.ok(&format!("dkim generate example.com --selector s --kind {kind}"));
        let printed = zone(&tool.ok("dkim dns example.com"));
        let record = printed.split_once(" TXT ").unwrap().1.trim();
        let pem = database.sql("SELECT private_key FROM gatepost.dkim_keys").await + "\n";
        let file = tool.dir().join("key.pem");
        std::fs::write(&file, &pem).unwrap();
        let key = match kind {
            // dkimpy takes the seed in base64, and PKCS#1.
            "ed25519" => {
                use base64::Engine;
                let engine = base64::engine::general_purpose::STANDARD;
                let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
                let der = engine.decode(text).unwrap();
                engine.encode(&der[der.len() - 32..])
            }
            _ => openssl(&["rsa", "-traditional", "-in", file.to_str().unwrap()]),
        };
        std::fs::write(&file, key).unwrap();
        let output = Command::new("/usr/bin/python3")
            .args(["-c", PROGRAM])
            .arg(&file)
            .args([record, algorithm])
            .output()
            .unwrap();
        assert!(output.status.success(), "{kind}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
