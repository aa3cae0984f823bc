//! `gatepost dkim` as an admin runs it: keys from nothing to the end of their life, keys of other programs, keys encrypted. DNS is the
//! fake name server; keys of others are made by openssl.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::dns_server::Dns;
use crate::postgres::Database;
use crate::tool::Tool;

async fn world() -> (Database, Dns, Tool) {
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

async fn states(database: &Database) -> String {
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

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).stderr(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Writes an RSA key by openssl; the line of the zone that shows it.
fn rsa(file: &Path, name: &str, pkcs1: bool) -> String {
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut arguments = vec!["genrsa"];
    if pkcs1 {
        arguments.push("-traditional");
    }
    arguments.push("2048");
    std::fs::write(file, openssl(&arguments)).unwrap();
    let public = openssl(&["pkey", "-in", file.to_str().unwrap(), "-pubout"]);
    let public: String = public.lines().filter(|line| !line.starts_with('-')).collect();
    format!("{name} TXT v=DKIM1; k=rsa; p={public}\n")
}

/// The key of RFC 8463, A.2, in the forms of libsodium's users, and its record.
const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const SEED_AND_PUBLIC: &str =
    "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGg==";
const ED25519: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

#[tokio::test(flavor = "multi_thread")]
async fn rspamds_keys_sign_at_once_without_touching_dns() {
    let (database, dns, tool) = world().await;
    for domain in ["dual.example", "paths.example", "unpublished.example", "nokey.example"] {
        tool.ok(&format!("domain add {domain}"));
    }
    let root = tool.dir().join("rspamd");
    let keys = tool.dir().join("dkim");
    let mut zone = rsa(&keys.join("example.com.20260120.key"), "20260120._domainkey.example.com", false);
    zone += &rsa(&keys.join("123qwe.com.20260120.key"), "20260120._domainkey.123qwe.com", true);
    zone += &rsa(&keys.join("dual.rsa"), "r._domainkey.dual.example", false);
    zone += &rsa(&keys.join("elsewhere/paths.example.key"), "dkim._domainkey.paths.example", false);
    zone += &format!("e._domainkey.dual.example TXT {ED25519}\n");
    rsa(&keys.join("unpublished.example.u.key"), "x", false);
    rsa(&keys.join("stranger.example.s.key"), "x", false);
    std::fs::write(keys.join("dual.ed"), format!("{SEED_AND_PUBLIC}\n")).unwrap();
    std::fs::write(keys.join("broken.example.b.key"), "hello\n").unwrap();
    std::fs::create_dir_all(root.join("local.d")).unwrap();
    std::fs::create_dir_all(root.join("override.d")).unwrap();
    // As the tutorial has it, and the rest of the module's documentation.
    std::fs::write(
        root.join("local.d/dkim_signing.conf"),
        format!(
            "path = \"{0}/$domain.$selector.key\";\nselector_map = \"/nonexistent\";\nallow_username_mismatch = true;\n\
             path_map = [\"paths.example {0}/elsewhere/$domain.key\"];\nuse_redis = false;\n\
             domain {{\n  dual.example {{\n    selectors [\n      {{ path: \"{0}/dual.rsa\"; selector: \"r\" }},\n      {{ path = {0}/dual.ed; selector = e; }}\n    ]\n  }}\n}}\n",
            keys.display()
        ),
    )
    .unwrap();
    let map = root.join("dkim_selectors.map");
    std::fs::write(&map, "# domain selector\nexample.com 20260120\n123qwe.com\t20260120\nunpublished.example u\nstranger.example s\nnokey.example n\n").unwrap();
    let at = root.display().to_string();
    // A map that is not there: which file names it.
    let refused = tool.refused(&format!("dkim import rspamd {at}"));
    assert!(
        refused.contains("/nonexistent: No such file") && refused.contains("local.d/dkim_signing.conf:2)"),
        "{refused}"
    );
    std::fs::write(
        root.join("override.d/dkim_signing.conf"),
        format!("selector_map = \"file://{}\";\n", map.display()),
    )
    .unwrap();

    dns.change(&zone);
    let dry = tool.ok(&format!("dkim import rspamd {at} --dry-run"));
    assert_eq!(states(&database).await, "", "{dry}");
    for line in [
        "active  20260120._domainkey.example.com: ",
        "active  20260120._domainkey.123qwe.com: ",
        "wait    u._domainkey.unpublished.example: ",
        "left    s._domainkey.stranger.example: ",
        "5 keys would be taken over and active, 1 would be taken over and waiting, 0 there already, 2 left out",
        "nothing was changed",
    ] {
        assert!(dry.contains(line), "{line} is missing in:\n{dry}");
    }
    assert!(dry.contains("dkim_selectors.map:5: stranger.example is not hosted here"), "{dry}");
    assert!(dry.contains("nokey.example.n.key: No such file"), "{dry}");
    let out = tool.ok(&format!("dkim import rspamd {at}"));
    assert!(
        out.contains("5 keys taken over and active, 1 taken over and waiting, 0 there already, 2 left out"),
        "{out}"
    );
    let rows =
        database.sql("SELECT domain, selector, algorithm, state FROM gatepost.dkim_keys ORDER BY 1, 2").await;
    assert_eq!(
        rows,
        "123qwe.com|20260120|rsa-sha256|active\ndual.example|e|ed25519-sha256|active\ndual.example|r|rsa-sha256|active\n\
         example.com|20260120|rsa-sha256|active\npaths.example|dkim|rsa-sha256|active\nunpublished.example|u|rsa-sha256|new"
    );
    // Again: all is there.
    let again = tool.ok(&format!("dkim import rspamd {at}"));
    assert!(
        again.contains("0 keys taken over and active, 1 taken over and waiting, 5 there already, 2 left out"),
        "{again}"
    );
    // The private keys are those of the files: openssl derives the same public key.
    let pem = database.sql("SELECT private_key FROM gatepost.dkim_keys WHERE domain = '123qwe.com'").await;
    let file = tool.dir().join("again.pem");
    std::fs::write(&file, pem).unwrap();
    let public = |path: &Path| openssl(&["pkey", "-in", path.to_str().unwrap(), "-pubout"]);
    assert_eq!(public(&file), public(&keys.join("123qwe.com.20260120.key")));
}

#[tokio::test(flavor = "multi_thread")]
async fn opendkims_keys_sign_at_once_without_touching_dns() {
    let (database, dns, tool) = world().await;
    tool.ok("domain add one.example");
    tool.ok("domain add two.example");
    let keys = tool.dir().join("keys");
    let mut zone = rsa(&keys.join("main.private"), "2026._domainkey.example.com", true);
    zone += &rsa(&keys.join("one.example/mail.private"), "mail._domainkey.one.example", true);
    zone += &format!("e._domainkey.123qwe.com TXT {ED25519}\n");
    let conf = tool.dir().join("opendkim.conf");
    let write = |name: &str, text: &str| {
        let file = tool.dir().join(name);
        std::fs::write(&file, text.replace("KEYS", keys.to_str().unwrap())).unwrap();
        file.display().to_string()
    };
    let key_table = write(
        "key.table",
        &format!(
            "# name domain:selector:path\nmain example.com:2026:KEYS/main.private\nany %:mail:KEYS/%/mail.private\ned 123qwe.com:e:{SEED}\nunused example.com:x:KEYS/x\nbad example.com\n"
        ),
    );
    let signing_table = write(
        "signing.table",
        "*@example.com main\n*@123qwe.com ed\n* any\n*@bad.test bad\n*@lost.test nosuch\nalone\n",
    );
    std::fs::write(
        &conf,
        format!("# comment\nMode\tsv\nKeyTable {key_table}\nSigningTable refile:{signing_table}\n"),
    )
    .unwrap();
    dns.change(&zone);
    let out = tool.ok(&format!("dkim import opendkim {}", conf.display()));
    for line in [
        "active  2026._domainkey.example.com: rsa-2048, DNS shows it",
        "active  e._domainkey.123qwe.com: ed25519, DNS shows it",
        "active  mail._domainkey.one.example: rsa-2048, DNS shows it",
        "key.table:3: two.example: no key file",
        "key.table:5: key \"unused\" is not used by the signing table",
        "key.table:6: expected domain:selector:key",
        "signing.table:5: the key table has no key \"nosuch\"",
        "signing.table:6: \"alone\" names no key",
        "3 keys taken over and active",
    ] {
        assert!(out.contains(line), "{line} is missing in:\n{out}");
    }
    assert_eq!(database.sql("SELECT count(*) FROM gatepost.dkim_keys WHERE state = 'active'").await, "3");

    // The short form, and what cannot be understood.
    database.sql("DELETE FROM gatepost.dkim_keys").await;
    for (text, code, expected) in [
        (
            "Domain example.com, 123qwe.com\nSelector 2026\nKeyFile KEYS/main.private\n",
            0,
            "1 keys taken over and active, 1 taken over and waiting",
        ),
        (
            "Domain example.com\nSelector 2026\n",
            1,
            "opendkim.conf: signs nothing; expected KeyTable and SigningTable, or Domain",
        ),
        ("Mode sv\nKeyTable\n", 1, "opendkim.conf:2: \"KeyTable\" has no value"),
        ("KeyTable /nonexistent\nSigningTable x\n", 1, "/nonexistent: No such file"),
        (
            "KeyTable dsn:pgsql://x\nSigningTable csl:*@example.com=a\n",
            0,
            "opendkim.conf:1: KeyTable is in \"dsn:pgsql://x\"; expected a file or a list",
        ),
        ("KeyTable KEYS/../latin1\nSigningTable x\n", 1, "latin1:2: no UTF-8 text"),
    ] {
        std::fs::write(tool.dir().join("latin1"), b"ok 1\n\xff\n").unwrap();
        std::fs::write(&conf, text.replace("KEYS", keys.to_str().unwrap())).unwrap();
        let (found, out, err) = tool.run(&format!("dkim import opendkim {}", conf.display()), "");
        assert!(
            found == code && format!("{out}{err}").contains(expected),
            "{text}: {expected}:\n{found} {out}{err}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_key_in_each_of_its_forms_and_what_is_none() {
    let (database, dns, tool) = world().await;
    let file = |name: &str| tool.dir().join(name);
    let mut zone = rsa(&file("pkcs8.pem"), "pkcs8._domainkey.example.com", false);
    zone += &rsa(&file("pkcs1.pem"), "pkcs1._domainkey.example.com", true);
    std::fs::write(file("seed"), SEED).unwrap();
    std::fs::write(file("ed.pem"), openssl(&["genpkey", "-algorithm", "ed25519"])).unwrap();
    zone += &format!("seed._domainkey.example.com TXT {ED25519}\n");
    dns.change(&zone);
    let import = |file: &Path, selector: &str| {
        format!("dkim import pem {} --domain example.com --selector {selector}", file.display())
    };
    for (name, selector) in [("pkcs8.pem", "pkcs8"), ("pkcs1.pem", "pkcs1"), ("seed", "seed")] {
        assert!(tool.ok(&import(&file(name), selector)).contains("1 keys taken over and active"), "{name}");
    }
    assert!(
        tool.ok(&import(&file("ed.pem"), "ed")).contains("DNS says: no TXT record; once it shows the key")
    );
    assert!(tool.ok(&import(&file("pkcs1.pem"), "pkcs8")).contains("another key has this selector (active)"));
    assert_eq!(
        database.sql("SELECT count(*), count(DISTINCT public_key) FROM gatepost.dkim_keys").await,
        "4|4"
    );
    std::fs::write(file("locked.pem"), openssl(&["genrsa", "-aes128", "-passout", "pass:x", "2048"]))
        .unwrap();
    std::fs::write(file("weak.pem"), openssl(&["genrsa", "1024"])).unwrap();
    std::fs::write(
        file("ec.pem"),
        openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    )
    .unwrap();
    std::fs::write(
        file("public.pem"),
        openssl(&["pkey", "-in", file("ed.pem").to_str().unwrap(), "-pubout"]),
    )
    .unwrap();
    std::fs::write(file("binary"), [0, 159, 146, 150]).unwrap();
    for (name, why) in [
        ("locked.pem", "it has a passphrase"),
        ("weak.pem", "neither an RSA key of 2048 to 8192 bits"),
        ("ec.pem", "neither an RSA key"),
        ("public.pem", "expected the private one"),
        ("binary", "no text"),
        ("nosuch", "No such file"),
        (".", "Is a directory"),
    ] {
        let refused = tool.refused(&import(&file(name), "x"));
        assert!(refused.contains(why) && refused.contains(name), "{name}: {refused}");
    }
    assert!(tool.misused(&import(&file("seed"), "a/b")).contains("bad selector"));
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
