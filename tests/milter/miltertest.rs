//! Scripts for `miltertest`, the MTA of the OpenDKIM package: somebody else's reading of the protocol.

use std::path::Path;
use std::process::Command;

use crate::conversations::UNREACHABLE;
use crate::daemon::Daemon;
use crate::dns::Dns;

/// The key of RFC 8463, A.2, and what its domain asks for.
const ZONE: &str = "brisbane._domainkey.football.example.com TXT v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
    _dmarc.football.example.com TXT v=DMARC1; p=reject\n";

#[test]
fn every_script() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/milter/lua");
    let mut scripts: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(scripts.len() >= 5, "{scripts:?}");
    let dns = Dns::serve(ZONE).toml();
    for script in scripts {
        // The others get along without DNS.
        let dns = if script.ends_with("verified.lua") { &dns } else { "" };
        let settings = format!("explain = false\non-unavailable = \"unsigned\"\n{UNREACHABLE}");
        let daemon = Daemon::start(&settings, dns);
        let run = Command::new("miltertest")
            .arg("-D")
            .arg(format!("socket=unix:{}", daemon.socket().display()))
            .arg("-s")
            .arg(&script)
            .current_dir(daemon.directory())
            .output()
            .expect("miltertest is installed (Debian package miltertest)");
        assert!(
            run.status.success(),
            "{}:\n{}{}",
            script.display(),
            String::from_utf8_lossy(&run.stdout),
            String::from_utf8_lossy(&run.stderr)
        );
    }
}
