//! What SCRAM needs of passwords: `gatepost.scram_verifiers`, and the secret behind the salts of nobody.
//!
//! A verifier is bound to the hash that stood in `users.password_hash` when it was made, by that hash's mark: whoever changes the password, by
//! whatever means, makes the verifier worthless at the same moment, and nothing has to be announced for that.

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use super::Store;
use crate::database::Trouble;
use crate::directory::{Directory, Lookup};
use crate::mail::Address;
use crate::password::{ScramHash, ScramVerifier, StoredHash};

/// The mark of a hash: the SHA-256 of its whole text as the database holds it.
pub fn hash_mark(hash: &StoredHash) -> [u8; 32] {
    let mark = digest::digest(&digest::SHA256, hash.text().expose().as_bytes());
    mark.as_ref().try_into().unwrap_or_default()
}

impl Store {
    /// What is kept for a login, and the mark of the hash that it was made with: of use only if that is the mark of the present one.
    pub async fn scram_verifier(&self, login: &Address, kind: ScramHash) -> Lookup<(ScramVerifier, Vec<u8>)> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (String, Vec<u8>)>(include_str!("queries/scram_verifier.sql"))
            .bind(login.to_string())
            .bind(kind.name());
        match Lookup::from(database.ask(query.fetch_optional(database.pool())).await) {
            Lookup::Found((text, mark)) => match ScramVerifier::parse(kind, &Zeroizing::new(text)) {
                Some(verifier) => Lookup::Found((verifier, mark)),
                None => Lookup::Misconfigured(format!(
                    "gatepost.scram_verifiers has no verifier for {login} but something else; delete that row"
                )),
            },
            Lookup::None => Lookup::None,
            Lookup::Unavailable(why) => Lookup::Unavailable(why),
            Lookup::Misconfigured(why) => Lookup::Misconfigured(why),
        }
    }

    /// Which verifiers of a login are made with this hash.
    pub async fn scram_mechanisms(&self, login: &Address, hash: &StoredHash) -> Lookup<Vec<ScramHash>> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (String, Vec<u8>)>(include_str!("queries/scram_marks.sql"))
            .bind(login.to_string());
        let mark = hash_mark(hash);
        Lookup::from(database.ask(query.fetch_all(database.pool())).await.map(Some)).map(|rows| {
            let is_there =
                |kind: &ScramHash| rows.iter().any(|(name, made)| name == kind.name() && *made == mark);
            ScramHash::ALL.into_iter().filter(is_there).collect()
        })
    }

    /// Keeps a verifier that was made of the same password as this hash.
    pub async fn keep_scram_verifier(
        &self,
        login: &Address,
        kind: ScramHash,
        verifier: &ScramVerifier,
        hash: &StoredHash,
    ) -> Lookup<()> {
        let database = &self.0.database;
        let query = sqlx::query(include_str!("queries/keep_scram_verifier.sql"))
            .bind(login.to_string())
            .bind(kind.name())
            .bind(verifier.render().as_str().to_owned())
            .bind(hash_mark(hash).to_vec());
        Lookup::from(database.ask(query.execute(database.pool())).await.map(|_| Some(())))
    }

    /// Forgets verifiers of hashes that are nobody's any more; returns how many. Looks at all that are kept, page by page, and at their users
    /// by key: once a day is enough.
    pub async fn forget_scram_verifiers(&self, directory: &Directory) -> Lookup<u64> {
        Lookup::from(self.sweep_scram_verifiers(directory).await.map(Some))
    }

    async fn sweep_scram_verifiers(&self, directory: &Directory) -> Result<u64, Trouble> {
        let database = &self.0.database;
        let (mut login, mut mechanism, mut forgotten) = (String::new(), String::new(), 0);
        loop {
            let query = sqlx::query_as::<_, Kept>(include_str!("queries/scram_page.sql"))
                .bind(login)
                .bind(mechanism)
                .bind(PAGE);
            let page = database.ask(query.fetch_all(database.pool())).await?;
            let gone = former(directory, &page).await?;
            if !gone.is_empty() {
                let column = |of: fn(&Kept) -> &String| gone.iter().map(|kept| of(kept).clone()).collect();
                let (logins, mechanisms): (Vec<String>, Vec<String>) =
                    (column(|(login, ..)| login), column(|(_, mechanism, _)| mechanism));
                let marks: Vec<Vec<u8>> = gone.iter().map(|(.., mark)| mark.clone()).collect();
                let query = sqlx::query(include_str!("queries/forget_scram_verifiers.sql"))
                    .bind(logins)
                    .bind(mechanisms)
                    .bind(marks);
                forgotten += database.ask(query.execute(database.pool())).await?.rows_affected();
            }
            match page.into_iter().next_back() {
                Some((last_login, last_mechanism, _)) => (login, mechanism) = (last_login, last_mechanism),
                None => return Ok(forgotten),
            }
        }
    }

    /// The secret that makes the salts for logins that are not there; the same on all hosts.
    pub async fn scram_secret(&self) -> Lookup<Zeroizing<Vec<u8>>> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (Vec<u8>,)>(include_str!("queries/secret.sql")).bind("scram-salt");
        let row = Lookup::from(database.ask(query.fetch_optional(database.pool())).await);
        match row.map(|(secret,)| Zeroizing::new(secret)) {
            Lookup::None => Lookup::Misconfigured(
                "gatepost.secrets has no scram-salt; `gatepost schema remove` and install, or put one back"
                    .to_owned(),
            ),
            answer => answer,
        }
    }
}

/// A verifier that is kept: its login and mechanism, and the mark of the hash that it was made with.
type Kept = (String, String, Vec<u8>);

/// Those of a page whose hash is not the present one of their login.
async fn former<'a>(directory: &Directory, page: &'a [Kept]) -> Result<Vec<&'a Kept>, Trouble> {
    let addresses: Vec<Option<Address>> = page.iter().map(|(login, ..)| Address::parse(login).ok()).collect();
    let asked: Vec<Address> = addresses.iter().flatten().cloned().collect();
    let mut hashes = directory.present_hashes(&asked).await?.into_iter();
    let mut gone = Vec::new();
    for (kept, address) in page.iter().zip(addresses) {
        let present = address.and_then(|_| hashes.next()).flatten();
        if present.is_none_or(|hash| hash_mark(&hash).as_slice() != kept.2) {
            gone.push(kept);
        }
    }
    Ok(gone)
}

/// Verifiers that are looked at together.
const PAGE: i64 = 500;
