//! Whether DNS left open who sent a message, and what a client is told that shall come again for it.
//!
//! For `service`, where the operator prefers to wait (`milter.verification.on-temperror`). Pure. A DNS failure that changes nothing is
//! no reason: not when DMARC has come to pass or fail without that answer, not when one of several signatures holds.

use gatepost::mail::SmtpReply;

use super::{Authentication, DkimResult, DmarcResult, SpfResult};

/// What could not be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsettled {
    /// Whether the client may send for the domain.
    Spf,
    /// Whether the signature holds.
    Dkim,
    /// What the From domain asks for.
    Dmarc,
}

impl Unsettled {
    /// What a message's result rests on that DNS may answer later, if anything.
    pub fn of(found: &Authentication) -> Option<Self> {
        let dmarc = found.dmarc.as_ref().map(|dmarc| dmarc.result);
        if matches!(dmarc, Some(DmarcResult::Pass | DmarcResult::Fail)) {
            return None;
        }
        if found.spf.as_ref().is_some_and(|spf| spf.result == SpfResult::TempError) {
            return Some(Self::Spf);
        }
        let signature = |result| found.dkim.iter().any(|signature| signature.result == result);
        if signature(DkimResult::TempError) && !signature(DkimResult::Pass) {
            return Some(Self::Dkim);
        }
        (dmarc == Some(DmarcResult::TempError)).then_some(Self::Dmarc)
    }

    /// The reply to the end of the message.
    pub fn reply(self) -> SmtpReply {
        match self {
            // RFC 7372, 3.2: "SPF validation error".
            Self::Spf => SmtpReply::new(451, "4.7.24", "SPF cannot be checked now: DNS does not answer"),
            // RFC 6376, 6.3, has this very reply.
            Self::Dkim => SmtpReply::new(451, "4.7.5", "Unable to verify signature - key server unavailable"),
            // RFC 9989, 7.2, asks for a 4xy; RFC 3463, 3.5: "directory server failure", and DNS is its example.
            Self::Dmarc => SmtpReply::new(451, "4.4.3", "DMARC cannot be checked now: DNS does not answer"),
        }
    }

    /// The method's name, for the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spf => "spf",
            Self::Dkim => "dkim",
            Self::Dmarc => "dmarc",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::{DkimOutcome, DmarcOutcome, DmarcPolicy, SpfOutcome, SpfScope};
    use super::*;

    fn found(spf: SpfResult, dkim: &[DkimResult], dmarc: DmarcResult) -> Authentication {
        let signature = |result: &DkimResult| DkimOutcome {
            result: *result,
            domain: "x.test".into(),
            selector: "s".into(),
            algorithm: "rsa-sha256",
            identity: String::new(),
            signature: String::new(),
            reason: String::new(),
        };
        Authentication {
            spf: Some(SpfOutcome::new(spf, "x.test", SpfScope::MailFrom)),
            dkim: dkim.iter().map(signature).collect(),
            dmarc: Some(DmarcOutcome::new(dmarc, DmarcPolicy::None, "x.test")),
            ..Authentication::default()
        }
    }

    #[test]
    fn only_what_matters_is_waited_for() {
        use {DkimResult as D, DmarcResult as M, SpfResult as S};
        for (spf, dkim, dmarc, expected) in [
            (S::Pass, &[D::Pass][..], M::Pass, None),
            (S::TempError, &[D::Pass], M::Pass, None),
            (S::TempError, &[D::TempError], M::Fail, None),
            (S::TempError, &[], M::TempError, Some(Unsettled::Spf)),
            (S::TempError, &[], M::None, Some(Unsettled::Spf)),
            (S::Fail, &[D::TempError], M::TempError, Some(Unsettled::Dkim)),
            (S::Fail, &[D::TempError, D::Pass], M::None, None),
            (S::Fail, &[], M::TempError, Some(Unsettled::Dmarc)),
            (S::PermError, &[D::PermError], M::PermError, None),
        ] {
            assert_eq!(Unsettled::of(&found(spf, dkim, dmarc)), expected, "{spf:?} {dkim:?} {dmarc:?}");
        }
        assert_eq!(Unsettled::of(&Authentication::not_asked()), None);
    }

    #[test]
    fn all_replies_are_temporary() {
        for unsettled in [Unsettled::Spf, Unsettled::Dkim, Unsettled::Dmarc] {
            assert!(unsettled.reply().is_temporary());
            assert!(unsettled.reply().enhanced().starts_with("4."));
        }
    }
}
