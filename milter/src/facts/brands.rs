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
        let compact: String = self.word.chars().filter(char::is_ascii_alphanumeric).collect();
        self.sites.contains(&site)
            || site.split('.').next() == Some(compact.as_str()) && has_public_suffix(site)
    }
}

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
    fn a_brand_owns_its_name_in_every_country() {
        assert!(Brand::impersonated("paypal service", "example.com").is_some());
        assert!(Brand::impersonated("paypal service", "paypal.de").is_none());
        assert!(Brand::impersonated("my paypals", "example.com").is_none());
    }
}
