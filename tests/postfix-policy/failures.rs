//! The failure column: what each map and each check says while the database is away, was never there, or refuses.

use gatepost_postfix_policy::checks::CHECKS;
use gatepost_postfix_policy::maps::MAPS;
use gatepost_postfix_policy::protocol::policy::Request;

use crate::instance::{Instance, Setup, install, soon, until};
use crate::postgres::Database;

const NOWHERE: &str = "[database]\nhost = \"/nonexistent\"\ntimeout = \"500ms\"\n";

/// A key that is there, for each map.
pub fn key_of(map: &str) -> &'static str {
    match map {
        "domains" => "example.com",
        "relay-domains" => "relay.example",
        "aliases" => "boss@example.com",
        "mailboxes" | "recipients" | "senders" => "alice@example.com",
        "transport" => "x@relay.example",
        "sender-access" | "recipient-access" => "x@listed.example",
        "client-access" => "192.0.2.7",
        "helo-access" => "mail.listed.example",
        "sender-bcc" | "recipient-bcc" => "alice@example.com",
        "srs-route" | "srs-forward" => "friend@foreign.example",
        "srs-reverse" => "SRS0=x=x=foreign.example=friend@example.com",
        _ => panic!("give map {map} a key here"),
    }
}

/// What is there for these keys beside the tutorial's rows.
pub const ROWS: &str = "
    INSERT INTO gatepost.hosted_domains (domain, kind, next_hop) VALUES ('relay.example', 'relay', '[192.0.2.1]');
    INSERT INTO gatepost.access VALUES ('sender', 'listed.example', 'reject', 'no'), ('recipient', 'listed.example', 'hold', NULL),
        ('client', '192.0.2.0/24', 'defer', NULL), ('helo', 'listed.example', 'warn', NULL);
    INSERT INTO gatepost.bcc VALUES ('sender', 'alice@example.com', 'bob@example.com'), ('recipient', '@example.com', 'bob@example.com');";

/// Maps that need no database for any key: what was signed here is known by its signature; how to encrypt is asked of DNS (`tls`).
pub const WITHOUT_DATABASE: [&str; 3] = ["srs-reverse", "tls", "tls-tlsrpt"];

/// Switches SRS on, with a secret in `folder`.
fn with_srs(folder: &std::path::Path) -> String {
    let file = folder.join("srs.secret");
    std::fs::write(&file, "srs secret\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    format!("[postfix-policy.srs]\ndomain = \"example.com\"\nsecrets-file = \"{}\"\n", file.display())
}

/// A request that each check asks the database about.
pub fn request_of(check: &str) -> Request {
    match check {
        "rate-limit" | "stolen-login" | "sender-login" => data("alice@example.com", "i.1"),
        "greylist" | "recipient" | "allow-deny" | "helo" => rcpt("198.51.100.7", "alice@example.com"),
        // These ask no database.
        "spf" | "dnsbl" | "country" => rcpt("198.51.100.7", "alice@example.com"),
        _ => panic!("give check {check} a request here"),
    }
}

/// What each check does while it cannot ask: the failure column of the table in `service`.
pub fn silence_of(check: &str) -> &'static str {
    match check {
        "rate-limit" | "sender-login" | "recipient" | "allow-deny" => CANNOT_SAY,
        "greylist" | "helo" | "spf" | "dnsbl" | "country" | "stolen-login" => "DUNNO",
        _ => panic!("say what becomes of {check} here"),
    }
}

/// Whether it asks the database at all.
pub fn asks(check: &str) -> bool {
    !matches!(check, "spf" | "dnsbl" | "country" | "helo")
}

pub fn only(check: &str, settings: &str) -> Setup {
    let settings = format!(
        "{settings}\n[postfix-policy.spf]\nheader = false\n[postfix-policy.greylist]\nverify = []\n[dns]\nservers = [\"127.0.0.1:9\"]\ntimeout = \"100ms\"\n"
    );
    Setup { settings, checks: Some(format!("[\"{check}\"]")), ..Setup::default() }
}

fn rcpt(client: &str, recipient: &str) -> Request {
    let text = format!(
        "request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address={client}\nclient_name=unknown\nreverse_client_name=unknown\n\
         helo_name=mx.foreign.test\nsender=s@foreign.test\nrecipient={recipient}\nrecipient_count=0\ninstance=r.1\n"
    );
    Request::parse(text.as_bytes()).unwrap()
}

fn data(login: &str, instance: &str) -> Request {
    let text = format!(
        "request=smtpd_access_policy\nprotocol_state=DATA\nsender=alice@example.com\nrecipient_count=1\ninstance={instance}\nsasl_username={login}\n"
    );
    Request::parse(text.as_bytes()).unwrap()
}

async fn ask(instance: &Instance, map: &str, key: &str) -> String {
    soon("an answer", instance.service.look_up(format!("{map} {key}").as_bytes())).await.text()
}

async fn judge(instance: &Instance, request: &Request) -> String {
    soon("an action", instance.service.judge(0, request)).await.text()
}

pub const CANNOT_SAY: &str = "DEFER_IF_PERMIT 4.3.0 Temporary lookup failure";

#[tokio::test]
async fn a_database_that_was_never_there_defers_everything_and_denies_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup { settings: with_srs(folder.path()), ..Setup::default() };
    let instance = Instance::on(Database::create().await, NOWHERE, &setup).await;
    for map in MAPS.iter().filter(|map| !WITHOUT_DATABASE.contains(&map.name)) {
        let answer = ask(&instance, map.name, key_of(map.name)).await;
        assert!(answer.starts_with("TEMP "), "{}: {answer}", map.name);
        assert_eq!(
            ask(&instance, map.name, "no such key").await,
            "NOTFOUND ",
            "{}: needs no database",
            map.name
        );
        assert_eq!(
            instance.metric(&format!("lookups_total{{map=\"{}\",result=\"unavailable\"}}", map.name)),
            1
        );
        assert_eq!(instance.metric(&format!("lookups_total{{map=\"{}\",result=\"none\"}}", map.name)), 1);
    }
    instance.stop().await;
    for check in CHECKS {
        let name = check.name;
        let instance = Instance::on(Database::create().await, NOWHERE, &only(name, "")).await;
        assert_eq!(judge(&instance, &request_of(name)).await, silence_of(name), "{name}");
        let unavailable =
            instance.metric(&format!("requests_total{{check=\"{name}\",action=\"unavailable\"}}"));
        assert_eq!(unavailable, u64::from(asks(name)), "{name}");
        instance.stop().await;
    }
}

#[tokio::test]
async fn a_check_in_mode_log_only_defers_nothing_even_without_a_database() {
    let setup = Setup {
        checks: Some("[{ check = \"rate-limit\", mode = \"log-only\" }]".into()),
        ..Setup::default()
    };
    let instance = Instance::on(Database::create().await, NOWHERE, &setup).await;
    assert_eq!(judge(&instance, &data("alice@example.com", "i.1")).await, "DUNNO");
    instance.stop().await;
}

/// While the database is away, what was found stays found, and nobody is told that an address does not exist.
async fn away_and_back(schema: bool) {
    let instance = Instance::start(&Setup { schema, ..Setup::default() }).await;
    if schema {
        until("all addresses are in memory", async || instance.parts.directory.kept().is_some()).await;
    }
    let known = [
        ("domains", "example.com"),
        ("mailboxes", "alice+x@example.com"),
        ("aliases", "boss@example.com"),
        ("senders", "boss@example.com"),
    ];
    let mut before = Vec::new();
    for (map, key) in known {
        before.push(ask(&instance, map, key).await);
    }
    instance.database.take_away().await;
    until("the loss is noticed", async || {
        ask(&instance, "mailboxes", "nobody@example.com").await.starts_with("TEMP ")
    })
    .await;
    // Longer than `database.cache-ttl`: what counts now is the stale limit.
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    for ((map, key), before) in known.into_iter().zip(&before) {
        let answer = ask(&instance, map, key).await;
        // Without the roll, an alias or an address with an extension was found after something was not: that part is not known any more.
        assert!(
            answer == *before || (!schema && answer.starts_with("TEMP ")),
            "{map} {key}: {answer}, before {before}"
        );
        let unknown =
            ask(&instance, map, if map == "domains" { "nobody.test" } else { "nobody@example.com" }).await;
        // The list of domains was followed up to the loss, so with triggers a foreign domain is surely foreign.
        assert!(unknown.starts_with("TEMP ") || (schema && map == "domains"), "{map}: {unknown}");
    }
    assert_eq!(ask(&instance, "domains", "example.com").await, "OK example.com");
    assert_eq!(ask(&instance, "mailboxes", "alice@example.com").await, "OK alice@example.com");
    if schema {
        // Never asked before: the roll knows.
        assert_eq!(ask(&instance, "mailboxes", "bob+x@example.com").await, "OK bob@example.com");
        assert_eq!(ask(&instance, "aliases", "secretary+x@example.com").await, "OK bob+x@example.com");
        assert_eq!(judge(&instance, &data("alice@example.com", "i.1")).await, CANNOT_SAY);
    }
    instance.database.give_back().await;
    until("it answers again", async || {
        ask(&instance, "mailboxes", "bob@example.com").await == "OK bob@example.com"
    })
    .await;
    for ((map, key), before) in known.into_iter().zip(&before) {
        assert_eq!(&ask(&instance, map, key).await, before, "{map} {key}");
    }
    assert_eq!(ask(&instance, "mailboxes", "nobody@example.com").await, "NOTFOUND ");
    assert_eq!(judge(&instance, &data("alice@example.com", "i.2")).await, "DUNNO");
    instance.stop().await;
}

#[tokio::test]
async fn the_database_goes_and_comes_back() {
    away_and_back(false).await;
}

#[tokio::test]
async fn the_database_goes_and_comes_back_with_triggers() {
    away_and_back(true).await;
}

#[tokio::test]
async fn a_role_without_rights_is_a_misconfiguration_and_denies_nothing() {
    let database = Database::create().await;
    install(&database, false).await;
    database.sql("DO $$ BEGIN CREATE ROLE gatepost_test_nobody LOGIN PASSWORD 'nobody'; EXCEPTION WHEN duplicate_object THEN END $$").await;
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "nobody\n").unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let role = format!(
        "database-user = \"gatepost_test_nobody\"\ndatabase-password-file = \"{}\"\n",
        password.display()
    );
    let section = database.toml();
    let setup = Setup { settings: format!("{role}{}", with_srs(folder.path())), ..Setup::default() };
    let instance = Instance::on(database, &section, &setup).await;
    for map in MAPS.iter().filter(|map| !WITHOUT_DATABASE.contains(&map.name)) {
        let answer = ask(&instance, map.name, key_of(map.name)).await;
        assert!(
            answer.starts_with("PERM ") && answer.contains("permission denied"),
            "{}: {answer}",
            map.name
        );
    }
    instance.stop().await;
    for check in CHECKS {
        let name = check.name;
        let database = Database::create().await;
        install(&database, false).await;
        let section = database.toml();
        let instance = Instance::on(database, &section, &only(name, &role)).await;
        assert_eq!(judge(&instance, &request_of(name)).await, silence_of(name), "{name}");
        let misconfigured =
            instance.metric(&format!("requests_total{{check=\"{name}\",action=\"misconfigured\"}}"));
        assert_eq!(misconfigured, u64::from(asks(name)), "{name}");
        instance.stop().await;
    }
}

/// Each check as the daemon's own role.
#[tokio::test]
async fn our_own_role_is_enough_for_every_check() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "policy-secret").unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let role =
        format!("database-user = \"gatepost_policy\"\ndatabase-password-file = \"{}\"\n", password.display());
    for check in CHECKS {
        let name = check.name;
        let database = Database::create().await;
        install(&database, true).await;
        database.sql("ALTER ROLE gatepost_policy LOGIN PASSWORD 'policy-secret'").await;
        let section = database.toml();
        let instance = Instance::on(database, &section, &only(name, &role)).await;
        let action = judge(&instance, &request_of(name)).await;
        let expected = if name == "greylist" { "DEFER_IF_PERMIT 4.2.0 Greylisted" } else { "DUNNO" };
        assert!(action.starts_with(expected), "{name}: {action}");
        for trouble in ["unavailable", "misconfigured"] {
            let count = instance.metric(&format!("requests_total{{check=\"{name}\",action=\"{trouble}\"}}"));
            assert_eq!(count, 0, "{name} {trouble}");
        }
        instance.stop().await;
    }
}

/// The roles as installed are enough for everything this daemon does.
#[tokio::test]
async fn the_tutorials_role_and_our_own_are_enough() {
    for (role, word, installed) in [
        ("mail_user", "mail_user", false),
        ("mail_user", "mail_user", true),
        ("gatepost_policy", "policy-secret", true),
    ] {
        let database = Database::create().await;
        if installed {
            install(&database, true).await;
        }
        if role == "gatepost_policy" {
            database.sql(&format!("ALTER ROLE gatepost_policy LOGIN PASSWORD '{word}'")).await;
        }
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, word).unwrap();
        std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        let settings = format!(
            "database-user = \"{role}\"\ndatabase-password-file = \"{}\"\n[postfix-policy.rate-limit]\nmessages = 0\n{}",
            password.display(),
            with_srs(folder.path())
        );
        let section = database.toml();
        let instance = Instance::on(database, &section, &Setup { settings, ..Setup::default() }).await;
        if installed {
            instance.database.sql(ROWS).await;
            until("the rows are seen", async || {
                ask(&instance, "relay-domains", "relay.example").await.starts_with("OK")
            })
            .await;
        }
        const OURS: [&str; 8] = [
            "relay-domains",
            "transport",
            "sender-access",
            "recipient-access",
            "client-access",
            "helo-access",
            "sender-bcc",
            "recipient-bcc",
        ];
        for map in MAPS.iter().filter(|map| !WITHOUT_DATABASE.contains(&map.name)) {
            let answer = ask(&instance, map.name, key_of(map.name)).await;
            let there = installed || !OURS.contains(&map.name);
            assert_eq!(answer.starts_with("OK "), there, "{role}, {}: {answer}", map.name);
            assert!(there || answer == "NOTFOUND ", "{role}, {}: {answer}", map.name);
        }
        let action = judge(&instance, &data("alice@example.com", "i.1")).await;
        assert_eq!(
            action.starts_with("DEFER_IF_PERMIT 4.7.1"),
            role == "gatepost_policy",
            "{role}: {action}"
        );
        assert_eq!(action == "DUNNO", role == "mail_user" && !installed, "{role}: {action}");
        instance.stop().await;
    }
}

/// The schema that comes while the daemon runs switches the check on.
#[tokio::test]
async fn a_check_that_was_off_goes_on_when_the_schema_is_installed() {
    let setup = Setup { settings: "[postfix-policy.rate-limit]\nmessages = 0".into(), ..Setup::default() };
    let instance = Instance::start(&setup).await;
    assert_eq!(judge(&instance, &data("alice@example.com", "i.1")).await, "DUNNO");
    install(&instance.database, false).await;
    assert_eq!(
        judge(&instance, &data("alice@example.com", "i.1")).await,
        "DEFER_IF_PERMIT 4.7.1 Sending limit reached: 0 messages in 1h"
    );
    instance.stop().await;
}
