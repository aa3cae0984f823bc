//! MTA-STS (RFC 8461): the TXT record that says that there is a policy, and the policy's text. Pure parsing.
//!
//! For whoever fetches and keeps them. A record or policy that breaks the grammar where it matters is none: a sender
//! must not enforce what it does not understand (RFC 8461, 3.1 and 3.2).
//!
//! ```text
//! _mta-sts.example.com. TXT "v=STSv1; id=20160831085700Z;"          (3.1)
//!
//! version: STSv1                                                    (3.2)
//! mode: enforce
//! mx: mail.example.com
//! mx: *.example.net
//! max_age: 604800
//! ```

use std::fmt;
use std::time::Duration;

use crate::mail::Domain;

/// A policy, as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StsPolicy {
    /// What senders are asked to do.
    pub mode: Mode,
    /// The hosts that may take mail for the domain, in the order of the text; never empty unless the mode is `none`.
    pub mx: Vec<MxPattern>,
    /// How long it may be kept from when it was fetched.
    pub max_age: Duration,
}

/// The key `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No mail to a host that is not named, or has no valid certificate.
    Enforce,
    /// Failures are reported (RFC 8460) and ignored.
    Testing,
    /// There is no policy any more.
    None,
}

/// One `mx`: a host, or with `*.` in front any host one label below (RFC 8461, 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxPattern {
    wildcard: bool,
    host: Domain,
}

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No `version: STSv1` (the first key by convention, but any place counts).
    #[error("no \"version: STSv1\"")]
    Version,
    /// A line without colon.
    #[error("line {0} is no \"key: value\"")]
    Line(usize),
    /// A key that must be there is not, or is not what it must be.
    #[error("no valid \"{0}\"")]
    Key(&'static str),
    /// More hosts than any domain has.
    #[error("more than {MAX_MX} hosts")]
    TooLong,
}

/// The `id` of the record among the TXT records at `_mta-sts.DOMAIN`; none if there is no record, or more than one, or it is
/// malformed (RFC 8461, 3.1: then senders act as if there were none).
pub fn record_id(records: &[String]) -> Option<&str> {
    let mut records = records.iter().filter(|record| {
        let version = record.split(';').next().unwrap_or_default();
        version.trim_end_matches([' ', '\t']) == "v=STSv1"
    });
    let (record, None) = (records.next()?, records.next()) else { return None };
    let id =
        record.split(';').skip(1).find_map(|field| field.trim_matches([' ', '\t']).strip_prefix("id="))?;
    let sound = (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    sound.then_some(id)
}

impl StsPolicy {
    /// Parses a policy's text; LF or CRLF line ends. Unknown keys are ignored, of a known key that stands twice the first counts
    /// (`mx` may stand often).
    ///
    /// # Errors
    /// A [`PolicyError`].
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let (mut version, mut mode, mut max_age) = (None, None, None);
        let mut mx = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            let (key, value) = line.split_once(':').ok_or(PolicyError::Line(number))?;
            let value = value.trim_matches([' ', '\t']);
            match key.trim_matches([' ', '\t']) {
                "version" => {
                    version.get_or_insert(value);
                }
                "mode" => {
                    mode.get_or_insert(value);
                }
                "max_age" => {
                    max_age.get_or_insert(value);
                }
                "mx" if mx.len() >= MAX_MX => return Err(PolicyError::TooLong),
                "mx" => mx.push(MxPattern::parse(value).ok_or(PolicyError::Key("mx"))?),
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err(PolicyError::Version);
        }
        let mode = mode.and_then(Mode::parse).ok_or(PolicyError::Key("mode"))?;
        let seconds = max_age
            .filter(|digits| (1..=10).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse::<u64>().ok())
            .ok_or(PolicyError::Key("max_age"))?;
        if mx.is_empty() && mode != Mode::None {
            return Err(PolicyError::Key("mx"));
        }
        Ok(Self { mode, mx, max_age: Duration::from_secs(seconds.min(MAX_AGE)) })
    }
}

/// The text again, with the keys that we know and nothing else.
impl fmt::Display for StsPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "version: STSv1")?;
        writeln!(f, "mode: {}", self.mode.as_str())?;
        for pattern in &self.mx {
            writeln!(f, "mx: {pattern}")?;
        }
        writeln!(f, "max_age: {}", self.max_age.as_secs())
    }
}

impl Mode {
    /// The word of the text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Enforce, Self::Testing, Self::None].into_iter().find(|mode| mode.as_str() == word)
    }
}

impl MxPattern {
    fn parse(text: &str) -> Option<Self> {
        let (wildcard, host) = match text.strip_prefix("*.") {
            Some(host) => (true, host),
            None => (false, text),
        };
        Domain::parse(host).ok().map(|host| Self { wildcard, host })
    }

    /// Whether it names this host.
    pub fn matches(&self, host: &Domain) -> bool {
        match self.wildcard {
            false => *host == self.host,
            true => host.as_str().split_once('.').is_some_and(|(_, parent)| parent == self.host.as_str()),
        }
    }

    /// As Postfix's `match=` has it: the host, or `.host` for what lies below.
    pub fn postfix(&self) -> String {
        let dot = if self.wildcard { "." } else { "" };
        format!("{dot}{}", self.host)
    }
}

impl fmt::Display for MxPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.wildcard { "*." } else { "" };
        write!(f, "{star}{}", self.host)
    }
}

/// RFC 8461, 3.1: `1*32(ALPHA / DIGIT)`.
const MAX_ID: usize = 32;

/// RFC 8461, 3.2: a year, in seconds.
const MAX_AGE: u64 = 31_557_600;

/// Longer lists would not fit what Postfix reads as one answer (100,000 bytes), and nobody has them.
const MAX_MX: usize = 100;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const TEXT: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n";

    #[test]
    fn the_example_of_the_rfc() {
        let policy = StsPolicy::parse(TEXT).unwrap();
        assert_eq!(policy.mode, Mode::Enforce);
        assert_eq!(policy.max_age.as_secs(), 604_800);
        let hosts: Vec<String> = policy.mx.iter().map(MxPattern::postfix).collect();
        assert_eq!(hosts, ["mail.example.com", ".example.net", "backupmx.example.com"]);
        assert_eq!(StsPolicy::parse(&policy.to_string()).unwrap(), policy);
        assert_eq!(policy.to_string(), TEXT.replace("\r\n", "\n"));
        let named =
            |host: &str| policy.mx.iter().any(|pattern| pattern.matches(&Domain::parse(host).unwrap()));
        assert!(named("MAIL.example.com") && named("mx.example.net"));
        assert!(!named("example.net") && !named("a.b.example.net") && !named("x.mail.example.com"));
    }

    #[test]
    fn what_is_no_policy_is_none() {
        for (text, error) in [
            ("", PolicyError::Version),
            ("version: STSv2\nmode: none\nmax_age: 1", PolicyError::Version),
            ("mode: enforce\nmx: a.test\nmax_age: 1", PolicyError::Version),
            ("version: STSv1\nmode: strict\nmx: a.test\nmax_age: 1", PolicyError::Key("mode")),
            ("version: STSv1\nmode: enforce\nmax_age: 1", PolicyError::Key("mx")),
            ("version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1", PolicyError::Key("mx")),
            ("version: STSv1\nmode: enforce\nmx: a.*.test\nmax_age: 1", PolicyError::Key("mx")),
            ("version: STSv1\nmode: enforce\nmx: a.test }\nmax_age: 1", PolicyError::Key("mx")),
            ("version: STSv1\nmode: enforce\nmx: a.test\nmax_age: -1", PolicyError::Key("max_age")),
            ("version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 12345678901", PolicyError::Key("max_age")),
            ("version: STSv1\nmode: enforce\nmx: a.test\n", PolicyError::Key("max_age")),
            ("<html>\n<p>", PolicyError::Line(1)),
            (&format!("version: STSv1\nmode: none\n{}", "mx: a.test\n".repeat(101)), PolicyError::TooLong),
        ] {
            assert_eq!(StsPolicy::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn the_first_of_a_key_counts_and_unknown_ones_do_not() {
        let text = "version: STSv1\nmode: testing\nmode: enforce\nnew_key: x\nmx: A.Test.\nmax_age: 9999999999\nmax_age: 1\n";
        let policy = StsPolicy::parse(text).unwrap();
        assert_eq!((policy.mode, policy.max_age.as_secs()), (Mode::Testing, MAX_AGE));
        assert_eq!(policy.mx[0].postfix(), "a.test");
        assert_eq!(StsPolicy::parse("version: STSv1\nmode: none\nmax_age: 0").unwrap().mode, Mode::None);
    }

    #[test]
    fn exactly_one_record_or_none() {
        let id = |records: &[&str]| {
            let records: Vec<String> = records.iter().map(|&record| record.to_owned()).collect();
            record_id(&records).map(str::to_owned)
        };
        assert_eq!(id(&["v=STSv1; id=20160831085700Z;"]).as_deref(), Some("20160831085700Z"));
        assert_eq!(id(&["v=spf1 -all", "v=STSv1;id=a"]).as_deref(), Some("a"));
        assert_eq!(id(&["v=STSv1 ; id=a ; ext=b"]).as_deref(), Some("a"));
        for none in [
            &["v=STSv1; id=a", "v=STSv1; id=b"][..],
            &["v=STSv1"],
            &["v=STSv1; id="],
            &["v=STSv1; id=a-b"],
            &["v=STSv1; id=123456789012345678901234567890123"],
            &["v=stsv1; id=a"],
            &["v=STSv10; id=a"],
            &["id=a; v=STSv1"],
            &[],
        ] {
            assert_eq!(id(none), None, "{none:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_policy_or_not(text in "(version: STSv1\n)?(mode: (enforce|testing|none)\n)?(mx: [a-z*.]{0,20}\n){0,3}(max_age: [0-9]{0,12}\n)?.{0,40}") {
            if let Ok(policy) = StsPolicy::parse(&text) {
                proptest::prop_assert_eq!(StsPolicy::parse(&policy.to_string()), Ok(policy));
            }
        }
    }
}
