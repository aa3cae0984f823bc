//! The admin tool as an admin runs it: what was typed, what it answered, what stands in the database then.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::postgres::Database;

/// `gatepost` with a configuration of its own.
pub(crate) struct Tool {
    dir: tempfile::TempDir,
}

impl Tool {
    pub(crate) fn new(database: &Database) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("gatepost.toml"), database.toml()).unwrap();
        Self { dir }
    }

    /// Runs it with `input` on stdin; exit code, stdout and stderr.
    pub(crate) fn run(&self, arguments: &str, input: &str) -> (i32, String, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gatepost"))
            .arg("--config")
            .arg(self.dir.path().join("gatepost.toml"))
            .args(arguments.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    pub(crate) fn ok(&self, arguments: &str) -> String {
        self.ok_with(arguments, "")
    }

    fn ok_with(&self, arguments: &str, input: &str) -> String {
        let (code, out, err) = self.run(arguments, input);
        assert_eq!(code, 0, "gatepost {arguments}: {out}{err}");
        out
    }

    pub(crate) fn refused(&self, arguments: &str) -> String {
        let (code, out, err) = self.run(arguments, "");
        assert_eq!(code, 1, "gatepost {arguments}: {out}{err}");
        err
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_users_aliases_and_shares_come_and_go() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("domain add Bücher.example");
    assert!(tool.refused("domain add xn--bcher-kva.example").contains("hosted already"));
    tool.ok_with("user add dora@bücher.example --display-name Dora", "geheim\n");
    assert!(
        tool.refused("user add x@nowhere.example --no-password")
            .contains("gatepost domain add nowhere.example")
    );
    assert!(tool.refused("user add alice@example.com --no-password").contains("there already"));
    let hash = database.sql("SELECT password_hash FROM users WHERE local = 'dora'").await;
    assert!(hash.starts_with("$argon2id$v=19$m=65536,t=4,p=1$"), "{hash}");
    tool.ok_with("user password dora@bücher.example", "neu\n");
    assert_ne!(database.sql("SELECT password_hash FROM users WHERE local = 'dora'").await, hash);
    assert!(tool.refused("user password dora@bücher.example").contains("nothing was changed"));
    tool.ok("alias add sales@example.com dora@bücher.example");
    assert!(tool.refused("alias add sales@example.com bob@example.com").contains("leads somewhere already"));
    assert!(tool.refused("alias add alice@example.com bob@example.com").contains("is a mailbox"));
    assert!(
        tool.refused("alias add info@example.com nobody@example.com")
            .contains("no mailbox nobody@example.com")
    );
    assert!(tool.ok("alias list example.com").contains("sales@example.com       dora@xn--bcher-kva.example"));
    tool.ok("share add dora@bücher.example bob@example.com");
    assert!(tool.ok("share list").contains("dora@xn--bcher-kva.example  bob@example.com"));
    assert!(tool.refused("domain remove bücher.example").contains("still has users"));
    assert!(tool.refused("user remove dora@bücher.example").contains("--yes"));
    assert!(tool.ok("user remove dora@bücher.example --yes").contains("1 alias(es)"));
    assert_eq!(database.sql("SELECT count(*) FROM aliases WHERE source_local = 'sales'").await, "0");
    tool.ok("domain remove bücher.example");
    assert!(tool.ok("user list").contains("alice@example.com  ARGON2ID  Alice"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_new_until_it_is_activated() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    assert!(tool.refused("dkim generate example.com").contains("gatepost schema install"));
    tool.ok("schema install");
    let out = tool.ok("dkim generate example.com --selector 20260120");
    let record = tool.ok("dkim dns example.com");
    assert!(out.contains(record.trim()), "{out}");
    assert!(record.starts_with("20260120._domainkey.example.com. 3600 IN TXT ( \"v=DKIM1; k=rsa; p="));
    assert_eq!(database.sql("SELECT state, activated_at IS NULL FROM gatepost.dkim_keys").await, "new|t");
    tool.ok("dkim activate example.com 20260120");
    assert_eq!(database.sql("SELECT state, activated_at IS NULL FROM gatepost.dkim_keys").await, "active|f");
    assert!(tool.refused("dkim generate example.com --selector 20260120").contains("already"));
    assert!(tool.refused("dkim generate example.com --selector a/b").contains("bad selector"));
    assert!(tool.refused("dkim generate example.net").contains("not hosted"));
    let pem = database.sql("SELECT private_key FROM gatepost.dkim_keys").await;
    assert!(!out.contains(pem.lines().nth(1).unwrap()), "the private key was shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_bites_and_what_to_do() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    database
        .sql(
            "INSERT INTO users (local, domain) VALUES ('nopw', 'example.com'), ('Alice', 'example.com');
             INSERT INTO users (local, domain, password_hash) VALUES ('old', 'example.com', '{PLAIN}x');
             INSERT INTO aliases VALUES ('bob', 'example.com', 'alice', 'example.com');
             INSERT INTO view_shared_mailboxes VALUES ('bob@example.com', 'bob@example.com')",
        )
        .await;
    let (code, out, _) = tool.run("check", "");
    assert_eq!(code, 1, "{out}");
    for finding in [
        "warn  schema gatepost is not installed",
        "warn  nopw@example.com has no password",
        "fail  alice@example.com is there twice",
        "fail  old@example.com has a hash of an unknown scheme",
        "warn  alias bob@example.com is also a mailbox",
        "warn  bob@example.com is shared to itself",
        "warn  123qwe.com has no postmaster",
    ] {
        assert!(out.contains(finding), "{finding:?} is missing in:\n{out}");
    }
    database.sql("DELETE FROM users WHERE local IN ('Alice', 'old')").await;
    tool.ok("schema install");
    let out = tool.ok("check");
    assert!(out.contains("ok    role gatepost_auth may what it needs and no more"), "{out}");
    database.sql("GRANT SELECT ON users TO gatepost_milter").await;
    assert!(tool.run("check", "").1.contains("fail  role gatepost_milter may read password hashes: true"));
    database.sql("REVOKE SELECT ON users FROM gatepost_milter").await;
}

#[test]
fn a_wrong_command_line_and_a_wrong_file_have_their_own_exit_codes() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_gatepost")).args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(&["domin", "list"]).0, 64);
    let (code, error) = run(&["--config", "/nonexistent/gatepost.toml", "domain", "list"]);
    assert_eq!(code, 78);
    assert!(error.contains("/nonexistent/gatepost.toml: "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_of_every_kind_come_and_go() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    assert!(tool.refused("alias add boss@example.com bob@example.com").contains("schema install"));
    assert!(tool.refused("alias add x@example.com far@foreign.test").contains("gatepost schema install"));
    assert!(tool.refused("domain add r.test --kind relay --next-hop [192.0.2.1]").contains("schema install"));
    tool.ok("schema install");
    // One mailbox: the tutorial's table. More, or outside: ours.
    tool.ok("alias add one@example.com bob@example.com");
    assert_eq!(database.sql("SELECT count(*) FROM aliases WHERE source_local = 'one'").await, "1");
    tool.ok("alias add one@example.com far@Foreign.test carl@123qwe.com");
    assert_eq!(
        database.sql("SELECT destination FROM gatepost.aliases WHERE local = 'one' ORDER BY 1").await,
        "carl@123qwe.com\nfar@foreign.test"
    );
    assert!(
        tool.refused("alias add one@example.com bob@example.com")
            .contains("leads to bob@example.com already")
    );
    assert!(
        tool.refused("alias add two@example.com far@foreign.test ghost@example.com")
            .contains("no mailbox ghost")
    );
    assert_eq!(database.sql("SELECT count(*) FROM gatepost.aliases WHERE local = 'two'").await, "0");
    assert!(tool.refused("alias add alice@example.com far@foreign.test").contains("is a mailbox"));
    assert!(
        tool.refused("alias add x@foreign.test bob@example.com").contains("gatepost domain add foreign.test")
    );
    tool.ok("alias remove one@example.com bob@example.com");
    assert_eq!(database.sql("SELECT count(*) FROM aliases WHERE source_local = 'one'").await, "0");
    tool.ok("alias add @123qwe.com bob@example.com");
    tool.ok("alias add --wildcard sales-*@example.com $1@foreign.test --rank 5");
    tool.ok("alias add --regex (info|help)[0-9]+@example.com bob@example.com");
    assert!(tool.refused("alias add --regex (@example.com bob@example.com").contains("bad regex"));
    assert!(tool.refused("alias add --wildcard x*@example.com $2@foreign.test").contains("has $2"));
    let list = tool.ok("alias list");
    for line in [
        "one@example.com                carl@123qwe.com    alias",
        "@123qwe.com                    bob@example.com    catch-all",
        "sales-*@example.com            $1@foreign.test    wildcard 5",
        "(info|help)[0-9]+@example.com  bob@example.com    regex 100",
    ] {
        assert!(list.contains(line), "{line:?} is missing in:\n{list}");
    }
    tool.ok("alias remove --wildcard sales-*@example.com");
    tool.ok("alias remove one@example.com");
    assert!(tool.refused("alias remove one@example.com").contains("there is no alias"));
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_of_every_kind_rights_and_rules_come_and_go() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("schema install");
    tool.ok("domain add relay.test --kind relay --next-hop [192.0.2.1]:2525 --recipients listed");
    tool.ok("domain add backup.test --kind backup");
    tool.ok("domain add old.test --kind alias --of example.com");
    for (line, sentence) in [
        ("domain add x.test --kind relay", "needs --next-hop"),
        ("domain add x.test --kind alias", "needs --of"),
        ("domain add x.test --kind alias --of nowhere.test", "not hosted"),
        ("domain add x.test --kind alias --of x.test", "itself"),
        ("domain add x.test --next-hop a.test", "--kind"),
        ("domain add relay.test", "hosted already"),
        ("domain remove example.com", "another name"),
        ("sendas add info@example.com ghost@example.com", "no mailbox ghost"),
        ("sendas add info@foreign.test bob@example.com", "not hosted"),
        ("access add client a@b.test reject", "expected an IP address"),
        ("access add sender b.test ok fine", "takes no reason"),
        ("transport remove @foreign.test", "no transport"),
        ("bcc remove sender bob@example.com", "no copies"),
    ] {
        let error = tool.refused(line);
        assert!(error.contains(sentence), "{line}: {error}");
    }
    let usage = |line: &str| tool.run(line, "");
    for line in [
        "domain add x.test --kind relay --next-hop a..b",
        "access add everybody x reject",
        "access add sender b.test FILTER",
        "transport add @b.test smtp",
        "bcc add both a@example.com b@example.com",
    ] {
        assert_eq!(usage(line).0, 64, "{line}");
    }
    let list = tool.ok("domain list");
    for line in ["relay.test   0      0        relay   [192.0.2.1]:2525, listed recipients", "of example.com"]
    {
        assert!(list.contains(line), "{line:?} is missing in:\n{list}");
    }
    tool.ok("alias add known@relay.test known@relay.test");
    assert!(tool.refused("domain remove relay.test").contains("still has users or aliases"));
    tool.ok("alias remove known@relay.test");
    tool.ok("domain remove relay.test");
    tool.ok("domain remove old.test");
    tool.ok("sendas add @example.com bob@example.com");
    assert!(tool.ok("sendas list").contains("@example.com  bob@example.com"));
    tool.ok("sendas remove @example.com bob@example.com");
    tool.ok("access add client 192.0.2.0/24 reject no");
    tool.ok("access add client 192.0.2.0/24 defer");
    assert!(tool.ok("access list").contains("client   192.0.2.0/24  defer"));
    tool.ok("access remove client 192.0.2.0/24");
    tool.ok("bcc add sender @example.com bob@example.com");
    tool.ok("bcc remove sender @example.com");
    tool.ok("transport add @foreign.test smtp:[gate.test]:587");
    tool.ok("transport remove @foreign.test");
    for table in ["send_as", "access", "bcc", "transports", "aliases"] {
        assert_eq!(database.sql(&format!("SELECT count(*) FROM gatepost.{table}")).await, "0", "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_loops_and_dangling_targets() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("schema install");
    database
        .sql(
            "INSERT INTO gatepost.aliases VALUES ('a', 'example.com', 'b@example.com'), ('b', 'example.com', 'a@example.com'),
                 ('half', 'example.com', 'ghost@example.com'), ('half', 'example.com', 'bob@example.com'),
                 ('gone', 'example.com', 'ghost@example.com'), ('alice', 'example.com', 'far@foreign.test'), ('x', 'nowhere.test', 'bob@example.com'),
                 ('postmaster', '123qwe.com', 'bob@example.com');
             INSERT INTO gatepost.alias_patterns (domain, kind, pattern, destination) VALUES ('example.com', 'wildcard', 'q*', 'ghost@example.com');
             INSERT INTO gatepost.hosted_domains (domain, kind, target) VALUES ('old.test', 'alias', 'gone.test')",
        )
        .await;
    let (code, out, _) = tool.run("check", "");
    assert_eq!(code, 1, "{out}");
    for finding in [
        "fail  alias a@example.com leads only to a@example.com again; mail for it is deferred",
        "warn  alias half@example.com leads to ghost@example.com, which is not there; that destination is left out",
        "fail  alias gone@example.com leads only to ghost@example.com, which is not there",
        "warn  alias alice@example.com is also a mailbox",
        "fail  alias x@nowhere.test can never be reached",
        "fail  wildcard q*@example.com leads to ghost@example.com, which is not there",
        "fail  old.test is another name of gone.test, which is not hosted",
    ] {
        assert!(out.contains(finding), "{finding:?} is missing in:\n{out}");
    }
    assert!(!out.contains("123qwe.com has no postmaster"), "{out}");
}
