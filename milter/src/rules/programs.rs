//! Group `headers`, third part: programs that the header names, and what they never write.
//!
//! What a program writes is public: it stands in every message of its users. Bots copy the name and not the habits. Lists change headers, so
//! their mail is left out.

use super::{Check, Evidence, Group, Rule, when};
use crate::facts::headers::{is_answer, is_list};

/// The group's table.
pub const RULES: &[Rule] =
    &[MISSING_MIMEOLE, FORGED_OUTLOOK_HTML, FORGED_OUTLOOK_TO, STOX_REPLY_TYPE, X_PRIORITY_LOWEST];

/// One field of a pair.
pub const MISSING_MIMEOLE: Rule = Rule {
    symbol: "MISSING_MIMEOLE",
    group: Group::Headers,
    weight: 1.1,
    summary: "claims to be from Outlook, with X-MSMail-Priority but without X-MimeOLE",
    why: "Outlook writes both or neither; bots copied the one (Rspamd: 2, whatever the program)",
    check: Check::Facts(|facts| {
        let one = facts.headers.has("x-msmail-priority") && !facts.headers.has("x-mimeole");
        when(one && is_outlook(facts.headers.mailer()) && !is_list(&facts.headers))
    }),
};

/// Outlook's name on bare HTML.
pub const FORGED_OUTLOOK_HTML: Rule = Rule {
    symbol: "FORGED_OUTLOOK_HTML",
    group: Group::Headers,
    weight: 2.7,
    summary: "claims to be from Outlook, but is HTML without a plain text",
    why: "Outlook always writes a plain version beside its HTML (Rspamd: 5)",
    check: Check::Facts(|facts| {
        let root = facts.parts.first()?;
        let mailer = facts.headers.mailer();
        (root.content_type == "text/html" && is_outlook(mailer) && !is_list(&facts.headers))
            .then(|| Evidence::new(mailer))
    }),
};

/// Outlook's name on a bare address.
pub const FORGED_OUTLOOK_TO: Rule = Rule {
    symbol: "FORGED_OUTLOOK_TO",
    group: Group::Headers,
    weight: 2.1,
    summary: "claims to be from Outlook, with a recipient that is not in angle brackets",
    why: "Outlook puts every address into angle brackets, with a name or without",
    check: Check::Facts(|facts| {
        let to = facts.headers.value("to");
        let bare = to.contains('@') && !to.contains('<');
        (bare && is_outlook(facts.headers.mailer()) && !is_list(&facts.headers)).then(|| Evidence::new(to))
    }),
};

/// A mark of answers where nothing is answered.
pub const STOX_REPLY_TYPE: Rule = Rule {
    symbol: "STOX_REPLY_TYPE",
    group: Group::Headers,
    weight: 1.2,
    summary: "Content-Type has the parameter reply-type, but nothing is answered",
    why: "Outlook Express marks answers with it, which have References; bots copied it from one",
    check: Check::Facts(|facts| {
        let root = facts.headers.value("content-type").to_ascii_lowercase();
        when(root.contains("reply-type=") && !is_answer(&facts.headers))
    }),
};

/// Least urgent.
pub const X_PRIORITY_LOWEST: Rule = Rule {
    symbol: "X_PRIORITY_LOWEST",
    group: Group::Headers,
    weight: 0.6,
    summary: "says of itself that it has the lowest priority",
    why: "people hardly ever say so, templates of bulk mailers do; no answer to anything of ours",
    check: Check::Facts(|facts| {
        let lowest = facts.headers.value("x-priority").trim_start().starts_with('5');
        when(lowest && !is_answer(&facts.headers) && !is_list(&facts.headers))
    }),
};

/// Whether a program is one of Microsoft's for Windows, by its own word. Those for the Macintosh are other programs of the same name.
fn is_outlook(mailer: &str) -> bool {
    let windows = [
        "Microsoft Outlook",
        "Microsoft Office Outlook",
        "Microsoft Windows Mail",
        "Microsoft Windows Live Mail",
    ];
    windows.iter().any(|name| mailer.starts_with(name)) && !mailer.contains("Macintosh")
}
