//! What is written down about logins, what hosts share, what work a refusal costs, and what the log says of it.

use std::process::Stdio;

use crate::instance::{Instance, configuration, install, plain, until};
use crate::postgres::Database;

/// A second host over the same database, its sockets its own.
async fn second(instance: &Instance, settings: &str) -> Instance {
    let database = Database::create().await;
    Instance::on(database, &instance.database.toml(), settings).await
}

async fn try_from(instance: &Instance, login: &str, password: &str, rip: &str) -> String {
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    let resp = plain(login, password);
    lines
        .say(&[&format!(
            "AUTH\t1\tPLAIN\tservice=imap\trip={rip}\tclient_id=(\"name\" \"Mail\")\tresp={resp}"
        )])
        .await;
    lines.hear().await
}

async fn started(settings: &str) -> Instance {
    let database = Database::create().await;
    install(&database).await;
    let section = database.toml();
    let instance = Instance::on(database, &section, settings).await;
    until("changes are announced", async || instance.parts.directory.is_notified()).await;
    instance
}

const ALICE: &str = "alice@example.com";
const OK: &str = "OK\t1\tuser=alice@example.com";
const NO: &str = "FAIL\t1\tuser=alice@example.com";
const LATER: &str = "FAIL\t1\tuser=alice@example.com\tcode=temp_fail";
const THREE: &str = "[dovecot-auth.guessing]\nuser = 3";

#[tokio::test]
async fn logins_are_written_down_after_the_fact() {
    let instance = started("").await;
    let (secret, hash) = gatepost::directory::account::AppPasswordHash::generate();
    let statements = format!(
        "INSERT INTO gatepost.app_passwords (login, label, hash) VALUES ('{ALICE}', 'phone', '{hash}');
         INSERT INTO gatepost.master_users (master, scope) VALUES ('carl@123qwe.com', '*')"
    );
    instance.database.sql(&statements).await;
    assert_eq!(try_from(&instance, ALICE, "alice123", "192.0.2.1").await, OK);
    let last = "SELECT service, host(address), mechanism, client, app_password FROM gatepost.last_logins";
    until("the login is written down", async || {
        instance.database.sql(last).await == "imap|192.0.2.1|PLAIN|(\"name\" \"Mail\")|"
    })
    .await;
    until("the app password counts", async || {
        try_from(&instance, ALICE, secret.expose(), "2001:db8::7").await == OK
    })
    .await;
    until("its use is written down", async || {
        instance.database.sql(last).await == "imap|2001:db8::7|PLAIN|(\"name\" \"Mail\")|phone"
            && instance.database.sql("SELECT service, host(address) FROM gatepost.app_password_uses").await
                == "imap|2001:db8::7"
    })
    .await;
    let networks = "SELECT string_agg(network::text, ' ' ORDER BY network) FROM gatepost.known_networks";
    assert_eq!(instance.database.sql(networks).await, "192.0.2.0/24 192.0.2.1/32 2001:db8::/64");
    until("a master gets in, which is written down", async || {
        try_from(&instance, "alice@example.com*carl@123qwe.com", "carl123", "192.0.2.9").await == OK
            && instance
                .database
                .sql("SELECT DISTINCT master, login, host(address) FROM gatepost.master_logins")
                .await
                == "carl@123qwe.com|alice@example.com|192.0.2.9"
    })
    .await;
    // A master's login is not the user's.
    assert!(instance.database.sql(last).await.contains("2001:db8::7"));
    assert_eq!(instance.stop().await, 0);
}

#[tokio::test]
async fn what_happens_while_the_database_is_away_is_written_down_when_it_is_back() {
    let instance = started("").await;
    assert_eq!(try_from(&instance, ALICE, "alice123", "192.0.2.1").await, OK);
    let service = "SELECT host(address) FROM gatepost.last_logins";
    until("the login is written down", async || instance.database.sql(service).await == "192.0.2.1").await;
    instance.database.take_away().await;
    // What is cached still decides: right passwords and wrong ones.
    assert_eq!(try_from(&instance, ALICE, "alice123", "192.0.2.2").await, OK);
    assert_eq!(try_from(&instance, ALICE, "wrong", "192.0.2.2").await, NO);
    assert!(instance.metric("unwritten") >= 2);
    instance.database.give_back().await;
    until("both are written down", async || {
        instance.metric("unwritten") == 0
            && instance.database.sql(service).await == "192.0.2.2"
            && instance.database.sql("SELECT login, host(address), result FROM gatepost.login_guesses").await
                == "alice@example.com|192.0.2.2|wrong-password"
    })
    .await;
    assert_eq!(instance.stop().await, 0);
}

#[tokio::test]
async fn hosts_share_what_they_heard_and_a_restart_forgets_nothing() {
    let (one, other) = {
        let one = started(THREE).await;
        let other = second(&one, THREE).await;
        (one, other)
    };
    until("changes are announced", async || other.parts.directory.is_notified()).await;
    for (host, password) in [(&one, "a"), (&other, "b"), (&one, "c")] {
        assert_eq!(try_from(host, ALICE, password, "203.0.113.7").await, NO, "{password}");
    }
    for host in [&one, &other] {
        until("the other host heard it", async || {
            try_from(host, ALICE, "alice123", "203.0.113.7").await == LATER
        })
        .await;
    }
    assert_eq!(
        one.database.sql("SELECT count(*), count(DISTINCT guess) FROM gatepost.login_guesses").await,
        "3|3"
    );
    // Strangers are no hindrance where the login is known: from the table, on a host that never saw it.
    one.database
        .sql("INSERT INTO gatepost.known_networks VALUES ('alice@example.com', '198.51.100.0/24', now())")
        .await;
    assert_eq!(try_from(&other, ALICE, "alice123", "198.51.100.1").await, OK);
    // A restart.
    let restarted = second(&one, THREE).await;
    until("it read what was written down", async || {
        try_from(&restarted, ALICE, "alice123", "203.0.113.7").await == LATER
    })
    .await;
    // What `gatepost auth unblock` does.
    one.database
        .sql(
            "DELETE FROM gatepost.login_guesses; INSERT INTO gatepost.login_unblocks (key) VALUES ('alice@example.com');
             NOTIFY gatepost, 'login_guesses *'",
        )
        .await;
    for host in [&one, &other, &restarted] {
        until("it is forgotten everywhere", async || {
            try_from(host, ALICE, "alice123", "203.0.113.7").await == OK
        })
        .await;
    }
    for host in [restarted, other, one] {
        assert_eq!(host.stop().await, 0);
    }
}

#[tokio::test]
async fn many_guesses_at_once_are_not_more_than_the_limit() {
    let instance = Instance::start(THREE).await;
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    let requests: Vec<String> = (1..=60)
        .map(|id| {
            format!(
                "AUTH\t{id}\tPLAIN\tservice=imap\trip=203.0.113.7\tresp={}",
                plain(ALICE, &format!("guess {id}"))
            )
        })
        .collect();
    lines.say(&requests.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut looked_at = 0;
    for _ in 0..60 {
        looked_at += usize::from(!lines.hear().await.ends_with("code=temp_fail"));
    }
    assert_eq!(looked_at, 3);
    assert_eq!(instance.metric("logins_total{service=\"imap\",result=\"guessing\"}"), 57);
    assert_eq!(instance.metric("guesses"), 3);
    assert_eq!(instance.stop().await, 0);
}

/// Every way to be refused as for a wrong password costs one hash, with the parameters that the domain's hashes have.
#[tokio::test]
async fn every_silent_refusal_costs_the_same_work() {
    let instance = started("").await;
    let (secret, hash) = gatepost::directory::account::AppPasswordHash::generate();
    let statements = format!(
        "INSERT INTO users (local, domain, password_hash)
             SELECT name, 'example.com', password_hash FROM users, unnest(ARRAY['silent', 'switched', 'elsewhere', 'app']) AS name WHERE local = 'alice';
         INSERT INTO users (local, domain) VALUES ('nopass', 'example.com');
         INSERT INTO gatepost.login_locks (login, reason, shown) VALUES ('silent@example.com', 'x', '');
         INSERT INTO gatepost.login_rules (scope, services) VALUES ('switched@example.com', '{{}}');
         INSERT INTO gatepost.login_rules (scope, networks) VALUES ('elsewhere@example.com', '{{198.51.100.0/24}}');
         INSERT INTO gatepost.app_passwords (login, label, hash, expires_at) VALUES ('app@example.com', 'x', '{hash}', now() - interval '1 day')"
    );
    instance.database.sql(&statements).await;
    instance.parts.directory.flush();
    let cost = "hashes_total{cost=\"$argon2id$v=19$m=16,t=2,p=1\"}";
    // Before any of the domain's hashes was ever verified.
    assert_eq!(
        try_from(&instance, "nobody@example.com", "alice123", "192.0.2.1").await,
        "FAIL\t1\tuser=nobody@example.com"
    );
    assert_eq!(instance.metric(cost), 1);
    for (login, password, result) in [
        (ALICE, "wrong", "wrong-password"),
        ("nobody@example.com", "wrong", "unknown-user"),
        ("nopass@example.com", "wrong", "no-password"),
        ("silent@example.com", "alice123", "locked"),
        ("switched@example.com", "alice123", "service-off"),
        ("elsewhere@example.com", "alice123", "network"),
        ("app@example.com", secret.expose(), "expired"),
        ("bob@example.com*alice@example.com", "alice123", "other-user"),
        ("nobody@example.com*alice@example.com", "wrong", "wrong-password"),
        ("alice@example.com*nobody@example.com", "wrong", "unknown-user"),
    ] {
        let result = format!("logins_total{{service=\"imap\",result=\"{result}\"}}");
        let (hashed, counted) = (instance.metric(cost), instance.metric(&result));
        assert_eq!(try_from(&instance, login, password, "192.0.2.1").await, format!("FAIL\t1\tuser={login}"));
        assert_eq!(
            (instance.metric(cost), instance.metric(&result)),
            (hashed + 1, counted + 1),
            "{login} {result}"
        );
    }
    let text = instance.parts.metrics.text();
    assert_eq!(text.matches("hashes_total{").count(), 1, "{text}");
    assert_eq!(instance.stop().await, 0);
}

#[tokio::test]
async fn an_app_password_costs_no_hash_and_ten_of_them_do_not_either() {
    let instance = started("").await;
    let mut secrets = Vec::new();
    for number in 0..10 {
        let (secret, hash) = gatepost::directory::account::AppPasswordHash::generate();
        let statement = format!(
            "INSERT INTO gatepost.app_passwords (login, label, hash) VALUES ('{ALICE}', '{number}', '{hash}')"
        );
        instance.database.sql(&statement).await;
        secrets.push(secret);
    }
    instance.parts.directory.flush();
    for secret in &secrets {
        assert_eq!(try_from(&instance, ALICE, secret.expose(), "192.0.2.1").await, OK);
    }
    assert!(!instance.parts.metrics.text().contains("hashes_total{"));
    assert_eq!(try_from(&instance, ALICE, "alice123", "192.0.2.1").await, OK);
    assert_eq!(try_from(&instance, ALICE, "wrong", "192.0.2.1").await, NO);
    assert_eq!(instance.metric("hashes_total{cost=\"$argon2id$v=19$m=16,t=2,p=1\"}"), 2);
    assert_eq!(instance.stop().await, 0);
}

#[tokio::test]
async fn a_site_that_explains_tells_whoever_has_the_right_password() {
    let instance = started("explain-refusals = true").await;
    instance
        .database
        .sql("INSERT INTO gatepost.login_rules (scope, main_password) VALUES ('@example.com', '{}')")
        .await;
    instance.parts.directory.flush();
    let told = format!("{NO}\tcode=user_disabled\treason=This program needs an app password.");
    assert_eq!(try_from(&instance, ALICE, "alice123", "192.0.2.1").await, told);
    assert_eq!(try_from(&instance, ALICE, "wrong", "192.0.2.1").await, NO);
    assert_eq!(instance.stop().await, 0);
}

/// A role that may not read the rules cannot say that there are none.
#[tokio::test]
async fn rules_that_cannot_be_read_are_not_taken_for_none() {
    let database = Database::create().await;
    install(&database).await;
    database.sql("REVOKE SELECT ON gatepost.login_rules FROM mail_user").await;
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    std::fs::write(&password, "mail_user\n").unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let section = format!(
        "{}password-file = \"{}\"\n",
        database.toml().replace("\"postgres\"", "\"mail_user\""),
        password.display()
    );
    let instance = Instance::on(database, &section, "").await;
    assert_eq!(try_from(&instance, ALICE, "alice123", "192.0.2.1").await, LATER);
    assert_eq!(instance.metric("logins_total{service=\"imap\",result=\"misconfigured\"}"), 1);
    instance.database.sql("GRANT SELECT ON gatepost.login_rules TO mail_user").await;
    assert_eq!(try_from(&instance, ALICE, "alice123", "192.0.2.1").await, OK);
    assert_eq!(instance.stop().await, 0);
}

/// The program's own log, read by fail2ban's filter where fail2ban is installed.
#[tokio::test]
async fn each_failed_attempt_is_one_line_that_fail2ban_reads() {
    let (directory, database) = (tempfile::tempdir().unwrap(), Database::create().await);
    install(&database).await;
    database.sql("INSERT INTO gatepost.login_locks (login, reason) VALUES ('bob@example.com', 'x')").await;
    let config = directory.path().join("gatepost.toml");
    std::fs::write(
        &config,
        configuration(directory.path(), &database.toml(), "[dovecot-auth.guessing]\nuser = 2"),
    )
    .unwrap();
    let log = directory.path().join("log");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_gatepost-dovecot-auth"))
        .arg("--config")
        .arg(&config)
        .arg("run")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let socket = directory.path().join("login");
    until("it listens", async || tokio::net::UnixStream::connect(&socket).await.is_ok()).await;
    let said = {
        use std::io::{BufRead, Write};
        let forged = "x@example.com service=imap rip=198.51.100.66 mechanism=PLAIN session_id= result=wrong-password guess=new";
        let logins = [
            ("alice@example.com", "one", "203.0.113.1"),
            ("alice@example.com", "one", "203.0.113.1"),
            ("nobody@example.com", "x", "2001:db8::bad"),
            ("alice@example.com", "two", "203.0.113.1"),
            ("alice@example.com", "three", "203.0.113.1"),
            (forged, "x", "203.0.113.2"),
            ("alice@example.com", "alice123", "203.0.113.3"),
            ("bob@example.com", "bob123", "203.0.113.4"),
            ("carl@123qwe.com", "carl123", "203.0.113.5"),
        ];
        tokio::task::spawn_blocking(move || {
            let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
            let mut text = "VERSION\t1\t2\nCPID\t1\n".to_owned();
            let mut said = Vec::new();
            let mut lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
            for (id, (login, password, rip)) in logins.iter().enumerate() {
                text += &format!(
                    "AUTH\t{id}\tPLAIN\tservice=imap\trip={rip}\tsession=s{id}\tresp={}\n",
                    plain(login, password)
                );
                stream.write_all(text.as_bytes()).unwrap();
                text.clear();
                let answer = lines
                    .by_ref()
                    .map(Result::unwrap)
                    .find(|line| line.starts_with("OK\t") || line.starts_with("FAIL\t"));
                said.push(answer.unwrap());
            }
            said
        })
        .await
        .unwrap()
    };
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id().cast_signed()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert!(said[8].starts_with("OK\t8\tuser=carl@123qwe.com"), "{said:?}");
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(": login ")).collect();
    assert_eq!(lines.len(), 9, "{text}");
    for (line, part) in lines.iter().zip([
        "rip=203.0.113.1 mechanism=PLAIN session_id=s0 result=wrong-password guess=new",
        "result=wrong-password guess=again",
        "login refused login=nobody@example.com service=imap rip=2001:db8::bad mechanism=PLAIN session_id=s2 result=unknown-user guess=new",
        "result=wrong-password guess=new",
        "result=guessing",
        "result=unknown-user guess=new",
        // From an address that alice never used: after two guesses hers is not looked at.
        "rip=203.0.113.3 mechanism=PLAIN session_id=s6 result=guessing",
        "session_id=s7 result=locked",
        "login accepted login=carl@123qwe.com service=imap rip=203.0.113.5 mechanism=PLAIN session_id=s8 result=ok",
    ]) {
        assert!(line.contains(part), "{part}: {line}");
    }
    for secret in ["alice123", "carl123", "three"] {
        assert!(!text.contains(secret), "{secret} is in the log");
    }
    let filter =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/fail2ban/filter.d/gatepost-dovecot-auth.conf");
    let mut program = std::process::Command::new("fail2ban-regex");
    program.arg("--print-all-matched").arg(&log).arg(filter);
    let Ok(output) = tokio::task::spawn_blocking(move || program.output()).await.unwrap() else {
        println!("NOT RUN: fail2ban-regex is not installed");
        return;
    };
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let matched: Vec<&str> = output
        .lines()
        .take_while(|line| !line.contains("Missed line"))
        .filter_map(|line| line.split_once("session_id=s")?.1.split(' ').next())
        .collect();
    assert_eq!(matched, ["0", "2", "3", "4", "5", "6"], "{output}");
}
