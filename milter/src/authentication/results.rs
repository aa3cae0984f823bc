//! `Authentication-Results` (RFC 8601): writing ours, and knowing which of the incoming ones claim to be ours.
//!
//! For `session`. Whoever reads that header trusts it by its authserv-id alone, so a message that brings its own copy with our id
//! must lose it (RFC 8601, 5). It refuses to interpret incoming results of others: they are passed on untouched.
//!
//! ```text
//! Authentication-Results: mx.example.com;
//!         spf=pass smtp.mailfrom=example.org;
//!         dkim=pass header.d=example.org header.s=sel header.a=rsa-sha256 header.b=dGVzdGVk;
//!         arc=pass (i=1 lists.example.org) header.oldest-pass=0 smtp.remote-ip=192.0.2.1;
//!         dmarc=fail (p=reject) header.from=example.org policy.dmarc=reject;
//!         iprev=pass (mx.example.org) policy.iprev=192.0.2.1
//! ```

use std::fmt::Write;

use gatepost::dmarc::Policy;
use gatepost::mail::quoting;

use super::{ArcOutcome, ArcResult, Authentication, DkimOutcome, DmarcResult, SpfOutcome, SpfScope};
use crate::message::Envelope;

/// The name of the field.
pub const NAME: &str = "Authentication-Results";

/// The value of our field, folds as `"\n\t"`, with its leading space.
pub fn write(authserv_id: &str, found: &Authentication, envelope: &Envelope) -> String {
    write_decided(authserv_id, found, envelope, None)
}

/// The same once it is decided what becomes of a message that fails DMARC: where that is not what the domain asks for, the comment
/// says so, as `(p=reject dis=none)`.
pub fn write_decided(
    authserv_id: &str,
    found: &Authentication,
    envelope: &Envelope,
    disposition: Option<Policy>,
) -> String {
    let mut results: Vec<String> = Vec::new();
    results.extend([&found.spf, &found.spf_helo].into_iter().flatten().map(spf));
    results.extend(found.dkim.iter().map(dkim));
    if found.dkim.is_empty() && !found.missing.contains(&"dkim") {
        results.push("dkim=none".to_owned());
    }
    results.extend(found.arc.as_ref().and_then(|arc| self::arc(arc, envelope)));
    if let Some(dmarc) = &found.dmarc {
        let mut text = format!("dmarc={}", dmarc.result.as_str());
        if matches!(dmarc.result, DmarcResult::Pass | DmarcResult::Fail) {
            let policy = dmarc.policy.as_str();
            match disposition.filter(|done| dmarc.result == DmarcResult::Fail && done.as_str() != policy) {
                Some(done) => drop(write!(text, " (p={policy} dis={done})")),
                None => drop(write!(text, " (p={policy})")),
            }
        }
        if !dmarc.domain.is_empty() {
            let _ = write!(text, " header.from={}", value(&dmarc.domain));
        }
        // RFC 9989, 8.1: the policy that is applied, after `sp`, `np`, `t` and our own exceptions.
        if dmarc.result == DmarcResult::Fail {
            let policy = disposition.map_or(dmarc.policy.as_str(), Policy::as_str);
            let _ = write!(text, " policy.dmarc={policy}");
        }
        results.push(text);
    }
    if let (Some(iprev), Some(client)) = (&found.iprev, envelope.client_address) {
        let mut text = format!("iprev={}", iprev.result.as_str());
        if let Some(name) = &iprev.name {
            let _ = write!(text, " ({})", comment(name));
        }
        let _ = write!(text, " policy.iprev={}", value(&client.to_string()));
        results.push(text);
    }
    if results.is_empty() {
        return format!(" {}; none", value(authserv_id));
    }
    format!(" {};\n\t{}", value(authserv_id), results.join(";\n\t"))
}

/// Whether a field's value claims to be written by us, in whatever spelling: case, quotes, comments, folds, white space around dots, a
/// dot at the end, A- or U-labels, a version behind it.
///
/// A value in which no authserv-id can be made out is nobody's; it is ours too, so that nobody mistakes it (RFC 8601, 5 allows
/// to remove more than must be removed). That includes encoded words (RFC 2047), which are none in there and which some decode.
pub fn claims_to_be(authserv_id: &str, value: &[u8]) -> bool {
    let Some(claimed) = claimed_id(value) else { return true };
    let ours = folded(authserv_id);
    if claimed.starts_with("=?") {
        return true;
    }
    let first = claimed.split(' ').next().unwrap_or_default();
    let joined = claimed.replace(' ', "");
    folded(first) == ours
        || folded(joined.trim_end_matches(|c: char| c.is_ascii_digit())) == ours
        || folded(&joined) == ours
}

/// A name as everybody writes it who means the same: lower case, A-labels, no dot at its end.
fn folded(name: &str) -> String {
    let name = name.trim_end_matches('.');
    idna::domain_to_ascii(name).unwrap_or_else(|_| name.to_ascii_lowercase())
}

/// Everything before the first `;` outside quotes and comments, without quotes, comments, and all white space but one space between
/// words; none when there is nothing, or a quote or a comment does not end, or the bytes are no text.
fn claimed_id(value: &[u8]) -> Option<String> {
    let mut bytes = value.iter().copied();
    let mut depth = 0_u32;
    let mut id = Vec::new();
    let mut quoted = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if quoted || depth > 0 => {
                let escaped = bytes.next()?;
                if quoted {
                    id.push(escaped);
                }
            }
            b'"' if depth == 0 => quoted = !quoted,
            _ if quoted => id.push(byte),
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            b' ' | b'\t' | b'\r' | b'\n' => {
                if !id.is_empty() && id.last() != Some(&b' ') {
                    id.push(b' ');
                }
            }
            b';' => break,
            other => id.push(other),
        }
    }
    let id = id.trim_ascii_end();
    if quoted || depth > 0 || id.is_empty() {
        return None;
    }
    String::from_utf8(id.to_vec()).ok()
}

fn spf(spf: &SpfOutcome) -> String {
    let property = match spf.scope {
        SpfScope::MailFrom => "smtp.mailfrom",
        SpfScope::Helo => "smtp.helo",
    };
    let mut text = format!("spf={}", spf.result.as_str());
    if !spf.domain.is_empty() {
        let _ = write!(text, " {property}={}", value(&spf.domain));
    }
    text
}

fn dkim(dkim: &DkimOutcome) -> String {
    let mut text = format!("dkim={}", dkim.result.as_str());
    if !dkim.reason.is_empty() {
        let _ = write!(text, " ({})", comment(&dkim.reason));
    }
    let mut line = text.len();
    for (property, content) in [
        ("header.d", dkim.domain.as_str()),
        ("header.i", &dkim.identity),
        ("header.s", &dkim.selector),
        ("header.a", dkim.algorithm),
        ("header.b", &dkim.signature),
    ] {
        if !content.is_empty() {
            let content = value(content);
            let fold = line + property.len() + content.len() > MAX_LINE;
            let _ = write!(text, "{}{property}={content}", if fold { "\n\t\t" } else { " " });
            line = if fold { 0 } else { line } + property.len() + content.len() + 2;
        }
    }
    text
}

/// Nothing is said about a chain that is not there. `header.oldest-pass` and `smtp.remote-ip` are RFC 8617's (6).
fn arc(arc: &ArcOutcome, envelope: &Envelope) -> Option<String> {
    if arc.result == ArcResult::None {
        return None;
    }
    let mut text = format!("arc={}", arc.result.as_str());
    match arc.last() {
        Some(hop) => {
            let _ = write!(text, " (i={} {})", hop.instance, comment(&hop.sealer));
        }
        None if !arc.why.is_empty() => {
            let _ = write!(text, " ({})", comment(&arc.why));
        }
        None => {}
    }
    if let Some(oldest) = arc.oldest_pass {
        let _ = write!(text, " header.oldest-pass={oldest}");
    }
    if let Some(client) = envelope.client_address {
        let _ = write!(text, " smtp.remote-ip={}", value(&client.to_string()));
    }
    Some(text)
}

fn value(text: &str) -> String {
    quoting::token(text, MAX_VALUE)
}

fn comment(text: &str) -> String {
    quoting::comment(text, MAX_VALUE)
}

/// A domain name has 253 characters at most; nothing here needs more.
const MAX_VALUE: usize = 254;

/// A line may have 998 bytes (RFC 5322, 2.1.1); signatures with very long names are folded before that.
const MAX_LINE: usize = 400;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::{DkimResult, DmarcOutcome, DmarcPolicy, IprevOutcome, IprevResult, SpfResult};
    use super::*;
    use crate::message::Direction;

    #[test]
    fn writes_every_method_with_its_properties() {
        let mut envelope = Envelope::new(Direction::Inbound);
        envelope.client_address = "2001:db8::1".parse().ok();
        let found = Authentication {
            spf: Some(SpfOutcome::new(SpfResult::Pass, "example.org", SpfScope::MailFrom)),
            dkim: vec![DkimOutcome {
                result: DkimResult::Fail,
                domain: "example.org".into(),
                selector: "s1".into(),
                algorithm: "rsa-sha256",
                identity: "@example.org".into(),
                signature: "ab/+cd==".into(),
                reason: "Calculated (body)\n hash".into(),
            }],
            dmarc: Some(DmarcOutcome::new(DmarcResult::Pass, DmarcPolicy::Reject, "example.org")),
            iprev: Some(IprevOutcome { result: IprevResult::Pass, name: Some("mx.example.org".into()) }),
            ..Authentication::default()
        };
        assert_eq!(
            write("mx.example.com", &found, &envelope),
            " mx.example.com;\n\tspf=pass smtp.mailfrom=example.org;\n\tdkim=fail (Calculated body hash) \
             header.d=example.org header.i=\"@example.org\" header.s=s1 header.a=rsa-sha256 header.b=\"ab/+cd==\";\n\t\
             dmarc=pass (p=reject) header.from=example.org;\n\tiprev=pass (mx.example.org) policy.iprev=\"2001:db8::1\""
        );
    }

    #[test]
    fn no_line_is_too_long_whatever_a_signature_says() {
        let long = "x".repeat(5_000);
        let signature = DkimOutcome {
            result: DkimResult::Neutral,
            domain: long.clone(),
            selector: long.clone(),
            algorithm: "rsa-sha256",
            identity: long.clone(),
            signature: "abcdefgh".into(),
            reason: long,
        };
        let found = Authentication { dkim: vec![signature; 3], ..Authentication::default() };
        let written = write("mx.test", &found, &Envelope::new(Direction::Inbound));
        assert!(written.split('\n').all(|line| line.len() < 900), "{written}");
        assert_eq!(written.matches("header.b=abcdefgh").count(), 3);
    }

    #[test]
    fn says_none_when_nothing_is_known() {
        let nothing = Authentication::not_asked();
        assert_eq!(write("mx.test", &nothing, &Envelope::new(Direction::Inbound)), " mx.test; none");
    }

    #[test]
    fn knows_its_own_id_in_any_spelling() {
        for claim in [
            "mx.test; spf=pass",
            " MX.Test; spf=pass",
            "\n\tmx.test 1; spf=pass",
            "(hello (nested \\) still)) mX.tEsT(x); none",
            "\"mx.test\"; none",
            "\"m\\x.test\"; none",
            "mx.test.; none",
            "mx.test",
            "",
            "; spf=pass",
            "(never closed mx.test; spf=pass",
            "\"mx\".test; spf=pass",
            "mx.\"test\" 1; spf=pass",
            "mx(c).(d)test; spf=pass",
            "mx . test; spf=pass",
            "mx.\r\n\ttest 1; spf=pass",
            "mx.test1; spf=pass",
            "\"mx.test 1\"; spf=pass",
            "=?utf-8?q?mx=2Etest?=; spf=pass",
            "\u{ff4d}\u{ff58}.test; spf=pass",
            "mx\u{3002}test; spf=pass",
            "m\u{ad}x.test; spf=pass",
            "\"never closed",
        ] {
            assert!(claims_to_be("mx.test", claim.as_bytes()), "{claim:?}");
        }
        for other in [
            "mx.example; spf=pass",
            "mx.test.example; none",
            "(mx.test) other.example; none",
            "\"mx test\"; x",
        ] {
            assert!(!claims_to_be("mx.test", other.as_bytes()), "{other:?}");
        }
        assert!(claims_to_be("xn--bcher-kva.test", "bücher.test; none".as_bytes()));
        assert!(claims_to_be("xn--bcher-kva.test", "BÜCHER.test 1; none".as_bytes()));
        assert!(claims_to_be("bücher.test", b"XN--BCHER-KVA.test; none"));
        assert!(claims_to_be("mx.test", b"mx\xff.test; none"), "no text, nobody's");
    }

    proptest::proptest! {
        #[test]
        fn any_value_is_ours_or_not(value in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100)) {
            // Ours in front of anything that begins a new word is always ours.
            let ours = [b" mx.test ", value.as_slice()].concat();
            proptest::prop_assert!(claims_to_be("mx.test", &ours));
            let _ = claims_to_be("mx.test", &value);
        }
    }
}
