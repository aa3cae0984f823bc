//! Aggregate reports as files: written by us and valid by the RFC's own schema, read as large senders write them, and what does not
//! deserve to be read.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use gatepost::dmarc::report::{
    Alignedness, Alignment, AuthResult, Discovery, Disposition, DkimResult, Metadata, Override,
    PublishedPolicy, Reason, Record, Report, SpfResult,
};
use gatepost::dmarc::{pack, read, unpack, write};

pub(crate) const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rfc9990.xsd");

pub(crate) fn record(source: &str, count: u64) -> Record {
    Record {
        source: source.parse().unwrap(),
        count,
        disposition: Disposition::None,
        dkim: Alignedness::Fail,
        spf: Alignedness::Fail,
        reasons: Vec::new(),
        header_from: "example.org".into(),
        envelope_from: Some("bounce.example.org".into()),
        envelope_to: None,
        dkim_results: Vec::new(),
        spf_results: Vec::new(),
    }
}

pub(crate) fn report(records: Vec<Record>) -> Report {
    Report {
        metadata: Metadata {
            organization: "Bücher & Söhne <post>".into(),
            email: "dmarc-reports@example.com".into(),
            extra_contact: Some("https://example.com/?a=1&b=2".into()),
            id: pack::id(1_763_942_400, "example.org", "example.com"),
            begin: 1_763_942_400,
            end: 1_764_028_799,
            errors: vec!["3 records left out".into()],
            generator: Some("Gatepost 0.1".into()),
        },
        policy: PublishedPolicy {
            domain: "example.org".into(),
            p: Some(Disposition::Reject),
            sp: Some(Disposition::Quarantine),
            np: Some(Disposition::Reject),
            adkim: Some(Alignment::Strict),
            aspf: Some(Alignment::Relaxed),
            discovery: Some(Discovery::TreeWalk),
            fo: Some("1:d".into()),
            testing: Some(true),
        },
        records,
    }
}

/// A report with everything in it that ours can have.
pub(crate) fn full() -> Report {
    let dkim = |result| DkimResult {
        domain: "example.org".into(),
        selector: "a<b".into(),
        result: Some(result),
        human_result: Some("body hash & more".into()),
    };
    let mut records = vec![record("192.0.2.1", 1), record("2001:db8::25", u64::from(u32::MAX))];
    for result in [
        AuthResult::None,
        AuthResult::Pass,
        AuthResult::Fail,
        AuthResult::Policy,
        AuthResult::Neutral,
        AuthResult::TempError,
        AuthResult::PermError,
    ] {
        let spf = SpfResult {
            domain: "bounce.example.org".into(),
            scope: Some("mfrom".into()),
            result: Some(result),
        };
        records.push(Record {
            disposition: Disposition::Pass,
            dkim: Alignedness::Pass,
            dkim_results: vec![dkim(result), dkim(AuthResult::Pass)],
            spf_results: vec![spf],
            envelope_from: Some(String::new()),
            ..record("198.51.100.7", 12)
        });
    }
    for kind in [
        Override::LocalPolicy,
        Override::MailingList,
        Override::Other,
        Override::PolicyTestMode,
        Override::TrustedForwarder,
    ] {
        let reasons =
            vec![Reason { kind, comment: Some("why > not".into()) }, Reason { kind, comment: None }];
        records.push(Record { disposition: Disposition::Quarantine, reasons, ..record("203.0.113.9", 3) });
    }
    report(records)
}

/// Asks xmllint, a program of others, with the schema of the RFC.
pub(crate) fn validate(xml: &str) -> Result<(), String> {
    let mut lint = Command::new("xmllint")
        .args(["--noout", "--nonet", "--schema", SCHEMA, "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("xmllint is installed (package libxml2-utils)");
    lint.stdin.take().unwrap().write_all(xml.as_bytes()).unwrap();
    let said = lint.wait_with_output().unwrap();
    if said.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said.stderr).into_owned()) }
}

#[test]
fn what_we_write_is_valid_and_reads_the_same() {
    let full = full();
    let xml = write::xml(&full);
    validate(&xml).unwrap();
    assert_eq!(read::xml(xml.as_bytes()).unwrap(), full);
    // Only what must be there.
    let mut bare = report(vec![record("192.0.2.1", 1)]);
    bare.policy =
        PublishedPolicy { domain: "example.org".into(), p: Some(Disposition::None), ..Default::default() };
    (bare.metadata.extra_contact, bare.metadata.generator) = (None, None);
    bare.metadata.errors.clear();
    bare.records[0].envelope_from = None;
    let xml = write::xml(&bare);
    validate(&xml).unwrap();
    assert_eq!(read::xml(xml.as_bytes()).unwrap(), bare);
    // The check can fail.
    let broken = xml.replace("<p>none</p>", "");
    assert!(validate(&broken).unwrap_err().contains("policy_published"));
}

#[test]
fn what_the_schema_does_not_know_is_not_written() {
    let mut old = report(vec![record("::ffff:192.0.2.1", 1)]);
    let one = &mut old.records[0];
    one.reasons = vec![Reason { kind: Override::Forwarded, comment: Some("a\u{0}b\u{1b}c\rd".into()) }];
    one.envelope_to = Some("example.com".into());
    one.header_from = "]]>\u{fffe}&amp;".into();
    let spf = |domain: &str, result| SpfResult { domain: domain.into(), scope: Some("helo".into()), result };
    one.spf_results = vec![
        spf("a.test", None),
        spf("b.test", Some(AuthResult::SoftFail)),
        spf("c.test", Some(AuthResult::Pass)),
    ];
    one.dkim_results = (0..150)
        .map(|number| DkimResult {
            domain: format!("d{number}.test"),
            selector: "s".into(),
            result: (number > 0).then_some(AuthResult::Pass),
            human_result: None,
        })
        .collect();
    old.metadata.errors = vec!["one".into(), "two".into()];
    let xml = write::xml(&old);
    validate(&xml).unwrap();
    let found = read::xml(xml.as_bytes()).unwrap();
    let one = &found.records[0];
    assert_eq!(one.source, "192.0.2.1".parse::<IpAddr>().unwrap());
    assert_eq!(one.reasons, [Reason { kind: Override::Other, comment: Some("abc\rd".into()) }]);
    assert_eq!(one.header_from, "]]>&amp;");
    assert_eq!(one.envelope_to, None);
    assert_eq!(one.spf_results.iter().map(|spf| spf.domain.as_str()).collect::<Vec<_>>(), ["b.test"]);
    assert_eq!(one.dkim_results.len(), 100);
    assert_eq!(found.metadata.errors, ["one; two"]);
}

/// In the manner of Google: no namespace, `pct`, a policy override with a comment, no scope, no selector in an old one.
pub(crate) const GOOGLE: &str = r#"<?xml version="1.0" encoding="UTF-8" ?>
<feedback>
  <report_metadata>
    <org_name>big.test</org_name>
    <email>noreply-dmarc-support@big.test</email>
    <extra_contact_info>https://support.big.test/a/answer/1</extra_contact_info>
    <report_id>1234567890123456789</report_id>
    <date_range>
      <begin>1763942400</begin>
      <end>1764028799</end>
    </date_range>
  </report_metadata>
  <policy_published>
    <domain>example.com</domain>
    <adkim>r</adkim>
    <aspf>r</aspf>
    <p>reject</p>
    <sp>none</sp>
    <pct>100</pct>
    <np>reject</np>
  </policy_published>
  <record>
    <row>
      <source_ip>2001:db8:1::1</source_ip>
      <count>17</count>
      <policy_evaluated>
        <disposition>none</disposition>
        <dkim>pass</dkim>
        <spf>fail</spf>
      </policy_evaluated>
    </row>
    <identifiers>
      <header_from>example.com</header_from>
    </identifiers>
    <auth_results>
      <dkim>
        <domain>example.com</domain>
        <result>pass</result>
        <selector>20260120</selector>
      </dkim>
      <spf>
        <domain>list.test</domain>
        <result>pass</result>
      </spf>
    </auth_results>
  </record>
  <record>
    <row>
      <source_ip>192.0.2.9</source_ip>
      <count>2</count>
      <policy_evaluated>
        <disposition>none</disposition>
        <dkim>fail</dkim>
        <spf>fail</spf>
        <reason>
          <type>local_policy</type>
          <comment>arc=pass</comment>
        </reason>
      </policy_evaluated>
    </row>
    <identifiers>
      <header_from>example.com</header_from>
    </identifiers>
    <auth_results>
      <spf>
        <domain>example.com</domain>
        <result>softfail</result>
      </spf>
    </auth_results>
  </record>
</feedback>
"#;

/// In the manner of Microsoft: declarations of schema namespaces, `version`, both envelopes, `fo`, one line.
pub(crate) const MICROSOFT: &str = r#"<?xml version="1.0"?><feedback xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><version>1.0</version><report_metadata><org_name>Enterprise Mail</org_name><email>dmarcreport@soft.test</email><report_id>0a1b2c3d4e5f</report_id><date_range><begin>1763942400</begin><end>1764028800</end></date_range></report_metadata><policy_published><domain>example.com</domain><adkim>r</adkim><aspf>r</aspf><p>none</p><sp>none</sp><pct>100</pct><fo>0</fo></policy_published><record><row><source_ip>198.51.100.3</source_ip><count>1</count><policy_evaluated><disposition>none</disposition><dkim>fail</dkim><spf>pass</spf></policy_evaluated></row><identifiers><envelope_to>customer.test</envelope_to><envelope_from>example.com</envelope_from><header_from>example.com</header_from></identifiers><auth_results><spf><domain>example.com</domain><scope>mfrom</scope><result>pass</result></spf></auth_results></record></feedback>"#;

/// In the manner of Yahoo and of old senders: a comment, capitals, words of before RFC 7489, two SPF results, no envelope, CDATA.
const YAHOO: &str = "\u{feff}<?xml version='1.0' encoding='utf-8'?>\r\n<!-- report -->\r\n<feedback>\r\n<report_metadata><org_name><![CDATA[Yah & Hoo]]></org_name><email>d@yah.test</email>\
<report_id>1.2</report_id><date_range><begin> 1763942400 </begin><end>1764028799</end></date_range><error>x</error><error>y</error></report_metadata>\
<policy_published><domain>Example.COM</domain><p>Quarantine</p><pct>50</pct></policy_published>\
<record><row><source_ip>[192.0.2.77]</source_ip><count>4</count><policy_evaluated><disposition>QUARANTINE</disposition><dkim>FAIL</dkim>\
<reason><type>sampled_out</type></reason><reason/></policy_evaluated></row><identifiers><header_from>example.com</header_from></identifiers>\
<auth_results><dkim><domain>x.test</domain><result>hardfail</result></dkim><dkim/><spf><domain>h.test</domain><scope>helo</scope><result>unknown</result></spf>\
<spf><domain>m.test</domain><scope>mfrom</scope><result>error</result></spf></auth_results></record>\r\n</feedback>\r\n";

/// In the manner of a sender of RFC 9990 with extensions, under a prefix of its own.
const EXTENDED: &str = r#"<d:feedback xmlns:d="urn:ietf:params:xml:ns:dmarc-2.0" xmlns:e="urn:x">
<d:version>1.0</d:version><d:report_metadata><d:org_name>o</d:org_name><d:email>e</d:email><d:extra_contact_info lang="de">k</d:extra_contact_info><d:report_id>i</d:report_id>
<d:date_range><d:begin>1</d:begin><d:end>2</d:end></d:date_range><d:generator>g 1</d:generator></d:report_metadata>
<d:policy_published><d:domain>example.com</d:domain><d:p>none</d:p><d:discovery_method>treewalk</d:discovery_method><d:testing>n</d:testing></d:policy_published>
<d:extension><e:feedback><e:record><e:row/></e:record></e:feedback></d:extension>
<d:record><d:row><d:source_ip>192.0.2.1</d:source_ip><d:count>1</d:count><d:policy_evaluated><d:disposition>pass</d:disposition><d:dkim>pass</d:dkim><d:spf>pass</d:spf></d:policy_evaluated></d:row>
<d:identifiers><d:header_from>ex&#97;mple.c&#x6f;m</d:header_from><d:envelope_from/></d:identifiers><d:auth_results/><e:arc><e:count>99</e:count></e:arc></d:record></d:feedback>"#;

#[test]
fn reports_of_large_senders() {
    let google = read::xml(GOOGLE.as_bytes()).unwrap();
    assert_eq!(google.metadata.organization, "big.test");
    assert_eq!((google.policy.p, google.policy.np), (Some(Disposition::Reject), Some(Disposition::Reject)));
    assert_eq!(google.records.iter().map(|record| record.count).sum::<u64>(), 19);
    assert_eq!(google.records[0].dkim_results[0].selector, "20260120");
    assert_eq!(google.records[1].reasons[0].comment.as_deref(), Some("arc=pass"));
    assert!(google.records[0].passed() && !google.records[1].passed());

    let microsoft = read::xml(MICROSOFT.as_bytes()).unwrap();
    assert_eq!(microsoft.records[0].envelope_to.as_deref(), Some("customer.test"));
    assert_eq!(microsoft.records[0].spf, Alignedness::Pass);

    let yahoo = read::xml(YAHOO.as_bytes()).unwrap();
    let one = &yahoo.records[0];
    assert_eq!(yahoo.metadata.organization, "Yah & Hoo");
    assert_eq!(yahoo.metadata.errors, ["x", "y"]);
    assert_eq!(one.source, "192.0.2.77".parse::<IpAddr>().unwrap());
    assert_eq!((one.disposition, one.spf), (Disposition::Quarantine, Alignedness::Fail));
    assert_eq!(one.reasons, [Reason { kind: Override::SampledOut, comment: None }]);
    assert_eq!(one.dkim_results.iter().map(|dkim| dkim.result).collect::<Vec<_>>(), [Some(AuthResult::Fail)]);
    let spf: Vec<_> = one.spf_results.iter().map(|spf| spf.result).collect();
    assert_eq!(spf, [Some(AuthResult::TempError), Some(AuthResult::PermError)]);

    let extended = read::xml(EXTENDED.as_bytes()).unwrap();
    assert_eq!(extended.records.len(), 1);
    assert_eq!(extended.records[0].count, 1);
    assert_eq!(extended.records[0].header_from, "example.com");
    assert_eq!(extended.records[0].envelope_from.as_deref(), Some(""));
    assert_eq!(extended.policy.discovery, Some(Discovery::TreeWalk));
}

#[test]
fn other_encodings() {
    let latin: Vec<u8> = GOOGLE
        .replace("UTF-8", "ISO-8859-1")
        .replace("<org_name>big.test", "<org_name>Gr\u{f6}\u{df}er")
        .chars()
        .map(|character| u8::try_from(u32::from(character)).unwrap())
        .collect();
    assert_eq!(read::xml(&latin).unwrap().metadata.organization, "Gr\u{f6}\u{df}er");
    let wide: Vec<u8> = "\u{feff}"
        .encode_utf16()
        .chain(GOOGLE.replace("UTF-8", "UTF-16").encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(read::xml(&wide).unwrap().records.len(), 2);
    assert_eq!(unpack::unpack(&wide).unwrap().len(), 1);
    // It says UTF-8 and is not: the broken text is marked, the numbers count.
    let wrong: Vec<u8> = GOOGLE
        .replace("big.test</org", "b\u{1}g</org")
        .bytes()
        .map(|byte| if byte == 1 { 0xf6 } else { byte })
        .collect();
    assert_eq!(read::xml(&wrong).unwrap().metadata.organization, "b\u{fffd}g");
    let unknown = GOOGLE.replace("UTF-8", "EBCDIC");
    assert_eq!(
        read::xml(unknown.as_bytes()).unwrap_err().to_string(),
        "line 1, column 1: encoding \"ebcdic\" is not known, expected UTF-8"
    );
}

#[test]
fn bad_reports_say_where_and_what() {
    let laughs = format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE feedback [<!ENTITY a \"ha\">{}]>\n<feedback>&j;</feedback>",
        (b'b'..=b'j')
            .map(|name| format!(
                "<!ENTITY {} \"{}\">",
                char::from(name),
                format!("&{};", char::from(name - 1)).repeat(10)
            ))
            .collect::<String>()
    );
    let external =
        "<!DOCTYPE f [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><feedback>&x;</feedback>".to_owned();
    let deep = format!("<feedback>{}", "<a>".repeat(100_000));
    for (xml, expected) in [
        (laughs, "line 2, column 1: a document type is refused, reports have none"),
        (external, "line 1, column 1: a document type is refused"),
        (GOOGLE.replace("big.test</org", "&x;</org"), "line 4, column 15: entity \"&x;\" is refused"),
        (GOOGLE.replace("big.test</org", "&#0;</org"), "line 4, column 15: no well-formed XML"),
        (deep, "elements more than 32 deep"),
        (
            GOOGLE.replace("<count>17</count>", "<count>-17</count>"),
            "line 25, column 17: bad <count> \"-17\", expected a number",
        ),
        (GOOGLE.replace("<count>17</count>", "<count>18446744073709551615</count>"), "bad <count>"),
        (GOOGLE.replace("<count>17</count>", ""), "a record without <count>"),
        (GOOGLE.replace("2001:db8:1::1", "mail.example"), "bad <source_ip> \"mail.example\""),
        (
            GOOGLE.replace("<begin>1763942400", "<begin>yesterday"),
            "bad <begin> \"yesterday\", expected seconds since 1970",
        ),
        (
            GOOGLE.replace("<domain>example.com</domain>\n    <adkim>", "<adkim>"),
            "no <domain> in <policy_published>",
        ),
        (GOOGLE.replace("</row>", "</rows>"), "expected `</row>`, but `</rows>` was found"),
        (GOOGLE[..900].to_owned(), "line "),
        (GOOGLE.replace("record>", "recrd>"), "no <record>"),
        (
            "<html><body>no</body></html>".to_owned(),
            "line 1, column 1: the root element is <html>, expected <feedback>",
        ),
        (format!("{GOOGLE}<feedback/>"), "element <feedback> after the end"),
        (String::new(), "no XML element"),
        ("plain text".to_owned(), "no XML element"),
    ] {
        let said = read::xml(xml.as_bytes()).unwrap_err().to_string();
        assert!(said.contains(expected), "{said:?}, expected {expected:?} of {}", &xml[..xml.len().min(60)]);
    }
    for end in 0..GOOGLE.trim_end().len() {
        assert!(read::xml(&GOOGLE.as_bytes()[..end]).is_err(), "cut at {end}");
    }
}
