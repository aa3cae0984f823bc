//! `gatepost dkim encrypt`: every private key in the form that the configuration asks for, in one transaction.

use anyhow::{Context, bail, ensure};
use gatepost::config::Dkim;
use gatepost::dkim::{KeyMaterial, Vault};
use gatepost::store::KeyState;
use gatepost::store::key_life;
use sqlx::Connection;

use super::Desk;
use crate::ctl::connection::explain;

pub(super) async fn run(desk: &mut Desk<'_>, undo: bool) -> anyhow::Result<()> {
    let from = desk.vault()?;
    if !from.encrypts() && !undo {
        bail!(
            "no key file is configured; make one and set `key-file` in section [dkim]; `gatepost dkim encrypt --help` says how"
        );
    }
    let plain = Vault::open(&Dkim::default())?;
    let to = if undo { &plain } else { &from };
    let mut transaction = desk.connection.begin().await.map_err(explain)?;
    let mut changed = 0;
    let keys = key_life::keys(&mut transaction, None).await.map_err(explain)?;
    for key in keys.iter().filter(|key| key.state != KeyState::Removed && !to.is_current(&key.private_key)) {
        let (domain, selector) = (&key.domain, &key.selector);
        let named = || format!("key {selector} of {domain}; nothing was changed");
        let pem = from.open_key(domain, selector, &key.private_key).with_context(named)?;
        // What does not parse, or is another key than its record says, must not be hidden under encryption.
        let parsed =
            KeyMaterial::parse(pem.expose()).map_err(|why| anyhow::anyhow!(why)).with_context(named)?;
        ensure!(
            parsed.public() == key.public_key,
            "key {selector} of {domain}: private and public key do not belong together; nothing was changed"
        );
        let stored = to.seal(domain, selector, &pem).map_err(|why| anyhow::anyhow!(why))?;
        let done = key_life::reseal(&mut transaction, key, &stored).await.map_err(explain)?;
        ensure!(
            done,
            "key {selector} of {domain} has just been changed by somebody else; nothing was changed"
        );
        changed += 1;
    }
    transaction.commit().await.map_err(explain)?;
    let all = keys.iter().filter(|key| key.state != KeyState::Removed).count();
    let how = if undo { "plain" } else { "encrypted with the first key of the key file" };
    println!("{changed} of {all} private keys changed; all are {how} now");
    if undo {
        println!("take `key-file` out of section [dkim], or new keys are encrypted again");
    }
    Ok(())
}
