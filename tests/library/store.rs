//! What the daemons keep in schema `gatepost`.

use std::time::Duration;

use gatepost::directory::{Directory, Lookup};
use gatepost::mail::{Address, Domain};
use gatepost::store::{DnsAnswer, KeyAlgorithm, KeyState, Sent, Store, key_life, schema};

use crate::postgres::Database;
use crate::{connect, until};

async fn store(database: &Database) -> (Store, Directory) {
    schema::install(&mut connect(database, "postgres").await, true, &[]).await.unwrap();
    let config = database.config();
    let directory = Directory::new(gatepost::database::Database::new(&config, "test").unwrap(), &config);
    (Store::new(&directory), directory)
}

#[tokio::test]
async fn a_message_is_counted_once_and_only_within_the_window() {
    let database = Database::create().await;
    let (store, _) = store(&database).await;
    let (alice, hour) = (Address::parse("alice@example.com").unwrap(), Duration::from_secs(3600));
    let count = async |instance: &str, recipients| {
        store.count_sent(&alice, hour, recipients, instance).await.found().unwrap()
    };
    assert_eq!(count("a", 3).await, Sent { messages: 1, recipients: 3 });
    assert_eq!(count("a", 3).await, Sent { messages: 1, recipients: 3 });
    assert_eq!(count("b", 4).await, Sent { messages: 2, recipients: 7 });
    assert_eq!(store.uncount_sent(&alice, "b").await, Lookup::Found(()));
    assert_eq!(count("c", 1).await, Sent { messages: 2, recipients: 4 });
    let bob = Address::parse("bob@example.com").unwrap();
    assert_eq!(
        store.count_sent(&bob, hour, 1, "a").await,
        Lookup::Found(Sent { messages: 1, recipients: 1 })
    );
    database.sql("UPDATE gatepost.sent SET at = at - interval '2 hours' WHERE instance = 'a'").await;
    assert_eq!(count("d", 1).await, Sent { messages: 2, recipients: 2 });
    assert_eq!(store.forget_sent(hour).await, Lookup::Found(2));
}

#[tokio::test]
async fn a_key_signs_while_it_is_active_and_dns_shows_it() {
    let database = Database::create().await;
    let (store, directory) = store(&database).await;
    let watch = tokio::spawn(directory.clone().watch());
    until("notified", async || directory.is_notified()).await;
    let domain = Domain::parse("example.com").unwrap();
    assert!(store.signing_keys(&domain).await.found().unwrap().is_empty());
    database
        .sql("INSERT INTO gatepost.dkim_keys (domain, selector, algorithm, private_key, public_key, state, published_at, activated_at, retired_at, dns, dns_at) VALUES
              ('example.com', '20260120', 'rsa-sha256', 'PEM', 'p', 'active', now(), now(), NULL, 'shown', now()),
              ('example.com', 'gone', 'rsa-sha256', 'PEM', 'p', 'active', now(), now(), NULL, 'missing', now()),
              ('example.com', 'unseen', 'rsa-sha256', 'PEM', 'p', 'active', now(), now(), NULL, 'unknown', NULL),
              ('example.com', 'ready', 'rsa-sha256', 'PEM', 'p', 'published', now(), NULL, NULL, 'shown', now()),
              ('example.com', 'old', 'ed25519-sha256', 'PEM', 'p', 'retired', now(), now(), now(), 'shown', now())")
        .await;
    let signs = async |selectors: &[&str]| {
        let keys = store.signing_keys(&domain).await.found().unwrap_or_default();
        keys.iter().map(|key| key.selector.as_str()).collect::<Vec<_>>() == selectors
    };
    until("the key", async || signs(&["20260120"]).await).await;
    let keys = store.signing_keys(&domain).await.found().unwrap();
    assert_eq!(keys[0].algorithm, KeyAlgorithm::RsaSha256);
    assert!(!format!("{keys:?}").contains("PEM"));

    // What a watcher takes over counts at once, written or not.
    let watched = store.watched_keys().await.found().unwrap();
    assert_eq!(watched.len(), 4, "{watched:?}");
    let key = |selector: &str| watched.iter().find(|key| key.selector == selector).unwrap();
    assert_eq!(
        store.record_dns(key("20260120"), DnsAnswer::Missing, "no TXT record").await,
        Lookup::Found(())
    );
    assert!(signs(&[]).await);
    assert_eq!(store.record_dns(key("gone"), DnsAnswer::Shown, "").await, Lookup::Found(()));
    assert!(signs(&["gone"]).await);
    database.sql("UPDATE gatepost.dkim_keys SET state = 'retired' WHERE selector = 'gone'").await;
    until("no key", async || signs(&[]).await).await;
    database.sql("DELETE FROM gatepost.dkim_keys WHERE selector = 'unseen'").await;
    assert_eq!(store.record_dns(key("unseen"), DnsAnswer::Shown, "").await, Lookup::None);
    watch.abort();
}

#[tokio::test]
async fn while_the_database_is_away_what_dns_says_counts_in_this_process() {
    let database = Database::create().await;
    let (store, directory) = store(&database).await;
    let watch = tokio::spawn(directory.clone().watch());
    until("notified", async || directory.is_notified()).await;
    let domain = Domain::parse("example.com").unwrap();
    database
        .sql("INSERT INTO gatepost.dkim_keys (domain, selector, algorithm, private_key, public_key, state, published_at, activated_at, dns, dns_at) VALUES
              ('example.com', 's', 'rsa-sha256', 'PEM', 'p', 'active', now(), now(), 'shown', now())")
        .await;
    let signs = async || store.signing_keys(&domain).await.found().is_some_and(|keys| !keys.is_empty());
    until("the key", signs).await;
    let watched = store.watched_keys().await.found().unwrap();
    database.take_away().await;
    assert!(matches!(store.record_dns(&watched[0], DnsAnswer::Missing, "x").await, Lookup::Unavailable(_)));
    assert!(!signs().await);
    database.give_back().await;
    // The row is as it was: what this process saw is newer.
    until("back", async || {
        store.watched_keys().await.found().is_some_and(|keys| keys[0].dns == DnsAnswer::Missing)
    })
    .await;
    assert!(!signs().await);
    // Another host looks later: its answer is newer still.
    database.sql("UPDATE gatepost.dkim_keys SET dns = 'shown', dns_at = now()").await;
    until("signs again", signs).await;
    watch.abort();
}

#[tokio::test]
async fn the_steps_of_a_keys_life() {
    let database = Database::create().await;
    let (_store, _directory) = store(&database).await;
    let mut owner = connect(&database, "postgres").await;
    let insert = "INSERT INTO gatepost.dkim_keys (domain, selector, algorithm, private_key, public_key, state, published_at, activated_at, retired_at, removed_at, dns, dns_at) VALUES";
    for from in KeyState::ALL {
        for next in KeyState::ALL.into_iter().filter(|next| *next != from) {
            let (private, removed) =
                if from == KeyState::Removed { ("''", "now()") } else { ("'PEM'", "NULL") };
            let shown = from != KeyState::New;
            let (dns, dns_at) = if shown { ("shown", "now()") } else { ("unknown", "NULL") };
            database.sql(&format!("DELETE FROM gatepost.dkim_keys; {insert} ('example.com', 's', 'rsa-sha256', {private}, 'p', '{from}', now(), now(), now(), {removed}, '{dns}', {dns_at})")).await;
            let key = key_life::keys(&mut owner, None).await.unwrap().remove(0);
            let step = key_life::step(&mut owner, &key, next).await;
            assert_eq!(step.is_ok(), from.may_become(next), "{from} to {next}: {step:?}");
        }
    }
    // Its dates follow by themselves; DNS is asked before it signs; what is removed is gone.
    database.sql(&format!("DELETE FROM gatepost.dkim_keys; {insert} ('example.com', 's', 'rsa-sha256', 'PEM', 'p', 'new', NULL, NULL, NULL, NULL, 'unknown', NULL)")).await;
    let mut key = key_life::keys(&mut owner, None).await.unwrap().remove(0);
    key_life::record_dns(&mut owner, &mut key, DnsAnswer::Missing, "no TXT record").await.unwrap();
    assert_eq!((key.state, key.seen_at), (KeyState::New, None));
    key_life::record_dns(&mut owner, &mut key, DnsAnswer::Shown, "").await.unwrap();
    let read = key_life::keys(&mut owner, None).await.unwrap().remove(0);
    assert_eq!((key.state, read.state), (KeyState::Published, KeyState::Published));
    assert!(read.published_at.is_some() && read.seen_at == read.dns_at);
    key_life::record_dns(&mut owner, &mut key, DnsAnswer::Different, "another key").await.unwrap();
    let refused = key_life::step(&mut owner, &key, KeyState::Active).await.unwrap_err().to_string();
    assert!(refused.contains("DNS does not show key s of example.com"), "{refused}");
    key_life::record_dns(&mut owner, &mut key, DnsAnswer::Shown, "").await.unwrap();
    for next in [KeyState::Active, KeyState::Retired, KeyState::Removed] {
        assert!(key_life::step(&mut owner, &key, next).await.unwrap());
        assert!(!key_life::step(&mut owner, &key, next).await.unwrap(), "a step taken twice");
        key = key_life::keys(&mut owner, None).await.unwrap().remove(0);
        assert_eq!(key.state, next);
    }
    assert!(key.activated_at.is_some() && key.retired_at.is_some() && key.removed_at.is_some());
    assert_eq!(key.private_key.expose(), "");
}

#[tokio::test]
async fn keys_from_before_the_second_version_are_taken_along() {
    let database = Database::create().await;
    database.sql("CREATE SCHEMA gatepost; CREATE TABLE gatepost.schema_version (version integer PRIMARY KEY, installed_at timestamptz NOT NULL DEFAULT now()); INSERT INTO gatepost.schema_version VALUES (1)").await;
    database.sql(include_str!("../../src/store/migrations/001_base.sql")).await;
    database
        .sql("INSERT INTO gatepost.dkim_keys (domain, selector, algorithm, private_key, public_key, state) SELECT 'example.com', state, 'rsa-sha256', 'PEM', 'p', state FROM unnest('{new,published,active,retired,removed}'::text[]) AS state")
        .await;
    schema::install(&mut connect(&database, "postgres").await, true, &[]).await.unwrap();
    assert_eq!(
        database.sql("SELECT state, published_at IS NULL, activated_at IS NULL, retired_at IS NULL, removed_at IS NULL, private_key, dns FROM gatepost.dkim_keys ORDER BY state").await,
        "active|f|f|t|t|PEM|unknown\nnew|t|t|t|t|PEM|unknown\npublished|f|t|t|t|PEM|unknown\nremoved|f|t|t|f||unknown\nretired|f|t|f|t|PEM|unknown"
    );
}
