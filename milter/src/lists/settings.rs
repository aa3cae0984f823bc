//! `[milter.lists]`: which lists in DNS are asked, and how much.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::PathBuf;

use gatepost::config::{ConfigError, Secret, nearest, read_secret_file};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::plan::Limits;
use super::presets::{self, LISTS, List};

/// `[milter.lists]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Whether any list is asked.
    pub enabled: bool,
    /// Lists that are asked besides those that are asked by default.
    pub on: Vec<Named>,
    /// Lists that are not asked although they are by default.
    pub off: Vec<Named>,
    /// About how many sites of one message each list is asked.
    pub names: usize,
    /// How many questions about one message a single list is asked at most, where that is not to be what `names` comes to.
    pub questions: BTreeMap<Named, usize>,
    /// A file with the key for Spamhaus's Data Query Service, for those who send more questions than its public servers take.
    pub spamhaus_key_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            on: Vec::new(),
            off: Vec::new(),
            names: 20,
            questions: BTreeMap::new(),
            spamhaus_key_file: None,
        }
    }
}

/// The name of a list, refused at its own place when there is none of that name.
#[derive(Clone, Copy, Debug)]
pub struct Named(pub &'static List);

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Named {}

impl PartialOrd for Named {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Named {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.name.cmp(other.0.name)
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if let Some(list) = presets::find(&name) {
            return Ok(Self(list));
        }
        let advice = match nearest(&name, LISTS.iter().map(|list| list.name)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => {
                format!(
                    "expected one of {}",
                    LISTS.iter().map(|list| list.name).collect::<Vec<_>>().join(", ")
                )
            }
        };
        Err(D::Error::custom(format!("unknown list \"{name}\"; {advice}")))
    }
}

impl Settings {
    /// What is wrong with it.
    ///
    /// # Errors
    /// A list that is on and off, or a number beyond sense.
    pub fn validate(&self) -> Result<(), String> {
        if let Some(both) = self.on.iter().find(|on| self.off.iter().any(|off| off.0.name == on.0.name)) {
            return Err(format!("`lists.on` and `lists.off` both name {}", both.0.name));
        }
        if self.names == 0 || self.names > MOST_NAMES {
            return Err(format!("`lists.names` must be 1 to {MOST_NAMES}"));
        }
        if let Some((list, _)) = self.questions.iter().find(|(_, most)| **most == 0) {
            let name = list.0.name;
            return Err(format!(
                "`lists.questions.{name}` must be 1 or more; `lists.off` has it asked nothing"
            ));
        }
        Ok(())
    }

    /// The lists that are asked.
    pub fn lists(&self) -> Vec<&'static List> {
        let named = |named: &[Named], list: &List| named.iter().any(|one| one.0.name == list.name);
        LISTS
            .iter()
            .copied()
            .filter(|list| {
                self.enabled && (list.by_default || named(&self.on, list)) && !named(&self.off, list)
            })
            .collect()
    }

    /// How much is asked.
    pub fn limits(&self) -> Limits {
        Limits { names: self.names }
    }

    /// How many questions about one message each of these lists is asked at most.
    pub fn most(&self, lists: &[&'static List]) -> Vec<usize> {
        lists.iter().map(|list| self.questions.get(&Named(list)).copied().unwrap_or(usize::MAX)).collect()
    }

    /// The key, from its file.
    ///
    /// # Errors
    /// The file cannot be read, others may read it, or what stands there is no label of DNS.
    pub fn key(&self) -> Result<Option<Secret>, ConfigError> {
        let Some(path) = &self.spamhaus_key_file else { return Ok(None) };
        let key = Secret::new(read_secret_file(path)?.expose().trim().to_owned());
        let label = key.expose();
        if (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(Some(key));
        }
        Err(ConfigError::Contradiction {
            path: path.clone(),
            section: "milter",
            message: "`lists.spamhaus-key-file`: the first line must be the key alone, letters and digits"
                .to_owned(),
        })
    }
}

/// Each is a question to every list of sites.
const MOST_NAMES: usize = 100;
