//! Where a daemon listens: tcp, a unix socket with owner and mode, or a socket that systemd passes.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// One address to listen on. In TOML a text, `"inet:127.0.0.1:11332"`, `"unix:/run/gatepost/milter.sock"` or `"systemd:milter"`
/// (the `FileDescriptorName=` of a `.socket` unit), or for a unix socket with owner and mode a table:
/// `{ unix = "/var/spool/postfix/run/gatepost/milter.sock", owner = "postfix", group = "postfix", mode = "0660" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A tcp address and port.
    Tcp(SocketAddr),
    /// A unix stream socket, made anew at start.
    Unix(PathBuf, UnixAccess),
    /// A socket passed by systemd, by its name.
    Systemd(String),
}

/// Who may connect to a unix socket. Names or numbers; what is not given stays as the process has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixAccess {
    /// The socket's owner.
    pub owner: Option<String>,
    /// The socket's group.
    pub group: Option<String>,
    /// The socket's mode; 0660 if not given.
    pub mode: Option<u32>,
}

impl ListenAddress {
    /// A unix socket with the default access.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::Unix(path.into(), UnixAccess::default())
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("inet", address)) => address.parse().map(Self::Tcp).map_err(|_| {
                format!("bad address \"{address}\", expected an IP address and a port, such as \"inet:127.0.0.1:11332\" or \"inet:[::1]:11332\"")
            }),
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::unix(path)),
            Some(("unix", path)) => Err(format!("bad path \"{path}\", expected an absolute one, such as \"unix:/run/gatepost/milter.sock\"")),
            Some(("systemd", name)) if !name.is_empty() => Ok(Self::Systemd(name.to_owned())),
            _ => Err(format!("bad address \"{text}\", expected \"inet:IP:PORT\", \"unix:/PATH\", \"systemd:NAME\" or {{ unix = \"/PATH\", owner, group, mode }}")),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "inet:{address}"),
            Self::Unix(path, _) => write!(f, "unix:{}", path.display()),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AddressVisitor)
    }
}

struct AddressVisitor;

impl<'de> Visitor<'de> for AddressVisitor {
    type Value = ListenAddress;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "\"inet:IP:PORT\", \"unix:/PATH\", \"systemd:NAME\" or { unix = \"/PATH\", owner, group, mode }",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ListenAddress, E> {
        ListenAddress::parse(text).map_err(E::custom)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<ListenAddress, M::Error> {
        let mut path: Option<String> = None;
        let mut access = UnixAccess::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "unix" => path = Some(map.next_value()?),
                "owner" => access.owner = Some(map.next_value()?),
                "group" => access.group = Some(map.next_value()?),
                "mode" => {
                    access.mode = Some(parse_mode(&map.next_value::<String>()?).map_err(M::Error::custom)?)
                }
                _ => return Err(M::Error::unknown_field(&key, &["unix", "owner", "group", "mode"])),
            }
        }
        let path = path.ok_or_else(|| M::Error::missing_field("unix"))?;
        match ListenAddress::parse(&format!("unix:{path}")).map_err(M::Error::custom)? {
            ListenAddress::Unix(path, _) => Ok(ListenAddress::Unix(path, access)),
            other => Ok(other),
        }
    }
}

fn parse_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("bad mode \"{text}\", expected an octal one, such as \"0660\""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn addresses_read_as_they_print() {
        for text in
            ["inet:127.0.0.1:11332", "inet:[::1]:11332", "unix:/run/gatepost/milter.sock", "systemd:milter"]
        {
            assert_eq!(ListenAddress::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "inet:localhost:1", "unix:relative", "systemd:", "127.0.0.1:11332"] {
            assert!(ListenAddress::parse(bad).unwrap_err().contains("expected"), "{bad}");
        }
    }

    #[test]
    fn a_table_gives_owner_and_mode() {
        #[derive(Deserialize)]
        struct Holder {
            listen: Vec<ListenAddress>,
        }
        let holder: Holder =
            toml::from_str("listen = [{ unix = \"/a\", owner = \"postfix\", mode = \"0660\" }]").unwrap();
        let access = UnixAccess { owner: Some("postfix".into()), group: None, mode: Some(0o660) };
        assert_eq!(holder.listen, [ListenAddress::Unix("/a".into(), access)]);
        for bad in [
            "[{ unix = \"/a\", mod = \"0660\" }]",
            "[{ unix = \"/a\", mode = \"999\" }]",
            "[{ owner = \"a\" }]",
            "[7]",
        ] {
            assert!(toml::from_str::<Holder>(&format!("listen = {bad}")).is_err(), "{bad}");
        }
    }
}
