//! What the operator changes and reads: a reload, and the manual page.

use std::path::Path;

use gatepost::config::{Config, parse};
use gatepost::daemon::Daemon;
use gatepost_postfix_policy::checks::CHECKS;
use gatepost_postfix_policy::config::Settings;
use gatepost_postfix_policy::maps::MAPS;
use gatepost_postfix_policy::protocol::policy::Request;

use crate::instance::{Instance, Setup, configuration, until};

#[tokio::test]
async fn a_reload_changes_limits_and_modes_at_once_and_sockets_not_at_all() {
    let limit = |messages| format!("[postfix-policy.rate-limit]\nmessages = {messages}");
    let setup = Setup { settings: limit(1), schema: true, ..Setup::default() };
    let instance = Instance::start(&setup).await;
    let folder = instance.socket("policy").parent().unwrap().to_owned();
    let config = |folder: &Path, setup: &Setup| -> Config<Settings> {
        parse(&configuration(folder, &instance.database.toml(), setup), Path::new("gatepost.toml")).unwrap()
    };
    let send = async |number: u32| {
        let text = format!(
            "request=smtpd_access_policy\nprotocol_state=DATA\ninstance=i.{number}\nsasl_username=alice@example.com\n"
        );
        instance.service.judge(0, &Request::parse(text.as_bytes()).unwrap()).await.text()
    };
    assert_eq!(send(1).await, "DUNNO");
    assert_eq!(send(2).await, "DEFER_IF_PERMIT 4.7.1 Sending limit reached: 1 messages in 1h");

    instance.service.reload(&config(&folder, &Setup { settings: limit(2), ..Setup::default() })).unwrap();
    assert_eq!(send(3).await, "DUNNO");
    assert_eq!(send(4).await, "DEFER_IF_PERMIT 4.7.1 Sending limit reached: 2 messages in 1h");

    let moved = config(Path::new("/elsewhere"), &Setup { settings: limit(9), ..Setup::default() });
    let error = instance.service.reload(&moved).unwrap_err().to_string();
    assert_eq!(
        error,
        "[postfix-policy]: socketmap, policy.listen cannot change while running; restart the daemon"
    );
    assert_eq!(send(5).await, "DEFER_IF_PERMIT 4.7.1 Sending limit reached: 2 messages in 1h");

    let checks = Some("[{ check = \"rate-limit\", mode = \"log-only\" }]".to_owned());
    instance.service.reload(&config(&folder, &Setup { settings: limit(2), checks, schema: true })).unwrap();
    assert_eq!(send(6).await, "DUNNO");
    instance
        .service
        .reload(&config(&folder, &Setup { checks: Some("[]".into()), ..Setup::default() }))
        .unwrap();
    assert_eq!(send(7).await, "DUNNO");
    instance.stop().await;
}

/// A rule counts without anybody being told but by its announcement.
#[tokio::test]
async fn an_access_rule_counts_when_it_is_announced() {
    let checks = Some("[\"allow-deny\"]".to_owned());
    let instance = Instance::start(&Setup { checks, schema: true, ..Setup::default() }).await;
    until("changes are announced", async || instance.parts.directory.kept().is_some()).await;
    let text = "request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=198.51.100.9\nsender=s@foreign.test\nrecipient=alice@example.com\n";
    let request = Request::parse(text.as_bytes()).unwrap();
    let action = async || instance.service.judge(0, &request).await.text();
    assert_eq!(action().await, "DUNNO");
    for (statement, expected) in [
        (
            // For ever, in the words of whoever writes SQL.
            "INSERT INTO gatepost.access_rules (kind, value, action, expires_at) VALUES ('network', '198.51.100.0/24', 'deny', 'infinity')",
            "554 5.7.1 ",
        ),
        ("DELETE FROM gatepost.access_rules", "DUNNO"),
    ] {
        instance.database.sql(statement).await;
        until(expected, async || action().await.starts_with(expected)).await;
    }
    instance.stop().await;
}

#[test]
fn the_manual_page_names_every_map_check_and_key() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/man/gatepost-postfix-policy.8");
    let page = std::fs::read_to_string(page).unwrap().replace("\\-", "-");
    let maps = MAPS.iter().map(|map| (map.name, map.parameter));
    let checks = CHECKS.iter().map(|check| (check.name, check.restrictions));
    for (name, parameter) in maps.chain(checks) {
        assert!(page.contains(&format!("\\fB{name}\\fR ({parameter})")), "{name} ({parameter})");
    }
    // serde names the keys when it meets one that it does not know.
    for section in [
        "[postfix-policy]",
        "[[postfix-policy.policy]]",
        "[postfix-policy.rate-limit]",
        "[postfix-policy.addresses]",
        "[postfix-policy.srs]",
        "[postfix-policy.tls]",
    ] {
        let error = parse::<Settings>(&format!("{section}\nno-such-key = 1\n"), Path::new("f"))
            .unwrap_err()
            .to_string();
        let keys: Vec<&str> = error.split('"').skip(3).step_by(2).collect();
        assert!(keys.len() > 1, "{error}");
        for key in keys {
            assert!(page.contains(key), "{section}: {key}");
        }
    }
}
