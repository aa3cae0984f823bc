//! `[milter.actions]`: from how many points on what is done besides marking and refusing, what is said, and what is remembered.
//!
//! `gatepost settings` sets most of it for a domain or a mailbox, in SQL.

use gatepost::config::Seconds;
use gatepost::spam::{Limit, ReplyText, SubjectTemplate};
use gatepost::store::Patience;
use serde::Deserialize;

use crate::report;

/// The keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Actions {
    /// From this score on a stranger's first mail is to come again (451), or `off`. Never mail whose author's domain is proven, nor of somebody
    /// whom the recipient has written to.
    pub greylist: Limit,
    /// How long after the first attempt another one passes.
    pub greylist_delay: Seconds,
    /// From this score on the subject is rewritten besides, or `off`. It breaks signatures of the sender's.
    pub rewrite_subject: Limit,
    /// How: `%s` is the old subject.
    pub subject: SubjectTemplate,
    /// From this score on mail is put on hold in Postfix's queue, for `gatepost quarantine`, or `off`.
    pub quarantine: Limit,
    /// From this score on mail is taken and dropped, or `off`. Nobody hears of it: neither sender nor recipient.
    pub discard: Limit,
    /// What is said behind `554 5.7.1` to whom is refused for his score.
    pub reject_text: ReplyText,
    /// Which of the headers that explain the verdict are written, with `explain`.
    pub headers: ReportHeaders,
    /// Whether mail that goes to several recipients who want different things done has `X-Gatepost-For` although a copy of it leaves this
    /// host. It names recipients, so only where Postfix takes it out of what leaves (`smtp_header_checks` in `examples/main.cf`).
    pub recipients_may_travel: bool,
    /// Whether it is remembered whom our logins write to, and what they wrote, so that answers and known senders are known.
    pub correspondents: bool,
    /// How long Message-IDs are remembered.
    pub remember_replies: Seconds,
}

impl Default for Actions {
    /// Rspamd's points; postgrey's delay.
    fn default() -> Self {
        let never = Limit::NEVER;
        Self {
            greylist: Limit::new(4.0).unwrap_or(never),
            greylist_delay: Seconds::new(300),
            rewrite_subject: never,
            subject: SubjectTemplate::default(),
            quarantine: never,
            discard: never,
            reject_text: ReplyText::default(),
            headers: ReportHeaders::default(),
            recipients_may_travel: false,
            correspondents: true,
            remember_replies: Seconds::new(90 * 86_400),
        }
    }
}

impl Actions {
    /// What the types alone cannot say.
    ///
    /// # Errors
    /// The sentence.
    pub fn validate(&self) -> Result<(), String> {
        if self.greylist_delay.0 >= WINDOW.0 {
            return Err(format!(
                "`actions.greylist-delay` must be shorter than {WINDOW}, or nothing would ever pass"
            ));
        }
        Ok(())
    }

    /// How long strangers wait. Window, expiry and passes are the defaults of the policy daemon, whose rows these are too.
    pub fn patience(&self) -> Patience {
        Patience {
            delay: self.greylist_delay.0,
            window: WINDOW.0,
            expiry: EXPIRY.0,
            passes: 5,
            score: self.greylist.points(),
        }
    }
}

/// Names of the headers that explain a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct ReportHeaders(Vec<&'static str>);

impl Default for ReportHeaders {
    fn default() -> Self {
        Self(report::EXPLAINING.to_vec())
    }
}

impl TryFrom<Vec<String>> for ReportHeaders {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        let known = |name: &String| {
            report::EXPLAINING.iter().copied().find(|known| known.eq_ignore_ascii_case(name)).ok_or_else(
                || format!("\"{}\" is none of {}", name.escape_debug(), report::EXPLAINING.join(", ")),
            )
        };
        names.iter().map(known).collect::<Result<_, _>>().map(Self)
    }
}

impl ReportHeaders {
    /// Whether a header is written.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }
}

/// How long after the first attempt another one may come: two days, as Postfix tries for five and others for two.
const WINDOW: Seconds = Seconds::new(2 * 86_400);

/// How long what has passed is remembered.
const EXPIRY: Seconds = Seconds::new(35 * 86_400);
