//! SPF (RFC 7208) in our words: one resolver, one deadline, and a short memory so that the recipients of one message cost one evaluation.
//!
//! For the checks `spf` and `greylist`. All use of the crate `mail-auth` is in this file. The limits of RFC 7208, 4.6.4 (ten lookups, two
//! void ones, ten names of an MX) are mail-auth's; the resolver's memory is [`SenderPolicy::resolver`]'s, bounded by `dns.cache-entries`.
//! What DNS cannot answer, or not in time, is `temperror`, never `fail`.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use gatepost::config;
use gatepost::dns::{self, Resolver, SetupError};
use mail_auth::MessageAuthenticator;
use mail_auth::spf::verify::SpfParameters;
use tokio::time::timeout;

use crate::recent::Recent;

/// What SPF says (RFC 7208, 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpfResult {
    /// The domain says nothing about this client.
    None,
    /// It says that it says nothing.
    Neutral,
    /// The client may.
    Pass,
    /// The client may not.
    Fail,
    /// The client probably may not.
    SoftFail,
    /// Nobody can say now.
    TempError,
    /// The domain's record is broken.
    PermError,
}

impl fmt::Display for SpfResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        })
    }
}

/// The result for one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpfOutcome {
    /// What SPF says.
    pub result: SpfResult,
    /// Of which domain.
    pub domain: String,
    /// What the domain has to say about a `fail`; as it came from DNS.
    pub explanation: Option<String>,
}

/// The evaluation.
pub struct SenderPolicy {
    authenticator: MessageAuthenticator,
    host: String,
    known: Recent<(IpAddr, String, String), SpfOutcome>,
}

impl SenderPolicy {
    /// Sets up the resolver; no packet is sent yet. `host` is the name of this host where it is not the system's.
    ///
    /// # Errors
    /// As [`dns::setup`].
    pub fn new(dns: &config::Dns, host: Option<&str>) -> Result<Self, SetupError> {
        let (servers, options) = dns::setup(dns)?;
        let authenticator =
            MessageAuthenticator::new(servers, options).map_err(|error| SetupError(error.to_string()))?;
        // The kernel's own word for it; a sandbox may hide it.
        let system = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.map_or_else(system, str::to_owned).trim().to_owned();
        let host = if host.is_empty() { "localhost".to_owned() } else { host };
        Ok(Self { authenticator, host, known: Recent::new(REMEMBERED, MEMORY) })
    }

    /// The resolver, for every other question of this process.
    pub fn resolver(&self) -> Resolver {
        Resolver::shared(self.authenticator.resolver().clone())
    }

    /// The name of this host, for the header and the macro `r`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the client may use the sender's domain; for the null sender, the HELO name as the domain (RFC 7208, 2.4).
    pub async fn mail_from(
        &self,
        client: IpAddr,
        helo: &str,
        sender: &str,
        deadline: Duration,
    ) -> SpfOutcome {
        if sender.is_empty() {
            return self.helo(client, helo, deadline).await;
        }
        let question = SpfParameters::mail_from(client, helo, &self.host, sender);
        self.ask(client, helo, sender, question, deadline).await
    }

    /// Whether the client may use its HELO name.
    pub async fn helo(&self, client: IpAddr, helo: &str, deadline: Duration) -> SpfOutcome {
        if !is_domain(helo) {
            let domain = helo.to_owned();
            return SpfOutcome { result: SpfResult::None, domain, explanation: None };
        }
        let question = SpfParameters::helo(client, helo, &self.host);
        self.ask(client, helo, "", question, deadline).await
    }

    async fn ask(
        &self,
        client: IpAddr,
        helo: &str,
        sender: &str,
        question: SpfParameters<'_>,
        deadline: Duration,
    ) -> SpfOutcome {
        let key = (client, helo.to_owned(), sender.to_owned());
        if let Some(known) = self.known.get(&key) {
            return known;
        }
        let outcome = match timeout(deadline, self.authenticator.verify_spf(question)).await {
            Ok(output) => SpfOutcome {
                result: match output.result() {
                    mail_auth::SpfResult::Pass => SpfResult::Pass,
                    mail_auth::SpfResult::Fail => SpfResult::Fail,
                    mail_auth::SpfResult::SoftFail => SpfResult::SoftFail,
                    mail_auth::SpfResult::Neutral => SpfResult::Neutral,
                    mail_auth::SpfResult::TempError => SpfResult::TempError,
                    mail_auth::SpfResult::PermError => SpfResult::PermError,
                    mail_auth::SpfResult::None => SpfResult::None,
                },
                domain: output.domain().trim_end_matches('.').to_lowercase(),
                explanation: output.explanation().map(str::to_owned),
            },
            Err(_) => {
                let domain = sender.rsplit_once('@').map_or(helo, |(_, domain)| domain).to_lowercase();
                SpfOutcome { result: SpfResult::TempError, domain, explanation: None }
            }
        };
        // Also a failure: the recipients of one message are not to wait for a dead resolver one after the other.
        self.known.insert(key, outcome.clone());
        outcome
    }
}

/// Whether a HELO name can have an SPF record at all (RFC 7208, 4.3): at least two labels, and no address.
fn is_domain(helo: &str) -> bool {
    let name = helo.trim_end_matches('.');
    name.contains('.')
        && name.parse::<IpAddr>().is_err()
        && name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

/// How many outcomes are remembered, twice at the most: some 300 bytes each.
const REMEMBERED: usize = 4096;
/// For how long: longer than an SMTP session with a hundred recipients takes, shorter than anybody waits for a changed record.
const MEMORY: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helo_name_is_a_domain_or_not() {
        for (helo, domain) in [
            ("mx.example.org", true),
            ("mx.example.org.", true),
            ("localhost", false),
            ("[192.0.2.1]", false),
            ("192.0.2.1", false),
            ("a..b", false),
            ("", false),
            ("x y.test", false),
        ] {
            assert_eq!(is_domain(helo), domain, "{helo}");
        }
    }
}
