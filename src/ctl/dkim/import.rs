//! `gatepost dkim import`: the keys of another program, so that nobody must touch DNS to switch.
//!
//! Each key is a line: taken over and active, because DNS shows it; taken over and waiting; or left out, and why. Run again, it finds
//! everything there. With `--dry-run` nothing is written. One bad key stops no other.

use anyhow::anyhow;
use gatepost::daemon::print_line;
use gatepost::directory::Lookup;
use gatepost::dkim::import::{self, Candidate, Plan, Source};
use gatepost::dkim::{self, KeyMaterial, Vault};
use gatepost::dns::Resolver;
use gatepost::mail::Domain;
use gatepost::store::KeyState;
use gatepost::store::key_life::Key;

use super::{Desk, How, Import, generate, steps};
use crate::ctl::connection::explain;

pub(super) async fn run(desk: &mut Desk<'_>, import: Import) -> anyhow::Result<()> {
    let hosted = hosted(desk).await?;
    let (plan, how) = match import {
        Import::Rspamd { path, how } => (import::rspamd::read(&path, &hosted)?, how),
        Import::Opendkim { path, how } => (import::opendkim::read(&path, &hosted)?, how),
        Import::Pem { file, domain, selector, how } => {
            // One key that was asked for by name: what is wrong with it is an error.
            import::read_key_file(&file).map_err(|why| anyhow!(why))?;
            let origin = file.display().to_string();
            let candidate = Candidate { domain, selector, source: Source::File(file), origin };
            (Plan { candidates: vec![candidate], left_out: Vec::new() }, how)
        }
    };
    carry_out(desk, plan, &hosted, how).await
}

/// What came of one key.
enum Outcome {
    Active(String),
    Waiting(String),
    There(String),
    LeftOut(String),
}

async fn carry_out(desk: &mut Desk<'_>, plan: Plan, hosted: &[Domain], how: How) -> anyhow::Result<()> {
    let (vault, resolver) = (desk.vault()?, desk.resolver()?);
    let (mut active, mut waiting, mut there, mut left) = (0, 0, 0, plan.left_out.len());
    for candidate in &plan.candidates {
        let name = dkim::record::name(&candidate.domain, &candidate.selector);
        let (word, what) = match take(desk, candidate, hosted, &vault, &resolver, how).await? {
            Outcome::Active(what) => {
                active += 1;
                ("active", what)
            }
            Outcome::Waiting(what) => {
                waiting += 1;
                ("wait", what)
            }
            Outcome::There(what) => {
                there += 1;
                ("there", what)
            }
            Outcome::LeftOut(what) => {
                left += 1;
                ("left", what)
            }
        };
        print_line(&format!("{word:<7} {name}: {what}"));
    }
    for one in &plan.left_out {
        print_line(&format!("left    {}: {}", one.origin, one.why));
    }
    let tense = if how.dry_run { "would be " } else { "" };
    print_line(&format!(
        "{active} keys {tense}taken over and active, {waiting} {tense}taken over and waiting, {there} there already, {left} left out"
    ));
    if how.dry_run {
        print_line("nothing was changed");
    }
    Ok(())
}

async fn take(
    desk: &mut Desk<'_>,
    candidate: &Candidate,
    hosted: &[Domain],
    vault: &Vault,
    resolver: &Resolver,
    how: How,
) -> anyhow::Result<Outcome> {
    let (domain, selector) = (&candidate.domain, &candidate.selector);
    if !hosted.contains(domain) {
        return Ok(Outcome::LeftOut(format!(
            "{}: {domain} is not hosted here; `gatepost domain add {domain}`",
            candidate.origin
        )));
    }
    let key = match candidate.read() {
        Ok(key) => key,
        Err(why) => return Ok(Outcome::LeftOut(why)),
    };
    let keys = desk.keys(Some(domain)).await?;
    let known = keys.iter().find(|one| one.selector.eq_ignore_ascii_case(selector));
    match known {
        Some(one) if one.public_key != key.public() => {
            return Ok(Outcome::LeftOut(format!(
                "{}: another key has this selector ({})",
                candidate.origin, one.state
            )));
        }
        Some(one) if !one.waits() => return Ok(Outcome::There(format!("is {}", one.state))),
        Some(_) | None => {}
    }
    if how.dry_run {
        return Ok(foretold(&key, candidate, resolver, how).await);
    }
    if known.is_none() {
        generate::store(desk, domain, selector, &key, vault).await?;
    }
    let mut stored = desk.key(domain, selector).await?;
    let kind = super::show::kind(&stored);
    let shown = match desk.look(resolver, &mut stored).await? {
        Lookup::Found(finding) if finding.is_shown() => Ok(()),
        Lookup::Found(finding) => Err(finding.detail),
        Lookup::None => Err("nothing".to_owned()),
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => Err(why),
    };
    match shown {
        Ok(()) if how.no_activate => {
            Ok(Outcome::Waiting(format!("{kind}, DNS shows it: gatepost dkim activate {domain} {selector}")))
        }
        Ok(()) => {
            steps::take(desk, &stored, KeyState::Active).await?;
            Ok(Outcome::Active(format!("{kind}, DNS shows it{}", beside(&keys, &stored))))
        }
        Err(why) => Ok(Outcome::Waiting(format!(
            "{kind}, DNS says: {why}; once it shows the key: gatepost dkim activate {domain} {selector}"
        ))),
    }
}

/// What would come of a key, with DNS asked and nothing written.
async fn foretold(key: &KeyMaterial, candidate: &Candidate, resolver: &Resolver, how: How) -> Outcome {
    match dkim::look(resolver, &candidate.domain, &candidate.selector, key.algorithm(), key.public()).await {
        Lookup::Found(finding) if finding.is_shown() && !how.no_activate => {
            Outcome::Active(format!("{}, DNS shows it", candidate.origin))
        }
        Lookup::Found(finding) if finding.is_shown() => {
            Outcome::Waiting(format!("{}, DNS shows it", candidate.origin))
        }
        Lookup::Found(finding) => {
            Outcome::Waiting(format!("{}, DNS says: {}", candidate.origin, finding.detail))
        }
        Lookup::None => Outcome::Waiting(candidate.origin.clone()),
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
            Outcome::Waiting(format!("{}, {why}", candidate.origin))
        }
    }
}

/// A remark where another key of the same algorithm signs already.
fn beside(keys: &[Key], new: &Key) -> String {
    let other = keys.iter().find(|one| {
        one.state == KeyState::Active && one.algorithm == new.algorithm && one.selector != new.selector
    });
    other.map_or_else(String::new, |one| {
        format!(
            "; {} signs too: one of both is enough: gatepost dkim retire {} {0}",
            one.selector, one.domain
        )
    })
}

async fn hosted(desk: &mut Desk<'_>) -> anyhow::Result<Vec<Domain>> {
    let rows: Vec<(String,)> = sqlx::query_as("SELECT domain::text FROM public.domains ORDER BY 1")
        .fetch_all(&mut *desk.connection)
        .await
        .map_err(explain)?;
    Ok(rows.iter().filter_map(|(name,)| Domain::parse(name).ok()).collect())
}
