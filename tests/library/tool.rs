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

#[tokio::test(flavor = "multi_thread")]
async fn the_records_for_encrypted_delivery_are_ready_to_paste() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    let certificate = tool.dir.path().join("certificate.pem");
    let shell = format!(
        "cd {} && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out certificate.pem -subj /CN=mx 2>/dev/null && \
         openssl x509 -in certificate.pem -noout -pubkey | openssl pkey -pubin -outform der | sha256sum",
        tool.dir.path().display()
    );
    let output = Command::new("sh").args(["-c", &shell]).output().unwrap();
    let digest = String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned();
    let hosts = "--mx mx1.example.com --mx mx2.example.net";
    let out = tool.ok(&format!(
        "domain dns example.com {hosts} --mode enforce --certificate {}",
        certificate.display()
    ));
    for line in [
        ";   version: STSv1\n;   mode: enforce\n;   mx: mx1.example.com\n;   mx: mx2.example.net\n;   max_age: 604800\n",
        "\n_smtp._tls.example.com. 3600 IN TXT \"v=TLSRPTv1; rua=mailto:postmaster@example.com\"\n",
        &format!(
            "\n_25._tcp.mx1.example.com. 3600 IN TLSA 3 1 1 {digest}\n_25._tcp.mx2.example.net. 3600 IN TLSA 3 1 1 {digest}\n"
        ),
    ] {
        assert!(out.contains(line), "{line:?} is missing in:\n{out}");
    }
    let id =
        |out: &str| out.lines().find(|line| line.starts_with("_mta-sts.example.com.")).unwrap().to_owned();
    // The id is another if and only if the policy is.
    assert_eq!(id(&tool.ok(&format!("domain dns example.com {hosts} --mode enforce"))), id(&out));
    assert_ne!(id(&tool.ok(&format!("domain dns example.com {hosts}"))), id(&out));
    assert!(tool.refused(&format!("domain dns other.example {hosts}")).contains("not hosted here"));
    std::fs::write(&certificate, "no certificate").unwrap();
    let error =
        tool.refused(&format!("domain dns example.com {hosts} --certificate {}", certificate.display()));
    assert!(error.contains("certificate.pem: there is no certificate"), "{error}");
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
