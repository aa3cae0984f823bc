//! The certificates that Postfix and Dovecot show: still good, and for this host's name?

use time::{Duration, OffsetDateTime};

use super::facts::HostFacts;
use super::facts::certificates::Certificate;
use super::report::Report;

pub(super) fn judge(facts: &HostFacts, report: &mut Report) {
    for certificate in &facts.certificates {
        one(certificate, facts.helo(), OffsetDateTime::now_utc(), report);
    }
}

fn one(certificate: &Certificate, helo: Option<&str>, now: OffsetDateTime, report: &mut Report) {
    let (by, path) = (&certificate.shown_by, certificate.path.display());
    let validity = match &certificate.content {
        Ok(validity) => validity,
        Err(why) => return report.fail(&format!("{by}: {path}: {why}")),
    };
    let (from, until) = (validity.from.date(), validity.until.date());
    let left = (validity.until - now).whole_days();
    if validity.until <= now {
        report.fail(&format!("{by}: {path} ended on {until}: clients and DANE refuse it; renew it, then reload Postfix and Dovecot"));
    } else if validity.from > now {
        report.fail(&format!("{by}: {path} is good from {from} on; is the clock right?"));
    } else if validity.until - now < SOON {
        report.warn(&format!(
            "{by}: {path} ends on {until}, in {left} days; does its renewal run (`systemctl list-timers`)?"
        ));
    } else {
        report.ok(&format!("{by}: {path} is good until {until}"));
    }
    if let Some(helo) = helo.filter(|name| name.contains('.') && !validity.names.is_empty())
        && !validity.names.iter().any(|name| covers(name, helo))
    {
        let names = validity.names.join(", ");
        report.warn(&format!(
            "{by}: {path} is for {}, not for {helo}, as Postfix calls this host",
            super::super::zone::cut(&names)
        ));
    }
}

/// RFC 9525, 6.3: a "*" stands for one label.
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, above)| above.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(host),
    }
}

/// Let's Encrypt's clients renew a month before the end, or at a third of a short life (45 days from 2027 on).
const SOON: Duration = Duration::days(12);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::facts::certificates::Validity;
    use super::*;

    #[test]
    fn the_end_comes_near() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let said = |from: i64, until: i64, names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let content =
                Ok(Validity { from: now + Duration::days(from), until: now + Duration::days(until), names });
            let certificate = Certificate {
                shown_by: "Postfix (smtpd_tls_cert_file)".into(),
                path: "/c.pem".into(),
                content,
            };
            let mut report = Report::default();
            one(&certificate, Some("mail.example.com"), now, &mut report);
            report.lines()
        };
        let names = &["mail.example.com"][..];
        assert!(
            said(-1, 60, names)[0]
                .starts_with("ok Postfix (smtpd_tls_cert_file): /c.pem is good until 2027-")
        );
        assert!(said(-80, 5, names)[0].contains("in 5 days"));
        assert!(said(-80, -1, names)[0].starts_with("fail "));
        assert!(said(1, 60, names)[0].contains("is the clock right?"));
        assert_eq!(said(-1, 60, &["*.example.com"]).len(), 1);
        assert!(said(-1, 60, &["example.com"])[1].starts_with(
            "warn Postfix (smtpd_tls_cert_file): /c.pem is for example.com, not for mail.example.com"
        ));
    }
}
