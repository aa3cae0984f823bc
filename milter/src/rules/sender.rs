//! Group `sender`: From and display names that pretend. Reply-To and freemail are in `replies`.

use super::{Check, Evidence, Group, Rule, when};
use crate::authentication::{DkimResult, DmarcResult, SpfResult};
use crate::facts::Facts;
use crate::facts::brands::Brand;
use crate::facts::headers::{is_answer, is_list};
use crate::facts::hosts;
use crate::facts::mailboxes::Mailbox;
use crate::facts::scripts;

/// The group's table.
pub const RULES: &[Rule] = &[
    FROM_INVALID,
    SPOOF_DISPLAY_NAME,
    FROM_NEQ_DISPLAY_NAME,
    FROM_DN_EQ_ADDR,
    FROM_NAME_HAS_TITLE,
    FROM_NAME_EXCESS_SPACE,
    FROM_NAME_BRAND,
    FROM_NAME_RCPT_DOMAIN,
    FROM_NAME_MIXED,
    FROM_NEEDS_ENCODING,
    FROM_EXCESS_BASE64,
    R_NO_SPACE_IN_FROM,
    FROM_SERVICE_ACCT,
    FROM_LOCAL_RANDOM,
    FROM_SUSPICIOUS_TLD,
    FROM_INITIAL_DOMAIN,
    FROM_EQ_TO,
    R_HTTP_URL_IN_FROM,
    OWN_DOMAIN_SPOOFED,
];

/// From is no address.
pub const FROM_INVALID: Rule = Rule {
    symbol: "FROM_INVALID",
    group: Group::Sender,
    weight: 2.5,
    summary: "From has no address",
    why: "RFC 5322, 3.6.2: at least one mailbox",
    check: Check::Facts(|facts| {
        let valid = facts.people.author().is_some_and(Mailbox::is_address);
        (facts.headers.has("from") && !valid).then(|| Evidence::new(facts.headers.value("from")))
    }),
};

/// The display name is an address at the recipient's domain.
pub const SPOOF_DISPLAY_NAME: Rule = Rule {
    symbol: "SPOOF_DISPLAY_NAME",
    group: Group::Sender,
    weight: 8.0,
    summary: "the display name is an address of the recipient's own domain, the real one is not",
    why: "many programs show only the display name: the message seems to come from a colleague",
    check: Check::Facts(|facts| {
        let author = facts.people.author()?;
        let shown = address_in_name(author)?;
        let to = facts.people.to.first()?;
        let spoofs = shown.site == to.site && shown.site != author.site && !is_list(&facts.headers);
        spoofs.then(|| Evidence::new(format_args!("{} is {}", shown.address, author.address)))
    }),
};

/// The display name is an address elsewhere.
pub const FROM_NEQ_DISPLAY_NAME: Rule = Rule {
    symbol: "FROM_NEQ_DISPLAY_NAME",
    group: Group::Sender,
    weight: 3.0,
    summary: "the display name is an address at another domain than the real one",
    why: "many programs show only the display name; lists, and services whose answers go to the address shown, are left out (Rspamd: 4)",
    check: Check::Facts(|facts| {
        let author = facts.people.author()?;
        let shown = address_in_name(author)?;
        let recipients = facts.people.to.first().is_some_and(|to| to.site == shown.site);
        // Who sends for somebody else has the answers sent to him.
        let agent = facts.people.answer_to().is_some_and(|answer| answer.address == shown.address);
        let differs = shown.site != author.site && !recipients && !agent && !is_list(&facts.headers);
        differs.then(|| Evidence::new(format_args!("{} is {}", shown.address, author.address)))
    }),
};

/// The display name repeats the address.
pub const FROM_DN_EQ_ADDR: Rule = Rule {
    symbol: "FROM_DN_EQ_ADDR",
    group: Group::Sender,
    weight: 1.2,
    summary: "the display name is the address itself",
    why: "a template with one field filled in twice; some programs of people do it too",
    check: Check::Facts(|facts| {
        let author = facts.people.author().filter(|author| author.is_address())?;
        when(author.name.trim_matches(['\'', '"', ' ']).eq_ignore_ascii_case(&author.address))
    }),
};

/// Mr., Mrs., Dr., Barrister.
pub const FROM_NAME_HAS_TITLE: Rule = Rule {
    symbol: "FROM_NAME_HAS_TITLE",
    group: Group::Sender,
    weight: 1.0,
    summary: "the display name begins with a title",
    why: "people do not call themselves Mr. or Barrister in their own From; advance fee letters do",
    check: Check::Facts(|facts| {
        let author = facts.people.author()?;
        let first = author.name.split([' ', '.']).next().unwrap_or_default().to_ascii_lowercase();
        let title = [
            "mr",
            "mrs",
            "ms",
            "miss",
            "barrister",
            "barr",
            "engr",
            "dr",
            "prince",
            "princess",
            "sgt",
            "sir",
            "chief",
            "attorney",
        ];
        (title.contains(&first.as_str()) && author.name.len() > first.len() + 2)
            .then(|| Evidence::new(&author.name))
    }),
};

/// Blanks in a row.
pub const FROM_NAME_EXCESS_SPACE: Rule = Rule {
    symbol: "FROM_NAME_EXCESS_SPACE",
    group: Group::Sender,
    weight: 1.0,
    summary: "the display name has three blanks in a row",
    why: "shifts the real address out of sight",
    check: Check::Facts(|facts| {
        let author = facts.people.author()?;
        author.name.contains("   ").then(|| Evidence::new(&author.name))
    }),
};

/// A brand's name from elsewhere.
pub const FROM_NAME_BRAND: Rule = Rule {
    symbol: "FROM_NAME_BRAND",
    group: Group::Sender,
    weight: 2.5,
    summary: "the display name is a brand that phishing likes, the address is not the brand's",
    why: "the brand's real mail comes from its own domains; mail that DMARC confirms is still not the brand's",
    check: Check::Facts(|facts| {
        let author =
            facts.people.author().filter(|author| author.is_address() && !is_list(&facts.headers))?;
        let brand = Brand::impersonated(&author.name.to_lowercase(), &author.site)?;
        Some(Evidence::new(format_args!("{} is {}", brand.word, author.domain)))
    }),
};

/// The recipient's domain as a name.
pub const FROM_NAME_RCPT_DOMAIN: Rule = Rule {
    symbol: "FROM_NAME_RCPT_DOMAIN",
    group: Group::Sender,
    weight: 3.3,
    summary: "the display name has the recipient's domain in it, the address is elsewhere",
    why: "\"example.com Administrator\" wants the password of a mailbox there; a list that writes its own address into From is there",
    check: Check::Facts(|facts| {
        let author = facts.people.author().filter(|author| author.is_address())?;
        let to = facts.people.to.first().filter(|to| to.domain.contains('.'))?;
        let name = author.name.to_lowercase();
        let named = hosts::contains_word(&name, &to.domain) && !name.contains('@');
        (named && author.site != to.site)
            .then(|| Evidence::new(format_args!("{} is {}", author.name, author.domain)))
    }),
};

/// Scripts mixed in a name.
pub const FROM_NAME_MIXED: Rule = Rule {
    symbol: "FROM_NAME_MIXED",
    group: Group::Sender,
    weight: 3.0,
    summary: "the display name mixes letters of several scripts in one word, or hides characters",
    why: "Unicode TR 39: letters that look alike get a name past filters and people",
    check: Check::Facts(|facts| {
        let author = facts.people.author()?;
        let odd = scripts::mixed_words(&author.name) > 0
            || author.name.chars().any(|c| scripts::is_invisible(c) || scripts::reverses(c));
        odd.then(|| Evidence::new(&author.name))
    }),
};

/// Raw bytes in From.
pub const FROM_NEEDS_ENCODING: Rule = Rule {
    symbol: "FROM_NEEDS_ENCODING",
    group: Group::Sender,
    weight: 1.1,
    summary: "From has bytes beyond ASCII that are not even UTF-8",
    why: "RFC 2047, 5: they are encoded; UTF-8 is left out, RFC 6532 allows it",
    check: Check::Facts(|facts| when(facts.headers.field("from").is_some_and(|field| field.broken_utf8))),
};

/// Base64 for nothing.
pub const FROM_EXCESS_BASE64: Rule = Rule {
    symbol: "FROM_EXCESS_BASE64",
    group: Group::Sender,
    weight: 1.5,
    summary: "the author's name is encoded in base64, but plain ASCII",
    why: "RFC 2047, 1: encoding is for what ASCII cannot say; here it hides words from simple filters",
    check: Check::Facts(|facts| {
        let author = facts.people.author()?;
        let value = facts.headers.value("from");
        let encoded = value.contains("=?") && (value.contains("?B?") || value.contains("?b?"));
        (encoded && author.name.is_ascii()).then(|| Evidence::new(&author.name))
    }),
};

/// No blank before the address.
pub const R_NO_SPACE_IN_FROM: Rule = Rule {
    symbol: "R_NO_SPACE_IN_FROM",
    group: Group::Sender,
    weight: 0.7,
    summary: "no blank between the author's name and address",
    why: "RFC 5322, 3.4 allows it, but no program of people writes it so",
    check: Check::Facts(|facts| {
        let (name, _) = facts.headers.value("from").split_once('<')?;
        (!name.is_empty() && !name.ends_with([' ', '\t', ',', ':'])).then(|| Evidence::new(name))
    }),
};

/// An account that programs run under.
pub const FROM_SERVICE_ACCT: Rule = Rule {
    symbol: "FROM_SERVICE_ACCT",
    group: Group::Sender,
    weight: 1.0,
    summary: "the author is an account under which web servers run",
    why: "nobody writes mail as www-data; a script on a broken web site does",
    check: Check::Facts(|facts| {
        let author = facts.people.author()?;
        ["www", "www-data", "apache", "nobody", "wwwrun", "httpd", "anonymous", "ftp"]
            .contains(&author.local.as_str())
            .then(|| Evidence::new(&author.address))
    }),
};

/// Letters and digits in turns.
pub const FROM_LOCAL_RANDOM: Rule = Rule {
    symbol: "FROM_LOCAL_RANDOM",
    group: Group::Sender,
    weight: 1.8,
    summary: "the left side of the author's address is a row of letters and digits in turns",
    why: "made by a machine; so are bounce addresses, which do not stand in From, and those of shops, which have hyphens",
    check: Check::Facts(|facts| {
        let author = facts.people.author().filter(|author| author.is_address())?;
        let local = author.local.as_bytes();
        let turns =
            local.windows(2).filter(|pair| pair[0].is_ascii_alphabetic() && pair[1].is_ascii_digit()).count();
        let plain = local.iter().all(|byte| byte.is_ascii_alphanumeric());
        let hexadecimal = local.len() >= 16 && local.iter().all(u8::is_ascii_hexdigit);
        (plain
            && !hexadecimal
            && turns >= 2
            && local.iter().filter(|byte| byte.is_ascii_digit()).count() >= 3)
            .then(|| Evidence::new(&author.address))
    }),
};

/// From a suspicious top-level domain.
pub const FROM_SUSPICIOUS_TLD: Rule = Rule {
    symbol: "FROM_SUSPICIOUS_TLD",
    group: Group::Sender,
    weight: 3.0,
    summary: "the author's domain is in a zone (.top, .sa.com) that is mostly seen in unwanted mail",
    why: "cheap or free registration, thrown away after a day; honest owners as well, hence few points, and none for answers on lists",
    check: Check::Facts(|facts| {
        let author = facts.people.author()?;
        let suspicious = hosts::is_in_suspicious_zone(&author.domain);
        let answer = is_list(&facts.headers) && is_answer(&facts.headers);
        (suspicious && !answer).then(|| Evidence::new(&author.domain))
    }),
};

/// From a tenant without a name.
pub const FROM_INITIAL_DOMAIN: Rule = Rule {
    symbol: "FROM_INITIAL_DOMAIN",
    group: Group::Sender,
    weight: 2.3,
    summary: "the author's domain is the one that a provider gives to every new tenant",
    why: "whoever means to stay writes from a domain of his own; tenants of an hour do not (Microsoft 365: tenant.onmicrosoft.com)",
    check: Check::Facts(|facts| {
        let author = facts.people.author()?;
        let initial = hosts::is_initial_domain(&author.domain);
        (initial && !is_list(&facts.headers)).then(|| Evidence::new(&author.domain))
    }),
};

/// To oneself.
pub const FROM_EQ_TO: Rule = Rule {
    symbol: "FROM_EQ_TO",
    group: Group::Sender,
    weight: 1.4,
    summary: "author and only recipient are the same",
    why: "a forged From that every recipient trusts; people's own notes to themselves do not come from outside",
    check: Check::Facts(|facts| {
        let author = facts.people.author().filter(|author| author.is_address())?;
        let mut others = facts.people.recipients().filter(|to| to.address != author.address);
        let same = facts.people.recipients().next().is_some() && others.next().is_none();
        // An answer to a list or a message that is proven to be from there is what it seems.
        when(same && facts.is_inbound() && !is_list(&facts.headers) && !is_confirmed(facts))
    }),
};

/// A URL in From.
pub const R_HTTP_URL_IN_FROM: Rule = Rule {
    symbol: "R_HTTP_URL_IN_FROM",
    group: Group::Sender,
    weight: 5.0,
    summary: "a URL in From",
    why: "RFC 5322, 3.4: a name and an address; advertisement in the list of messages",
    check: Check::Facts(|facts| {
        let name = facts.people.author()?.name.to_ascii_lowercase();
        (name.contains("http://") || name.contains("https://") || name.contains("www."))
            .then(|| Evidence::new(&name))
    }),
};

/// Our own domain from outside.
pub const OWN_DOMAIN_SPOOFED: Rule = Rule {
    symbol: "OWN_DOMAIN_SPOOFED",
    group: Group::Sender,
    weight: 3.0,
    summary: "the author claims the recipient's own domain, which SPF and DKIM do not confirm",
    why: "mail of one's own users is submitted with a login or signed; asked only where SPF and DKIM were",
    check: Check::Facts(|facts| {
        let author = facts.people.author().filter(|author| author.is_address())?;
        let asked = !facts.authentication.missing.iter().any(|fact| matches!(*fact, "spf" | "dkim"));
        let ours = facts.envelope.recipients.iter().any(|to| to.domain().as_str() == author.domain);
        (facts.is_inbound() && asked && ours && !is_confirmed(facts) && !is_list(&facts.headers))
            .then(|| Evidence::new(&author.address))
    }),
};

/// The address that a display name shows, if it shows one.
fn address_in_name(author: &Mailbox) -> Option<Mailbox> {
    let word =
        author.name.split([' ', '<', '>', '"', '\'', '(', ')', ',']).find(|word| word.contains('@'))?;
    Some(Mailbox::new("", word)).filter(|shown| shown.is_address() && hosts::has_public_suffix(&shown.domain))
}

/// Whether SPF, DKIM or DMARC confirm the author's domain (RFC 9989, 4.4: relaxed alignment).
pub(crate) fn is_confirmed(facts: &Facts) -> bool {
    let Some(author) = facts.people.author() else { return false };
    let found = &facts.authentication;
    let aligned = |domain: &str| hosts::site(&hosts::canonical(domain)) == author.site;
    found.dmarc.as_ref().is_some_and(|dmarc| dmarc.result == DmarcResult::Pass)
        || found.spf.as_ref().is_some_and(|spf| spf.result == SpfResult::Pass && aligned(&spf.domain))
        || found.dkim.iter().any(|dkim| dkim.result == DkimResult::Pass && aligned(&dkim.domain))
}
