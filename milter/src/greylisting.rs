//! Mail that looks like spam and comes from a stranger is to come again, which most programs that send spam never do.
//!
//! For `service`. The state is the policy daemon's, in SQL: an attempt that it has seen counts here, and the other way round. Only where every
//! recipient wants it, none knows the author, and nothing proves the author's domain; while the database is away the mail passes.

use std::net::IpAddr;

use futures_util::future::join_all;
use gatepost::config::Network;
use gatepost::directory::Lookup;
use gatepost::mail::{Address, SmtpReply};
use gatepost::spf::SpfResult;
use gatepost::store::{Attempt, Greylist, Greylisted, Patience, steady_sender};
use tracing::debug;

use crate::facts::hosts;
use crate::judgement::{Each, Judgement, may_be_greylisted};
use crate::message::Envelope;

/// What is known of the sender.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The client.
    client: IpAddr,
    /// The envelope's sender.
    address: Option<Address>,
    /// MAIL FROM as given.
    reverse_path: String,
    /// What SPF says of it.
    spf: Option<SpfResult>,
}

impl Sender {
    /// Of mail that came over the network.
    pub fn of(envelope: &Envelope, spf: Option<SpfResult>) -> Option<Self> {
        let client = envelope.client_address?;
        Some(Self {
            client,
            address: envelope.sender.clone(),
            reverse_path: envelope.reverse_path.clone(),
            spf,
        })
    }

    fn attempt(&self, mailbox: &Address, delimiters: &str) -> Attempt {
        let domain = self.address.as_ref().map(|address| address.domain().as_str());
        let client = match (domain, self.spf) {
            (Some(domain), Some(SpfResult::Pass)) => format!("spf:{}", hosts::site(domain)),
            _ => Network::neighbourhood(self.client).to_string(),
        };
        Attempt {
            client: cut(&client),
            sender: cut(&steady_sender(&self.reverse_path, delimiters)),
            recipient: cut(&mailbox.to_string()),
            correspondent: self.address.as_ref().map(Address::to_string).unwrap_or_default(),
            mailbox: mailbox.to_string(),
            network: Network::neighbourhood(self.client).to_string(),
            suspected: true,
        }
    }
}

/// Whether anybody may be asked to come again for this message.
pub fn is_wanted(judgement: &Judgement) -> bool {
    !judgement.confirmed
        && judgement.each.iter().all(may_be_greylisted)
        && judgement.each.iter().any(|each| !each.mailboxes.is_empty())
}

/// Notes the attempt for each mailbox; the reply if all of them are too early.
pub async fn ask(
    greylist: &Greylist,
    sender: &Sender,
    judgement: &Judgement,
    patience: Patience,
    delimiters: &str,
) -> Option<SmtpReply> {
    let mailboxes = judgement.each.iter().flat_map(|Each { mailboxes, .. }| mailboxes).take(MOST_ASKED);
    let questions = mailboxes.map(|mailbox| greylist.ask(sender.attempt(mailbox, delimiters), patience));
    let mut longest = 0.0_f64;
    for answer in join_all(questions).await {
        match answer {
            Lookup::Found(Greylisted::Wait { left, .. }) => longest = longest.max(left.as_secs_f64().ceil()),
            Lookup::Found(_) | Lookup::None => return None,
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
                debug!(%why, "not greylisted");
                return None;
            }
        }
    }
    let text = format!("Greylisted, please try again in {longest} seconds");
    Some(SmtpReply::new(451, "4.7.1", text))
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(MAX_KEY).collect()
}

/// Columns of the table are bounded (006_policy.sql).
const MAX_KEY: usize = 290;

/// Mailboxes of one message that are asked for; one that passes lets it pass for all.
const MOST_ASKED: usize = 50;
