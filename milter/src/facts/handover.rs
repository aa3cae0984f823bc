//! Who handed the message over, by the word of the server that took it: what `Received` says of its client.
//!
//! For `facts`, where the SMTP dialogue does not say it: of a file nobody remembers the dialogue, and behind a relay of one's own (a second
//! MX, fetchmail, a content filter) the client is that relay. Then the newest hop from a public address is where the message came in.
//! Older ones are the sender's business and may be invented.
//!
//! RFC 5321, 4.4 leaves to the server how it notes the client's name; each program has a form of its own, and [`Hop`](super::headers::Hop), which the
//! library reads, does not tell the name in DNS from HELO:
//!
//! | program | with a name | without |
//! |---|---|---|
//! | Postfix | `from HELO (NAME [IP])` | `from HELO (unknown [IP])` |
//! | Sendmail, Gmail | `from HELO (user@NAME [IP] (may be forged))` | `from HELO ([IP])` |
//! | Exim | `from NAME ([IP] helo=HELO)` | `from [IP] (helo=HELO)` |
//! | qmail | `from NAME (HELO HELO) (user@IP)` | `from unknown (HELO HELO) (IP)` |
//! | CommuniGate | never: `from [IP] (HELO HELO)` | |

use std::net::IpAddr;

use super::headers::Field;
use super::hosts;

/// The client of a hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// Its name.
    pub name: Name,
    /// What it called itself, as the server wrote it down.
    pub helo: Option<String>,
    /// Whether it had logged in.
    pub login: bool,
    /// Whether no hop is noted before it: it wrote the message itself.
    pub direct: bool,
}

/// The client's name in DNS, as far as the server looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// This one.
    Is(String),
    /// It has none, or one that does not lead back.
    None,
    /// The server does not say.
    Unsaid,
}

/// The client of the newest hop from a public address, among the first [`MAX_HOPS`]; none if it had logged in.
pub(super) fn find(fields: &[Field]) -> Option<Client> {
    let mut received = fields.iter().filter(|field| field.name == "received");
    let mut hops = received.by_ref().take(MAX_HOPS).filter_map(|field| read(&field.value));
    let newest = hops.find(|hop| hosts::is_public(hop.address)).filter(|hop| !hop.login)?;
    Some(Client { direct: received.next().is_none(), ..newest })
}

/// The client of a hop, by the unfolded value of its field; none for a hop that was not over the network, of a form that nobody knows, or by
/// which somebody fetched the message (fetchmail writes `from SERVER [IP] by localhost with IMAP`): the server that it was fetched from
/// noted who sent it there.
pub fn read(value: &str) -> Option<Client> {
    let from = value.get(..5).filter(|word| word.eq_ignore_ascii_case("from ")).map(|_| &value[5..])?;
    let (head, tail) = from.split_once(" by ").unwrap_or((from, ""));
    if matches!(protocol(tail), "IMAP" | "POP3") {
        return None;
    }
    let (first, rest) = head.split_once(' ').unwrap_or((head, ""));
    let rest = rest.trim_start();
    let (address, name, helo) = if let Some((before, rest)) = rest.split_once('[') {
        let (address, after) = rest.split_once(']')?;
        let noted = before.trim_end().rsplit(['(', ' ', '@']).next().unwrap_or_default();
        // Exim puts HELO behind the address, and vger.kernel.org's server does so too: what stands first is the name.
        let behind = ["helo=", "HELO ", "EHLO "].iter().find_map(|mark| word_after(after, mark));
        match (noted, behind) {
            ("", Some(helo)) if is_literal(first) => (address, Name::None, helo),
            ("", Some(helo)) => (address, named(first), helo),
            ("", None) if tail.contains("(Exim") => (address, named(first), ""),
            ("", None) if before.ends_with('(') => (address, Name::None, first),
            ("", None) => (address, Name::Unsaid, first),
            (noted, _) => (address, named(noted), first),
        }
    } else if let Some(address) = first.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        match (word_after(rest, "(helo="), word_after(rest, "(HELO ")) {
            (Some(helo), _) => (address, Name::None, helo),
            (None, helo) => (address, Name::Unsaid, helo.unwrap_or_default()),
        }
    } else {
        let inside = rest.strip_suffix(')')?.rsplit('(').next()?;
        (inside.rsplit('@').next()?, named(first), word_after(rest, "(HELO ").unwrap_or_default())
    };
    let address = address.strip_prefix("IPv6:").unwrap_or(address).parse().ok()?;
    let helo = Some(helo).filter(|helo| !helo.is_empty()).map(str::to_owned);
    Some(Client { address, name, helo, login: is_login(tail), direct: false })
}

fn named(name: &str) -> Name {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    match name.as_str() {
        "" | "unknown" | "unverified" => Name::None,
        _ if is_literal(&name) || name.parse::<IpAddr>().is_ok() => Name::None,
        _ => Name::Is(name),
    }
}

fn is_literal(text: &str) -> bool {
    text.starts_with('[')
}

/// What stands behind a mark, up to a blank, a bracket or a quotation mark.
fn word_after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(mark)?;
    rest.split([' ', ')', '"']).next().filter(|word| !word.is_empty())
}

fn protocol(tail: &str) -> &str {
    let with = tail.split_once(" with ").map_or("", |(_, rest)| rest);
    with.split([' ', ';']).next().unwrap_or_default()
}

/// RFC 3848: `with ESMTPA`, `ESMTPSA`; others say it in words.
fn is_login(tail: &str) -> bool {
    matches!(
        protocol(tail).to_ascii_lowercase().as_str(),
        "esmtpa" | "esmtpsa" | "asmtp" | "asmtps" | "smtpa" | "lmtpa" | "lmtpsa"
    ) || tail.contains("uthenticated")
}

/// A relay of one's own, a filter and a mailbox server add a few each.
const MAX_HOPS: usize = 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn client(value: &str) -> (String, Name, String) {
        let client = read(value).unwrap();
        (client.address.to_string(), client.name, client.helo.unwrap_or_default())
    }

    #[test]
    fn each_program_notes_its_client_in_its_own_way() {
        let is = |name: &str| Name::Is(name.to_owned());
        let ip = || "192.0.2.7".to_owned();
        for (value, name, helo) in [
            (
                "from a.example (b.example [192.0.2.7]) by mx (Postfix) with ESMTP id 1",
                is("b.example"),
                "a.example",
            ),
            ("from a.example (unknown [192.0.2.7]) by mx (Postfix) with ESMTP id 1", Name::None, "a.example"),
            (
                "from [10.0.0.1] (unknown [192.0.2.7]) by mx (Postfix) with SMTP id 1",
                Name::None,
                "[10.0.0.1]",
            ),
            (
                "from a.example (u@B.example. [192.0.2.7] (may be forged)) by mx (8.9)",
                is("b.example"),
                "a.example",
            ),
            ("from a.example ([192.0.2.7]) by mx.google.com with ESMTP id 1", Name::None, "a.example"),
            (
                "from b.example ([192.0.2.7] helo=a.example) by mx with smtp (Exim 4)",
                is("b.example"),
                "a.example",
            ),
            ("from b.example ([192.0.2.7]) by mx with esmtp (Exim 4.9)", is("b.example"), ""),
            ("from [192.0.2.7] (helo=a.example) by mx with smtp (Exim 4)", Name::None, "a.example"),
            (
                "from b.example ([192.0.2.7]:35491 \"EHLO a.example\" rhost) by vger",
                is("b.example"),
                "a.example",
            ),
            (
                "from [192.0.2.7] ([192.0.2.7]:57559 \"EHLO a.example\" rhost) by vger",
                Name::None,
                "a.example",
            ),
            ("from unknown (HELO a.example) (u@192.0.2.7) by mx with SMTP; 1", Name::None, "a.example"),
            ("from b.example (HELO a.example) (192.0.2.7) by mx with SMTP; 1", is("b.example"), "a.example"),
            ("from [192.0.2.7] (HELO a.example) by mx (CommuniGate)", Name::Unsaid, "a.example"),
        ] {
            assert_eq!(client(value), (ip(), name, helo.to_owned()), "{value}");
        }
        assert_eq!(client("from a.example [192.0.2.7] by mx with ESMTP").1, Name::Unsaid);
        assert_eq!(client("from a (b.example [IPv6:2001:db8::1]) by mx").0, "2001:db8::1");
        for value in [
            "from a.example [192.0.2.7] by localhost with IMAP (fetchmail-6.5)",
            "by mx.example with HTTP; 1",
            "(qmail 1 invoked by uid 0)",
            "from a.example by b with SMTP",
            "from",
            "",
        ] {
            assert_eq!(read(value), None, "{value}");
        }
    }

    #[test]
    fn who_has_logged_in_is_no_stranger() {
        let field =
            |value: &str| Field { name: "received".to_owned(), value: value.to_owned(), ..Field::default() };
        let inside = field("from a (unknown [10.0.0.1]) by mx (Postfix) with ESMTP id 1");
        let stranger = field("from a (unknown [198.51.100.7]) by mx (Postfix) with ESMTP id 1");
        let user = field("from a (unknown [198.51.100.8]) by mx (Postfix) with ESMTPSA id 1");
        let found = find(&[inside.clone(), stranger.clone()]).unwrap();
        assert_eq!((found.address.to_string().as_str(), found.direct), ("198.51.100.7", true));
        assert!(!find(&[stranger.clone(), inside.clone()]).unwrap().direct);
        assert_eq!(find(&[inside, user, stranger]), None);
        assert!(read("from a (b [192.0.2.7]) (Authenticated sender: x) by mx with SMTP").is_some());
        assert!(read("from a (b [192.0.2.7]) by mx (Authenticated sender: x) with SMTP").unwrap().login);
    }
}
