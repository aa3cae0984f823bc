//! Lines of a Dovecot: login processes, mail processes and dictionary clients.
#![no_main]

use gatepost_dovecot_auth::protocol::auth::{client, master};
use gatepost_dovecot_auth::protocol::dict::{self, key};
use gatepost_dovecot_auth::protocol::tabbed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for line in data.split(|&byte| byte == b'\n') {
        let _ = (client::Command::parse(line), master::Command::parse(line), dict::Command::parse(line));
        for parameter in tabbed::parameters(line) {
            let plain = tabbed::unescape(parameter);
            let mut escaped = Vec::new();
            tabbed::escape(&plain, &mut escaped);
            assert!(
                !escaped.iter().any(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0)),
                "one parameter stays one"
            );
            assert_eq!(*tabbed::unescape(&escaped), *plain, "and says the same");
        }
        if let Ok(text) = std::str::from_utf8(line) {
            for component in key::components(text) {
                assert_eq!(key::unescape(&key::escape(&component)), component);
            }
        }
    }
});
