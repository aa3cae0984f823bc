//! The tutorial's tables: users who can never log in or be reached, aliases that hide behind mailboxes, domains without postmaster.

use std::collections::BTreeSet;

use gatepost::mail::Domain;
use gatepost::password::StoredHash;

use super::facts::tables::{Tables, folded};
use super::report::Report;

/// Mailboxes: spelled once, reachable, with a hash that verifies.
pub(super) fn users(tables: &Tables, report: &mut Report) {
    let Tables { domains, users, aliases, .. } = tables;
    report.ok(&format!("{} domains, {} users, {} aliases", domains.len(), users.len(), aliases.len()));
    let mut mailboxes = BTreeSet::new();
    for (local, domain, hash) in users {
        let spelled = format!("{local}@{domain}");
        match folded(local, domain) {
            Ok(address) if !mailboxes.insert(address.clone()) => report.fail(&format!(
                "{spelled} is there twice, spelled differently; the folded one ({address}) gets all mail"
            )),
            Ok(_) => {}
            Err(reason) => {
                report.fail(&format!("user {} can never be reached: {reason}", spelled.escape_debug()));
            }
        }
        match hash.clone().map(StoredHash::parse).map(|hash| (hash.scheme(), hash.cost())) {
            None => report.warn(&format!("{spelled} has no password: it receives and never logs in; `gatepost user password {spelled}`")),
            Some((None, _)) => report.fail(&format!("{spelled} has a hash of an unknown scheme: it never logs in; `gatepost user password {spelled}`")),
            Some((_, Err(reason))) => report.fail(&format!("{spelled} never logs in: {reason}; `gatepost user password {spelled}`")),
            Some((Some(scheme), Ok(_))) if scheme.weak => report.warn(&format!("{spelled} has a {scheme} hash, which is weak: it logs in only if `weak-schemes` in [dovecot-auth] names {scheme}; `gatepost user password {spelled}`")),
            Some(_) => {}
        }
    }
}

/// Aliases that lead nowhere, because a mailbox of that name is there or nobody can write the name.
pub(super) fn aliases(tables: &Tables, report: &mut Report) {
    let mailboxes = tables.mailboxes();
    for (local, domain) in &tables.aliases {
        match folded(local, domain) {
            Ok(address) if mailboxes.contains(&address) => report.warn(&format!("alias {address} is also a mailbox; the mailbox wins, the alias leads nowhere; remove one of them")),
            Ok(_) => {}
            Err(reason) => report.fail(&format!("alias {}@{} can never be reached: {reason}", local.escape_debug(), domain.escape_debug())),
        }
    }
    for address in &tables.shared_to_self {
        report.warn(&format!("{address} is shared to itself; `gatepost share remove {address} {address}`"));
    }
}

/// Domains that can be reached, and whose postmaster can (RFC 5321, 4.5.1).
pub(super) fn domains(tables: &Tables, report: &mut Report) {
    let mut postmasters: BTreeSet<Domain> = tables.postmasters.clone();
    let mailboxes = tables.mailboxes();
    let aliases = tables.aliases.iter().filter_map(|(local, domain)| folded(local, domain).ok());
    let here = mailboxes.into_iter().chain(aliases).filter(|address| address.local() == "postmaster");
    postmasters.extend(here.map(|address| address.domain().clone()));
    for name in &tables.domains {
        match Domain::parse(name) {
            Ok(domain) if !postmasters.contains(&domain) => report.warn(&format!("{name} has no postmaster (RFC 5321 §4.5.1); `gatepost alias add postmaster@{name} SOMEBODY@…`")),
            Ok(_) => {}
            Err(reason) => report.fail(&format!("domain {} is left out: {reason}", name.escape_debug())),
        }
    }
}
