//! Installing and removing schema `gatepost` beside the tutorial's objects.

use gatepost::config::Secret;
use gatepost::store::schema::{self, Installed, TRIGGERS, VERSION};

use crate::connect;
use crate::postgres::Database;

/// Everything of the tutorial that must be as it was: definitions, rules and privileges.
const TUTORIAL: &str = "
    SELECT 'table', c.relname, c.relkind::text, a.attname, a.atttypid::regtype::text, coalesce(c.relacl::text, ''), coalesce(a.attacl::text, '')
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0
    UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid), '', '', '', '' FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'rule', rulename, definition, '', '', '', '' FROM pg_rules WHERE schemaname = 'public'
    UNION ALL SELECT 'trigger', tgname, pg_get_triggerdef(oid), '', '', '', '' FROM pg_trigger WHERE NOT tgisinternal
    ORDER BY 1, 2, 3, 4";

#[tokio::test]
async fn install_and_remove_are_idempotent_and_leave_the_tutorial_as_it_was() {
    let database = Database::create().await;
    let before = database.sql(TUTORIAL).await;
    let mut owner = connect(&database, "postgres").await;
    assert_eq!(schema::status(&mut owner).await.unwrap().version, None);
    assert_eq!(
        schema::install(&mut owner, true, &[]).await.unwrap(),
        Installed { from: 0, to: VERSION, triggers: true }
    );
    let installed = database.sql(TUTORIAL).await;
    assert_eq!(
        schema::install(&mut owner, true, &[]).await.unwrap(),
        Installed { from: VERSION, to: VERSION, triggers: true }
    );
    assert_eq!(database.sql(TUTORIAL).await, installed);
    let status = schema::status(&mut owner).await.unwrap();
    assert_eq!((status.version, status.triggers), (Some(VERSION), TRIGGERS));
    assert!(status.roles.iter().all(|(_, there)| *there));
    schema::install(&mut owner, false, &[]).await.unwrap();
    assert_eq!(schema::status(&mut owner).await.unwrap().triggers, 0);
    for _ in 0..2 {
        schema::remove(&mut owner).await.unwrap();
        assert_eq!(schema::status(&mut owner).await.unwrap().version, None);
    }
    // An ACL that was empty comes back as the owner's own, explicit one: the same privileges in other words.
    let strip = |text: &str| {
        text.lines()
            .map(|line| line.replace("{postgres=arwdDxt/postgres}", ""))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(strip(&database.sql(TUTORIAL).await), strip(&before));
}

#[tokio::test]
async fn each_role_may_what_its_daemon_needs_and_no_more() {
    let database = Database::create().await;
    let mut owner = connect(&database, "postgres").await;
    let passwords = schema::ROLES.map(|role| (role, Secret::new(role.to_owned())));
    schema::install(&mut owner, true, &passwords).await.unwrap();
    database.sql("INSERT INTO gatepost.dkim_keys (domain, selector, algorithm, private_key, public_key) VALUES ('example.com', 's', 'rsa-sha256', 'x', 'y')").await;
    let may = async |role: &str, statement: &str| {
        let mut connection = connect(&database, role).await;
        match sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut connection).await {
            Ok(_) => true,
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => false,
            Err(error) => panic!("{role}: {statement}: {error}"),
        }
    };
    for role in schema::ROLES {
        let (auth, milter, policy) =
            (role == "gatepost_auth", role == "gatepost_milter", role == "gatepost_policy");
        for (statement, expected) in [
            ("SELECT local, domain FROM users", true),
            ("SELECT source_local FROM aliases", true),
            ("SELECT domain FROM domains", true),
            ("SELECT password_hash FROM users", auth),
            ("SELECT password_hash FROM users_fqda", false),
            ("SELECT private_key FROM gatepost.dkim_keys", milter),
            ("SELECT domain, policy FROM gatepost.dmarc_overrides", milter),
            ("SELECT kind, value, recipient_domain FROM gatepost.forwarders", milter),
            ("INSERT INTO gatepost.forwarders (kind, value) VALUES ('name', 'mx.example')", false),
            ("UPDATE gatepost.dmarc_overrides SET policy = 'none'", false),
            ("INSERT INTO view_shared_mailboxes VALUES ('carl@123qwe.com', 'bob@example.com')", auth),
            ("INSERT INTO gatepost.sent (login, instance, recipients) VALUES ('a', 'b', 1)", policy),
            ("INSERT INTO users (local, domain) VALUES ('x', 'example.com')", false),
            ("UPDATE users SET password_hash = 'x'", false),
            ("DELETE FROM domains", false),
            ("UPDATE gatepost.dkim_keys SET dns = 'missing', dns_detail = 'x', dns_at = now()", milter),
            ("UPDATE gatepost.dkim_keys SET state = 'active'", false),
            ("UPDATE gatepost.dkim_keys SET private_key = 'x'", false),
            ("DELETE FROM gatepost.dkim_keys", false),
            ("SELECT verifier FROM gatepost.scram_verifiers", auth),
            ("DELETE FROM gatepost.scram_verifiers", auth),
            ("SELECT value FROM gatepost.secrets", auth),
            ("UPDATE gatepost.secrets SET value = value", false),
            ("CREATE TABLE gatepost.x ()", false),
        ] {
            assert_eq!(may(role, statement).await, expected, "{role}: {statement}");
        }
    }
}

/// With `log_statement = ddl`, which many have on, the server's log has each ALTER ROLE as it came.
#[tokio::test]
async fn a_roles_password_is_not_in_the_servers_log() {
    let database = Database::create().await;
    database.sql(&format!("ALTER DATABASE {} SET log_statement = 'ddl'", database.name())).await;
    let passwords = schema::ROLES.map(|role| (role, Secret::new(role.to_owned())));
    schema::install(&mut connect(&database, "postgres").await, true, &passwords).await.unwrap();
    let log = std::fs::read_to_string(database.socket().join("server.log")).unwrap();
    for role in schema::ROLES {
        assert!(log.contains(&format!("ALTER ROLE \"{role}\" PASSWORD 'SCRAM-SHA-256$4096:")), "{log}");
        assert!(!log.contains(&format!("PASSWORD '{role}'")), "the password of {role} is in the log");
        // And it is the right one.
        sqlx::query("SELECT 1").execute(&mut connect(&database, role).await).await.unwrap();
    }
}

#[tokio::test]
async fn a_failed_installation_changes_nothing() {
    let database = Database::create().await;
    let before = database.sql(TUTORIAL).await;
    database.sql("CREATE SCHEMA gatepost; CREATE TABLE gatepost.sent (theirs integer)").await;
    let mut owner = connect(&database, "postgres").await;
    schema::install(&mut owner, true, &[]).await.unwrap_err();
    assert_eq!(database.sql(TUTORIAL).await, before);
    assert_eq!(
        database.sql("SELECT relname FROM pg_class WHERE relnamespace = 'gatepost'::regnamespace").await,
        "sent"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_is_what_is_installed() {
    let (by_hand, by_us) = (Database::create().await, Database::create().await);
    by_hand.sql(&schema::script(true)).await;
    let mut owner = connect(&by_us, "postgres").await;
    schema::install(&mut owner, true, &[]).await.unwrap();
    let mut connection = connect(&by_hand, "postgres").await;
    assert_eq!(schema::status(&mut connection).await.unwrap(), schema::status(&mut owner).await.unwrap());
    let everything = "SELECT n.nspname, c.relname, c.relkind, coalesce(c.relacl::text, '') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('public', 'gatepost') ORDER BY 1, 2";
    assert_eq!(by_hand.sql(everything).await, by_us.sql(everything).await);
    assert_eq!(by_hand.sql(TUTORIAL).await, by_us.sql(TUTORIAL).await);
    // It is there already: nothing is done twice.
    assert_eq!(
        schema::install(&mut connection, true, &[]).await.unwrap(),
        Installed { from: VERSION, to: VERSION, triggers: true }
    );
}

/// Roles belong to the cluster, and the passwords of all databases' installations are set on the same ones.
#[tokio::test(flavor = "multi_thread")]
async fn several_databases_of_one_cluster_are_installed_at_once() {
    let mut installing = tokio::task::JoinSet::new();
    for _ in 0..8 {
        installing.spawn(async {
            let database = Database::create().await;
            let mut owner = connect(&database, "postgres").await;
            let passwords = schema::ROLES.map(|role| (role, Secret::new(role.to_owned())));
            for _ in 0..3 {
                schema::install(&mut owner, true, &passwords).await.unwrap();
            }
        });
    }
    while let Some(done) = installing.join_next().await {
        done.unwrap();
    }
}

/// A database's owner who is no superuser may lock no catalog: he begins again.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_slower_begins_again() {
    let (database, other) = (Database::create().await, Database::create().await);
    let mut postgres = connect(&other, "postgres").await;
    let passwords = schema::ROLES.map(|role| (role, Secret::new(role.to_owned())));
    schema::install(&mut postgres, false, &passwords).await.unwrap();
    let name = database.name().to_owned();
    database
        .sql(&format!(
            "CREATE ROLE owner_of_{name} LOGIN CREATEROLE PASSWORD 'owner_of_{name}';
             GRANT gatepost_milter, gatepost_auth, gatepost_policy TO owner_of_{name} WITH ADMIN OPTION;
             ALTER DATABASE {name} OWNER TO owner_of_{name};
             ALTER SCHEMA public OWNER TO owner_of_{name};
             DO $$ DECLARE name text; BEGIN
                 FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') LOOP
                     EXECUTE format('ALTER TABLE public.%I OWNER TO owner_of_{name}', name);
                 END LOOP;
             END $$"
        ))
        .await;
    // Somebody else changes a role, and has not yet committed.
    sqlx::raw_sql("BEGIN; ALTER ROLE gatepost_policy PASSWORD 'gatepost_policy'")
        .execute(&mut postgres)
        .await
        .unwrap();
    let owner = format!("owner_of_{name}");
    let mut connection = connect(&database, &owner).await;
    let installing = tokio::spawn(async move { schema::install(&mut connection, true, &passwords).await });
    crate::until("the installation waits for the role", async || {
        database
            .sql(&format!(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = '{owner}' AND wait_event_type = 'Lock'"
            ))
            .await
            == "1"
    })
    .await;
    sqlx::raw_sql("COMMIT").execute(&mut postgres).await.unwrap();
    assert_eq!(installing.await.unwrap().unwrap(), Installed { from: 0, to: VERSION, triggers: true });
}
