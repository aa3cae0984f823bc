//! Whether a message comes from somebody who is known to forward.
//!
//! For `decide`. Pure.

use gatepost::dmarc::{Forwarder, KnownBy};

use super::evidence::{Evidence, Proof, is_or_below};

/// For which of a message's recipients somebody is trusted to forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Coverage<'a> {
    /// For all; by this.
    All(&'a KnownBy),
    /// For some; by this.
    Some(&'a KnownBy),
    /// For none.
    None,
    /// One of them could be, if DNS could say.
    Unknown(String),
}

/// Holds a message against the list.
///
/// A message has one fate for all its recipients. One domain's trust must not open the inboxes of another, nor must the other's lack
/// of it refuse the first one's mail: hence [`Coverage::Some`].
pub(super) fn coverage<'a>(forwarders: &'a [Forwarder], evidence: &Evidence) -> Coverage<'a> {
    let mut uncovered: Vec<_> = evidence.recipients.iter().collect();
    let concerned = |forwarder: &Forwarder| match &forwarder.recipients {
        None => true,
        Some(domain) => evidence.recipients.contains(domain),
    };
    let (mut some, mut unknown) = (None, None);
    for forwarder in forwarders.iter().filter(|forwarder| concerned(forwarder)) {
        match is(&forwarder.by, evidence) {
            Some(true) => {
                match &forwarder.recipients {
                    None => return Coverage::All(&forwarder.by),
                    Some(domain) => uncovered.retain(|recipient| *recipient != domain),
                }
                some = Some(&forwarder.by);
                if uncovered.is_empty() {
                    return Coverage::All(&forwarder.by);
                }
            }
            Some(false) => {}
            None => unknown = Some(&forwarder.by),
        }
    }
    match (some, unknown) {
        (Some(by), _) => Coverage::Some(by),
        (None, Some(by)) => Coverage::Unknown(format!("no answer from DNS for forwarder {by}")),
        (None, None) => Coverage::None,
    }
}

/// Whether it is that forwarder; none when nobody can say.
fn is(by: &KnownBy, evidence: &Evidence) -> Option<bool> {
    match by {
        KnownBy::Network(network) => Some(evidence.client.is_some_and(|client| network.contains(client))),
        KnownBy::Name(domain) => proved(&evidence.name, domain.as_str()),
        KnownBy::Spf(domain) => proved(&evidence.spf, domain.as_str()),
        KnownBy::Dkim(domain) => {
            let is = |name: &String| is_or_below(name, domain.as_str());
            if evidence.dkim.iter().any(is) {
                Some(true)
            } else if evidence.dkim_unknown.iter().any(is) {
                None
            } else {
                Some(false)
            }
        }
    }
}

fn proved(proof: &Proof, domain: &str) -> Option<bool> {
    match proof {
        Proof::Proved(name) => Some(is_or_below(name, domain)),
        Proof::None => Some(false),
        Proof::Unknown(Some(name)) if !is_or_below(name, domain) => Some(false),
        Proof::Unknown(_) => None,
    }
}
