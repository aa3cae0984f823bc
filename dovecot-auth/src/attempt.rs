//! One attempt to log in, from a claim to its verdict: judged, counted, written down, logged, and answered not too early.
//!
//! The same for every mechanism and every peer; what the verdict becomes on the wire stands in the header of `session::client`.

use std::net::IpAddr;

use gatepost::config::Secret;
use gatepost::password::Hasher;
use gatepost::telemetry::printable;
use tokio::time::{Instant, sleep_until};

use crate::admission::Service;
use crate::guard::{Entrance, Guard, Trial};
use crate::mechanisms::{Claim, Mechanism, Needs};
use crate::service::{DovecotAuth, Live, SHOWN};
use crate::session::Kind;
use crate::verdict::{self, Bench, Judgement, Names, Origin, Refusal, Verdict};

/// How a login came here; for the log, the counters, and what follows.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// The mechanism's name.
    pub mechanism: &'static str,
    /// imap, pop3, sieve, smtp …, by the client's word.
    pub service: String,
    /// The address of whoever logs in, by the client's word.
    pub remote: String,
    /// What the program calls itself.
    pub client: String,
    /// Dovecot's session.
    pub session: String,
    /// Whether a mail process will ask for this login.
    pub keep: bool,
}

impl Circumstances {
    /// Where it comes from, for the rules.
    pub(crate) fn origin(&self) -> Origin {
        let address = self.remote.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        Origin { service: Service::of(&self.service), address }
    }
}

impl DovecotAuth {
    /// Whether a claim is true and its maker may in. A wrong one is answered after `failure-delay` at the earliest, later the more were
    /// wrong before.
    pub async fn authenticate(&self, circumstances: &Circumstances, claim: Claim) -> Verdict {
        let started = Instant::now();
        let Claim { authorization, login, password } = claim;
        let names = Names::of(&authorization, &login);
        // Wrong passwords are counted under the name of whoever's they are.
        let prover = names.as_ref().map_or_else(|| login.to_lowercase(), |names| names.prover.to_string());
        let mut trial = self.begin(circumstances, &prover, &password).await;
        let origin = circumstances.origin();
        let judgement = if trial.is_too_much() {
            let bench = self.bench(&self.hasher);
            let known = verdict::judge_app_password(bench, origin, names, &password, started);
            Box::pin(known).await.unwrap_or_else(|| Verdict::Deferred(Refusal::Guessing).into())
        } else {
            let hasher = self.hasher.for_login(&circumstances.remote, &prover);
            let kept = self.renews().then(|| password.clone());
            let judgement = verdict::judge(self.bench(&hasher), origin, names, password, started).await;
            // A master's password is not the login's own: `upkeep` sees that its hash is another.
            if let (Verdict::Accepted(login), Some(password), Some(hash)) =
                (&judgement.verdict, kept, hasher.matched())
            {
                self.upkeep.renew(login, hash, password);
            }
            judgement
        };
        self.settle(circumstances, &login, started, judgement, Some(&mut trial)).await
    }

    /// What a judgement needs.
    pub(crate) fn bench<'a>(&'a self, hasher: &'a Hasher) -> Bench<'a> {
        let explain = self.live.load().settings.explain_refusals;
        Bench { directory: &self.directory, hasher, work: &self.counters.work, explain }
    }

    /// An attempt begins, under the name whose secret it is.
    pub(crate) async fn begin(
        &self,
        circumstances: &Circumstances,
        prover: &str,
        secret: &Secret,
    ) -> Trial<'_> {
        let live = self.live.load_full();
        let guess = self.guard.guess(prover, secret);
        self.guard.begin(&live.settings.guessing, prover, circumstances.origin().address, guess).await
    }

    /// Counts, writes down and logs what became of an attempt; one that may be a guess (`trial`) is answered the later, the more were wrong before.
    pub(crate) async fn settle(
        &self,
        circumstances: &Circumstances,
        login: &str,
        started: Instant,
        judgement: Judgement,
        mut trial: Option<&mut Trial<'_>>,
    ) -> Verdict {
        let verdict = self.conclude(circumstances, login, judgement, trial.as_deref_mut());
        if let Verdict::Refused(_) | Verdict::Barred(..) | Verdict::Deferred(_) = &verdict {
            let base = self.live.load().settings.failure_delay.0;
            let delay = match (&verdict, &trial) {
                (Verdict::Refused(_), Some(trial)) => Guard::delay(trial, base),
                _ => base,
            };
            sleep_until(started + delay).await;
        }
        verdict
    }

    /// The same at once.
    pub(crate) fn conclude(
        &self,
        circumstances: &Circumstances,
        login: &str,
        judgement: Judgement,
        trial: Option<&mut Trial<'_>>,
    ) -> Verdict {
        let Origin { service, address } = circumstances.origin();
        if let Verdict::Accepted(login) = &judgement.verdict {
            self.guard.entered(&Entrance {
                login,
                service,
                address,
                mechanism: circumstances.mechanism,
                client: &circumstances.client,
                app_password: judgement.app_password.as_ref(),
                master: judgement.master.as_ref(),
            });
        }
        let is_new = trial.as_deref().map(Trial::is_new);
        if let Some(trial) = trial {
            match &judgement.verdict {
                Verdict::Refused(refusal) => self.guard.was_wrong(trial, &circumstances.service, *refusal),
                Verdict::Unavailable(_)
                | Verdict::Misconfigured(_)
                | Verdict::Deferred(Refusal::Guessing) => self.guard.give_up(trial),
                Verdict::Accepted(_) | Verdict::Barred(..) | Verdict::Deferred(_) => {
                    self.guard.was_right(trial);
                }
            }
        }
        self.note_judgement(circumstances, login, judgement, is_new)
    }

    /// The mechanisms that are offered to a peer now: those of the configuration that can work.
    pub(crate) fn offered(&self, kind: Kind) -> Vec<&'static Mechanism> {
        let live = self.live.load();
        let can_work = |mechanism: &&Mechanism| self.can_work(&live, kind, mechanism);
        let offered: Vec<_> = live.settings.offered().filter(can_work).collect();
        // Without any, clients take us for no auth service at all; these say that they cannot when they are used.
        if offered.is_empty() { live.settings.offered().collect() } else { offered }
    }

    /// The mechanism of that name, if it is among [`DovecotAuth::offered`].
    pub(crate) fn offers(&self, kind: Kind, name: &str) -> Option<&'static Mechanism> {
        let live = self.live.load();
        let is_meant = |mechanism: &&Mechanism| mechanism.name.eq_ignore_ascii_case(name);
        let mechanism = live.settings.offered().find(is_meant)?;
        let is_offered = self.can_work(&live, kind, mechanism)
            || !live.settings.offered().any(|other| self.can_work(&live, kind, other));
        is_offered.then_some(mechanism)
    }

    fn can_work(&self, live: &Live, kind: Kind, mechanism: &Mechanism) -> bool {
        match mechanism.needs {
            Needs::Nothing => true,
            Needs::Verifiers => self.secrets.is_known(),
            Needs::Tokens => live.tokens.is_some(),
            Needs::Certificates => kind == Kind::Dovecot,
        }
    }

    /// Logs and counts a login that was decided without being judged.
    pub(crate) fn note(&self, circumstances: &Circumstances, login: &str, verdict: Verdict) -> Verdict {
        self.note_judgement(circumstances, login, verdict.into(), None)
    }

    fn note_judgement(
        &self,
        circumstances: &Circumstances,
        login: &str,
        judgement: Judgement,
        new_guess: Option<bool>,
    ) -> Verdict {
        self.counters.login(&circumstances.service, judgement.verdict.word());
        if tracing::enabled!(tracing::Level::INFO) {
            log(circumstances, login, &judgement, new_guess);
        }
        match &judgement.verdict {
            Verdict::Misconfigured(why) => self.complain("login", why),
            Verdict::Unavailable(_) => {}
            _ => self.content("login"),
        }
        judgement.verdict
    }
}

/// One line per login, at once, always in this form, all of it in the message: programs like fail2ban read it (examples/fail2ban).
fn log(circumstances: &Circumstances, login: &str, judgement: &Judgement, new_guess: Option<bool>) {
    let Circumstances { mechanism, service, remote, session, .. } = circumstances;
    let Judgement { verdict, app_password, master } = judgement;
    // Without spaces, so that no login can be mistaken for the fields behind it.
    let shown = |text: &str| printable(text.as_bytes(), SHOWN).replace(' ', "\\x20");
    let login = match verdict {
        Verdict::Accepted(login) => shown(&login.to_string()),
        _ => shown(login),
    };
    let (service, rip, session) = (shown(service), shown(remote), shown(session));
    let result = verdict.word();
    let facts = format!(
        "login={login} service={service} rip={rip} mechanism={mechanism} session_id={session} result={result}"
    );
    match verdict {
        Verdict::Accepted(_) => {
            let app = app_password.as_ref().map(|(_, label)| format!(" app_password={}", shown(label)));
            let by = master.as_ref().map(|master| format!(" master={}", shown(&master.to_string())));
            tracing::info!("login accepted {facts}{}{}", app.unwrap_or_default(), by.unwrap_or_default());
        }
        Verdict::Refused(_) => {
            // So that whoever bans by this line spares a mail program that repeats an old password.
            let guess = new_guess.map(|new| if new { " guess=new" } else { " guess=again" });
            tracing::info!("login refused {facts}{}", guess.unwrap_or_default());
        }
        Verdict::Barred(..) | Verdict::Deferred(_) => tracing::info!("login refused {facts}"),
        Verdict::Unavailable(why) | Verdict::Misconfigured(why) => {
            tracing::info!("login not decided {facts} why={why:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::path::Path;

    use gatepost::daemon::{Daemon, Parts};

    use super::*;

    /// A login's future is copied each time it is moved, and one that holds what a statement takes has ninety kilobytes.
    #[tokio::test]
    async fn a_login_takes_little_room() {
        let text = "[database]\nhost = \"/nonexistent\"\n[dovecot-auth]\nuid = \"5000\"\ngid = \"5000\"\n";
        let config = gatepost::config::parse(text, Path::new("gatepost.toml")).unwrap();
        let parts = Parts::new(&config, DovecotAuth::NAME).unwrap();
        let service = DovecotAuth::build(&config, &parts).await.unwrap();
        let circumstances = Circumstances::default();
        let password = Secret::new("x".to_owned());
        let claim = Claim { authorization: String::new(), login: "alice@example.com".to_owned(), password };
        let login = service.authenticate(&circumstances, claim);
        assert!(size_of_val(&login) < 6 * 1024, "{} bytes", size_of_val(&login));
    }
}
