//! What a daemon keeps in memory of the directory, as a whole: what it wants, what it has, and what the metrics say of it.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use super::Directory;

impl Directory {
    /// Keeps the roll of all addresses in memory from the next contact on, for a daemon that is asked for many. Costs about 50 bytes for
    /// each address; needs our triggers, without which it stays empty.
    pub fn keep_roll(&self) {
        self.0.roll.want();
    }

    /// Keeps in memory from the next contact on who has a mailbox, and of whom anything is written down, for a daemon that is asked for users.
    /// Costs 16 bytes for each; needs our triggers, without which it stays empty.
    pub fn keep_users(&self) {
        self.0.mailboxes_kept.want();
        self.0.notes.want();
    }

    /// How many addresses are in memory, and the bytes that they take; `None` while each is asked of the database.
    pub fn kept(&self) -> Option<(usize, usize)> {
        self.0.roll.size().or_else(|| self.0.mailboxes_kept.size())
    }

    /// How many logins, domains and the like there are of whom anything is written down, and the bytes that they take; `None` while that is
    /// asked of the database for each user.
    pub fn kept_notes(&self) -> Option<(usize, usize)> {
        self.0.notes.size()
    }

    /// Everything may have changed.
    pub(super) fn doubt_all(&self) {
        self.0.roll.doubt_all();
        self.0.mailboxes_kept.doubt_all();
        self.0.notes.doubt_all();
    }

    /// Nobody announces changes any more.
    pub(super) fn contact_lost(&self) {
        self.0.freshness.contact_lost();
        self.0.roll.contact_lost();
        self.0.mailboxes_kept.contact_lost();
        self.0.notes.contact_lost();
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Directory")
    }
}

/// How many addresses are in memory, asked when somebody looks; 0 while each is asked of the database.
impl Collector for Directory {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (addresses, bytes) = self.kept().unwrap_or_default();
        for (name, help, number) in [
            ("addresses", "Addresses that are in memory; 0 while each is asked of the database", addresses),
            ("addresses_bytes", "Bytes that they take", bytes),
        ] {
            let gauge = ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
            let encoder = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(encoder)?;
        }
        Ok(())
    }
}
