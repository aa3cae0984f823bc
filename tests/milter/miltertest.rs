//! Scripts for `miltertest`, the MTA of the OpenDKIM package: somebody else's reading of the protocol.

use std::path::Path;
use std::process::Command;

use crate::conversations::UNREACHABLE;
use crate::daemon::Daemon;

#[test]
fn every_script() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/milter/lua");
    let mut scripts: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(scripts.len() >= 4, "{scripts:?}");
    for script in scripts {
        let daemon =
            Daemon::start(&format!("explain = false\non-unavailable = \"unsigned\"\n{UNREACHABLE}"), "");
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
