//! Rspamd's setup: module `dkim_signing` (its documentation, "DKIM signing module"), as the tutorial and others configure it.
//!
//! ```text
//! path = "/var/lib/rspamd/dkim/$domain.$selector.key";       the key file
//! selector_map = "/etc/rspamd/dkim_selectors.map";           example.com 20260120
//! path_map = "/etc/rspamd/dkim_paths.map";                   example.com /etc/keys/$domain.$selector.key
//! domain { example.com { path = …; selector = …; selectors [ { path: …; selector: … } ] } }
//! key_table, signing_table                                   as OpenDKIM's
//! ```
//!
//! A domain's own section counts first, then the maps, then `selector` and `path` (with `try_fallback`), for every hosted domain whose
//! key file exists. Keys in Redis or Vault, and maps behind URLs, are left out. Macros (`.include`) are not followed.

use std::path::{Path, PathBuf};

use super::tables::{self, Entry, Place};
use super::ucl::{self, Member, Object, Value};
use super::{ImportError, Plan, Source, at, cut, opendkim, read_text};
use crate::mail::Domain;

/// Reads the setup at `path`: Rspamd's configuration directory, one module file, or a map of selectors alone (`*.map`).
///
/// # Errors
/// A file that cannot be read or understood.
pub fn read(path: &Path, hosted: &[Domain]) -> Result<Plan, ImportError> {
    let mut setup = Setup::default();
    if path.extension().is_some_and(|extension| extension == "map") {
        setup.selectors = tables::read(path)?;
        return Ok(setup.plan(hosted));
    }
    let files: Vec<PathBuf> = if path.is_dir() {
        ["local.d/dkim_signing.conf", "override.d/dkim_signing.conf"]
            .iter()
            .map(|name| path.join(name))
            .filter(|file| file.exists())
            .collect()
    } else {
        vec![path.to_owned()]
    };
    if files.is_empty() {
        return Err(ImportError {
            origin: path.display().to_string(),
            message: "no local.d/dkim_signing.conf and no override.d/dkim_signing.conf there; name Rspamd's directory, the file, or the map of selectors"
                .to_owned(),
        });
    }
    for file in files {
        setup.merge(&file)?;
    }
    setup.resolve()?;
    Ok(setup.plan(hosted))
}

/// What the module is told; later files count more.
#[derive(Default)]
struct Setup {
    /// The entries that count, each with its file.
    members: Vec<(Member, PathBuf)>,
    path: Option<String>,
    selector: Option<String>,
    selectors: Vec<Entry>,
    paths: Vec<Entry>,
    domains: Vec<(Entry, Object)>,
    key_table: Vec<Entry>,
    signing_table: Vec<Entry>,
    no_fallback: bool,
    plan: Plan,
}

impl Setup {
    /// Takes a file's entries; those of earlier files with the same key count no more, but for sections of domains.
    fn merge(&mut self, file: &Path) -> Result<(), ImportError> {
        let text = read_text(file)?;
        let object = ucl::parse(&text, file)?;
        for line in &object.macros {
            self.plan.leave(
                at(file, *line),
                "a macro (.include) is not followed; import what it includes by itself",
            );
        }
        for member in object.entries {
            if member.key != "domain" {
                self.members.retain(|(known, _)| known.key != member.key);
            }
            self.members.push((member, file.to_owned()));
        }
        Ok(())
    }

    /// Reads what the entries name.
    fn resolve(&mut self) -> Result<(), ImportError> {
        for (member, file) in std::mem::take(&mut self.members) {
            let origin = at(&file, member.line);
            let text = || {
                member.value.text().map(str::to_owned).ok_or_else(|| ImportError {
                    origin: origin.clone(),
                    message: format!("{} is no text", member.key),
                })
            };
            match member.key.as_str() {
                "enabled" if is_off(&member) => self
                    .plan
                    .leave(origin, "signing is switched off here (enabled = false); read all the same"),
                "path" => self.path = Some(text()?),
                "selector" => self.selector = Some(text()?),
                "selector_map" => self.selectors = self.map(&member, &origin)?,
                "path_map" => self.paths = self.map(&member, &origin)?,
                "key_table" => self.key_table = self.map(&member, &origin)?,
                "signing_table" => self.signing_table = self.map(&member, &origin)?,
                "try_fallback" => self.no_fallback = is_off(&member),
                "domain" => self.take_domains(&member, &file)?,
                "use_redis" | "use_vault" if !is_off(&member) => {
                    self.plan.leave(origin, format!("{}: keys that are not in files; import them one by one with `gatepost dkim import pem`", member.key));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn take_domains(&mut self, member: &Member, file: &Path) -> Result<(), ImportError> {
        let Value::Object(domains) = &member.value else {
            let message = "domain is no section; expected domain { example.com { … } }".to_owned();
            return Err(ImportError { origin: at(file, member.line), message });
        };
        for domain in &domains.entries {
            let origin = at(file, domain.line);
            match &domain.value {
                Value::Object(object) => {
                    let entry = Entry { key: domain.key.clone(), value: String::new(), origin };
                    self.domains.push((entry, object.clone()));
                }
                _ => {
                    let message = format!(
                        "{} is no section; expected {0} {{ selector = …; path = …; }}",
                        cut(&domain.key)
                    );
                    return Err(ImportError { origin, message });
                }
            }
        }
        Ok(())
    }

    /// A map: the place of a file, or its lines as an array.
    fn map(&mut self, member: &Member, origin: &str) -> Result<Vec<Entry>, ImportError> {
        match &member.value {
            Value::Array(lines) => Ok(lines
                .iter()
                .filter_map(Value::text)
                .filter_map(|line| tables::entry(line, origin.to_owned()))
                .collect()),
            Value::Text(text) => match tables::place(text) {
                Place::File(path) => tables::read(&path).map_err(|error| ImportError {
                    message: format!("{} (named by {origin})", error.message),
                    ..error
                }),
                Place::List(line) => Ok(tables::entry(&line, origin.to_owned()).into_iter().collect()),
                Place::Elsewhere => {
                    self.plan.leave(
                        origin.to_owned(),
                        format!("{} is at \"{}\"; expected a file", member.key, cut(text)),
                    );
                    Ok(Vec::new())
                }
            },
            Value::Object(_) => {
                let message = format!("{} is a section; expected a file or an array of lines", member.key);
                Err(ImportError { origin: origin.to_owned(), message })
            }
        }
    }

    fn plan(mut self, hosted: &[Domain]) -> Plan {
        let mut plan = std::mem::take(&mut self.plan);
        if !self.key_table.is_empty() || !self.signing_table.is_empty() {
            opendkim::plan_tables(&self.key_table, &self.signing_table, hosted, &mut plan);
        }
        let named = self.domains.iter().map(|(entry, _)| entry).chain(&self.selectors).chain(&self.paths);
        let mut domains: Vec<(String, String, bool)> = Vec::new();
        for entry in named {
            let name = folded(&entry.key);
            if !domains.iter().any(|(known, _, _)| *known == name) {
                domains.push((name, entry.origin.clone(), true));
            }
        }
        // Where the fallback is in use, every domain that has a key file signs.
        if !self.no_fallback && self.key_table.is_empty() {
            for domain in hosted {
                if !domains.iter().any(|(known, _, _)| known == domain.as_str()) {
                    domains.push((domain.to_string(), self.template().to_owned(), false));
                }
            }
        }
        for (domain, origin, named) in domains {
            self.plan_domain(&domain, &origin, named, &mut plan);
        }
        plan
    }

    fn plan_domain(&self, domain: &str, origin: &str, named: bool, plan: &mut Plan) {
        let section = self
            .domains
            .iter()
            .rev()
            .find(|(entry, _)| folded(&entry.key) == domain)
            .map(|(_, object)| object);
        let mapped = |map: &[Entry]| {
            map.iter().rev().find(|entry| folded(&entry.key) == domain).map(|entry| entry.value.clone())
        };
        let text = |object: &Object, key: &str| {
            object.get(key).and_then(|member| member.value.text()).map(str::to_owned)
        };
        let selector = section
            .and_then(|object| text(object, "selector"))
            .or_else(|| mapped(&self.selectors))
            .or_else(|| self.selector.clone())
            .unwrap_or_else(|| DEFAULT_SELECTOR.to_owned());
        let path = section
            .and_then(|object| text(object, "path"))
            .or_else(|| mapped(&self.paths))
            .unwrap_or_else(|| self.template().to_owned());
        let mut pairs = vec![(selector.clone(), path.clone())];
        if let Some(Value::Array(several)) =
            section.and_then(|object| object.get("selectors")).map(|member| &member.value)
        {
            pairs = several
                .iter()
                .filter_map(|one| match one {
                    Value::Object(one) => Some((
                        text(one, "selector").unwrap_or_else(|| selector.clone()),
                        text(one, "path").unwrap_or_else(|| path.clone()),
                    )),
                    _ => None,
                })
                .collect();
        }
        for (selector, path) in pairs {
            let file = PathBuf::from(path.replace("$domain", domain).replace("$selector", &selector));
            if !named && !file.exists() {
                plan.leave(domain.to_owned(), format!("no key file {}", file.display()));
                continue;
            }
            plan.add(domain, &selector, Source::File(file), origin.to_owned());
        }
    }

    fn template(&self) -> &str {
        self.path.as_deref().unwrap_or(DEFAULT_PATH)
    }
}

/// A domain as it is compared.
fn folded(name: &str) -> String {
    Domain::parse(name).map_or_else(|_| name.to_ascii_lowercase(), |domain| domain.to_string())
}

fn is_off(member: &Member) -> bool {
    member
        .value
        .text()
        .is_some_and(|text| matches!(text.to_ascii_lowercase().as_str(), "false" | "no" | "off"))
}

/// The module's defaults.
const DEFAULT_SELECTOR: &str = "dkim";
const DEFAULT_PATH: &str = "/var/lib/rspamd/dkim/$domain.$selector.key";
