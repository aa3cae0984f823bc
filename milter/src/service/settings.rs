//! What a reload of the configuration replaces; messages under way keep the old.

use std::sync::Arc;

use gatepost::config;
use gatepost::config::{Config, Network, Secret};
use gatepost::dns::{Resolver, SetupError};
use gatepost::mail::Address;

use crate::antivirus::{Antivirus, OnUnscanned, Scan};
use crate::authentication::Verifier;
use crate::config::{Actions, Milter, OnUnavailable, VerificationKeys};
use crate::edits::insert;
use crate::gathering::Gathering;
use crate::lists::Lists;
use crate::lists::health::Health;
use crate::protocol::Edit;
use crate::score::View;
use crate::sealing::Sealing;
use crate::signing::{Alignment, Privacy, Terms};
use crate::transaction::Bounds;
use crate::{antivirus, enforcement};

/// What a reload replaces.
pub(super) struct Settings {
    pub(super) authserv_id: Option<String>,
    /// How mail is judged for somebody for whom nothing else is set.
    pub(super) view: View,
    pub(super) actions: Actions,
    pub(super) rules: bool,
    pub(super) explain: bool,
    pub(super) on_unavailable: OnUnavailable,
    pub(super) dmarc: enforcement::Settings,
    pub(super) verification: VerificationKeys,
    pub(super) local_networks: Vec<Network>,
    /// The address that DMARC reports come from.
    pub(super) reporter: Option<Address>,
    pub(super) bounds: Bounds,
    pub(super) gathering: Gathering,
    pub(super) health: Arc<Health>,
    pub(super) terms: Arc<Terms>,
    pub(super) privacy: Privacy,
    pub(super) sealing: Option<Sealing>,
    pub(super) dns: config::Dns,
}

impl Settings {
    pub(super) fn new(
        config: &Config<Milter>,
        resolver: Resolver,
        key: Option<Secret>,
        health: Arc<Health>,
    ) -> Self {
        let (dns, config) = (config.dns.clone(), &config.service);
        let lists = (config.rules && config.lists.enabled)
            .then(|| Lists::configured(&config.lists, key, Arc::clone(&health)));
        Self {
            authserv_id: config.authserv_id.clone(),
            view: config.view(),
            actions: config.actions.clone(),
            rules: config.rules,
            explain: config.explain,
            on_unavailable: config.on_unavailable,
            dmarc: config.dmarc,
            verification: config.verification,
            local_networks: config.local_networks.clone(),
            reporter: config.reports.from.clone(),
            bounds: config.bounds(),
            terms: Arc::new(Terms::new(&config.signing, Alignment::new(resolver.clone(), config.deadline.0))),
            gathering: Gathering {
                verifier: Arc::new(Verifier::with(resolver, config.verification())),
                lists,
                antivirus: Antivirus::new(&config.antivirus),
                reads: config.rules,
                deadline: config.deadline.0,
            },
            health,
            privacy: config.privacy.clone(),
            sealing: Sealing::new(&config.arc),
            dns,
        }
    }

    /// What says that a message was not scanned, where the operator wants it said.
    pub(super) fn unchecked(&self, scan: Option<&Scan>) -> Option<Edit> {
        let wanted = self
            .gathering
            .antivirus
            .as_ref()
            .is_some_and(|antivirus| antivirus.on_unavailable == OnUnscanned::Header);
        let why = match scan? {
            Scan::Unavailable(_) => "scanner unavailable",
            Scan::TooBig => "too big",
            Scan::Clean | Scan::Infected(_) => return None,
        };
        wanted.then(|| insert(antivirus::HEADER, format!(" Unchecked ({why})")))
    }

    /// The resolver with its memory, if nothing about it has changed; the servers of `/etc/resolv.conf` may have.
    pub(super) fn resolver_for(&self, dns: &config::Dns) -> Result<Resolver, SetupError> {
        if *dns == self.dns && !dns.servers.is_empty() {
            return Ok(self.gathering.verifier.resolver().clone());
        }
        Resolver::new(dns)
    }
}
