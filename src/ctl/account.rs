//! `gatepost user lock|unlock|show`: one login as a whole, beside its row in the tutorial's table.

use anyhow::bail;
use gatepost::config::Seconds;
use gatepost::mail::Address;
use sqlx::{AssertSqlSafe, PgConnection};

use super::connection::{explain, require_schema};
use super::{apppassword, logins, terminal, user};

/// Keeps a login out: told `reason`, a general sentence, or nothing; for a while it is told to try later.
pub(super) async fn lock(
    connection: &mut PgConnection,
    login: &Address,
    reason: Option<String>,
    silent: bool,
    span: Option<Seconds>,
) -> anyhow::Result<()> {
    require_schema(connection).await?;
    user::require(connection, login).await?;
    if let Some(reason) = &reason
        && (reason.is_empty() || reason.chars().count() > 200 || reason.chars().any(char::is_control))
    {
        bail!("a reason has 1 to 200 characters, and none that cannot be printed");
    }
    let shown = if silent { Some(String::new()) } else { reason.clone() };
    sqlx::query(
        "INSERT INTO gatepost.login_locks (login, reason, shown, until) VALUES ($1, $2, $3, now() + make_interval(secs => $4))
         ON CONFLICT (login) DO UPDATE SET reason = excluded.reason, shown = excluded.shown, until = excluded.until, locked_at = now()",
    )
    .bind(login.to_string())
    .bind(reason.unwrap_or_else(|| "locked by the operator".to_owned()))
    .bind(shown)
    .bind(span.map(|span| span.0.as_secs_f64()))
    .execute(connection)
    .await
    .map_err(explain)?;
    match span {
        Some(span) => println!("{login} is locked for {span}; open sessions stay (`doveadm kick {login}`)"),
        None => println!("{login} is locked; open sessions stay (`doveadm kick {login}`)"),
    }
    Ok(())
}

/// Lets it in again.
pub(super) async fn unlock(connection: &mut PgConnection, login: &Address) -> anyhow::Result<()> {
    require_schema(connection).await?;
    let done = sqlx::query("DELETE FROM gatepost.login_locks WHERE login = $1")
        .bind(login.to_string())
        .execute(connection)
        .await
        .map_err(explain)?;
    if done.rows_affected() == 0 {
        bail!("{login} is not locked; `gatepost user show {login}`");
    }
    println!("{login} may log in again");
    Ok(())
}

/// What is known of a login.
pub(super) async fn show(
    connection: &mut PgConnection,
    login: &Address,
    how: terminal::Show,
) -> anyhow::Result<()> {
    require_schema(connection).await?;
    user::require(connection, login).await?;
    let name = login.to_string();
    let locks: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT to_char(locked_at, 'YYYY-MM-DD HH24:MI:SS'), coalesce(to_char(until, 'YYYY-MM-DD HH24:MI:SS'), 'for ever'), reason,
                CASE WHEN until IS NOT NULL THEN 'to try later' WHEN shown IS NULL THEN 'that it is locked' WHEN shown = '' THEN 'nothing' ELSE shown END
         FROM gatepost.login_locks WHERE login = $1 AND (until IS NULL OR until > now())",
    )
    .bind(&name)
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    let rows: Vec<_> = locks.into_iter().map(|(a, b, c, d)| [a, b, c, d]).collect();
    how.table(["LOCKED SINCE", "UNTIL", "REASON", "THE USER IS TOLD"], &rows);
    logins::show(connection, Some(name.clone()), how).await?;
    logins::show(connection, Some(format!("@{}", login.domain())), how).await?;
    apppassword::list(connection, Some(login), how).await?;
    let last: Vec<(String, String, String, String, String, String)> = sqlx::query_as(
        "SELECT service, to_char(at, 'YYYY-MM-DD HH24:MI:SS'), coalesce(host(address), ''), mechanism,
                CASE app_password WHEN '' THEN 'main' ELSE app_password END, client
         FROM gatepost.last_logins WHERE login = $1 ORDER BY at DESC",
    )
    .bind(&name)
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    let rows: Vec<_> = last.into_iter().map(|(a, b, c, d, e, f)| [a, b, c, d, e, f]).collect();
    how.table(["SERVICE", "LAST LOGIN", "ADDRESS", "MECHANISM", "PASSWORD", "CLIENT"], &rows);
    Ok(())
}

/// Whoever gets the address next inherits nothing: no way in, no right, and nothing to read.
pub(super) async fn forget(connection: &mut PgConnection, login: &Address) -> anyhow::Result<()> {
    for (table, condition) in OF_A_LOGIN {
        let (there,): (bool,) = sqlx::query_as("SELECT to_regclass('gatepost.' || $1) IS NOT NULL")
            .bind(table)
            .fetch_one(&mut *connection)
            .await
            .map_err(explain)?;
        if there {
            let statement = format!("DELETE FROM gatepost.{table} WHERE {condition}");
            sqlx::query(AssertSqlSafe(statement))
                .bind(login.to_string())
                .execute(&mut *connection)
                .await
                .map_err(explain)?;
        }
    }
    Ok(())
}

/// What stands under a login's name; a schema that was not upgraded has not all of it.
const OF_A_LOGIN: [(&str, &str); 14] = [
    ("app_passwords", "login = $1"),
    ("scram_verifiers", "login = $1"),
    ("login_rules", "scope = $1"),
    ("login_locks", "login = $1"),
    ("master_users", "$1 IN (master, scope)"),
    ("last_logins", "login = $1"),
    ("known_networks", "login = $1"),
    ("send_as", "$1 IN (address, login)"),
    ("groups", "member = $1"),
    ("wide_shares", "owner = $1"),
    ("user_fields", "scope = $1"),
    ("quota_limits", "scope = $1"),
    ("quota", "login = $1"),
    ("dict_values", "owner = $1"),
];
