//! How full mailboxes are: `gatepost.quota`, which the auth daemon keeps as Dovecot's quota_clone tells it.

use super::Store;
use crate::directory::Lookup;
use crate::mail::Address;

/// How full one mailbox is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes in it.
    pub bytes: u64,
    /// Messages in it.
    pub messages: u64,
    /// How many bytes it may hold; `None` where nobody said.
    pub limit_bytes: Option<u64>,
    /// How many messages it may hold; `None` where nobody said.
    pub limit_messages: Option<u64>,
}

impl Store {
    /// How full a mailbox is; none where Dovecot never said.
    pub async fn quota(&self, login: &Address) -> Lookup<Quota> {
        let database = &self.0.database;
        let query =
            sqlx::query_as::<_, (i64, i64, Option<i64>, Option<i64>)>(include_str!("queries/quota.sql"))
                .bind(login.to_string());
        let answer = database.ask(query.fetch_optional(database.pool())).await;
        let size = |number: i64| u64::try_from(number).unwrap_or_default();
        Lookup::from(answer).map(|(bytes, messages, limit_bytes, limit_messages)| Quota {
            bytes: size(bytes),
            messages: size(messages),
            limit_bytes: limit_bytes.map(size),
            limit_messages: limit_messages.map(size),
        })
    }

    /// Takes down how full a mailbox is: set where a number is given, then changed by the steps.
    pub async fn set_quota(
        &self,
        login: &Address,
        bytes: Option<i64>,
        messages: Option<i64>,
        steps: (i64, i64),
    ) -> Lookup<()> {
        let database = &self.0.database;
        let query = sqlx::query(include_str!("queries/set_quota.sql"))
            .bind(login.to_string())
            .bind(bytes)
            .bind(messages)
            .bind(steps.0)
            .bind(steps.1);
        Lookup::from(database.ask(query.execute(database.pool())).await.map(|_| Some(())))
    }
}
