//! What `gatepost check` says of signing keys: what the database knows. DNS is asked by `gatepost dkim check`.

use gatepost::config::Dkim;
use gatepost::dkim::{KeyMaterial, Vault, material, vault};
use gatepost::store::key_life::{self, Key};
use gatepost::store::{DnsAnswer, KeyAlgorithm, KeyState};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::show;
use crate::ctl::check::report::Report;
use crate::ctl::connection::explain;

pub(in crate::ctl) async fn report(
    connection: &mut PgConnection,
    config: &Dkim,
    report: &mut Report,
) -> anyhow::Result<()> {
    let keys = key_life::keys(connection, None).await.map_err(explain)?;
    let vault = match Vault::open(config) {
        Ok(vault) => vault,
        Err(error) => {
            report.fail(&format!("[dkim] key-file: {error}"));
            Vault::open(&Dkim::default())?
        }
    };
    for key in keys.iter().filter(|key| key.state == KeyState::Active) {
        active(key, report);
    }
    for key in keys.iter().filter(|key| key.state != KeyState::Removed) {
        at_rest(key, &vault, config, report);
    }
    let signing = keys.iter().filter(|key| key.signs()).count();
    report.ok(&format!("{} signing keys, {signing} of them sign", keys.len()));
    Ok(())
}

/// A key that should sign.
fn active(key: &Key, report: &mut Report) {
    let (domain, selector) = (&key.domain, &key.selector);
    match key.dns {
        DnsAnswer::Shown => {}
        DnsAnswer::Unknown => report.warn(&format!("DNS was never seen to show key {selector} of {domain}: it does not sign; is gatepost-milter running? `gatepost dkim check {domain}`")),
        DnsAnswer::Missing | DnsAnswer::Different => report.fail(&format!("DNS does not show key {selector} of {domain} ({}, {}): it does not sign; `gatepost dkim dns {domain} {selector}`", key.dns_detail, show::day(key.dns_at))),
    }
    if key.activated_at.is_some_and(|at| OffsetDateTime::now_utc() - at > ROTATE_AFTER) {
        report.warn(&format!(
            "key {selector} of {domain} signs since {}; `gatepost dkim rotate {domain}`",
            show::day(key.activated_at)
        ));
    }
    if key.algorithm == KeyAlgorithm::RsaSha256 && material::bits(key.algorithm, &key.public_key) < WEAK {
        report.warn(&format!("key {selector} of {domain} is weak ({}; RFC 8301, 3.2); `gatepost dkim rotate {domain} --min-age 0`", show::kind(key)));
    }
}

/// How its private half is kept.
fn at_rest(key: &Key, vault: &Vault, config: &Dkim, report: &mut Report) {
    let (domain, selector) = (&key.domain, &key.selector);
    match vault.open_key(domain, selector, &key.private_key) {
        Err(error) => return report.fail(&format!("private key {selector} of {domain}: {error}")),
        Ok(pem) => match KeyMaterial::parse(pem.expose()) {
            Err(why) => return report.fail(&format!("private key {selector} of {domain}: {why}")),
            Ok(parsed) if parsed.public() != key.public_key => {
                return report.fail(&format!(
                    "key {selector} of {domain}: private and public key do not belong together"
                ));
            }
            Ok(_) => {}
        },
    }
    if config.key_file.is_some() && vault.encrypts() && !vault.is_current(&key.private_key) {
        let how = if vault::is_encrypted(&key.private_key) {
            "encrypted with a former key"
        } else {
            "not encrypted"
        };
        report.warn(&format!("private key {selector} of {domain} is {how}; `gatepost dkim encrypt`"));
    }
}

/// A usual advice (M3AAWG DKIM Key Rotation Best Practices): at least twice a year is better, once a year is the least.
const ROTATE_AFTER: time::Duration = time::Duration::days(365);
/// RFC 8301, 3.2: signers should use at least 2048 bits.
const WEAK: usize = 2048;
