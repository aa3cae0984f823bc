//! The short tables of schema `gatepost` that say more about addresses than the tutorial's: held whole, read in one round trip.
//!
//! Where the schema is not installed they are empty, and nothing is missing. A row that says nothing (written by hand, as the tool refuses
//! it) is left out, with a warning once per reading; where it would have said that a domain or an address is there, nobody can say that it is not.

use std::collections::HashMap;
use std::sync::Arc;

use super::access::{AccessAction, AccessPattern, AccessRules, Subject};
use super::hosted::{Hosted, Recipients, Transport};
use super::lookup::Lookup;
use super::pattern::{AliasPattern, PatternKind};
use super::scope::Scope;
use crate::database::{Database, NO_SCHEMA, Trouble};
use crate::mail::{Address, Domain};

/// All of them.
#[derive(Debug, Default)]
pub struct Rules {
    /// Whether schema `gatepost` has these tables.
    pub(super) installed: bool,
    hosted: HashMap<Domain, Hosted>,
    patterns: HashMap<Domain, Vec<AliasPattern>>,
    catch_alls: HashMap<Domain, Vec<Address>>,
    send_as: HashMap<Scope, Vec<Address>>,
    access: AccessRules,
    sender_bcc: HashMap<Scope, Address>,
    recipient_bcc: HashMap<Scope, Address>,
    transports: HashMap<Scope, Transport>,
    /// Rows that were left out, by the domain that they are about: whether it is hosted, and who is there, nobody can say then.
    unread_hosted: HashMap<Domain, String>,
    unread_patterns: HashMap<Domain, String>,
}

impl Rules {
    /// The kind of a domain that is not plainly local; `None` where the table has nothing about it.
    pub(super) fn hosted(&self, domain: &Domain) -> Option<Lookup<Hosted>> {
        let unread = || self.unread_hosted.get(domain).cloned().map(Lookup::Misconfigured);
        self.hosted.get(domain).cloned().map(Lookup::Found).or_else(unread)
    }

    /// Why it is not known whether an address of a domain that fits no pattern is there.
    pub(super) fn unread_pattern(&self, domain: &Domain) -> Option<&str> {
        self.unread_patterns.get(domain).map(String::as_str)
    }

    /// The patterns of a domain, in the order in which they are tried.
    pub(super) fn patterns(&self, domain: &Domain) -> &[AliasPattern] {
        self.patterns.get(domain).map(Vec::as_slice).unwrap_or_default()
    }

    /// Where mail for unknown addresses of a domain leads.
    pub(super) fn catch_all(&self, domain: &Domain) -> Option<&[Address]> {
        self.catch_alls.get(domain).map(Vec::as_slice)
    }

    /// The logins that were given the right to send as exactly this address, then those that may as any of its domain.
    pub(super) fn send_as(&self, address: &Address) -> impl Iterator<Item = &Address> {
        let of = |scope| self.send_as.get(&scope).into_iter().flatten();
        of(Scope::Address(address.clone())).chain(of(Scope::Domain(address.domain().clone())))
    }

    /// The access rules.
    pub fn access(&self) -> &AccessRules {
        &self.access
    }

    /// Where mail from this sender is copied to.
    pub fn sender_bcc(&self, address: &Address, delimiters: &str) -> Option<&Address> {
        scoped(&self.sender_bcc, address, delimiters)
    }

    /// Where mail for this recipient is copied to.
    pub fn recipient_bcc(&self, address: &Address, delimiters: &str) -> Option<&Address> {
        scoped(&self.recipient_bcc, address, delimiters)
    }

    /// The transport that was given to an address or its domain.
    pub fn transport(&self, address: &Address, delimiters: &str) -> Option<&Transport> {
        scoped(&self.transports, address, delimiters)
    }

    fn add(&mut self, row: Row) -> Result<(), String> {
        let Row { table, a, b, c, d, e } = row;
        let (b, c, d, e) = (b.unwrap_or_default(), c.as_deref(), d.as_deref(), e.as_deref());
        match table.as_str() {
            "hosted" => {
                let hosted = hosted(&b, c, d, e)?;
                self.hosted.insert(domain(&a)?, hosted);
            }
            "pattern" if b == "catch-all" => {
                let to = address(d.unwrap_or_default())?;
                self.catch_alls.entry(domain(&a)?).or_default().push(to);
            }
            "pattern" => {
                let kind = if b == "regex" { PatternKind::Regex } else { PatternKind::Wildcard };
                let pattern = AliasPattern::new(kind, c.unwrap_or_default(), d.unwrap_or_default())?;
                self.patterns.entry(domain(&a)?).or_default().push(pattern);
            }
            "send-as" => self.send_as.entry(scope(&a)?).or_default().push(address(&b)?),
            "access" => {
                let subject: Subject = a.parse()?;
                let action = AccessAction::new(c.unwrap_or_default().parse()?, d)?;
                self.access.add(subject, AccessPattern::parse(subject, &b)?, action);
            }
            "bcc" => {
                let copies = if a == "sender" { &mut self.sender_bcc } else { &mut self.recipient_bcc };
                copies.insert(scope(&b)?, address(c.unwrap_or_default())?);
            }
            "transport" => {
                self.transports.insert(scope(&a)?, b.parse()?);
            }
            _ => {}
        }
        Ok(())
    }
}

/// What a table has for an address, for the address without its extension, or for its domain.
fn scoped<'a, T>(table: &'a HashMap<Scope, T>, address: &Address, delimiters: &str) -> Option<&'a T> {
    if table.is_empty() {
        return None;
    }
    let stripped = address.strip_extension(delimiters).map(|(base, _)| base);
    std::iter::once(address)
        .chain(stripped.as_ref())
        .find_map(|form| table.get(&Scope::Address(form.clone())))
        .or_else(|| table.get(&Scope::Domain(address.domain().clone())))
}

fn hosted(
    kind: &str,
    next_hop: Option<&str>,
    recipients: Option<&str>,
    target: Option<&str>,
) -> Result<Hosted, String> {
    let recipients = if recipients == Some("listed") { Recipients::Listed } else { Recipients::Any };
    let next_hop = next_hop.map(str::parse).transpose()?;
    match (kind, next_hop, target) {
        ("relay", Some(next_hop), _) => Ok(Hosted::Relay { next_hop, recipients }),
        ("backup", next_hop, _) => Ok(Hosted::Backup { next_hop, recipients }),
        ("alias", _, Some(target)) => domain(target).map(Hosted::Alias),
        _ => Err(format!("a {kind} domain without its next hop or target")),
    }
}

fn domain(text: &str) -> Result<Domain, String> {
    Domain::parse(text).map_err(|reason| format!("{}: {reason}", text.escape_debug()))
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|reason| format!("{}: {reason}", text.escape_debug()))
}

fn scope(text: &str) -> Result<Scope, String> {
    text.parse().map_err(|reason| format!("{}: {reason}", text.escape_debug()))
}

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(rename = "kind")]
    table: String,
    a: String,
    b: Option<String>,
    c: Option<String>,
    d: Option<String>,
    e: Option<String>,
}

/// Reads them.
pub(super) async fn load(database: &Database) -> Result<Option<Arc<Rules>>, Trouble> {
    let rows: Vec<Row> = match database
        .ask(sqlx::query_as(include_str!("queries/rules.sql")).fetch_all(database.pool()))
        .await
    {
        Ok(rows) => rows,
        Err(Trouble::Misconfigured(why)) if why == NO_SCHEMA => return Ok(Some(Arc::default())),
        Err(trouble) => return Err(trouble),
    };
    let mut rules = Rules { installed: true, ..Rules::default() };
    for row in rows {
        let (table, key) = (row.table.clone(), row.a.clone());
        if let Err(reason) = rules.add(row) {
            tracing::warn!(table, key = %key.escape_debug(), %reason, "row of schema gatepost left out");
            let (unread, name) = match table.as_str() {
                "hosted" => (&mut rules.unread_hosted, "hosted_domains"),
                "pattern" => (&mut rules.unread_patterns, "alias_patterns"),
                _ => continue,
            };
            if let Ok(domain) = Domain::parse(&key) {
                unread.insert(
                    domain,
                    format!("gatepost.{name} has a row of {key} that cannot be read: {reason}"),
                );
            }
        }
    }
    Ok(Some(Arc::new(rules)))
}
