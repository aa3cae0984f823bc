//! Group `urls`: URLs that are odd in themselves, wherever they stand in the text.

use std::cell::LazyCell;

use super::{Check, Evidence, Group, Rule};
use crate::facts::headers::{is_answer, is_list};
use crate::facts::urls::{Origin, Url};
use crate::facts::{Facts, hosts};

/// The group's table.
pub const RULES: &[Rule] = &[
    URL_USER_PASSWORD,
    URL_USER_LONG,
    URL_USER_VERY_LONG,
    URL_NUMERIC_IP,
    URL_NUMERIC_IP_USER,
    URL_OBFUSCATED_IP,
    URL_NO_TLD,
    URL_SUSPICIOUS_TLD,
    URL_BAD_UNICODE,
    URL_HOMOGRAPH_ATTACK,
    URL_RTL_OVERRIDE,
    URL_ZERO_WIDTH_SPACES,
    URL_MULTIPLE_AT_SIGNS,
    URL_BACKSLASH_PATH,
    URL_EXCESSIVE_DOTS,
    URL_VERY_LONG,
    URL_ODD_PORT,
    HAS_IPFS_GATEWAY_URL,
    URL_SHORTENER,
    URL_FREE_HOSTING,
    URL_HOST_SELLS,
    URL_TLD_NOT_OF_TEXT,
    URL_WILDCARD_HOSTS,
    URL_DISGUISED,
    URL_NAMES_LIST,
];

/// A name before the host.
pub const URL_USER_PASSWORD: Rule = Rule {
    symbol: "URL_USER_PASSWORD",
    group: Group::Urls,
    weight: 2.2,
    summary: "a URL with a user name before the host",
    why: "RFC 3986, 7.6: what stands before @ looks like the host and is not",
    check: Check::Facts(|facts| {
        found(facts, |url| (1..=128).contains(&user_length(url)) && url.address.is_none())
    }),
};

/// Written so that no program sees it.
pub const URL_DISGUISED: Rule = Rule {
    symbol: "URL_DISGUISED",
    group: Group::Urls,
    weight: 0.5,
    summary: "a URL that is written so that no program takes it for one",
    why: "hxxp://, evil[.]example: to get past filters, or among those who write about such URLs",
    check: Check::Facts(|facts| {
        let url = facts.urls.iter().find(|url| url.origin == Origin::Disguised)?;
        Some(Evidence::new(&url.host))
    }),
};

/// Made for each recipient, of which this one is a list.
pub const URL_NAMES_LIST: Rule = Rule {
    symbol: "URL_NAMES_LIST",
    group: Group::Urls,
    weight: 3.1,
    summary: "begins a thread on a mailing list with a link that has the list's address in it",
    why: "a template filled in for each recipient, as if a list had a mailbox or a subscription; the list's own site is left out",
    check: Check::Facts(|facts| {
        if !is_list(&facts.headers) || is_answer(&facts.headers) {
            return None;
        }
        let to = facts.people.to.first().filter(|to| to.is_address())?;
        let named = |url: &Url| {
            let path = url.path.to_ascii_lowercase();
            path.contains(&to.address) || path.replace("%40", "@").contains(&to.address)
        };
        found(facts, |url| {
            url.is_clickable() && url.site != to.site && url.path.len() > to.local.len() && named(url)
        })
    }),
};

/// A long name before the host.
pub const URL_USER_LONG: Rule = Rule {
    symbol: "URL_USER_LONG",
    group: Group::Urls,
    weight: 3.0,
    summary: "a URL with more than 128 characters before the @",
    why: "RFC 3986, 7.6: pushes the real host out of sight",
    check: Check::Facts(|facts| found(facts, |url| (129..=256).contains(&user_length(url)))),
};

/// A very long name before the host.
pub const URL_USER_VERY_LONG: Rule = Rule {
    symbol: "URL_USER_VERY_LONG",
    group: Group::Urls,
    weight: 5.0,
    summary: "a URL with more than 256 characters before the @",
    why: "RFC 3986, 7.6: pushes the real host out of sight",
    check: Check::Facts(|facts| found(facts, |url| user_length(url) > 256)),
};

/// An address as host.
pub const URL_NUMERIC_IP: Rule = Rule {
    symbol: "URL_NUMERIC_IP",
    group: Group::Urls,
    weight: 2.0,
    summary: "a URL whose host is an address",
    why: "honest pages have names; a broken-into computer has an address; private addresses are left out",
    check: Check::Facts(|facts| {
        found(facts, |url| is_numeric(url) && url.user.is_none() && !url.odd.disguised_address)
    }),
};

/// An address and a name.
pub const URL_NUMERIC_IP_USER: Rule = Rule {
    symbol: "URL_NUMERIC_IP_USER",
    group: Group::Urls,
    weight: 4.0,
    summary: "a URL whose host is an address, with a user name before it",
    why: "RFC 3986, 7.6: the name plays the host, the address is it",
    check: Check::Facts(|facts| found(facts, |url| is_numeric(url) && url.user.is_some())),
};

/// A disguised address.
pub const URL_OBFUSCATED_IP: Rule = Rule {
    symbol: "URL_OBFUSCATED_IP",
    group: Group::Urls,
    weight: 4.0,
    summary: "a URL whose host is an address in hexadecimal, octal or as one number",
    why: "WHATWG URL, 3.5: browsers read it, people do not",
    check: Check::Facts(|facts| found(facts, |url| url.odd.disguised_address)),
};

/// A host without a public suffix.
pub const URL_NO_TLD: Rule = Rule {
    symbol: "URL_NO_TLD",
    group: Group::Urls,
    weight: 0.5,
    summary: "a link whose host is no public name",
    why: "leads nowhere for a stranger: a template, or a page of somebody's own network (Rspamd: 2)",
    check: Check::Facts(|facts| {
        found(facts, |url| {
            url.origin == Origin::Link && url.address.is_none() && !hosts::has_public_suffix(&url.host)
        })
    }),
};

/// A suspicious top-level domain.
pub const URL_SUSPICIOUS_TLD: Rule = Rule {
    symbol: "URL_SUSPICIOUS_TLD",
    group: Group::Urls,
    weight: 1.4,
    summary: "a link into a zone (.top, .sa.com) that is mostly seen in unwanted mail",
    why: "cheap or free registration; every one has honest owners, and mail whose author is there is not made worse by it (Rspamd: 3)",
    check: Check::Facts(|facts| {
        let author = facts.people.author().map_or("", |author| author.site.as_str());
        found(facts, |url| url.is_named() && url.site != author && hosts::is_in_suspicious_zone(&url.host))
    }),
};

/// No valid host.
pub const URL_BAD_UNICODE: Rule = Rule {
    symbol: "URL_BAD_UNICODE",
    group: Group::Urls,
    weight: 2.0,
    summary: "a link whose host has characters that no domain can have",
    why: "RFC 5891, 5: IDNA refuses them",
    check: Check::Facts(|facts| found(facts, |url| url.odd.bad_unicode && url.origin == Origin::Link)),
};

/// Scripts mixed in a host.
pub const URL_HOMOGRAPH_ATTACK: Rule = Rule {
    symbol: "URL_HOMOGRAPH_ATTACK",
    group: Group::Urls,
    weight: 5.0,
    summary: "a URL whose host mixes letters of scripts that look alike",
    why: "Unicode TR 39: the reader takes it for another host",
    check: Check::Facts(|facts| found(facts, |url| url.odd.mixed)),
};

/// Turns the direction around.
pub const URL_RTL_OVERRIDE: Rule = Rule {
    symbol: "URL_RTL_OVERRIDE",
    group: Group::Urls,
    weight: 6.0,
    summary: "a URL that turns the reading direction around",
    why: "Unicode TR 36, 2.1: the reader takes it for another one",
    check: Check::Facts(|facts| found(facts, |url| url.odd.reversed)),
};

/// Characters without width.
pub const URL_ZERO_WIDTH_SPACES: Rule = Rule {
    symbol: "URL_ZERO_WIDTH_SPACES",
    group: Group::Urls,
    weight: 5.0,
    summary: "a URL with characters that nobody sees",
    why: "another URL for the filter than for the browser, which drops them (RFC 5891)",
    check: Check::Facts(|facts| found(facts, |url| url.odd.invisible && url.origin == Origin::Link)),
};

/// Several `@`.
pub const URL_MULTIPLE_AT_SIGNS: Rule = Rule {
    symbol: "URL_MULTIPLE_AT_SIGNS",
    group: Group::Urls,
    weight: 3.0,
    summary: "a URL with more than one @ before the host",
    why: "RFC 3986, 3.2.1: programs disagree about the host",
    check: Check::Facts(|facts| found(facts, |url| url.odd.at_signs)),
};

/// Backslashes.
pub const URL_BACKSLASH_PATH: Rule = Rule {
    symbol: "URL_BACKSLASH_PATH",
    group: Group::Urls,
    weight: 2.0,
    summary: "a link with backslashes",
    why: "WHATWG URL, 4.4: browsers take them for slashes, filters do not",
    check: Check::Facts(|facts| found(facts, |url| url.odd.backslash && url.origin == Origin::Link)),
};

/// Many labels.
pub const URL_EXCESSIVE_DOTS: Rule = Rule {
    symbol: "URL_EXCESSIVE_DOTS",
    group: Group::Urls,
    weight: 2.0,
    summary: "a URL whose host has more than seven labels",
    why: "www.bank.example.login.secure.… shows a known name where the eye begins",
    check: Check::Facts(|facts| {
        found(facts, |url| url.address.is_none() && url.host.matches('.').count() > 6)
    }),
};

/// Very long.
pub const URL_VERY_LONG: Rule = Rule {
    symbol: "URL_VERY_LONG",
    group: Group::Urls,
    weight: 1.0,
    summary: "a link of more than 2,048 characters",
    why: "RFC 9110, 4.1 recommends to accept 8,000; nobody needs more than 2,048 except to hide something (Rspamd: 1.5)",
    check: Check::Facts(|facts| found(facts, |url| url.length > 2_048)),
};

/// An odd port.
pub const URL_ODD_PORT: Rule = Rule {
    symbol: "URL_ODD_PORT",
    group: Group::Urls,
    weight: 1.1,
    summary: "a link to a public host with an unusual port",
    why: "a broken-into computer whose usual port is taken",
    check: Check::Facts(|facts| {
        found(facts, |url| {
            let usual = [None, Some(80), Some(443), Some(8_080), Some(8_443), Some(21)].contains(&url.port);
            !usual && url.origin == Origin::Link && (url.is_named() || is_numeric(url))
        })
    }),
};

/// IPFS.
pub const HAS_IPFS_GATEWAY_URL: Rule = Rule {
    symbol: "HAS_IPFS_GATEWAY_URL",
    group: Group::Urls,
    weight: 6.0,
    summary: "a link to a page on IPFS",
    why: "pages there cannot be taken down; phishing lives there",
    check: Check::Facts(|facts| {
        found(facts, |url| {
            let path = url.path.starts_with("/ipfs/") || url.path.starts_with("/ipns/");
            let host = url.host.split('.').any(|label| label == "ipfs" || label == "ipns");
            let identifier = |text: &str| {
                text.starts_with("Qm") && text.len() >= 46 || text.starts_with("baf") && text.len() >= 50
            };
            let named = url.path.split('/').chain(url.host.split('.')).any(identifier);
            (path || host) && named
        })
    }),
};

/// A shortener.
pub const URL_SHORTENER: Rule = Rule {
    symbol: "URL_SHORTENER",
    group: Group::Urls,
    weight: 0.3,
    summary: "a link through a shortener",
    why: "hides where it leads; people use them too",
    check: Check::Facts(|facts| found(facts, |url| hosts::is_shortener(&url.site) && url.path.len() > 1)),
};

/// Free hosting.
pub const URL_FREE_HOSTING: Rule = Rule {
    symbol: "URL_FREE_HOSTING",
    group: Group::Urls,
    weight: 0.5,
    summary: "a link to a page at a host that anybody gets for nothing",
    why: "phishing lives there for an hour; so do honest projects",
    check: Check::Facts(|facts| found(facts, |url| hosts::is_free_hosting(&url.host))),
};

/// A host named after what it sells.
pub const URL_HOST_SELLS: Rule = Rule {
    symbol: "URL_HOST_SELLS",
    group: Group::Urls,
    weight: 2.3,
    summary: "a link to a host that is named after pills, loans, copies, gambling or sex",
    why: "strangers' shops are named after their goods; the author's own host is left out",
    check: Check::Facts(|facts| {
        let author = facts.people.author().map_or("", |author| author.site.as_str());
        found(facts, |url| {
            let label = url.site.split('.').next().unwrap_or_default();
            url.is_named() && url.site != author && SELLING.iter().any(|word| label.contains(word))
        })
    }),
};

/// A country's link in another country's text.
pub const URL_TLD_NOT_OF_TEXT: Rule = Rule {
    symbol: "URL_TLD_NOT_OF_TEXT",
    group: Group::Urls,
    weight: 3.0,
    summary: "a link to Russia or China in a text without a letter of the language",
    why: "registered where it was cheap; correspondents there write their language, have their own domain, or write to lists",
    check: Check::Facts(|facts| {
        let author = facts.people.author().map_or("", |author| author.domain.as_str());
        let foreign = |label: &str, c: fn(char) -> bool| {
            hosts::top_level(author) != label
                && !facts.text.plain.contains(c)
                && !facts.html.visible.contains(c)
                && !facts.subject.text.contains(c)
        };
        if is_list(&facts.headers) {
            return None;
        }
        // The whole text is looked through, so once, and only where such a link is.
        let cyrillic = LazyCell::new(|| foreign("ru", |c| ('\u{400}'..='\u{4FF}').contains(&c)));
        let han = LazyCell::new(|| foreign("cn", |c| ('\u{4E00}'..='\u{9FFF}').contains(&c)));
        found(facts, |url| match hosts::top_level(&url.host) {
            "ru" | "su" => url.is_named() && *cyrillic,
            "cn" => *han,
            _ => false,
        })
    }),
};

/// Many hosts of one site.
pub const URL_WILDCARD_HOSTS: Rule = Rule {
    symbol: "URL_WILDCARD_HOSTS",
    group: Group::Urls,
    weight: 2.0,
    summary: "links to four or more hosts of one site, none of them the author's",
    why: "a wildcard record lets every link be another one, against filters that count equal links",
    check: Check::Facts(|facts| {
        let author = facts.people.author().map_or("", |author| author.site.as_str());
        if is_list(&facts.headers) || facts.headers.has("list-unsubscribe") {
            return None;
        }
        let mut hosts: Vec<(&str, &str)> = facts
            .urls
            .iter()
            .filter(|url| url.is_clickable() && url.is_named() && url.site != author && url.host != url.site)
            .map(|url| (url.site.as_str(), url.host.as_str()))
            .take(200)
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        let many = hosts.windows(4).find(|four| four.iter().all(|(site, _)| *site == four[0].0))?;
        Some(Evidence::new(format_args!("{} {} {}", many[0].1, many[1].1, many[2].1)))
    }),
};

/// The first clickable URL that is so.
fn found(facts: &Facts, is: impl Fn(&Url) -> bool) -> Option<Evidence> {
    facts.urls.iter().find(|url| url.is_clickable() && is(url)).map(|url| Evidence::new(&url.host))
}

fn user_length(url: &Url) -> usize {
    url.user.as_deref().map_or(0, str::len)
}

fn is_numeric(url: &Url) -> bool {
    url.address.is_some_and(hosts::is_public)
}

/// Words in the names of shops that write to strangers.
#[rustfmt::skip]
const SELLING: &[&str] = &[
    "cialis", "viagra", "pharm", "pills", "meds", "rxmed", "drugstore", "replica", "rolex", "watchesoutlet", "casino", "poker", "jackpot", "mortgage",
    "payday", "freeloan", "refinanc", "porn", "xxx", "sexdat", "livesex", "hotgirls", "diplomas", "enlarge", "weightloss", "erect",
];
