//! DMARC by RFC 9989: a table of cases by section, each with a zone, a message and what must come out.
//!
//! The cases and their form are in `dmarc/rfc9989.txt`. Signatures are dkimpy's; SPF and DKIM are the verifier's own.

use std::time::Duration;

use gatepost::config::{self, Seconds};
use gatepost_milter::authentication::{Aligned, DmarcOutcome, Question, Verification, Verifier};
use gatepost_milter::pool::Pool;

use crate::dns::Dns;
use crate::signatures::Key;
use crate::verification::sign;

/// Every section of RFC 9989 that tells a verifier what to do.
const SECTIONS: [&str; 19] = [
    "3.2", "4.1", "4.3", "4.4", "4.4.1", "4.4.2", "4.5", "4.7", "4.8", "4.10", "4.10.1", "4.10.2", "5.3.1",
    "5.3.2", "5.3.3", "5.3.4", "5.3.5", "5.3.6", "11.5",
];

const CASES: usize = 89;

#[tokio::test]
async fn every_section_of_rfc_9989() {
    let key = Key::rsa();
    let text = include_str!("dmarc/rfc9989.txt");
    let cases: Vec<&str> = text.split("\n== ").skip(1).collect();
    assert_eq!(cases.len(), CASES);
    let mut wrong = Vec::new();
    for case in &cases {
        for why in differences(case, &key).await {
            wrong.push(format!("{}: {why}", case.lines().next().unwrap()));
        }
    }
    for section in SECTIONS {
        assert!(cases.iter().any(|case| case.starts_with(&format!("{section} "))), "no case for {section}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn differences(case: &str, key: &Key) -> Vec<String> {
    let mut zone = String::new();
    let (mut fields, mut sender, mut signers, mut wanted) = (String::new(), None, Vec::new(), Vec::new());
    for line in case.lines().skip(1).filter(|line| !line.is_empty()) {
        match line.split_once(' ') {
            Some((">", field)) => fields.push_str(&format!("{field}\r\n")),
            Some(("mail-from", address)) => sender = Some(address),
            Some(("signed", domain)) => {
                zone.push_str(&format!("s._domainkey.{domain} TXT {}\n", key.record));
                signers.push(domain);
            }
            Some(("unsure", domain)) => {
                zone.push_str(&format!("s._domainkey.{domain} TXT SERVFAIL\n"));
                signers.push(domain);
            }
            Some(("=" | "?" | "!", _)) => wanted.push(line),
            _ => zone.push_str(&format!("{line}\n")),
        }
    }
    if fields.is_empty() {
        fields = "From: author@x.test\r\n".to_owned();
    }
    let mut message = format!("{fields}Subject: x\r\n\r\nbody\r\n");
    for domain in signers {
        message = sign(&message, key, &format!("domain=b'{domain}'"));
    }
    let dns = Dns::serve(&zone);
    let found = verify(&dns, sender, message).await;
    wanted.into_iter().flat_map(|line| mismatches(line, &found, &dns)).collect()
}

async fn verify(dns: &Dns, sender: Option<&str>, message: String) -> DmarcOutcome {
    let config = config::Dns {
        servers: vec![dns.address()],
        timeout: Seconds(Duration::from_secs(20)),
        ..config::Dns::default()
    };
    let settings = Verification {
        deadline: Duration::from_secs(60),
        signatures: 10,
        questions: 300,
        trusted_sealers: Vec::new(),
    };
    let question = Question {
        client: "192.0.2.1".parse().ok(),
        helo: Some("helo.x.test".to_owned()),
        sender: Some(sender.unwrap_or("a@without-a-record.example"))
            .filter(|sender| *sender != "<>")
            .map(str::to_owned),
        raw: message.into_bytes(),
        complete: true,
        host: "mx.receiver.test".to_owned(),
    };
    let verifier = Verifier::new(&config, settings).unwrap();
    verifier.verify(&question, &Pool::new(1)).await.dmarc.unwrap()
}

fn mismatches(line: &str, found: &DmarcOutcome, dns: &Dns) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    if let ["?" | "!", name] = words.as_slice() {
        let asked = dns.asked(name) > 0;
        return if asked == (words[0] == "?") { Vec::new() } else { vec![format!("{line}: {asked}")] };
    }
    let aligned = |aligned: Aligned| match aligned {
        Aligned::Pass => "pass",
        Aligned::Fail => "fail",
        Aligned::TempError => "temperror",
    };
    let mut lowered = false;
    let mut out: Vec<String> = Vec::new();
    for (number, word) in words[1..].iter().enumerate() {
        let (wanted, is) = match (number, word.split_once('=')) {
            (0, _) => (*word, found.result.as_str()),
            (1, _) => (*word, found.policy.as_str()),
            (_, Some(("domain", wanted))) => (wanted, found.domain.as_str()),
            (_, Some(("org", wanted))) => (wanted, found.organizational_domain.as_str()),
            (_, Some(("record", wanted))) => {
                (wanted, found.record.as_ref().map_or("none", |record| record.domain.as_str()))
            }
            (_, Some(("tag", wanted))) => (wanted, found.policy_tag.map_or("none", |tag| tag.as_str())),
            (_, Some(("dkim", wanted))) => (wanted, aligned(found.dkim)),
            (_, Some(("spf", wanted))) => (wanted, aligned(found.spf)),
            (_, None) if *word == "lowered" => {
                lowered = true;
                continue;
            }
            other => panic!("{other:?} in {line}"),
        };
        if wanted != is {
            out.push(format!("wanted {word}, found {is}"));
        }
    }
    if found.lowered != lowered {
        out.push(format!("lowered is {}", found.lowered));
    }
    out
}
