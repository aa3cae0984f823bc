//! What the daemons keep in schema `gatepost`.

use std::time::Duration;

use gatepost::directory::{Directory, Lookup};
use gatepost::mail::{Address, Domain};
use gatepost::store::{KeyAlgorithm, Sent, Store, schema};

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
async fn a_key_signs_while_it_is_active() {
    let database = Database::create().await;
    let (store, directory) = store(&database).await;
    let watch = tokio::spawn(directory.clone().watch());
    until("notified", async || directory.is_notified()).await;
    let domain = Domain::parse("example.com").unwrap();
    assert!(store.signing_keys(&domain).await.found().unwrap().is_empty());
    database
        .sql("INSERT INTO gatepost.dkim_keys (domain, selector, algorithm, private_key, public_key, state) VALUES
              ('example.com', '20260120', 'rsa-sha256', 'PEM', 'p', 'active'), ('example.com', 'old', 'ed25519-sha256', 'PEM', 'p', 'retired')")
        .await;
    until("the key", async || store.signing_keys(&domain).await.found().is_some_and(|keys| !keys.is_empty()))
        .await;
    let keys = store.signing_keys(&domain).await.found().unwrap();
    assert_eq!(
        keys.iter().map(|key| (key.selector.as_str(), key.algorithm)).collect::<Vec<_>>(),
        [("20260120", KeyAlgorithm::RsaSha256)]
    );
    assert!(!format!("{keys:?}").contains("PEM"));
    database.sql("UPDATE gatepost.dkim_keys SET state = 'retired'").await;
    until("no key", async || store.signing_keys(&domain).await.found().is_some_and(|keys| keys.is_empty()))
        .await;
    watch.abort();
}
