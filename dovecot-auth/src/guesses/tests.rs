//! What counts, and for whom.

#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::state::{MOST, ratio};
use super::*;

const LIMITS: Limits = Limits { user: 3, address: 5, network: 8, window: Duration::from_secs(3600) };

struct Scene(Guesses);

impl Scene {
    fn try_it(&self, login: &str, address: &str, password: &str) -> Attempt {
        let attempt = self.begin(login, address, password);
        self.0.confirm(&attempt);
        attempt
    }

    fn begin(&self, login: &str, address: &str, password: &str) -> Attempt {
        let guess = self.0.guess(login, &Secret::new(password.to_owned()));
        self.0.attempt(login, address.parse().ok(), false, guess, LIMITS)
    }
}

#[test]
fn the_same_wrong_password_counts_once() {
    let scene = Scene(Guesses::default());
    for _ in 0..50 {
        assert!(scene.try_it("alice", "192.0.2.1", "old").share() < 0.5);
    }
    assert_eq!(scene.0.len(), 1);
    scene.try_it("alice", "192.0.2.1", "a");
    assert!(scene.try_it("alice", "192.0.2.1", "b").share() <= 1.0);
    assert!(scene.try_it("alice", "192.0.2.1", "c").share() > 1.0);
    // Elsewhere and for others nothing has happened.
    assert!(scene.try_it("bob", "198.51.100.1", "c").share() < 0.5);
}

#[test]
fn one_password_for_many_users_counts_for_the_address_and_its_network() {
    let scene = Scene(Guesses::default());
    let shares: Vec<bool> =
        (0..6).map(|n| scene.try_it(&format!("user{n}"), "192.0.2.1", "spring").share() > 1.0).collect();
    assert_eq!(shares, [false, false, false, false, false, true]);
    let shares: Vec<bool> = (0..3)
        .map(|n| scene.try_it(&format!("other{n}"), &format!("192.0.2.{}", n + 10), "spring").share() > 1.0)
        .collect();
    assert_eq!(shares, [false, false, true]);
    assert!(scene.try_it("x", "192.0.3.1", "spring").share() <= 1.0);
}

#[test]
fn what_strangers_do_does_not_count_as_ones_own() {
    let scene = Scene(Guesses::default());
    for n in 0..20 {
        scene.try_it("alice", &format!("203.0.113.{n}"), &format!("guess{n}"));
    }
    let mine = scene.try_it("alice", "192.0.2.1", "alice123");
    assert!(mine.share() > 1.0 && mine.shares.own_address < 0.5 && mine.shares.own_network < 0.5);
    let six = scene.try_it("alice", "2001:db8::1", "alice123");
    let again = scene.try_it("alice", "2001:db8::2", "alice124");
    assert!(six.shares.own_address < 0.5 && again.shares.own_address > 0.5);
}

#[test]
fn what_was_right_or_not_decided_does_not_count() {
    let scene = Scene(Guesses::default());
    for n in 0..20 {
        let attempt = scene.begin("alice", "192.0.2.1", &format!("{n}"));
        assert!(attempt.share() < 0.5);
        if n % 2 == 0 { scene.0.take_back(&attempt) } else { scene.0.was_right(&attempt) }
    }
    assert_eq!((scene.0.len(), scene.0.state.lock().unwrap().tallies.len()), (0, 0));
    let wrong = scene.try_it("alice", "192.0.2.1", "wrong");
    let again = scene.begin("alice", "192.0.2.1", "wrong");
    // It was wrong before; that nobody could say this time changes nothing.
    scene.0.take_back(&again);
    assert!(scene.try_it("alice", "192.0.2.1", "other").share() > 0.5);
    scene.0.was_right(&wrong);
    assert!(scene.try_it("alice", "192.0.2.1", "other").share() < 0.5);
    // Nor does it wipe out what was wrong elsewhere.
    scene.try_it("bob", "192.0.2.1", "wrong");
    scene.0.take_back(&scene.begin("bob", "198.51.100.1", "wrong"));
    assert!(scene.try_it("bob", "203.0.113.1", "other").share() > 0.5);
}

#[test]
fn what_is_under_way_is_told_from_what_was_wrong() {
    let scene = Scene(Guesses::default());
    let certain = |attempt: &Attempt| (attempt.certain.user, attempt.certain.place);
    let under_way: Vec<Attempt> =
        (0..LIMITS.address).map(|n| scene.begin(&format!("user{n}"), "192.0.2.1", "right")).collect();
    let one_more = scene.begin("alice", "192.0.2.1", "right");
    assert!(one_more.share() > 1.0 && one_more.certain.place < 0.5);
    for attempt in &under_way {
        scene.0.was_right(attempt);
    }
    scene.0.take_back(&one_more);
    assert_eq!(scene.0.state.lock().unwrap().tallies.len(), 0);
    // Tried twice at once, it is one guess; wrong ones are certain.
    let (first, second) =
        (scene.begin("bob", "192.0.2.1", "wrong"), scene.begin("bob", "192.0.2.1", "wrong"));
    assert_eq!((certain(&first), certain(&second)), ((1.0 / 3.0, 0.2), (1.0 / 3.0, 0.2)));
    scene.0.confirm(&second);
    scene.0.confirm(&first);
    let other = scene.begin("bob", "192.0.2.1", "other");
    assert_eq!(certain(&other), (2.0 / 3.0, 0.4));
    // What is right is right for all who try it now.
    let same = scene.begin("bob", "192.0.2.1", "other");
    scene.0.was_right(&same);
    scene.0.was_right(&other);
    assert_eq!(certain(&scene.begin("bob", "192.0.2.1", "last")), (2.0 / 3.0, 0.4));
}

#[test]
fn attempts_with_one_password_may_overtake_each_other() {
    let scene = Scene(Guesses::default());
    let begin = |password| scene.begin("alice", "192.0.2.1", password);
    let [first, second, other] = [begin("right"), begin("right"), begin("other")];
    // What the second has taken out of the tables, the first is not under way in any more.
    scene.0.was_right(&second);
    let third = begin("third");
    assert_eq!((third.shares.user, third.certain.user), (2.0 / 3.0, 1.0 / 3.0));
    for attempt in [&first, &other, &third] {
        scene.0.was_right(attempt);
    }
    assert_eq!((scene.0.len(), scene.0.state.lock().unwrap().tallies.len()), (0, 0));
    // What one of them waits with is wrong all the same if another finds it so, before or after.
    for is_before in [true, false] {
        let (waits, goes_on) = (begin("wrong"), begin("wrong"));
        if is_before {
            scene.0.withdraw(&waits);
        }
        scene.0.confirm(&goes_on);
        if !is_before {
            scene.0.withdraw(&waits);
        }
        assert_eq!(begin("wrong").certain.user, 1.0 / 3.0);
        assert_eq!(scene.0.forget("alice"), 1, "{is_before}");
    }
    // Nor is what another host has heard taken back.
    let here = begin("wrong");
    scene.0.heard("alice", "192.0.2.1".parse().ok(), false, here.record.guess, Duration::ZERO);
    scene.0.take_back(&here);
    assert!(!begin("wrong").is_new());
}

proptest::proptest! {
    /// Whatever overtakes what: shares are never more than what was tried, never less than what is certain, and nothing stays that
    /// was right or not decided.
    #[test]
    fn whatever_is_settled_in_whatever_order(
        steps in proptest::collection::vec((0_u8..5, 0_usize..2, 0_usize..3, 0_usize..3), 1..60),
    ) {
        let (scene, mut under_way) = (Scene(Guesses::default()), Vec::new());
        let mut wrong = std::collections::HashSet::new();
        for (step, login, address, password) in steps {
            if step < 2 || under_way.is_empty() {
                let login = ["alice", "bob"][login];
                let address = ["192.0.2.1", "192.0.2.2", "2001:db8::1"][address];
                let attempt = scene.begin(login, address, ["a", "b", "c"][password]);
                let all = [(attempt.shares, attempt.certain)].map(|(all, certain)| {
                    [(all.user, certain.user), (all.own_address, certain.own_address), (all.own_network, certain.own_network)]
                });
                for (all, certain) in all.into_iter().flatten() {
                    proptest::prop_assert!((1.0 / 3.0..=1.0).contains(&certain) && (certain..=1.0).contains(&all));
                }
                under_way.push(((login, password), attempt));
            } else {
                let (what, attempt) = under_way.remove((address * 3 + password) % under_way.len());
                match step {
                    2 => scene.0.withdraw(&attempt),
                    3 => {
                        scene.0.was_right(&attempt);
                        wrong.remove(&what);
                    }
                    _ => {
                        scene.0.confirm(&attempt);
                        wrong.insert(what);
                    }
                }
            }
        }
        for (_, attempt) in &under_way {
            scene.0.withdraw(attempt);
        }
        for login in ["alice", "bob"] {
            let next = scene.begin(login, "203.0.113.1", "next");
            let certain = wrong.iter().filter(|what| what.0 == login).count();
            proptest::prop_assert_eq!(next.shares.user, ratio(certain + 1, 3));
            proptest::prop_assert_eq!(next.certain.user, next.shares.user);
        }
    }
}

#[test]
fn guesses_are_forgotten_in_time_and_on_command() {
    let scene = Scene(Guesses::default());
    let soon = Limits { window: Duration::from_millis(1), ..LIMITS };
    let guess = scene.0.guess("alice", &Secret::new("x".into()));
    scene.0.heard("alice", None, false, guess, Duration::from_secs(120));
    scene.0.confirm(&scene.0.attempt("bob", None, false, guess, soon));
    assert_eq!((scene.0.len(), scene.0.state.lock().unwrap().tallies.len()), (1, 1));
    for (key, remaining) in
        [("alice", false), ("192.0.2.1", false), ("192.0.2.0/24", false), ("192.0.2.2", true)]
    {
        for n in 0..4 {
            scene.try_it("alice", "192.0.2.1", &format!("{n}"));
        }
        scene.0.forget(key);
        assert_eq!(scene.try_it("alice", "192.0.2.1", "new").share() > 1.0, remaining, "{key}");
        scene.0.forget("alice");
    }
}

#[test]
fn a_trusted_address_is_not_counted_but_its_users_are() {
    let scene = Scene(Guesses::default());
    let local = "127.0.0.1".parse().ok();
    let shares: Vec<f64> =
        (0..20).map(|n| scene.0.attempt(&format!("user{n}"), local, true, n, LIMITS).share()).collect();
    assert!(shares.iter().all(|share| *share < 0.5));
    let shares: Vec<f64> = (0..4).map(|n| scene.0.attempt("alice", local, true, n, LIMITS).share()).collect();
    assert!(shares[2] <= 1.0 && shares[3] > 1.0);
}

#[test]
fn the_memory_is_bounded() {
    let scene = Scene(Guesses::default());
    for n in 0..(MOST as u64 + 5_000) {
        scene.0.confirm(&scene.0.attempt(&format!("user{n}"), None, false, n, LIMITS));
    }
    assert!(scene.0.len() <= MOST + 1);
    assert!(scene.0.state.lock().unwrap().tallies.len() <= MOST + 1);
}
