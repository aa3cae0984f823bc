//! Group `phishing`: links that lead elsewhere than they show, and brands that are only named.

use super::{Check, Evidence, Group, Rule};
use crate::facts::brands::Brand;
use crate::facts::html::Link;
use crate::facts::phrases::Theme;
use crate::facts::urls::{Origin, Url};
use crate::facts::{Facts, brands, hosts};

/// The group's table.
pub const RULES: &[Rule] = &[
    PHISHING,
    HTTP_TO_IP,
    HTTP_TO_HTTPS,
    BRAND_IN_URL_HOST,
    BRAND_IN_URL_PATH,
    PHISHED_CREDENTIALS,
    FORM_TO_STRANGER,
];

/// Shows one host, leads to another.
pub const PHISHING: Rule = Rule {
    symbol: "PHISHING",
    group: Group::Phishing,
    weight: 3.4,
    summary: "a link shows one address and leads to another",
    why: "the reader believes what he sees; newsletters whose links all pass a counter are worth a fifth",
    check: Check::Facts(|facts| {
        let (shown, target) = links(facts).find_map(|(link, target)| {
            let shown = shown_host(&link.text)?;
            deceives(facts, &shown, target).then_some((shown, target))
        })?;
        Some(Evidence::new(format_args!("{shown} -> {}", target.host)).times(if is_newsletter(facts) {
            0.2
        } else {
            1.0
        }))
    }),
};

/// Shows a host, leads to an address.
pub const HTTP_TO_IP: Rule = Rule {
    symbol: "HTTP_TO_IP",
    group: Group::Phishing,
    weight: 2.1,
    summary: "a link shows a name and leads to an address",
    why: "no page with a name needs it (Rspamd: 1)",
    check: Check::Facts(|facts| {
        links(facts).find_map(|(link, target)| {
            let shown = shown_host(&link.text)?;
            (target.address.is_some() && hosts::numeric_v4(&shown).is_none())
                .then(|| Evidence::new(format_args!("{shown} -> {}", target.host)))
        })
    }),
};

/// Shows https, leads to http.
pub const HTTP_TO_HTTPS: Rule = Rule {
    symbol: "HTTP_TO_HTTPS",
    group: Group::Phishing,
    weight: 0.5,
    summary: "a link shows https and leads to plain http",
    why: "pretends to be an encrypted page; old newsletters with a counter do it too",
    check: Check::Facts(|facts| {
        links(facts)
            .find(|(link, target)| {
                link.text.trim().to_ascii_lowercase().starts_with("https://") && target.scheme == "http"
            })
            .map(|(_, target)| Evidence::new(&target.host))
    }),
};

/// A brand in a stranger's host name.
pub const BRAND_IN_URL_HOST: Rule = Rule {
    symbol: "BRAND_IN_URL_HOST",
    group: Group::Phishing,
    weight: 4.3,
    summary: "a link whose host has a brand's name in it and is not the brand's",
    why: "www.paypal.com.login.example: the eye stops at the name it knows",
    check: Check::Facts(|facts| {
        facts.urls.iter().filter(|url| url.is_clickable() && url.is_named()).find_map(|url| {
            let brand = named(&url.host).find(|brand| !brand.owns(&url.site))?;
            Some(Evidence::new(format_args!("{} in {}", brand.word, url.host)))
        })
    }),
};

/// A brand in the path of a stranger's page.
pub const BRAND_IN_URL_PATH: Rule = Rule {
    symbol: "BRAND_IN_URL_PATH",
    group: Group::Phishing,
    weight: 2.1,
    summary: "a link with a brand's host name in its path",
    why: "https://example.com/www.paypal.com/login: a copied page on a broken-into site",
    check: Check::Facts(|facts| {
        facts
            .urls
            .iter()
            .filter(|url| {
                url.origin == Origin::Link || url.origin == Origin::Text || url.origin == Origin::Form
            })
            .find_map(|url| {
                let path = url.path.split(['?', '#']).next().unwrap_or_default();
                if !brands::may_name_site(path) {
                    return None;
                }
                let path = path.to_ascii_lowercase();
                let brand = brands::brands().iter().find(|brand| {
                    brand.sites.iter().any(|site| path.contains(site)) && !brand.owns(&url.site)
                })?;
                Some(Evidence::new(format_args!("{} at {}", brand.word, url.host)))
            })
    }),
};

/// Asks to confirm an account at a place that is not the author's.
pub const PHISHED_CREDENTIALS: Rule = Rule {
    symbol: "PHISHED_CREDENTIALS",
    group: Group::Phishing,
    weight: 5.2,
    summary: "asks to confirm an account, and links to a place that is not the author's",
    why: "from three phrases of account phishing on, all points at seven, and a link elsewhere than to the author's own domain",
    check: Check::Facts(|facts| {
        let count = facts.text.count(Theme::Credentials);
        let author = facts.people.author().map_or("", |author| author.site.as_str());
        let stranger =
            facts.urls.iter().find(|url| url.is_clickable() && !url.site.is_empty() && url.site != author)?;
        let list = crate::facts::headers::is_list(&facts.headers) || is_newsletter(facts);
        (count >= 3 && !list).then(|| {
            Evidence::new(format_args!("{}: {}", stranger.host, facts.text.examples(Theme::Credentials)))
        })
    }),
};

/// A form that is sent to a stranger.
pub const FORM_TO_STRANGER: Rule = Rule {
    symbol: "FORM_TO_STRANGER",
    group: Group::Phishing,
    weight: 4.0,
    summary: "a form with three or more fields to write into, sent to another site than the author's",
    why: "what is typed there goes to somebody else than the sender; a search has one field",
    check: Check::Facts(|facts| {
        let author = facts.people.author().map_or("", |author| author.site.as_str());
        facts.html.forms.iter().filter(|form| form.fields >= 3).find_map(|form| {
            let target = facts.urls.get(form.url?).filter(|url| url.site != author)?;
            Some(Evidence::new(format_args!("{} fields to {}", form.fields, target.host)))
        })
    }),
};

/// The links with what they lead to.
fn links(facts: &Facts) -> impl Iterator<Item = (&Link, &Url)> {
    facts.html.links.iter().filter_map(|link| Some((link, facts.urls.get(link.url?)?)))
}

/// The host that a link's text shows, if it shows one: the whole text is a URL or a host name, or it has a URL in it.
fn shown_host(text: &str) -> Option<String> {
    let text = text.trim().trim_matches(['"', '\'', '<', '>', '(', ')', '.', ',', ':']);
    let mut words = text.split_whitespace();
    let first = words.next()?;
    let alone = words.next().is_none();
    let candidate = if alone {
        first
    } else {
        text.split_whitespace().find(|word| {
            word.starts_with("http://") || word.starts_with("https://") || word.starts_with("www.")
        })?
    };
    let lower = candidate.to_lowercase();
    let url = if lower.contains("://") {
        Url::parse(&lower, Origin::Text)
    } else {
        Url::parse(&format!("http://{lower}"), Origin::Text)
    }?;
    // An address of mail is no host, and a number or a file name is none either.
    let host = url.user.is_none()
        && (url.is_named() && !is_file_name(&url.host)
            || url.address.is_some() && url.host.matches('.').count() == 3);
    host.then_some(url.host)
}

/// Names that are files first and hosts second.
fn is_file_name(host: &str) -> bool {
    let label = hosts::top_level(host);
    host.matches('.').count() == 1
        && ["zip", "mov", "py", "rs", "sh", "pl", "md", "ps", "so", "cc"].contains(&label)
}

fn deceives(facts: &Facts, shown: &str, target: &Url) -> bool {
    let site = hosts::site(shown);
    if site == target.site || target.address.is_some() {
        return false;
    }
    let author = facts.people.author().map_or("", |author| author.site.as_str());
    // A sender's own counter, or a redirector that says where it leads, shows what it is.
    let own = target.site == author
        || facts.authentication.dkim.iter().any(|dkim| hosts::site(&dkim.domain) == target.site);
    let told = target.path.to_ascii_lowercase().contains(site);
    // The same name under another public suffix is the same owner's as a rule: example.com shown, example.org linked.
    let label = |site: &str| site.split('.').next().unwrap_or_default().to_owned();
    !own && !told && label(site) != label(&target.site)
}

/// Bulk mail that says so properly (RFC 2369, RFC 8058): its links pass through the sender's counter.
fn is_newsletter(facts: &Facts) -> bool {
    facts.headers.has("list-unsubscribe")
        || crate::facts::headers::is_list(&facts.headers)
        || facts.headers.has("feedback-id")
}

/// The brands whose word a host has as a label, or as a part of one between hyphens.
fn named(host: &str) -> impl Iterator<Item = &'static Brand> {
    let pieces = host.as_bytes().split(|byte| matches!(byte, b'.' | b'-'));
    // A shorter word is too many other things.
    let long = pieces.filter(|piece| piece.len() >= 4);
    long.flat_map(|piece| brands::brands().iter().filter(move |brand| brand.is_spelled(piece)))
}
