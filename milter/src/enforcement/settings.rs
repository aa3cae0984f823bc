//! Section `[milter.dmarc]`: how far the policies of others are obeyed.

use serde::Deserialize;

/// `[milter.dmarc]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Whether anything is done at all. `false` decides as `true` does, says so in the log, in the report and in
    /// `Authentication-Results`, and does nothing: for the weeks before one dares.
    pub enforce: bool,
    /// What becomes of mail that fails and whose domain asks for rejection.
    pub reject: OnReject,
    /// The same for mail that came by a mailing list, as far as that can be proved. Obeying costs the subscriber his subscription
    /// when the list counts bounces (RFC 9989, 7.4); trusting lists lets through to Junk whoever runs a list of his own.
    pub mailing_lists: MailingLists,
    /// What becomes of mail that would be refused while the database cannot say whether it is excepted.
    pub on_unavailable: OnUnavailable,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enforce: true,
            reject: OnReject::Reject,
            mailing_lists: MailingLists::Policy,
            on_unavailable: OnUnavailable::Tempfail,
        }
    }
}

/// `milter.dmarc.reject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnReject {
    /// 550 5.7.26.
    Reject,
    /// Into Junk.
    Quarantine,
}

/// `milter.dmarc.mailing-lists`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailingLists {
    /// As any other mail.
    Policy,
    /// Into Junk at the worst.
    Quarantine,
}

/// `milter.dmarc.on-unavailable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnUnavailable {
    /// 451 4.7.1: it comes again.
    Tempfail,
    /// Into Junk.
    Quarantine,
}
