//! A database that takes connections and says nothing: whoever asks it waits, and can be told to end in the middle.

use std::net::TcpListener;
use std::path::Path;

use gatepost::config::{Section, parse};
use gatepost::daemon::Parts;
use gatepost::store::Store;

/// Tables in such a database, which is there for as long as the listener.
pub(crate) fn store<S: Section>() -> (Store, TcpListener) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = parse::<S>("[database]\nhost = \"127.0.0.1\"\n", Path::new("gatepost.toml")).unwrap();
    config.database.port = silent.local_addr().unwrap().port();
    (Parts::new(&config, "gatepost-test").unwrap().store, silent)
}
