//! ARC chains on the wire: the validation suite of the draft's authors (ValiMail's `arc_test_suite`), and what no suite asks.

use std::path::PathBuf;

use yaml_rust2::{Yaml, YamlLoader};

use crate::conversations::UNREACHABLE;
use crate::daemon::Daemon;
use crate::dns::Dns;
use crate::verification::results;

/// The documents of a suite; none, loudly, where the suite is not there.
pub(crate) fn suite(name: &str) -> Option<Vec<Yaml>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/suites/arc").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(YamlLoader::load_from_str(&unique(&text)).unwrap()),
        Err(error) => {
            eprintln!("NOT RUN: {}: {error}", path.display());
            None
        }
    }
}

/// YAML allows no key twice, the validation suite has some (`as_fields_b_head_case`): each further one gets a number.
fn unique(text: &str) -> String {
    let mut seen: Vec<&str> = Vec::new();
    let lines = text.lines().map(|line| {
        let name = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'));
        let Some(name) = name.filter(|name| !name.starts_with(' ')) else { return line.to_owned() };
        seen.push(name);
        match seen.iter().filter(|known| **known == name).count() {
            1 => line.to_owned(),
            count => format!("  {name} {count}:"),
        }
    });
    lines.map(|line| line + "\n").collect()
}

/// The zone of a document: its records, in one string each.
pub(crate) fn zone(document: &Yaml) -> String {
    let records = document["txt-records"].as_hash().unwrap();
    let line = |(name, text): (&Yaml, &Yaml)| {
        format!("{} TXT {}\n", name.as_str().unwrap(), text.as_str().unwrap().replace('\n', ""))
    };
    records.iter().map(line).collect()
}

pub(crate) fn crlf(text: &str) -> Vec<u8> {
    text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()
}

/// The word of `arc=`; nothing is written about a chain that is not there.
fn word(results: &str) -> String {
    match results.split_once("arc=") {
        Some((_, rest)) => rest.split([' ', ';', '\0']).next().unwrap().to_owned(),
        None => "none".to_owned(),
    }
}

/// Cases for which the suite has no expectation (`cv: ''`): the newest or an older seal says `cv=fail`. RFC 8617, 5.2, step 2: "If
/// the Chain Validation Status of the highest instance value ARC Set is "fail", then the Chain Validation Status is "fail" and the
/// algorithm stops here"; for an older one step 3: "each ARC Set with instance value > 1 … cv=pass".
const UNSAID: [&str; 3] = ["cv_fail_i1_as_cv_fail", "cv_fail_i2_as2_fail", "cv_fail_i2_as1_fail"];

/// Where the suite follows a draft and not the RFC. Its signer took `relaxed/relaxed` for an absent `c=`; RFC 8617, 4.1.2: "The AMS
/// header field has the same syntax and semantics as the DKIM-Signature field", with three differences of which `c=` is none; so it
/// is `simple/simple` (RFC 6376, 3.5), and that signature does not hold.
const OUTDATED: [(&str, &str); 1] = [("ams_fields_c_na", "fail")];

#[test]
fn the_validation_suite() {
    let Some(documents) = suite("arc-draft-validation-tests.yml") else { return };
    let mut counted = (0, 0);
    let mut wrong = Vec::new();
    for document in &documents {
        let dns = Dns::serve(&zone(document));
        let daemon = Daemon::start(&format!("explain = false\n{UNREACHABLE}"), &dns.toml());
        for (name, case) in document["tests"].as_hash().unwrap() {
            let name = name.as_str().unwrap();
            let outdated = OUTDATED.iter().find(|(outdated, _)| *outdated == name);
            let expected = match case["cv"].as_str().unwrap() {
                _ if outdated.is_some() => outdated.unwrap().1.to_owned(),
                "" if UNSAID.contains(&name) => "fail".to_owned(),
                "" => panic!("{name} says nothing"),
                said => said.to_lowercase(),
            };
            let found = results(&daemon, &crlf(case["message"].as_str().unwrap()));
            counted.0 += 1;
            if word(&found) == expected {
                counted.1 += 1;
            } else {
                wrong.push(format!("{name}: expected {expected}: {found}"));
            }
        }
    }
    eprintln!("ARC validation suite: {} of {} cases", counted.1, counted.0);
    assert_eq!(wrong, [""; 0], "{} of {}", counted.1, counted.0);
    // 171 names, four of which stand for two cases.
    assert_eq!(counted, (175, 175));
}
