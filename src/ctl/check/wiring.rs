//! Is Postfix, is Dovecot really wired to us, and is nothing of what we replace still asked as well?

use gatepost::mail::Domain;

use super::facts::HostFacts;
use super::facts::dovecot::Dovecot;
use super::facts::postfix::Postfix;
use super::report::Report;

/// A parameter that asks us.
struct Wire {
    parameter: &'static str,
    /// What its value holds then.
    holds: &'static str,
    /// What is lost without it.
    without: &'static str,
    /// As examples/main.cf has it.
    value: &'static str,
}

const WIRES: &[Wire] = &[
    Wire {
        parameter: "virtual_mailbox_domains",
        holds: ":domains",
        without: "domains are not looked up at Gatepost",
        value: "socketmap:unix:run/gatepost/socketmap.sock:domains",
    },
    Wire {
        parameter: "virtual_mailbox_maps",
        holds: ":mailboxes",
        without: "mailboxes are not looked up at Gatepost",
        value: "socketmap:unix:run/gatepost/socketmap.sock:mailboxes",
    },
    Wire {
        parameter: "virtual_alias_maps",
        holds: ":aliases",
        without: "aliases of schema gatepost lead nowhere",
        value: "socketmap:unix:run/gatepost/socketmap.sock:aliases",
    },
    Wire {
        parameter: "smtpd_sender_login_maps",
        holds: ":senders",
        without: "a login may send as anybody, or as less than `gatepost sendas` says",
        value: "socketmap:unix:run/gatepost/socketmap.sock:senders",
    },
    Wire {
        parameter: "smtpd_milters",
        holds: "milter.sock",
        without: "mail is neither judged nor signed",
        value: "unix:run/gatepost/milter.sock",
    },
    Wire {
        parameter: "non_smtpd_milters",
        holds: "milter.sock",
        without: "mail of this host's programs is not signed",
        value: "$smtpd_milters",
    },
];

/// What Gatepost replaces, and how it shows in main.cf.
const REPLACED: &[(&str, &str)] = &[
    ("11332", "Rspamd"),
    ("rspamd", "Rspamd"),
    ("8891", "OpenDKIM"),
    ("opendkim", "OpenDKIM"),
    ("8893", "OpenDMARC"),
    ("opendmarc", "OpenDMARC"),
    ("10023", "postgrey"),
    ("postgrey", "postgrey"),
    ("policyd-spf", "policyd-spf"),
    ("policy-spf", "policyd-spf"),
    ("localhost:1000", "PostSRSd"),
    ("127.0.0.1:1000", "PostSRSd"),
    ("pgsql:", "a pgsql: table"),
];

pub(super) fn postfix(facts: &HostFacts, hosted: &[Domain], report: &mut Report) {
    match &facts.postfix {
        Ok(postfix) => judge_postfix(postfix, hosted, &facts.delimiters, report),
        Err(why) => report.warn(&format!("Postfix cannot be looked at: {why}")),
    }
}

fn judge_postfix(postfix: &Postfix, hosted: &[Domain], delimiters: &str, report: &mut Report) {
    let missing: Vec<&Wire> = WIRES.iter().filter(|wire| !is_wired(postfix, wire)).collect();
    if missing.len() == WIRES.len() {
        report.fail("Postfix asks Gatepost nothing; `gatepost setup`, or examples/main.cf");
    } else {
        for wire in &missing {
            report.fail(&format!(
                "{}: {} in Postfix; `postconf -e '{0} = {}'`",
                wire.parameter, wire.without, wire.value
            ));
        }
        if missing.is_empty() {
            report.ok("Postfix asks Gatepost for domains, mailboxes, aliases, senders, and what mail is");
        }
        policy(postfix, report);
    }
    replaced(postfix, report);
    settings(postfix, hosted, delimiters, report);
}

fn is_wired(postfix: &Postfix, wire: &Wire) -> bool {
    postfix.everywhere(wire.parameter).any(|(_, value)| value.contains(wire.holds))
}

/// Logins and policy.
fn policy(postfix: &Postfix, report: &mut Report) {
    let asks = RESTRICTIONS.iter().any(|name| {
        postfix
            .everywhere(name)
            .any(|(_, value)| value.contains("check_policy_service") && value.contains("policy"))
    });
    if !asks {
        report.warn("no check_policy_service in Postfix: nobody counts what logins send, nor notices stolen ones; `postconf -e 'smtpd_data_restrictions = reject_unauth_pipelining, check_policy_service unix:run/gatepost/policy.sock'`");
    }
    if postfix.value("smtpd_sasl_type") != Some("dovecot") {
        report.fail("smtpd_sasl_type in Postfix is not dovecot: nobody can log in to send; `postconf -e smtpd_sasl_type=dovecot smtpd_sasl_path=run/gatepost/auth-postfix.sock`");
    } else if !postfix.everywhere("smtpd_sasl_auth_enable").any(|(_, value)| value == "yes") {
        report.warn("no service of Postfix has smtpd_sasl_auth_enable=yes: nobody can log in to send; examples/master.cf");
    }
    if postfix.value("smtpd_tls_auth_only") != Some("yes")
        && postfix
            .everywhere("smtpd_sasl_auth_enable")
            .any(|(place, value)| place == "main.cf" && value == "yes")
    {
        report.fail("Postfix takes passwords unencrypted; `postconf -e smtpd_tls_auth_only=yes`");
    }
    if !postfix.everywhere("smtp_tls_policy_maps").any(|(_, value)| value.contains(":tls")) {
        report.warn("smtp_tls_policy_maps: DANE and MTA-STS of others do not count for our mail; `postconf -e 'smtp_tls_policy_maps = socketmap:unix:run/gatepost/socketmap.sock:tls'`");
    }
}

fn replaced(postfix: &Postfix, report: &mut Report) {
    let mut said: Vec<(&str, &str)> = Vec::new();
    for parameter in ASKING.iter().chain(RESTRICTIONS) {
        for (_, value) in postfix.everywhere(parameter) {
            for (mark, program) in REPLACED {
                if value.contains(mark) && !said.contains(&(program, parameter)) {
                    said.push((program, parameter));
                    report.warn(&format!("{parameter} in Postfix still asks {program}: it does again, or otherwise, what Gatepost does; take it out of {parameter}"));
                }
            }
        }
    }
}

/// What loses mail, or opens the host, however it is wired.
fn settings(postfix: &Postfix, hosted: &[Domain], delimiters: &str, report: &mut Report) {
    let destinations = postfix.value("mydestination").unwrap_or_default();
    for name in destinations.split([',', ' ']).filter(|name| !name.is_empty()) {
        if Domain::parse(name).is_ok_and(|name| hosted.contains(&name)) {
            report.fail(&format!("{name} is in mydestination of Postfix: its mail goes to system users, not to its mailboxes; take it out (`postconf -e mydestination=`)"));
        }
    }
    let networks = postfix.value("mynetworks").unwrap_or_default();
    if networks.split([',', ' ']).any(|network| matches!(network, "0.0.0.0/0" | "::/0" | "[::]/0")) {
        report.fail("mynetworks of Postfix is everybody: the host is an open relay; `postconf -e 'mynetworks = 127.0.0.0/8 [::1]/128'`");
    }
    let theirs = postfix.value("recipient_delimiter").unwrap_or_default();
    if theirs != delimiters {
        report.warn(&format!("recipient_delimiter of Postfix is \"{theirs}\", [database] extension-delimiters is \"{delimiters}\"; make them the same"));
    }
    if let Some(action @ ("accept" | "quarantine")) = postfix.value("milter_default_action") {
        report.warn(&format!("milter_default_action of Postfix is {action}: while gatepost-milter is away, mail passes unjudged and unsigned; `postconf -e milter_default_action=tempfail`"));
    }
    if !postfix.everywhere("smtpd_tls_security_level").any(|(_, level)| matches!(level, "may" | "encrypt")) {
        report.fail("smtpd_tls_security_level of Postfix is not set: others deliver unencrypted; `postconf -e smtpd_tls_security_level=may`");
    }
}

pub(super) fn dovecot(facts: &HostFacts, report: &mut Report) {
    match &facts.dovecot {
        Ok(dovecot) => judge_dovecot(dovecot, report),
        Err(why) => report.warn(&format!("Dovecot cannot be looked at: {why}")),
    }
}

fn judge_dovecot(dovecot: &Dovecot, report: &mut Report) {
    let sockets = dovecot.sockets();
    let names =
        |name: &str| sockets.iter().any(|(_, path)| path.file_name().is_some_and(|file| file == name));
    let asks_policy = dovecot.value("auth_policy_server_url").is_some_and(|url| !url.is_empty());
    let own = dovecot.settings().any(|(way, _)| way.starts_with("passdb"));
    let version = &dovecot.version;
    if names("auth-login") && (names("auth-userdb") || names("auth-master")) {
        report.ok(&format!("Dovecot {version} asks Gatepost who may log in"));
        if own {
            report.warn("Dovecot has a passdb besides: its own auth process runs for nothing; take passdb and userdb out");
        }
    } else if asks_policy {
        report.ok(&format!("Dovecot {version} keeps its own auth process and asks Gatepost for guessers"));
    } else if sockets.is_empty() {
        report.fail(&format!("Dovecot {version} asks Gatepost nothing; `gatepost setup`, or the examples dovecot-2.3.conf and dovecot-2.4.conf"));
    } else {
        report.fail(&format!("Dovecot {version} asks Gatepost for some things, but not who may log in; compare with the examples dovecot-2.3.conf and dovecot-2.4.conf"));
    }
    if !sockets.is_empty() && !names("dict") {
        report.warn("Dovecot does not keep its dictionaries at Gatepost: shares are not found; see acl_shared_dict (2.3) or dict_proxy_socket_path (2.4) in the examples");
    }
    if !matches!(dovecot.value("ssl"), Some("required") | None) {
        report.warn("ssl of Dovecot is not required: passwords may come unencrypted; ssl = required");
    }
}

/// Parameters with tables and milters.
const ASKING: &[&str] = &[
    "smtpd_milters",
    "non_smtpd_milters",
    "virtual_mailbox_domains",
    "virtual_mailbox_maps",
    "virtual_alias_maps",
    "smtpd_sender_login_maps",
    "sender_canonical_maps",
    "recipient_canonical_maps",
];

const RESTRICTIONS: &[&str] = &[
    "smtpd_client_restrictions",
    "smtpd_helo_restrictions",
    "smtpd_sender_restrictions",
    "smtpd_relay_restrictions",
    "smtpd_recipient_restrictions",
    "smtpd_data_restrictions",
    "smtpd_end_of_data_restrictions",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const EXAMPLE: &str = include_str!("../../../examples/main.cf");
    const MASTER: &str = "submission/inet/smtpd_sasl_auth_enable = yes";

    /// As `postconf -x` would say it of examples/main.cf, with `from` changed to `to`.
    fn said(from: &str, to: &str) -> Vec<String> {
        let main = EXAMPLE.replace("= $smtpd_milters", "= unix:run/gatepost/milter.sock");
        let main = main.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        assert!(main.contains(from), "{from}");
        let mut report = Report::default();
        let postfix = Postfix::parse(&main.replacen(from, to, 1), MASTER);
        judge_postfix(&postfix, &[Domain::parse("example.com").unwrap()], "+", &mut report);
        report.lines()
    }

    #[test]
    fn the_example_is_wired() {
        assert_eq!(
            said("", ""),
            ["ok Postfix asks Gatepost for domains, mailboxes, aliases, senders, and what mail is"]
        );
    }

    #[test]
    fn each_wire_that_is_cut_is_named() {
        for (from, to, expected) in [
            (
                "virtual_alias_maps = socketmap:unix:run/gatepost/socketmap.sock:aliases",
                "virtual_alias_maps = hash:/etc/postfix/virtual",
                "fail virtual_alias_maps: aliases of schema gatepost lead nowhere in Postfix",
            ),
            (
                "smtpd_milters = unix:run/gatepost/milter.sock",
                "smtpd_milters = inet:localhost:11332",
                "fail smtpd_milters: mail is neither judged nor signed",
            ),
            (
                "smtpd_milters = unix:run/gatepost/milter.sock",
                "smtpd_milters = inet:localhost:11332",
                "warn smtpd_milters in Postfix still asks Rspamd",
            ),
            (
                "mydestination =",
                "mydestination = example.com, localhost",
                "fail example.com is in mydestination",
            ),
            ("mynetworks = 127.0.0.0/8", "mynetworks = 0.0.0.0/0", "fail mynetworks of Postfix is everybody"),
            (
                "recipient_delimiter = +",
                "recipient_delimiter = -",
                "warn recipient_delimiter of Postfix is \"-\"",
            ),
            (
                "milter_default_action = tempfail",
                "milter_default_action = accept",
                "warn milter_default_action",
            ),
            ("check_policy_service", "x", "warn no check_policy_service"),
            ("smtpd_sasl_type = dovecot", "smtpd_sasl_type = cyrus", "fail smtpd_sasl_type"),
            ("smtpd_tls_security_level = may", "smtpd_tls_security_level =", "fail smtpd_tls_security_level"),
        ] {
            let lines = said(from, to);
            assert!(lines.iter().any(|line| line.starts_with(expected)), "{lines:?}, expected {expected}");
        }
    }

    #[test]
    fn a_stock_postfix_is_told_one_thing() {
        let mut report = Report::default();
        judge_postfix(
            &Postfix::parse("smtpd_tls_security_level = may\nrecipient_delimiter = +", ""),
            &[],
            "+",
            &mut report,
        );
        assert_eq!(
            report.lines(),
            ["fail Postfix asks Gatepost nothing; `gatepost setup`, or examples/main.cf"]
        );
    }

    #[test]
    fn the_examples_of_dovecot_are_wired() {
        let said = |text: &str| {
            let text = format!("# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf\n{text}");
            let mut report = Report::default();
            judge_dovecot(&Dovecot::parse(&text), &mut report);
            report.lines()
        };
        let expected = ["ok Dovecot 2.3.19.1 asks Gatepost who may log in"];
        assert_eq!(said(include_str!("../../../examples/dovecot-2.3.conf")), expected);
        assert_eq!(said(include_str!("../../../examples/dovecot-2.4.conf")), expected);
        assert!(
            said("passdb {\n  driver = sql\n}\n")[0]
                .starts_with("fail Dovecot 2.3.19.1 asks Gatepost nothing")
        );
        let plain = said("ssl = yes\nauth_socket_path = /run/gatepost/auth-userdb\n");
        assert!(plain.iter().any(|line| line.starts_with("warn ssl of Dovecot")), "{plain:?}");
    }
}
