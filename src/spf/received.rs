//! `Received-SPF` (RFC 7208, 9.1): the header that tells everybody behind us what SPF came to.
//!
//! ```text
//! Received-SPF: pass (mx.example.com: domain of example.org designates 192.0.2.1 as permitted sender)
//!         receiver=mx.example.com; identity=mailfrom; client-ip=192.0.2.1; helo=mail.example.org;
//!         envelope-from="a@example.org"; mechanism=ip4
//! ```
//!
//! For whoever adds headers. The domain of the check stands in comment and keys as the client gave it, so everything is quoted, cut
//! and cleaned: nothing in there can end the field, the line or the comment.

use std::fmt::Write;

use super::{Client, SpfOutcome, SpfResult, SpfScope};
use crate::mail::quoting;

/// The value of the field with its leading space, folds as `"\n\t"`. `reverse_path` is MAIL FROM without brackets, empty when null.
pub fn received_spf(outcome: &SpfOutcome, client: Client<'_>, reverse_path: &str) -> String {
    let address = client.address.to_canonical().to_string();
    let domain = comment(&outcome.domain);
    let says = match outcome.result {
        SpfResult::Pass => format!("domain of {domain} designates {address} as permitted sender"),
        SpfResult::Fail => format!("domain of {domain} does not designate {address} as permitted sender"),
        SpfResult::SoftFail => format!("domain of {domain} discourages use of {address} as sender"),
        SpfResult::Neutral => format!("{address} is neither permitted nor denied by domain of {domain}"),
        SpfResult::None => format!("domain of {domain} provides no SPF record"),
        SpfResult::TempError => format!("DNS could not answer for domain of {domain}"),
        SpfResult::PermError => format!("the SPF record of domain of {domain} cannot be interpreted"),
    };
    let identity = match outcome.scope {
        SpfScope::MailFrom => "mailfrom",
        SpfScope::Helo => "helo",
    };
    let mut out = format!(" {} ({}: {says})\n\t", outcome.result.as_str(), comment(client.host));
    let _ =
        write!(out, "receiver={}; identity={identity}; client-ip={};", value(client.host), value(&address));
    let _ = write!(out, "\n\thelo={};", value(client.helo));
    let _ = write!(out, "\n\tenvelope-from={}", value(reverse_path));
    if let Some(mechanism) = outcome.mechanism {
        let _ = write!(out, "; mechanism={mechanism}");
    }
    if let Some(problem) = outcome.problem.as_ref().filter(|_| outcome.result == SpfResult::PermError) {
        let _ = write!(out, ";\n\tproblem={}", value(problem));
    }
    out
}

fn value(text: &str) -> String {
    quoting::dot_atom(text, MAX_VALUE)
}

fn comment(text: &str) -> String {
    quoting::comment(text, MAX_VALUE)
}

/// The longest address has 64 + 1 + 255 bytes (RFC 5321, 4.5.3.1).
const MAX_VALUE: usize = 320;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn client(helo: &str) -> Client<'_> {
        Client { address: "2001:db8::1".parse().unwrap(), helo, host: "mx.example.com", now: 0 }
    }

    #[test]
    fn every_key() {
        let mut outcome = SpfOutcome::new(SpfResult::Pass, "example.org", SpfScope::MailFrom);
        outcome.mechanism = Some("mx");
        assert_eq!(
            received_spf(&outcome, client("mail.example.org"), "a@example.org"),
            " pass (mx.example.com: domain of example.org designates 2001:db8::1 as permitted sender)\n\t\
             receiver=mx.example.com; identity=mailfrom; client-ip=\"2001:db8::1\";\n\thelo=mail.example.org;\n\t\
             envelope-from=\"a@example.org\"; mechanism=mx"
        );
        let mut broken = SpfOutcome::new(SpfResult::PermError, "example.org", SpfScope::Helo);
        broken.problem = Some("mistake at \"moo\"".into());
        let text = received_spf(&broken, client("example.org"), "");
        assert!(text.contains("identity=helo") && text.contains("envelope-from=\"\""), "{text}");
        assert!(text.ends_with("problem=\"mistake at \\\"moo\\\"\""), "{text}");
    }

    #[test]
    fn strangers_words_cannot_end_it() {
        let outcome = SpfOutcome::new(SpfResult::Fail, "a)\r\nX-Evil: 1 (\\.test", SpfScope::MailFrom);
        let text =
            received_spf(&outcome, client("x\"; identity=mailfrom\r\n\r\nbody"), "\"a\\\"b\"@c.test\n");
        assert!(
            text.split('\n').skip(1).all(|line| line.starts_with('\t')) && !text.contains('\r'),
            "{text}"
        );
        assert!(text.contains("helo=\"x\\\"; identity=mailfrombody\";"), "{text}");
        assert_eq!(text.matches('(').count(), text.matches(')').count());
        let long = "x".repeat(5000);
        let text = received_spf(&outcome, client(&long), &long);
        assert!(text.split('\n').all(|line| line.len() < 900), "{text}");
    }
}
