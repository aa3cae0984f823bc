//! Group `headers`: fields that are missing, doubled, broken or forged. `dates`, `message_id` and `programs` have the rest.

use super::{Check, Evidence, Group, Rule, when};
use crate::facts::Facts;
use crate::facts::headers::{Date, is_answer, is_list};
use crate::facts::hosts;

/// The group's table.
pub const RULES: &[Rule] = &[
    MISSING_DATE,
    MISSING_FROM,
    MISSING_SUBJECT,
    MISSING_MIME_VERSION,
    MULTIPLE_FROM,
    MULTIPLE_UNIQUE_HEADERS,
    BROKEN_HEADERS,
    FAKE_REPLY,
    HEADER_FORGED_MDN,
    SUSPICIOUS_MDN,
    XM_CASE,
    SPAM_FLAG,
    X_PHP_EVAL,
    FORGED_MUA_OUTLOOK,
    FORGED_MUA_THUNDERBIRD_MSGID,
    MAILER_OF_BULK,
    MUA_OBSOLETE,
    PRIORITY_NO_NAME,
    X_PRIORITY_HIGHEST,
    OBSOLETE_SIGNATURE,
    COMPLETELY_EMPTY,
];

/// No Date.
pub const MISSING_DATE: Rule = Rule {
    symbol: "MISSING_DATE",
    group: Group::Headers,
    weight: 1.0,
    summary: "no Date header",
    why: "RFC 5322, 3.6: every message has one; every mail program writes one",
    check: Check::Facts(|facts| when(facts.headers.date == Date::Missing)),
};

/// No From.
pub const MISSING_FROM: Rule = Rule {
    symbol: "MISSING_FROM",
    group: Group::Headers,
    weight: 2.0,
    summary: "no From header",
    why: "RFC 5322, 3.6: every message has one",
    check: Check::Facts(|facts| when(!facts.headers.has("from"))),
};

/// No Subject.
pub const MISSING_SUBJECT: Rule = Rule {
    symbol: "MISSING_SUBJECT",
    group: Group::Headers,
    weight: 0.8,
    summary: "no Subject header",
    why: "RFC 5322, 3.6.5 makes it optional, but mail programs write an empty one rather than none",
    check: Check::Facts(|facts| when(!facts.subject.present)),
};

/// MIME fields without MIME-Version.
pub const MISSING_MIME_VERSION: Rule = Rule {
    symbol: "MISSING_MIME_VERSION",
    group: Group::Headers,
    weight: 0.3,
    summary: "MIME headers without MIME-Version",
    why: "RFC 2045, 4: it must be there when MIME is used; home-made mail programs forget it (Rspamd: 2)",
    check: Check::Facts(|facts| {
        let mime = facts.headers.has("content-type") || facts.headers.has("content-transfer-encoding");
        when(mime && !facts.headers.has("mime-version"))
    }),
};

/// Several authors.
pub const MULTIPLE_FROM: Rule = Rule {
    symbol: "MULTIPLE_FROM",
    group: Group::Headers,
    weight: 8.0,
    summary: "more than one address in From",
    why: "RFC 5322, 3.6.2 allows it, nobody does it; programs show one address and check another (RFC 9989, 4.5)",
    check: Check::Facts(|facts| {
        let from = &facts.people.from;
        let different = from.iter().any(|person| person.address != from[0].address);
        (different && facts.headers.has("from")).then(|| {
            Evidence::new(
                from.iter().take(3).map(|person| person.address.as_str()).collect::<Vec<_>>().join(" "),
            )
        })
    }),
};

/// A field twice that stands once.
pub const MULTIPLE_UNIQUE_HEADERS: Rule = Rule {
    symbol: "MULTIPLE_UNIQUE_HEADERS",
    group: Group::Headers,
    weight: 6.1,
    summary: "a header stands twice that may stand only once",
    why: "RFC 5322, 3.6: one program shows the first, the next one checks the second",
    check: Check::Facts(|facts| {
        let doubled: Vec<_> = UNIQUE.iter().filter(|(name, _)| facts.headers.count(name) > 1).collect();
        let factor = doubled.iter().map(|(_, factor)| factor).sum::<f64>().min(1.0);
        let names: Vec<_> = doubled.iter().map(|(name, _)| *name).collect();
        (factor > 0.0).then(|| Evidence::new(names.join(" ")).times(factor))
    }),
};

/// Control characters in a header.
pub const BROKEN_HEADERS: Rule = Rule {
    symbol: "BROKEN_HEADERS",
    group: Group::Headers,
    weight: 4.0,
    summary: "control characters in a header",
    why: "RFC 5322, 2.2: printable characters and white space; Rspamd's 10 points are for more kinds of damage",
    check: Check::Facts(|facts| {
        facts.headers.fields.iter().find(|field| field.control).map(|field| Evidence::new(&field.spelling))
    }),
};

/// `Re:` to nothing.
pub const FAKE_REPLY: Rule = Rule {
    symbol: "FAKE_REPLY",
    group: Group::Headers,
    weight: 0.8,
    summary: "the subject says it is a reply, but it refers to no message",
    why: "RFC 5322, 3.6.4: replies have In-Reply-To or References; a false Re: makes people believe they have written before",
    check: Check::Facts(|facts| {
        let refers = ["in-reply-to", "references", "thread-index"].iter().any(|name| facts.headers.has(name));
        when(facts.subject.is_reply && !refers && !is_list(&facts.headers))
    }),
};

/// Receipts to somebody else.
pub const HEADER_FORGED_MDN: Rule = Rule {
    symbol: "HEADER_FORGED_MDN",
    group: Group::Headers,
    weight: 2.0,
    summary: "a receipt is requested for somebody else",
    why: "RFC 8098, 2.1: it must not be sent when the address differs from the envelope sender's",
    check: Check::Facts(|facts| {
        let site = receipt_site(facts)?;
        let author = facts.people.author()?;
        (site != author.site).then(|| Evidence::new(format_args!("{site} <> {}", author.site)))
    }),
};

/// Bulk mail that wants receipts.
pub const SUSPICIOUS_MDN: Rule = Rule {
    symbol: "SUSPICIOUS_MDN",
    group: Group::Headers,
    weight: 2.0,
    summary: "a receipt is requested by mail to undisclosed recipients",
    why: "finds out which addresses are read; who writes to many does not want a thousand receipts",
    check: Check::Facts(|facts| {
        receipt_site(facts)?;
        when(facts.people.undisclosed || facts.people.recipients().next().is_none())
    }),
};

/// `X-mailer` written otherwise.
pub const XM_CASE: Rule = Rule {
    symbol: "XM_CASE",
    group: Group::Headers,
    weight: 0.6,
    summary: "X-mailer is not written X-Mailer",
    why: "every program that people write mail with spells it the same way; libraries and bulk mailers do not",
    check: Check::Facts(|facts| {
        facts
            .headers
            .field("x-mailer")
            .filter(|field| field.spelling != "X-Mailer")
            .map(|field| Evidence::new(&field.spelling))
    }),
};

/// Another filter's verdict.
pub const SPAM_FLAG: Rule = Rule {
    symbol: "SPAM_FLAG",
    group: Group::Headers,
    weight: 5.0,
    summary: "another filter on the way took it for spam",
    why: "nobody forges that verdict against himself",
    check: Check::Facts(|facts| {
        let says = |(name, words): &&(&str, &[&str])| {
            let value = facts.headers.value(name).to_ascii_lowercase();
            let first = value.split([',', ';', ' ', ':']).next().unwrap_or_default();
            words.contains(&first)
        };
        let exchange =
            facts.headers.value("x-forefront-antispam-report").to_ascii_uppercase().contains("SFV:SPM");
        let flag = VERDICTS.iter().find(says).map(|(name, _)| *name);
        flag.or(exchange.then_some("x-forefront-antispam-report")).map(Evidence::new)
    }),
};

/// The fields in which filters write what they think, and the first words by which they say that it is spam: SpamAssassin and Rspamd,
/// Barracuda, Kaspersky, the mail houses of 1&1 (GMX, web.de), Exchange (Microsoft: "Spam confidence level", 5 to 9).
const VERDICTS: &[(&str, &[&str])] = &[
    ("x-spam-flag", &["yes", "spam", "true"]),
    ("x-spam", &["yes", "spam", "true"]),
    ("x-spam-status", &["yes", "spam", "true"]),
    ("x-barracuda-spam-flag", &["yes"]),
    ("x-barracuda-spam-status", &["yes"]),
    ("x-klms-antispam-status", &["spam"]),
    ("x-ui-filterresults", &["junk"]),
    ("x-ui-out-filterresults", &["junk"]),
    ("x-ms-exchange-organization-scl", &["5", "6", "7", "8", "9"]),
];

/// A script within a script.
pub const X_PHP_EVAL: Rule = Rule {
    symbol: "X_PHP_EVAL",
    group: Group::Headers,
    weight: 4.0,
    summary: "sent by code that PHP evaluated at run time",
    why: "mail.add_x_header names the script; eval()'d code is what intruders leave on a web server",
    check: Check::Facts(|facts| {
        let value = ["x-php-originating-script", "x-php-script"]
            .into_iter()
            .map(|name| facts.headers.value(name))
            .find(|value| value.contains("eval()") || value.contains("runtime-created function"))?;
        Some(Evidence::new(value))
    }),
};

/// Outlook's name without its Message-ID.
pub const FORGED_MUA_OUTLOOK: Rule = Rule {
    symbol: "FORGED_MUA_OUTLOOK",
    group: Group::Headers,
    weight: 3.1,
    summary: "claims to be from Outlook, with a Message-ID that Outlook never writes",
    why: "Outlook and Outlook Express write hexadecimal numbers with dollar signs, or the server's own; bots copy only the name",
    check: Check::Facts(|facts| {
        let mailer = facts.headers.mailer();
        let express =
            mailer.starts_with("Microsoft Outlook Express") || mailer.starts_with("Microsoft Windows Mail");
        let outlook = mailer.starts_with("Microsoft Outlook,")
            || mailer.starts_with("Microsoft Outlook IMO")
            || mailer.starts_with("Microsoft Office Outlook");
        if !(express || outlook) || is_list(&facts.headers) {
            return None;
        }
        let id = facts.headers.message_id.as_ref()?;
        let dollars = id.left.split('$').map(str::len).collect::<Vec<_>>();
        let hexadecimal = id.left.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'$');
        let own = hexadecimal && matches!(dollars.as_slice(), [12, 8, 8] | [8, 8, 8]);
        // Outlook with Exchange, and servers that write one where none was: long, upper case, or with the server's marks.
        let server = id.left.len() >= 20 && !id.left.contains('$')
            || id.right.contains("hotmail")
            || id.right.contains("phx.gbl");
        let handed = id.left.contains('.') || id.left.contains('-') || id.left.contains('_');
        (!(own || server || outlook && handed)).then(|| Evidence::new(&id.text))
    }),
};

/// Thunderbird's name without its Message-ID.
pub const FORGED_MUA_THUNDERBIRD_MSGID: Rule = Rule {
    symbol: "FORGED_MUA_THUNDERBIRD_MSGID",
    group: Group::Headers,
    weight: 4.0,
    summary: "claims to be from Thunderbird, with a Message-ID that Thunderbird never writes",
    why: "Thunderbird writes eight hexadecimal digits, a dot and up to eight digits, or (since 78) a UUID",
    check: Check::Facts(|facts| {
        let agent = facts.headers.value("user-agent");
        if !(agent.starts_with("Mozilla/5.0") && agent.contains("Thunderbird/")
            || agent.starts_with("Mozilla Thunderbird"))
        {
            return None;
        }
        let id = facts.headers.message_id.as_ref()?;
        // Exchange Online and news gateways number messages anew.
        let renumbered =
            id.right.ends_with("outlook.com") || id.right.ends_with("gmane.org") || id.left.contains('$');
        (!is_mozilla_id(&id.left) && !renumbered && !is_list(&facts.headers)).then(|| Evidence::new(&id.text))
    }),
};

/// Programs that only send bulk mail.
pub const MAILER_OF_BULK: Rule = Rule {
    symbol: "MAILER_OF_BULK",
    group: Group::Headers,
    weight: 3.2,
    summary: "written by a program that is made for sending unwanted mail",
    why: "these programs name themselves in X-Mailer and are sold for harvesting addresses and mailing them",
    check: Check::Facts(|facts| {
        let mailer = facts.headers.mailer().to_ascii_lowercase();
        BULK_MAILERS.iter().any(|name| mailer.contains(name)).then(|| Evidence::new(&mailer))
    }),
};

/// A program nobody runs any more.
pub const MUA_OBSOLETE: Rule = Rule {
    symbol: "MUA_OBSOLETE",
    group: Group::Headers,
    weight: 4.5,
    summary: "claims to be from a program that has been dead for years",
    why: "Outlook Express ended in 2006, Windows Mail in 2009, Thunderbird 2 in 2009: bots go on copying their names",
    check: Check::Facts(|facts| {
        let Date::At(date) = facts.headers.date else { return None };
        let mailer = facts.headers.mailer();
        OBSOLETE
            .iter()
            .any(|(name, until)| mailer.contains(name) && date > *until)
            .then(|| Evidence::new(mailer))
    }),
};

/// A priority, but no program.
pub const PRIORITY_NO_NAME: Rule = Rule {
    symbol: "PRIORITY_NO_NAME",
    group: Group::Headers,
    weight: 0.9,
    summary: "has a priority, but does not name the program that gave it one",
    why: "programs of people that write X-Priority write X-Mailer or User-Agent too; templates of bulk mailers leave it out",
    check: Check::Facts(|facts| {
        let priority = facts.headers.has("x-priority") || facts.headers.has("x-msmail-priority");
        when(
            priority
                && facts.headers.mailer().is_empty()
                && !facts.headers.has("x-mimeole")
                && !is_list(&facts.headers),
        )
    }),
};

/// Most urgent.
pub const X_PRIORITY_HIGHEST: Rule = Rule {
    symbol: "X_PRIORITY_HIGHEST",
    group: Group::Headers,
    weight: 1.0,
    summary: "says of itself that it has the highest priority",
    why: "people hardly ever say so, templates of bulk mailers do; no answer to anything of ours",
    check: Check::Facts(|facts| {
        let refers = is_answer(&facts.headers);
        when(facts.headers.value("x-priority").trim_start().starts_with('1') && !refers)
    }),
};

/// A signature nobody may verify any more.
pub const OBSOLETE_SIGNATURE: Rule = Rule {
    symbol: "OBSOLETE_SIGNATURE",
    group: Group::Headers,
    weight: 1.2,
    summary: "signed with SHA-1, or with DomainKeys",
    why: "RFC 8301, 3 (2018) forbids SHA-1, DomainKeys (RFC 4870) has been historic since 2007: bulk mailers never updated",
    check: Check::Facts(|facts| {
        let Date::At(date) = facts.headers.date else { return None };
        let sha1 = facts
            .headers
            .fields
            .iter()
            .any(|field| field.name == "dkim-signature" && field.value.contains("a=rsa-sha1"));
        (date > Y2019 && (sha1 || facts.headers.has("domainkey-signature")) && !is_list(&facts.headers))
            .then(|| Evidence::new(if sha1 { "rsa-sha1" } else { "DomainKey-Signature" }))
    }),
};

/// Nothing at all.
pub const COMPLETELY_EMPTY: Rule = Rule {
    symbol: "COMPLETELY_EMPTY",
    group: Group::Headers,
    weight: 15.0,
    summary: "no author, recipient, subject, date and text at all",
    why: "a probe that finds out which addresses exist; the group's bound makes it 8 points",
    check: Check::Facts(|facts| {
        let headers = ["from", "to", "cc", "subject", "date"].iter().any(|name| facts.headers.has(name));
        when(!headers && facts.text.words() == 0 && facts.parts.len() <= 1)
    }),
};

/// The registrable domain to which a receipt is to go.
fn receipt_site(facts: &Facts) -> Option<String> {
    let value = facts.headers.value("disposition-notification-to");
    let address = value.rsplit_once('<').map_or(value, |(_, rest)| rest).trim_end_matches('>').trim();
    let domain = address.rsplit_once('@')?.1;
    Some(hosts::site(&hosts::canonical(domain)).to_owned())
}

/// `3F2504E0.8030102` or a UUID.
pub(super) fn is_mozilla_id(left: &str) -> bool {
    let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let old = left.split_once('.').is_some_and(|(time, rest)| {
        time.len() == 8 && hexadecimal(time) && (1..=8).contains(&rest.len()) && hexadecimal(rest)
    });
    let uuid = left.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && left.split('-').all(hexadecimal);
    old || uuid
}

/// The first second of 2019.
const Y2019: i64 = 1_546_300_800;

/// Fields that stand once (RFC 5322, 3.6), and what a double one is worth of the weight: those that people and filters read, most.
const UNIQUE: [(&str, f64); 11] = [
    ("from", 1.0),
    ("sender", 0.2),
    ("reply-to", 0.3),
    ("to", 0.2),
    ("cc", 0.1),
    ("message-id", 0.7),
    ("references", 0.2),
    ("in-reply-to", 0.2),
    ("date", 0.6),
    ("subject", 0.7),
    ("content-type", 0.3),
];

/// Programs, and five years after their last version (in seconds since 1970).
const OBSOLETE: &[(&str, i64)] = &[
    ("Outlook Express", 1_483_228_800), // ended in 2006, on Windows XP until 2014; counted from 2017
    ("Microsoft Windows Mail 6", 1_483_228_800), // Vista's, ended in 2009, supported until 2017
    ("Microsoft Office Outlook 11", 1_577_836_800), // 2003, supported until 2014; counted from 2020
    ("Microsoft Office Outlook, Build 11", 1_577_836_800),
    ("Thunderbird/1.", 1_388_534_400), // ended in 2007
    ("Thunderbird/2.", 1_420_070_400), // ended in 2010
    ("The Bat! (v1", 1_262_304_000),   // ended in 2005
    ("The Bat! (v2", 1_293_840_000),
    ("The Bat! (v3", 1_388_534_400), // ended in 2008
    ("Mozilla 3.", 1_009_843_200),   // Netscape 3, ended in 1997
    ("Mozilla 4.", 1_167_609_600),   // Netscape 4, ended in 2002
    ("QUALCOMM Windows Eudora", 1_420_070_400),
];

/// By their own names.
const BULK_MAILERS: [&str; 16] = [
    "advanced mass sender",
    "atomic mail sender",
    "bulk",
    "e-mail extractor",
    "emailspider",
    "extractor pro",
    "floodgate",
    "globalspy",
    "group mail",
    "mailking",
    "mass mail",
    "massmail",
    "send-safe",
    "stealth",
    "the bat! (v1.52f) business",
    "turbomail",
];
