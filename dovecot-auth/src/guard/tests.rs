//! Who waits how long, and what of an attempt counts however it ends.

#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::panic::AssertUnwindSafe;
use std::path::Path;

use futures_util::FutureExt;
use gatepost::daemon::Parts;

use super::*;

fn guard() -> Guard {
    let text = "[database]\nhost = \"/nonexistent\"\n";
    let config =
        gatepost::config::parse::<crate::config::Settings>(text, Path::new("gatepost.toml")).unwrap();
    Guard::new(&Parts::new(&config, "gatepost-dovecot-auth").unwrap().store)
}

async fn wrong<'a>(
    guard: &'a Guard,
    settings: &Guessing,
    login: &str,
    address: &str,
    password: &str,
) -> Trial<'a> {
    let password = Secret::new(password.to_owned());
    let guess = guard.guess(login, &password);
    guard.begin(settings, login, address.parse().ok(), guess).await
}

#[tokio::test]
async fn the_delay_grows_and_stays_below_postfixs_patience() {
    let (guard, settings) = (guard(), Guessing::default());
    let base = Duration::from_secs(2);
    let mut last = Duration::ZERO;
    for n in 0..settings.user {
        let trial = wrong(&guard, &settings, "alice@example.com", "192.0.2.1", &n.to_string()).await;
        let delay = Guard::delay(&trial, base);
        assert!(!trial.is_too_much() && delay > last && delay >= base && delay <= LONGEST_DELAY, "{delay:?}");
        last = delay;
        assert_eq!(Guard::delay(&trial, Duration::ZERO), Duration::ZERO);
    }
    assert_eq!(last, LONGEST_DELAY);
}

#[tokio::test]
async fn many_right_logins_at_once_wait_for_each_other_and_wrong_ones_for_nobody() {
    let (guard, settings) = (guard(), Guessing { address: 3, ..Guessing::default() });
    let begin = |login: &'static str| wrong(&guard, &settings, login, "192.0.2.1", "alice123");
    let mut under_way = Vec::new();
    for login in ["a@example.com", "b@example.com", "c@example.com"] {
        under_way.push(begin(login).await);
    }
    let mut fourth = std::pin::pin!(begin("d@example.com"));
    assert!(futures_util::poll!(fourth.as_mut()).is_pending());
    guard.was_right(&mut under_way[0]);
    let fourth = fourth.await;
    assert!(!fourth.is_too_much());
    let mut fifth = std::pin::pin!(begin("e@example.com"));
    assert!(futures_util::poll!(fifth.as_mut()).is_pending());
    // These were wrong.
    drop((under_way, fourth));
    assert!(fifth.await.is_too_much());
}

#[tokio::test]
async fn hanging_up_saves_no_guess() {
    let (guard, settings) = (guard(), Guessing::default());
    for n in 0..settings.user {
        drop(wrong(&guard, &settings, "alice@example.com", "192.0.2.1", &n.to_string()).await);
    }
    assert_eq!(guard.figures(), (settings.user as usize, 0));
    let mut one_more = wrong(&guard, &settings, "alice@example.com", "192.0.2.1", "one more").await;
    assert!(one_more.is_too_much());
    guard.give_up(&mut one_more);
    drop(one_more);
    assert_eq!(guard.figures().0, settings.user as usize);
}

#[tokio::test]
async fn hanging_up_while_the_database_is_asked_leaves_nothing_under_way() {
    let (store, _silent) = crate::silent::store::<crate::config::Settings>();
    let guard = Guard::new(&store);
    let settings = Guessing { user: 1, ..Guessing::default() };
    drop(wrong(&guard, &settings, "alice@example.com", "192.0.2.1", "first").await);
    {
        // Beyond the limit it matters where the login is known, which is asked.
        let begin = wrong(&guard, &settings, "alice@example.com", "192.0.2.1", "second");
        assert!(futures_util::poll!(std::pin::pin!(begin)).is_pending());
    }
    let limits = settings.limits();
    let address = "192.0.2.1".parse().ok();
    let attempt = guard.guesses.attempt("alice@example.com", address, false, 3, limits);
    assert_eq!((attempt.shares.user, attempt.certain.user), (3.0, 3.0));
    // Each has a record by which it is forgotten when its time is over.
    assert_eq!(guard.guesses.len(), 2);
}

#[tokio::test]
async fn a_bug_of_ours_is_nobodys_guess() {
    let (guard, settings) = (guard(), Guessing::default());
    let login = async {
        let _trial = wrong(&guard, &settings, "alice@example.com", "192.0.2.1", "alice123").await;
        panic!("as a bug might");
    };
    assert!(AssertUnwindSafe(login).catch_unwind().await.is_err());
    assert_eq!(guard.figures().0, 0);
    let attempt = guard.guesses.attempt("alice@example.com", None, false, 1, settings.limits());
    assert_eq!(attempt.shares.user * f64::from(settings.user), 1.0);
}

#[tokio::test]
async fn strangers_lock_nobody_out_of_his_own_place_while_the_database_is_away_too() {
    let (guard, settings) = (guard(), Guessing::default());
    let alice = Address::parse("alice@example.com").unwrap();
    guard.entered(&Entrance {
        login: &alice,
        service: Service::Imap,
        address: "192.0.2.1".parse().ok(),
        mechanism: "PLAIN",
        client: "",
        app_password: None,
        master: None,
    });
    for n in 0..60 {
        let from = format!("203.0.113.{n}");
        wrong(&guard, &settings, "alice@example.com", &from, &format!("guess {n}")).await;
    }
    assert!(!wrong(&guard, &settings, "alice@example.com", "192.0.2.1", "alice123").await.is_too_much());
    // Another address of the same network is as good as known.
    assert!(!wrong(&guard, &settings, "alice@example.com", "192.0.2.9", "alice123").await.is_too_much());
    // But who guesses from there is stopped like anybody.
    let mut last = false;
    for n in 0..=settings.user {
        last = wrong(&guard, &settings, "alice@example.com", "192.0.2.1", &n.to_string()).await.is_too_much();
    }
    assert!(last);
}
