//! The tool's verbs about DMARC reports: those of others, read and summed, and our own, before they are sent.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::postgres::Database;
use crate::tool::Tool;

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_others_are_summed() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    // No database is needed.
    database.take_away().await;
    let dir = tool.dir().join("reports");
    std::fs::create_dir(&dir).unwrap();
    let record = |source: &str, count: u32, dkim: &str, spf: &str, disposition: &str| {
        format!(
            "<record><row><source_ip>{source}</source_ip><count>{count}</count><policy_evaluated><disposition>{disposition}</disposition>\
             <dkim>{dkim}</dkim><spf>{spf}</spf></policy_evaluated></row><identifiers><header_from>example.com</header_from></identifiers>\
             <auth_results/></record>"
        )
    };
    let report = |organization: &str, id: &str, records: &str| {
        format!(
            "<feedback><report_metadata><org_name>{organization}</org_name><email>e</email><report_id>{id}</report_id><date_range>\
             <begin>1763942400</begin><end>1764028799</end></date_range></report_metadata><policy_published><domain>Example.com</domain>\
             <p>none</p></policy_published>{records}</feedback>"
        )
    };
    let first = report(
        "one",
        "1",
        &(record("192.0.2.1", 90, "pass", "pass", "none")
            + &record("198.51.100.9", 7, "fail", "fail", "none")),
    );
    let second = report(
        "two",
        "1",
        &(record("192.0.2.1", 10, "pass", "pass", "none")
            + &record("203.0.113.5", 3, "fail", "fail", "reject")),
    );
    std::fs::write(dir.join("1.xml"), &first).unwrap();
    std::fs::write(dir.join("2.xml"), &second).unwrap();
    std::fs::write(dir.join("2-again.xml"), &second).unwrap();
    let said = tool.ok(&format!("dmarc read {}", dir.display()));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "DOMAIN       SOURCE        MESSAGES  DMARC  DKIM  SPF   DISPOSITION",
            "example.com  198.51.100.9  7         fail   fail  fail  none",
            "example.com  203.0.113.5   3         fail   fail  fail  reject",
            "example.com  192.0.2.1     100       pass   pass  pass  none",
            "2 reports (1 read twice, counted once) of 2 organisations, 2025-11-24 to 2025-11-24: 110 messages, 100 passed (90 %)",
        ]
    );
    // stdin, and what cannot be read beside what can.
    assert!(tool.ok_with("dmarc read -", &first).contains("97 messages, 90 passed"));
    std::fs::write(dir.join("3.xml"), first.replace("<count>90", "<count>many")).unwrap();
    std::fs::write(dir.join("4.txt"), "hello").unwrap();
    let (code, out, err) = tool.run(&format!("dmarc read {0} {0}/nothing", dir.display()), "");
    assert_eq!(code, 1);
    assert!(out.contains("110 messages"), "{out}");
    for expected in [
        "3.xml: line 1, column ",
        "bad <count> \"many\"",
        "4.txt: neither XML, gzip, zip nor a mail",
        "nothing: No such file",
    ] {
        assert!(err.contains(expected), "{expected} is not in {err}");
    }
    // JSON as Python's parser takes it.
    let (code, out, _) = tool.run(&format!("dmarc read --json {}", dir.display()), "");
    assert_eq!(code, 1);
    let script = "import json,sys; d=json.load(sys.stdin); print(d['messages'], d['passed'], len(d['reports']), len(d['errors']), d['sources'][0]['source'], d['reports'][1]['duplicate'], d['reports'][2]['duplicate'])";
    let mut python = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(out.as_bytes()).unwrap();
    let said = String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(said.trim(), "110 100 3 2 198.51.100.9 False True");
    assert_eq!(tool.run("dmarc read", "").0, 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_shown_before_they_are_sent() {
    let database = Database::create().await;
    let tool = Tool::new(&database);
    tool.ok("schema install");
    assert!(tool.refused("dmarc send --dry-run").contains("reports are off; set `from` in [milter.reports]"));
    let dns = crate::dns_server::Dns::serve(
        "_dmarc.example.org TXT v=DMARC1; p=reject; rua=mailto:agg@example.org,mailto:agg@third.test!1k,mailto:agg@no.test\n\
         example.org._report._dmarc.third.test TXT v=DMARC1\n",
    );
    let config = format!(
        "{}\n{}\n[milter]\nunknown-to-the-tool = 1\n[milter.reports]\nfrom = \"dmarc-reports@example.com\"\norganization = \"Example\"\n",
        database.toml(),
        dns.toml()
    );
    std::fs::write(tool.dir().join("gatepost.toml"), config).unwrap();
    assert!(tool.refused("dmarc send --dry-run").contains("nothing was collected for "));
    assert!(tool.refused("dmarc send").contains("there is no such report to send"));
    database
        .sql(
            "INSERT INTO gatepost.dmarc_reports (day, domain, p, adkim, aspf, fo, testing, due_at)
             SELECT d::date, 'example.org', 'reject', 'r', 'r', '0', false, now() + interval '1 hour'
             FROM unnest(ARRAY['2025-11-24', '2025-11-25']) AS d;
             INSERT INTO gatepost.dmarc_rows (day, domain, key, messages, source, header_from, envelope_from, disposition, dkim_aligned,
                    spf_aligned, reasons, dkim, spf_domain, spf_result)
             VALUES ('2025-11-24', 'example.org', 'k', 12, '192.0.2.1', 'www.example.org', NULL, 'none', true, false, '[]', '[]', 'x.test', 'fail'),
                    ('2025-11-24', 'example.org', 'l', 2, '192.0.2.2', 'example.org', 'x.test', 'reject', false, false, '[]', '[]', 'x.test', 'fail')",
        )
        .await;
    let before = database.sql("SELECT * FROM gatepost.dmarc_reports ORDER BY day").await;
    let said = tool.ok("dmarc send --dry-run --day 2025-11-24 --domain example.org");
    for expected in [
        "== example.org, 2025-11-24",
        "   agg@example.org: of the same organisation",
        "   agg@third.test (at most 1024 bytes): outside, authorised by its own record",
        "   agg@no.test: outside, NOT authorised: example.org._report._dmarc.no.test has no TXT record v=DMARC1",
        "example.com!example.org!1763942400!1764028799.xml.gz",
        "   To: <agg@example.org>, <agg@third.test>",
        "   Subject: Report Domain: example.org Submitter: example.com Report-ID:\n    <example.org.1763942400@example.com>",
        "<org_name>Example</org_name>",
        "<count>12</count>",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
    assert!(!said.contains("agg@no.test>"), "{said}");
    let xml = &said[said.find("<?xml").unwrap()..];
    crate::reports::validate(xml).unwrap();
    assert_eq!(database.sql("SELECT * FROM gatepost.dmarc_reports ORDER BY day").await, before);
    let listed = tool.ok("dmarc reports --day 2025-11-24");
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..7], ["2025-11-24", "example.org", "14", "12", "2", "2", "due"]);
    assert_eq!(tool.ok("dmarc reports --domain nobody.test").trim(), "");
    assert_eq!(tool.run("dmarc reports --day yesterday", "").0, 64);
}
