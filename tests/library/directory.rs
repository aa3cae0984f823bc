//! Questions to the tutorial's database, as an untouched tutorial server has it and with our triggers.

use std::time::Duration;

use gatepost::config::{self, Seconds};
use gatepost::directory::{Directory, Lookup, UsersPlace};
use gatepost::mail::{Address, Domain};
use gatepost::store::schema;

use crate::postgres::Database;
use crate::{connect, until};

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn directory(config: &config::Database) -> Directory {
    Directory::new(gatepost::database::Database::new(config, "test").unwrap(), config)
}

/// As the tutorial's role, with its password in a file.
fn as_mail_user(database: &Database, dir: &tempfile::TempDir) -> config::Database {
    use std::os::unix::fs::PermissionsExt;
    let file = dir.path().join("password");
    std::fs::write(&file, "mail_user\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    config::Database { user: Some("mail_user".into()), password_file: Some(file), ..database.config() }
}

#[tokio::test]
async fn the_names_of_a_domain_are_known_until_they_change() {
    let (database, dir) = (Database::create().await, tempfile::tempdir().unwrap());
    database.sql("UPDATE users SET display_name = CASE local WHEN 'alice' THEN 'Miller, Alice' WHEN 'bob' THEN 'Bob' END").await;
    let (example, other) = (Domain::parse("example.com").unwrap(), Domain::parse("123qwe.com").unwrap());
    // The tutorial's role, without our schema.
    let plain = directory(&as_mail_user(&database, &dir));
    let names = plain.names(&example).await.found().unwrap();
    assert_eq!(
        names.iter().collect::<Vec<_>>(),
        [(&"alice miller".to_owned(), &address("alice@example.com"))]
    );
    assert!(plain.names(&other).await.found().unwrap().is_empty());
    assert_eq!(plain.names(&Domain::parse("elsewhere.test").unwrap()).await, Lookup::None);
    // With our triggers a change counts at once.
    schema::install(&mut connect(&database, "postgres").await, true, &[]).await.unwrap();
    let config = database.config();
    let directory = directory(&config);
    tokio::spawn(directory.clone().watch());
    until("it is told of changes", async || directory.is_notified()).await;
    assert_eq!(directory.names(&example).await.found().unwrap().len(), 1);
    database.sql("UPDATE users SET display_name = 'Bob Builder' WHERE local = 'bob'").await;
    until("bob is known", async || {
        directory.names(&example).await.found().unwrap().contains_key("bob builder")
    })
    .await;
    // In a town names say nothing.
    database
        .sql("INSERT INTO users (domain, local, display_name) SELECT 'example.com', 'u' || n, 'User Number' || n FROM generate_series(1, 2000) n")
        .await;
    until("they are too many", async || directory.names(&example).await.found().unwrap().is_empty()).await;
    database.take_away().await;
    assert!(
        matches!(directory.names(&other).await, Lookup::Unavailable(_)),
        "not asked before, and not known now"
    );
}

#[tokio::test]
async fn role_mail_user_answers_every_question_without_our_schema() {
    let (database, dir) = (Database::create().await, tempfile::tempdir().unwrap());
    let directory = directory(&as_mail_user(&database, &dir));
    assert_eq!(directory.hosts(&Domain::parse("Example.COM").unwrap()).await, Lookup::Found(()));
    assert_eq!(directory.hosts(&Domain::parse("example.net").unwrap()).await, Lookup::None);
    assert_eq!(
        directory.mailbox(&address("Alice@Example.com")).await,
        Lookup::Found(address("alice@example.com"))
    );
    assert_eq!(directory.mailbox(&address("boss@example.com")).await, Lookup::None);
    assert_eq!(directory.mailbox(&address("alice@123qwe.com")).await, Lookup::None);
    assert_eq!(
        directory.destinations(&address("orders@example.com")).await,
        Lookup::Found([address("carl@123qwe.com")].into())
    );
    assert_eq!(directory.destinations(&address("alice@example.com")).await, Lookup::None);
    assert_eq!(
        directory.owners(&address("boss+x@example.com")).await,
        Lookup::Found(vec![address("alice@example.com")])
    );
    assert_eq!(directory.owners(&address("nobody@example.com")).await, Lookup::None);
    let credentials = directory.credentials(&address("alice@example.com")).await.found().unwrap();
    assert_eq!(credentials.hash.unwrap().verify(&config::Secret::new("alice123".into())), Ok(true));
    assert!(directory.credentials(&address("boss@example.com")).await.is_none());
    let Lookup::Found((users, None)) = directory.users(&UsersPlace::default()).await else {
        panic!("one page holds them all")
    };
    assert_eq!(users, ["carl@123qwe.com", "alice@example.com", "bob@example.com"].map(address));
    assert_eq!(
        directory.sharers(&address("bob@example.com")).await,
        Lookup::Found(vec![address("alice@example.com")])
    );
    assert_eq!(directory.shares_of(&address("bob@example.com")).await, Lookup::Found(vec![]));
    let store = gatepost::store::Store::new(&directory);
    let Lookup::Misconfigured(why) = store.signing_keys(&Domain::parse("example.com").unwrap()).await else {
        panic!("keys without our schema")
    };
    assert!(why.contains("gatepost schema install"), "{why}");
}

#[tokio::test]
async fn a_share_is_recorded_once_and_removed_as_often_as_one_likes() {
    let (database, dir) = (Database::create().await, tempfile::tempdir().unwrap());
    let directory = directory(&as_mail_user(&database, &dir));
    let (alice, bob, carl) =
        (address("alice@example.com"), address("bob@example.com"), address("carl@123qwe.com"));
    for _ in 0..2 {
        assert_eq!(directory.share(&bob, &carl).await, Lookup::Found(()));
        assert_eq!(directory.shares_of(&bob).await, Lookup::Found(vec![carl.clone()]));
    }
    assert_eq!(database.sql("SELECT count(*) FROM shared_mailboxes").await, "2");
    for _ in 0..2 {
        assert_eq!(directory.unshare(&bob, &carl).await, Lookup::Found(()));
        assert_eq!(directory.shares_of(&bob).await, Lookup::Found(vec![]));
    }
    assert_eq!(directory.share(&alice, &address("nobody@example.com")).await, Lookup::None);
    assert_eq!(directory.share(&alice, &address("nobody@example.net")).await, Lookup::None);
    assert_eq!(
        database.sql("SELECT * FROM view_shared_mailboxes").await,
        "alice@example.com|bob@example.com|1"
    );
}

#[tokio::test]
async fn rows_are_found_however_they_were_typed() {
    let database = Database::create().await;
    database
        .sql(
            "INSERT INTO domains VALUES ('Bücher.example'), ('xn--mller-kva.example'), ('MIXED.example');
             INSERT INTO users (local, domain, password_hash) VALUES ('Dave', 'Bücher.example', 'x'), ('eve', 'xn--mller-kva.example', 'y'), ('fred', 'MIXED.example', NULL);
             INSERT INTO aliases VALUES ('INFO', 'MIXED.example', 'Dave', 'Bücher.example')",
        )
        .await;
    let directory = directory(&database.config());
    assert!(directory.mailbox(&address("dave@xn--bcher-kva.example")).await.is_found());
    assert!(directory.mailbox(&address("DAVE@BÜCHER.example")).await.is_found());
    assert!(directory.mailbox(&address("eve@müller.example")).await.is_found());
    assert_eq!(
        directory.destinations(&address("info@mixed.example")).await,
        Lookup::Found([address("dave@bücher.example")].into())
    );
    assert!(directory.credentials(&address("fred@mixed.example")).await.found().unwrap().hash.is_none());
    assert_eq!(
        directory.share(&address("fred@mixed.example"), &address("dave@bücher.example")).await,
        Lookup::Found(())
    );
    assert_eq!(database.sql("SELECT shared_mailbox, shared_to FROM view_shared_mailboxes WHERE shared_mailbox LIKE 'fred%'").await, "fred@MIXED.example|Dave@Bücher.example");
}

#[tokio::test]
async fn a_new_account_counts_at_once_with_and_without_triggers() {
    for triggers in [false, true] {
        let database = Database::create().await;
        if triggers {
            schema::install(&mut connect(&database, "postgres").await, true, &[]).await.unwrap();
        }
        let directory = directory(&database.config());
        let watch = tokio::spawn(directory.clone().watch());
        if triggers {
            until("announcements followed", async || directory.is_notified()).await;
        }
        let dora = address("dora@example.com");
        assert_eq!(directory.mailbox(&dora).await, Lookup::None);
        database.sql("SET ROLE mail_admin; INSERT INTO users (local, domain, password_hash) VALUES ('dora', 'example.com', 'one')").await;
        if triggers {
            until("dora announced", async || directory.mailbox(&dora).await.is_found()).await;
        }
        assert!(directory.mailbox(&dora).await.is_found(), "triggers: {triggers}");
        let hash = async || {
            directory
                .credentials(&dora)
                .await
                .found()
                .and_then(|c| c.hash)
                .map(|hash| hash.encoded().to_owned())
        };
        assert_eq!(hash().await.as_deref(), Some("one"));
        database
            .sql("SET ROLE mail_admin; UPDATE users SET password_hash = 'two' WHERE local = 'dora'")
            .await;
        until("the new hash", async || hash().await.as_deref() == Some("two")).await;
        database.sql("SET ROLE mail_admin; DELETE FROM users WHERE local = 'dora'").await;
        until("dora gone", async || directory.mailbox(&dora).await.is_none()).await;
        database.sql("INSERT INTO domains VALUES ('new.example')").await;
        if triggers {
            until("the new domain", async || {
                directory.hosts(&Domain::parse("new.example").unwrap()).await.is_found()
            })
            .await;
        }
        assert!(directory.hosts(&Domain::parse("new.example").unwrap()).await.is_found());
        watch.abort();
    }
}

#[tokio::test]
async fn announcements_begin_when_the_schema_is_installed_and_end_when_it_goes() {
    let database = Database::create().await;
    let directory = directory(&database.config());
    let watch = tokio::spawn(directory.clone().watch());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!directory.is_notified());
    schema::install(&mut connect(&database, "postgres").await, true, &[]).await.unwrap();
    until("notified", async || directory.is_notified()).await;
    let many =
        "INSERT INTO users (local, domain) SELECT 'u' || n, 'example.com' FROM generate_series(1, 1000) AS n";
    assert!(directory.mailbox(&address("u1000@example.com")).await.is_none());
    database.sql(many).await;
    until("a thousand at once", async || directory.mailbox(&address("u1000@example.com")).await.is_found())
        .await;
    schema::remove(&mut connect(&database, "postgres").await).await.unwrap();
    until("no longer notified", async || !directory.is_notified()).await;
    watch.abort();
}

#[tokio::test]
async fn a_database_that_is_away_makes_nothing_unknown() {
    let database = Database::create().await;
    schema::install(&mut connect(&database, "postgres").await, true, &[]).await.unwrap();
    let config = config::Database { timeout: Seconds::new(1), ..database.config() };
    let directory = directory(&config);
    let watch = tokio::spawn(directory.clone().watch());
    until("notified", async || directory.is_notified()).await;
    let (alice, nobody, outside) =
        (address("alice@example.com"), address("nobody@example.com"), address("x@example.net"));
    assert!(directory.mailbox(&alice).await.is_found());
    assert!(directory.mailbox(&nobody).await.is_none());
    assert!(directory.mailbox(&outside).await.is_none());
    database.take_away().await;
    until("contact lost", async || !directory.is_notified()).await;
    assert!(directory.mailbox(&alice).await.is_found(), "alice became unknown");
    assert!(
        matches!(directory.mailbox(&nobody).await, Lookup::Unavailable(_) | Lookup::Misconfigured(_)),
        "an old \"none\" was believed"
    );
    assert!(directory.mailbox(&outside).await.is_none(), "mail to the outside must go on");
    database.give_back().await;
    until("nobody certainly unknown again", async || directory.mailbox(&nobody).await.is_none()).await;
    until("notified again", async || directory.is_notified()).await;
    watch.abort();
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable_and_asked_by_one_at_a_time() {
    let config = config::Database { host: "/nonexistent".into(), ..config::Database::default() };
    let directory = directory(&config);
    for _ in 0..100 {
        assert!(matches!(directory.mailbox(&address("alice@example.com")).await, Lookup::Unavailable(_)));
    }
}

#[tokio::test]
async fn all_users_are_listed_page_by_page_each_once() {
    let database = Database::create().await;
    database.sql("INSERT INTO users (local, domain) SELECT 'u' || n, 'example.com' FROM generate_series(1, 5000) AS n").await;
    // Rows that mean the same user, one of them folded or none.
    database.sql("INSERT INTO users (local, domain) VALUES ('U7', 'example.com'), ('Zoe', 'example.com'), ('ZOE', 'example.com')").await;
    let directory = directory(&database.config());
    let (mut place, mut pages, mut all) = (Some(UsersPlace::default()), 0, Vec::new());
    while let Some(from) = place {
        let Lookup::Found((users, next)) = directory.users(&from).await else { panic!("page {pages}") };
        (place, pages) = (next, pages + 1);
        all.extend(users);
    }
    assert_eq!(pages, 3);
    assert_eq!(all.len(), 3 + 5000 + 1);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 3 + 5000 + 1);
    assert!(all.contains(&address("zoe@example.com")) && all.contains(&address("u5000@example.com")));
}

#[tokio::test]
async fn every_question_of_a_key_uses_an_index() {
    let database = Database::create().await;
    database.sql("INSERT INTO users (local, domain) SELECT 'u' || n, 'example.com' FROM generate_series(1, 10000) AS n; ANALYZE").await;
    for (query, types, values) in [
        ("mailbox", "text[], text[]", "'{example.com}', '{u77}'"),
        ("credentials", "int[], text[], text[]", "'{0, 1}', '{example.com, example.com}', '{u77, u78}'"),
        ("users", "text, text, bigint", "'example.com', 'u77', 100"),
    ] {
        let path = format!("{}/src/directory/queries/{query}.sql", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        // As it is planned for any values, too: that is what a daemon's connections come to use.
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let explained = format!(
                "SET plan_cache_mode = {mode}; PREPARE q({types}) AS {text}; EXPLAIN EXECUTE q({values})"
            );
            let plan = database.sql(&explained).await;
            assert!(plan.contains("users_pkey") && !plan.contains("Seq Scan"), "{query}: {plan}");
        }
    }
}

/// A row that somebody wrote by hand. Mail for the alias waits until it is put right, from memory as from the database.
#[tokio::test]
async fn an_alias_whose_destination_is_no_address_is_never_unknown() {
    let database = Database::create().await;
    database.install(true).await;
    database.sql("INSERT INTO gatepost.aliases VALUES ('broken', 'example.com', 'a b@c d'), ('half', 'example.com', 'alice@example.com'), ('half', 'example.com', 'zoe@c d')").await;
    let directory = directory(&database.config());
    let asked = async |local: &str| directory.destinations(&address(&format!("{local}@example.com"))).await;
    let is_broken =
        |answer: &Lookup<_>| matches!(answer, Lookup::Misconfigured(why) if why.contains("no address"));
    for local in ["broken", "half"] {
        assert!(is_broken(&asked(local).await), "{local}, by the database");
    }
    directory.keep_roll();
    tokio::spawn(directory.clone().watch());
    until("all addresses are in memory", async || directory.kept().is_some()).await;
    for local in ["broken", "half"] {
        assert!(is_broken(&asked(local).await), "{local}, from memory: {:?}", asked(local).await);
    }
    assert_eq!(asked("nobody").await, Lookup::None);
    database.sql("DELETE FROM gatepost.aliases WHERE destination LIKE '% d'").await;
    until("it is put right", async || asked("half").await.is_found() && asked("broken").await.is_none())
        .await;
}

/// The same for a relay domain and a catch-all: neither "relay access denied" nor "user unknown" is certain.
#[tokio::test]
async fn a_row_that_cannot_be_read_makes_no_domain_foreign_and_nobody_unknown() {
    let database = Database::create().await;
    database.install(true).await;
    database
        .sql(
            "INSERT INTO gatepost.hosted_domains (domain, kind, next_hop) VALUES ('relay.test', 'relay', 'mail.test port 25');
             INSERT INTO gatepost.alias_patterns (domain, kind, destination) VALUES ('example.com', 'catch-all', 'a b@c d')",
        )
        .await;
    let directory = directory(&database.config());
    let domain = |name: &str| Domain::parse(name).unwrap();
    let hosted = directory.hosts(&domain("relay.test")).await;
    assert!(
        matches!(&hosted, Lookup::Misconfigured(why) if why.contains("hosted_domains has a row of relay.test")),
        "{hosted:?}"
    );
    assert_eq!(directory.hosts(&domain("foreign.test")).await, Lookup::None);
    let owners = async |text: &str| directory.owners(&address(text)).await;
    assert!(owners("alice@example.com").await.is_found());
    assert!(
        matches!(owners("nobody@example.com").await, Lookup::Misconfigured(why) if why.contains("alias_patterns"))
    );
    assert_eq!(owners("nobody@123qwe.com").await, Lookup::None);
}
