//! Whether a claim is true, and whether whoever makes it may in: the same for every mechanism and every peer.
//!
//! Wrong password, unknown user, an account without a password and one that may not in without being told why are told apart in the log
//! only: the same answer after the same work. For a user who is not there that work is a hash of the cost that his domain's hashes have.
//! Refuses to decide while the directory cannot be asked: a right password is never called wrong.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use gatepost::config::Secret;
use gatepost::directory::account::{Account, AppPasswordHash};
use gatepost::directory::{Directory, Lookup};
use gatepost::mail::{Address, Domain};
use gatepost::password::{Hasher, StoredHash, Verification};
use tokio::time::Instant;

use crate::admission::{self, Answer, Facts, Objection, Proof, Service};
use crate::metrics::Work;

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is true; the login's canonical name.
    Accepted(Address),
    /// It is not, or that is what the client is told.
    Refused(Refusal),
    /// It is, and yet the login may not in; the sentence is for its user.
    Barred(Refusal, String),
    /// The login may not in now; the client is told to try later.
    Deferred(Refusal),
    /// Nobody can say now; the text is for the log.
    Unavailable(String),
    /// Nobody can say until the operator acts; the text says how.
    Misconfigured(String),
}

/// A verdict, and what whoever got in proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The app password that was used: its number and label.
    pub app_password: Option<(i64, String)>,
    /// Who logged in as the login.
    pub master: Option<Address>,
}

/// Why a login may not in; for the log and the counters. The client is told what the verdict around it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The password is another.
    WrongPassword,
    /// There is no such login.
    UnknownUser,
    /// The account can receive but never log in.
    NoPassword,
    /// A login on behalf of somebody else, without the right to it.
    OtherUser,
    /// Nothing is kept yet with which this login's password could be proved.
    NoVerifier,
    /// The token is not good.
    BadToken,
    /// The client has no valid certificate.
    NoCertificate,
    /// The mechanism's messages were no login, or not base64.
    Malformed,
    /// The login is locked.
    Locked,
    /// The service is switched off for it.
    Service,
    /// The main password does not count at this service.
    MainPassword,
    /// It may not log in from there.
    Network,
    /// The app password does not count at this service, or from there.
    AppPassword,
    /// The app password has expired.
    Expired,
    /// Too many wrong passwords: this one was not looked at.
    Guessing,
}

impl Verdict {
    /// One word for logs and counters.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "ok",
            Self::Refused(refusal) | Self::Barred(refusal, _) | Self::Deferred(refusal) => refusal.word(),
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
            Self::Locked => "locked",
            Self::Service => "service-off",
            Self::MainPassword => "main-password",
            Self::Network => "network",
            Self::AppPassword => "app-password",
            Self::Expired => "expired",
            Self::Guessing => "guessing",
        }
    }
}

/// Every word of [`Verdict::word`].
pub(crate) const WORDS: [&str; 18] = [
    "ok",
    "wrong-password",
    "unknown-user",
    "no-password",
    "other-user",
    "no-verifier",
    "bad-token",
    "no-certificate",
    "malformed",
    "locked",
    "service-off",
    "main-password",
    "network",
    "app-password",
    "expired",
    "guessing",
    "unavailable",
    "misconfigured",
];

/// What a judgement needs.
#[derive(Clone, Copy)]
pub(crate) struct Bench<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) hasher: &'a Hasher,
    /// Counts what was hashed.
    pub(crate) work: &'a Work,
    /// Whether whoever gives a right password is told why he may not in, whatever the rule says.
    pub(crate) explain: bool,
}

/// Where a claim comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) service: Service,
    pub(crate) address: Option<IpAddr>,
}

/// Whose proof is given, and as whom whoever gives it wants in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// Whose proof it is.
    pub(crate) prover: Address,
    /// As whom it wants in: `None` for itself; `Err` where that is nobody's name.
    pub(crate) other: Option<Result<Address, ()>>,
}

impl Names {
    /// `alice@example.com`; `alice@example.com*boss@example.com` for the master boss, who may also give alice as the SASL authorization
    /// identity (RFC 4616). `*` divides only what are two addresses: it may be part of one.
    pub(crate) fn of(authorization: &str, login: &str) -> Option<Self> {
        let divided = || {
            let (user, master) = login.rsplit_once('*')?;
            Some((Address::parse(user).ok()?, Address::parse(master).ok()?))
        };
        let (prover, mut other) = match Address::parse(login) {
            Ok(prover) => (prover, None),
            Err(_) => divided().map(|(user, master)| (master, Some(Ok(user))))?,
        };
        if !authorization.is_empty() {
            let wanted = Address::parse(authorization).map_err(|_| ());
            match (&other, &wanted) {
                (None, Ok(wanted)) if *wanted == prover => {}
                (Some(Ok(user)), Ok(wanted)) if user == wanted => {}
                // alice*boss on behalf of a third.
                (Some(_), _) => other = Some(Err(())),
                (None, _) => other = Some(wanted),
            }
        }
        Some(Self { prover, other })
    }
}

/// Judges a claim, of those names (none where they are nobody's), within [`DEADLINE`] of its beginning.
pub(crate) async fn judge(
    bench: Bench<'_>,
    origin: Origin,
    names: Option<Names>,
    password: Secret,
    begun: Instant,
) -> Judgement {
    let judgement = tokio::time::timeout_at(begun + DEADLINE, weigh(bench, origin, names, password)).await;
    judgement.unwrap_or_else(|_| Verdict::Unavailable(format!("not decided within {DEADLINE:?}")).into())
}

/// While too many passwords were wrong for others to be looked at, an app password still is: it costs no hash, and nobody guesses 120 bits.
/// `None` where it is none that may in.
pub(crate) async fn judge_app_password(
    bench: Bench<'_>,
    origin: Origin,
    names: Option<Names>,
    password: &Secret,
    begun: Instant,
) -> Option<Judgement> {
    // What cannot be one asks nobody.
    AppPasswordHash::of(password)?;
    let Names { prover, other: None } = names? else { return None };
    let answers =
        async { tokio::join!(bench.directory.credentials(&prover), bench.directory.account(&prover)) };
    let (credentials, account) = tokio::time::timeout_at(begun + DEADLINE, answers).await.ok()?;
    let (credentials, account) = (credentials.found()?, account.found()?);
    credentials.hash?;
    let app = account.app_password(password)?;
    admission::object(&origin.facts(&account, Proof::App(app))).is_none().then(|| Judgement {
        verdict: Verdict::Accepted(credentials.login),
        app_password: Some((app.id, app.label.clone())),
        master: None,
    })
}

async fn weigh(bench: Bench<'_>, origin: Origin, names: Option<Names>, password: Secret) -> Judgement {
    let Bench { directory, .. } = bench;
    let Some(Names { prover, other }) = names else {
        return Box::pin(bench.spend(None, password, Refusal::UnknownUser)).await.into();
    };
    // Both at once, whoever it is, so that the time of these questions tells nothing either.
    let (credentials, account) = tokio::join!(directory.credentials(&prover), directory.account(&prover));
    let account = match account.settled::<()>() {
        Ok(account) => account.unwrap_or_default(),
        Err(failure) => return failed(failure),
    };
    let credentials = match credentials {
        Lookup::Found(credentials) => credentials,
        Lookup::None => {
            let spent = bench.spend(Some(prover.domain()), password, Refusal::UnknownUser);
            return Box::pin(spent).await.into();
        }
        other => return failed(other.map(drop)),
    };
    let Some(hash) = credentials.hash else {
        return Box::pin(bench.spend(Some(prover.domain()), password, Refusal::NoPassword)).await.into();
    };
    let app_password = if other.is_none() { account.app_password(&password) } else { None };
    let mut objection = None;
    if let Some(app) = app_password {
        objection = admission::object(&origin.facts(&account, Proof::App(app)));
        if objection.is_none() {
            let app_password = Some((app.id, app.label.clone()));
            return Judgement { verdict: Verdict::Accepted(credentials.login), app_password, master: None };
        }
        // On with the main password's hash, so that it takes as long as any wrong one.
    }
    match bench.verify(&hash, password).await {
        Verification::Match => {}
        Verification::Unusable(error) => return Verdict::Misconfigured(format!("{prover}: {error}")).into(),
        Verification::Busy => return busy().into(),
        Verification::Mismatch => {
            return match objection {
                Some(objection) => bench.refuse(objection),
                None => Verdict::Refused(Refusal::WrongPassword),
            }
            .into();
        }
    }
    bench.admit(origin, &account, credentials.login, other, Proof::Main).await
}

impl Origin {
    fn facts<'a>(self, account: &'a Account, proof: Proof<'a>) -> Facts<'a> {
        Facts { account, service: self.service, address: self.address, proof, now: SystemTime::now() }
    }
}

impl Bench<'_> {
    /// Whether whoever proved to be `prover`, by whatever mechanism, may in, as itself or as another. `account` is the prover's.
    pub(crate) async fn admit(
        &self,
        origin: Origin,
        account: &Account,
        prover: Address,
        other: Option<Result<Address, ()>>,
        proof: Proof<'_>,
    ) -> Judgement {
        let no_right = || Judgement::from(Verdict::Refused(Refusal::OtherUser));
        let user = match other {
            None => {
                return match admission::object(&origin.facts(account, proof)) {
                    None => Verdict::Accepted(prover),
                    Some(objection) => self.refuse(objection),
                }
                .into();
            }
            Some(Err(())) => return no_right(),
            Some(Ok(user)) => user,
        };
        let Some(mastery) = account.mastery(&user) else { return no_right() };
        if let Some(objection) = admission::object(&origin.facts(account, Proof::Master(mastery))) {
            return self.refuse(objection).into();
        }
        match Box::pin(self.directory.mailbox(&user)).await {
            Lookup::Found(user) => {
                Judgement { verdict: Verdict::Accepted(user), app_password: None, master: Some(prover) }
            }
            Lookup::None => no_right(),
            other => failed(other.map(drop)),
        }
    }

    pub(crate) fn refuse(&self, Objection { refusal, answer }: Objection) -> Verdict {
        match answer {
            Answer::AsWrong(sentence) if self.explain => Verdict::Barred(refusal, sentence.to_owned()),
            Answer::AsWrong(_) => Verdict::Refused(refusal),
            Answer::Tell(sentence) => Verdict::Barred(refusal, sentence),
            Answer::Later => Verdict::Deferred(refusal),
        }
    }

    async fn verify(&self, hash: &StoredHash, password: Secret) -> Verification {
        self.hasher.verify_noting(hash, password, || self.work.count(hash)).await
    }

    /// The refusal of somebody who has no hash, after the work that makes it look like any other.
    async fn spend(&self, domain: Option<&Domain>, password: Secret, refusal: Refusal) -> Verdict {
        let usual = match domain {
            Some(domain) => self.directory.usual_hash(domain).await.found(),
            None => None,
        };
        let work = match usual {
            Some(hash) => self.verify(&hash, password).await,
            None => {
                self.work.count_usual();
                self.hasher.spend(password).await
            }
        };
        match work {
            Verification::Busy => busy(),
            _ => Verdict::Refused(refusal),
        }
    }
}

impl From<Verdict> for Judgement {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, app_password: None, master: None }
    }
}

fn busy() -> Verdict {
    Verdict::Unavailable("too many logins at once".to_owned())
}

fn failed(lookup: Lookup<()>) -> Judgement {
    match lookup {
        Lookup::Misconfigured(why) => Verdict::Misconfigured(why),
        Lookup::Unavailable(why) => Verdict::Unavailable(why),
        Lookup::Found(()) | Lookup::None => Verdict::Unavailable("no answer".to_owned()),
    }
    .into()
}

/// Below the 10 s after which Postfix gives up (AUTH_TIMEOUT). Lookups take at most 4 s, waiting for the hasher at most 6 s; whoever
/// comes near both is told to try later.
const DEADLINE: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn names(authorization: &str, login: &str) -> Option<(String, Option<String>)> {
        let names = Names::of(authorization, login)?;
        let other = names.other.map(|other| other.map_or("?".to_owned(), |other| other.to_string()));
        Some((names.prover.to_string(), other))
    }

    #[test]
    fn a_star_divides_two_addresses_and_nothing_else() {
        let said = |prover: &str, other: Option<&str>| Some((prover.to_owned(), other.map(str::to_owned)));
        for (authorization, login, expected) in [
            ("", "A@b", said("a@b", None)),
            ("a@b", "a@b", said("a@b", None)),
            ("", "a@b*m@c", said("m@c", Some("a@b"))),
            ("a@b", "a@b*m@c", said("m@c", Some("a@b"))),
            ("a@b", "m@c", said("m@c", Some("a@b"))),
            ("x@b", "a@b*m@c", said("m@c", Some("?"))),
            ("nobody", "m@c", said("m@c", Some("?"))),
            ("", "a*b@c", said("a*b@c", None)),
            ("", "a@b*m", None),
            ("", "a*m@c*", None),
            ("", "alice", None),
            ("", "a@b*x@y*m@c", None),
        ] {
            assert_eq!(names(authorization, login), expected, "{authorization} {login}");
        }
    }
}
