//! Settings, lists and correspondents in schema `gatepost`, as the milter's own role reads and writes them and the tool keeps them.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use gatepost::config::Secret;
use gatepost::directory::{Directory, Lookup};
use gatepost::mail::Address;
use gatepost::spam::{Audience, Match, Named, Seen};
use gatepost::store::{Author, Correspondence, Held, Relation, Store, schema};

use crate::postgres::Database;
use crate::tool::Tool;
use crate::{connect, until};

/// A store under the milter's own role, which has no rights but those of roles.sql.
struct World {
    database: Database,
    store: Store,
    directory: Directory,
    _password: tempfile::NamedTempFile,
}

impl World {
    async fn new() -> Self {
        let database = Database::create().await;
        let role = "gatepost_milter";
        let passwords = [(role, Secret::new(role.to_owned()))];
        schema::install(&mut connect(&database, "postgres").await, true, &passwords).await.unwrap();
        let password = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(password.path(), role).unwrap();
        std::fs::set_permissions(password.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = gatepost::config::Database {
            user: Some(role.into()),
            password_file: Some(password.path().to_owned()),
            ..database.config()
        };
        let directory = Directory::new(gatepost::database::Database::new(&config, "test").unwrap(), &config);
        Self { store: Store::new(&directory), database, directory, _password: password }
    }

    /// The limit of bob's `reject`, as a number.
    async fn reject_of_bob(&self) -> Lookup<Option<f64>> {
        let bob = Address::parse("bob@example.com").unwrap();
        self.store.spam_settings().await.map(|settings| {
            settings.of(&bob).filter_map(|chosen| chosen.reject).last().map(|limit| limit.points())
        })
    }
}

fn alice() -> Address {
    Address::parse("alice@example.com").unwrap()
}

#[tokio::test]
async fn settings_count_at_once_and_the_last_known_ones_while_the_database_is_away() {
    let world = World::new().await;
    tokio::spawn(world.directory.clone().watch());
    until("it counts", async || world.directory.is_notified()).await;
    let tool = Tool::new(&world.database);
    assert_eq!(world.reject_of_bob().await, Lookup::Found(None));
    assert_eq!(tool.ok("settings set Example.COM reject 9.5"), "example.com: reject = 9.5\n");
    until("it counts", async || world.reject_of_bob().await == Lookup::Found(Some(9.5))).await;
    assert_eq!(tool.ok("settings set bob@example.com reject off"), "bob@example.com: reject = off\n");
    until("it counts", async || world.reject_of_bob().await == Lookup::Found(Some(f64::INFINITY))).await;
    world.database.take_away().await;
    until("it counts", async || !world.directory.is_notified()).await;
    assert_eq!(world.reject_of_bob().await, Lookup::Found(Some(f64::INFINITY)));
    // Nobody has ever asked for the lists: that is not "none".
    assert!(matches!(world.store.spam_lists().await, Lookup::Unavailable(_)));
    world.database.give_back().await;
    until("it counts", async || world.store.spam_lists().await.is_found()).await;
}

/// Mail that came for these mailboxes under their own names.
fn audience(mailboxes: &[Address]) -> Audience {
    let mut audience = Audience::default();
    mailboxes.iter().for_each(|mailbox| audience.add(mailbox, mailbox));
    audience
}

#[tokio::test]
async fn a_row_that_cannot_be_understood_undoes_no_other() {
    let world = World::new().await;
    world
        .database
        .sql(
            "INSERT INTO gatepost.settings VALUES ('*', 'reject', 'many'), ('*', 'no-such-name', '1'), ('a b', 'reject', '1'),
                 ('*', 'add-header', '4');
             INSERT INTO gatepost.access_rules (kind, value, action) VALUES ('header', 'Subject: (', 'deny');
             INSERT INTO gatepost.access_rules (kind, value, action, expires_at) VALUES ('helo', 'bad.test', 'deny', 'infinity')",
        )
        .await;
    let settings = world.store.spam_settings().await.found().unwrap();
    let chosen: Vec<_> = settings.of(&alice()).collect();
    assert_eq!((chosen.len(), chosen[0].add_header.unwrap().points(), chosen[0].reject), (1, 4.0, None));
    let lists = world.store.spam_lists().await.found().unwrap();
    let seen = Seen { helo: "bad.test".to_owned(), ..Seen::default() };
    assert_eq!((lists.len(), lists.matching(&seen, &audience(&[alice()])).len()), (1, 1));
}

/// Postfix's programs are scripts here: the queue is asked for, and before it is told a message is put on hold.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_on_hold_while_the_queue_is_listed_keeps_its_row() {
    let world = World::new().await;
    let tool = Tool::new(&world.database);
    let place = |name: &str| tool.dir().join(name);
    for (program, script) in [
        ("postconf", "echo mx.example.com"),
        ("postqueue", "touch \"${0%/*}/asked\"; until [ -e \"${0%/*}/go\" ]; do sleep 0.05; done"),
    ] {
        std::fs::write(place(program), format!("#!/bin/sh\n{script}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(place(program), mode).unwrap();
    }
    let mut list = quarantine_list(&tool).spawn().unwrap();
    until("the queue is asked for", async || place("asked").exists()).await;
    world
        .database
        .sql(
            "INSERT INTO gatepost.quarantine (host, queue_id, sender, recipients, subject, score, why)
             VALUES ('mx.example.com', '4XqT1z', 'a@b.test', '{alice@example.com}', 'x', 7, '')",
        )
        .await;
    std::fs::write(place("go"), "").unwrap();
    assert!(list.wait().unwrap().success());
    assert_eq!(world.database.sql("SELECT count(*) FROM gatepost.quarantine").await, "1");
    // One whose message is gone is cleared away when it is no longer on its way.
    world.database.sql("UPDATE gatepost.quarantine SET held_at = held_at - interval '1 day'").await;
    assert!(quarantine_list(&tool).status().unwrap().success());
    assert_eq!(world.database.sql("SELECT count(*) FROM gatepost.quarantine").await, "0");
}

/// `gatepost quarantine list`, with Postfix's programs from its own directory.
fn quarantine_list(tool: &Tool) -> std::process::Command {
    let path = format!("{}:{}", tool.dir().display(), std::env::var("PATH").unwrap());
    let mut list = std::process::Command::new(env!("CARGO_BIN_EXE_gatepost"));
    list.arg("--config").arg(tool.dir().join("gatepost.toml")).args(["quarantine", "list"]);
    list.env("PATH", path).stdout(std::process::Stdio::null());
    list
}

#[tokio::test]
async fn lists_are_written_by_the_tool_and_read_by_the_milter() {
    let world = World::new().await;
    // A row from before the milter read these lists.
    world
        .database
        .sql("INSERT INTO gatepost.access_rules (kind, value, scope, action) VALUES ('network', '192.0.2.0/24', '*', 'allow')")
        .await;
    let tool = Tool::new(&world.database);
    assert_eq!(
        tool.ok("score add Shop.Test --kind url --points -2.5"),
        "score: url shop.test, -2.5 points\n"
    );
    assert_eq!(tool.ok("tag add bank.test --kind verified --as bank"), "tag: verified bank.test, as bank\n");
    assert_eq!(tool.ok("deny add Subject:^\\Scheap --kind header"), "deny: header Subject:^\\Scheap\n");
    assert_eq!(tool.ok("deny add *.ISO --kind attachment"), "deny: attachment *.iso\n");
    assert_eq!(tool.ok("allow add a@b.test --unauthenticated"), "allow: address a@b.test, proven or not\n");
    assert!(tool.ok("allow list").contains("proven or not"));
    // What refuses for now does not refuse for good as well, nor the other way round.
    for (add, listed, not) in [
        ("deny add 198.51.100.7", "deny ", "defer "),
        ("deny add 198.51.100.7 --defer", "defer ", "deny "),
        ("deny add 198.51.100.7", "deny ", "defer "),
    ] {
        tool.ok(add);
        let list = tool.ok("deny list");
        let rows: Vec<&str> = list.lines().filter(|line| line.contains("198.51.100.7")).collect();
        assert!(rows.len() == 1 && rows[0].starts_with(listed) && !rows[0].contains(not), "{add}: {list}");
    }
    tool.ok("deny remove 198.51.100.7");
    for (command, sentence) in [
        ("score add a.test", "--points 3"),
        ("score add a.test --points 1e9", "beyond ±1000"),
        ("tag add a.test", "--as newsletter"),
        ("tag add a.test --as two;words", "a word of letters"),
        ("deny add a.test --points 3", "belongs to `gatepost score`"),
        (
            "score add ann@example.com --kind login --points 3",
            "--kind login belongs to `gatepost allow` and `deny`",
        ),
        (
            "tag add ann@example.com --kind login --as vip",
            "--kind login belongs to `gatepost allow` and `deny`",
        ),
        ("deny add a.test --unauthenticated", "belongs to `gatepost allow`"),
        ("deny add Subject --kind header", "expected a header field and a regular expression"),
        ("settings set * reject -5", "no number of points"),
        ("settings unset * reject", "nothing of that is set"),
    ] {
        let said = tool.refused(command);
        assert!(said.contains(sentence), "{command}: {said}");
    }
    // What no daemon could read is no argument either: each says what was expected, or where to look.
    for (command, sentence) in [
        ("settings set * rejekt 5", "unknown setting \"rejekt\"; did you mean reject?"),
        ("settings unset * weight.GTUBES", "GTUBE"),
        ("settings set a@@b reject 5", "bad address"),
        ("settings list a..b", "* for everybody, a domain, an address"),
        ("settings show alice", "expected local@domain"),
        ("limits reset a@b@", "`gatepost limits show` lists all"),
        ("history --sender a@@b", "<> for the null sender"),
        ("history --recipient a..b", "expected an address, a domain"),
        ("history --action rejected", "similar value exists: 'reject'"),
        ("why 4Xq1 --recipient alice", "expected local@domain"),
        ("model forget alice", "expected local@domain"),
        ("quarantine show a/b", "expected 5 to 64 letters and digits; `gatepost quarantine list`"),
        ("quarantine delete 4XqT1z0Kk1z8 x --yes", "no queue id of Postfix"),
        ("dkim activate example.com a..b", "bad selector"),
        ("dkim generate example.com --selector -x", "unexpected argument"),
        ("allow add a.test --only-for a@@b", "bad address"),
    ] {
        let said = tool.misused(command);
        assert!(said.contains(sentence), "{command}: {said}");
    }
    let lists = world.store.spam_lists().await.found().unwrap();
    let seen = Seen {
        client: "192.0.2.7".parse().ok(),
        hosts: vec!["www.shop.test"],
        verified: vec!["mail.bank.test".to_owned()],
        attachments: vec!["a.iso".to_owned()],
        fields: vec![("subject", "xcheap")],
        ..Seen::default()
    };
    let mut words: Vec<&str> = lists
        .matching(&seen, &audience(&[alice()]))
        .iter()
        .map(|found: &Match<'_>| found.wish.word())
        .collect();
    words.sort_unstable();
    assert_eq!(words, ["allow", "deny", "deny", "score", "tag"]);
    tool.ok("settings set * reject 12");
    tool.ok("settings set alice@example.com reject 20");
    let shown = tool.ok("settings show alice@example.com");
    assert!(shown.contains("20") && !shown.contains("12"), "{shown}");
    assert!(tool.ok("settings show bob@example.com").contains("12"));
}

/// From the command to the milter's list: every kind in every scope, each action with each of them.
#[tokio::test]
async fn every_kind_can_be_written_for_everybody_a_domain_and_a_mailbox() {
    let world = World::new().await;
    let tool = Tool::new(&world.database);
    let nouns = [
        ("allow", "", "allow"),
        ("deny", "", "deny"),
        ("deny", " --defer", "defer"),
        ("score", " --points 2", "score"),
        ("tag", " --as word", "tag"),
    ];
    let kinds = [
        ("address", "ann@a.test"),
        ("domain", "b.test"),
        ("network", "192.0.2.0/24"),
        ("helo", "helo.test"),
        ("recipient", "alice@example.com"),
        ("verified", "signed.test"),
        ("url", "shop.test"),
        ("attachment", "*.exe"),
        ("header", "Subject:^cheap"),
    ];
    let scopes = ["", " --only-for example.com", " --only-for alice@example.com"];
    for (at, (kind, value)) in kinds.iter().enumerate() {
        for (number, (noun, options, _)) in nouns.iter().enumerate() {
            let scope = scopes[(at + number) % scopes.len()];
            tool.ok(&format!("{noun} add {value} --kind {kind}{scope}{options}"));
        }
    }
    let lists = world.store.spam_lists().await.found().unwrap();
    assert_eq!(lists.len(), kinds.len() * nouns.len());
    let named = |address: &str| {
        let domain = address.split_once('@').unwrap().1.to_owned();
        Some(Named { address: address.to_owned(), domain, proven: true })
    };
    let nobody = Seen::default;
    let seen = |kind: &str| match kind {
        "address" => Seen { author: named("ann@a.test"), ..nobody() },
        "domain" => Seen { author: named("x@mail.b.test"), ..nobody() },
        "network" => Seen { client: "192.0.2.9".parse().ok(), ..nobody() },
        "helo" => Seen { helo: "helo.test".to_owned(), author: named("x@y.test"), ..nobody() },
        "verified" => Seen { verified: vec!["signed.test".to_owned()], ..nobody() },
        "url" => Seen { hosts: vec!["www.shop.test"], author: named("x@y.test"), ..nobody() },
        "attachment" => Seen { attachments: vec!["a.exe".to_owned()], author: named("x@y.test"), ..nobody() },
        "header" => Seen { fields: vec![("subject", "Cheap")], author: named("x@y.test"), ..nobody() },
        _ => nobody(),
    };
    let (alice, carl) = (alice(), Address::parse("carl@123qwe.com").unwrap());
    for (at, (kind, _)) in kinds.iter().enumerate() {
        let seen = seen(kind);
        // Those about recipients match any message, for their recipient.
        let matches = lists.matching(&seen, &audience(&[alice.clone(), carl.clone()]));
        let words = |mailbox: &Address| -> Vec<&str> {
            let counting = matches.iter().filter(|found| found.counts_for(mailbox, mailbox));
            let own = counting.filter(|found| found.what.starts_with("recipient") == (*kind == "recipient"));
            let mut words: Vec<&str> = own.map(|found| found.wish.word()).collect();
            words.sort_unstable();
            words
        };
        assert_eq!(words(&alice), ["allow", "defer", "deny", "score", "tag"], "{kind}");
        let for_all = nouns.iter().enumerate().filter(|(number, _)| (at + number) % 3 == 0);
        let mut expected: Vec<&str> =
            for_all.map(|(_, (.., word))| *word).filter(|_| *kind != "recipient").collect();
        expected.sort_unstable();
        assert_eq!(words(&carl), expected, "{kind}");
    }
}

#[tokio::test]
async fn whom_a_login_wrote_to_is_known_and_for_that_login_only() {
    let world = World::new().await;
    let berta = Author {
        address: "berta@outside.test".to_owned(),
        name: "berta brown".to_owned(),
        answers: vec!["<0@x>".to_owned(), "<1@example.com>".to_owned()],
    };
    let bob = Address::parse("bob@example.com").unwrap();
    let both = [alice(), bob];
    let strangers = Lookup::Found(vec![Relation::default(), Relation::default()]);
    assert_eq!(world.store.relations(&both, &berta).await, strangers);
    let row = |count| (alice().to_string(), berta.address.clone(), berta.name.clone(), count);
    let batch = Correspondence {
        correspondents: vec![row(2)],
        sent: vec![("<1@example.com>".to_owned(), alice().to_string())],
        scores: vec![("192.0.2.0/24".to_owned(), 10.0, 1)],
        held: vec![Held { host: "mx".to_owned(), queue_id: "4X".to_owned(), ..Held::default() }],
    };
    for _ in 0..2 {
        assert_eq!(world.store.remember_correspondence(&batch).await, Lookup::Found(()));
    }
    let known = Relation { wrote_to: true, answers: true, ..Relation::default() };
    assert_eq!(world.store.relations(&both, &berta).await, Lookup::Found(vec![known, Relation::default()]));
    let other = Author { address: "berta@elsewhere.test".to_owned(), answers: Vec::new(), ..berta.clone() };
    let namesake = Relation { namesake: Some(berta.address.clone()), ..Relation::default() };
    assert_eq!(world.store.relations(&[alice()], &other).await, Lookup::Found(vec![namesake]));
    let counts = world.database.sql("SELECT messages FROM gatepost.correspondents").await;
    assert_eq!(counts, "4");
    // Nine tenths of the old mean, one of the new score.
    let low =
        Correspondence { scores: vec![("192.0.2.0/24".to_owned(), 0.0, 1)], ..Correspondence::default() };
    assert_eq!(world.store.remember_correspondence(&low).await, Lookup::Found(()));
    assert_eq!(world.database.sql("SELECT score, messages FROM gatepost.client_scores").await, "9|3");
    world.database.sql("UPDATE gatepost.sent_messages SET sent_at = now() - interval '91 days'").await;
    assert_eq!(world.store.forget_correspondence(Duration::from_secs(90 * 86_400)).await, Lookup::Found(1));
}
