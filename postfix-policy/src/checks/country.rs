//! `country`: from which country and which network (autonomous system) a client comes, by a MaxMind file that the operator has.
//!
//! Belongs into any list; judges in every state, by the address alone. Strangers are refused by `deny` and `deny-networks`; who logs in may
//! be bound to `login-countries`. An address that the file does not know, and one that no country has, are never refused. The file is looked
//! at again when it changes (geoipupdate); a broken one is an error in the log, and no opinion.

use std::path::PathBuf;

use gatepost::directory::Lookup;
use serde::Deserialize;

use super::spf::Consequence;
use super::{CannotSay, Check, Circumstances, Opinion};
use crate::protocol::policy::{Request, State};

/// The check.
pub(super) const COUNTRY: Check = Check {
    name: "country",
    restrictions: "smtpd_client_restrictions",
    summary: "the client's country and network, by a MaxMind database file",
    cannot_say: CannotSay::Pass,
    judge,
};

/// `[postfix-policy.country]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// The file with countries, such as `/var/lib/GeoIP/GeoLite2-Country.mmdb`; the check is off without it.
    pub database: Option<PathBuf>,
    /// The file with networks, such as `/var/lib/GeoIP/GeoLite2-ASN.mmdb`.
    pub network_database: Option<PathBuf>,
    /// Countries, by their ISO 3166 codes, whose clients may not send without a login.
    pub deny: Vec<String>,
    /// Networks, by their AS numbers, the same.
    pub deny_networks: Vec<u32>,
    /// The countries from which a login may send; all if empty.
    pub login_countries: Vec<String>,
    /// How it is refused: `reject` (554) or `defer` (450).
    pub action: Consequence,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database: None,
            network_database: None,
            deny: Vec::new(),
            deny_networks: Vec::new(),
            login_countries: Vec::new(),
            action: Consequence::Reject,
        }
    }
}

impl Settings {
    /// What the types alone cannot say.
    ///
    /// # Errors
    /// The sentence.
    pub fn validate(&self) -> Result<(), String> {
        for code in self.deny.iter().chain(&self.login_countries) {
            if code.len() != 2 || !code.bytes().all(|b| b.is_ascii_uppercase()) {
                return Err(format!(
                    "country: \"{code}\" is no country, expected two capital letters such as \"DE\""
                ));
            }
        }
        if self.database.is_none() && !(self.deny.is_empty() && self.login_countries.is_empty()) {
            return Err("country names countries but no database file".into());
        }
        if self.network_database.is_none() && !self.deny_networks.is_empty() {
            return Err("country.deny-networks is given but no country.network-database".into());
        }
        Ok(())
    }
}

fn judge<'a>(circumstances: Circumstances<'a>, request: &'a Request) -> Opinion<'a> {
    Box::pin(async move {
        let settings = &circumstances.config.country;
        let Some(client) = request.client_address else { return Lookup::None };
        let trusted = request.login.is_empty() && circumstances.is_ours(request);
        if request.state == State::Other || trusted {
            return Lookup::None;
        }
        let places = &circumstances.sources.places;
        let country = match places.country(settings, client).settled() {
            Ok(country) => country,
            Err(failure) => return failure,
        };
        let text = if request.login.is_empty() {
            let network = match settings.deny_networks.is_empty() {
                true => None,
                false => match places.network(settings, client).settled() {
                    Ok(network) => network,
                    Err(failure) => return failure,
                },
            };
            if let Some(country) = country.filter(|country| settings.deny.contains(country)) {
                format!("No mail from {country} is taken here")
            } else if let Some(network) = network.filter(|network| settings.deny_networks.contains(network)) {
                format!("No mail from network AS{network} is taken here")
            } else {
                return Lookup::None;
            }
        } else {
            let countries = &settings.login_countries;
            match country.filter(|country| !countries.is_empty() && !countries.contains(country)) {
                Some(country) => format!("This login may not send from {country}"),
                None => return Lookup::None,
            }
        };
        settings.action.action((554, "5.7.1"), "4.7.1", text).map_or(Lookup::None, Lookup::Found)
    })
}
