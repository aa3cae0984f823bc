//! Our schema: its version, the triggers, who signs, and what each role may.

use gatepost::mail::Domain;
use gatepost::store::schema::{self, Status, TRIGGERS, VERSION};
use sqlx::PgConnection;

use super::report::Report;
use crate::ctl::connection::{Settings, explain};
use crate::ctl::dkim;

pub(super) async fn version(connection: &mut PgConnection, report: &mut Report) -> anyhow::Result<()> {
    judge(&schema::status(connection).await.map_err(explain)?, report);
    Ok(())
}

fn judge(status: &Status, report: &mut Report) {
    match status.version {
        None => {
            return report.warn("schema gatepost is not installed: signing and the rate limit are off; `gatepost schema install`");
        }
        Some(version) if version < VERSION => report.fail(&format!(
            "schema gatepost has version {version}, this program needs {VERSION}; `gatepost schema install`"
        )),
        Some(version) if version > VERSION => report.warn(&format!(
            "schema gatepost has version {version}, newer than this program ({VERSION}); upgrade the packages"
        )),
        Some(version) => report.ok(&format!("schema gatepost version {version}")),
    }
    if status.triggers == TRIGGERS {
        report.ok("triggers announce changes");
    } else {
        report.warn(&format!(
            "{} of {TRIGGERS} triggers: changes count after database.cache-ttl; `gatepost schema install`",
            status.triggers
        ));
    }
}

/// Domains whose mail is not signed, and the keys.
pub(super) async fn keys(
    connection: &mut PgConnection,
    settings: &Settings,
    report: &mut Report,
) -> anyhow::Result<()> {
    let status = schema::status(connection).await.map_err(explain)?;
    if status.version.is_none() {
        return Ok(());
    }
    let domains: Vec<(String,)> = sqlx::query_as("SELECT domain::text FROM public.domains ORDER BY 1")
        .fetch_all(&mut *connection)
        .await
        .map_err(explain)?;
    let signed: Vec<(String,)> =
        sqlx::query_as("SELECT DISTINCT domain FROM gatepost.dkim_keys WHERE state = 'active'")
            .fetch_all(&mut *connection)
            .await
            .map_err(explain)?;
    // A key's domain is in the form of DNS, the tutorial's as it was typed.
    let is_signed =
        |name: &str| Domain::parse(name).is_ok_and(|of| signed.iter().any(|(key,)| key == of.as_str()));
    for (domain,) in domains.into_iter().filter(|(name,)| !is_signed(name)) {
        report.warn(&format!(
            "mail of {domain} is not signed: no active key; `gatepost dkim generate {domain}`"
        ));
    }
    if status.version == Some(VERSION) {
        dkim::findings::report(connection, &settings.config.dkim, report).await?;
    }
    Ok(())
}

/// What each role must be able to read, and what it must not.
pub(super) async fn roles(connection: &mut PgConnection, report: &mut Report) -> anyhow::Result<()> {
    let status = schema::status(connection).await.map_err(explain)?;
    if status.version.is_none() {
        return Ok(());
    }
    for (role, there) in status.roles {
        if there {
            judge_role(role, &rights(connection, role).await?, report);
        } else {
            report.fail(&format!("role {role} is missing; `gatepost schema install`"));
        }
    }
    everybody(connection, report).await?;
    access(connection, report).await
}

/// What a role may.
#[derive(Debug, Default, sqlx::FromRow)]
struct Rights {
    superuser: bool,
    /// Makes roles or databases, replicates, or passes row security.
    powers: bool,
    addresses: bool,
    hashes: bool,
    keys: bool,
    /// Changes the tutorial's tables, other than password hashes and shares.
    writes: bool,
    writes_hashes: bool,
    /// Makes objects in our schema, or owns some.
    makes: bool,
    /// The roles that it is in.
    member_of: String,
}

async fn rights(connection: &mut PgConnection, role: &str) -> anyhow::Result<Rights> {
    sqlx::query_as(
        "SELECT rolsuper AS superuser,
                rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS powers,
                has_column_privilege(rolname, 'public.users', 'local', 'SELECT') AS addresses,
                has_column_privilege(rolname, 'public.users', 'password_hash', 'SELECT') AS hashes,
                has_column_privilege(rolname, 'gatepost.dkim_keys', 'private_key', 'SELECT') AS keys,
                has_table_privilege(rolname, 'public.users', 'INSERT, DELETE, TRUNCATE, TRIGGER')
                    OR has_any_column_privilege(rolname, 'public.domains', 'INSERT, UPDATE')
                    OR has_table_privilege(rolname, 'public.domains', 'DELETE, TRUNCATE, TRIGGER')
                    OR has_any_column_privilege(rolname, 'public.aliases', 'INSERT, UPDATE')
                    OR has_table_privilege(rolname, 'public.aliases', 'DELETE, TRUNCATE, TRIGGER') AS writes,
                has_column_privilege(rolname, 'public.users', 'password_hash', 'UPDATE') AS writes_hashes,
                has_schema_privilege(rolname, 'gatepost', 'CREATE')
                    OR EXISTS (SELECT FROM pg_catalog.pg_class WHERE relowner = r.oid) AS makes,
                coalesce((SELECT string_agg(g.rolname, ', ' ORDER BY g.rolname) FROM pg_catalog.pg_auth_members m
                          JOIN pg_catalog.pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid), '') AS member_of
         FROM pg_catalog.pg_roles r WHERE rolname = $1",
    )
    .bind(role.to_owned())
    .fetch_one(connection)
    .await
    .map_err(explain)
}

fn judge_role(role: &str, rights: &Rights, report: &mut Report) {
    let before = report.lines_left();
    let auth = role == "gatepost_auth";
    let expected = (auth, role == "gatepost_milter");
    if rights.superuser {
        // It may everything then; the rest would only repeat it.
        return report.fail(&format!("role {role} is a superuser; `ALTER ROLE {role} NOSUPERUSER`"));
    }
    if rights.powers {
        report.fail(&format!("role {role} may make roles or databases, or replicate; `ALTER ROLE {role} NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS`"));
    }
    if !rights.addresses {
        report.fail(&format!("role {role} cannot read addresses; `gatepost schema install`"));
    } else if (rights.hashes, rights.keys) != expected {
        let (hashes, keys) = (rights.hashes, rights.keys);
        report.fail(&format!("role {role} may read password hashes: {hashes}, signing keys: {keys}; it should be {}, {}; look for grants to PUBLIC or by hand", expected.0, expected.1));
    }
    if rights.writes || (rights.writes_hashes && !auth) {
        report.fail(&format!("role {role} may change the tutorial's tables; `REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON public.users, public.domains, public.aliases FROM {role}`"));
    }
    if rights.makes {
        report.fail(&format!("role {role} may make or owns tables; `REVOKE CREATE ON SCHEMA gatepost FROM {role}`, and give what it owns to postgres (`REASSIGN OWNED BY {role} TO postgres`)"));
    }
    if !rights.member_of.is_empty() {
        report.warn(&format!(
            "role {role} is in {}, whose rights it can take on; `REVOKE {} FROM {role}`",
            rights.member_of, rights.member_of
        ));
    }
    if report.lines_left() == before {
        report.ok(&format!("role {role} may what it needs and no more"));
    }
}

/// Grants to PUBLIC are everybody's.
async fn everybody(connection: &mut PgConnection, report: &mut Report) -> anyhow::Result<()> {
    let granted: Vec<(String, String)> = sqlx::query_as(
        "SELECT n.nspname || '.' || c.relname, string_agg(DISTINCT a.privilege_type, ', ' ORDER BY a.privilege_type)
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         CROSS JOIN LATERAL aclexplode(c.relacl) a
         WHERE a.grantee = 0 AND (n.nspname = 'gatepost' OR n.nspname = 'public' AND c.relname IN
               ('domains', 'users', 'aliases', 'shared_mailboxes', 'users_fqda', 'aliases_fqda', 'view_shared_mailboxes'))
         GROUP BY 1 ORDER BY 1",
    )
    .fetch_all(connection)
    .await
    .map_err(explain)?;
    for (table, rights) in granted {
        report.fail(&format!(
            "every role of the server has {rights} on {table}; `REVOKE {rights} ON {table} FROM PUBLIC`"
        ));
    }
    Ok(())
}

/// Lines of pg_hba.conf that ask for no password and for no system user. Only superusers may read them.
async fn access(connection: &mut PgConnection, report: &mut Report) -> anyhow::Result<()> {
    let (readable,): (bool,) =
        sqlx::query_as("SELECT has_function_privilege('pg_catalog.pg_hba_file_rules()', 'EXECUTE')")
            .fetch_one(&mut *connection)
            .await
            .map_err(explain)?;
    if !readable {
        return Ok(());
    }
    let open: Vec<(i32, String)> = sqlx::query_as(
        "SELECT line_number, concat_ws(' ', type, array_to_string(database, ','), array_to_string(user_name, ','), address, auth_method)
         FROM pg_catalog.pg_hba_file_rules WHERE auth_method = 'trust' ORDER BY 1",
    )
    .fetch_all(connection)
    .await
    .map_err(explain)?;
    for (number, line) in open {
        report.warn(&format!("pg_hba.conf, line {number} ({line}) lets in whoever comes; make it peer or scram-sha-256, then `SELECT pg_reload_conf()`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use gatepost::store::schema::ROLES;

    use super::*;

    fn said(role: &str, change: impl FnOnce(&mut Rights)) -> Vec<String> {
        let auth = role == "gatepost_auth";
        let mut rights =
            Rights { addresses: true, hashes: auth, keys: role == "gatepost_milter", ..Rights::default() };
        change(&mut rights);
        let mut report = Report::default();
        judge_role(role, &rights, &mut report);
        report.lines()
    }

    #[test]
    fn a_role_may_what_it_needs_and_no_more() {
        for role in ROLES {
            assert_eq!(said(role, |_| {}), [format!("ok role {role} may what it needs and no more")]);
            assert!(
                said(role, |rights| rights.superuser = true)[0]
                    .starts_with(&format!("fail role {role} is a superuser"))
            );
            assert!(
                said(role, |rights| rights.powers = true)[0]
                    .starts_with(&format!("fail role {role} may make roles"))
            );
            assert!(
                said(role, |rights| rights.writes = true)[0]
                    .starts_with(&format!("fail role {role} may change"))
            );
            assert!(
                said(role, |rights| rights.member_of = "mail_admin".into())[0]
                    .starts_with(&format!("warn role {role} is in mail_admin"))
            );
            assert!(said(role, |rights| rights.hashes = !rights.hashes)[0].contains("password hashes"));
        }
        // What `rehash` needs.
        assert_eq!(said("gatepost_auth", |rights| rights.writes_hashes = true).len(), 1);
        assert!(said("gatepost_auth", |rights| rights.writes_hashes = true)[0].starts_with("ok "));
        assert!(said("gatepost_policy", |rights| rights.writes_hashes = true)[0].starts_with("fail "));
    }
}
