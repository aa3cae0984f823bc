//! `gatepost dkim list` and `gatepost dkim dns`.

use anyhow::bail;
use gatepost::daemon::print_line;
use gatepost::dkim::{material, record};
use gatepost::mail::Domain;
use gatepost::store::key_life::Key;
use gatepost::store::{DnsAnswer, KeyAlgorithm, KeyState};
use time::OffsetDateTime;

use super::Desk;
use crate::ctl::terminal;

pub(super) async fn list(
    desk: &mut Desk<'_>,
    domain: Option<&Domain>,
    all: bool,
    show: terminal::Show,
) -> anyhow::Result<()> {
    let keys = desk.keys(domain).await?;
    let rows: Vec<_> = keys
        .iter()
        .filter(|key| all || key.state != KeyState::Removed)
        .map(|key| {
            [
                key.domain.to_string(),
                key.selector.clone(),
                kind(key),
                key.state.to_string(),
                day(Some(key.created_at)),
                day(key.published_at),
                day(key.activated_at),
                day(key.retired_at.or(key.removed_at)),
                said(key),
            ]
        })
        .collect();
    let heading = ["DOMAIN", "SELECTOR", "KIND", "STATE", "MADE", "PUBLISHED", "ACTIVE", "RETIRED", "DNS"];
    show.table(heading, &rows);
    Ok(())
}

/// Such as `rsa-2048`.
pub(super) fn kind(key: &Key) -> String {
    match key.algorithm {
        KeyAlgorithm::RsaSha256 => format!("rsa-{}", material::bits(key.algorithm, &key.public_key)),
        KeyAlgorithm::Ed25519Sha256 => "ed25519".to_owned(),
    }
}

pub(super) fn day(at: Option<OffsetDateTime>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.date().to_string())
}

/// The last known answer, and when it was given.
fn said(key: &Key) -> String {
    let at = key.dns_at.map(|at| format!(" ({} {:02}:{:02} UTC)", at.date(), at.hour(), at.minute()));
    let word = match key.dns {
        DnsAnswer::Unknown => "not asked yet".to_owned(),
        DnsAnswer::Shown => "shows it".to_owned(),
        DnsAnswer::Missing => "missing".to_owned(),
        DnsAnswer::Different => key.dns_detail.clone(),
    };
    word + &at.unwrap_or_default()
}

pub(super) async fn dns(
    desk: &mut Desk<'_>,
    domain: &Domain,
    selector: Option<&str>,
    plain: bool,
) -> anyhow::Result<()> {
    let wanted = |key: &&Key| {
        key.state != KeyState::Removed && selector.is_none_or(|name| key.selector.eq_ignore_ascii_case(name))
    };
    let keys = desk.keys(Some(domain)).await?;
    let keys: Vec<&Key> = keys.iter().filter(wanted).collect();
    if keys.is_empty() {
        bail!("{domain} has no such key; `gatepost dkim generate {domain}`");
    }
    for key in keys {
        if plain {
            print_line(&record::name(&key.domain, &key.selector));
            print_line(&record::text(key.algorithm, &key.public_key));
        } else {
            print_line(&super::record(key));
        }
    }
    Ok(())
}
