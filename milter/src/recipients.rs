//! Whose mail it is, and what is known about that: the mailboxes behind the recipients, what the operator set for them, and how they stand to
//! the author. Asked beside the questions to DNS and until the same moment; what cannot be had by then is said. A database that answers, and
//! each question of a thousand recipients slowly, would otherwise keep the client waiting for as many times `database.timeout`.
//!
//! For `service`. It asks the directory and the store and judges nothing.

use std::sync::Arc;

use futures_util::FutureExt;
use gatepost::database::NO_SCHEMA;
use gatepost::directory::{Directory, Extensions, Lookup, Place, Recipient, Trace};
use gatepost::mail::{Address, Domain};
use gatepost::spam::{Lists, Settings, folded_name};
use gatepost::store::{Author, Relation, Store};
use mail_parser::MessageParser;
use tokio::time::{Instant, timeout_at};

use crate::facts::Learned;
use crate::message::Message;

/// One way of a message: for whom it came, and whose mailbox it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The recipient of the envelope.
    pub recipient: Address,
    /// The mailbox, or the recipient without its extension where it is no mailbox of ours, or not known to be.
    pub mailbox: Address,
    /// Whether it leads to another host, as far as can be told; also where nobody can tell now.
    pub leaves: bool,
}

/// What is known about the recipients of one message.
#[derive(Debug, Clone, Default)]
pub struct Knowledge {
    /// Where it goes; each mailbox once for each recipient that leads there.
    pub deliveries: Vec<Delivery>,
    /// What is set for whom.
    pub settings: Arc<Settings>,
    /// The operator's lists.
    pub lists: Arc<Lists>,
    /// How each mailbox stands to the author; empty where that is not known.
    pub relations: Vec<Relation>,
    /// What the model thinks of the message for the mailbox of each delivery; empty where it thinks nothing. Found out last, from the
    /// message.
    pub learned: Vec<Learned>,
    /// What could not be had: `settings`, `lists`, `correspondents`.
    pub missing: Vec<&'static str>,
    /// Why, where one of the former two could not: then no message is refused for its score, because it may be allowed.
    pub doubt: Option<String>,
}

impl Knowledge {
    /// Whether a copy of the message leads to another host, as far as the directory can tell.
    pub fn leaves(&self) -> bool {
        self.deliveries.iter().any(|delivery| delivery.leaves)
    }

    /// Asks everything, at once where it can, until `end`; whom the mailboxes have written to only where that is `remembered`.
    pub async fn gather(
        directory: &Directory,
        store: &Store,
        recipients: &[Address],
        message: &Message,
        remembered: bool,
        end: Instant,
    ) -> Self {
        let related = async {
            let deliveries = deliveries(directory, recipients, end).await;
            let author = author(message);
            let relations = match author.address.is_empty() || deliveries.is_empty() {
                true => Lookup::None,
                false => {
                    let mailboxes: Vec<Address> =
                        deliveries.iter().map(|delivery| delivery.mailbox.clone()).collect();
                    let asked = async {
                        match remembered {
                            true => in_time(end, store.relations(&mailboxes, &author)).await,
                            false => Lookup::Found(vec![Relation::default(); mailboxes.len()]),
                        }
                    };
                    let (relations, colleagues) =
                        tokio::join!(asked, colleagues(directory, &mailboxes, &author, end));
                    relations.map(|relations| acquainted(relations, colleagues))
                }
            };
            (deliveries, relations)
        };
        let (settings, lists, (deliveries, relations)) =
            tokio::join!(in_time(end, store.spam_settings()), in_time(end, store.spam_lists()), related);
        let mut knowledge = Self { deliveries, ..Self::default() };
        knowledge.settings = knowledge.known(settings, "settings", true);
        knowledge.lists = knowledge.known(lists, "lists", true);
        knowledge.relations = knowledge.known(relations, "correspondents", false);
        knowledge
    }

    /// What was found, or nothing; notes what could not be found out. Where our schema is not installed nobody can have said anything.
    fn known<T: Default>(&mut self, answer: Lookup<T>, fact: &'static str, doubtful: bool) -> T {
        let why = match answer {
            Lookup::Found(found) => return found,
            Lookup::None => return T::default(),
            Lookup::Misconfigured(why) if why == NO_SCHEMA => return T::default(),
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => why,
        };
        self.missing.push(fact);
        if doubtful {
            self.doubt.get_or_insert(why);
        }
        T::default()
    }
}

/// For each mailbox the other user of its domain who bears the author's name; none where that cannot be had: it is a sign, and no more.
async fn colleagues(
    directory: &Directory,
    mailboxes: &[Address],
    author: &Author,
    end: Instant,
) -> Vec<Option<String>> {
    if author.name.is_empty() {
        return Vec::new();
    }
    let mut known: Vec<(&Domain, Option<Address>)> = Vec::new();
    let mut found = Vec::with_capacity(mailboxes.len());
    for mailbox in mailboxes {
        let domain = mailbox.domain();
        let at = match known.iter().position(|(other, _)| *other == domain) {
            Some(at) => at,
            None if known.len() >= MAX_DOMAINS => {
                found.push(None);
                continue;
            }
            None => {
                let names = in_time(end, directory.names(domain)).await.found();
                known.push((domain, names.and_then(|names| names.get(&author.name).cloned())));
                known.len() - 1
            }
        };
        let colleague = known[at].1.as_ref().filter(|user| *user != mailbox);
        found.push(colleague.map(ToString::to_string));
    }
    found
}

/// Both together, mailbox by mailbox.
fn acquainted(relations: Vec<Relation>, colleagues: Vec<Option<String>>) -> Vec<Relation> {
    let colleagues = colleagues.into_iter().chain(std::iter::repeat(None));
    relations
        .into_iter()
        .zip(colleagues)
        .map(|(relation, colleague)| Relation { colleague, ..relation })
        .collect()
}

/// An answer, if it comes before the time is over.
pub(crate) fn in_time<T>(
    end: Instant,
    question: impl Future<Output = Lookup<T>>,
) -> impl Future<Output = Lookup<T>> {
    let late = |_| Lookup::Unavailable("the database did not answer within milter.deadline".to_owned());
    timeout_at(end, question).map(move |answer| answer.unwrap_or_else(late))
}

/// The mailboxes behind the recipients, within [`MAX_DELIVERIES`] and until `end`; beyond it each recipient stands for itself.
async fn deliveries(directory: &Directory, recipients: &[Address], end: Instant) -> Vec<Delivery> {
    let delimiters = directory.extension_delimiters();
    let extensions = Extensions { delimiters, propagate: false };
    let mut found: Vec<Delivery> = Vec::with_capacity(recipients.len());
    for recipient in recipients.iter().take(MAX_DELIVERIES) {
        let base =
            || recipient.strip_extension(delimiters).map_or_else(|| recipient.clone(), |(base, _)| base);
        let route = match Recipient::parse(&recipient.to_string()) {
            Some(asked) if found.len() < MAX_DELIVERIES => {
                in_time(end, directory.route(&asked, extensions, &mut Trace::default())).await
            }
            _ => Lookup::None,
        };
        let delivery = |mailbox, leaves| Delivery { recipient: recipient.clone(), mailbox, leaves };
        let unknown = matches!(route, Lookup::Unavailable(_) | Lookup::Misconfigured(_));
        let ends = route.found().map(|route| route.leaves).unwrap_or_default();
        if ends.is_empty() {
            found.push(delivery(base(), unknown));
        }
        found.extend(ends.into_iter().take(MAX_DELIVERIES).map(|leaf| match leaf.place {
            Place::Mailbox(login) => delivery(login, false),
            Place::Relayed | Place::Outside => delivery(leaf.recipient.exact().clone(), true),
        }));
    }
    found
}

/// The author by the header, and what the message answers. Reads three fields; the facts read all of it later, on the pool.
pub fn author(message: &Message) -> Author {
    let mut raw = Vec::new();
    for name in ["From", "In-Reply-To", "References"] {
        if let Some(header) = message.headers.iter().find(|header| header.is(name)) {
            header.write_to(&mut raw);
        }
    }
    raw.extend_from_slice(b"\r\n");
    let parsed = MessageParser::new().parse_headers(&raw).unwrap_or_default();
    let from = parsed.from().and_then(|list| list.first());
    let address = from.as_ref().and_then(|from| from.address()).unwrap_or_default();
    let name = from.as_ref().and_then(|from| from.name()).unwrap_or_default();
    let mut answers: Vec<String> = Vec::new();
    for name in ["In-Reply-To", "References"] {
        let value = message.first(name).unwrap_or_default();
        answers.extend(message_ids(value));
    }
    // The message that is answered comes last in References (RFC 5322, 3.6.4).
    let surplus = answers.len().saturating_sub(MAX_ANSWERS);
    answers.drain(..surplus);
    Author {
        address: Address::parse(address.trim()).map_or_else(|_| String::new(), |address| address.to_string()),
        name: folded_name(name),
        answers,
    }
}

/// The Message-IDs in a field, with their brackets; printable ASCII, not too long.
pub fn message_ids(value: &[u8]) -> impl Iterator<Item = String> {
    value
        .split(|byte| *byte == b'<')
        .skip(1)
        .filter_map(|piece| piece.split(|byte| *byte == b'>').next())
        .filter(|id| (3..MAX_MESSAGE_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic))
        .map(|id| format!("<{}>", String::from_utf8_lossy(id)))
}

/// As many recipients as Postfix takes by default (`smtpd_recipient_limit`); each may lead to several mailboxes.
const MAX_DELIVERIES: usize = 1_000;

/// Domains of one message's recipients whose users' names are looked at.
const MAX_DOMAINS: usize = 20;

/// A thread longer than this has its newest messages at the end.
const MAX_ANSWERS: usize = 30;

/// With brackets as long as the table's column.
const MAX_MESSAGE_ID: usize = 253;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn author_and_answered_messages() {
        let message = Message::from_eml(
            b"From: =?utf-8?q?Miller=2C_Ann?= <Ann@Example.org>\nIn-Reply-To: <1@example.com>\n\
              References: <0@example.com>\n <1@example.com> junk <with space> <>\nSubject: x\n\n",
        );
        let author = author(&message);
        assert_eq!((author.address.as_str(), author.name.as_str()), ("ann@example.org", "ann miller"));
        assert_eq!(author.answers, ["<1@example.com>", "<0@example.com>", "<1@example.com>"]);
        assert_eq!(super::author(&Message::from_eml(b"Subject: x\n\n")), Author::default());
    }

    #[test]
    fn a_long_thread_is_bounded() {
        let ids: String = (0..5_000).map(|number| format!(" <{number}@example.com>")).collect();
        let message = Message::from_eml(format!("From: a@b.test\nReferences:{ids}\n\n").as_bytes());
        let author = author(&message);
        assert_eq!(author.answers.len(), MAX_ANSWERS);
        assert_eq!(author.answers.last().unwrap(), "<4999@example.com>");
    }
}
