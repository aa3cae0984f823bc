//! What strangers may put into DNS, and a DNS that is away or slow: bounded questions, a clear outcome, never a "fail" for want of an answer.

use std::time::Duration;

use gatepost::config::{self, Seconds};
use gatepost_milter::authentication::{
    Authentication, DmarcResult, IprevResult, Question, SpfResult, Verification, Verifier,
};
use gatepost_milter::pool::Pool;

use crate::dns::{Dns, data, message, question, record};

const MESSAGE: &str = "From: a@x.test\r\nSubject: x\r\n\r\nbody\r\n";

async fn verify(dns: &Dns, settings: Verification) -> Authentication {
    verify_within(Duration::from_secs(20), dns, settings).await
}

/// With that long for each question.
async fn verify_within(timeout: Duration, dns: &Dns, settings: Verification) -> Authentication {
    let config =
        config::Dns { servers: vec![dns.address()], timeout: Seconds(timeout), ..config::Dns::default() };
    let question = Question {
        client: "192.0.2.1".parse().ok(),
        helo: Some("helo.x.test".to_owned()),
        sender: Some("a@x.test".to_owned()),
        raw: MESSAGE.as_bytes().to_vec(),
        complete: true,
        host: "mx.receiver.test".to_owned(),
    };
    Verifier::new(&config, settings).unwrap().verify(&question, &Pool::new(1)).await
}

fn settings() -> Verification {
    Verification {
        deadline: Duration::from_secs(60),
        signatures: 10,
        questions: 300,
        trusted_sealers: Vec::new(),
    }
}

async fn found(zone: &str) -> (Authentication, usize) {
    let dns = Dns::serve(zone);
    let found = verify(&dns, settings()).await;
    (found, dns.questions().len())
}

#[tokio::test]
async fn records_of_64_kilobytes() {
    let networks = "ip4:203.0.113.9 ".repeat(4000);
    let (good, _) = found(&format!("x.test TXT v=spf1 {networks}ip4:192.0.2.1 -all\n")).await;
    assert_eq!(good.spf.unwrap().result, SpfResult::Pass);
    let (bad, _) = found(&format!("x.test TXT v=spf1 {networks}moo\n")).await;
    let spf = bad.spf.unwrap();
    assert_eq!((spf.result, spf.problem.as_deref()), (SpfResult::PermError, Some("mistake at moo")));
    let (one, _) = found(&format!("x.test TXT v=spf1 {}\n", "x".repeat(60_000))).await;
    assert!(one.spf.unwrap().problem.unwrap().len() < 100);

    let tags = ";".repeat(30_000);
    let rua = "mailto:a@b.test,".repeat(1800);
    let (dmarc, _) = found(&format!("_dmarc.x.test TXT v=DMARC1;{tags}p=reject;rua={rua}\n")).await;
    let dmarc = dmarc.dmarc.unwrap();
    assert_eq!(dmarc.policy.as_str(), "reject");
    assert!(dmarc.record.unwrap().rua.len() <= 10);
}

#[tokio::test]
async fn macros_do_not_grow() {
    let zone = format!(
        "x.test TXT v=spf1 exists:{}.x.test -all exp=e.x.test\ne.x.test TXT {}\n",
        "%{s}%{l}%{d}".repeat(200),
        "%{s}%{h}%{c}".repeat(4000)
    );
    let (found, _) = found(&zone).await;
    let spf = found.spf.unwrap();
    assert_eq!(spf.result, SpfResult::Fail);
    assert_eq!(spf.explanation.unwrap().len(), 400);
}

#[tokio::test]
async fn includes_without_end() {
    let dns = Dns::scripted(|query, _| {
        let (name, _, end) = question(query).unwrap();
        let text = format!("v=spf1 include:n.{name} include:m.{name} redirect=r.{name}");
        vec![message(&query[..end], 0, 0, &[record(&[0xc0, 12], 16, &data("TXT", &text))], &[])]
    });
    let found = verify(&dns, settings()).await;
    assert_eq!(found.spf.unwrap().result, SpfResult::PermError);
    assert_eq!(found.spf_helo.unwrap().result, SpfResult::PermError);
    // Eleven records for each identity, the walk of DMARC, the client's names.
    assert!(dns.questions().len() < 30, "{:?}", dns.questions());
}

#[tokio::test]
async fn a_message_has_so_many_questions_and_no_more() {
    let mut zone = String::from("x.test TXT v=spf1");
    for term in 0..10 {
        zone.push_str(&format!(" mx:m{term}.x.test"));
    }
    zone.push_str(" -all\n");
    for term in 0..10 {
        for host in 0..10 {
            zone.push_str(&format!(
                "m{term}.x.test MX 1 h{host}.m{term}.x.test\nh{host}.m{term}.x.test A 203.0.113.9\n"
            ));
        }
    }
    let (whole, asked) = found(&zone).await;
    assert_eq!(whole.spf.unwrap().result, SpfResult::Fail, "the most that RFC 7208 allows");
    assert!((111..200).contains(&asked), "{asked}");
    let dns = Dns::serve(&zone);
    let cut = verify(&dns, Verification { questions: 60, ..settings() }).await;
    assert_eq!(cut.spf.unwrap().result, SpfResult::TempError, "no fail");
    assert!(dns.questions().len() <= 60, "{}", dns.questions().len());
}

/// What the forger's own domain uses up is not missing where the forged one's organization is looked for.
#[tokio::test]
async fn a_greedy_domain_of_the_forgers_hides_no_failure() {
    let mut zone = String::from("_dmarc.x.test TXT v=DMARC1; p=reject\ngreedy.test TXT v=spf1");
    for term in 0..10 {
        zone.push_str(&format!(" mx:m{term}.greedy.test"));
    }
    zone.push_str(" -all\n");
    for term in 0..10 {
        for host in 0..4 {
            let name = format!("h{host}.m{term}.greedy.test");
            zone.push_str(&format!("m{term}.greedy.test MX 1 {name}\n{name} A 203.0.113.9\n"));
        }
    }
    let dns = Dns::serve(&zone);
    let config = config::Dns {
        servers: vec![dns.address()],
        timeout: Seconds(Duration::from_secs(20)),
        ..config::Dns::default()
    };
    let question = Question {
        client: "192.0.2.1".parse().ok(),
        helo: None,
        sender: Some("a@greedy.test".to_owned()),
        raw: MESSAGE.as_bytes().to_vec(),
        complete: true,
        host: "mx.receiver.test".to_owned(),
    };
    let settings = Verification { questions: 40, ..settings() };
    let found = Verifier::new(&config, settings).unwrap().verify(&question, &Pool::new(1)).await;
    assert_eq!(found.spf.unwrap().result, SpfResult::TempError);
    let dmarc = found.dmarc.unwrap();
    assert_eq!((dmarc.result, dmarc.policy.as_str()), (DmarcResult::Fail, "reject"));
    assert!(dns.questions().len() <= 40, "{:?}", dns.questions());
}

#[tokio::test]
async fn a_reverse_zone_without_end() {
    let mut zone = String::new();
    for name in 0..100 {
        zone.push_str(&format!(
            "1.2.0.192.in-addr.arpa PTR n{name}.evil.test\nn{name}.evil.test A 203.0.113.9\n"
        ));
    }
    zone.push_str("x.test TXT v=spf1 ptr ptr:evil.test -all\n");
    let (found, asked) = found(&zone).await;
    assert_eq!(found.iprev.unwrap().result, IprevResult::Fail);
    assert_eq!(found.spf.unwrap().result, SpfResult::Fail);
    assert!(asked < 30, "{asked}");
}

#[tokio::test]
async fn a_silent_dns_leaves_everything_open() {
    let dns = Dns::scripted(|_, _| Vec::new());
    // Within the deadline each question fails by itself.
    let patient = verify_within(Duration::from_millis(200), &dns, settings()).await;
    assert_eq!(patient.spf.unwrap().result, SpfResult::TempError);
    assert_eq!(patient.dmarc.unwrap().result, DmarcResult::TempError);
    assert_eq!(patient.iprev.unwrap().result, IprevResult::TempError);
    // Beyond it the facts are missing.
    let late = verify(&dns, Verification { deadline: Duration::from_millis(50), ..settings() }).await;
    assert_eq!(late.missing, ["spf", "iprev", "dmarc"]);
    assert!(late.spf.is_none() && late.dmarc.is_none());
}

/// Whoever forges x.test keeps his own domains slow: what can never be aligned leaves nothing open, and what may be leaves DMARC open.
#[tokio::test]
async fn a_slow_domain_of_the_forgers_hides_no_failure() {
    let zone = "_dmarc.x.test TXT v=DMARC1; p=reject\nslow.test TXT DROP\ns._domainkey.slow.test TXT DROP\n\
                _dmarc.slow.test TXT DROP\nx.test TXT v=spf1 -all\n";
    let signed = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=slow.test; s=s; h=from; \
                  bh=Ck5SoRNWUpSR4X0COv7R5ub2pUTtl6xz4dTFz++ji4M=; b=AAAA\r\n";
    let verified = async |sender: &str, raw: String, zone: &str| {
        let dns = Dns::serve(zone);
        let patience = Seconds(Duration::from_secs(60));
        let config =
            config::Dns { servers: vec![dns.address()], timeout: patience, ..config::Dns::default() };
        let question = Question {
            client: "192.0.2.1".parse().ok(),
            helo: None,
            sender: Some(sender.to_owned()),
            raw: raw.into_bytes(),
            complete: true,
            host: "mx.receiver.test".to_owned(),
        };
        let settings = Verification { deadline: Duration::from_secs(4), ..settings() };
        Verifier::new(&config, settings).unwrap().verify(&question, &Pool::new(1)).await
    };
    let both = MESSAGE.replace("a@x.test", "a@slow.test, a@x.test");
    let open = zone.replace("x.test TXT v=spf1 -all", "x.test TXT DROP");
    let (spf, dkim, author, aligned) = tokio::join!(
        verified("a@slow.test", MESSAGE.to_owned(), zone),
        verified("a@x.test", format!("{signed}{MESSAGE}"), zone),
        verified("a@x.test", both, zone),
        verified("a@x.test", MESSAGE.to_owned(), &open),
    );
    for (found, what) in [(spf, "SPF"), (dkim, "DKIM"), (author, "another author")] {
        let dmarc = found.dmarc.unwrap_or_else(|| panic!("{what}: {:?}", found.missing));
        assert_eq!((dmarc.result, dmarc.policy.as_str()), (DmarcResult::Fail, "reject"), "{what}");
    }
    assert_eq!(aligned.dmarc.unwrap().result, DmarcResult::TempError);
}

#[tokio::test]
async fn wrong_types_and_refusals_are_no_records() {
    // Everything is answered by an address.
    let dns = Dns::scripted(|query, _| {
        let (_, _, end) = question(query).unwrap();
        vec![message(&query[..end], 0, 0, &[record(&[0xc0, 12], 1, &[192, 0, 2, 1])], &[])]
    });
    let found = verify(&dns, settings()).await;
    assert_eq!(found.spf.unwrap().result, SpfResult::None);
    assert_eq!(found.dmarc.unwrap().result, DmarcResult::None);
    // Everything is refused: that says nothing about the records.
    let dns = Dns::scripted(|query, _| {
        let (_, _, end) = question(query).unwrap();
        vec![message(&query[..end], 0, 5, &[], &[])]
    });
    let found = verify(&dns, settings()).await;
    assert_eq!(found.spf.unwrap().result, SpfResult::TempError);
    assert_eq!(found.dmarc.unwrap().result, DmarcResult::TempError);
}

#[tokio::test]
async fn dnssec_is_kept_in_the_facts() {
    let zone = "x.test TXT v=spf1 ip4:192.0.2.1 -all\n_dmarc.x.test TXT v=DMARC1; p=reject\n";
    let dns = Dns::serve_validated(zone);
    let signed = verify(&dns, settings()).await;
    assert!(signed.spf.unwrap().secure && signed.dmarc.unwrap().secure);
    let (plain, _) = found(zone).await;
    assert!(!plain.spf.unwrap().secure && !plain.dmarc.unwrap().secure);
}
