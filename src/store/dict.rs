//! Keys and values of Dovecot's dictionaries: `gatepost.dict_values`. Not cached: they are written about as often as they are read.
//!
//! Keys under `priv/` belong to a user, their owner; keys under `shared/` to nobody, whose name is empty. Whoever asks has checked that the
//! user may. Bounded: keys of a writer, rows of an answer.

use super::Store;
use crate::directory::Lookup;

/// One change of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DictChange {
    /// The user of a key under `priv/`, else empty.
    pub owner: String,
    /// The key, whole.
    pub key: String,
    /// What becomes of it.
    pub what: DictOutcome,
}

/// What becomes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DictOutcome {
    /// It has this value.
    Set(String),
    /// It is gone.
    Unset,
    /// The number that it is grows by this.
    Add(i64),
}

impl Store {
    /// The value of a key.
    pub async fn dict_value(&self, dict: &str, owner: &str, key: &str) -> Lookup<String> {
        let database = &self.0.database;
        let query = sqlx::query_scalar::<_, String>(include_str!("queries/dict_value.sql"))
            .bind(dict)
            .bind(owner)
            .bind(key);
        database.ask(query.fetch_optional(database.pool())).await.into()
    }

    /// The keys below a path that ends with `/`, or the one key that it is, in order.
    pub async fn dict_rows(&self, dict: &str, owner: &str, path: &str) -> Lookup<Vec<(String, String)>> {
        let end = match path.strip_suffix('/') {
            // The character behind `/`.
            Some(folder) => format!("{folder}0"),
            None => format!("{path}\u{1}"),
        };
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (String, String)>(include_str!("queries/dict_rows.sql"))
            .bind(dict)
            .bind(owner)
            .bind(path)
            .bind(end)
            .bind(MOST_ROWS + 1);
        let rows = database.ask(query.fetch_all(database.pool())).await;
        if rows.as_ref().is_ok_and(|rows| rows.len() as i64 > MOST_ROWS) {
            return Lookup::Misconfigured(format!("more than {MOST_ROWS} keys below one path of {dict}"));
        }
        Lookup::from(rows.map(Some))
    }

    /// Carries a transaction out, whole or not at all; its values count for so many seconds, for ever if `None`. [`Lookup::None`] if a number
    /// was to grow that is not there.
    pub async fn change_dict(
        &self,
        dict: &str,
        writer: &str,
        expires: Option<u32>,
        mut changes: Vec<DictChange>,
    ) -> Lookup<()> {
        // Two transactions that touch the same keys lock them in the same order; changes of one key stay in theirs.
        changes.sort_by(|a, b| (&a.owner, &a.key).cmp(&(&b.owner, &b.key)));
        let (mut owners, mut keys, mut values, mut steps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for DictChange { owner, key, what } in changes {
            let (value, step) = match what {
                DictOutcome::Set(value) => (Some(value), None),
                DictOutcome::Unset => (None, None),
                DictOutcome::Add(step) => (None, Some(step)),
            };
            owners.push(owner);
            keys.push(key);
            values.push(value);
            steps.push(step);
        }
        let database = &self.0.database;
        let query = sqlx::query_scalar::<_, String>(include_str!("queries/change_dict.sql"))
            .bind(dict)
            .bind(writer)
            .bind(expires.map(f64::from))
            .bind(owners)
            .bind(keys)
            .bind(values)
            .bind(steps)
            .bind(MOST_KEYS);
        match Lookup::from(database.ask(query.fetch_optional(database.pool())).await) {
            Lookup::Found(word) => match word.as_str() {
                "done" => Lookup::Found(()),
                "missing" => Lookup::None,
                _ => Lookup::Misconfigured(format!("{writer} has {MOST_KEYS} keys in {dict} already")),
            },
            other => other.map(|_| ()),
        }
    }
}

/// A user with as many annotations, an entry each for a thousand mailboxes, is none that anybody has seen.
const MOST_KEYS: i32 = 10_000;
/// The keys of one writer, and of those who share with him.
const MOST_ROWS: i64 = 20_000;
