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
        Self::with(database, "")
    }

    /// With further sections.
    pub(crate) fn with(database: &Database, sections: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("gatepost.toml"), format!("{}{sections}", database.toml())).unwrap();
        Self { dir }
    }

    /// Its directory, which goes with it.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
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

    /// Runs it with arguments that may have blanks.
    pub(crate) fn run_with(&self, arguments: &[&str]) -> (i32, String, String) {
        let config = self.dir.path().join("gatepost.toml");
        let mut tool = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        let output = tool.arg("--config").arg(config).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    pub(crate) fn ok(&self, arguments: &str) -> String {
        self.ok_with(arguments, "")
    }

    pub(crate) fn ok_with(&self, arguments: &str, input: &str) -> String {
        let (code, out, err) = self.run(arguments, input);
        assert_eq!(code, 0, "gatepost {arguments}: {out}{err}");
        out
    }

    /// What is said of a command line that is not understood.
    pub(crate) fn misused(&self, arguments: &str) -> String {
        let (code, out, err) = self.run(arguments, "");
        assert_eq!(code, 64, "gatepost {arguments}: {out}{err}");
        err
    }

    pub(crate) fn refused(&self, arguments: &str) -> String {
        let (code, out, err) = self.run(arguments, "");
        assert_eq!(code, 1, "gatepost {arguments}: {out}{err}");
        err
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_can_be_proved_by_whoever_could_prove_the_old_one() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("schema install");
    let kept = "SELECT mechanism || ' ' || (sha256(convert_to(password_hash, 'UTF8')) = hash_mark)::text || ' ' || verifier
        FROM gatepost.scram_verifiers JOIN users_fqda ON fqda = login";
    tool.ok_with("user password bob@example.com", "neu\n");
    assert_eq!(database.sql(kept).await, "");
    database.sql("INSERT INTO gatepost.scram_verifiers (login, mechanism, verifier, hash_mark) VALUES ('bob@example.com', 'SCRAM-SHA-256', 'old', sha256('old'))").await;
    assert_eq!(database.sql(kept).await, "SCRAM-SHA-256 false old");
    tool.ok_with("user password bob@example.com", "noch neuer\n");
    let row = database.sql(kept).await;
    let verifier = row.strip_prefix("SCRAM-SHA-256 true ").unwrap_or_else(|| panic!("{row}"));
    let hash = gatepost::password::StoredHash::parse(format!("{{SCRAM-SHA-256}}{verifier}"));
    for (password, expected) in [("noch neuer", true), ("neu", false)] {
        assert_eq!(hash.verify(&gatepost::config::Secret::new(password.into())), Ok(expected));
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

/// `src/ctl/mod.rs` has the list of all verbs that ask; what Postfix holds is asked about in a scene of tests/stack.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_back_is_asked_about_first() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("schema install");
    tool.ok("dkim generate example.com --selector old");
    tool.ok("apppassword add alice@example.com phone");
    database
        .sql("INSERT INTO gatepost.training_log (label, owner, source, message, sample) VALUES ('ham', 'alice@example.com', 'tool', decode(repeat('00', 16), 'hex'), '')")
        .await;
    let everything = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM gatepost.dkim_keys WHERE private_key <> ''),
        (SELECT count(*) FROM gatepost.app_passwords), (SELECT count(*) FROM gatepost.training_log)";
    let before = database.sql(everything).await;
    for verb in [
        "user remove alice@example.com",
        "dkim remove example.com old",
        "apppassword remove alice@example.com phone",
        "model forget alice@example.com",
        "schema remove",
    ] {
        let said = tool.refused(verb);
        assert!(said.contains("Nothing was changed; give --yes to go on"), "{verb}: {said}");
        assert_eq!(database.sql(everything).await, before, "{verb}");
    }
    for verb in [
        "model forget alice@example.com --yes",
        "apppassword remove alice@example.com phone --yes",
        "dkim remove example.com old --yes",
        "user remove alice@example.com --yes",
        "schema remove --yes",
    ] {
        tool.ok(verb);
    }
}

/// What takes several statements is done as a whole or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_removed_wholly_stays_whole() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("schema install");
    tool.ok("apppassword add alice@example.com phone");
    database
        .sql("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not now'; END $$;
              CREATE TRIGGER no BEFORE DELETE ON gatepost.app_passwords FOR EACH ROW EXECUTE FUNCTION no()")
        .await;
    assert!(tool.refused("user remove alice@example.com --yes").contains("not now"));
    assert_eq!(database.sql("SELECT count(*) FROM users WHERE local = 'alice'").await, "1");
    // Somebody made a relay domain of one that has mailboxes: without its row it would be a local domain again.
    database.sql("INSERT INTO gatepost.hosted_domains (domain, kind, next_hop) VALUES ('123qwe.com', 'relay', 'a.test')").await;
    assert!(tool.refused("domain remove 123qwe.com").contains("still has users"));
    assert_eq!(
        database.sql("SELECT kind FROM gatepost.hosted_domains WHERE domain = '123qwe.com'").await,
        "relay"
    );
}

/// The tutorial's tables have international domains as somebody typed them.
#[tokio::test(flavor = "multi_thread")]
async fn a_domain_in_letters_is_the_one_of_dns() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("schema install");
    database
        .sql(
            "INSERT INTO domains VALUES ('bücher.example');
             INSERT INTO users (domain, local) VALUES ('bücher.example', 'dora');
             INSERT INTO gatepost.dkim_keys (domain, selector, algorithm, private_key, public_key, state, published_at, activated_at) VALUES ('xn--bcher-kva.example', 's', 'rsa-sha256', 'x', 'y', 'active', now(), now())",
        )
        .await;
    tool.ok("alias add sales@example.com dora@bücher.example");
    assert!(tool.refused("alias remove sales@example.com bob@example.com").contains("to that"));
    tool.ok("alias remove sales@example.com dora@bücher.example");
    assert_eq!(database.sql("SELECT count(*) FROM aliases WHERE source_local = 'sales'").await, "0");
    let (_, said, _) = tool.run("check --offline", "");
    assert!(
        said.contains("mail of example.com is not signed")
            && !said.contains("mail of bücher.example is not signed"),
        "{said}"
    );
}

/// The milter's row is there a moment before its message is on hold.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_quarantine_goes_only_when_its_message_has_gone() {
    use std::os::unix::fs::PermissionsExt;
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("schema install");
    database
        .sql(
            "INSERT INTO gatepost.quarantine (host, queue_id, held_at, sender, recipients, subject, score, why)
             SELECT 'mx.test', id, now() - age, 's@x.test', '{alice@example.com}', '', 9, ''
             FROM (VALUES ('ABCDE1', interval '1 second'), ('ABCDE2', interval '1 hour')) AS r (id, age)",
        )
        .await;
    for (program, says) in [("postconf", "echo mx.test"), ("postqueue", ":")] {
        let path = tool.dir().join(program);
        std::fs::write(&path, format!("#!/bin/sh\n{says}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", tool.dir().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command
        .env("PATH", path)
        .arg("--config")
        .arg(tool.dir().join("gatepost.toml"))
        .args(["quarantine", "list"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(database.sql("SELECT queue_id FROM gatepost.quarantine").await, "ABCDE1");
}

/// `| head -1` is no failure of what was done; a full disk is one of what was to be written.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_no_further_is_no_failure_and_a_full_disk_is_one() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    let run = |arguments: &str, stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.arg("--config").arg(tool.dir().join("gatepost.toml")).args(arguments.split_whitespace());
        let output = command.stdout(stdout).stderr(Stdio::piped()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for arguments in
        ["schema install", "schema status", "schema print", "domain list", "domain add x.example"]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(arguments, writer.into()), (0, String::new()), "{arguments}");
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let (code, said) = run(&arguments.replace("x.example", "y.example"), full.into());
        assert!(code == 70 && said.contains("cannot write to standard output"), "{arguments}: {code} {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_installed_is_said_to_programs_too() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    let status = || -> serde_json::Value { serde_json::from_str(&tool.ok("schema status --json")).unwrap() };
    assert_eq!(status()["version"], serde_json::Value::Null);
    assert_eq!(status()["triggers"], "0");
    tool.ok("schema install");
    let status = status();
    assert_eq!(status["version"], status["known_version"]);
    assert_eq!(status["triggers"], status["all_triggers"]);
    assert_eq!(status["roles"], "gatepost_milter gatepost_auth gatepost_policy");
    assert_eq!(status["missing_roles"], serde_json::Value::Null);
}

/// What does not hang on the Postfix and the Dovecot of this machine.
const HERE: &str =
    "check --offline --skip configuration --skip postfix --skip dovecot --skip sockets --skip certificates";

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_bites_and_what_to_do() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    database
        .sql(
            "INSERT INTO users (local, domain) VALUES ('nopw', 'example.com'), ('Alice', 'example.com');
             INSERT INTO users (local, domain, password_hash) VALUES ('old', 'example.com', '{PLAIN}x'),
                 ('older', 'example.com', '{LANMAN}x'), ('dear', 'example.com', '{PBKDF2}$1$salt$1000000000$4ae56ddd5f7928253e3c08c83fd84ae7d4f1dd53');
             INSERT INTO aliases VALUES ('bob', 'example.com', 'alice', 'example.com');
             INSERT INTO view_shared_mailboxes VALUES ('bob@example.com', 'bob@example.com')",
        )
        .await;
    let (code, out, _) = tool.run("check --offline", "");
    assert_eq!(code, 1, "{out}");
    for finding in [
        "warn  schema gatepost is not installed",
        "warn  nopw@example.com has no password",
        "fail  alice@example.com is there twice",
        "warn  old@example.com has a PLAIN hash, which is weak: it logs in only if `weak-schemes` in [dovecot-auth] names PLAIN",
        "fail  older@example.com has a hash of an unknown scheme",
        "fail  dear@example.com never logs in: PBKDF2 hash would take about 1000 s, more than a login may",
        "warn  alias bob@example.com is also a mailbox",
        "warn  bob@example.com is shared to itself",
        "warn  123qwe.com has no postmaster",
    ] {
        assert!(out.contains(finding), "{finding:?} is missing in:\n{out}");
    }
    database.sql("DELETE FROM users WHERE local IN ('Alice', 'old', 'older', 'dear')").await;
    tool.ok("schema install");
    let out = tool.ok(HERE);
    assert!(out.contains("ok    role gatepost_auth may what it needs and no more"), "{out}");
    database.sql("GRANT SELECT ON users TO gatepost_milter").await;
    assert!(tool.run(HERE, "").1.contains("fail  role gatepost_milter may read password hashes: true"));
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
