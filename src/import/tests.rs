//! Files as they are out there, and damaged ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use super::postfix::Table;
use super::*;

/// A file with this text.
fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// Entries and what is left out, a line each, with the line numbers.
fn shown(contents: &Contents) -> Vec<String> {
    let entries = contents.entries.iter().map(|entry| {
        let what = match &entry.what {
            What::Domain(domain) => format!("domain {domain}"),
            What::User { address, hash, display_name } => {
                let hash = hash.as_ref().map_or("-", Secret::expose);
                format!("user {address} {hash} {}", display_name.as_deref().unwrap_or("-"))
            }
            What::Alias { source, destination } => format!("alias {source} {destination}"),
        };
        format!("{} {what}", entry.origin.line)
    });
    let left = contents.left_out.iter().map(|one| format!("{} LEFT {}", one.origin.line, one.why));
    entries.chain(left).collect()
}

fn csv(text: &str) -> Result<Vec<String>, String> {
    csv::read(file(text).path()).map(|contents| shown(&contents)).map_err(|error| error.to_string())
}

fn dump(text: &str) -> Result<Vec<String>, String> {
    let file = file(text);
    mysqldump::read(file.path(), &mut |_| {})
        .map(|contents| shown(&contents))
        .map_err(|error| error.to_string())
}

fn map(text: &str, table: Table) -> Vec<String> {
    shown(&postfix::read(file(text).path(), table).unwrap())
}

#[test]
fn a_table_says_by_its_heading_what_it_is() {
    assert_eq!(
        csv("\u{feff}domain\r\nBücher.example\r\n\r\nno domain\r\n").unwrap(),
        ["2 domain xn--bcher-kva.example", "4 LEFT domain \"no domain\": not a domain name"]
    );
    let users = "Email,Display_Name,Password_Hash,id\nAnn@Example.com,\"Ann, \"\"the\"\" first\",$2y$10$x,1\n\"bob@example.com\",\"two\nlines\",,2\nshort,row\n";
    assert_eq!(
        csv(users).unwrap(),
        [
            "2 user ann@example.com $2y$10$x Ann, \"the\" first",
            "3 user bob@example.com - two\nlines",
            "5 LEFT 2 fields, expected the 4 of the heading; a field that holds commas, as argon2 hashes do, stands in quotation marks"
        ]
    );
    assert_eq!(csv("local,domain,hash\nann,example.com,h\n").unwrap(), ["2 user ann@example.com h -"]);
    assert_eq!(
        csv("alias,destination\ninfo@example.com,ann@example.com bob@x.test\n@example.com,nobody\n").unwrap(),
        [
            "2 alias info@example.com ann@example.com",
            "2 alias info@example.com bob@x.test",
            "3 LEFT alias @example.com to \"nobody\": no \"@\"; expected local@domain"
        ]
    );
}

#[test]
fn a_table_that_is_none_is_an_error_with_its_line() {
    for (text, message) in [
        ("", ":1: an empty file"),
        ("address,password\na@b.test,x\n", ":1: a column of passwords: hash them"),
        ("foo,bar\n", ":1: a heading of \"foo,bar\", expected domain"),
        ("address,name\na@b.test,\"never ends\n\n", ":4: the file ends within a quoted field"),
        ("address,name\na@b.test,x\"y\n", ":2: a quotation mark inside a field"),
    ] {
        let error = csv(text).unwrap_err();
        assert!(error.contains(message), "{text:?}: {error}");
    }
    let error = csv(&format!("address,name\n{}\n", "x".repeat(70_000))).unwrap_err();
    assert!(error.contains(":2: a line of more than 65536 octets"), "{error}");
    let error = csv(&format!("address,name\na@b.test,\"x\n{}", "y\n".repeat(40_000))).unwrap_err();
    assert!(error.contains("is a quotation mark missing?"), "{error}");
    assert!(
        csv::read(Path::new("/nonexistent.csv")).unwrap_err().to_string().starts_with("/nonexistent.csv: ")
    );
}

const DUMP: &str = r#"-- MariaDB dump 10.19; it's a comment with a quote
/*!40101 SET NAMES utf8mb4 */;
DROP TABLE IF EXISTS `virtual_users`;
CREATE TABLE `virtual_users` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `domain_id` int(11) NOT NULL,
  `password` varchar(150) NOT NULL DEFAULT 'a,b(',
  `email` varchar(100) NOT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `email` (`email`),
  CONSTRAINT `virtual_users_ibfk_1` FOREIGN KEY (`domain_id`) REFERENCES `virtual_domains` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='it''s; here';
INSERT INTO `others` VALUES (1,'INSERT INTO `virtual_users` VALUES (9,9,\'x\',\'evil@example.com\');');
INSERT INTO `virtual_domains` VALUES (1,'example.com'),(2,'Example.NET');
INSERT INTO `virtual_users` VALUES (1,1,'{BLF-CRYPT}$2y$05$abc\\def','ann@example.com'),
(2,1,_binary 'it''s \'x\'','o\'hara@example.com'),(3,1,NULL,'nohash@example.com'),(4,2,'x');
INSERT INTO `virtual_aliases` (`destination`, `source`, `id`) VALUES ('ann@example.com, bob@x.test','info@example.com',1),('ann@example.com','@example.com',2);
"#;

#[test]
fn a_dump_is_read_by_the_names_of_its_columns() {
    assert_eq!(
        dump(DUMP).unwrap(),
        [
            "14 domain example.com",
            "14 domain example.net",
            "15 user ann@example.com {BLF-CRYPT}$2y$05$abc\\def -",
            "16 user o'hara@example.com it's 'x' -",
            "16 user nohash@example.com - -",
            "17 alias info@example.com ann@example.com",
            "17 alias info@example.com bob@x.test",
            "17 alias @example.com ann@example.com",
            "16 LEFT user \"\": no \"@\"; expected local@domain",
        ]
    );
    let bare =
        "INSERT INTO virtual_users VALUES (1,1,'ann@example.com','h',1000),(2,1,'bob@example.com','h');\n";
    assert_eq!(
        dump(bare).unwrap(),
        [
            "1 user ann@example.com h -",
            "1 user bob@example.com h -",
            "1 LEFT its quota is not taken over: `gatepost quota set`",
        ]
    );
}

#[test]
fn a_damaged_dump_is_an_error_with_its_line() {
    for (text, message) in [
        ("INSERT INTO `virtual_domains` VALUES (1,'exam", ":1: a string without end"),
        ("\nINSERT INTO `virtual_domains` VALUES (1,'a') (2,'b');", ":2: damaged INSERT, expected , or ;"),
        ("INSERT INTO `virtual_domains` (1,2) VALUES", ":1: damaged INSERT"),
        ("INSERT INTO `virtual_domains` SET name = 'x';", ":1: damaged INSERT, expected VALUES"),
        ("INSERT INTO `virtual_domains` VALUES (1,;", ":1: damaged row, expected a value"),
    ] {
        let error = dump(text).unwrap_err();
        assert!(error.contains(message), "{text:?}: {error}");
    }
    let error =
        dump(&format!("INSERT INTO `virtual_domains` VALUES (1,'{}');", "x".repeat(70_000))).unwrap_err();
    assert!(error.contains("a value of more than 65536 octets"), "{error}");
    // Cut anywhere, it never does worse than say so.
    for at in 0..DUMP.len() {
        let _ = dump(&DUMP[..at]);
    }
}

#[test]
fn maps_of_postfix_are_read_as_postmap_reads_them() {
    let aliases = "# comment\n\nexample.com  anything\ninfo@example.com ann@example.com,\n   bob@x.test\n# between\n  carl@x.test\n@example.net\tann@example.com\nroot ann@example.com\nempty@example.com\n";
    assert_eq!(
        map(aliases, Table::Aliases),
        [
            "3 domain example.com",
            "4 alias info@example.com ann@example.com",
            "4 alias info@example.com bob@x.test",
            "4 alias info@example.com carl@x.test",
            "8 alias @example.net ann@example.com",
            "9 LEFT alias \"root\": without a domain it is one of every local domain; write it with each",
            "10 LEFT alias \"empty@example.com\" leads nowhere",
        ]
    );
    assert_eq!(
        map("example.com OK\nexample.net\n", Table::Domains),
        ["1 domain example.com", "2 domain example.net"]
    );
    let mailboxes = map("ann@example.com example.com/ann/\n@example.com x/\n", Table::Mailboxes);
    assert_eq!(mailboxes[0], "1 user ann@example.com - -");
    assert!(mailboxes[1].starts_with("2 LEFT every address of example.com is a mailbox"), "{mailboxes:?}");
    assert_eq!(
        map("ann@example.com:{SHA512-CRYPT}$6$a:5000:5000::/home\n", Table::Passwords),
        ["1 user ann@example.com {SHA512-CRYPT}$6$a -"]
    );
}

#[test]
fn every_row_goes_where_it_belongs_or_is_left_out_with_its_reason() {
    let domain = |name: &str| Domain::parse(name).unwrap();
    let address = |text: &str| Address::parse(text).unwrap();
    let mut present = Present { has_schema: true, ..Present::default() };
    present.domains.insert(domain("example.com"), "Example.com".into());
    present.domains.insert(domain("second.test"), "second.test".into());
    present.others.insert(domain("relayed.test"));
    present.users.insert(address("alice@example.com"), ("Alice".into(), "Example.com".into()));
    present.aliases.insert(Source::One(address("boss@example.com")), [address("alice@example.com")].into());
    let hash = "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe";
    let users = format!(
        "address,password_hash\nalice@example.com,{hash}\nann@example.com,{hash}\nann@example.com,\nann@example.com,$1$abc$def\nlegacy@example.com,{{PLAIN}}secret\nodd@example.com,{{LANMAN}}x\nlocked@example.com,!\nfar@elsewhere.test,\nr@relayed.test,\n"
    );
    let aliases = "alias,destination\nboss@example.com,alice@example.com\nboss@example.com,x@outside.test\nteam@example.com,ann@example.com x@outside.test\nann@example.com,ann@example.com\nann@example.com,x@outside.test\ncaught@example.com,gone@example.com\nlost@second.test,gone@second.test\nchain@example.com,team@example.com\n@example.com,alice@example.com\na@nowhere.test,alice@example.com\nfar@outside.test,b@c.test\n";
    let mut contents = csv::read(file(&users).path()).unwrap();
    let more = csv::read(file(aliases).path()).unwrap();
    contents.entries.extend(more.entries);
    let rows = rows(contents, &present, false);
    let added: Vec<String> = rows
        .users
        .iter()
        .map(|user| format!("{}@{} {}", user.local, user.domain, user.hash.is_some()))
        .collect();
    assert_eq!(
        added,
        [
            "ann@Example.com true",
            "legacy@Example.com false",
            "odd@Example.com false",
            "locked@Example.com false"
        ]
    );
    let pair = |local: &str| (local.to_owned(), "Example.com".to_owned());
    assert_eq!(rows.aliases, [Alias { source: pair("team"), destination: pair("ann") }]);
    let further: Vec<String> =
        rows.further.iter().map(|(local, domain, to)| format!("{local}@{domain} {to}")).collect();
    assert_eq!(
        further,
        [
            "boss@example.com x@outside.test",
            "team@example.com x@outside.test",
            "caught@example.com gone@example.com",
            "chain@example.com team@example.com"
        ]
    );
    assert_eq!(rows.catch_alls, [("example.com".to_owned(), "alice@example.com".to_owned())]);
    assert_eq!(rows.there, 2);
    let why = |list: &[LeftOut]| {
        list.iter().map(|one| format!("{} {}", one.origin.line, one.why)).collect::<Vec<_>>().join("\n")
    };
    for reason in [
        "9 user far@elsewhere.test: elsewhere.test is not hosted here",
        "10 user r@relayed.test: relayed.test is not hosted here",
        "5 alias ann@example.com to itself",
        "6 alias ann@example.com to x@outside.test: it is a mailbox, which wins",
        "8 alias lost@second.test: it leads to gone@second.test, which is nobody here",
        "11 alias a@nowhere.test: nowhere.test is not hosted here",
    ] {
        assert!(why(&rows.left_out).contains(reason), "{reason} is missing in\n{}", why(&rows.left_out));
    }
    for reason in [
        "6 user legacy@example.com: its password stands there in clear text",
        "7 user odd@example.com: its hash is of no scheme that is known",
    ] {
        assert!(why(&rows.notes).contains(reason), "{reason} is missing in\n{}", why(&rows.notes));
    }
}
