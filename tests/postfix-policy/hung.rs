//! A PostgreSQL that is there and does not answer: stopped by SIGSTOP, behind locks, out of connections. What each map and each check says
//! meanwhile, what a client of a real Postfix hears, and that all is well by itself afterwards. In a cluster of its own, because the
//! others' tests must not stop with it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gatepost_postfix_policy::checks::CHECKS;
use gatepost_postfix_policy::maps::MAPS;

use crate::failures::{ROWS, WITHOUT_DATABASE, asks, key_of, only, request_of, silence_of};
use crate::instance::{Instance, Setup, install, soon, until};
use crate::postfix::Postfix;
use crate::postgres::Database;

/// Another cluster by `tests/with-postgres`; it ends with its standard input.
struct Cluster {
    child: Child,
    socket: PathBuf,
}

impl Cluster {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/with-postgres");
        let mut child = Command::new(script)
            .args(["sh", "-c", "echo \"$GATEPOST_TEST_PG\"; cat >/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "tests/with-postgres did not start");
        Self { child, socket: line.trim_end().into() }
    }

    /// Sends a signal to the postmaster and to all of its children.
    fn signal(&self, name: &str) {
        let pid_file = std::fs::read_to_string(self.socket.join("data/postmaster.pid")).unwrap();
        let postmaster = pid_file.lines().next().unwrap();
        let children =
            std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap();
        // One may have ended in between.
        let _ = Command::new("kill").arg(name).arg(postmaster).args(children.split_whitespace()).output();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.signal("-CONT");
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Holds every table of ours and of the tutorial's until it is dropped.
struct Lock(Child);

impl Lock {
    fn take(database: &Database) -> Self {
        let mut child = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"])
            .arg(database.socket())
            .arg(database.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let statements = "BEGIN; DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
            WHERE relkind = 'r' AND nspname IN ('public', 'gatepost') LOOP EXECUTE 'LOCK TABLE ' || t || ' IN ACCESS EXCLUSIVE MODE'; END LOOP; END $$;
            SELECT 'locked';\n";
        child.stdin.as_mut().unwrap().write_all(statements.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "locked\n");
        Self(child)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

async fn text(instance: &Instance, map: &str, key: &str) -> String {
    soon("an answer", instance.service.look_up(format!("{map} {key}").as_bytes())).await.text()
}

/// Every check in a daemon of its own, and one with all maps and a Postfix, on databases of one cluster.
struct Scene {
    cluster: Cluster,
    checks: Vec<(&'static str, Instance)>,
    instance: Instance,
    postfix: Postfix,
    _folder: tempfile::TempDir,
}

const TO_ALICE: &str = "RCPT TO:<alice@example.com>";
const TO_NOBODY: &str = "RCPT TO:<nobody@example.com>";

fn session(to: &'static str, answer: &'static str) -> [(&'static str, &'static str); 5] {
    [
        ("EHLO proxy.test", "250 "),
        ("XCLIENT ADDR=192.0.2.7 NAME=mx.foreign.test", "220 "),
        ("EHLO mx.foreign.test", "250 "),
        ("MAIL FROM:<s@foreign.test>", "250 "),
        (to, answer),
    ]
}

impl Scene {
    async fn set() -> Self {
        let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, "policy-secret").unwrap();
        std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        let role = format!(
            "database-user = \"gatepost_policy\"\ndatabase-password-file = \"{}\"\n",
            password.display()
        );
        let create = async || {
            let database = Database::create_in(cluster.socket.clone()).await;
            install(&database, true).await;
            database.sql("ALTER ROLE gatepost_policy LOGIN PASSWORD 'policy-secret'").await;
            let section = format!("{}timeout = \"1s\"\n", database.toml());
            (database, section)
        };
        let mut checks = Vec::new();
        for check in CHECKS.iter().filter(|check| asks(check.name)) {
            let (database, section) = create().await;
            checks.push((check.name, Instance::on(database, &section, &only(check.name, &role)).await));
        }
        let (database, section) = create().await;
        database.sql(ROWS).await;
        let checks_of_postfix =
            Some("[\"allow-deny\", \"sender-login\", \"recipient\", \"helo\", \"greylist\"]".into());
        let settings = format!("{role}[postfix-policy.greylist]\nverify = []\nwhen = \"always\"\n");
        let setup = Setup { settings, checks: checks_of_postfix, ..Setup::default() };
        let instance = Instance::on(database, &section, &setup).await;
        let policy = format!("check_policy_service unix:{}", instance.socket("policy").display());
        let main = format!(
            "smtpd_authorized_xclient_hosts = 127.0.0.1\nsmtpd_sender_restrictions =\nsmtpd_recipient_restrictions = {policy}\n"
        );
        let postfix = Postfix::start_with(&instance, &main, "").await;
        let scene = Self { cluster, checks, instance, postfix, _folder: folder };
        scene.is_well().await;
        scene
    }

    /// Everything answers as it does with a database.
    async fn is_well(&self) {
        until("the roll is there", async || self.instance.parts.directory.kept().is_some()).await;
        for map in
            MAPS.iter().filter(|map| !WITHOUT_DATABASE.contains(&map.name) && !map.name.starts_with("srs"))
        {
            until(&format!("{} is well", map.name), async || {
                text(&self.instance, map.name, key_of(map.name)).await.starts_with("OK ")
                    && text(&self.instance, map.name, "nobody@nowhere.test").await == "NOTFOUND "
            })
            .await;
        }
        for (name, instance) in &self.checks {
            let well = if *name == "greylist" { "DEFER_IF_PERMIT 4.2.0 Greylisted" } else { "DUNNO" };
            until(&format!("{name} is well"), async || {
                instance.service.forget();
                judged(name, instance).await.starts_with(well)
            })
            .await;
        }
        until("Postfix's checks are well", async || {
            self.instance.service.forget();
            judged("greylist", &self.instance).await.starts_with("DEFER_IF_PERMIT 4.2.0 Greylisted")
        })
        .await;
        self.postfix.session(&session(TO_NOBODY, "550 5.1.1 ")).await;
        self.postfix.session(&session(TO_ALICE, "450 4.2.0 ")).await;
    }

    /// What is said while there is trouble, and for a while.
    async fn is_cautious(&self, trouble: &str) {
        // Changes may wait to be told: what is not known is "try later" before anything is denied for want of a database.
        until("the trouble is noticed", async || {
            text(&self.instance, "mailboxes", "nobody@example.com").await.starts_with("TEMP ")
        })
        .await;
        for round in 0..2 {
            for map in MAPS.iter().filter(|map| !WITHOUT_DATABASE.contains(&map.name)) {
                let name = map.name;
                let known = text(&self.instance, name, key_of(name)).await;
                let kept = known.starts_with("OK ") || known.starts_with("TEMP ") || name.starts_with("srs");
                assert!(kept, "{trouble} {round} {name}: {known}");
            }
            for name in ["mailboxes", "aliases", "recipients", "senders"] {
                let unknown = text(&self.instance, name, "nobody@example.com").await;
                assert!(unknown.starts_with("TEMP "), "{trouble} {round} {name}: {unknown}");
            }
            assert_eq!(text(&self.instance, "mailboxes", "bob@example.com").await, "OK bob@example.com");
            for (name, instance) in &self.checks {
                instance.service.forget();
                let said = judged(name, instance).await;
                // Who is let through or not by what is in memory needs no database.
                assert!(said == silence_of(name) || said == "DUNNO", "{trouble} {round} {name}: {said}");
            }
            self.postfix.session(&session(TO_NOBODY, "45")).await;
            self.postfix.session(&session("RCPT TO:<boss@example.com>", "4")).await;
            tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        }
    }
}

/// What a check says to a message that it has not seen.
async fn judged(name: &str, instance: &Instance) -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let mut request = request_of(name);
    request.instance = format!("hung.{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    soon("an action", instance.service.judge(0, &request)).await.text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_hangs_denies_nothing_and_is_believed_again_by_itself() {
    let scene = Scene::set().await;

    scene.cluster.signal("-STOP");
    scene.is_cautious("stopped").await;
    scene.cluster.signal("-CONT");
    scene.is_well().await;

    let databases = || scene.checks.iter().map(|(_, instance)| instance).chain([&scene.instance]);
    let locks: Vec<Lock> = databases().map(|instance| Lock::take(&instance.database)).collect();
    for (name, instance) in &scene.checks {
        instance.service.forget();
        let said = judged(name, instance).await;
        assert!(said == silence_of(name) || said == "DUNNO", "{name}: {said}");
    }
    // What is announced and known counts on: listening works, and no row was changed.
    assert_eq!(text(&scene.instance, "mailboxes", "bob@example.com").await, "OK bob@example.com");
    scene.postfix.session(&session("RCPT TO:<boss@example.com>", "4")).await;
    drop(locks);
    scene.is_well().await;

    for instance in databases() {
        let name = instance.database.name();
        instance
            .database
            .sql(&format!(
                "ALTER DATABASE {name} CONNECTION LIMIT 0;
                 SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
            ))
            .await;
    }
    scene.is_cautious("full").await;
    for instance in databases() {
        instance
            .database
            .sql(&format!("ALTER DATABASE {} CONNECTION LIMIT -1", instance.database.name()))
            .await;
    }
    scene.is_well().await;

    scene.postfix.stop().await;
    scene.instance.stop().await;
    for (_, instance) in scene.checks {
        instance.stop().await;
    }
}
