//! `srs-route`, `srs-forward`, `srs-reverse`: the sender of forwarded mail, and the way back of its bounces.
//!
//! An outside sender in mail that leaves is what SPF fails on, and nothing else is to be rewritten. But cleanup's `sender_canonical_maps` is
//! asked for the sender alone, before anybody knows where the mail goes, and smtp's `smtp_generic_maps` rewrites `From:` too, which breaks
//! DKIM. What Postfix asks with the destination known is `sender_dependent_default_transport_maps`: only for recipients that are neither
//! local nor relayed, the sender as the key. So `srs-route` sends exactly those through a second smtpd whose cleanup asks `srs-forward`
//! (envelope only), after which the sender is ours and the mail goes its normal way. `gatepost-postfix-policy(8)` has the lines.

use std::time::SystemTime;

use gatepost::directory::{Lookup, Recipient};
use gatepost::mail::{Domain, written};

use super::{Answer, Asking, Map, said};
use crate::protocol::socketmap::Value;
use crate::srs::Srs;

/// The map.
pub(super) const SRS_ROUTE: Map = Map {
    name: "srs-route",
    parameter: "sender_dependent_default_transport_maps",
    summary: "the transport to the rewriting smtpd, for a sender that is not of ours",
    look_up: |asking, key| {
        Box::pin(async move {
            let route = asking.settings.srs.route.clone();
            foreign(asking, key, |_, _| route).await
        })
    },
};

/// The map.
pub(super) const SRS_FORWARD: Map = Map {
    name: "srs-forward",
    parameter: "sender_canonical_maps",
    summary: "a sender that is not of ours, in the name of our SRS domain",
    look_up: |asking, key| {
        Box::pin(foreign(asking, key, |srs, sender| {
            let (local, domain) =
                srs.forward(sender.typed_local(), sender.exact().domain().as_str(), SystemTime::now());
            written(&local, &domain)
        }))
    },
};

/// The map.
pub(super) const SRS_REVERSE: Map = Map {
    name: "srs-reverse",
    parameter: "recipient_canonical_maps",
    summary: "the sender behind an address that SRS made here, if it is genuine and young",
    look_up: reverse,
};

/// Something said for a sender whose domain is neither hosted nor that of SRS. Nothing for the null sender: bounces stay bounces.
async fn foreign(
    mut asking: Asking<'_>,
    key: &str,
    say: impl FnOnce(&Srs, &Recipient) -> String,
) -> Lookup<Value> {
    let Some(srs) = asking.srs else {
        asking.trace.note(|| "SRS is off: [postfix-policy.srs] has no domain".to_owned());
        return Lookup::None;
    };
    let Some(sender) = asking.recipient(key) else { return Lookup::None };
    if sender.exact().domain() == srs.domain() {
        return Lookup::None;
    }
    match asking.directory.hosts(sender.exact().domain()).await {
        Lookup::None => {
            asking.trace.note(|| format!("{}: a sender of another place", sender.exact()));
            said(Some(say(srs, &sender)))
        }
        Lookup::Found(()) => {
            asking.trace.note(|| format!("{}: a sender of ours", sender.exact()));
            Lookup::None
        }
        Lookup::Unavailable(why) => Lookup::Unavailable(why),
        Lookup::Misconfigured(why) => Lookup::Misconfigured(why),
    }
}

fn reverse<'a>(asking: Asking<'a>, key: &'a str) -> Answer<'a> {
    Box::pin(async move {
        let Some(srs) = asking.srs else { return Lookup::None };
        // Longer than an address may be (64 octets) is what SRS makes of a long one, so this is no `Recipient`.
        let Some((local, domain)) = key.rsplit_once('@') else { return Lookup::None };
        let Ok(domain) = Domain::parse(domain) else { return Lookup::None };
        let local = local
            .strip_prefix('"')
            .and_then(|local| local.strip_suffix('"'))
            .unwrap_or(local)
            .replace('\\', "");
        match srs.reverse(&local, &domain, SystemTime::now()) {
            Ok((user, host)) => match Domain::parse(&host) {
                Ok(host) => said(Some(written(&user, &host))),
                Err(_) => Lookup::None,
            },
            Err(reason) => {
                asking.trace.note(|| format!("not opened: {reason}"));
                Lookup::None
            }
        }
    })
}
