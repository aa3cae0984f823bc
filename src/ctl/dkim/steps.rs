//! `gatepost dkim activate`, `retire` and `remove`: the steps of a key's life, one by one.

use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure};
use gatepost::config::Seconds;
use gatepost::directory::Lookup;
use gatepost::dns::Resolver;
use gatepost::mail::Domain;
use gatepost::store::key_life::{self, Key};
use gatepost::store::{DnsAnswer, KeyState};
use time::OffsetDateTime;

use super::{Desk, KEEP_RETIRED, record};
use crate::ctl::connection::explain;
use crate::ctl::terminal;

pub(super) async fn activate(
    desk: &mut Desk<'_>,
    domain: &Domain,
    selector: Option<&str>,
    wait: Option<Seconds>,
) -> anyhow::Result<()> {
    let keys = match selector {
        Some(selector) => vec![desk.key(domain, selector).await?],
        None => desk.keys(Some(domain)).await?.into_iter().filter(Key::waits).collect(),
    };
    if keys.is_empty() {
        bail!("no key of {domain} waits; `gatepost dkim list {domain}`, `gatepost dkim generate {domain}`");
    }
    let resolver = desk.resolver()?;
    let end = Instant::now() + wait.map_or(Duration::ZERO, |wait| wait.0);
    let mut refused = None;
    for key in keys {
        match activate_one(desk, &resolver, key, end).await {
            Ok(said) => println!("{said}"),
            Err(error) if refused.is_none() => refused = Some(error),
            Err(error) => println!("{error:#}"),
        }
    }
    refused.map_or(Ok(()), Err)
}

async fn activate_one(
    desk: &mut Desk<'_>,
    resolver: &Resolver,
    mut key: Key,
    end: Instant,
) -> anyhow::Result<String> {
    let (domain, selector) = (key.domain.clone(), key.selector.clone());
    match key.state {
        KeyState::Active => return Ok(format!("key {selector} of {domain} is active already")),
        KeyState::Removed => bail!(
            "key {selector} of {domain} was removed: its private half is gone; `gatepost dkim generate {domain}`"
        ),
        KeyState::New | KeyState::Published | KeyState::Retired => {}
    }
    let mut told = false;
    loop {
        let why = match desk.look(resolver, &mut key).await? {
            Lookup::Found(finding) if finding.is_shown() => {
                for warning in &finding.warnings {
                    println!("warning: the record of {selector}: {warning}");
                }
                break;
            }
            Lookup::Found(finding) => {
                format!("DNS does not show key {selector} of {domain}: {}", finding.detail)
            }
            Lookup::None => format!("DNS does not show key {selector} of {domain}"),
            // The last known answer counts.
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) if key.dns == DnsAnswer::Shown => {
                println!("warning: {why}; DNS showed key {selector} when it was last asked");
                break;
            }
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
                format!("whether DNS shows key {selector} of {domain} cannot be said now: {why}")
            }
        };
        if Instant::now() + ASK_AGAIN > end {
            return Err(anyhow!(
                "{why}; it is not activated, since receivers would call its signatures broken. Expected:\n\n{}\n",
                record(&key)
            ));
        }
        if !std::mem::replace(&mut told, true) {
            println!("{why}; asking again every {} s", ASK_AGAIN.as_secs());
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
    take(desk, &key, KeyState::Active).await?;
    Ok(format!("key {selector} of {domain} is active: it signs from now on"))
}

pub(super) async fn retire(desk: &mut Desk<'_>, domain: &Domain, selector: &str) -> anyhow::Result<()> {
    let key = desk.key(domain, selector).await?;
    match key.state {
        KeyState::Active => {}
        KeyState::Retired => {
            println!("key {selector} of {domain} is retired already");
            return Ok(());
        }
        state => bail!(
            "key {selector} of {domain} is {state}: it never signed; to be rid of it: gatepost dkim remove {domain} {selector}"
        ),
    }
    take(desk, &key, KeyState::Retired).await?;
    let until = OffsetDateTime::now_utc() + KEEP_RETIRED;
    println!(
        "key {selector} of {domain} is retired; leave its record in DNS until {}, for mail under way, then: gatepost dkim remove {domain} {selector}",
        until.date()
    );
    if !desk.keys(Some(domain)).await?.iter().any(Key::signs) {
        println!("warning: no key of {domain} signs now: its mail leaves unsigned");
    }
    Ok(())
}

pub(super) async fn remove(
    desk: &mut Desk<'_>,
    domain: &Domain,
    selector: &str,
    yes: bool,
) -> anyhow::Result<()> {
    let key = desk.key(domain, selector).await?;
    ensure!(
        key.state != KeyState::Active,
        "key {selector} of {domain} signs; first: gatepost dkim retire {domain} {selector}"
    );
    if key.state == KeyState::Removed {
        println!("key {selector} of {domain} is removed already");
        return Ok(());
    }
    let young = key.retired_at.is_some_and(|at| OffsetDateTime::now_utc() - at < KEEP_RETIRED);
    let question = if young {
        format!(
            "Key {selector} of {domain} signed less than a week ago; mail under way needs its record. Erase the private key for ever?"
        )
    } else {
        format!("Erase the private key {selector} of {domain} for ever?")
    };
    terminal::confirm(&question, yes)?;
    take(desk, &key, KeyState::Removed).await?;
    println!(
        "key {selector} of {domain} is removed; take its record out of DNS: {selector}._domainkey.{domain}"
    );
    Ok(())
}

/// Takes a step, if the key is still where it was.
pub(super) async fn take(desk: &mut Desk<'_>, key: &Key, next: KeyState) -> anyhow::Result<()> {
    let done = key_life::step(desk.connection, key, next).await.map_err(explain)?;
    ensure!(
        done,
        "key {} of {} has just been changed by somebody else; look again: gatepost dkim list {1}",
        key.selector,
        key.domain
    );
    Ok(())
}

/// How often DNS is asked with `--wait`.
const ASK_AGAIN: Duration = Duration::from_secs(5);
