//! `gatepost dkim import`: keys of other programs, made by openssl, sign at once.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::dkim::{states, world};

pub(crate) fn openssl(arguments: &[&str]) -> String {
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
