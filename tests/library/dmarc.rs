//! Exceptions from DMARC: what the tool writes, what the store reads, what the tables refuse.

use std::sync::Arc;

use gatepost::directory::{Directory, Lookup};
use gatepost::dmarc::{Overrides, Policy};
use gatepost::store::{Store, schema};

use crate::postgres::Database;
use crate::tool::Tool;
use crate::{connect, until};

async fn store(database: &Database) -> (Store, Directory) {
    schema::install(&mut connect(database, "postgres").await, true, &[]).await.unwrap();
    let config = database.config();
    let directory = Directory::new(gatepost::database::Database::new(&config, "test").unwrap(), &config);
    (Store::new(&directory), directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_reads_what_the_tool_writes_as_soon_as_it_is_announced() {
    let database = Database::create().await;
    let (store, directory) = store(&database).await;
    let tool = Tool::new(&database);
    let watch = tokio::spawn(directory.clone().watch());
    until("notified", async || directory.is_notified()).await;
    assert_eq!(store.dmarc_overrides().await, Lookup::Found(Arc::new(Overrides::default())));
    assert_eq!(store.forwarders().await, Lookup::Found(Arc::new(Vec::new())));

    tool.ok("dmarc policy set Bücher.example quarantine --comment gardeners");
    tool.ok("dmarc policy set news.bücher.example default");
    until("two rows", async || store.dmarc_overrides().await.found().is_some_and(|rows| rows.len() == 2))
        .await;
    let overrides = store.dmarc_overrides().await.found().unwrap();
    assert_eq!(overrides.policy("x.xn--bcher-kva.example"), Some(Policy::Quarantine));
    assert_eq!(overrides.policy("x.news.xn--bcher-kva.example"), None);

    tool.ok("dmarc forwarder add network 192.0.2.77/24");
    tool.ok("dmarc forwarder add spf Alumni.Example --for example.com");
    tool.ok("dmarc forwarder add dkim list.example");
    tool.ok("dmarc forwarder add name mx.list.example");
    until("four rows", async || store.forwarders().await.found().is_some_and(|rows| rows.len() == 4)).await;
    let mut known: Vec<String> = store
        .forwarders()
        .await
        .found()
        .unwrap()
        .iter()
        .map(|row| {
            format!("{} for {}", row.by, row.recipients.as_ref().map_or("*", |domain| domain.as_str()))
        })
        .collect();
    known.sort();
    assert_eq!(
        known,
        [
            "dkim list.example for *",
            "name mx.list.example for *",
            "network 192.0.2.0/24 for *",
            "spf alumni.example for example.com"
        ]
    );
    tool.ok("dmarc forwarder remove network 192.0.2.0/24");
    until("three rows", async || store.forwarders().await.found().is_some_and(|rows| rows.len() == 3)).await;
    watch.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tool_says_what_is_wrong_and_what_to_do() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    assert!(tool.refused("dmarc policy list").contains("gatepost schema install"));
    tool.ok("schema install");
    assert_eq!(tool.ok("dmarc policy list"), "");
    assert_eq!(tool.ok("dmarc forwarder list"), "");

    let said = tool.ok("dmarc policy set bank.example none --comment until-they-sign");
    assert_eq!(said, "mail from bank.example that fails DMARC is taken, whatever its record asks for\n");
    tool.ok("dmarc policy set Bank.Example. reject");
    tool.ok("dmarc policy set a.bank.example default");
    let listed = tool.ok("dmarc policy list bank.example");
    assert!(listed.contains("bank.example    reject") && !listed.contains("until-they-sign"), "{listed}");
    assert!(listed.contains("a.bank.example  default"), "{listed}");
    assert_eq!(tool.ok("dmarc policy list ank.example"), "");
    tool.ok("dmarc policy clear bank.example");
    assert!(tool.refused("dmarc policy clear bank.example").contains("nothing is set for bank.example"));

    for (arguments, code, sentence) in [
        ("dmarc policy set bank.example discard", 64, "possible values: none, quarantine, reject, default"),
        ("dmarc policy set a..b none", 64, "not a domain name"),
        ("dmarc forwarder add helo mx.example", 64, "expected network, spf, dkim or name"),
        (
            "dmarc forwarder add network example.org",
            1,
            "is no network; expected an address and a prefix length",
        ),
        ("dmarc forwarder add network 0.0.0.0/0", 1, "set `enforce = false` in [milter.dmarc]"),
        ("dmarc forwarder add network ::/0", 1, "is everybody"),
        ("dmarc forwarder add spf a..b", 1, "is no domain"),
        (
            "dmarc forwarder add spf list.example --for nowhere.example",
            1,
            "gatepost domain add nowhere.example",
        ),
        ("dmarc forwarder remove spf list.example", 1, "there is no forwarder spf list.example"),
    ] {
        let (found, out, err) = tool.run(arguments, "");
        assert!(found == code && err.contains(sentence), "{arguments}: {found} {out}{err}");
    }
    let long = format!("dmarc policy set bank.example none --comment {}", "x".repeat(257));
    assert!(tool.run(&long, "").2.contains("at most 256 characters"));

    tool.ok("dmarc forwarder add spf list.example --for example.com");
    tool.ok("dmarc forwarder add spf list.example");
    assert!(tool.refused("dmarc forwarder add spf List.example").contains("is there already"));
    let refused = tool.refused("dmarc forwarder remove spf list.example --for 123qwe.com");
    assert!(refused.contains("spf list.example, for mail to 123qwe.com"), "{refused}");
    tool.ok("dmarc forwarder remove spf list.example --for example.com");
    let listed = tool.ok("dmarc forwarder list");
    assert!(listed.contains("spf   list.example  *"), "{listed}");
}

#[tokio::test]
async fn the_tables_refuse_what_the_milter_could_not_read() {
    let database = Database::create().await;
    let _ = store(&database).await;
    let mut owner = connect(&database, "postgres").await;
    for statement in [
        "INSERT INTO gatepost.dmarc_overrides (domain, policy) VALUES ('Bank.example', 'none')",
        "INSERT INTO gatepost.dmarc_overrides (domain, policy) VALUES ('', 'none')",
        "INSERT INTO gatepost.dmarc_overrides (domain, policy) VALUES ('bank.example', 'discard')",
        "INSERT INTO gatepost.forwarders (kind, value) VALUES ('helo', 'mx.example')",
        "INSERT INTO gatepost.forwarders (kind, value) VALUES ('network', '192.0.2.1')",
        "INSERT INTO gatepost.forwarders (kind, value) VALUES ('network', '192.0.2.1/24')",
        "INSERT INTO gatepost.forwarders (kind, value) VALUES ('network', 'mx.example')",
        "INSERT INTO gatepost.forwarders (kind, value) VALUES ('spf', 'List.example')",
        "INSERT INTO gatepost.forwarders (kind, value, recipient_domain) VALUES ('spf', 'list.example', '')",
    ] {
        assert!(sqlx::raw_sql(statement).execute(&mut owner).await.is_err(), "{statement}");
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_the_operators_to_mend_and_never_no_row() {
    let database = Database::create().await;
    let (store, _) = store(&database).await;
    database.sql("INSERT INTO gatepost.forwarders (kind, value) VALUES ('spf', 'not a domain')").await;
    let answer = store.forwarders().await;
    assert!(
        matches!(&answer, Lookup::Misconfigured(why) if why.contains("row spf not a domain") && why.contains("forwarder list")),
        "{answer:?}"
    );
    database.sql("INSERT INTO gatepost.dmarc_overrides SELECT 'd' || n || '.example', 'none' FROM generate_series(1, 10001) n").await;
    let answer = store.dmarc_overrides().await;
    assert!(
        matches!(&answer, Lookup::Misconfigured(why) if why.contains("more than 10000 rows")),
        "{answer:?}"
    );
}
