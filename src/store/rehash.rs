//! A better hash for a login whose password was just verified: the one thing that is ever written to `users`, by `rehash = true` alone.

use super::Store;
use crate::database::Trouble;
use crate::directory::{Directory, Lookup};
use crate::mail::Address;
use crate::password::StoredHash;

impl Store {
    /// Puts `new` in the place of `old`, if `old` still stands there: a password that was changed meanwhile stays as it is, and the answer is
    /// [`Lookup::None`]. [`Lookup::Misconfigured`] says how to grant the right where it is missing.
    pub async fn rehash(
        &self,
        directory: &Directory,
        login: &Address,
        old: &StoredHash,
        new: &StoredHash,
    ) -> Lookup<()> {
        let (domains, locals) = match directory.spellings(login).await {
            Lookup::Found(spellings) => spellings,
            other => return other.map(|_| ()),
        };
        let database = &self.0.database;
        let query = sqlx::query(include_str!("queries/rehash.sql"))
            .bind(domains)
            .bind(locals)
            .bind(old.text().expose().to_owned())
            .bind(new.text().expose().to_owned());
        match database.ask(query.execute(database.pool())).await {
            Ok(done) if done.rows_affected() == 0 => Lookup::None,
            Ok(_) => {
                directory.forget_credentials(login);
                Lookup::Found(())
            }
            Err(Trouble::Misconfigured(why)) if why.contains("42501") => Lookup::Misconfigured(format!(
                "`rehash` needs a right that this role has not: GRANT UPDATE (password_hash) ON public.users TO gatepost_auth ({why})"
            )),
            Err(trouble) => trouble.into(),
        }
    }
}
