//! The brands that phishing pretends to be, and the sites that are really theirs.
//!
//! For the rules of the groups `sender` and `phishing`. A brand stands here because its name is abused in quantity, nothing else.

use super::hosts::{contains_word, has_public_suffix};

/// A name that a brand's mail is sent from or links to, and what it writes in display names and subdomains.
#[derive(Debug, Clone, Copy)]
pub struct Brand {
    /// The word by which people know it, in lower case.
    pub word: &'static str,
    /// The sites that are really its own.
    pub sites: &'static [&'static str],
}

impl Brand {
    /// The brand whose word stands in a text in lower case as a word of its own, and whose sites `site` is not one of.
    pub fn impersonated(text: &str, site: &str) -> Option<&'static Self> {
        BRANDS.iter().find(|brand| contains_word(text, brand.word) && !brand.owns(site))
    }

    /// Whether a site is the brand's own: listed, or the word itself under another public suffix (`paypal.de`).
    pub fn owns(&self, site: &str) -> bool {
        self.sites.contains(&site)
            || site.split('.').next().is_some_and(|label| self.is_spelled(label.as_bytes()))
                && has_public_suffix(site)
    }

    /// Whether that is the brand's word as it stands in host names: letters and digits alone.
    pub fn is_spelled(&self, label: &[u8]) -> bool {
        // The first letter rules out nearly all: every brand is held against every host.
        self.word.as_bytes().first() == label.first()
            && self.word.bytes().filter(u8::is_ascii_alphanumeric).eq(label.iter().copied())
    }
}

/// Whether a text may name a site of a brand: one has a dot with one of [`ENDS`] behind it. Cheap, because every path of every link is asked.
pub fn may_name_site(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'.', bytes).any(|dot| {
        let after = bytes.get(dot + 1..).unwrap_or_default();
        ENDS.iter().any(|end| after.get(..end.len()).is_some_and(|here| here.eq_ignore_ascii_case(end)))
    })
}

/// What stands behind a dot in every site of the table.
const ENDS: [&[u8]; 8] = [b"com", b"net", b"de", b"co.uk", b"us", b"io", b"gov", b"org"];

/// The brands that phishing names.
pub fn brands() -> &'static [Brand] {
    BRANDS
}

const fn brand(word: &'static str, sites: &'static [&'static str]) -> Brand {
    Brand { word, sites }
}

/// The table.
#[rustfmt::skip]
const BRANDS: &[Brand] = &[
    brand("paypal", &["paypal.com", "paypal-communication.com", "paypal-corp.com"]),
    brand("ebay", &["ebay.com", "ebaystatic.com", "ebay-inc.com"]),
    brand("amazon", &["amazon.com", "amazonaws.com", "amazonses.com", "media-amazon.com"]),
    brand("netflix", &["netflix.com"]),
    brand("apple id", &["apple.com"]),
    brand("icloud", &["icloud.com", "apple.com"]),
    brand("microsoft", &["microsoft.com", "microsoftonline.com", "office.com", "live.com", "msn.com", "outlook.com"]),
    brand("office 365", &["microsoft.com", "microsoftonline.com", "office.com"]),
    brand("facebook", &["facebook.com", "facebookmail.com", "fb.com", "meta.com"]),
    brand("instagram", &["instagram.com", "facebookmail.com"]),
    brand("whatsapp", &["whatsapp.com", "facebookmail.com"]),
    brand("linkedin", &["linkedin.com", "licdn.com"]),
    brand("dropbox", &["dropbox.com", "dropboxmail.com"]),
    brand("docusign", &["docusign.com", "docusign.net"]),
    brand("chase bank", &["chase.com"]),
    brand("wells fargo", &["wellsfargo.com"]),
    brand("bank of america", &["bankofamerica.com", "bofa.com"]),
    brand("bankofamerica", &["bankofamerica.com", "bofa.com"]),
    brand("citibank", &["citi.com", "citibank.com"]),
    brand("hsbc", &["hsbc.com", "hsbc.co.uk"]),
    brand("barclays", &["barclays.co.uk", "barclays.com"]),
    brand("santander", &["santander.com", "santander.co.uk"]),
    brand("american express", &["americanexpress.com", "aexp.com"]),
    brand("mastercard", &["mastercard.com", "mastercard.us"]),
    brand("western union", &["westernunion.com"]),
    brand("moneygram", &["moneygram.com"]),
    brand("coinbase", &["coinbase.com"]),
    brand("metamask", &["metamask.io"]),
    brand("binance", &["binance.com"]),
    brand("dhl", &["dhl.com", "dhl.de", "dpdhl.com"]),
    brand("fedex", &["fedex.com"]),
    brand("usps", &["usps.com", "usps.gov"]),
    brand("sparkasse", &["sparkasse.de"]),
    brand("volksbank", &["vr.de", "volksbank.de"]),
    brand("postbank", &["postbank.de"]),
    brand("commerzbank", &["commerzbank.de", "commerzbank.com"]),
    brand("spamhaus", &["spamhaus.org"]),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn every_site_is_one_that_a_text_may_name() {
        let sites = BRANDS.iter().flat_map(|brand| brand.sites);
        assert_eq!(sites.copied().find(|site| !may_name_site(&format!("/x/{site}/y"))), None);
        assert!(may_name_site("/WWW.PayPal.COM/") && !may_name_site("/a.html") && !may_name_site("/."));
    }

    #[test]
    fn a_word_is_spelled_without_blanks() {
        let brand = |word: &str| *BRANDS.iter().find(|brand| brand.word == word).unwrap();
        assert!(brand("wells fargo").is_spelled(b"wellsfargo") && !brand("wells fargo").is_spelled(b"wells"));
        assert!(!brand("paypal").is_spelled(b"paypals") && !brand("paypal").is_spelled(b""));
    }

    #[test]
    fn a_brand_owns_its_name_in_every_country() {
        assert!(Brand::impersonated("paypal service", "example.com").is_some());
        assert!(Brand::impersonated("paypal service", "paypal.de").is_none());
        assert!(Brand::impersonated("my paypals", "example.com").is_none());
    }
}
