//! `helo`: how a client names itself, and how its address is named in DNS.
//!
//! Belongs into `smtpd_helo_restrictions` or any later list; judges in every state that knows the name, never what is ours. Each finding has a
//! consequence of its own. Only those that no mail server of good standing shows refuse by default: our own name, and a name without a dot.
//! DNS that does not answer speaks against nobody.

use std::net::IpAddr;

use gatepost::directory::Lookup;
use gatepost::mail::Domain;
use gatepost::telemetry::printable;
use serde::Deserialize;

use super::spf::Consequence;
use super::{CannotSay, Check, Circumstances, Opinion};
use crate::protocol::policy::{Action, Request, State};

/// The check.
pub(super) const HELO: Check = Check {
    name: "helo",
    restrictions: "smtpd_helo_restrictions",
    summary: "the name in HELO and the name of the client's address: qualified, existing, not ours, not generic",
    cannot_say: CannotSay::Pass,
    judge,
};

/// `[postfix-policy.helo]`: what becomes of each finding, `reject`, `defer` or `pass`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Findings {
    /// The name has no dot, or is none at all: `localhost`, `friend`.
    pub unqualified: Consequence,
    /// An address in brackets, which RFC 5321 allows to hosts without a name, but that is not the client's address.
    pub wrong_literal: Consequence,
    /// An address in brackets, the right one.
    pub literal: Consequence,
    /// One of `own-names`, or a domain hosted here.
    pub own_name: Consequence,
    /// The name has neither address nor mail exchanger.
    pub unresolvable: Consequence,
    /// The client's address has no name.
    pub no_client_name: Consequence,
    /// It has a name that does not lead back to it.
    pub unconfirmed_client_name: Consequence,
    /// Its name is one that a provider gives to any customer: `dsl-192-0-2-7.pool.example.net`.
    pub generic_client_name: Consequence,
    /// The names of our own hosts, beside the hosted domains.
    pub own_names: Vec<String>,
}

impl Default for Findings {
    fn default() -> Self {
        use Consequence::{Pass, Reject};
        Self {
            unqualified: Reject,
            wrong_literal: Reject,
            literal: Pass,
            own_name: Reject,
            unresolvable: Pass,
            no_client_name: Pass,
            unconfirmed_client_name: Pass,
            generic_client_name: Pass,
            own_names: Vec::new(),
        }
    }
}

fn judge<'a>(circumstances: Circumstances<'a>, request: &'a Request) -> Opinion<'a> {
    Box::pin(async move {
        let known = matches!(
            request.state,
            State::Helo | State::Mail | State::Rcpt | State::Data | State::EndOfMessage
        );
        if !known || circumstances.is_ours(request) {
            return Lookup::None;
        }
        match names(circumstances, request) {
            Some(action) => Lookup::Found(action),
            None => questions(circumstances, request).await,
        }
    })
}

/// What needs no question.
fn names(circumstances: Circumstances<'_>, request: &Request) -> Option<Action> {
    let findings = &circumstances.config.helo;
    let helo = request.helo_name.trim_end_matches('.').to_lowercase();
    let shown = printable(helo.as_bytes(), 100);
    // Before HELO there is no name; Postfix itself asks for one with smtpd_helo_required.
    if !helo.is_empty() {
        let finding = match literal(&helo) {
            Some(address) => {
                let right = address.is_some()
                    && address == request.client_address.map(|client| client.to_canonical());
                let (consequence, what) = match right {
                    true => (findings.literal, "an address, not a name"),
                    false => (findings.wrong_literal, "an address that is not yours"),
                };
                Some((consequence, what))
            }
            None if !helo.contains('.')
                || helo.parse::<IpAddr>().is_ok()
                || Domain::parse(&helo).is_err() =>
            {
                Some((findings.unqualified, "no fully-qualified name"))
            }
            None if findings.own_names.iter().any(|own| own.eq_ignore_ascii_case(&helo)) => {
                Some((findings.own_name, "my name, not yours"))
            }
            None => None,
        };
        if let Some((consequence, what)) = finding
            && let Some(action) = consequence.action(
                (550, "5.7.1"),
                "4.7.1",
                format!("Helo command rejected: {shown} is {what}"),
            )
        {
            return Some(action);
        }
    }
    // RFC 7372, 3.3: 5.7.25 reverse DNS validation failed.
    let address = request.client_address.map(|client| client.to_canonical().to_string()).unwrap_or_default();
    let (consequence, what) = if request.reverse_client_name.is_empty() && request.client_name.is_empty() {
        (findings.no_client_name, format!("cannot find the name of your address {address}"))
    } else if request.client_name.is_empty() {
        (
            findings.unconfirmed_client_name,
            format!("the name of your address {address} does not lead back to it"),
        )
    } else if request.client_address.is_some_and(|client| is_generic(&request.client_name, client)) {
        let name = printable(request.client_name.as_bytes(), 100);
        (findings.generic_client_name, format!("{name} is a generic name; use your provider's mail server"))
    } else {
        return None;
    };
    consequence.action((550, "5.7.25"), "4.7.25", format!("Client host rejected: {what}"))
}

/// What the directory and DNS must be asked.
async fn questions(circumstances: Circumstances<'_>, request: &Request) -> Lookup<Action> {
    let (findings, sources) = (&circumstances.config.helo, circumstances.sources);
    let Ok(helo) = Domain::parse(&request.helo_name) else { return Lookup::None };
    if findings.own_name != Consequence::Pass && sources.directory.hosts(&helo).await.is_found() {
        let text = format!("Helo command rejected: {helo} is my name, not yours");
        if let Some(action) = findings.own_name.action((550, "5.7.1"), "4.7.1", text) {
            return Lookup::Found(action);
        }
    }
    if findings.unresolvable != Consequence::Pass {
        let exists = match sources.resolver.addresses(helo.as_str()).await {
            Lookup::None => sources.resolver.mx(helo.as_str()).await.map(|_| ()),
            other => other.map(|_| ()),
        };
        if exists.is_none() {
            let text = format!("Helo command rejected: Host {helo} not found");
            let action = findings.unresolvable.action((550, "5.7.1"), "4.7.1", text);
            return action.map_or(Lookup::None, Lookup::Found);
        }
    }
    Lookup::None
}

/// The address in brackets (RFC 5321, 4.1.3): outer `None` where there are none, inner `None` where it is no address.
fn literal(helo: &str) -> Option<Option<IpAddr>> {
    let inner = helo.strip_prefix('[')?.trim_end_matches(']');
    let inner = inner.strip_prefix("ipv6:").unwrap_or(inner);
    Some(inner.parse::<IpAddr>().ok().map(|address| address.to_canonical()))
}

/// Whether a name is one that a provider gives to any address: it holds the address itself, or a word for a customer's line beside a
/// number. Names of mail servers hold neither.
pub(super) fn is_generic(name: &str, client: IpAddr) -> bool {
    let name = name.to_lowercase();
    // The registered domain says nothing of the host: cable.example is a company.
    let host = match psl::domain_str(&name) {
        Some(domain) => name.strip_suffix(domain).unwrap_or(&name),
        None => &name,
    };
    if let IpAddr::V4(four) = client.to_canonical() {
        let [a, b, c, d] = four.octets();
        let numbers: Vec<&str> =
            host.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty()).collect();
        let holds = |wanted: [u8; 4]| {
            numbers
                .windows(4)
                .any(|window| window.iter().zip(wanted).all(|(number, octet)| number.parse() == Ok(octet)))
        };
        let padded = format!("{a:03}{b:03}{c:03}{d:03}");
        let hex = format!("{a:02x}{b:02x}{c:02x}{d:02x}");
        let lower_half = numbers.windows(2).any(|window| {
            (window[0].parse(), window[1].parse()) == (Ok(c), Ok(d))
                || (window[0].parse(), window[1].parse()) == (Ok(d), Ok(c))
        });
        if holds([a, b, c, d])
            || holds([d, c, b, a])
            || numbers.iter().any(|number| number.contains(&padded))
            || host.split(['.', '-']).any(|label| label.contains(&hex) && label.len() <= 12)
        {
            return true;
        }
        if lower_half && host.split(['.', '-']).any(is_word_for_a_line) {
            return true;
        }
    }
    let has_number = host.bytes().filter(u8::is_ascii_digit).count() >= 2;
    has_number && host.split(['.', '-']).any(is_word_for_a_line)
}

fn is_word_for_a_line(label: &str) -> bool {
    let word = label.trim_end_matches(|c: char| c.is_ascii_digit());
    LINES.contains(&word)
}

/// What providers call the lines of their customers.
const LINES: [&str; 22] = [
    "adsl",
    "vdsl",
    "dsl",
    "xdsl",
    "cable",
    "catv",
    "dialup",
    "dial",
    "dialin",
    "dyn",
    "dynamic",
    "dhcp",
    "pool",
    "ppp",
    "pppoe",
    "broadband",
    "cust",
    "customer",
    "fiber",
    "ftth",
    "mobile",
    "nat",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn generic_names_are_told_from_mail_servers() {
        let client: IpAddr = "192.0.2.77".parse().unwrap();
        for generic in [
            "192-0-2-77.dyn.example.net",
            "dsl-192-0-2-77.example.net",
            "77.2.0.192.static.example.net",
            "host192000002077.example.net",
            "c000024d.example.net",
            "p2-77.dip.dsl.example.net",
            "cpe-02-77.pool.example.co.uk",
            "dynamic-103.example.net",
        ] {
            assert!(is_generic(generic, client), "{generic}");
        }
        for good in [
            "mx.example.net",
            "mail77.example.net",
            "mx1.pool.example.net",
            "smtp-out-12.eu.example.net",
            "mail.cable.example",
            "mx-2.cable.net",
            "a27-77.smtp-out.eu-west-1.example.net",
        ] {
            assert!(!is_generic(good, client), "{good}");
        }
        assert!(is_generic("dyn-2001-db8.pool.example.net", "2001:db8::1".parse().unwrap()));
        assert!(!is_generic("mx.example.net", "2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn literals_are_read() {
        assert_eq!(literal("[192.0.2.1]"), Some("192.0.2.1".parse().ok()));
        assert_eq!(literal("[ipv6:2001:db8::1]"), Some("2001:db8::1".parse().ok()));
        assert_eq!(literal("[nonsense]"), Some(None));
        assert_eq!(literal("mx.example.net"), None);
    }
}
