//! Group `lists`: mailing lists, bulk mail, and good signs. A good sign is worth little: who knows it can forge it. What cannot be forged
//! (known correspondents) needs a memory and is not here.

use super::{Check, Evidence, Group, Rule, message_id, sender, when};
use crate::facts::Facts;
use crate::facts::headers::{is_answer, is_by_list_program};
use crate::facts::parts::Part;

/// The group's table.
pub const RULES: &[Rule] = &[
    MAILLIST,
    HAS_LIST_UNSUB,
    PRECEDENCE_BULK,
    BOUNCE,
    REPLY_TO_SOMETHING,
    QUOTES_SOMETHING,
    MID_OF_AUTHOR,
    SIGNED_PGP,
    SIGNED_SMIME,
    ENCRYPTED_PGP,
    ENCRYPTED_SMIME,
];

/// A mailing list.
pub const MAILLIST: Rule = Rule {
    symbol: "MAILLIST",
    group: Group::Lists,
    weight: -0.2,
    summary: "from a mailing list",
    why: "RFC 2919: List-Id and another header of a list program",
    check: Check::Facts(|facts| {
        let id = facts.headers.value("list-id");
        is_by_list_program(|name| facts.headers.has(name)).then(|| Evidence::new(id))
    }),
};

/// Can be left.
pub const HAS_LIST_UNSUB: Rule = Rule {
    symbol: "HAS_LIST_UNSUB",
    group: Group::Lists,
    weight: -0.01,
    summary: "has a List-Unsubscribe header",
    why: "RFC 2369, 3.2: bulk mail that can be left; spam has it too",
    check: Check::Facts(|facts| when(facts.headers.has("list-unsubscribe"))),
};

/// Says that it is bulk mail.
pub const PRECEDENCE_BULK: Rule = Rule {
    symbol: "PRECEDENCE_BULK",
    group: Group::Lists,
    weight: 0.0,
    summary: "says that it is bulk mail",
    why: "RFC 3834, 3.1.8: so that nobody answers automatically",
    check: Check::Facts(|facts| {
        let value = facts.headers.value("precedence").to_ascii_lowercase();
        when(matches!(value.as_str(), "bulk" | "list" | "junk"))
    }),
};

/// A bounce.
pub const BOUNCE: Rule = Rule {
    symbol: "BOUNCE",
    group: Group::Lists,
    weight: -0.1,
    summary: "a delivery status notification",
    why: "RFC 3464, 2: multipart/report from the null sender or a mailer daemon",
    check: Check::Facts(|facts| {
        let report = facts.parts.first().is_some_and(|root| root.content_type == "multipart/report");
        let status = facts.parts.iter().any(|part| part.content_type == "message/delivery-status");
        let daemon = facts
            .people
            .author()
            .is_some_and(|author| matches!(author.local.as_str(), "mailer-daemon" | "postmaster"));
        when(report && status && (daemon || facts.envelope.sender.is_none()))
    }),
};

/// An answer.
pub const REPLY_TO_SOMETHING: Rule = Rule {
    symbol: "REPLY_TO_SOMETHING",
    group: Group::Lists,
    weight: -0.5,
    summary: "a reply, by subject and references",
    why: "RFC 5322, 3.6.4: refers to a message and says Re:; not proven, so only half a point",
    check: Check::Facts(|facts| {
        let refers = is_answer(&facts.headers);
        when(refers && facts.subject.is_reply)
    }),
};

/// Quotes.
pub const QUOTES_SOMETHING: Rule = Rule {
    symbol: "QUOTES_SOMETHING",
    group: Group::Lists,
    weight: -0.5,
    summary: "quotes another message line by line, and refers to one",
    why: "people who answer do; not proven, so only half a point",
    check: Check::Facts(|facts| {
        let refers = is_answer(&facts.headers);
        let quoted = facts.text.quoted_lines;
        (refers && quoted >= 2 && quoted < facts.text.lines).then(|| Evidence::new(quoted))
    }),
};

/// The author's own server numbered it.
pub const MID_OF_AUTHOR: Rule = Rule {
    symbol: "MID_OF_AUTHOR",
    group: Group::Lists,
    weight: -0.2,
    summary: "Message-ID and proven author are of the same domain",
    why: "RFC 5322, 3.6.4: made by the author's own server; only where SPF, DKIM or DMARC confirm the author",
    check: Check::Facts(|facts| when(message_id::is_authors(facts) && sender::is_confirmed(facts))),
};

/// Signed with OpenPGP.
pub const SIGNED_PGP: Rule = Rule {
    symbol: "SIGNED_PGP",
    group: Group::Lists,
    weight: -1.0,
    summary: "signed with OpenPGP",
    why: "RFC 3156, 5: the form only, the signature is not verified (Rspamd: -2)",
    check: Check::Facts(|facts| when(signed(facts, "application/pgp-signature"))),
};

/// Signed with S/MIME.
pub const SIGNED_SMIME: Rule = Rule {
    symbol: "SIGNED_SMIME",
    group: Group::Lists,
    weight: -1.0,
    summary: "signed with S/MIME",
    why: "RFC 8551, 3.5: the form only, the signature is not verified (Rspamd: -2)",
    check: Check::Facts(|facts| {
        when(signed(facts, "application/pkcs7-signature") || signed(facts, "application/x-pkcs7-signature"))
    }),
};

/// Encrypted with OpenPGP.
pub const ENCRYPTED_PGP: Rule = Rule {
    symbol: "ENCRYPTED_PGP",
    group: Group::Lists,
    weight: -0.5,
    summary: "encrypted with OpenPGP",
    why: "RFC 3156, 4: somebody has the recipient's key",
    check: Check::Facts(|facts| when(below(facts, "multipart/encrypted", "application/pgp-encrypted"))),
};

/// Encrypted with S/MIME.
pub const ENCRYPTED_SMIME: Rule = Rule {
    symbol: "ENCRYPTED_SMIME",
    group: Group::Lists,
    weight: -0.5,
    summary: "encrypted with S/MIME",
    why: "RFC 8551, 3.3: somebody has the recipient's certificate",
    check: Check::Facts(|facts| {
        let root = facts.parts.first()?;
        let kind =
            matches!(root.content_type.as_str(), "application/pkcs7-mime" | "application/x-pkcs7-mime");
        let enveloped = facts.headers.value("content-type").to_ascii_lowercase().contains("enveloped-data");
        (kind && enveloped).then(|| Evidence::new(&root.content_type))
    }),
};

/// A signature of that type beside a signed part.
fn signed(facts: &Facts, signature: &str) -> bool {
    below(facts, "multipart/signed", signature)
}

/// Whether the message itself is of the first type, and one of its direct parts of the second.
fn below(facts: &Facts, root: &str, child: &str) -> bool {
    let mut parts = facts.parts.iter().enumerate();
    parts.any(|(at, part)| {
        let is_child = |other: &&Part| other.parent == Some(at) && other.content_type == child;
        part.content_type == root && facts.parts.iter().any(|other| is_child(&other))
    })
}
