//! `gatepost check` and `gatepost domain dns --check` against a real PostgreSQL and a name server that knows a few lines.

use crate::dns_server::Dns;
use crate::postgres::Database;
use crate::tool::Tool;

/// Everything as it should be, but for the key, which is not made yet.
const GOOD: &str = "
    example.com                 MX   10 mail.example.com
    mail.example.com            A    203.0.113.9
    9.113.0.203.in-addr.arpa    PTR  mail.example.com
    example.com                 TXT  v=spf1 mx -all
    _dmarc.example.com          TXT  v=DMARC1; p=reject; rua=mailto:postmaster@example.com
    _smtp._tls.example.com      TXT  v=TLSRPTv1; rua=mailto:postmaster@example.com
    example.com                 CAA  issue letsencrypt.org
    _submissions._tcp.example.com SRV 0 1 465 mail.example.com
    _imaps._tcp.example.com     SRV  0 1 993 mail.example.com
    _imap._tcp.example.com      SRV  0 1 143 mail.example.com
    2.0.0.127.zen.spamhaus.org  A    127.0.0.2
    2.0.0.127.bl.spamcop.net    A    127.0.0.2
    9.113.0.203.bl.spamcop.net  A    127.0.0.2
    2.0.0.127.psbl.surriel.com  A    127.255.255.254
    1.0.0.127.psbl.surriel.com  A    127.255.255.254
    dbltest.com.dbl.spamhaus.org A   127.0.1.2
    example.com.dbl.spamhaus.org A   127.0.1.2
    2.0.0.127.bl.mailspike.net  A    127.0.0.2
    1.0.0.127.bl.mailspike.net  A    127.0.0.2
";

/// A Postfix of which nothing runs: `postconf` only reads its files.
fn postfix(tool: &Tool, more: &str) -> String {
    let directory = tool.dir().join("postfix");
    std::fs::create_dir_all(&directory).unwrap();
    let main = format!("myhostname = mail.example.com\nsmtpd_tls_security_level = may\n{more}\n");
    std::fs::write(directory.join("main.cf"), main).unwrap();
    std::fs::write(directory.join("master.cf"), "smtp inet n - y - - smtpd\n").unwrap();
    format!("--postfix {}", directory.display())
}

fn has(out: &str, lines: &[&str]) {
    for line in lines {
        assert!(out.contains(line), "{line:?} is missing in:\n{out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_dns_about_this_host_and_every_domain() {
    let database = Database::create().await;
    let dns = Dns::serve(GOOD);
    let tool = Tool::with(&database, &dns.toml());
    let checks =
        "check --skip configuration --skip postfix --skip dovecot --skip sockets --skip certificates";
    let (code, out, _) = tool.run(&format!("{checks} {}", postfix(&tool, "")), "");
    assert_eq!(code, 1, "{out}");
    has(
        &out,
        &[
            "ok    203.0.113.9 is mail.example.com, and mail.example.com is 203.0.113.9\n",
            "ok    zen.spamhaus.org lists none of ours\n",
            "fail  bl.spamcop.net lists 203.0.113.9 (127.0.0.2): look for a stolen login",
            "fail  dbl.spamhaus.org lists example.com (127.0.1.2)",
            "warn  psbl.surriel.com does not answer this resolver",
            "warn  bl.mailspike.net answers nonsense",
            "ok    MX of example.com: mail.example.com\n",
            "ok    SPF of example.com, passes for 203.0.113.9 (v=spf1 mx -all)\n",
            "ok    DMARC of example.com asks for reject",
            "ok    TLSRPT of example.com goes to mailto:postmaster@example.com\n",
            "warn  example.com has no MTA-STS",
            "fail  123qwe.com has no MX",
            "fail  123qwe.com has no SPF record",
            "warn  123qwe.com has no DMARC record",
            " failed\n",
        ],
    );
    let domains = format!("check --only mx --only spf --domain example.com {}", postfix(&tool, ""));
    let out = tool.ok(&domains);
    assert!(!out.contains("123qwe.com") && !out.contains("DMARC"), "{out}");
    let elsewhere = postfix(&tool, "smtp_bind_address = 198.51.100.77");
    let (code, out, _) =
        tool.run(&format!("check --only spf --only host --domain example.com {elsewhere}"), "");
    assert_eq!(code, 1, "{out}");
    has(
        &out,
        &[
            "fail  198.51.100.77 has no name (PTR)",
            "fail  mail of example.com from 198.51.100.77, an address of this host, gets fail from its SPF record",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_dns_shows_or_not_are_found() {
    let database = Database::create().await;
    let dns = Dns::serve(GOOD);
    let tool = Tool::with(&database, &dns.toml());
    tool.ok("schema install");
    tool.ok("dkim generate example.com --selector s1");
    let check = "check --only dkim --domain example.com";
    has(&tool.ok(check), &["warn  DKIM key s1 of example.com (new): no TXT record: it waits for its record"]);
    let plain = tool.ok("dkim dns example.com s1 --plain");
    let (name, text) = plain.trim().split_once('\n').unwrap();
    dns.change(&format!("{GOOD}\n{name} TXT {text}"));
    has(&tool.ok(check), &["ok    DKIM key s1 of example.com (new): DNS shows it"]);
    tool.ok("dkim activate example.com");
    dns.change(GOOD);
    let (code, out, _) = tool.run(check, "");
    assert_eq!(code, 1, "{out}");
    has(
        &out,
        &[
            "fail  DKIM key s1 of example.com (active): no TXT record: mail is not signed with it; `gatepost dkim dns example.com s1`",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_that_is_away_is_one_finding() {
    let database = Database::create().await;
    let dns = Dns::serve("example.com ANY DROP\n123qwe.com ANY DROP\norg ANY DROP");
    let tool = Tool::with(&database, &dns.toml());
    let (code, out, _) = tool.run("check --only mx --only spf --only lists --only host", "");
    assert_eq!(code, 1, "{out}");
    has(&out, &["fail  DNS does not answer for ", "Nothing else was asked"]);
    assert_eq!(out.matches("DNS does not answer").count(), 1, "{out}");
    let out = tool.ok("check --only mx --only spf --offline");
    assert!(!out.contains("DNS"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_finding_is_an_object_of_json() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    let out = tool.ok("check --offline --json --only domains --only users");
    let findings: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(findings[0]["check"], "database");
    let postmaster = findings.iter().find(|found| found["check"] == "domains").unwrap();
    assert_eq!(postmaster["result"], "warn");
    assert!(postmaster["text"].as_str().unwrap().starts_with("123qwe.com has no postmaster"));
    assert!(!tool.ok("check --offline --json --problems --only domains").contains("\"ok\""));
    let (code, _, error) = tool.run("check --only postfox", "");
    assert!(code == 64 && error.contains("did you mean postfix?"), "{error}");
    has(&tool.ok("check --list"), &["certificates of Postfix and Dovecot", "mta-sts"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn postfix_is_judged_as_postconf_reads_it() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    let (code, out, _) = tool.run(&format!("check --only postfix {}", postfix(&tool, "")), "");
    assert!(code == 1 && out.contains("fail  Postfix asks Gatepost nothing"), "{out}");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let directory = tool.dir().join("postfix");
    std::fs::copy(format!("{example}/main.cf"), directory.join("main.cf")).unwrap();
    std::fs::copy(format!("{example}/master.cf"), directory.join("master.cf")).unwrap();
    let check = format!("check --only postfix --postfix {}", directory.display());
    has(
        &tool.ok(&check),
        &["ok    Postfix asks Gatepost for domains, mailboxes, aliases, senders, and what mail is\n"],
    );
    let main = std::fs::read_to_string(directory.join("main.cf")).unwrap();
    std::fs::write(directory.join("main.cf"), main.replace("mydestination =", "mydestination = $mydomain"))
        .unwrap();
    let (code, out, _) = tool.run(&check, "");
    assert!(code == 1 && out.contains("fail  example.com is in mydestination of Postfix"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_zone_is_printed_and_compared() {
    let database = Database::create().await;
    let dns = Dns::serve(GOOD);
    let tool = Tool::with(&database, &dns.toml());
    tool.ok("schema install");
    tool.ok("dkim generate example.com --selector s1 --kind rsa-4096");
    let out = tool.ok("domain dns example.com --dmarc reject --autoconfig web.example.com");
    has(
        &out,
        &[
            "\nexample.com. 3600 IN MX 10 mail.example.com.\n",
            "\nexample.com. 3600 IN TXT \"v=spf1 mx -all\"\n",
            "\ns1._domainkey.example.com. 3600 IN TXT ( \"v=DKIM1; k=rsa; p=",
            "\n_dmarc.example.com. 3600 IN TXT \"v=DMARC1; p=reject; rua=mailto:postmaster@example.com\"\n",
            "\nexample.com. 3600 IN CAA 0 issue \"letsencrypt.org\"\n",
            "\n_mta-sts.example.com. 3600 IN TXT \"v=STSv1; id=",
            "\n_smtp._tls.example.com. 3600 IN TXT \"v=TLSRPTv1; rua=mailto:postmaster@example.com\"\n",
            "\n_imaps._tcp.example.com. 3600 IN SRV 0 1 993 mail.example.com.\n",
            "\n_autodiscover._tcp.example.com. 3600 IN SRV 0 1 443 web.example.com.\n",
            "\nautoconfig.example.com. 3600 IN CNAME web.example.com.\n",
        ],
    );
    // RFC 1035, 3.3: no string is longer than 255 octets.
    let key = out.lines().find(|line| line.starts_with("s1.")).unwrap();
    let strings: Vec<&str> = key.split('"').skip(1).step_by(2).collect();
    assert!(strings.len() == 3 && strings.iter().all(|string| string.len() <= 255), "{key}");
    let (code, out, _) = tool.run("domain dns example.com --mx mail.example.com --check", "");
    assert_eq!(code, 0, "{out}");
    has(
        &out,
        &[
            "ok    MX of example.com: mail.example.com\n",
            "warn  DKIM key s1 of example.com (new)",
            "ok    CAA of example.com: letsencrypt.org\n",
            "ok    _imaps._tcp.example.com: mail.example.com port 993\n",
            "warn  _imap._tcp.example.com leads to mail.example.com port 143: programs may log in there before they encrypt",
            "warn  _submission._tcp.example.com is not there",
        ],
    );
    let (code, out, _) =
        tool.run("domain dns example.com --mx mx.example.com --authority ca.test --check --json", "");
    assert_eq!(code, 1, "{out}");
    has(&out, &["mx.example.com is not among them", "and not ca.test"]);
    assert!(out.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{out}");
}
