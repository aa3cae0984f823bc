//! What SCRAM needs of a password, when the tool sets a new one: who could prove the old one can prove the new one.

use gatepost::config::Secret;
use gatepost::mail::Address;
use gatepost::password::{ScramHash, ScramVerifier, StoredHash};
use gatepost::store::hash_mark;
use sqlx::PgConnection;

/// Makes verifiers of the new password for the mechanisms that this login had some for. Without our schema, or the right to write there, the
/// next login by password makes them, and a note says so.
pub(super) async fn renew(
    connection: &mut PgConnection,
    address: &Address,
    password: &Secret,
    hash: &StoredHash,
) {
    if let Err(error) = try_renew(connection, address, password, hash).await {
        eprintln!(
            "note: {address} cannot log in by SCRAM until it has logged in by its new password once: {error}"
        );
    }
}

async fn try_renew(
    connection: &mut PgConnection,
    address: &Address,
    password: &Secret,
    hash: &StoredHash,
) -> Result<(), sqlx::Error> {
    let (is_installed,): (bool,) =
        sqlx::query_as("SELECT to_regclass('gatepost.scram_verifiers') IS NOT NULL")
            .fetch_one(&mut *connection)
            .await?;
    if !is_installed {
        return Ok(());
    }
    let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(include_str!("../store/queries/scram_marks.sql"))
        .bind(address.to_string())
        .fetch_all(&mut *connection)
        .await?;
    for kind in ScramHash::ALL.into_iter().filter(|kind| rows.iter().any(|(name, _)| name == kind.name())) {
        // A password that no client can prove (SASLprep) has none; the old one counts no more all the same.
        let Some(verifier) = ScramVerifier::new(kind, password.expose()) else { continue };
        sqlx::query(include_str!("../store/queries/keep_scram_verifier.sql"))
            .bind(address.to_string())
            .bind(kind.name())
            .bind(verifier.render().as_str().to_owned())
            .bind(hash_mark(hash).to_vec())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
