//! `[milter.reports]`: the aggregate reports that we send (RFC 9990). Nothing is collected and nothing is sent until `from` is set.
//!
//! For the milter, which has them as a table of its section, and for `gatepost dmarc send`, which reads the same table.

use std::net::SocketAddr;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::config::{Seconds, Section};
use crate::mail::Address;

/// `[milter.reports]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Reports {
    /// The address that reports come from: a mailbox or alias of a domain hosted here that has an active DKIM key, for reports must
    /// pass DMARC themselves. Its domain is the "submitter". Setting it switches reports on.
    #[serde(deserialize_with = "address")]
    pub from: Option<Address>,
    /// The organisation that reports; not set: the domain of `from`.
    pub organization: Option<String>,
    /// Further contact details, such as a web page.
    pub extra_contact: Option<String>,
    /// The Postfix that takes the reports: plain SMTP to an address of this host.
    pub smtp: SocketAddr,
    /// How long after midnight (UTC) the first report of the day before goes out.
    pub at: Seconds,
    /// The time over which the reports of a day are spread, each domain at a moment of its own.
    pub spread: Seconds,
    /// How long collected rows and the record of what was sent are kept.
    pub keep: Seconds,
    /// The most records in one report: the most frequent ones; how many messages the others had is said in `error`.
    pub records: u32,
    /// How often counts go from memory to the database.
    pub flush: Seconds,
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            from: None,
            organization: None,
            extra_contact: None,
            smtp: SocketAddr::from(([127, 0, 0, 1], 25)),
            at: Seconds::new(15 * 60),
            spread: Seconds::new(4 * 3600),
            keep: Seconds::new(14 * DAY),
            records: 10_000,
            flush: Seconds::new(30),
        }
    }
}

impl Reports {
    /// What contradicts itself, for [`Section::validate`].
    ///
    /// # Errors
    /// The sentence.
    pub fn validate(&self) -> Result<(), String> {
        let printable = |text: &Option<String>| {
            text.as_ref().is_none_or(|text| text.len() <= MAX_TEXT && !text.chars().any(char::is_control))
        };
        if !printable(&self.organization) || !printable(&self.extra_contact) {
            return Err(format!(
                "`reports.organization` and `reports.extra-contact` are one line of at most {MAX_TEXT} bytes"
            ));
        }
        if self.at.0 + self.spread.0 > Seconds::new(20 * 3600).0 {
            return Err(
                "`reports.at` and `reports.spread` must together be at most 20h: a report goes out the day after"
                    .to_owned(),
            );
        }
        if self.keep.0 < Seconds::new(3 * DAY).0 {
            return Err("`reports.keep` must be at least 3d: a report may wait so long".to_owned());
        }
        if self.records == 0 || self.records > MAX_RECORDS {
            return Err(format!("`reports.records` must be between 1 and {MAX_RECORDS}"));
        }
        if self.flush.0.is_zero() || self.flush.0 > self.at.0 {
            return Err(
                "`reports.flush` must be more than 0s and not more than `reports.at`, or a day's last counts miss its report"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The organisation's name in a report from that address.
    pub fn organization(&self, from: &Address) -> String {
        self.organization.clone().unwrap_or_else(|| from.domain().to_string())
    }
}

/// The section `[milter]` as the tool reads it: this table alone; the rest is the milter's to judge.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ReportsOnly {
    /// `[milter.reports]`.
    pub reports: Reports,
}

impl Section for ReportsOnly {
    const NAME: &'static str = "milter";

    fn validate(&self) -> Result<(), String> {
        self.reports.validate()
    }
}

/// A plain address: what needs quotes in a header is more likely a typing error.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Address>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let plain = |character: char| character.is_ascii_alphanumeric() || "+-_.=@".contains(character);
    match Address::parse(&text) {
        Ok(address) if text.chars().all(plain) => Ok(Some(address)),
        _ => Err(D::Error::custom(format!(
            "bad address \"{text}\", expected one such as \"dmarc-reports@example.com\""
        ))),
    }
}

const DAY: u64 = 86_400;
/// A name, not a letter.
const MAX_TEXT: usize = 250;
/// About 60 MB of XML.
const MAX_RECORDS: u32 = 100_000;
