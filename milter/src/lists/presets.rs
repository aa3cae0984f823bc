//! The lists: what each is asked about, what its answers mean, how it refuses. One const for each, all of them in [`LISTS`].
//!
//! For `plan` (what to ask), `answers` (what it means), `health` (whether to believe it) and the configuration, whose `on` and `off` have
//! the names as values. Which ones are asked by default is Rspamd's choice (`conf/modules.d/rbl.conf`), less those that need a registration
//! of whoever asks. Zones, codes, trials and terms are those that the operators publish, at the places that each const names; where no page
//! of the operator's with the codes could be read, the const says whose they are.

use super::answers::{Codes, Range};

/// A list.
#[derive(Debug)]
pub struct List {
    /// Its name in the configuration and the report.
    pub name: &'static str,
    /// Where it is asked.
    pub zone: &'static str,
    /// Where it is asked by those who have a key of Spamhaus's Data Query Service: what follows the key.
    pub keyed_zone: Option<&'static str>,
    /// What it is asked about.
    pub about: &'static [(Subject, Codes)],
    /// Answers that are no listing but a refusal, besides 127.255.255.0/24.
    pub refusals: &'static [[u8; 4]],
    /// What stands on it for trials (RFC 5782, 5), where its operator names such an entry; before the zone.
    pub entry: Option<&'static str>,
    /// What may stand on no list; before the zone.
    pub no_entry: &'static str,
    /// Whether it is asked unless `off` names it.
    pub by_default: bool,
    /// Whether it holds addresses beside names.
    pub holds_addresses: bool,
    /// Who may ask it for nothing.
    pub terms: &'static str,
}

/// What a list is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The client's address.
    Client,
    /// The addresses in `Received`, without those of logins.
    Hops,
    /// The registrable domains of URLs, and of From, Reply-To and MAIL FROM.
    Sites,
    /// The domains of DKIM signatures that passed.
    Signers,
    /// The mail addresses of From, Reply-To and MAIL FROM, and those in the text, as SHA-1.
    Mailboxes,
}

/// All lists.
pub const LISTS: &[&List] = &[
    &SPAMHAUS_ZEN,
    &SPAMHAUS_DBL,
    &DNSWL,
    &DNSWL_SIGNERS,
    &MAILSPIKE,
    &SURBL,
    &URIBL,
    &MSBL_EBL,
    &SPAMEATINGMONKEY,
    &SPAMEATINGMONKEY_URI,
    &BLOCKLIST_DE,
    &SPAMCOP,
    &BARRACUDA,
];

/// The list of that name.
pub fn find(name: &str) -> Option<&'static List> {
    LISTS.iter().copied().find(|list| list.name == name)
}

/// RFC 5782, 5.
const LOCALHOST: &str = "1.0.0.127";
/// RFC 5782, 5.
const TEST_ADDRESS: &str = "2.0.0.127";
/// RFC 5782, 5; RFC 2606, 2.
const INVALID: &str = "invalid";

/// 127.0.0.N.
const fn code(last: u8, symbol: &'static str) -> (Range, Range, &'static str) {
    ((0, 0), (last, last), symbol)
}

/// 127.0.0.N to 127.0.0.M.
const fn codes(from: u8, to: u8, symbol: &'static str) -> (Range, Range, &'static str) {
    ((0, 0), (from, to), symbol)
}

/// 127.0.1.N.
const fn name_code(last: u8, symbol: &'static str) -> (Range, Range, &'static str) {
    ((1, 1), (last, last), symbol)
}

/// 127.0.X.N with any X.
const fn any_code(last: u8, symbol: &'static str) -> (Range, Range, &'static str) {
    ((0, 255), (last, last), symbol)
}

const SPAMHAUS_TERMS: &str =
    "non-commercial, low volume, own resolver; others with a key of the Data Query Service";

/// docs.spamhaus.com, "Available Zones": SBL, CSS, XBL, PBL, DROP, BCL in one. 127.0.0.5 to 7 are XBL that is not used at present.
pub const SPAMHAUS_ZEN: List = List {
    name: "spamhaus-zen",
    zone: "zen.spamhaus.org",
    keyed_zone: Some("zen.dq.spamhaus.net"),
    about: &[
        (
            Subject::Client,
            Codes::Values(&[
                code(2, "RBL_SPAMHAUS_SBL"),
                code(3, "RBL_SPAMHAUS_CSS"),
                codes(4, 7, "RBL_SPAMHAUS_XBL"),
                code(9, "RBL_SPAMHAUS_DROP"),
                codes(10, 11, "RBL_SPAMHAUS_PBL"),
                code(30, "RBL_SPAMHAUS_BCL"),
            ]),
        ),
        (
            Subject::Hops,
            Codes::Values(&[
                code(2, "RECEIVED_SPAMHAUS_SBL"),
                code(3, "RECEIVED_SPAMHAUS_CSS"),
                codes(4, 7, "RECEIVED_SPAMHAUS_XBL"),
                code(9, "RECEIVED_SPAMHAUS_DROP"),
                codes(10, 11, "RECEIVED_SPAMHAUS_PBL"),
            ]),
        ),
    ],
    refusals: &[],
    entry: Some(TEST_ADDRESS),
    no_entry: LOCALHOST,
    by_default: true,
    holds_addresses: true,
    terms: SPAMHAUS_TERMS,
};

/// docs.spamhaus.com, "Available Zones": domains. It must not be asked about addresses (127.0.1.255).
pub const SPAMHAUS_DBL: List = List {
    name: "spamhaus-dbl",
    zone: "dbl.spamhaus.org",
    keyed_zone: Some("dbl.dq.spamhaus.net"),
    about: &[(
        Subject::Sites,
        Codes::Values(&[
            name_code(2, "DBL_SPAM"),
            name_code(4, "DBL_PHISH"),
            name_code(5, "DBL_MALWARE"),
            name_code(6, "DBL_BOTNET"),
            name_code(102, "DBL_ABUSE"),
            name_code(103, "DBL_ABUSE_REDIR"),
            name_code(104, "DBL_ABUSE_PHISH"),
            name_code(105, "DBL_ABUSE_MALWARE"),
            name_code(106, "DBL_ABUSE_BOTNET"),
        ]),
    )],
    refusals: &[],
    entry: Some("dbltest.com"),
    no_entry: INVALID,
    by_default: true,
    holds_addresses: false,
    terms: SPAMHAUS_TERMS,
};

/// dnswl.org: servers that send honest mail. 127.0.CATEGORY.TRUST; 255 for who asks too much ("Enforcement of dnswl.org access limits").
pub const DNSWL: List = List {
    name: "dnswl",
    zone: "list.dnswl.org",
    keyed_zone: None,
    about: &[(
        Subject::Client,
        Codes::Values(&[
            any_code(0, "RCVD_IN_DNSWL_NONE"),
            any_code(1, "RCVD_IN_DNSWL_LOW"),
            any_code(2, "RCVD_IN_DNSWL_MED"),
            any_code(3, "RCVD_IN_DNSWL_HI"),
        ]),
    )],
    refusals: &[[127, 0, 0, 255], [127, 0, 10, 255]],
    entry: Some(TEST_ADDRESS),
    no_entry: LOCALHOST,
    by_default: true,
    holds_addresses: true,
    terms: "non-commercial, fewer than 100,000 questions a day",
};

/// The same for domains that sign.
pub const DNSWL_SIGNERS: List = List {
    name: "dnswl-signers",
    zone: "dwl.dnswl.org",
    keyed_zone: None,
    about: &[(
        Subject::Signers,
        Codes::Values(&[
            any_code(0, "DWL_DNSWL_NONE"),
            any_code(1, "DWL_DNSWL_LOW"),
            any_code(2, "DWL_DNSWL_MED"),
            any_code(3, "DWL_DNSWL_HI"),
        ]),
    )],
    refusals: &[[127, 0, 0, 255], [127, 0, 10, 255]],
    entry: None,
    no_entry: INVALID,
    by_default: true,
    holds_addresses: false,
    terms: "as dnswl",
};

/// mailspike.org/usage.html: reputation, good and bad. The codes are those of Rspamd 3.4 (`modules.d/rbl.conf`).
pub const MAILSPIKE: List = List {
    name: "mailspike",
    zone: "rep.mailspike.net",
    keyed_zone: None,
    about: &[(
        Subject::Client,
        Codes::Values(&[
            code(10, "RBL_MAILSPIKE_WORST"),
            code(11, "RBL_MAILSPIKE_VERYBAD"),
            code(12, "RBL_MAILSPIKE_BAD"),
            code(17, "RWL_MAILSPIKE_POSSIBLE"),
            code(18, "RWL_MAILSPIKE_GOOD"),
            code(19, "RWL_MAILSPIKE_VERYGOOD"),
            code(20, "RWL_MAILSPIKE_EXCELLENT"),
        ]),
    )],
    refusals: &[],
    entry: None,
    no_entry: LOCALHOST,
    by_default: true,
    holds_addresses: true,
    terms: "up to 100,000 messages and as many questions a day",
};

/// surbl.org/lists: sites in URLs; bits of the last octet, "octets other than the first and last one … should be ignored".
pub const SURBL: List = List {
    name: "surbl",
    zone: "multi.surbl.org",
    keyed_zone: None,
    about: &[(
        Subject::Sites,
        Codes::Bits(&[
            (8, "PH_SURBL_MULTI"),
            (16, "MW_SURBL_MULTI"),
            (64, "ABUSE_SURBL"),
            (128, "CRACKED_SURBL"),
        ]),
    )],
    refusals: &[[127, 0, 0, 1]],
    entry: Some("test.surbl.org"),
    no_entry: INVALID,
    by_default: true,
    holds_addresses: true,
    terms: "fewer than 1,000 users or 250,000 messages a day; not within products or services that are sold",
};

/// uribl.com: sites in URLs; bits of the last octet, of which 1 is a refusal (uribl.com/refused.shtml).
pub const URIBL: List = List {
    name: "uribl",
    zone: "multi.uribl.com",
    keyed_zone: None,
    about: &[(Subject::Sites, Codes::Bits(&[(2, "URIBL_BLACK"), (4, "URIBL_GREY"), (8, "URIBL_RED")]))],
    refusals: &[[127, 0, 0, 1]],
    entry: Some("test.uribl.com"),
    no_entry: INVALID,
    by_default: true,
    holds_addresses: true,
    terms: "low volume, own resolver",
};

/// msbl.org/ebl-design.html: mail addresses that fraud has answers sent to, in the header or the text. The codes are those of Rspamd 3.4 and
/// Stalwart. Rspamd asks about Reply-To and the text; we also about From and MAIL FROM, where such addresses stand as well.
pub const MSBL_EBL: List = List {
    name: "msbl-ebl",
    zone: "ebl.msbl.org",
    keyed_zone: None,
    about: &[(
        Subject::Mailboxes,
        Codes::Values(&[
            codes(2, 3, "MSBL_EBL"),
            name_code(2, "MSBL_EBL_GREY"),
            name_code(3, "MSBL_EBL_GREY"),
        ]),
    )],
    refusals: &[],
    entry: None,
    no_entry: INVALID,
    by_default: true,
    holds_addresses: false,
    terms: "free up to some volume; larger ones ask the operator",
};

/// spameatingmonkey.com/lists.html and faq.html: addresses.
pub const SPAMEATINGMONKEY: List = List {
    name: "spameatingmonkey",
    zone: "bl.spameatingmonkey.net",
    keyed_zone: None,
    about: &[(Subject::Client, Codes::Values(&[codes(2, 3, "RBL_SEM")]))],
    refusals: &[],
    entry: Some(TEST_ADDRESS),
    no_entry: LOCALHOST,
    by_default: true,
    holds_addresses: true,
    terms: "up to 100,000 questions a day and 5 a second",
};

/// The same: sites in URLs. Its operator names the two entries for trials (faq.html, "testpoints").
pub const SPAMEATINGMONKEY_URI: List = List {
    name: "spameatingmonkey-uri",
    zone: "uribl.spameatingmonkey.net",
    keyed_zone: None,
    about: &[(Subject::Sites, Codes::Values(&[codes(2, 3, "SEM_URIBL")]))],
    refusals: &[],
    entry: Some("_DNSBL_.test"),
    no_entry: "_DNSBLNEG_.test",
    by_default: true,
    holds_addresses: false,
    terms: "as spameatingmonkey",
};

/// blocklist.de: addresses that attack servers. It answers a code for each kind of attack, and Rspamd 3.4 takes any answer; here it is one of
/// 127.0.0.2 to 127.0.0.21, because what answers with anything else is no list any more.
pub const BLOCKLIST_DE: List = List {
    name: "blocklist-de",
    zone: "bl.blocklist.de",
    keyed_zone: None,
    about: &[
        (Subject::Client, Codes::Values(&[codes(2, 21, "RBL_BLOCKLISTDE")])),
        (Subject::Hops, Codes::Values(&[codes(2, 21, "RECEIVED_BLOCKLISTDE")])),
    ],
    refusals: &[],
    entry: Some(TEST_ADDRESS),
    no_entry: LOCALHOST,
    by_default: true,
    holds_addresses: true,
    terms: "free",
};

/// spamcop.net/bl.shtml: addresses that its users reported.
pub const SPAMCOP: List = List {
    name: "spamcop",
    zone: "bl.spamcop.net",
    keyed_zone: None,
    about: &[(Subject::Client, Codes::Values(&[code(2, "RBL_SPAMCOP")]))],
    refusals: &[],
    entry: Some(TEST_ADDRESS),
    no_entry: LOCALHOST,
    by_default: false,
    holds_addresses: true,
    terms: "free; its operator advises to mark by it, not to refuse",
};

/// barracudacentral.org/rbl: addresses.
pub const BARRACUDA: List = List {
    name: "barracuda",
    zone: "b.barracudacentral.org",
    keyed_zone: None,
    about: &[(Subject::Client, Codes::Values(&[code(2, "RBL_BARRACUDA")]))],
    refusals: &[],
    entry: Some(TEST_ADDRESS),
    no_entry: LOCALHOST,
    by_default: false,
    holds_addresses: true,
    terms: "free after registering the address of the resolver",
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::rules::{self, Check};

    #[test]
    fn every_code_is_a_rule_and_every_rule_has_a_code() {
        let mut symbols = std::collections::BTreeSet::new();
        for list in LISTS {
            for symbol in list.about.iter().flat_map(|(_, codes)| codes.symbols()) {
                symbols.insert(symbol);
                let rule =
                    rules::find(symbol).unwrap_or_else(|| panic!("{}: {symbol} is no rule", list.name));
                assert!(matches!(rule.check, Check::Listed), "{symbol}");
            }
            assert!(!list.terms.is_empty() && !list.about.is_empty());
        }
        for rule in rules::RULES.iter().filter(|rule| matches!(rule.check, Check::Listed)) {
            assert!(symbols.contains(rule.symbol), "nothing says {}", rule.symbol);
        }
    }
}
