//! The RFC 7208 test suite of openspf.org: every case asks a name server of its own scenario, through the verifier's own SPF.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gatepost::config::{self, Seconds};
use gatepost::spf::{SpfOutcome, SpfResult};
use gatepost_milter::authentication::{Question, Verification, Verifier};
use gatepost_milter::pool::Pool;
use yaml_rust2::{Yaml, YamlLoader};

use crate::dns::{self, Dns, Line, Value};

/// How many cases the suite has (release 2014.04 with the additions of pySPF).
const CASES: usize = 203;

#[tokio::test]
async fn the_suite_of_rfc_7208() {
    let path = suite();
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("NOT RUN: the SPF suite is not at {}", path.display());
        return;
    };
    let (mut seen, mut wrong) = (0, Vec::new());
    for scenario in YamlLoader::load_from_str(&text).unwrap() {
        let lines = zone(&scenario["zonedata"]);
        // What is never answered is waited for; what is, may come late on a busy machine.
        let silent = lines.iter().any(|line| matches!(line.value, Value::Drop));
        let patience = if silent { Duration::from_secs(1) } else { Duration::from_secs(20) };
        let server = Dns::serve_lines(lines, false);
        let verifier = verifier(&server, patience);
        for (name, case) in scenario["tests"].as_hash().unwrap() {
            seen += 1;
            let found = check(&verifier, case).await;
            if let Some(why) = differs(case, &found) {
                wrong.push(format!("{}: {why}: {found:?}", name.as_str().unwrap()));
            }
        }
    }
    assert_eq!(seen, CASES, "cases in {}", path.display());
    assert!(wrong.is_empty(), "{} of {seen} cases:\n{}", wrong.len(), wrong.join("\n"));
}

fn suite() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/suites/spf/rfc7208-tests.yml")
}

fn verifier(server: &Dns, timeout: Duration) -> Verifier {
    let config =
        config::Dns { servers: vec![server.address()], timeout: Seconds(timeout), ..config::Dns::default() };
    let settings = Verification {
        deadline: Duration::from_secs(60),
        signatures: 1,
        questions: 300,
        trusted_sealers: Vec::new(),
    };
    Verifier::new(&config, settings).unwrap()
}

async fn check(verifier: &Verifier, case: &Yaml) -> SpfOutcome {
    let question = Question {
        client: Some(case["host"].as_str().unwrap().parse().unwrap()),
        helo: case["helo"].as_str().map(str::to_owned),
        sender: case["mailfrom"].as_str().filter(|sender| !sender.is_empty()).map(str::to_owned),
        raw: Vec::new(),
        complete: true,
        host: "receiver.example.net".to_owned(),
    };
    verifier.verify(&question, &Pool::new(1)).await.spf.unwrap()
}

/// Why the outcome is not what the case wants.
fn differs(case: &Yaml, found: &SpfOutcome) -> Option<String> {
    let results: Vec<&str> = match &case["result"] {
        Yaml::Array(results) => results.iter().filter_map(Yaml::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    if !results.contains(&found.result.as_str()) {
        return Some(format!("wanted {results:?}"));
    }
    // DEFAULT: the receiver's own words, so none of the domain's.
    let explanation = case["explanation"].as_str()?;
    let wanted = Some(explanation).filter(|text| *text != "DEFAULT");
    let found = found.explanation.as_deref().filter(|_| found.result == SpfResult::Fail);
    (found != wanted).then(|| format!("wanted the explanation {wanted:?}"))
}

/// A scenario's zone. An SPF record stands for a TXT record where the name has no TXT of its own; `TXT: NONE` keeps that from
/// happening; `TIMEOUT` is for all that the name does not have.
fn zone(data: &Yaml) -> Vec<Line> {
    let mut lines = Vec::new();
    for (name, entries) in data.as_hash().unwrap() {
        let name = name.as_str().unwrap().trim_end_matches('.').to_lowercase();
        let entries = entries.as_vec().unwrap();
        let has_txt = entries.iter().any(|entry| !entry["TXT"].is_badvalue());
        for entry in entries {
            let Some(entry) = entry.as_hash() else {
                assert_eq!(entry.as_str(), Some("TIMEOUT"));
                lines.push(Line { name: name.clone(), kind: dns::ANY, value: Value::Drop });
                continue;
            };
            let (kind, value) = entry.front().unwrap();
            let kind = kind.as_str().unwrap();
            if value.as_str() == Some("NONE") {
                continue;
            }
            let line = |kind: &str| Line {
                name: name.clone(),
                kind: dns::number(kind),
                value: Value::Data(content(kind, value)),
            };
            lines.push(line(kind));
            if kind == "SPF" && !has_txt {
                lines.push(line("TXT"));
            }
        }
    }
    lines
}

fn content(kind: &str, value: &Yaml) -> Vec<u8> {
    match (kind, value) {
        ("MX", Yaml::Array(parts)) => {
            let preference = parts[0].as_i64().unwrap();
            dns::data("MX", &format!("{preference} {}", parts[1].as_str().unwrap()))
        }
        // A TXT record without strings cannot be sent (RFC 1035, 3.3.14); one with an empty string can.
        ("TXT" | "SPF", Yaml::Array(parts)) if parts.is_empty() => vec![0],
        ("TXT" | "SPF", Yaml::Array(parts)) => {
            dns::strings(&parts.iter().map(|part| bytes(part.as_str().unwrap())).collect::<Vec<_>>())
        }
        ("TXT" | "SPF", text) => dns::strings(&[bytes(text.as_str().unwrap())]),
        (kind, value) => dns::data(kind, value.as_str().unwrap()),
    }
}

/// `"\xEF"` in YAML is a character, and means a byte.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}
