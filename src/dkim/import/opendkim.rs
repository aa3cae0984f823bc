//! OpenDKIM's setup: `opendkim.conf` with `Domain`, `Selector` and `KeyFile`, or with `KeyTable` and `SigningTable` (opendkim.conf(5)).
//!
//! ```text
//! SigningTable  refile:/etc/opendkim/signing.table     *@example.com   main
//! KeyTable      /etc/opendkim/key.table                main            example.com:20260120:/etc/opendkim/keys/main.private
//! ```
//!
//! In a key table's value, `%` as the domain, or within the path, is the sender's domain: it stands for every domain that the signing
//! table's pattern names or, where the pattern has a wildcard there, for every hosted domain that fits and whose key file exists. Data
//! sets in databases (`db:`, `dsn:`, `ldap:`, `lua:`…) are left out.

use std::path::{Path, PathBuf};

use super::tables::{self, Entry, Place};
use super::{ImportError, Plan, Source, at, cut, read_text};
use crate::config::Secret;
use crate::mail::Domain;

/// Reads `opendkim.conf` and what it names. `hosted` are the domains of this server, for wildcards.
///
/// # Errors
/// A file that cannot be read or understood.
pub fn read(conf: &Path, hosted: &[Domain]) -> Result<Plan, ImportError> {
    let text = read_text(conf)?;
    let parameters = parameters(&text, conf)?;
    let get = |name: &str| parameters.iter().rev().find(|one| one.key.eq_ignore_ascii_case(name));
    let mut plan = Plan::default();
    if let Some(table) = get("KeyTable") {
        let keys = data_set(table, &mut plan)?;
        match get("SigningTable") {
            Some(signing) => {
                let signing = data_set(signing, &mut plan)?;
                plan_tables(&keys, &signing, hosted, &mut plan);
            }
            None => plan.leave(table.origin.clone(), "a KeyTable without a SigningTable signs nothing"),
        }
        return Ok(plan);
    }
    let (Some(domain), Some(selector), Some(file)) = (get("Domain"), get("Selector"), get("KeyFile")) else {
        return Err(ImportError {
            origin: conf.display().to_string(),
            message: "signs nothing; expected KeyTable and SigningTable, or Domain, Selector and KeyFile"
                .to_owned(),
        });
    };
    for one in data_set(domain, &mut plan)? {
        plan.add(&one.key, &selector.value, Source::File(PathBuf::from(&file.value)), one.origin);
    }
    Ok(plan)
}

/// `Parameter value` on each line.
fn parameters(text: &str, conf: &Path) -> Result<Vec<Entry>, ImportError> {
    let mut parameters = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let origin = at(conf, number);
        let Some((key, value)) = line.split_once(char::is_whitespace) else {
            let message = format!("\"{}\" has no value; expected \"Parameter value\"", cut(line));
            return Err(ImportError { origin, message });
        };
        parameters.push(Entry { key: key.to_owned(), value: value.trim().to_owned(), origin });
    }
    Ok(parameters)
}

/// The entries of the data set that a parameter names.
fn data_set(parameter: &Entry, plan: &mut Plan) -> Result<Vec<Entry>, ImportError> {
    match tables::place(&parameter.value) {
        Place::File(path) => tables::read(&path).map_err(|error| ImportError {
            message: format!("{} (named by {})", error.message, parameter.origin),
            ..error
        }),
        Place::List(list) => Ok(list
            .split(',')
            .map(|item| item.trim().split_once('=').unwrap_or((item.trim(), "")))
            .filter(|(key, _)| !key.is_empty())
            .map(|(key, value)| Entry {
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
                origin: parameter.origin.clone(),
            })
            .collect()),
        Place::Elsewhere => {
            let why = format!(
                "{} is in \"{}\"; expected a file or a list. Import its keys one by one with `gatepost dkim import pem`",
                parameter.key,
                cut(&parameter.value)
            );
            plan.leave(parameter.origin.clone(), why);
            Ok(Vec::new())
        }
    }
}

/// Plans the keys that the signing table uses; for Rspamd's tables of the same form too.
pub(super) fn plan_tables(keys: &[Entry], signing: &[Entry], hosted: &[Domain], plan: &mut Plan) {
    for line in signing {
        // The second field, if there is one, is the signer's identity (i=).
        let Some(name) = line.value.split_whitespace().next() else {
            plan.leave(line.origin.clone(), format!("\"{}\" names no key", cut(&line.key)));
            continue;
        };
        let name_of = |domain: &str| name.replace('%', domain);
        let domains = domains_of(&line.key, hosted);
        if domains.is_empty() {
            plan.leave(line.origin.clone(), format!("no hosted domain fits \"{}\"", cut(&line.key)));
        }
        for domain in domains {
            let Some(key) = keys.iter().find(|key| key.key == name_of(&domain.name)) else {
                plan.leave(
                    line.origin.clone(),
                    format!("the key table has no key \"{}\"", cut(&name_of(&domain.name))),
                );
                continue;
            };
            plan_key(key, &domain, plan);
        }
    }
    for key in keys {
        let used = signing.iter().any(|line| {
            line.value.split_whitespace().next().is_some_and(|name| name == key.key || name.contains('%'))
        });
        if !used {
            plan.leave(
                key.origin.clone(),
                format!("key \"{}\" is not used by the signing table", cut(&key.key)),
            );
        }
    }
}

/// `domain:selector:key` of the key table, for one sender's domain.
fn plan_key(key: &Entry, sender: &SenderDomain, plan: &mut Plan) {
    let mut fields = key.value.splitn(3, ':');
    let (Some(domain), Some(selector), Some(private)) = (fields.next(), fields.next(), fields.next()) else {
        return plan.leave(key.origin.clone(), "expected domain:selector:key");
    };
    let domain = if domain.trim() == "%" { sender.name.as_str() } else { domain.trim() };
    let private = private.trim();
    let source = if private.starts_with('/') || private.starts_with("./") || private.starts_with("../") {
        let path = PathBuf::from(private.replace('%', &sender.name));
        if sender.by_wildcard && private.contains('%') && !path.exists() {
            return plan
                .leave(key.origin.clone(), format!("{}: no key file {}", sender.name, path.display()));
        }
        Source::File(path)
    } else {
        // PEM in one line: OpenDKIM takes its line breaks as spaces or `\n`.
        Source::Text(Secret::new(unfolded(private)))
    };
    plan.add(domain, selector.trim(), source, key.origin.clone());
}

/// A key that stands in the table itself, with its lines.
fn unfolded(text: &str) -> String {
    let text = text.replace("\\n", "\n");
    match (text.find("KEY-----"), text.rfind("-----END")) {
        (Some(begin), Some(end)) if begin + 8 < end => {
            let (head, rest) = text.split_at(begin + 8);
            let (body, tail) = rest.split_at(end - begin - 8);
            let body: String = body.split_whitespace().map(|line| format!("{line}\n")).collect();
            format!("{head}\n{body}{tail}\n")
        }
        _ => text,
    }
}

/// A domain that signs, and whether a wildcard stood for it.
struct SenderDomain {
    name: String,
    by_wildcard: bool,
}

/// The domains that a pattern of the signing table names: `*@example.com`, `user@example.com`, `example.com`, `.example.com`, `*`.
fn domains_of(pattern: &str, hosted: &[Domain]) -> Vec<SenderDomain> {
    let domain = pattern.rsplit_once('@').map_or(pattern, |(_, domain)| domain).to_ascii_lowercase();
    if !domain.contains('*') && !domain.starts_with('.') && !domain.is_empty() {
        return vec![SenderDomain { name: domain, by_wildcard: false }];
    }
    let fits = |name: &str| match domain.strip_prefix('.') {
        Some(parent) => name.ends_with(&format!(".{parent}")),
        None => glob(&domain, name),
    };
    hosted
        .iter()
        .filter(|name| fits(name.as_str()))
        .map(|name| SenderDomain { name: name.to_string(), by_wildcard: true })
        .collect()
}

/// Whether a text fits a pattern whose only wildcard is `*`. Linear in both: each `*` takes the first place that fits.
fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("*", "example.com", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "example.com", false),
            ("ex*le.*", "example.com", true),
            ("ex*le.*m*", "example.com", true),
            ("example.com", "example.com", true),
            ("example.com", "example.com.x", false),
            ("*a*a", "a", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_key_in_one_line_gets_its_lines_back() {
        let text = unfolded("-----BEGIN PRIVATE KEY----- AAAA BBBB -----END PRIVATE KEY-----");
        assert_eq!(text, "-----BEGIN PRIVATE KEY-----\nAAAA\nBBBB\n-----END PRIVATE KEY-----\n");
        assert_eq!(unfolded("bm90aGluZw=="), "bm90aGluZw==");
    }
}
