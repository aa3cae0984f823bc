//! What the daemons keep in schema `gatepost`.

use std::time::Duration;

use gatepost::directory::{Directory, Lookup};
use gatepost::mail::{Address, Domain};
use gatepost::store::{
    Attempt, DnsAnswer, Exceeded, Greylisted, KeyAlgorithm, KeyState, Limit, Patience, Scope, Sending, Sent,
    Store, key_life, schema,
};

use crate::postgres::Database;
use crate::{connect, until};

async fn store(database: &Database) -> (Store, Directory) {
    schema::install(&mut connect(database, "postgres").await, true, &[]).await.unwrap();
    let config = database.config();
    let directory = Directory::new(gatepost::database::Database::new(&config, "test").unwrap(), &config);
    (Store::new(&directory), directory)
}

fn alice() -> Address {
    Address::parse("alice@example.com").unwrap()
}

const fn hour(scope: Scope, messages: u64, recipients: u64) -> Limit {
    Limit { scope, span: Duration::from_secs(3600), messages, recipients, burst: 1.0 }
}

const ENOUGH: Limit = hour(Scope::Login, 1000, 1000);

async fn send(
    store: &Store,
    login: &str,
    instance: &str,
    recipients: u32,
    first: Limit,
    more: &[Limit],
) -> Sent {
    let login = Address::parse(login).unwrap();
    let client = "192.0.2.7".parse().ok();
    let message = Sending { login: &login, client, instance, recipients };
    store.count_sending(message, first, more, false).await.found().unwrap()
}

#[tokio::test]
async fn a_message_is_counted_once_and_only_within_the_window() {
    let database = Database::create().await;
    let (store, _) = store(&database).await;
    let count = async |login: &str, instance: &str, recipients, first| {
        let sent = send(&store, login, instance, recipients, first, &[]).await;
        (sent.messages, sent.recipients, sent.exceeded.is_some())
    };
    assert_eq!(count("alice@example.com", "a", 3, ENOUGH).await, (1, 3, false));
    assert_eq!(count("alice@example.com", "a", 3, ENOUGH).await, (1, 3, false));
    assert_eq!(count("alice@example.com", "b", 4, hour(Scope::Login, 1, 99)).await, (2, 7, true));
    assert_eq!(count("alice@example.com", "c", 1, ENOUGH).await, (2, 4, false), "b was refused");
    assert_eq!(count("bob@example.com", "a", 1, ENOUGH).await, (1, 1, false));
    database.sql("UPDATE gatepost.sent SET at = at - interval '2 hours' WHERE instance = 'a'").await;
    assert_eq!(count("alice@example.com", "d", 1, ENOUGH).await, (2, 2, false));
    assert_eq!(store.forget_sent(Duration::from_secs(3600)).await, Lookup::Found(2));
}

#[tokio::test]
async fn limits_of_domain_and_client_fill_together_and_empty_with_time() {
    let database = Database::create().await;
    let (store, _) = store(&database).await;
    let more = [hour(Scope::Domain, 3, 100), Limit { burst: 0.5, ..hour(Scope::Client, 8, 8) }];
    let ask =
        async |login: &str, instance: &str| send(&store, login, instance, 1, ENOUGH, &more).await.exceeded;
    for (login, instance) in
        [("alice@example.com", "a"), ("bob@example.com", "b"), ("alice@example.com", "c")]
    {
        assert_eq!(ask(login, instance).await, None);
    }
    let beyond =
        |scope, number| Exceeded::Limit { scope, recipients: false, number, span: Duration::from_secs(3600) };
    assert_eq!(ask("bob@example.com", "d").await, Some(beyond(Scope::Domain, 3)));
    // What was refused filled nothing: another domain still has the fourth of the client's burst of four, and no fifth.
    assert_eq!(ask("carl@123qwe.com", "e").await, None);
    assert_eq!(ask("carl@123qwe.com", "f").await, Some(beyond(Scope::Client, 8)));
    // A third of an hour empties one message of the domain's three, and more of the client's eight.
    database.sql("UPDATE gatepost.sending_levels SET at = at - interval '20 minutes 1 second'").await;
    assert_eq!(ask("bob@example.com", "g").await, None);
    assert_eq!(ask("bob@example.com", "h").await, Some(beyond(Scope::Domain, 3)));
    // One domain's own limit.
    database.sql("INSERT INTO gatepost.sending_limits VALUES ('domain', 'example.com', 3600, 9, 100)").await;
    assert_eq!(ask("bob@example.com", "i").await, None);
    // And one of a span that the configuration does not have.
    database
        .sql("DELETE FROM gatepost.sending_levels; INSERT INTO gatepost.sending_limits VALUES ('login', 'bob@example.com', 60, 0, 100)")
        .await;
    let Some(Exceeded::Limit { scope: Scope::Login, number: 0, .. }) = ask("bob@example.com", "j").await
    else {
        panic!("bob's own limit does not count")
    };
    assert_eq!(ask("alice@example.com", "k").await, None);
    database.sql("UPDATE gatepost.sending_levels SET at = at - interval '2 hours'").await;
    assert_eq!(store.forget_sent(Duration::from_secs(3600)).await, Lookup::Found(0));
    assert_eq!(database.sql("SELECT count(*) FROM gatepost.sending_levels").await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_at_the_same_instant_see_each_other() {
    let database = Database::create().await;
    let (store, _) = store(&database).await;
    let mut sending = tokio::task::JoinSet::new();
    for number in 0..40 {
        let store = store.clone();
        sending.spawn(async move {
            let more = [hour(Scope::Domain, 30, 1000)];
            let login = if number % 2 == 0 { "alice@example.com" } else { "bob@example.com" };
            send(&store, login, &format!("m{number}"), 1, hour(Scope::Login, 10, 1000), &more).await
        });
    }
    let mut passed = 0;
    while let Some(sent) = sending.join_next().await {
        passed += u32::from(sent.unwrap().exceeded.is_none());
    }
    assert_eq!(passed, 20, "ten for each login");
}

#[tokio::test]
async fn a_locked_login_sends_nothing_until_its_time_is_over() {
    let database = Database::create().await;
    let (store, _) = store(&database).await;
    assert_eq!(store.lock_login(&alice(), "stolen").await, Lookup::Found(()));
    assert_eq!(store.lock_login(&alice(), "again").await, Lookup::Found(()));
    assert_eq!(database.sql("SELECT reason FROM gatepost.login_locks").await, "stolen");
    assert_eq!(send(&store, "alice@example.com", "a", 1, ENOUGH, &[]).await.exceeded, Some(Exceeded::Locked));
    database.sql("UPDATE gatepost.login_locks SET until = now() - interval '1 second'").await;
    assert_eq!(send(&store, "alice@example.com", "a", 1, ENOUGH, &[]).await.exceeded, None);
}

fn attempt(client: &str, sender: &str) -> Attempt {
    Attempt {
        client: client.into(),
        sender: sender.into(),
        recipient: "alice@example.com".into(),
        correspondent: sender.into(),
        mailbox: "alice@example.com".into(),
        network: "192.0.2.0/24".into(),
        suspected: true,
    }
}

const PATIENCE: Patience = Patience {
    delay: Duration::from_secs(300),
    window: Duration::from_secs(7200),
    expiry: Duration::from_secs(86_400),
    passes: 2,
    score: 4.0,
};

#[tokio::test]
async fn an_attempt_passes_after_the_delay_within_the_window_and_until_it_expires() {
    let database = Database::create().await;
    let (store, _) = store(&database).await;
    let greylist = store.greylist();
    let ask =
        async || greylist.ask(attempt("192.0.2.0/24", "s@foreign.test"), PATIENCE).await.found().unwrap();
    let age = async |column: &str, age: &str| {
        database.sql(&format!("UPDATE gatepost.greylist SET {column} = now() - interval '{age}'")).await;
    };
    assert!(matches!(ask().await, Greylisted::Wait { new: true, left } if left == PATIENCE.delay));
    age("first_seen", "299 seconds").await;
    assert!(matches!(ask().await, Greylisted::Wait { new: false, left } if left <= Duration::from_secs(1)));
    age("first_seen", "301 seconds").await;
    assert!(matches!(ask().await, Greylisted::Passed { first: true, after } if after.as_secs() == 301));
    assert!(matches!(ask().await, Greylisted::Passed { first: false, .. }));
    // Long after, it still passes: the window is for the first retry only.
    age("first_seen", "20 hours").await;
    assert!(matches!(ask().await, Greylisted::Passed { first: false, .. }));
    // Not seen for longer than the expiry: as if it had never been there.
    age("last_seen", "25 hours").await;
    assert!(matches!(ask().await, Greylisted::Wait { new: true, .. }));
    // Too late a retry is a first attempt.
    age("first_seen", "121 minutes").await;
    assert!(matches!(ask().await, Greylisted::Wait { new: true, .. }));
}

#[tokio::test]
async fn a_client_that_passed_often_enough_is_let_through_at_once() {
    let database = Database::create().await;
    let (store, _) = store(&database).await;
    let greylist = store.greylist();
    let ask = async |sender: &str| {
        greylist.ask(attempt("spf:foreign.test", sender), PATIENCE).await.found().unwrap()
    };
    let _ = (ask("a@foreign.test").await, ask("b@foreign.test").await, ask("c@foreign.test").await);
    database.sql("UPDATE gatepost.greylist SET first_seen = now() - interval '6 minutes'").await;
    assert!(matches!(ask("a@foreign.test").await, Greylisted::Passed { .. }));
    // Within the same hour a second pass is not counted: one burst is one visit.
    assert!(matches!(ask("b@foreign.test").await, Greylisted::Passed { .. }));
    assert_eq!(database.sql("SELECT passes FROM gatepost.greylist_clients").await, "1");
    database.sql("UPDATE gatepost.greylist_clients SET counted_at = now() - interval '61 minutes'").await;
    assert!(matches!(ask("c@foreign.test").await, Greylisted::Passed { .. }));
    assert_eq!(ask("new@foreign.test").await, Greylisted::KnownClient);
    let never = Patience { passes: 0, ..PATIENCE };
    let other = attempt("spf:foreign.test", "newer@foreign.test");
    assert!(matches!(greylist.ask(other, never).await, Lookup::Found(Greylisted::Wait { .. })));
    database.sql("UPDATE gatepost.greylist_clients SET last_seen = now() - interval '25 hours'").await;
    assert!(matches!(ask("newest@foreign.test").await, Greylisted::Wait { .. }));
}

#[tokio::test]
async fn correspondents_and_scores_count_where_somebody_keeps_them() {
    let database = Database::create().await;
    let (store, _) = store(&database).await;
    let greylist = store.greylist();
    let ask = async |attempt: &Attempt| greylist.ask(attempt.clone(), PATIENCE).await.found().unwrap();
    let friend = attempt("192.0.2.0/24", "friend@foreign.test");
    let unsuspected = Attempt { suspected: false, ..friend.clone() };
    assert!(matches!(ask(&friend).await, Greylisted::Wait { .. }));
    assert_eq!(ask(&unsuspected).await, Greylisted::Unsuspected);
    database
        .sql(
            "INSERT INTO gatepost.correspondents (mailbox, correspondent) VALUES ('alice@example.com', 'friend@foreign.test');
              INSERT INTO gatepost.client_scores (network, score) VALUES ('192.0.2.0/24', 5)",
        )
        .await;
    assert_eq!(ask(&friend).await, Greylisted::Correspondent);
    assert_eq!(ask(&unsuspected).await, Greylisted::Correspondent, "suspected by its score");
    let stranger = Attempt { correspondent: "x@y.test".into(), sender: "x@y.test".into(), ..unsuspected };
    assert!(matches!(ask(&stranger).await, Greylisted::Wait { .. }));
    database.sql("UPDATE gatepost.client_scores SET score = 3.9").await;
    assert_eq!(ask(&stranger).await, Greylisted::Unsuspected);
}

/// Many at once go in few statements, and each gets its own answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_at_the_same_instant_get_each_its_own_answer() {
    let database = Database::create().await;
    let (store, _) = store(&database).await;
    database.sql("INSERT INTO gatepost.greylist_clients VALUES ('known', 9, now(), now())").await;
    let greylist = store.greylist();
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..500 {
        let greylist = greylist.clone();
        asking.spawn(async move {
            let client = if number % 5 == 0 { "known" } else { "192.0.2.0/24" };
            let delay = Duration::from_secs(if number % 7 == 0 { 9 } else { 300 });
            let attempt = attempt(client, &format!("s{number}@foreign.test"));
            (number, delay, greylist.ask(attempt, Patience { delay, ..PATIENCE }).await)
        });
    }
    while let Some(asked) = asking.join_next().await {
        let (number, delay, outcome) = asked.unwrap();
        let expected = match number % 5 {
            0 => Greylisted::KnownClient,
            _ => Greylisted::Wait { left: delay, new: true },
        };
        assert_eq!(outcome, Lookup::Found(expected), "{number}");
    }
    assert_eq!(database.sql("SELECT count(*) FROM gatepost.greylist").await, "400");
    // The same attempt twice in one batch is one row and two attempts.
    let twice = attempt("192.0.2.0/24", "twice@foreign.test");
    let (a, b) = tokio::join!(greylist.ask(twice.clone(), PATIENCE), greylist.ask(twice, PATIENCE));
    for outcome in [a, b] {
        assert!(matches!(outcome, Lookup::Found(Greylisted::Wait { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn the_greylist_does_not_grow_for_ever() {
    let database = Database::create().await;
    let (store, _) = store(&database).await;
    database
        .sql("INSERT INTO gatepost.greylist SELECT 'c', 's' || n, 'r', now() - interval '3 hours', now() - interval '3 hours', 0 FROM generate_series(1, 30000) n;
              INSERT INTO gatepost.greylist SELECT 'c', 'new' || n, 'r', now(), now() - n * interval '1 second', 0 FROM generate_series(1, 50) n;
              INSERT INTO gatepost.greylist SELECT 'c', 'passed' || n, 'r', now() - interval '20 hours', now() - interval '20 hours', 3 FROM generate_series(1, 50) n;
              INSERT INTO gatepost.greylist_clients VALUES ('old', 9, now(), now() - interval '2 days'), ('new', 9, now(), now())")
        .await;
    let sweep = async |entries| store.forget_greylist(&PATIENCE, entries).await.found().unwrap();
    // At most some thousands at once; the surplus is counted with what is late.
    while sweep(1000).await > 0 {}
    assert_eq!(
        database.sql("SELECT count(*), count(*) FILTER (WHERE passed > 0) FROM gatepost.greylist").await,
        "100|50"
    );
    assert_eq!(database.sql("SELECT string_agg(client, ',') FROM gatepost.greylist_clients").await, "new");
    // Beyond the bound what never passed goes first, the oldest of it first.
    assert_eq!(sweep(60).await, 40);
    assert_eq!(
        database.sql("SELECT count(*) FILTER (WHERE passed > 0), count(*) FILTER (WHERE sender = 'new1'), count(*) FILTER (WHERE sender = 'new50') FROM gatepost.greylist").await,
        "50|1|0"
    );
}

#[tokio::test]
async fn what_is_usual_is_learnt_day_by_day() {
    let database = Database::create().await;
    let (store, _) = store(&database).await;
    let login = alice();
    let note = async |instance: &str, recipients, network: &str, country: Option<&str>| {
        let message = Sending { login: &login, client: None, instance, recipients };
        store
            .note_sending(message, Some(network.to_owned()), country.map(str::to_owned))
            .await
            .found()
            .unwrap()
    };
    let first = note("a", 10, "192.0.2.0/24", Some("DE")).await;
    assert_eq!(
        (first.today, first.new_networks, first.new_countries),
        (10, 0, 0),
        "the first day alarms nobody"
    );
    assert_eq!(note("a", 10, "192.0.2.0/24", Some("DE")).await.today, 10, "the same message");
    assert_eq!(note("b", 5, "192.0.2.0/24", None).await.today, 15);
    database
        .sql(
            "UPDATE gatepost.login_habits SET day = day - 1, since = since - interval '2 days';
              UPDATE gatepost.login_places SET first_seen = first_seen - interval '2 days'",
        )
        .await;
    let next = note("c", 1, "192.0.2.0/24", Some("DE")).await;
    assert_eq!((next.today, next.new_networks, next.new_countries), (1, 0, 0));
    assert!((next.average - 3.0).abs() < 1e-9, "a fifth of 15: {}", next.average);
    let abroad = note("d", 1, "198.51.100.0/24", Some("FR")).await;
    assert_eq!((abroad.new_networks, abroad.new_countries), (1, 1));
    assert_eq!(store.note_failed(&login).await, Lookup::Found(()));
    assert_eq!(note("e", 1, "192.0.2.0/24", None).await.failed, 1);
    let stranger = Address::parse("nobody@example.com").unwrap();
    assert_eq!(store.note_failed(&stranger).await, Lookup::Found(()));
    assert_eq!(
        database.sql("SELECT count(*) FROM gatepost.login_habits").await,
        "1",
        "who never sent has no row"
    );
}

#[tokio::test]
async fn the_postmaster_is_told_once() {
    let database = Database::create().await;
    let (store, _) = store(&database).await;
    let day = Duration::from_secs(86_400);
    let claim = async || store.claim_notice("k", "alice", day).await;
    assert_eq!(claim().await, Lookup::Found(()));
    assert_eq!(claim().await, Lookup::None);
    assert_eq!(store.release_notice("k", "alice").await, Lookup::Found(()));
    assert_eq!(claim().await, Lookup::Found(()));
    database.sql("UPDATE gatepost.notices SET at = now() - interval '25 hours'").await;
    assert_eq!(claim().await, Lookup::Found(()));
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

#[tokio::test]
async fn verifiers_of_former_passwords_are_forgotten_and_no_others() {
    let database = Database::create().await;
    let (store, directory) = store(&database).await;
    // More than a page of users that have two each; one of them stands there unfolded.
    database
        .sql(
            "INSERT INTO users (local, domain, password_hash) SELECT 'u' || n, 'example.com', 'hash' || n FROM generate_series(1, 600) AS n;
             INSERT INTO users (local, domain, password_hash) VALUES ('Zoe', 'example.com', 'hash of zoe'), ('none', 'example.com', NULL);
             INSERT INTO gatepost.scram_verifiers (login, mechanism, verifier, hash_mark)
             SELECT lower(local) || '@' || domain, mechanism, 'x', sha256(convert_to(password_hash, 'UTF8'))
             FROM users, (VALUES ('SCRAM-SHA-1'), ('SCRAM-SHA-256')) AS m (mechanism)
             WHERE domain = 'example.com' AND password_hash LIKE 'hash%';
             UPDATE users SET password_hash = 'another' WHERE local IN ('u7', 'u300');
             DELETE FROM users WHERE local = 'u599';
             INSERT INTO gatepost.scram_verifiers (login, mechanism, verifier, hash_mark)
             SELECT login, 'SCRAM-SHA-1', 'x', sha256('x')
             FROM (VALUES ('none@example.com'), ('who@elsewhere.test')) AS l (login)",
        )
        .await;
    assert_eq!(store.forget_scram_verifiers(&directory).await, Lookup::Found(2 * 3 + 2));
    let left = "SELECT count(*), count(DISTINCT login), bool_or(login = 'zoe@example.com') FROM gatepost.scram_verifiers";
    assert_eq!(database.sql(left).await, "1196|598|t");
    assert_eq!(store.forget_scram_verifiers(&directory).await, Lookup::Found(0));
}
