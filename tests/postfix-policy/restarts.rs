//! The daemon restarted, and killed, under a stream of mail, with its sockets kept open as systemd does for a `.socket` unit: every message is
//! taken at the first try, and nothing is lost. The real program, a real Postfix, `smtp-source` as the client, which gives up at the first
//! answer that is not what it should be.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::instance::{install, until};
use crate::postfix::Postfix;
use crate::postgres::Database;

/// Messages of one round, and restarts in all.
const MESSAGES: usize = 3000;
const RESTARTS: usize = 3;

/// Postfix asks a second time, a second later, and no third time (`smtpd_policy_service_try_limit`, `_retry_delay`): who restarts more often than that
/// does cost mail.
const BETWEEN: Duration = Duration::from_millis(2500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_costs_no_message_and_no_451() {
    let database = Database::create().await;
    install(&database, true).await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // A database that a busy machine makes slow is another story (`hung`): a new process knows nothing yet, and would say "try later".
    let configuration = directory.path().join("gatepost.toml");
    std::fs::write(
        &configuration,
        format!(
            "{}timeout = \"30s\"\n[log]\ntarget = \"stderr\"\n[postfix-policy]\nsocketmap = [\"systemd:socketmap\"]\n[[postfix-policy.policy]]\n\
             listen = [\"systemd:policy\"]\nchecks = [\"allow-deny\", \"recipient\"]\n",
            database.toml()
        ),
    )
    .unwrap();
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    let mut activation = Command::new("/usr/bin/python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/postfix-policy/activate.py"))
        .args(["socketmap", "policy"].map(|name| format!("{name}={}", directory.path().join(name).display())))
        .arg("--")
        .arg(env!("CARGO_BIN_EXE_gatepost-postfix-policy"))
        .arg("--config")
        .arg(&configuration)
        .arg("run")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(activation.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "started");
    let policy = format!("check_policy_service unix:{}", directory.path().join("policy").display());
    let main = format!(
        "mynetworks = 127.0.0.0/8\nsmtpd_recipient_restrictions = {policy}\nsmtpd_data_restrictions = {policy}\n"
    );
    let postfix = Postfix::start_beside(directory.path(), &main, "").await;

    let source = || {
        Command::new("smtp-source")
            .args(["-s", "8", "-l", "1024", "-f", "s@foreign.test", "-t", "boss@example.com", "-m"])
            .arg(MESSAGES.to_string())
            .arg(format!("127.0.0.1:{}", postfix.port()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut orders = activation.stdin.take().unwrap();
    // As many rounds of mail as it takes for the restarts: the machine may be fast.
    let (mut restarts, mut sent, mut order) = (0, 0, ["term", "kill"].iter().cycle());
    while restarts < RESTARTS {
        let mut round = source();
        loop {
            tokio::time::sleep(BETWEEN).await;
            if round.try_wait().unwrap().is_some() {
                break;
            }
            let order = order.next().unwrap();
            writeln!(orders, "{order}").unwrap();
            let ended = said.next().unwrap().unwrap();
            // 9: SIGKILL; 0: the daemon ended as it should.
            let expected = if *order == "kill" { "ended 9 " } else { "ended 0 " };
            assert!(ended.starts_with(expected), "{order}: {ended}");
            restarts += 1;
        }
        let output = round.wait_with_output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        let daemon = std::fs::read_to_string(directory.path().join("log")).unwrap();
        assert!(
            output.status.success() && complaint.is_empty(),
            "smtp-source: {complaint}\n{}\n{daemon}",
            postfix.log()
        );
        sent += MESSAGES;
        assert!(sent <= 20 * MESSAGES, "mail flows too fast for a restart in between");
    }
    let log = postfix.log();
    until("all is delivered", async || {
        postfix
            .log()
            .lines()
            .filter(|line| line.contains("to=<alice@example.com>") && line.contains("status=sent"))
            .count()
            == sent
    })
    .await;
    let refused = log.lines().filter(|line| line.contains("NOQUEUE: reject") || line.contains(" 451 "));
    assert_eq!(refused.count(), 0, "{log}");
    println!("{sent} messages, {restarts} restarts");
    postfix.stop().await;
    drop(orders);
    activation.wait().unwrap();
}
