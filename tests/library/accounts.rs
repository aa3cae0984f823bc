//! `gatepost logins`, `apppassword`, `master`, `auth` and `user lock|unlock|show`, as an admin runs them.

use crate::postgres::Database;
use crate::tool::Tool;

async fn installed() -> (Database, Tool) {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("schema install");
    (database, tool)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_password_is_shown_once_and_kept_as_a_hash() {
    let (database, tool) = installed().await;
    let secret = tool.ok(
        "apppassword add Alice@Example.com phone --services imap,sieve --networks 192.0.2.7/24 --expires 90d",
    );
    let secret = secret.trim();
    assert!(secret.len() == 29 && secret.split('-').all(|group| group.len() == 4), "{secret}");
    let row = "SELECT login, label, services, networks, expires_at > now() + interval '89 days' FROM gatepost.app_passwords";
    assert_eq!(database.sql(row).await, "alice@example.com|phone|{imap,sieve}|{192.0.2.0/24}|t");
    let plain = secret.replace('-', "");
    let hash = format!(
        "SELECT hash = '{{SHA256.HEX}}' || encode(sha256('{plain}'), 'hex') FROM gatepost.app_passwords"
    );
    assert_eq!(database.sql(&hash).await, "t");
    let list = tool.ok("apppassword list alice@example.com");
    assert!(
        list.contains("alice@example.com  phone  imap,sieve  192.0.2.0/24  ") && list.contains("never"),
        "{list}"
    );
    assert!(!list.contains(&plain) && !list.contains(secret));
    assert!(
        tool.refused("apppassword add alice@example.com phone")
            .contains("has an app password \"phone\" already")
    );
    assert!(tool.refused("apppassword add nobody@example.com phone").contains("there is no mailbox"));
    database.sql("INSERT INTO users (local, domain) VALUES ('nopass', 'example.com')").await;
    assert!(tool.refused("apppassword add nopass@example.com phone").contains("cannot log in at all"));
    assert!(tool.ok("apppassword remove alice@example.com phone --yes").contains("removed"));
    assert!(tool.refused("apppassword remove alice@example.com phone").contains("no app password \"phone\""));
    for (arguments, sentence) in [
        ("apppassword add alice@example.com x --services imap,smtp", "\"smtp\" is no service"),
        ("apppassword add alice@example.com x --networks 192.0.2", "is no network"),
        ("apppassword add alice@example.com x --expires soon", "bad span of time"),
        ("logins set alice@example.com", "required"),
        ("user lock alice@example.com --silent --for 2h", "cannot be used with"),
        ("auth unblock 1.2.3.4/x", "is no network and no login"),
    ] {
        let (code, _, err) = tool.run(arguments, "");
        assert!(code == 64 && err.contains(sentence), "{arguments}: {code} {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_change_one_at_a_time() {
    let (database, tool) = installed().await;
    tool.ok("logins set @example.com --services imap,submission,sieve --main-password none");
    tool.ok("logins set @example.com --networks 192.0.2.0/24,2001:db8::/32");
    let rule = "SELECT services, main_password, networks FROM gatepost.login_rules";
    assert_eq!(database.sql(rule).await, "{imap,submission,sieve}|{}|{192.0.2.0/24,2001:db8::/32}");
    let said = tool.ok("logins set @example.com --services all");
    assert!(said.contains("@example.com") && said.contains("none"), "{said}");
    assert_eq!(database.sql(rule).await, "|{}|{192.0.2.0/24,2001:db8::/32}");
    assert!(tool.refused("logins set @nowhere.test --services imap").contains("nowhere.test"));
    tool.ok("logins unset @example.com");
    assert!(tool.refused("logins unset @example.com").contains("has no rules"));
    assert_eq!(tool.ok("logins list"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_says_what_the_user_is_told() {
    let (database, tool) = installed().await;
    let lock = "SELECT reason, coalesce(shown, '(general)'), until IS NULL FROM gatepost.login_locks";
    tool.ok("user lock alice@example.com --reason Unpaid.");
    assert_eq!(database.sql(lock).await, "Unpaid.|Unpaid.|t");
    tool.ok("user lock alice@example.com --silent");
    assert_eq!(database.sql(lock).await, "locked by the operator||t");
    tool.ok("user lock alice@example.com --for 2h");
    assert_eq!(database.sql(lock).await, "locked by the operator|(general)|f");
    database
        .sql("INSERT INTO gatepost.last_logins VALUES ('alice@example.com', 'imap', '2026-01-02 03:04:05', '192.0.2.1', 'PLAIN', 'Mail', 'phone')")
        .await;
    tool.ok("apppassword add alice@example.com tablet");
    tool.ok("logins set @example.com --services imap");
    let shown = tool.ok("user show alice@example.com");
    for part in
        ["to try later", "@example.com", "tablet", "2026-01-02 03:04:05  192.0.2.1  PLAIN", "phone", "Mail"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    tool.ok("user unlock alice@example.com");
    assert!(tool.refused("user unlock alice@example.com").contains("is not locked"));
    // Whoever gets the address next inherits nothing.
    tool.ok("user remove alice@example.com --yes");
    let left =
        "SELECT (SELECT count(*) FROM gatepost.app_passwords) + (SELECT count(*) FROM gatepost.last_logins)";
    assert_eq!(database.sql(left).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_are_listed_and_their_logins_too() {
    let (database, tool) = installed().await;
    assert!(tool.ok("master add carl@123qwe.com @example.com").contains("USER*carl@123qwe.com"));
    tool.ok("master add carl@123qwe.com * --services imap --networks 192.0.2.0/24");
    let list = tool.ok("master list");
    assert!(
        list.contains("@example.com  imap,pop3,sieve  all") && list.contains("*             imap"),
        "{list}"
    );
    assert!(tool.refused("master add carl@123qwe.com * --services all").contains("name the services"));
    assert!(tool.refused("master add nobody@example.com *").contains("there is no mailbox"));
    database
        .sql("INSERT INTO gatepost.master_logins (master, login, service, address, at) VALUES ('carl@123qwe.com', 'alice@example.com', 'imap', '192.0.2.1', now())")
        .await;
    assert!(
        tool.ok("master log alice@example.com")
            .contains("carl@123qwe.com  alice@example.com  imap     192.0.2.1")
    );
    assert_eq!(tool.ok("master log bob@example.com"), "");
    tool.ok("master remove carl@123qwe.com *");
    assert!(tool.refused("master remove carl@123qwe.com *").contains("may not log in as *"));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_shown_and_forgotten() {
    let (database, tool) = installed().await;
    let guess = |login: &str, address: &str, guess: u32| {
        format!(
            "INSERT INTO gatepost.login_guesses VALUES ('{login}', '{address}', {guess}, 1, 'imap', 'wrong-password', 2, now(), now(), now());"
        )
    };
    let guesses = [
        guess("alice@example.com", "192.0.2.1", 1),
        guess("alice@example.com", "192.0.2.1", 2),
        guess("alice@example.com", "192.0.2.2", 3),
        guess("bob@example.com", "2001:db8::1", 4),
        guess("bob@example.com", "0.0.0.0", 5),
    ];
    database.sql(&guesses.concat()).await;
    let all = tool.ok("auth failures");
    assert!(all.contains("alice@example.com  192.0.2.1    2          4"), "{all}");
    assert!(all.contains("unknown"), "{all}");
    assert_eq!(tool.ok("auth failures 192.0.2.0/24").lines().count(), 3);
    assert_eq!(tool.ok("auth failures bob@example.com").lines().count(), 3);
    assert_eq!(tool.ok("auth failures admin"), "");
    assert!(tool.ok("auth unblock 192.0.2.1").contains("2 wrong passwords of 192.0.2.1 forgotten"));
    tool.ok("auth unblock 2001:db8::/64");
    tool.ok("auth unblock alice@example.com");
    assert!(tool.refused("auth unblock 192.0.0.0/16").contains("a /24"));
    assert_eq!(database.sql("SELECT count(*) FROM gatepost.login_guesses").await, "1");
    assert_eq!(
        database.sql("SELECT string_agg(key, ' ' ORDER BY id) FROM gatepost.login_unblocks").await,
        "192.0.2.1 2001:db8::/64 alice@example.com"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_is_forgotten_and_nobody_inherits_an_app_password() {
    let (database, tool) = installed().await;
    tool.ok("apppassword add alice@example.com phone");
    tool.ok("apppassword add bob@example.com phone");
    // In the tutorial's table as it was typed; a login has the name that DNS knows.
    database
        .sql(
            "INSERT INTO domains VALUES ('bücher.example');
             INSERT INTO users SELECT 'bücher.example', 'dora', password_hash FROM users WHERE local = 'alice'",
        )
        .await;
    tool.ok("apppassword add dora@bücher.example phone");
    database
        .sql(
            "DELETE FROM users WHERE local = 'bob';
             INSERT INTO gatepost.login_guesses VALUES ('a', '192.0.2.1', 1, 1, 'imap', 'x', 1, now(), now() - interval '31 days', now()),
                                                       ('a', '192.0.2.1', 2, 1, 'imap', 'x', 1, now(), now(), now())",
        )
        .await;
    let directory = gatepost::directory::Directory::new(
        gatepost::database::Database::new(&database.config(), "test").unwrap(),
        &database.config(),
    );
    let store = gatepost::store::Store::new(&directory);
    assert!(store.forget_logins().await.is_found());
    assert_eq!(database.sql("SELECT count(*) FROM gatepost.login_guesses").await, "1");
    assert_eq!(
        database.sql("SELECT login FROM gatepost.app_passwords WHERE expires_at IS NULL ORDER BY 1").await,
        "alice@example.com\ndora@xn--bcher-kva.example"
    );
    let bob = gatepost::mail::Address::parse("bob@example.com").unwrap();
    assert!(directory.account(&bob).await.is_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_an_address_next_inherits_nothing() {
    let (database, tool) = installed().await;
    for line in [
        "apppassword add bob@example.com phone",
        "sendas add info@example.com bob@example.com",
        "sendas add bob@example.com alice@example.com",
        "group add staff bob@example.com",
        "quota set bob@example.com --bytes 1GiB",
        "master add bob@example.com *",
        "user lock bob@example.com",
    ] {
        tool.ok(line);
    }
    database
        .sql(
            "INSERT INTO gatepost.user_fields VALUES ('bob@example.com', 'home', '/elsewhere');
             INSERT INTO gatepost.wide_shares VALUES ('bob@example.com', 'group', 'staff');
             INSERT INTO gatepost.quota (login, bytes) VALUES ('bob@example.com', 5);
             INSERT INTO gatepost.dict_values (dict, owner, key, value, writer) VALUES ('metadata', 'bob@example.com', 'priv/comment', 'private', 'bob@example.com');
             INSERT INTO gatepost.scram_verifiers (login, mechanism, verifier, hash_mark) VALUES ('bob@example.com', 'SCRAM-SHA-256', 'x', sha256('x'))",
        )
        .await;
    let everything = "SELECT string_agg(name, ' ') FROM (
            SELECT 'app_passwords' AS name, row(t.*)::text AS row FROM gatepost.app_passwords t UNION ALL SELECT 'send_as', row(t.*)::text FROM gatepost.send_as t
            UNION ALL SELECT 'groups', row(t.*)::text FROM gatepost.groups t UNION ALL SELECT 'quota_limits', row(t.*)::text FROM gatepost.quota_limits t
            UNION ALL SELECT 'quota', row(t.*)::text FROM gatepost.quota t UNION ALL SELECT 'master_users', row(t.*)::text FROM gatepost.master_users t
            UNION ALL SELECT 'login_locks', row(t.*)::text FROM gatepost.login_locks t UNION ALL SELECT 'user_fields', row(t.*)::text FROM gatepost.user_fields t
            UNION ALL SELECT 'wide_shares', row(t.*)::text FROM gatepost.wide_shares t UNION ALL SELECT 'dict_values', row(t.*)::text FROM gatepost.dict_values t
            UNION ALL SELECT 'scram_verifiers', row(t.*)::text FROM gatepost.scram_verifiers t
        ) AS rows WHERE row LIKE '%bob@example.com%'";
    assert!(!database.sql(everything).await.is_empty());
    tool.ok("user remove bob@example.com --yes");
    assert_eq!(database.sql(everything).await, "");
}
