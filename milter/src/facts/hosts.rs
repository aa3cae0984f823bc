//! Host names: their canonical form, the site they belong to, and what kind of site that is.
//!
//! For `mailboxes`, `urls` and the rules. The lists here are compiled in: small, public knowledge, each with the reason why a
//! name stands in it. It asks no DNS: whether a name exists, or is on a blocklist, it does not know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The canonical form of a host name: A-labels, lower case, without a trailing dot. What is no valid name stays as typed, in
/// lower case, because a forged name is a fact too.
pub fn canonical(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    // Longer names cannot be valid; the conversion is not asked to work on them.
    if name.len() > MAX_NAME {
        return name.to_lowercase();
    }
    idna::domain_to_ascii(name).unwrap_or_else(|_| name.to_lowercase())
}

/// The registrable domain (public suffix plus one label) that a canonical name belongs to: `mail.example.co.uk` is of
/// `example.co.uk`. A name that has none, such as `localhost` or an address, is its own site.
pub fn site(name: &str) -> &str {
    psl::domain_str(name).unwrap_or(name)
}

/// Whether a canonical name ends in a public suffix that is on the list, and has a label before it.
pub fn has_public_suffix(name: &str) -> bool {
    psl::domain(name.as_bytes()).is_some_and(|domain| domain.suffix().is_known())
}

/// The last label of a name.
pub fn top_level(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Whether names under that top-level domain are mostly for people who read Cyrillic.
pub fn is_cyrillic_top_level(label: &str) -> bool {
    label.starts_with("xn--") || CYRILLIC_TOP_LEVEL.contains(&label)
}

/// Whether anybody gets an address at that domain for nothing.
pub fn is_freemail(domain: &str) -> bool {
    FREEMAIL.binary_search(&domain).is_ok()
}

/// Whether a site does nothing but redirect to others, so that a link says nothing of its target.
pub fn is_shortener(site: &str) -> bool {
    SHORTENERS.binary_search(&site).is_ok()
}

/// Whether anybody publishes pages under that host for nothing and without a check.
pub fn is_free_hosting(host: &str) -> bool {
    FREE_HOSTING.iter().any(|suffix| is_under(host, suffix))
}

/// Whether a canonical name is under a top-level domain that is mostly seen in unwanted mail, or under one of the zones that are sold
/// like one.
pub fn is_in_suspicious_zone(name: &str) -> bool {
    SUSPICIOUS_TOP_LEVEL.binary_search(&top_level(name)).is_ok()
        || RESOLD.iter().any(|zone| name != *zone && is_under(name, zone))
}

/// Whether a provider gives that domain to every new tenant, who is to take one of his own.
pub fn is_initial_domain(host: &str) -> bool {
    INITIAL_DOMAINS.iter().any(|suffix| is_under(host, suffix))
}

/// Whether `host` is `domain` or below it.
pub fn is_under(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Microsoft 365 and Google Workspace.
const INITIAL_DOMAINS: &[&str] = &["onmicrosoft.com", "test-google-a.com"];

/// Whether an address can be reached from everywhere; a private client says nothing about the world outside.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    // RFC 6890: this network, private, loopback, link local, shared address space (100.64/10), multicast, reserved.
    !(first == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || first == 100 && second & 0xC0 == 64
        || first >= 224)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // RFC 6890: unspecified, loopback, unique local (fc00::/7), link local (fe80::/10), multicast.
    let first = address.segments()[0];
    !(address.is_unspecified()
        || address.is_loopback()
        || first & 0xFE00 == 0xFC00
        || first & 0xFFC0 == 0xFE80
        || first >= 0xFF00)
}

/// An IPv4 address as browsers read one (WHATWG URL, 3.5): one to four numbers, decimal, octal or hexadecimal, the last one
/// filling what is left. `0x7f.1` is 127.0.0.1.
pub fn numeric_v4(host: &str) -> Option<Ipv4Addr> {
    let mut numbers = [0u64; 4];
    let mut count = 0;
    for part in host.split('.') {
        *numbers.get_mut(count)? = number(part)?;
        count += 1;
    }
    let (last, firsts) = numbers.get(..count)?.split_last()?;
    if firsts.iter().any(|&number| number > 255) || *last >= 1u64 << (8 * (5 - count)) {
        return None;
    }
    let high = firsts.iter().enumerate().fold(0u64, |sum, (index, number)| sum | number << (8 * (3 - index)));
    u32::try_from(high | last).ok().map(Ipv4Addr::from)
}

fn number(text: &str) -> Option<u64> {
    // In every notation; most hosts are names.
    text.bytes().next().filter(u8::is_ascii_digit)?;
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.strip_prefix("0x") {
        Some("") => return Some(0),
        Some(hex) => (hex, 16),
        None if lower.len() > 1 && lower.starts_with('0') => (&lower[1..], 8),
        None => (lower.as_str(), 10),
    };
    let plain =
        !digits.is_empty() && digits.len() <= 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

/// Whether `word` stands in `text` with no letter or digit on either side.
pub fn contains_word(text: &str, word: &str) -> bool {
    let mut from = 0;
    // In short texts, as most are, this needs no preparation, which the standard library's search does for each word.
    let find = |rest: &str| memchr::memmem::find(rest.as_bytes(), word.as_bytes());
    while let Some(at) = text.get(from..).and_then(find) {
        let start = from + at;
        let end = start + word.len();
        let before = text[..start].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
        let after = text[end..].chars().next().is_none_or(|c| !c.is_alphanumeric());
        if before && after {
            return true;
        }
        from = end;
    }
    false
}

/// RFC 1035, 2.3.4 bounds the A-label form at 253; U-labels take at most four bytes for a character.
const MAX_NAME: usize = 1_012;

/// Providers of free mailboxes, sorted.
#[rustfmt::skip]
const FREEMAIL: &[&str] = &[
    "126.com", "139.com", "163.com", "aim.com", "aol.com", "arcor.de", "bk.ru", "bol.com.br", "caramail.com",
    "daum.net", "email.com", "email.cz", "excite.com", "fastmail.com", "fastmail.fm", "foxmail.com",
    "free.fr", "freemail.hu", "freenet.de", "gmail.com", "gmx.at", "gmx.ch", "gmx.com", "gmx.de", "gmx.net",
    "googlemail.com", "hanmail.net", "hotmail.co.uk", "hotmail.com", "hotmail.de", "hotmail.es", "hotmail.fr",
    "hotmail.it", "hushmail.com", "icloud.com", "inbox.lv", "inbox.ru", "interia.pl", "juno.com",
    "laposte.net", "latinmail.com", "libero.it", "list.ru", "live.com", "live.fr", "lycos.com", "mac.com",
    "mail.com", "mail.ru", "me.com", "msn.com", "naver.com", "netscape.net", "netzero.net", "o2.pl",
    "onet.pl", "op.pl", "orange.fr", "outlook.com", "outlook.de", "outlook.es", "outlook.fr", "proton.me",
    "protonmail.com", "qq.com", "rambler.ru", "rediffmail.com", "rocketmail.com", "seznam.cz", "sina.com",
    "sohu.com", "terra.com.br", "tutanota.com", "ukr.net", "uol.com.br", "usa.net", "virgilio.it", "voila.fr",
    "walla.com", "web.de", "wp.pl", "yahoo.ca", "yahoo.co.id", "yahoo.co.in", "yahoo.co.jp", "yahoo.co.uk",
    "yahoo.com", "yahoo.com.ar", "yahoo.com.au", "yahoo.com.br", "yahoo.com.cn", "yahoo.com.hk",
    "yahoo.com.mx", "yahoo.com.ph", "yahoo.com.sg", "yahoo.com.tw", "yahoo.com.vn", "yahoo.de", "yahoo.es",
    "yahoo.fr", "yahoo.gr", "yahoo.ie", "yahoo.in", "yahoo.it", "yahoo.no", "yahoo.pl", "yahoo.se",
    "yandex.com", "yandex.ru", "yeah.net", "ymail.com", "zoho.com",
];

/// Countries that write in Cyrillic, and what they register names under besides.
const CYRILLIC_TOP_LEVEL: &[&str] =
    &["bg", "by", "kg", "kz", "mk", "mn", "moscow", "rs", "ru", "su", "tatar", "tj", "ua"];

/// Link shorteners, sorted.
#[rustfmt::skip]
const SHORTENERS: &[&str] = &[
    "adf.ly", "bit.do", "bit.ly", "bitly.com", "buff.ly", "chilp.it", "clck.ru", "cli.gs", "cutt.ly",
    "goo.gl", "goo.su", "is.gd", "j.mp", "lnkd.in", "n9.cl", "ouo.io", "ow.ly", "qr.ae", "rb.gy",
    "rebrand.ly", "s.id", "shorte.st", "shorturl.at", "shrtco.de", "snip.ly", "snipurl.com", "soo.gd", "t.co",
    "t.ly", "t2m.io", "tiny.cc", "tinyurl.com", "tr.im", "tr.ly", "u.to", "urlz.fr", "v.gd", "x.co",
    "yourls.org",
];

/// Where pages appear for nothing in a minute; phishing lives there for an hour.
#[rustfmt::skip]
const FREE_HOSTING: &[&str] = &[
    "000webhostapp.com", "16mb.com", "altervista.org", "appspot.com", "blogspot.com", "firebaseapp.com",
    "fleek.co", "forms.gle", "github.io", "glitch.me", "godaddysites.com", "herokuapp.com", "netlify.app",
    "pages.dev", "r2.dev", "repl.co", "tripod.com", "typeform.com", "vercel.app", "web.app",
    "webcindario.com", "weebly.com", "weeblysite.com", "wixsite.com", "workers.dev",
];

/// Top-level domains that are cheap or free and mostly seen in unwanted mail, sorted. Every one has honest owners as well.
#[rustfmt::skip]
const SUSPICIOUS_TOP_LEVEL: &[&str] = &[
    "accountant", "autos", "bar", "beauty", "bid", "boats", "bond", "buzz", "cam", "casa", "cf", "cfd",
    "click", "country", "cricket", "cyou", "date", "download", "faith", "fit", "fun", "ga", "gdn", "gq",
    "hair", "homes", "icu", "kim", "link", "loan", "lol", "makeup", "men", "ml", "mom", "monster", "nom",
    "online", "party", "pics", "pw", "quest", "racing", "rest", "review", "sbs", "science", "shop", "site", "skin", "space",
    "stream", "surf", "tk", "top", "trade", "uno", "vip", "wang", "webcam", "website", "win", "work", "xin",
    "xyz", "zip",
];

/// Domains of a registry that sells names below them as others do below top-level domains (the public suffix list has them in its private
/// section, CentralNic), and cheaply: seen in spam alone.
const RESOLD: &[&str] = &["ru.com", "sa.com", "za.com"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_lists_that_are_searched_are_sorted() {
        for list in [FREEMAIL, SHORTENERS, SUSPICIOUS_TOP_LEVEL] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }

    #[test]
    fn a_zone_that_is_sold_like_a_top_level_domain_is_none_itself() {
        for name in ["cheap.top", "cheap.sa.com", "mail.cheap.ru.com"] {
            assert!(is_in_suspicious_zone(name), "{name}");
        }
        for name in ["sa.com", "example.com", "visa.com", "cheap-sa.com"] {
            assert!(!is_in_suspicious_zone(name), "{name}");
        }
        assert_eq!(site("mail.cheap.sa.com"), "cheap.sa.com", "each name there is somebody else's");
    }

    #[test]
    fn a_site_is_what_somebody_can_register() {
        assert_eq!(site("mail.example.co.uk"), "example.co.uk");
        assert_eq!(site("a.b.example.com"), "example.com");
        assert_eq!(site("localhost"), "localhost");
        assert_eq!(site(""), "");
        assert_eq!(canonical("Bücher.Example."), "xn--bcher-kva.example");
        assert!(
            has_public_suffix("example.com")
                && !has_public_suffix("com")
                && !has_public_suffix("host.invalidtld")
        );
    }

    #[test]
    fn numbers_are_read_as_browsers_read_them() {
        let home = Ipv4Addr::new(127, 0, 0, 1);
        for text in ["127.0.0.1", "0x7f.1", "2130706433", "0177.0.0.1", "127.1", "0x7f000001"] {
            assert_eq!(numeric_v4(text), Some(home), "{text}");
        }
        for text in
            ["example.com", "1.2.3.4.5", "256.1.1.1", "1.2.3.256", "", "1..2", "0x1ffffffff", "09.1.1.1"]
        {
            assert_eq!(numeric_v4(text), None, "{text}");
        }
    }
}
