//! `gatepost import` against a real database: each format tried, done, and done again; damaged files; a hundred thousand rows.

use std::fmt::Write;

use crate::postgres::Database;
use crate::tool::Tool;

const HASH: &str = "$argon2id$v=19$m=16,t=2,p=1$QUplUG8wTnc0V0dCczFYcQ$MtOlTfFTDeUb/aVv9nj9Fg";

fn put(tool: &Tool, name: &str, text: &str) -> String {
    let path = tool.dir().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

const COUNTS: &str = "SELECT (SELECT count(*) FROM domains) || ' ' || (SELECT count(*) FROM users) || ' ' || (SELECT count(*) FROM aliases)
    || ' ' || (SELECT count(*) FROM gatepost.aliases) || ' ' || (SELECT count(*) FROM gatepost.alias_patterns)";

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_ispmail_is_tried_then_taken_over_then_there() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("schema install");
    let dump = put(
        &tool,
        "ispmail.sql",
        &format!(
            "CREATE TABLE `virtual_users` (`id` int, `domain_id` int, `email` varchar(100), `password` varchar(150), PRIMARY KEY (`id`));
INSERT INTO `virtual_domains` VALUES (1,'example.org'),(2,'example.com');
INSERT INTO `virtual_users` VALUES (1,1,'dora@example.org','{{ARGON2ID}}{HASH}'),(2,1,'Emil@Example.ORG','{{LANMAN}}x'),(3,2,'alice@example.com','other');
INSERT INTO `virtual_aliases` VALUES (1,1,'info@example.org','dora@example.org'),(2,1,'info@example.org','x@outside.test'),(3,1,'@example.org','dora@example.org'),
 (4,1,'bad address','dora@example.org'),(5,1,'lost@example.com','nobody@example.com');\n"
        ),
    );
    let before = database.sql(COUNTS).await;
    let said = tool.ok(&format!("import mysqldump {dump}"));
    for line in [
        "note  ",
        ":3: user emil@example.org: its hash is of no scheme that is known; taken over without a password",
        ":5: alias \"bad address\": ",
        ":5: alias lost@example.com: it leads to nobody@example.com, which is nobody here",
        "1 domains, 2 users, 3 destinations of aliases would be taken over; 2 there already, 2 left out, 1 notes",
        "nothing was changed; --yes does it",
    ] {
        assert!(said.contains(line), "{line} is missing in\n{said}");
    }
    assert_eq!(database.sql(COUNTS).await, before);
    let said = tool.ok(&format!("import mysqldump {dump} --yes"));
    assert!(said.contains("1 domains, 2 users, 3 destinations of aliases taken over"), "{said}");
    assert_eq!(database.sql(COUNTS).await, "3 5 5 1 1");
    let rows = "SELECT string_agg(local || ' ' || coalesce(password_hash, '-'), '|' ORDER BY local) FROM users WHERE domain = 'example.org'";
    assert_eq!(database.sql(rows).await, format!("dora {{ARGON2ID}}{HASH}|emil -"));
    let alice = "SELECT password_hash FROM users WHERE local = 'alice'";
    assert_eq!(database.sql(alice).await, HASH, "what is there is never changed");
    let again = tool.ok(&format!("import mysqldump {dump} --yes"));
    assert!(
        again.contains("0 domains, 0 users, 0 destinations of aliases taken over; 8 there already"),
        "{again}"
    );
    assert!(tool.ok("alias list example.org").contains("info@example.org"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_maps_of_postfix_are_taken_over() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    let users = put(
        &tool,
        "users.csv",
        &format!(
            "address,password_hash,display_name\nfritz@bücher.example,\"{HASH}\",\"Fritz, der Erste\"\n"
        ),
    );
    let aliases = put(
        &tool,
        "aliases.csv",
        "alias,destination\nchef@bücher.example,fritz@bücher.example\nout@bücher.example,x@outside.test\n",
    );
    let said = tool.ok(&format!("import csv {users} {aliases} --yes"));
    assert!(said.contains("users.csv:2: user fritz@xn--bcher-kva.example: xn--bcher-kva.example is not hosted here; --add-domains"), "{said}");
    assert!(said.contains("0 domains, 0 users, 0 destinations"), "{said}");
    let said = tool.ok(&format!("import csv {users} {aliases} --add-domains --yes"));
    assert!(said.contains("aliases.csv:3: alias out@xn--bcher-kva.example to x@outside.test: outside and further destinations need schema gatepost"), "{said}");
    assert!(said.contains("1 domains, 1 users, 1 destinations of aliases taken over"), "{said}");
    let row = "SELECT domain || ' ' || display_name FROM users WHERE local = 'fritz'";
    assert_eq!(database.sql(row).await, "xn--bcher-kva.example Fritz, der Erste");

    tool.ok("schema install");
    let domains = put(&tool, "vdomains", "# ours\nexample.net OK\n");
    let mailboxes = put(&tool, "vmailbox", "gina@example.net example.net/gina/\nhans@example.net x/\n");
    let virtual_ = put(
        &tool,
        "virtual",
        "team@example.net gina@example.net,\n  hans@example.net\n@example.net gina@example.net\n",
    );
    let passwords = put(&tool, "passwd", &format!("gina@example.net:{{ARGON2ID}}{HASH}:5000:5000::/x::\n"));
    let said = tool.ok(&format!("import postfix --domains {domains} --mailboxes {mailboxes} --aliases {virtual_} --passwords {passwords} --yes"));
    assert!(
        said.contains(
            "1 domains, 2 users, 3 destinations of aliases taken over; 0 there already, 0 left out"
        ),
        "{said}"
    );
    let row = "SELECT string_agg(local || (password_hash IS NOT NULL)::text, ' ' ORDER BY local) FROM users WHERE domain = 'example.net'";
    assert_eq!(database.sql(row).await, "ginatrue hansfalse");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_changes_nothing_and_says_where() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("schema install");
    let before = database.sql(COUNTS).await;
    let cut = put(
        &tool,
        "cut.sql",
        "INSERT INTO `virtual_domains` VALUES (1,'new.test');\nINSERT INTO `virtual_users` VALUES (1,1,'a@new.te",
    );
    assert!(
        tool.refused(&format!("import mysqldump {cut} --yes")).contains("cut.sql:2: a string without end")
    );
    let clear = put(&tool, "clear.csv", "address,password\na@example.com,secret\n");
    assert!(
        tool.refused(&format!("import csv {clear} --yes")).contains("clear.csv:1: a column of passwords")
    );
    let binary = put(&tool, "users.csv", "");
    std::fs::write(&binary, b"address\n\xff\xfe@example.com\n").unwrap();
    assert!(tool.refused(&format!("import csv {binary} --yes")).contains("users.csv:2: no UTF-8 text"));
    assert!(tool.refused("import postfix --yes").contains("which files?"));
    assert!(tool.refused("import postfix --aliases virtual.db").contains("is what postmap made"));
    assert_eq!(database.sql(COUNTS).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_users_come_at_once() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("schema install");
    let mut dump = String::from(
        "INSERT INTO `virtual_domains` VALUES (1,'big.test');\nINSERT INTO `virtual_users` VALUES ",
    );
    for number in 0..100_000 {
        let sign = if number == 0 { "" } else { "," };
        write!(dump, "{sign}({number},1,'u{number}@big.test','{HASH}')").unwrap();
    }
    dump.push_str(";\nINSERT INTO `virtual_aliases` VALUES (1,1,'all@big.test','u99999@big.test');\n");
    let file = put(&tool, "big.sql", &dump);
    let said = tool.ok(&format!("import mysqldump {file} --yes"));
    assert!(said.contains("1 domains, 100000 users, 1 destinations of aliases taken over; 0 there already, 0 left out, 0 notes"), "{said}");
    assert_eq!(database.sql("SELECT count(*) FROM users WHERE domain = 'big.test'").await, "100000");
    assert_eq!(
        database.sql("SELECT destination_local FROM aliases WHERE source_local = 'all'").await,
        "u99999"
    );
}

/// What the tutorial's objects are, by the catalogues: columns, constraints, views, rules, rights.
const OBJECTS: &str = "
    SELECT string_agg(what, E'\\n' ORDER BY what) FROM (
        SELECT format('column %s.%s %s %s', table_name, column_name, coalesce(domain_name, data_type), is_nullable) AS what
            FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL SELECT format('domain %s %s %s', t.typname, t.typnotnull, pg_get_constraintdef(c.oid))
            FROM pg_type t JOIN pg_constraint c ON c.contypid = t.oid
        UNION ALL SELECT format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint WHERE conrelid <> 0
            AND connamespace = 'public'::regnamespace
        UNION ALL SELECT format('view %s %s', viewname, definition) FROM pg_views WHERE schemaname = 'public'
        UNION ALL SELECT format('rule %s %s', tablename, definition) FROM pg_rules WHERE schemaname = 'public'
        UNION ALL SELECT format('right %s %s %s', grantee, table_name, privilege_type) FROM information_schema.role_table_grants
            WHERE grantee IN ('mail_user', 'mail_admin')
        UNION ALL SELECT format('right %s %s.%s %s', grantee, table_name, column_name, privilege_type) FROM information_schema.role_column_grants
            WHERE grantee IN ('mail_user', 'mail_admin')) AS objects";

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_that_setup_makes_are_the_tutorials() {
    let database = Database::create().await;
    let expected = database.sql(OBJECTS).await;
    assert!(expected.contains("constraint aliases FOREIGN KEY (destination_local, destination_domain) REFERENCES users(local, domain) ON DELETE CASCADE"), "{expected}");
    database
        .sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO public")
        .await;
    database.sql(gatepost::setup::MAIL_SERVER).await;
    assert_eq!(database.sql(OBJECTS).await, expected);
}
