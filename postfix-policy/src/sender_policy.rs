//! SPF with one deadline and a short memory, so that the recipients of one message cost one evaluation.
//!
//! For the checks `spf` and `greylist`; what SPF is stands in [`gatepost::spf`]. The limits of RFC 7208, 4.6.4, are kept there, the memory of
//! DNS is the resolver's. What DNS cannot answer, or not in time, is `temperror`, never `fail`.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost::dns::Resolver;
use gatepost::spf::{self, Client, SpfOutcome, SpfResult, SpfScope};
use tokio::time::timeout;

use crate::recent::Recent;

/// The evaluation.
pub struct SenderPolicy {
    resolver: Resolver,
    host: String,
    known: Recent<(IpAddr, String, String), SpfOutcome>,
}

impl SenderPolicy {
    /// Over the resolver of this process. `host` is the name of this host where it is not the system's.
    pub fn new(resolver: Resolver, host: Option<&str>) -> Self {
        // The kernel's own word for it; a sandbox may hide it.
        let system = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.map_or_else(system, str::to_owned).trim().to_owned();
        let host = if host.is_empty() { "localhost".to_owned() } else { host };
        Self { resolver, host, known: Recent::new(REMEMBERED, MEMORY) }
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
        let resolver = self.resolver.limited(QUESTIONS);
        let question = spf::mail_from(&resolver, self.client(client, helo), sender);
        let domain = sender.rsplit_once('@').map_or(helo, |(_, domain)| domain);
        let late = SpfOutcome::new(SpfResult::TempError, domain, SpfScope::MailFrom);
        self.ask((client, helo.to_owned(), sender.to_owned()), question, deadline, late).await
    }

    /// Whether the client may use its HELO name.
    pub async fn helo(&self, client: IpAddr, helo: &str, deadline: Duration) -> SpfOutcome {
        if !spf::is_domain(helo) {
            return SpfOutcome::new(SpfResult::None, helo, SpfScope::Helo);
        }
        let resolver = self.resolver.limited(QUESTIONS);
        let question = spf::helo(&resolver, self.client(client, helo));
        let late = SpfOutcome::new(SpfResult::TempError, helo, SpfScope::Helo);
        self.ask((client, helo.to_owned(), String::new()), question, deadline, late).await
    }

    /// The value of `Received-SPF` in one line.
    pub fn header(&self, outcome: &SpfOutcome, client: IpAddr, helo: &str, sender: &str) -> String {
        let folded = spf::received_spf(outcome, self.client(client, helo), sender);
        folded.replace("\n\t", " ").trim().to_owned()
    }

    fn client<'a>(&'a self, address: IpAddr, helo: &'a str) -> Client<'a> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Client { address, helo, host: &self.host, now }
    }

    async fn ask(
        &self,
        key: (IpAddr, String, String),
        question: impl Future<Output = SpfOutcome>,
        deadline: Duration,
        late: SpfOutcome,
    ) -> SpfOutcome {
        if let Some(known) = self.known.get(&key) {
            return known;
        }
        let outcome = timeout(deadline, question).await.unwrap_or(late);
        // Also a failure: the recipients of one message are not to wait for a dead resolver one after the other.
        self.known.insert(key, outcome.clone());
        outcome
    }
}

/// So many questions one evaluation asks at the most: RFC 7208's ten terms with ten exchangers each, both families, and some.
const QUESTIONS: u32 = 250;
/// How many outcomes are remembered, twice at the most: some 300 bytes each.
const REMEMBERED: usize = 4096;
/// For how long: longer than an SMTP session with a hundred recipients takes, shorter than anybody waits for a changed record.
const MEMORY: Duration = Duration::from_secs(30);
