//! Whether a claim is true: the directory's hash against the password, the same for every mechanism and every peer.
//!
//! Wrong password, unknown user and an account without a password are told apart in the log only: the same answer after the same work.
//! Refuses to decide while the directory cannot be asked: a right password is never called wrong.

use std::time::Duration;

use gatepost::directory::{Directory, Lookup};
use gatepost::mail::Address;
use gatepost::password::{Hasher, Verification};

use crate::mechanisms::Claim;

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is true; the login's canonical name.
    Accepted(Address),
    /// It is not.
    Refused(Refusal),
    /// Nobody can say now; the text is for the log.
    Unavailable(String),
    /// Nobody can say until the operator acts; the text says how.
    Misconfigured(String),
}

/// Why a claim is not true; for the log and the counters, never for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The password is another.
    WrongPassword,
    /// There is no such login.
    UnknownUser,
    /// The account can receive but never log in.
    NoPassword,
    /// A login on behalf of somebody else.
    OtherUser,
    /// Nothing is kept yet with which this login's password could be proved.
    NoVerifier,
    /// The token is not good.
    BadToken,
    /// The client has no valid certificate.
    NoCertificate,
    /// The mechanism's messages were no login, or not base64.
    Malformed,
}

impl Verdict {
    /// One word for logs and counters.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "ok",
            Self::Refused(refusal) => refusal.word(),
            Self::Unavailable(_) => "unavailable",
            Self::Misconfigured(_) => "misconfigured",
        }
    }
}

impl Refusal {
    /// One word for logs and counters.
    pub fn word(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong-password",
            Self::UnknownUser => "unknown-user",
            Self::NoPassword => "no-password",
            Self::OtherUser => "other-user",
            Self::NoVerifier => "no-verifier",
            Self::BadToken => "bad-token",
            Self::NoCertificate => "no-certificate",
            Self::Malformed => "malformed",
        }
    }
}

/// Every word of [`Verdict::word`].
pub(crate) const WORDS: [&str; 11] = [
    "ok",
    "wrong-password",
    "unknown-user",
    "no-password",
    "other-user",
    "no-verifier",
    "bad-token",
    "no-certificate",
    "malformed",
    "unavailable",
    "misconfigured",
];

/// Judges a claim, within [`DEADLINE`].
pub async fn judge(directory: &Directory, hasher: &Hasher, claim: Claim) -> Verdict {
    let verdict = tokio::time::timeout(DEADLINE, weigh(directory, hasher, claim)).await;
    verdict.unwrap_or_else(|_| Verdict::Unavailable(format!("not decided within {DEADLINE:?}")))
}

async fn weigh(directory: &Directory, hasher: &Hasher, claim: Claim) -> Verdict {
    let Claim { authorization, login, password } = claim;
    let Ok(login) = Address::parse(&login) else {
        return refused(hasher.spend(password).await, Refusal::UnknownUser);
    };
    if !authorization.is_empty() && Address::parse(&authorization).as_ref() != Ok(&login) {
        return refused(hasher.spend(password).await, Refusal::OtherUser);
    }
    let credentials = match directory.credentials(&login).await {
        Lookup::Found(credentials) => credentials,
        Lookup::None => return refused(hasher.spend(password).await, Refusal::UnknownUser),
        Lookup::Unavailable(why) => return Verdict::Unavailable(why),
        Lookup::Misconfigured(why) => return Verdict::Misconfigured(why),
    };
    let Some(hash) = credentials.hash else {
        return refused(hasher.spend(password).await, Refusal::NoPassword);
    };
    match hasher.verify(&hash, password).await {
        Verification::Match => Verdict::Accepted(credentials.login),
        Verification::Unusable(error) => Verdict::Misconfigured(format!("{login}: {error}")),
        other => refused(other, Refusal::WrongPassword),
    }
}

/// The refusal, unless there was no time to do the work that makes it look like any other.
fn refused(work: Verification, refusal: Refusal) -> Verdict {
    match work {
        Verification::Busy => Verdict::Unavailable("too many logins at once".to_owned()),
        _ => Verdict::Refused(refusal),
    }
}

/// Below the 10 s after which Postfix gives up (AUTH_TIMEOUT). Lookups take at most 4 s, waiting for the hasher at most 6 s; whoever
/// comes near both is told to try later.
const DEADLINE: Duration = Duration::from_secs(8);
