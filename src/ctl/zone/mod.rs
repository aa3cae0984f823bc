//! The records of a hosted domain: what belongs into its zone, and what DNS says of it.
//!
//! One file for each kind of record: it prints the records, ready to paste (RFC 1035, 5), and judges what is there. `gatepost domain
//! dns` prints and compares all of them, `gatepost check` judges those without which mail suffers. Nothing here asks anything:
//! [`answers`] does, before.

pub(super) mod answers;
mod caa;
mod dkim;
mod dmarc;
mod mta_sts;
mod mx;
mod services;
mod spf;
mod tlsa;
mod tlsrpt;

use std::net::IpAddr;

use gatepost::mail::{Address, Domain};
use gatepost::mta_sts::Mode;
use gatepost::store::key_life::Key;

use self::answers::Answers;
use super::check::report::Report;

/// One kind of record.
pub(super) struct Part {
    /// Its name, as `gatepost check --only` takes it.
    pub(super) name: &'static str,
    /// What it is for, with its source.
    pub(super) about: &'static str,
    /// Whether `gatepost check` asks about it; else only `gatepost domain dns --check` does.
    pub(super) checked: bool,
    /// The lines for the zone.
    pub(super) lines: fn(&Plan) -> Vec<Line>,
    /// What DNS says, held against them.
    pub(super) judge: fn(&Plan, &Answers, &mut Report),
}

/// In the order in which they are printed.
pub(super) const PARTS: &[Part] = &[
    mx::PART,
    spf::PART,
    dkim::PART,
    dmarc::PART,
    caa::PART,
    mta_sts::PART,
    tlsrpt::PART,
    tlsa::PART,
    services::PART,
];

/// What a domain's zone is made from.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) domain: Domain,
    /// The hosts that take its mail, by preference.
    pub(super) hosts: Vec<(u16, Domain)>,
    /// Whether they were named, so that DNS has to say the same; else they are what DNS says, or this host.
    pub(super) named: bool,
    /// The name that this host greets with, and the addresses from which its mail leaves.
    pub(super) our_name: Option<Domain>,
    pub(super) our_addresses: Vec<IpAddr>,
    /// Its signing keys.
    pub(super) keys: Vec<Key>,
    pub(super) mode: Mode,
    /// In seconds.
    pub(super) max_age: u64,
    /// Where others send reports.
    pub(super) reports: Address,
    /// What DMARC asks for: none, quarantine or reject.
    pub(super) policy: &'static str,
    /// Who may give out certificates.
    pub(super) authority: String,
    /// SHA-256 of the public key of the hosts' certificate, in hex.
    pub(super) public_key: Option<String>,
    /// The host of the web server that tells mail programs their settings.
    pub(super) autoconfig: Option<Domain>,
    pub(super) pop3: bool,
}

impl Plan {
    /// What is printed and expected where nobody says anything else.
    pub(super) fn new(domain: Domain, hosts: Vec<(u16, Domain)>) -> Option<Self> {
        Some(Self {
            reports: Address::new("postmaster", domain.clone()).ok()?,
            domain,
            hosts,
            named: false,
            our_name: None,
            our_addresses: Vec::new(),
            keys: Vec::new(),
            mode: Mode::Testing,
            max_age: 7 * 24 * 3600,
            policy: "none",
            authority: "letsencrypt.org".to_owned(),
            public_key: None,
            autoconfig: None,
            pop3: false,
        })
    }

    /// The host that is most in demand, for services that need one.
    fn first_host(&self) -> Option<&Domain> {
        self.hosts.first().map(|(_, host)| host)
    }
}

/// A line of the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Comment(String),
    /// Name without a dot at its end, type, data.
    Record(String, &'static str, String),
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Comment(text) => write!(f, "; {text}"),
            Self::Record(name, kind, data) => write!(f, "{name}. 3600 IN {kind} {data}"),
        }
    }
}

/// A TXT record, its text cut into strings of at most 255 octets (RFC 1035, 3.3), quotes and backslashes escaped (5.1).
fn txt(name: String, text: &str) -> Line {
    let mut strings = Vec::new();
    let mut string = String::new();
    let mut octets = 0;
    for c in text.chars() {
        if octets + c.len_utf8() > 255 {
            strings.push(std::mem::take(&mut string));
            octets = 0;
        }
        octets += c.len_utf8();
        if matches!(c, '"' | '\\') {
            string.push('\\');
        }
        string.push(c);
    }
    strings.push(string);
    let quoted: Vec<String> = strings.iter().map(|string| format!("\"{string}\"")).collect();
    let data = if quoted.len() == 1 { quoted.concat() } else { format!("( {} )", quoted.join(" ")) };
    Line::Record(name, "TXT", data)
}

/// An address as a `mailto:` has it in a record (RFC 6068, 2; RFC 8460, 3; RFC 9989: also `,` `!` `;`).
fn mailto(address: &Address) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@.-_~+".contains(&byte);
    let encoded: String = address
        .to_string()
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("mailto:{encoded}")
}

/// The value of a tag in a list such as `v=DMARC1; p=none` (RFC 6376, 3.2), the first if it is there twice.
fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split(';').find_map(|field| {
        let (key, value) = field.split_once('=')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// A stranger's text as it may stand in a finding.
pub(super) fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_SHOWN {
        return text.to_owned();
    }
    text.chars().take(MAX_SHOWN).chain(['…']).collect()
}

/// What one looks at in a line.
const MAX_SHOWN: usize = 160;

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    pub(super) fn plan() -> Plan {
        let domain = Domain::parse("example.com").unwrap();
        let mut plan = Plan::new(domain, vec![(10, Domain::parse("mail.example.com").unwrap())]).unwrap();
        plan.our_name = Some(Domain::parse("mail.example.com").unwrap());
        plan.our_addresses = vec!["203.0.113.9".parse().unwrap()];
        plan
    }

    /// What a part says of these answers.
    pub(super) fn said(part: &Part, plan: &Plan, answers: &Answers) -> Vec<String> {
        let mut report = Report::default();
        (part.judge)(plan, answers, &mut report);
        report.lines()
    }

    #[test]
    fn long_texts_are_cut_at_255_octets() {
        let text = format!("{}\"ü\\", "x".repeat(253));
        let expected = format!("a. 3600 IN TXT ( \"{}\\\"\" \"ü\\\\\" )", "x".repeat(253));
        assert_eq!(txt("a".into(), &text).to_string(), expected);
        assert_eq!(txt("a".into(), "").to_string(), "a. 3600 IN TXT \"\"");
        assert_eq!(txt("a".into(), &"y".repeat(255)).to_string().matches('"').count(), 2);
        assert_eq!(txt("a".into(), &"y".repeat(256)).to_string().matches('"').count(), 4);
    }

    #[test]
    fn what_cannot_stand_in_a_record_is_encoded() {
        let said = |text: &str| mailto(&Address::parse(text).unwrap());
        assert_eq!(said("tls+reports@example.com"), "mailto:tls+reports@example.com");
        let odd = Address::new("a;b!c,\"d\"", Domain::parse("example.com").unwrap()).unwrap();
        assert_eq!(mailto(&odd), "mailto:a%3Bb%21c%2C%22d%22@example.com");
    }

    #[test]
    fn tags_are_found_in_any_spelling() {
        assert_eq!(tag("v=DMARC1; p=none ;rua=mailto:a@b", "rua"), Some("mailto:a@b"));
        assert_eq!(tag("v=DMARC1; sp = reject", "p"), None);
    }
}
