//! What Dovecot is told about a user beyond the configuration: `gatepost.user_fields`, `groups`, and how much the mailbox may hold.

use std::sync::Arc;

use super::Store;
use crate::database::{NO_SCHEMA, Trouble};
use crate::directory::{Answer, Lookup};
use crate::mail::Address;

/// One user's own settings; none of them without schema `gatepost`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// userdb fields, their values still templates, by name.
    pub fields: Vec<(String, String)>,
    /// The groups it is in, sorted.
    pub groups: Vec<String>,
    /// How many bytes its mailbox may hold; 0 is no limit, `None` where nobody said.
    pub quota_bytes: Option<u64>,
    /// How many messages; the same.
    pub quota_messages: Option<u64>,
}

impl Store {
    /// A user's own settings, whether there is such a user or not.
    pub async fn account(&self, login: &Address) -> Lookup<Arc<Account>> {
        if let Some(answer) = self.0.accounts.settled(login) {
            return answer;
        }
        let question =
            self.0.accounts_gathered.ask(login.clone(), |logins| Box::pin(self.account_rows(logins)));
        Box::pin(self.0.accounts.ask(login.clone(), question)).await
    }

    async fn account_rows(&self, logins: Vec<Address>) -> Result<Vec<Answer<Arc<Account>>>, Trouble> {
        let database = &self.0.database;
        let domains: Vec<String> = logins.iter().map(|login| format!("@{}", login.domain())).collect();
        let query = sqlx::query_as::<_, (i64, String, String, String)>(include_str!("queries/account.sql"))
            .bind(logins.iter().map(Address::to_string).collect::<Vec<_>>())
            .bind(domains);
        let rows = match database.ask(query.fetch_all(database.pool())).await {
            Ok(rows) => rows,
            // The tutorial's tables alone are enough for logins.
            Err(Trouble::Misconfigured(why)) if why == NO_SCHEMA => Vec::new(),
            Err(trouble) => return Err(trouble),
        };
        let mut accounts: Vec<Account> = logins.iter().map(|_| Account::default()).collect();
        for (number, kind, name, value) in rows {
            let place = usize::try_from(number - 1).ok();
            let Some(account) = place.and_then(|place| accounts.get_mut(place)) else { continue };
            match kind.as_str() {
                "field" => account.fields.push((name, value)),
                "group" => account.groups.push(name),
                "bytes" => account.quota_bytes = value.parse().ok(),
                _ => account.quota_messages = value.parse().ok(),
            }
        }
        // One for all of whom nothing is written down.
        let nothing = Arc::<Account>::default();
        let shared = |account: Account| {
            if account == *nothing { Arc::clone(&nothing) } else { Arc::new(account) }
        };
        Ok(accounts.into_iter().map(|account| Ok(Some(shared(account)))).collect())
    }
}
