//! `gatepost dkim check`: what DNS says of each key. One line each, `ok`, `wait`, `warn` or `fail`; status 1 if anything failed.

use std::process::ExitCode;

use anyhow::bail;
use gatepost::daemon::print_line;
use gatepost::directory::Lookup;
use gatepost::dkim::record;
use gatepost::mail::Domain;
use gatepost::store::key_life::Key;
use gatepost::store::{DnsAnswer, KeyState};
use time::OffsetDateTime;

use super::{Desk, KEEP_RETIRED, show};
use crate::ctl::terminal;

pub(super) async fn run(
    desk: &mut Desk<'_>,
    domain: Option<&Domain>,
    how: terminal::Show,
) -> anyhow::Result<ExitCode> {
    let mut keys = desk.keys(domain).await?;
    keys.retain(|key| key.state != KeyState::Removed);
    if let (Some(domain), true) = (domain, keys.is_empty()) {
        bail!("{domain} has no key; `gatepost dkim generate {domain}`");
    }
    let resolver = desk.resolver()?;
    let (mut failed, mut rows) = (false, Vec::new());
    for key in &mut keys {
        let found = desk.look(&resolver, key).await?;
        let (word, what) = judge(key, &found);
        failed |= word == "fail";
        let name = record::name(&key.domain, &key.selector);
        let warnings = match found {
            Lookup::Found(finding) => finding.warnings,
            _ => Vec::new(),
        };
        if how.is_json() {
            let said = std::iter::once((word, what)).chain(warnings.into_iter().map(|text| ("warn", text)));
            let (kind, state) = (show::kind(key), key.state.to_string());
            rows.extend(said.map(|(word, what)| {
                let columns = [word, key.domain.as_str(), &key.selector, &kind, &state, &what];
                columns.map(str::to_owned)
            }));
            continue;
        }
        print_line(&format!("{word:<5} {name} ({}, {}): {what}", show::kind(key), key.state));
        for warning in warnings {
            print_line(&format!("warn  {name}: {warning}"));
        }
    }
    if how.is_json() {
        how.table(["RESULT", "DOMAIN", "SELECTOR", "KIND", "STATE", "WHAT"], &rows);
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What an answer means for a key in its state.
fn judge(key: &Key, found: &Lookup<gatepost::dkim::Finding>) -> (&'static str, String) {
    let (domain, selector) = (&key.domain, &key.selector);
    let finding = match found {
        Lookup::Found(finding) => finding,
        Lookup::None => return ("fail", "DNS says nothing".to_owned()),
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
            let last = match key.dns {
                DnsAnswer::Unknown => "it was never asked before".to_owned(),
                answer => format!("its last answer counts: {answer}, {}", show::day(key.dns_at)),
            };
            return ("fail", format!("DNS cannot say: {why}; {last}"));
        }
    };
    let gone = finding.answer == DnsAnswer::Missing;
    match (key.state, finding.is_shown()) {
        (KeyState::New | KeyState::Published, true) => {
            ("ok", format!("DNS shows it; it may sign: gatepost dkim activate {domain} {selector}"))
        }
        (_, true) if expired(key) => (
            "warn",
            format!("DNS still shows it; the record may go, then: gatepost dkim remove {domain} {selector}"),
        ),
        (_, true) => ("ok", "DNS shows it".to_owned()),
        (KeyState::New | KeyState::Published, false) if gone => {
            ("wait", format!("DNS has no record yet: gatepost dkim dns {domain} {selector}"))
        }
        (KeyState::Active, false) => (
            "fail",
            format!(
                "{}; mail of {domain} is not signed with it: gatepost dkim dns {domain} {selector}",
                finding.detail
            ),
        ),
        (KeyState::Retired | KeyState::Removed, false) if expired(key) => {
            ("ok", format!("its record is gone: gatepost dkim remove {domain} {selector}"))
        }
        (KeyState::Retired | KeyState::Removed, false) => {
            ("warn", format!("{}; mail under way can no longer be verified", finding.detail))
        }
        (_, false) => ("fail", format!("{}: gatepost dkim dns {domain} {selector}", finding.detail)),
    }
}

/// Retired long enough ago.
fn expired(key: &Key) -> bool {
    key.state == KeyState::Retired
        && key.retired_at.is_some_and(|at| OffsetDateTime::now_utc() - at >= KEEP_RETIRED)
}
