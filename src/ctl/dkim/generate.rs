//! `gatepost dkim generate`.

use anyhow::{anyhow, bail};
use gatepost::dkim::{KeyKind, KeyMaterial, record, selector};
use gatepost::mail::Domain;
use gatepost::store::key_life::{self, Key};

use super::{Desk, today};
use crate::ctl::connection::{explain, violates};
use crate::ctl::domain;

pub(super) async fn run(
    desk: &mut Desk<'_>,
    domain: &Domain,
    selector: Option<String>,
    kind: KeyKind,
) -> anyhow::Result<()> {
    domain::require(desk.connection, domain).await?;
    let keys = desk.keys(Some(domain)).await?;
    let selector = choose(&keys, domain, selector, kind)?;
    let key = make(desk, domain, &selector, kind).await?;
    println!("key {selector} of {domain} made ({}, new). Publish this record:\n", key.algorithm());
    println!("{}", record::zone_line(domain, &selector, key.algorithm(), key.public()));
    println!(
        "\nWhen DNS shows it: gatepost dkim activate {domain} {selector}\n(it may be called at once: --wait 1h asks until the record is there)"
    );
    let same = |one: &&Key| one.signs() && one.algorithm == key.algorithm();
    if let Some(old) = keys.iter().find(same) {
        println!(
            "Key {} signs with the same algorithm; to change it for the new one: gatepost dkim rotate {domain}",
            old.selector
        );
    }
    Ok(())
}

/// The selector that was given, if it is good and free, or one of today.
pub(super) fn choose(
    keys: &[Key],
    domain: &Domain,
    selector: Option<String>,
    kind: KeyKind,
) -> anyhow::Result<String> {
    let Some(selector) = selector else {
        let today = today()?;
        let taken: Vec<String> = keys.iter().map(|key| key.selector.clone()).collect();
        return selector::free(&today, kind.algorithm(), &taken).ok_or_else(|| {
            anyhow!("{domain} has a key for every letter of today; choose a selector with --selector")
        });
    };
    if record::name(domain, &selector).len() > MAX_NAME {
        bail!("selector {selector} makes a name of more than {MAX_NAME} octets; choose a shorter one");
    }
    if let Some(key) = keys.iter().find(|key| key.selector.eq_ignore_ascii_case(&selector)) {
        bail!(
            "{domain} has a key with selector {selector} already ({}); choose another with --selector",
            key.state
        );
    }
    Ok(selector)
}

/// Makes a key and stores it.
pub(super) async fn make(
    desk: &mut Desk<'_>,
    domain: &Domain,
    selector: &str,
    kind: KeyKind,
) -> anyhow::Result<KeyMaterial> {
    let vault = desk.vault()?;
    let key = KeyMaterial::generate(kind).map_err(|why| anyhow!(why))?;
    store(desk, domain, selector, &key, &vault).await?;
    Ok(key)
}

/// Stores a key, encrypted where a key file is configured.
pub(super) async fn store(
    desk: &mut Desk<'_>,
    domain: &Domain,
    selector: &str,
    key: &KeyMaterial,
    vault: &gatepost::dkim::Vault,
) -> anyhow::Result<()> {
    let stored = vault.seal(domain, selector, key.private_pem()).map_err(|why| anyhow!(why))?;
    let added =
        key_life::add(desk.connection, domain, selector, key.algorithm(), key.public(), &stored).await;
    added.map_err(|error| match () {
        () if violates(&error, "23505") => {
            anyhow!("{domain} has a key with selector {selector} already; choose another with --selector")
        }
        () if violates(&error, "23514") => anyhow!("bad selector \"{selector}\""),
        () => explain(error),
    })
}

/// RFC 1035 §2.3.4, less the root's dot and length octet.
const MAX_NAME: usize = 253;
