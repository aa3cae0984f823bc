//! Groups `rbl` and `surbl`: what lists in DNS say of the client and of what stands in the message, and what the antivirus found.
//!
//! The symbols stand in `lists::presets`, beside the answers that mean them; here is what they are worth: Rspamd's weights
//! (`conf/scores.d/rbl_group.conf`, `surbl_group.conf`).

use super::{Check, Decision, Evidence, Group, Rule};

/// The groups' table.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    address("RBL_SPAMHAUS_SBL", 4.0, "the client is on Spamhaus's SBL", "an address that is under the control of spammers"),
    address("RBL_SPAMHAUS_CSS", 2.0, "the client is on Spamhaus's CSS", "an address that sends like a snowshoe spammer or a broken-into host"),
    address("RBL_SPAMHAUS_XBL", 4.0, "the client is on Spamhaus's XBL", "a computer that was broken into, or an open proxy"),
    address("RBL_SPAMHAUS_PBL", 2.0, "the client is on Spamhaus's PBL", "an address of end users, whose provider says that it sends no mail itself"),
    address("RBL_SPAMHAUS_DROP", 7.0, "the client is on Spamhaus's DROP", "a network that was hijacked or leased by criminals"),
    address("RBL_SPAMHAUS_BCL", 4.0, "the client is on Spamhaus's BCL", "an address from which a botnet is commanded, and nothing honest comes"),
    address("RECEIVED_SPAMHAUS_SBL", 3.0, "a hop is on Spamhaus's SBL", "the mail came from an address that is under the control of spammers"),
    address("RECEIVED_SPAMHAUS_CSS", 1.0, "a hop is on Spamhaus's CSS", "the mail came from an address that sends like a snowshoe spammer"),
    address("RECEIVED_SPAMHAUS_XBL", 1.0, "a hop is on Spamhaus's XBL", "the mail came from a computer that was broken into"),
    address("RECEIVED_SPAMHAUS_PBL", 0.0, "a hop is on Spamhaus's PBL", "the mail came from an address of end users, as most mail does"),
    address("RECEIVED_SPAMHAUS_DROP", 6.0, "a hop is on Spamhaus's DROP", "the mail came from a network of criminals"),
    address("RBL_MAILSPIKE_WORST", 2.0, "the client has the worst reputation at Mailspike", "seen sending nothing but spam, by many receivers"),
    address("RBL_MAILSPIKE_VERYBAD", 1.5, "the client has a very bad reputation at Mailspike", "seen sending mostly spam, by many receivers"),
    address("RBL_MAILSPIKE_BAD", 1.0, "the client has a bad reputation at Mailspike", "seen sending much spam, by many receivers"),
    address("RWL_MAILSPIKE_POSSIBLE", 0.0, "the client may be honest, says Mailspike", "seen sending little spam, by many receivers"),
    address("RWL_MAILSPIKE_GOOD", -0.1, "the client has a good reputation at Mailspike", "seen sending honest mail, by many receivers"),
    address("RWL_MAILSPIKE_VERYGOOD", -0.2, "the client has a very good reputation at Mailspike", "seen sending honest mail, by many receivers"),
    address("RWL_MAILSPIKE_EXCELLENT", -0.4, "the client has an excellent reputation at Mailspike", "seen sending nothing but honest mail, by many receivers"),
    address("RCVD_IN_DNSWL_NONE", 0.0, "the client is on DNSWL, without trust", "a known mail server that sends spam as well"),
    address("RCVD_IN_DNSWL_LOW", -0.1, "the client is on DNSWL, with little trust", "a known mail server that sends spam now and then"),
    address("RCVD_IN_DNSWL_MED", -0.2, "the client is on DNSWL, with some trust", "a known mail server that rarely sends spam"),
    address("RCVD_IN_DNSWL_HI", -0.5, "the client is on DNSWL, with high trust", "a known mail server that never sends spam"),
    address("DWL_DNSWL_NONE", 0.0, "a signer is on DNSWL, without trust", "a known domain that signs spam as well"),
    address("DWL_DNSWL_LOW", -1.0, "a signer is on DNSWL, with little trust", "a known domain, proved by DKIM, that signs spam now and then"),
    address("DWL_DNSWL_MED", -2.0, "a signer is on DNSWL, with some trust", "a known domain, proved by DKIM, that rarely signs spam"),
    address("DWL_DNSWL_HI", -3.5, "a signer is on DNSWL, with high trust", "a known domain, proved by DKIM, that never signs spam"),
    address("RBL_SEM", 1.0, "the client is on SpamEatingMonkey's list", "sent spam to traps within the last days"),
    address("RBL_BLOCKLISTDE", 4.0, "the client is on blocklist.de", "attacked servers within the last days"),
    address("RECEIVED_BLOCKLISTDE", 3.0, "a hop is on blocklist.de", "the mail came from an address that attacked servers"),
    address("RBL_SPAMCOP", 4.0, "the client is on SpamCop's list", "reported by its users within the last day (Stalwart: 4)"),
    address("RBL_BARRACUDA", 4.0, "the client is on Barracuda's list", "seen sending spam by Barracuda's filters (Stalwart: 4)"),
    name("DBL_SPAM", 6.5, "a domain is on Spamhaus's DBL for spam", "a domain that belongs to spammers"),
    name("DBL_PHISH", 7.5, "a domain is on Spamhaus's DBL for phishing", "a domain that was registered for phishing"),
    name("DBL_MALWARE", 7.5, "a domain is on Spamhaus's DBL for malware", "a domain that was registered to spread malware"),
    name("DBL_BOTNET", 7.5, "a domain is on Spamhaus's DBL for a botnet", "a domain from which a botnet is commanded"),
    name("DBL_ABUSE", 5.0, "an abused domain is on Spamhaus's DBL for spam", "an honest domain that was broken into, in spam"),
    name("DBL_ABUSE_REDIR", 5.0, "an abused redirector is on Spamhaus's DBL", "an honest redirector in spam"),
    name("DBL_ABUSE_PHISH", 6.5, "an abused domain is on Spamhaus's DBL for phishing", "an honest domain that was broken into, with phishing"),
    name("DBL_ABUSE_MALWARE", 6.5, "an abused domain is on Spamhaus's DBL for malware", "an honest domain that was broken into, with malware"),
    name("DBL_ABUSE_BOTNET", 6.5, "an abused domain is on Spamhaus's DBL for a botnet", "an honest domain that was broken into, commanding a botnet"),
    name("PH_SURBL_MULTI", 7.5, "a site is on SURBL for phishing", "a site that phishing leads to"),
    name("MW_SURBL_MULTI", 7.5, "a site is on SURBL for malware", "a site that spreads malware"),
    name("ABUSE_SURBL", 5.0, "a site is on SURBL for spam", "a site that spam leads to"),
    name("CRACKED_SURBL", 5.0, "a site is on SURBL as broken into", "an honest site that was broken into"),
    name("URIBL_BLACK", 7.5, "a site is on URIBL's black list", "a site that spam leads to"),
    name("URIBL_GREY", 2.5, "a site is on URIBL's grey list", "a site that mail without consent leads to"),
    name("URIBL_RED", 0.5, "a site is on URIBL's red list", "a young site in spam, listed by machine"),
    name("SEM_URIBL", 3.5, "a site is on SpamEatingMonkey's list", "a site in mail to spam traps"),
    name("MSBL_EBL", 7.5, "a mail address is on MSBL's list", "a mailbox that fraud has answers sent to"),
    name("MSBL_EBL_GREY", 0.5, "a mail address is on MSBL's grey list", "a mailbox that mail without consent has answers sent to"),
    CLAM_VIRUS,
];

const fn address(symbol: &'static str, weight: f64, summary: &'static str, why: &'static str) -> Rule {
    Rule { symbol, group: Group::AddressLists, weight, summary, why, check: Check::Listed }
}

const fn name(symbol: &'static str, weight: f64, summary: &'static str, why: &'static str) -> Rule {
    Rule { symbol, group: Group::NameLists, weight, summary, why, check: Check::Listed }
}

/// A virus.
pub const CLAM_VIRUS: Rule = Rule {
    symbol: "CLAM_VIRUS",
    group: Group::Antivirus,
    weight: 0.0,
    summary: "ClamAV found a virus; decides alone",
    why: "an infected message is refused whatever else speaks for it; the evidence is the signature's name",
    check: Check::Decides(
        |facts| facts.infection.as_ref().map(Evidence::new),
        Decision::Reject(crate::antivirus::INFECTED),
    ),
};
