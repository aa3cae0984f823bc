//! Where the database is: one server, or several of which one is asked at a time.

use std::fmt;
use std::net::Ipv6Addr;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

/// `database.host`. In TOML a text, `"db.example.com"`, or a list in the order in which they are tried:
/// `["db1.example.com", "db2.example.com:5433", "[2001:db8::5]:5432", "/run/postgresql"]`.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseHosts(Vec<DatabaseHost>);

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseHost {
    /// A host name, an IP address, or the directory of a unix socket (it begins with `/`).
    pub name: String,
    /// The port, where it is not `database.port`; a part of a unix socket's name.
    pub port: Option<u16>,
}

/// Which servers will do: libpq's `target_session_attrs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionAttrs {
    /// Whichever answers, a standby too.
    #[default]
    Any,
    /// One that can be written to: the primary.
    ReadWrite,
}

impl DatabaseHosts {
    /// The servers, in the order in which they are tried; at least one.
    pub fn iter(&self) -> impl Iterator<Item = &DatabaseHost> {
        self.0.iter()
    }

    /// Whether each is the directory of a unix socket, so that the server is on this machine.
    pub fn are_local(&self) -> bool {
        self.iter().all(DatabaseHost::is_directory)
    }

    /// The names, and the ports where one is named (`port` for those without), as libpq's `host` and `port` take them: divided by commas.
    pub fn for_libpq(&self, port: u16) -> (String, Option<String>) {
        let join = |texts: Vec<String>| texts.join(",");
        let ports = || join(self.iter().map(|host| host.port.unwrap_or(port).to_string()).collect());
        let named = self.iter().any(|host| host.port.is_some());
        (join(self.iter().map(|host| host.name.clone()).collect()), named.then(ports))
    }

    fn new(texts: &[String]) -> Result<Self, String> {
        match texts.len() {
            0 => Err(format!("an empty list, {EXPECTED}")),
            n if n > MOST => Err(format!("{n} hosts, at most {MOST}")),
            _ => texts.iter().map(|text| DatabaseHost::parse(text)).collect::<Result<_, _>>().map(Self),
        }
    }
}

impl DatabaseHost {
    /// `NAME`, `IPV6`, `/DIRECTORY`, `NAME:PORT`, `[IPV6]:PORT` or `/DIRECTORY:PORT`.
    fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("bad host \"{text}\", {EXPECTED}");
        let port = |port: &str| port.parse().ok().filter(|port| *port > 0).map(Some).ok_or_else(bad);
        if text.is_empty() || text.contains([',', ' ']) {
            return Err(format!("{}; several are written as a list", bad()));
        }
        let (name, port) = if text.parse::<Ipv6Addr>().is_ok() {
            (text, None)
        } else if let Some((address, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            address.parse::<Ipv6Addr>().map_err(|_| bad())?;
            (address, if rest.is_empty() { None } else { port(rest.strip_prefix(':').ok_or_else(bad)?)? })
        } else if let Some((name, number)) = text.split_once(':') {
            (name, port(number)?)
        } else {
            (text, None)
        };
        if name.is_empty() || name.starts_with('[') {
            return Err(bad());
        }
        Ok(Self { name: name.to_owned(), port })
    }

    /// Whether it is the directory of a unix socket.
    pub fn is_directory(&self) -> bool {
        self.name.starts_with('/')
    }
}

impl From<&str> for DatabaseHosts {
    /// One server, on `database.port`.
    fn from(name: &str) -> Self {
        Self(vec![DatabaseHost { name: name.to_owned(), port: None }])
    }
}

impl From<String> for DatabaseHosts {
    fn from(name: String) -> Self {
        Self::from(name.as_str())
    }
}

impl fmt::Display for DatabaseHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => f.write_str(&self.name),
            Some(port) if self.name.contains(':') => write!(f, "[{}]:{port}", self.name),
            Some(port) => write!(f, "{}:{port}", self.name),
        }
    }
}

impl fmt::Display for DatabaseHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, host) in self.0.iter().enumerate() {
            write!(f, "{}{host}", if number == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for DatabaseHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

impl<'de> Deserialize<'de> for DatabaseHosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HostsVisitor)
    }
}

struct HostsVisitor;

impl<'de> Visitor<'de> for HostsVisitor {
    type Value = DatabaseHosts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a host such as \"/run/postgresql\" or \"db1.example.com:5432\", or a list of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<DatabaseHosts, E> {
        DatabaseHosts::new(&[text.to_owned()]).map_err(E::custom)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<DatabaseHosts, S::Error> {
        let mut texts: Vec<String> = Vec::new();
        while let Some(text) = list.next_element()? {
            texts.push(text);
        }
        DatabaseHosts::new(&texts).map_err(S::Error::custom)
    }
}

const EXPECTED: &str = "expected a name, an IP address or the directory of a unix socket, such as \"db1.example.com\", \"db1.example.com:5432\", \"[2001:db8::5]:5432\" or \"/run/postgresql\"";

/// All are tried within `database.timeout`: with more, none would have the time to answer.
const MOST: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Section {
        host: DatabaseHosts,
    }

    fn read(value: &str) -> Result<DatabaseHosts, String> {
        toml::from_str::<Section>(&format!("host = {value}"))
            .map(|section| section.host)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn hosts_read_as_they_print() {
        for (text, name, port) in [
            ("db1.example.com", "db1.example.com", None),
            ("db1.example.com:5433", "db1.example.com", Some(5433)),
            ("192.0.2.5:5433", "192.0.2.5", Some(5433)),
            ("2001:db8::5", "2001:db8::5", None),
            ("[2001:db8::5]:5433", "2001:db8::5", Some(5433)),
            ("/run/postgresql", "/run/postgresql", None),
            ("/run/postgresql:5433", "/run/postgresql", Some(5433)),
        ] {
            let hosts = read(&format!("\"{text}\"")).unwrap();
            let expected = DatabaseHost { name: name.to_owned(), port };
            assert_eq!(
                (hosts.iter().collect::<Vec<_>>(), hosts.to_string()),
                (vec![&expected], text.to_owned())
            );
        }
        assert_eq!(read("[\"db1\", \"db2:5433\"]").unwrap().to_string(), "db1, db2:5433");
    }

    #[test]
    fn what_is_no_host_says_what_is_one() {
        for bad in [
            "\"\"",
            "\"db1,db2\"",
            "\"db1 db2\"",
            "\"db1:\"",
            "\"db1:0\"",
            "\"db1:65536\"",
            "\":5432\"",
            "\"[db1]:5432\"",
            "\"[::1\"",
            "\"[::1]5432\"",
            "\"a:b:c\"",
            "[]",
            "[\"db1\", \"\"]",
        ] {
            let message = read(bad).unwrap_err();
            assert!(message.contains("such as \"db1.example.com\""), "{bad}: {message}");
        }
        assert!(read("\"db1,db2\"").unwrap_err().contains("written as a list"));
        assert!(read("5432").unwrap_err().contains("or a list of them"));
        let many = ["\"db\""; 9].join(", ");
        assert_eq!(read(&format!("[{many}]")).unwrap_err(), "9 hosts, at most 8");
    }
}
