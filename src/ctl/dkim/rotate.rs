//! `gatepost dkim rotate`: new keys for old, one step at each call.
//!
//! | found | step |
//! |---|---|
//! | keys that wait, shown by DNS | they become active, active ones of the same algorithm retire: one transaction |
//! | keys that wait, not shown | says what to publish, and what DNS says |
//! | retired keys, less than a week | says how long their records must stay |
//! | retired keys, a week and more | they are removed; says which records may go |
//! | active keys only, old enough | makes new ones of the same kinds; says what to publish |

use anyhow::bail;
use gatepost::directory::Lookup;
use gatepost::dkim::KeyKind;
use gatepost::mail::Domain;
use gatepost::store::KeyState;
use gatepost::store::key_life::Key;
use sqlx::Connection;
use time::OffsetDateTime;

use super::{Desk, KEEP_RETIRED, generate, record, steps};
use crate::ctl::connection::explain;

pub(super) async fn run(desk: &mut Desk<'_>, domain: &Domain, min_age: u32) -> anyhow::Result<()> {
    let mut keys = desk.keys(Some(domain)).await?;
    keys.retain(|key| key.state != KeyState::Removed);
    let waiting = keys.iter().any(Key::waits);
    let active = keys.iter().any(|key| key.state == KeyState::Active);
    if !waiting && !active {
        bail!("{domain} has no key that signs; `gatepost dkim generate {domain}`");
    }
    let cleared = clear_retired(desk, &keys).await?;
    if waiting {
        return take_turns(desk, domain, keys).await;
    }
    if cleared {
        return Ok(());
    }
    begin(desk, domain, &keys, min_age).await
}

/// Removes what was retired long enough ago; whether anything retired was there.
async fn clear_retired(desk: &mut Desk<'_>, keys: &[Key]) -> anyhow::Result<bool> {
    let now = OffsetDateTime::now_utc();
    let mut any = false;
    for key in keys.iter().filter(|key| key.state == KeyState::Retired) {
        any = true;
        let until = key.retired_at.unwrap_or(now) + KEEP_RETIRED;
        if now < until {
            println!(
                "key {} is retired; leave its record in DNS until {}, then: gatepost dkim rotate {}",
                key.selector,
                until.date(),
                key.domain
            );
        } else {
            steps::take(desk, key, KeyState::Removed).await?;
            println!(
                "key {} is removed; take its record out of DNS now: {0}._domainkey.{}",
                key.selector, key.domain
            );
        }
    }
    Ok(any)
}

/// Lets waiting keys take the place of active ones, where DNS shows them.
async fn take_turns(desk: &mut Desk<'_>, domain: &Domain, keys: Vec<Key>) -> anyhow::Result<()> {
    let resolver = desk.resolver()?;
    let (mut waiting, others): (Vec<Key>, Vec<Key>) = keys.into_iter().partition(Key::waits);
    let mut shown = Vec::new();
    let mut missing = Vec::new();
    for key in &mut waiting {
        match desk.look(&resolver, key).await? {
            Lookup::Found(finding) if finding.is_shown() => shown.push(&*key),
            Lookup::Found(finding) => missing.push((&*key, finding.detail)),
            Lookup::None => missing.push((&*key, "nothing".to_owned())),
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => missing.push((&*key, why)),
        }
    }
    let old: Vec<&Key> = others
        .iter()
        .filter(|key| key.state == KeyState::Active && shown.iter().any(|new| new.algorithm == key.algorithm))
        .collect();
    if !shown.is_empty() {
        let mut transaction = desk.connection.begin().await.map_err(explain)?;
        let mut inner = Desk { connection: &mut transaction, settings: desk.settings };
        for key in &shown {
            steps::take(&mut inner, key, KeyState::Active).await?;
        }
        for key in &old {
            steps::take(&mut inner, key, KeyState::Retired).await?;
        }
        transaction.commit().await.map_err(explain)?;
    }
    for key in &shown {
        println!("key {} of {domain} is active: it signs from now on", key.selector);
    }
    let until = OffsetDateTime::now_utc() + KEEP_RETIRED;
    for key in &old {
        println!(
            "key {} of {domain} is retired; leave its record in DNS until {}, for mail under way, then: gatepost dkim rotate {domain}",
            key.selector,
            until.date()
        );
    }
    for (key, why) in &missing {
        println!(
            "key {} of {domain} waits: DNS says: {why}. Publish this record:\n\n{}\n",
            key.selector,
            record(key)
        );
    }
    if !missing.is_empty() {
        println!("When DNS shows it, the next step: gatepost dkim rotate {domain}");
    }
    Ok(())
}

/// Makes a new key of each kind that signs.
async fn begin(desk: &mut Desk<'_>, domain: &Domain, keys: &[Key], min_age: u32) -> anyhow::Result<()> {
    let now = OffsetDateTime::now_utc();
    let youngest = keys.iter().filter_map(|key| key.activated_at).max().unwrap_or(now);
    let age = (now - youngest).whole_days().max(0);
    if age < i64::from(min_age) {
        println!(
            "the keys of {domain} sign since {} ({age} days): nothing to do before {}; to begin all the same: gatepost dkim rotate {domain} --min-age 0",
            youngest.date(),
            (youngest + time::Duration::days(min_age.into())).date()
        );
        return Ok(());
    }
    let mut kinds: Vec<KeyKind> = Vec::new();
    for key in keys.iter().filter(|key| key.state == KeyState::Active) {
        let kind = KeyKind::of(key.algorithm, &key.public_key);
        match kinds.iter_mut().find(|one| one.algorithm() == kind.algorithm()) {
            None => kinds.push(kind),
            // Of several RSA keys, the longest.
            Some(one) if one.algorithm() == kind.algorithm() && (*one as u8) < kind as u8 => *one = kind,
            Some(_) => {}
        }
    }
    println!("Publish beside the records that are there:\n");
    for kind in kinds {
        let known = desk.keys(Some(domain)).await?;
        let selector = generate::choose(&known, domain, None, kind)?;
        generate::make(desk, domain, &selector, kind).await?;
        println!("{}\n", record(&desk.key(domain, &selector).await?));
    }
    println!(
        "When DNS shows that (the old keys sign until then), the next step: gatepost dkim rotate {domain}"
    );
    Ok(())
}
