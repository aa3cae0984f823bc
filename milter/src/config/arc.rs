//! `[milter.arc]` (RFC 8617): whose seals we believe, and whether we seal what we pass on.

use serde::Deserialize;

/// `[milter.arc]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Arc {
    /// Sealing domains (`d=` of `ARC-Seal`) whose recorded results count, as `google.com`: mail that failed DMARC on its way through them
    /// is forgiven if they saw it pass. Without any, chains are validated and reported, and change nothing.
    pub trusted_sealers: Vec<String>,
    /// Which mail from outside gets a set of ours.
    pub seal: Seal,
    /// The domain that seals, `d=`: one with an active key (`gatepost dkim list`).
    pub seal_domain: Option<String>,
    /// The selector of the key that seals. Not set: the newest active RSA key of the domain, because few validators know Ed25519.
    pub seal_selector: Option<String>,
}

/// `milter.arc.seal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seal {
    /// None.
    #[default]
    Off,
    /// Mail of which a recipient is no mailbox here: it goes on, through an alias, a list, or as relayed mail.
    Leaving,
    /// All mail: for a host that hands everything on to another one.
    All,
}

impl Arc {
    /// What is wrong with it.
    ///
    /// # Errors
    /// A domain that is none, or sealing without a domain.
    pub fn validate(&self) -> Result<(), String> {
        let named = self.trusted_sealers.iter().map(|domain| ("trusted-sealers", domain));
        for (key, domain) in named.chain(self.seal_domain.iter().map(|domain| ("seal-domain", domain))) {
            if gatepost::mail::Domain::parse(domain).is_err() {
                return Err(format!("`arc.{key}` \"{domain}\" is no domain"));
            }
        }
        if self.seal != Seal::Off && self.seal_domain.is_none() {
            return Err("`arc.seal` needs `arc.seal-domain`: the domain whose key seals".to_owned());
        }
        Ok(())
    }
}
