//! The admin tool on what goes beyond the tutorial's tables: quotas, groups, lists, limits, locks, domains and aliases of every kind.

use crate::postgres::Database;
use crate::tool::Tool;

#[tokio::test(flavor = "multi_thread")]
async fn quotas_and_groups_come_and_go() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    assert!(tool.refused("quota list").contains("gatepost schema install"));
    tool.ok("schema install");
    assert_eq!(tool.ok("quota set * --bytes 1GiB"), "*: 1GiB\n");
    assert_eq!(
        tool.ok("quota set @example.com --bytes 5GiB --messages 1000"),
        "@example.com: 5GiB, 1000 messages\n"
    );
    assert_eq!(tool.ok("quota set Alice@example.com --bytes 0B"), "alice@example.com: any amount\n");
    assert!(tool.refused("quota set bob@example.com").contains("give --bytes, --messages or both"));
    assert!(tool.refused("quota set nobody@example.com --bytes 1GiB").contains("nobody@example.com"));
    assert!(tool.refused("quota set @nowhere.test --bytes 1GiB").contains("nowhere.test"));
    assert!(tool.run("quota set * --bytes 5GB", "").2.contains("bad size \"5GB\""));
    database.sql("INSERT INTO gatepost.quota (login, bytes, messages) VALUES ('alice@example.com', 2048, 3), ('bob@example.com', 4096, 5)").await;
    let rows = |listed: String| {
        listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    let listed = rows(tool.ok("quota list"));
    for line in [
        "* 1GiB",
        "alice@example.com any amount",
        "bob@example.com 4KiB 5 5GiB, 1000 messages",
        "alice@example.com 2KiB 3 1000 messages",
    ] {
        assert!(listed.iter().any(|row| row == line), "{line}: {listed:?}");
    }
    assert!(!tool.ok("quota list bob@example.com").contains("alice"));
    tool.ok("quota unset @example.com");
    assert!(tool.refused("quota unset @example.com").contains("no quota of its own"));
    assert!(rows(tool.ok("quota list bob@example.com")).contains(&"bob@example.com 4KiB 5 1GiB".to_owned()));

    assert_eq!(tool.ok("group add staff Bob@example.com"), "bob@example.com is in group staff\n");
    tool.ok("group add staff bob@example.com");
    assert!(rows(tool.ok("group list")).contains(&"staff bob@example.com".to_owned()));
    assert!(tool.refused("group add staff nobody@example.com").contains("nobody@example.com"));
    assert!(
        tool.run("group add Staff! bob@example.com", "").2.contains("a group has at most 64 small letters")
    );
    tool.ok("group remove staff bob@example.com");
    assert!(tool.refused("group remove staff bob@example.com").contains("is not in group staff"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_limits_and_locks_are_kept() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    assert!(tool.refused("deny add bad.test").contains("schema gatepost is not installed"));
    tool.ok("schema install");

    assert_eq!(tool.ok("deny add 192.0.2.77/24 --reason spam"), "deny: network 192.0.2.0/24\n");
    assert_eq!(tool.ok("deny add Bad.Test --defer --for 7d"), "defer: domain bad.test\n");
    assert_eq!(
        tool.ok("allow add Friend@Bad.Test --only-for Alice@Example.com"),
        "allow: address friend@bad.test for alice@example.com\n"
    );
    assert_eq!(tool.ok("deny add @123qwe.com --kind recipient"), "deny: recipient @123qwe.com\n");
    let list = tool.ok("deny list");
    assert!(
        list.contains("192.0.2.0/24") && list.contains("spam") && !list.contains("friend@bad.test"),
        "{list}"
    );
    assert!(tool.ok("allow list").contains("alice@example.com"));
    assert!(tool.refused("allow add x.test --defer").contains("belongs to `gatepost deny`"));
    assert!(tool.refused("deny add nonsense@@x").contains("is no address"));
    assert!(tool.refused("deny add x.test --kind network").contains("is no network"));
    tool.ok("deny remove bad.test");
    assert!(tool.refused("deny remove bad.test").contains("no such rule"));
    assert_eq!(
        database.sql("SELECT string_agg(kind || action, ',' ORDER BY id) FROM gatepost.access_rules").await,
        "networkdeny,addressallow,recipientdeny"
    );

    tool.ok("greylist allow 198.51.100.0/24 --reason partner");
    database
        .sql("INSERT INTO gatepost.greylist VALUES ('spf:foreign.test', '', 'alice@example.com', now(), now(), 0), ('203.0.113.0/24', 's@x.test', 'bob@example.com', now(), now(), 2);
              INSERT INTO gatepost.greylist_clients VALUES ('spf:foreign.test', 3, now(), now())")
        .await;
    let list = tool.ok("greylist list");
    for part in ["spf:foreign.test", "<>", "waits", "passed 2", "198.51.100.0/24", "partner"] {
        assert!(list.contains(part), "{part} in {list}");
    }
    assert!(!tool.ok("greylist list x.test").contains("spf:foreign.test"));
    assert!(tool.ok("greylist delete spf:foreign.test").contains("1 attempts, 1 clients"));
    assert!(tool.ok("greylist delete 198.51.100.0/24").contains("1 rules"));
    assert!(tool.refused("greylist delete 198.51.100.0/24").contains("nothing on the greylist"));

    assert_eq!(
        tool.ok("limits set Alice@Example.com --messages 500 --recipients 5000"),
        "login alice@example.com: 500 messages, 5000 recipients in 1h\n"
    );
    tool.ok("limits set example.com --messages 10000 --recipients 50000 --window 1d");
    tool.ok("limits set 2001:db8::1 --messages 1 --recipients 1 --window 1m");
    assert!(tool.misused("limits set x/y --messages 1 --recipients 1").contains("is no login"));
    assert!(
        tool.refused("limits set x.test --messages 1 --recipients 1 --window 40d").contains("out of range")
    );
    database
        .sql("INSERT INTO gatepost.sent VALUES ('alice@example.com', 'i', 7);
              INSERT INTO gatepost.sending_levels VALUES ('domain', 'example.com', 86400, 3, 9, now());
              INSERT INTO gatepost.login_habits (login, day, hour, recipients, failed) VALUES ('alice@example.com', now()::date, now(), 7, 99);
              INSERT INTO gatepost.login_locks VALUES ('alice@example.com', '99 failed recipients within an hour')")
        .await;
    let show = tool.ok("limits show");
    for part in
        ["500 messages, 5000 recipients", "domain example.com", "client 2001:db8::1", "99 failed recipients"]
    {
        assert!(show.contains(part), "{part} in {show}");
    }
    assert!(!tool.ok("limits show bob@example.com").contains("alice"));
    assert!(tool.ok("limits reset alice@example.com").contains("may send again, and log in"));
    assert_eq!(database.sql("SELECT (SELECT count(*) FROM gatepost.login_locks), (SELECT count(*) FROM gatepost.sent), (SELECT failed FROM gatepost.login_habits)").await, "0|0|0");
    assert!(tool.refused("limits reset carl@123qwe.com").contains("nothing is known"));
    tool.ok("limits unset alice@example.com");
    assert!(tool.refused("limits unset alice@example.com").contains("no limit of its own"));
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_of_every_kind_come_and_go() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    assert!(tool.refused("alias add boss@example.com bob@example.com").contains("schema install"));
    assert!(tool.refused("alias add x@example.com far@foreign.test").contains("gatepost schema install"));
    assert!(tool.refused("domain add r.test --kind relay --next-hop [192.0.2.1]").contains("schema install"));
    tool.ok("schema install");
    // One mailbox: the tutorial's table. More, or outside: ours.
    tool.ok("alias add one@example.com bob@example.com");
    assert_eq!(database.sql("SELECT count(*) FROM aliases WHERE source_local = 'one'").await, "1");
    tool.ok("alias add one@example.com far@Foreign.test carl@123qwe.com");
    assert_eq!(
        database.sql("SELECT destination FROM gatepost.aliases WHERE local = 'one' ORDER BY 1").await,
        "carl@123qwe.com\nfar@foreign.test"
    );
    assert!(
        tool.refused("alias add one@example.com bob@example.com")
            .contains("leads to bob@example.com already")
    );
    assert!(
        tool.refused("alias add two@example.com far@foreign.test ghost@example.com")
            .contains("no mailbox ghost")
    );
    assert_eq!(database.sql("SELECT count(*) FROM gatepost.aliases WHERE local = 'two'").await, "0");
    assert!(tool.refused("alias add alice@example.com far@foreign.test").contains("is a mailbox"));
    assert!(
        tool.refused("alias add x@foreign.test bob@example.com").contains("gatepost domain add foreign.test")
    );
    tool.ok("alias remove one@example.com bob@example.com");
    assert_eq!(database.sql("SELECT count(*) FROM aliases WHERE source_local = 'one'").await, "0");
    tool.ok("alias add @123qwe.com bob@example.com");
    tool.ok("alias add --wildcard sales-*@example.com $1@foreign.test --rank 5");
    tool.ok("alias add --regex (info|help)[0-9]+@example.com bob@example.com");
    assert!(tool.refused("alias add --regex (@example.com bob@example.com").contains("bad regex"));
    assert!(tool.refused("alias add --wildcard x*@example.com $2@foreign.test").contains("has $2"));
    let list = tool.ok("alias list");
    for line in [
        "one@example.com                carl@123qwe.com    alias",
        "@123qwe.com                    bob@example.com    catch-all",
        "sales-*@example.com            $1@foreign.test    wildcard 5",
        "(info|help)[0-9]+@example.com  bob@example.com    regex 100",
    ] {
        assert!(list.contains(line), "{line:?} is missing in:\n{list}");
    }
    tool.ok("alias remove --wildcard sales-*@example.com");
    tool.ok("alias remove one@example.com");
    assert!(tool.refused("alias remove one@example.com").contains("there is no alias"));
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_of_every_kind_rights_and_rules_come_and_go() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("schema install");
    tool.ok("domain add relay.test --kind relay --next-hop [192.0.2.1]:2525 --recipients listed");
    tool.ok("domain add backup.test --kind backup");
    tool.ok("domain add old.test --kind alias --of example.com");
    for (line, sentence) in [
        ("domain add x.test --kind relay", "needs --next-hop"),
        ("domain add x.test --kind alias", "needs --of"),
        ("domain add x.test --kind alias --of nowhere.test", "not hosted"),
        ("domain add x.test --kind alias --of x.test", "itself"),
        ("domain add x.test --next-hop a.test", "--kind"),
        ("domain add relay.test", "hosted already"),
        ("domain remove example.com", "another name"),
        ("sendas add info@example.com ghost@example.com", "no mailbox ghost"),
        ("sendas add info@foreign.test bob@example.com", "not hosted"),
        ("access add client a@b.test reject", "expected an IP address"),
        ("access add sender b.test ok fine", "takes no reason"),
        ("transport remove @foreign.test", "no transport"),
        ("bcc remove sender bob@example.com", "no copies"),
    ] {
        let error = tool.refused(line);
        assert!(error.contains(sentence), "{line}: {error}");
    }
    let usage = |line: &str| tool.run(line, "");
    for line in [
        "domain add x.test --kind relay --next-hop a..b",
        "access add everybody x reject",
        "access add sender b.test FILTER",
        "transport add @b.test smtp",
        "bcc add both a@example.com b@example.com",
    ] {
        assert_eq!(usage(line).0, 64, "{line}");
    }
    let list = tool.ok("domain list");
    for line in ["relay.test   0      0        relay   [192.0.2.1]:2525, listed recipients", "of example.com"]
    {
        assert!(list.contains(line), "{line:?} is missing in:\n{list}");
    }
    tool.ok("alias add known@relay.test known@relay.test");
    assert!(tool.refused("domain remove relay.test").contains("still has users or aliases"));
    tool.ok("alias remove known@relay.test");
    tool.ok("domain remove relay.test");
    tool.ok("domain remove old.test");
    tool.ok("sendas add @example.com bob@example.com");
    assert!(tool.ok("sendas list").contains("@example.com  bob@example.com"));
    tool.ok("sendas remove @example.com bob@example.com");
    tool.ok("access add client 192.0.2.0/24 reject no");
    tool.ok("access add client 192.0.2.0/24 defer");
    assert!(tool.ok("access list").contains("client   192.0.2.0/24  defer"));
    tool.ok("access remove client 192.0.2.0/24");
    tool.ok("bcc add sender @example.com bob@example.com");
    tool.ok("bcc remove sender @example.com");
    tool.ok("transport add @foreign.test smtp:[gate.test]:587");
    tool.ok("transport remove @foreign.test");
    for table in ["send_as", "access", "bcc", "transports", "aliases"] {
        assert_eq!(database.sql(&format!("SELECT count(*) FROM gatepost.{table}")).await, "0", "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_loops_and_dangling_targets() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("schema install");
    database
        .sql(
            "INSERT INTO gatepost.aliases VALUES ('a', 'example.com', 'b@example.com'), ('b', 'example.com', 'a@example.com'),
                 ('half', 'example.com', 'ghost@example.com'), ('half', 'example.com', 'bob@example.com'),
                 ('gone', 'example.com', 'ghost@example.com'), ('alice', 'example.com', 'far@foreign.test'), ('x', 'nowhere.test', 'bob@example.com'),
                 ('postmaster', '123qwe.com', 'bob@example.com');
             INSERT INTO gatepost.alias_patterns (domain, kind, pattern, destination) VALUES ('example.com', 'wildcard', 'q*', 'ghost@example.com');
             INSERT INTO gatepost.hosted_domains (domain, kind, target) VALUES ('old.test', 'alias', 'gone.test')",
        )
        .await;
    let (code, out, _) = tool.run("check --offline", "");
    assert_eq!(code, 1, "{out}");
    for finding in [
        "fail  alias a@example.com leads only to a@example.com again; mail for it is deferred",
        "warn  alias half@example.com leads to ghost@example.com, which is not there; that destination is left out",
        "fail  alias gone@example.com leads only to ghost@example.com, which is not there",
        "warn  alias alice@example.com is also a mailbox",
        "fail  alias x@nowhere.test can never be reached",
        "fail  wildcard q*@example.com leads to ghost@example.com, which is not there",
        "fail  old.test is another name of gone.test, which is not hosted",
    ] {
        assert!(out.contains(finding), "{finding:?} is missing in:\n{out}");
    }
    assert!(!out.contains("123qwe.com has no postmaster"), "{out}");
}
