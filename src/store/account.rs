//! What Dovecot is told about a user beyond the configuration: `gatepost.user_fields`, `groups`, and how much the mailbox may hold.

use std::sync::Arc;

use super::Store;
use crate::database::{NO_SCHEMA, Trouble};
use crate::directory::{Answer, Known, Lookup, Noted};
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

/// Whose settings: a login, and its domain as `@example.com`.
#[derive(Clone, Debug)]
pub(super) struct Whose {
    login: String,
    domain: String,
}

impl Store {
    /// A user's own settings, whether there is such a user or not. Nothing is asked where it is known that nothing is written down.
    pub async fn account(&self, login: &Address) -> Lookup<Arc<Account>> {
        let (is_sure, noted) = match self.0.directory.noted_fields(login) {
            Known::Sure(noted) => (true, noted),
            Known::Last(noted) => (false, noted),
            Known::Nothing => (false, None),
        };
        match noted {
            Some(noted) if is_sure && noted != Noted::Own => self.account_by_scope(login, noted).await,
            _ => match (self.own_account(login).await, noted) {
                // As it was when contact was lost.
                (Lookup::Unavailable(_), Some(noted)) if noted != Noted::Own => {
                    self.account_by_scope(login, noted).await
                }
                (answer, _) => answer,
            },
        }
    }

    async fn own_account(&self, login: &Address) -> Lookup<Arc<Account>> {
        if let Some(answer) = self.0.accounts.settled(login) {
            return answer;
        }
        let whose = Whose { login: login.to_string(), domain: format!("@{}", login.domain()) };
        let question = self.0.accounts_gathered.ask(whose, |keys| Box::pin(self.account_rows(keys)));
        Box::pin(self.0.accounts.ask(login.clone(), question)).await
    }

    /// The settings of whoever has none of his own: one answer for all, or for all of a domain.
    async fn account_by_scope(&self, login: &Address, noted: Noted) -> Lookup<Arc<Account>> {
        let domain = match noted {
            Noted::Nothing => return Lookup::Found(Arc::clone(&self.0.no_account)),
            Noted::OfAll => None,
            Noted::OfDomain | Noted::Own => Some(login.domain().clone()),
        };
        if let Some(answer) = self.0.accounts_by_scope.settled(&domain) {
            return answer;
        }
        let whose = Whose {
            // Nobody's: a login and a scope have something before the @, or behind it.
            login: String::new(),
            domain: domain.as_ref().map(|domain| format!("@{domain}")).unwrap_or_default(),
        };
        let question = self.0.accounts_gathered.ask(whose, |keys| Box::pin(self.account_rows(keys)));
        Box::pin(self.0.accounts_by_scope.ask(domain, question)).await
    }

    async fn account_rows(&self, keys: Vec<Whose>) -> Result<Vec<Answer<Arc<Account>>>, Trouble> {
        let database = &self.0.database;
        let count = keys.len();
        let (logins, domains): (Vec<_>, Vec<_>) = keys.into_iter().map(|key| (key.login, key.domain)).unzip();
        let query = sqlx::query_as::<_, (i64, String, String, String)>(include_str!("queries/account.sql"))
            .bind(logins)
            .bind(domains);
        let rows = match database.ask(query.fetch_all(database.pool())).await {
            Ok(rows) => rows,
            // The tutorial's tables alone are enough for logins.
            Err(Trouble::Misconfigured(why)) if why == NO_SCHEMA => Vec::new(),
            Err(trouble) => return Err(trouble),
        };
        let mut accounts: Vec<Account> = (0..count).map(|_| Account::default()).collect();
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
        let nothing = &self.0.no_account;
        let shared = |account: Account| {
            if account == **nothing { Arc::clone(nothing) } else { Arc::new(account) }
        };
        Ok(accounts.into_iter().map(|account| Ok(Some(shared(account)))).collect())
    }
}
