//! DKIM (RFC 6376): the outcomes in our words, how they come from the crate's, and which signatures are not verified at all.
//!
//! For `verifier`. It refuses `rsa-sha1` (RFC 8301, 3.1) and more signatures or signed fields than are worth their time.

use mail_auth::crypto::Algorithm;
use mail_auth::dkim::{DkimError, Signature};
use mail_auth::{AuthenticatedMessage, DkimOutput, Error};

/// The result of one DKIM signature (RFC 8601, 2.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DkimResult {
    /// The signature holds.
    Pass,
    /// The signature does not hold: the signed headers or the body were changed, or it was never good.
    Fail,
    /// The signature cannot be judged: malformed, expired, unsupported, or limited by `l=`.
    Neutral,
    /// The key could not be fetched now.
    TempError,
    /// The key does not exist, is broken or revoked.
    PermError,
}

/// One DKIM signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimOutcome {
    /// What came out.
    pub result: DkimResult,
    /// The signing domain, `d=`; empty when the header could not be parsed.
    pub domain: String,
    /// The selector, `s=`.
    pub selector: String,
    /// The algorithm, `a=`.
    pub algorithm: &'static str,
    /// The identity, `i=`; empty when absent.
    pub identity: String,
    /// The first eight characters of `b=`, which tell signatures of one domain apart (RFC 6008).
    pub signature: String,
    /// Why it is not a pass, in a few words; empty for a pass.
    pub reason: String,
}

impl DkimResult {
    /// The word in `Authentication-Results` (RFC 8601, 2.7.1).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Neutral => "neutral",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// Takes out the signatures that are not to be verified, and says why; those that could not be parsed are among them.
pub(super) fn refuse_signatures(message: &mut AuthenticatedMessage<'_>, limit: usize) -> Vec<DkimOutcome> {
    let mut refused: Vec<DkimOutcome> = message
        .errors()
        .iter()
        .filter(|header| header.name.trim_ascii().eq_ignore_ascii_case(b"DKIM-Signature"))
        .take(limit)
        .map(|header| {
            // One with `l=` parses; one that does not parse has no domain.
            let signature = Signature::parse(header.value).unwrap_or_default();
            let mut outcome = outcome_of(&signature, DkimResult::Neutral, header.header.to_string());
            if outcome.domain.is_empty() {
                outcome.algorithm = "";
            }
            outcome
        })
        .collect();
    let mut number = 0;
    message.retain_dkim_signatures(|signature| {
        number += 1;
        let reason = if signature.a == Algorithm::RsaSha1 {
            "rsa-sha1 is not accepted (RFC 8301)"
        } else if number > limit {
            "too many signatures"
        } else if signature.h.len() > MAX_SIGNED_FIELDS {
            "too many signed fields"
        } else {
            return Ok(());
        };
        if refused.len() <= limit {
            refused.push(outcome_of(signature, DkimResult::Neutral, reason.to_owned()));
        }
        Err(DkimError::UnsupportedAlgorithm)
    });
    refused
}

pub(super) fn outcome(output: &DkimOutput<'_>) -> Option<DkimOutcome> {
    let signature = output.signature()?;
    let (result, reason) = match output.result() {
        mail_auth::DkimResult::Pass => (DkimResult::Pass, String::new()),
        // RFC 8601, 2.7.1: a signature that does not match its message has failed, whichever half does not match.
        mail_auth::DkimResult::Neutral(error @ Error::Dkim(DkimError::BodyHashMismatch)) => {
            (DkimResult::Fail, error.to_string())
        }
        mail_auth::DkimResult::Neutral(error) => (DkimResult::Neutral, error.to_string()),
        mail_auth::DkimResult::Fail(error) => (DkimResult::Fail, error.to_string()),
        mail_auth::DkimResult::PermError(error) => (DkimResult::PermError, error.to_string()),
        // What the resolver says (servers, ports) is not for the header of somebody's mail.
        mail_auth::DkimResult::TempError(_) => (DkimResult::TempError, "no answer from DNS".to_owned()),
        mail_auth::DkimResult::None => return None,
    };
    Some(outcome_of(signature, result, reason))
}

fn outcome_of(signature: &Signature, result: DkimResult, reason: String) -> DkimOutcome {
    use base64::Engine;
    // Six bytes are the eight characters that RFC 6008 asks for.
    let start = signature.b.get(..6).unwrap_or(&signature.b);
    DkimOutcome {
        result,
        domain: signature.d.clone(),
        selector: signature.s.clone(),
        algorithm: signature.a.name(),
        identity: signature.i.clone(),
        signature: base64::engine::general_purpose::STANDARD.encode(start),
        reason,
    }
}

/// More fields than any mailer signs (RFC 6376 suggests about 20); with 10,000 a header would cost seconds to verify.
const MAX_SIGNED_FIELDS: usize = 200;
