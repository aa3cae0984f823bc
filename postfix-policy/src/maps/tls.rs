//! `tls` and `tls-tlsrpt`: how mail to a next hop must be encrypted. For `smtp_tls_policy_maps`.
//!
//! Postfix's smtp asks with the next hop as it is written: `example.org`, `[mx.example.org]:587`. The answer is a security level with its
//! attributes (`postconf(5)`, `smtp_tls_policy_maps`); without one, Postfix uses its own `smtp_tls_security_level`.
//!
//! ```text
//! tls         dane-only
//! tls         secure match=mail.example.com:.example.net servername=hostname
//! tls-tlsrpt  secure match=… servername=hostname policy_type=sts policy_domain=example.com policy_ttl=604800
//!             mx_host_pattern=mail.example.com mx_host_pattern=*.example.net { policy_string = version: STSv1 } …
//! ```
//!
//! `tls-tlsrpt` is for Postfix 3.10 and newer, which reports by these attributes (TLSRPT_README) and, from 3.10.5 on, holds the names
//! of the MX hosts against the patterns (`smtp_tls_enforce_sts_mx_patterns`); an older Postfix refuses what it does not know.

use std::fmt::Write;

use gatepost::directory::Lookup;

use super::{Answer, Asking, Map, and};
use crate::addresses::sayable;
use crate::tls::{Dane, NextHop, Policy};

/// For Postfix up to 3.9.
pub(super) const TLS: Map = Map {
    name: "tls",
    parameter: "smtp_tls_policy_maps",
    summary: "DANE or MTA-STS of the next hop",
    look_up: |asking, key| answer(asking, key, Form::Plain),
};

/// For Postfix 3.10 and newer.
pub(super) const TLS_TLSRPT: Map = Map {
    name: "tls-tlsrpt",
    parameter: "smtp_tls_policy_maps",
    summary: "the same with the attributes of TLSRPT, for Postfix 3.10",
    look_up: |asking, key| answer(asking, key, Form::Tlsrpt),
};

/// Which attributes Postfix knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Tlsrpt,
}

fn answer<'a>(asking: Asking<'a>, key: &'a str, form: Form) -> Answer<'a> {
    Box::pin(async move {
        let Some(hop) = NextHop::parse(key) else { return Lookup::None };
        and(asking.tls.policy(&hop).await, |policy| sayable(spelled(&policy, form)))
    })
}

/// The level and its attributes. Nothing of it is a stranger's text: hosts are domains, the rest are numbers and our own words.
fn spelled(policy: &Policy, form: Form) -> String {
    let (domain, policy, ttl) = match policy {
        Policy::Dane(Dane::All) => return "dane-only".to_owned(),
        Policy::Dane(_) => return "dane".to_owned(),
        Policy::Sts { domain, policy, ttl } => (domain, policy, ttl),
    };
    let hosts: Vec<String> = policy.mx.iter().map(|pattern| pattern.postfix()).collect();
    let mut text = format!("secure match={} servername=hostname", hosts.join(":"));
    if form == Form::Tlsrpt {
        let _ = write!(text, " policy_type=sts policy_domain={domain} policy_ttl={}", ttl.as_secs());
        for pattern in &policy.mx {
            let _ = write!(text, " mx_host_pattern={pattern}");
        }
        for line in policy.to_string().lines() {
            let _ = write!(text, " {{ policy_string = {line} }}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::sync::Arc;
    use std::time::Duration;

    use gatepost::mail::Domain;

    use super::*;
    use crate::tls::StsPolicy;

    #[test]
    fn both_forms() {
        let text = "version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: 86400\n";
        let sts = Policy::Sts {
            domain: Domain::parse("example.com").unwrap(),
            policy: Arc::new(StsPolicy::parse(text).unwrap()),
            ttl: Duration::from_secs(600),
        };
        assert_eq!(
            spelled(&sts, Form::Plain),
            "secure match=mail.example.com:.example.net servername=hostname"
        );
        assert_eq!(
            spelled(&sts, Form::Tlsrpt),
            "secure match=mail.example.com:.example.net servername=hostname policy_type=sts policy_domain=example.com policy_ttl=600 \
             mx_host_pattern=mail.example.com mx_host_pattern=*.example.net { policy_string = version: STSv1 } \
             { policy_string = mode: enforce } { policy_string = mx: mail.example.com } { policy_string = mx: *.example.net } \
             { policy_string = max_age: 86400 }"
        );
        assert_eq!(spelled(&Policy::Dane(Dane::All), Form::Tlsrpt), "dane-only");
        assert_eq!(spelled(&Policy::Dane(Dane::Some), Form::Plain), "dane");
    }
}
