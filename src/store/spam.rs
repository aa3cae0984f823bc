//! What the milter reads for every message from outside: `gatepost.settings` and `gatepost.access_rules`, each whole and kept whole.
//!
//! A row that cannot be understood is left out, with a warning in the log when the list is read: one slip of a hand must not undo all other
//! rows, nor stop the mail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Store;
use crate::directory::Lookup;
use crate::spam::{Kind, ListRule, Lists, Scope, Settings, Wish};

type Row = (String, String, String, String, bool, Option<f64>, Option<String>, Option<f64>);

impl Store {
    /// What is set for whom; empty where nothing is.
    pub async fn spam_settings(&self) -> Lookup<Arc<Settings>> {
        let database = &self.0.database;
        let question = async {
            let query = sqlx::query_as::<_, (String, String, String)>(include_str!("queries/settings.sql"))
                .bind(MAX_ROWS);
            let mut settings = Settings::default();
            for (scope, name, value) in database.ask(query.fetch_all(database.pool())).await? {
                let added = Scope::parse(&scope).and_then(|parsed| settings.add(parsed, &name, &value));
                if let Err(why) = added {
                    tracing::warn!(scope, name, %why, "a row of gatepost.settings counts for nothing");
                }
            }
            Ok(Some(Arc::new(settings)))
        };
        self.0.spam_settings.ask((), question).await
    }

    /// Whom the operator lets in, keeps out, or judges otherwise; empty where nobody.
    pub async fn spam_lists(&self) -> Lookup<Arc<Lists>> {
        let database = &self.0.database;
        let question = async {
            let query = sqlx::query_as::<_, Row>(include_str!("queries/list_rules.sql")).bind(MAX_ROWS);
            let mut lists = Lists::default();
            for row in database.ask(query.fetch_all(database.pool())).await? {
                let (kind, value) = (row.0.clone(), row.1.clone());
                if let Err(why) = rule(row).and_then(|rule| lists.add(rule)) {
                    tracing::warn!(kind, value, %why, "a row of gatepost.access_rules counts for nothing");
                }
            }
            Ok(Some(Arc::new(lists)))
        };
        self.0.spam_lists.ask((), question).await
    }
}

fn rule(row: Row) -> Result<ListRule, String> {
    let (kind, value, scope, action, authenticated, points, tag, left) = row;
    let kind = match kind.as_str() {
        "address" => Kind::Address,
        "domain" => Kind::Domain,
        "network" => Kind::Network,
        "helo" => Kind::Helo,
        "recipient" => Kind::Recipient,
        "verified" => Kind::Verified,
        "url" => Kind::Url,
        "attachment" => Kind::Attachment,
        "header" => Kind::Header,
        other => return Err(format!("unknown kind {other}")),
    };
    let wish = match (action.as_str(), points, tag) {
        ("allow", ..) => Wish::Allow,
        ("deny", ..) => Wish::Deny,
        ("defer", ..) => Wish::Defer,
        ("score", Some(points), _) => Wish::Score(points),
        ("tag", _, Some(tag)) => Wish::Tag(tag),
        (other, ..) => return Err(format!("unknown action {other}")),
    };
    let until = left.map(|left| Instant::now() + Duration::try_from_secs_f64(left).unwrap_or_default());
    Ok(ListRule { kind, value, scope: Scope::parse(&scope)?, wish, authenticated, until })
}

/// As many rows as the lists take; the table of settings is as long only where every mailbox of a large host has some.
const MAX_ROWS: i64 = 100_000;
