//! ARC (RFC 8617): what a message's chain of seals says, in our own words.
//!
//! For `verifier`, which fills it in; for `results`, which writes `arc=`; and for whoever may forgive a DMARC failure because a host
//! that we trust saw the message pass. The types here refuse to judge: whether a recorded pass helps is the reader's decision.
//!
//! Whose word counts. A seal says who handled the message, not that he is honest: anybody can seal `dmarc=pass` into a chain of his
//! own and send it through an honest list, which then adds a true seal on top. So the recorded results of a hop are worth something
//! only if that hop *and every later one* are sealers that we trust: see [`ArcOutcome::vouched`].

/// The state of a chain (RFC 8617, 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArcResult {
    /// The message has no chain.
    None,
    /// Every seal and the newest message signature hold.
    Pass,
    /// Something of the chain does not hold, or is malformed.
    Fail,
    /// A key could not be fetched now. RFC 8617, 5.2.1 calls this a failure too, because it thinks of a host that must seal at once;
    /// we keep it apart, because nothing is known.
    TempError,
}

impl ArcResult {
    /// The word in `Authentication-Results` (RFC 8617, 10.1; RFC 8601, 2.7.1).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
        }
    }
}

/// The chain of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcOutcome {
    /// What came out.
    pub result: ArcResult,
    /// The hops of a chain that passed, newest first; empty for every other result, because then nothing in it can be believed.
    pub hops: Vec<ArcHop>,
    /// The lowest instance whose message signature still holds, as the instance itself; 0 when all hold
    /// (RFC 8617, 5.2, step 5). None when it was not worked out.
    pub oldest_pass: Option<u32>,
    /// Whether the newest sealer is one that we trust. Never without a pass.
    pub trusted: bool,
    /// Why it is no pass, in a few words; empty for a pass and for none.
    pub why: String,
}

/// One sealer and what he recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcHop {
    /// `i=`, from 1.
    pub instance: u32,
    /// The domain that sealed it: `d=` of `ARC-Seal`, lower case.
    pub sealer: String,
    /// Whether that domain is in `[milter.arc] trusted-sealers`.
    pub trusted: bool,
    /// The name under which he wrote his results.
    pub authserv_id: String,
    /// What he recorded; empty when it cannot be parsed strictly.
    pub recorded: Vec<ArcRecorded>,
}

/// One result out of an `ARC-Authentication-Results` field (RFC 8617, 4.1.1; RFC 8601, 2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcRecorded {
    /// `spf`, `dkim`, `dmarc`, `arc`, … in lower case.
    pub method: String,
    /// `pass`, `fail`, … in lower case.
    pub result: String,
    /// The domain that the result is about, lower case: `header.from` of `dmarc`, `header.d` (or the domain of `header.i`) of
    /// `dkim`, the domain of `smtp.mailfrom` (or `smtp.helo`) of `spf`. None when it is not said.
    pub domain: Option<String>,
}

impl ArcOutcome {
    /// An outcome without hops.
    pub fn without_hops(result: ArcResult, why: impl Into<String>) -> Self {
        Self { result, hops: Vec::new(), oldest_pass: None, trusted: false, why: why.into() }
    }

    /// The sealing domains, newest first.
    pub fn sealers(&self) -> impl Iterator<Item = &str> {
        self.hops.iter().map(|hop| hop.sealer.as_str())
    }

    /// The hop that saw the message last.
    pub fn last(&self) -> Option<&ArcHop> {
        self.hops.first()
    }

    /// The hop that saw the message first.
    pub fn first(&self) -> Option<&ArcHop> {
        self.hops.last()
    }

    /// The earliest hop whose results we may believe: it and every later hop are trusted sealers. None without a trusted newest one.
    pub fn vouched(&self) -> Option<&ArcHop> {
        self.hops.iter().take_while(|hop| hop.trusted).last()
    }
}

impl ArcHop {
    /// Whether it recorded that the From domain passed DMARC. A `dmarc=pass` that does not name the domain says nothing about it.
    pub fn dmarc_passed(&self, domain: &str) -> bool {
        self.passed("dmarc", domain)
    }

    /// Whether it recorded a pass of that method for that domain.
    pub fn passed(&self, method: &str, domain: &str) -> bool {
        self.recorded.iter().any(|recorded| {
            recorded.method == method
                && recorded.result == "pass"
                && recorded.domain.as_deref().is_some_and(|about| about.eq_ignore_ascii_case(domain))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn hop(instance: u32, trusted: bool) -> ArcHop {
        ArcHop {
            instance,
            sealer: format!("s{instance}.test"),
            trusted,
            authserv_id: String::new(),
            recorded: Vec::new(),
        }
    }

    #[test]
    fn only_an_unbroken_run_of_trusted_sealers_vouches() {
        let vouched = |trusted: &[bool]| {
            let count = trusted.len() as u32;
            let hops = trusted.iter().zip(0..).map(|(trusted, at)| hop(count - at, *trusted)).collect();
            let outcome = ArcOutcome { hops, ..ArcOutcome::without_hops(ArcResult::Pass, "") };
            outcome.vouched().map(|hop| hop.instance)
        };
        // Newest first: a spammer below an honest list, a list behind a stranger, a chain of friends.
        assert_eq!(vouched(&[true, false]), Some(2));
        assert_eq!(vouched(&[false, true]), None);
        assert_eq!(vouched(&[true, true, false]), Some(2));
        assert_eq!(vouched(&[true, true]), Some(1));
        assert_eq!(vouched(&[]), None);
    }

    #[test]
    fn a_pass_counts_for_the_domain_it_names() {
        let recorded = |method: &str, result: &str, domain: Option<&str>| ArcRecorded {
            method: method.into(),
            result: result.into(),
            domain: domain.map(str::to_owned),
        };
        let hop = ArcHop {
            recorded: vec![
                recorded("dmarc", "pass", None),
                recorded("dmarc", "fail", Some("c.test")),
                recorded("dmarc", "pass", Some("a.test")),
            ],
            ..hop(1, true)
        };
        assert!(hop.dmarc_passed("A.test") && !hop.dmarc_passed("b.test") && !hop.dmarc_passed("c.test"));
        assert!(!hop.passed("spf", "a.test"));
    }
}
