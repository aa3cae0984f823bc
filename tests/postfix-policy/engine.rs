//! The address engine against the real database, for keys that nobody thought of: what the maps answer must be what a plain model of
//! the rules says about the same rows.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::instance::{Instance, Setup, until};

/// The rows, mailboxes to themselves, as the tutorial's tables hold them.
const MAILBOXES: [&str; 5] =
    ["alice@example.com", "a@example.com", "a+b@example.com", "b@b.test", "boss@b.test"];
const ALIASES: [(&str, &str); 6] = [
    ("boss@example.com", "alice@example.com"),
    ("b@example.com", "b@b.test"),
    ("a@b.test", "a+b@example.com"),
    ("a+c@example.com", "alice@example.com"),
    // hidden by the mailbox of the same name
    ("a@example.com", "b@b.test"),
    ("b+a@b.test", "a@example.com"),
];

/// Local parts and domains that hit the rows, miss them, and hit them only after folding or without their extension.
fn key() -> impl Strategy<Value = String> {
    let local = "(a|b|alice|boss|A|B|Alice|c|ab)(\\+(a|b|c|B|x|a\\+b|)){0,2}";
    let domain = "(example\\.com|Example\\.COM|b\\.test|B\\.Test|foreign\\.test|sub\\.b\\.test)";
    (local, domain).prop_map(|(local, domain)| format!("{local}@{domain}"))
}

/// Where one step leads: the mailbox, or the destination of the alias with the extension behind.
enum Step {
    Mailbox(String),
    On(String),
}

fn step(key: &str) -> Option<Step> {
    let aliases: BTreeMap<&str, &str> = ALIASES.into_iter().collect();
    let (local, domain) = key.split_once('@').unwrap();
    let (base, extension) = local.split_at(local.find('+').unwrap_or(local.len()));
    for (local, extension) in [(local, ""), (base, extension)] {
        let address = format!("{local}@{domain}").to_lowercase();
        if MAILBOXES.contains(&address.as_str()) {
            return Some(Step::Mailbox(address));
        }
        if let Some(destination) = aliases.get(address.as_str()) {
            let (to, at) = destination.split_once('@').unwrap();
            return Some(Step::On(format!("{to}{extension}@{at}")));
        }
    }
    None
}

/// The rules in their shortest form: (map `mailboxes`, map `aliases`, map `senders`). An alias is followed to its end.
fn model(key: &str) -> [Option<String>; 3] {
    let mut at = match step(key) {
        None => return [None, None, None],
        Some(Step::Mailbox(login)) => return [Some(login.clone()), None, Some(login)],
        Some(Step::On(next)) => next,
    };
    loop {
        match step(&at).unwrap() {
            Step::Mailbox(login) => return [None, Some(at), Some(login)],
            Step::On(next) => at = next,
        }
    }
}

async fn instance(schema: bool) -> Instance {
    let instance = Instance::start(&Setup { schema, ..Setup::default() }).await;
    let mut rows =
        "DELETE FROM aliases; DELETE FROM users; INSERT INTO domains VALUES ('b.test');\n".to_owned();
    let quoted = |address: &str| {
        address.split_once('@').map(|(local, domain)| format!("'{local}', '{domain}'")).unwrap()
    };
    for mailbox in MAILBOXES {
        rows.push_str(&format!("INSERT INTO users (local, domain) VALUES ({});\n", quoted(mailbox)));
    }
    for (source, destination) in ALIASES {
        rows.push_str(&format!(
            "INSERT INTO aliases VALUES ({}, {});\n",
            quoted(source),
            quoted(destination)
        ));
    }
    instance.database.sql(&rows).await;
    instance
}

async fn answers(instance: &Instance, key: &str) -> [Option<String>; 3] {
    let mut answers = [None, None, None];
    for (map, answer) in ["mailboxes", "aliases", "senders"].into_iter().zip(&mut answers) {
        let reply = instance.service.look_up(format!("{map} {key}").as_bytes()).await.text();
        *answer = match reply.split_once(' ') {
            Some(("OK", value)) => Some(value.to_owned()),
            Some(("NOTFOUND", "")) => None,
            _ => panic!("{map} {key}: {reply}"),
        };
    }
    answers
}

async fn compare(schema: bool) {
    let instance = instance(schema).await;
    let (mut runner, strategy) = (TestRunner::default(), key());
    if schema {
        until("the roll is in force", async || instance.parts.directory.kept().is_some()).await;
        // It may have been read before the rows were there; what came last is announced last.
        let (last, _) = ALIASES[ALIASES.len() - 1];
        until("it has all rows", async || answers(&instance, last).await == model(last)).await;
    }
    for _ in 0..400 {
        let key = strategy.new_tree(&mut runner).unwrap().current();
        assert_eq!(answers(&instance, &key).await, model(&key), "{key}");
    }
    instance.stop().await;
}

#[tokio::test]
async fn the_maps_answer_what_the_rules_say() {
    compare(false).await;
}

#[tokio::test]
async fn the_maps_answer_the_same_from_the_cache() {
    compare(true).await;
}

/// Postfix looks each result up again until one is not found; that must end, and end in a mailbox.
#[tokio::test]
async fn following_aliases_always_ends_in_a_mailbox() {
    let instance = instance(true).await;
    let (mut runner, strategy) = (TestRunner::default(), key());
    for _ in 0..200 {
        let key = strategy.new_tree(&mut runner).unwrap().current();
        let (mut address, mut steps) = (key.clone(), 0);
        while let [_, Some(next), _] = answers(&instance, &address).await {
            (address, steps) = (next, steps + 1);
            assert!(steps < 2, "{key} goes on to {address}");
        }
        let [mailbox, ..] = answers(&instance, &address).await;
        assert!(steps == 0 || mailbox.is_some(), "{key} ends at {address}, which is no mailbox");
    }
    instance.stop().await;
}
