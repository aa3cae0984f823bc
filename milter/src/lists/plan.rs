//! Which names are asked of which lists for one message. Pure: facts in, questions out.
//!
//! Each name stands in the plan once, whatever it is asked for. A list is asked about at most [`Limits::names`] sites of a message, those
//! that a click leads to first; five hops; five mailboxes of the header and five of the text; five signers. So a message costs at most
//! (lists of sites × names + 50) questions, and what a stranger writes cannot make it more.
//!
//! Domains are asked for as what somebody can register (Public Suffix List, private part included: `evil.github.io` is a site), which is
//! how SURBL, URIBL and DBL are kept and how Rspamd asks them. The list comes compiled in with the crate `psl`, which `facts` needs
//! anyway; DMARC's tree walk would cost a question for each label and say nothing of free hosters.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use gatepost::dns::lists::reversed;

use super::presets::{List, Subject};
use crate::facts::urls::Origin;
use crate::facts::{Facts, hosts};

/// How much is asked about one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sites that one list of sites is asked about.
    pub names: usize,
}

/// One question: a name, before its zone, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Which of the lists that were given.
    pub list: usize,
    /// The name, without the zone.
    pub name: Arc<str>,
    /// Why it is asked, with the words for the report.
    pub about: (Subject, Arc<str>),
    /// What else the same name is asked for.
    pub also: Vec<(Subject, Arc<str>)>,
}

impl Question {
    /// The words for the report, if it is asked for that.
    pub fn words(&self, subject: Subject) -> Option<&str> {
        let mut all = std::iter::once(&self.about).chain(&self.also);
        all.find(|(known, _)| *known == subject).map(|(_, words)| &**words)
    }
}

/// What is asked before the signatures are verified.
pub fn plan(facts: &Facts, lists: &[&'static List], limits: Limits) -> Vec<Question> {
    let mut plan = Plan::default();
    let client = facts.envelope.client_address.map(|address| address.to_canonical());
    let client = client.filter(|address| hosts::is_public(*address));
    // What is asked for is the same for each list.
    let hops: Vec<Asked> = hops(facts, client).into_iter().map(Asked::address).collect();
    let client = client.map(Asked::address);
    let sites: Vec<(Asked, bool)> = sites(facts, limits.names)
        .into_iter()
        .map(|site| match site {
            Site::Name(name) => (Asked::itself(&name), false),
            Site::Address(address) => (Asked::address(address.into()), true),
        })
        .collect();
    let mailboxes = mailboxes(facts).into_iter();
    let mailboxes: Vec<Asked> =
        mailboxes.map(|words| Asked { name: hashed(&words).into(), words: words.into() }).collect();
    for (at, list) in lists.iter().enumerate() {
        plan.begin(list.about.len() > 1);
        for (subject, _) in list.about {
            match subject {
                Subject::Client => plan.ask_all(at, client.iter(), *subject),
                Subject::Hops => plan.ask_all(at, hops.iter(), *subject),
                Subject::Sites => {
                    let held = sites.iter().filter(|(_, is_address)| list.holds_addresses || !is_address);
                    plan.ask_all(at, held.map(|(site, _)| site), *subject);
                }
                Subject::Mailboxes => plan.ask_all(at, mailboxes.iter(), *subject),
                Subject::Signers => {}
            }
        }
    }
    plan.questions
}

/// A name, and the words for the report.
struct Asked {
    name: Arc<str>,
    words: Arc<str>,
}

impl Asked {
    fn address(address: IpAddr) -> Self {
        Self { name: name_of(address).into(), words: address.to_string().into() }
    }

    fn itself(name: &str) -> Self {
        let name = Arc::<str>::from(name);
        Self { words: Arc::clone(&name), name }
    }
}

/// What is asked when it is known which signatures passed.
pub fn plan_signers(passed: &[&str], lists: &[&'static List]) -> Vec<Question> {
    let mut plan = Plan::default();
    for (at, list) in lists.iter().enumerate() {
        if list.about.iter().any(|(subject, _)| *subject == Subject::Signers) {
            plan.begin(true);
            for domain in passed.iter().take(MAX_FEW) {
                let domain = hosts::canonical(domain);
                if hosts::has_public_suffix(&domain) {
                    plan.ask(at, &Asked::itself(&domain), Subject::Signers);
                }
            }
        }
    }
    plan.questions
}

#[derive(Default)]
struct Plan {
    questions: Vec<Question>,
    /// Which names one list is asked for already; none where each is asked for once in any case, because it is about one subject.
    known: Option<HashMap<Arc<str>, usize>>,
}

impl Plan {
    /// What comes is asked of another list.
    fn begin(&mut self, may_repeat: bool) {
        self.known = may_repeat.then(HashMap::new);
    }

    fn ask_all<'a>(&mut self, list: usize, all: impl Iterator<Item = &'a Asked>, subject: Subject) {
        for asked in all {
            self.ask(list, asked, subject);
        }
    }

    fn ask(&mut self, list: usize, asked: &Asked, subject: Subject) {
        let about = (subject, Arc::clone(&asked.words));
        let known = self.known.as_ref().and_then(|known| known.get(&asked.name));
        if let Some(question) = known.and_then(|at| self.questions.get_mut(*at)) {
            if question.words(subject).is_none() {
                question.also.push(about);
            }
            return;
        }
        let name = Arc::clone(&asked.name);
        if let Some(known) = &mut self.known {
            known.insert(Arc::clone(&name), self.questions.len());
        }
        self.questions.push(Question { list, name, about, also: Vec::new() });
    }
}

/// What stands for a site.
enum Site {
    Name(String),
    Address(Ipv4Addr),
}

/// The sites of a message in the order of their weight: links, then other URLs, then who writes.
fn sites(facts: &Facts, limit: usize) -> Vec<Site> {
    let own: HashSet<&str> =
        facts.envelope.recipients.iter().map(|recipient| hosts::site(recipient.domain().as_str())).collect();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut sites = Vec::new();
    let clicked = facts.urls.iter().filter(|url| url.is_clickable());
    // Who writes of `evil[.]example` mostly warns of it.
    let other = facts.urls.iter().filter(|url| !url.is_clickable() && url.origin != Origin::Disguised);
    for url in clicked.chain(other) {
        if sites.len() >= limit {
            return sites;
        }
        match url.address {
            Some(IpAddr::V4(address)) if hosts::is_public(address.into()) && seen.insert(&url.site) => {
                sites.push(Site::Address(address));
            }
            None if asked_about(&url.site, &own) && seen.insert(&url.site) => {
                sites.push(Site::Name(url.site.clone()));
            }
            _ => {}
        }
    }
    let envelope = facts.envelope.sender.as_ref().map(|sender| hosts::site(sender.domain().as_str()));
    let people = facts.people.from.iter().take(1).chain(facts.people.reply_to.iter().take(1));
    for site in people.map(|mailbox| mailbox.site.as_str()).chain(envelope) {
        if sites.len() < limit && asked_about(site, &own) && seen.insert(site) {
            sites.push(Site::Name(site.to_owned()));
        }
    }
    sites
}

/// Names that somebody could have registered, other than the recipients' own and those that stand in everybody's mail.
fn asked_about(site: &str, own: &HashSet<&str>) -> bool {
    hosts::has_public_suffix(site)
        && site.len() <= MAX_SITE
        && site.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
        && !own.contains(site)
        && EVERYWHERE.binary_search(&site).is_err()
}

/// Where the mail came through before its last hop. Whoever logged in may sit at home, where every address is on some list.
fn hops(facts: &Facts, client: Option<IpAddr>) -> Vec<IpAddr> {
    let mut seen = HashSet::new();
    facts
        .headers
        .received
        .iter()
        .filter(|hop| !hop.login)
        .filter_map(|hop| hop.address)
        .map(|address| address.to_canonical())
        .filter(|address| hosts::is_public(*address) && Some(*address) != client && seen.insert(*address))
        .take(MAX_FEW)
        .collect()
}

/// Who writes, and where answers go: by the header, and by what stands in the text.
fn mailboxes(facts: &Facts) -> Vec<String> {
    let mut seen = HashSet::new();
    let named = facts.people.from.iter().chain(&facts.people.reply_to);
    let named = named.filter(|mailbox| mailbox.is_address()).map(|mailbox| mailbox.address.clone());
    let envelope = facts.envelope.sender.iter().map(|sender| sender.to_string().to_lowercase());
    let mut new = |address: &String| seen.insert(address.clone());
    let mut mailboxes: Vec<String> =
        named.chain(envelope).map(|address| plain(&address)).filter(&mut new).take(MAX_FEW).collect();
    // Those of the recipients' domains are quoted, or greeted.
    let own = |address: &str| {
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        facts.envelope.recipients.iter().any(|recipient| recipient.domain().as_str() == domain)
    };
    let written = facts.addresses.iter().filter(|address| !own(address)).map(|address| plain(address));
    mailboxes.extend(written.filter(&mut new).take(MAX_FEW));
    mailboxes
}

/// The address as MSBL hashes it (msbl.org/ebl-implementation.html): lower case, no `+extension`, and Gmail's without dots.
fn plain(address: &str) -> String {
    let Some((local, domain)) = address.rsplit_once('@') else { return address.to_owned() };
    let local = local.split_once('+').map_or(local, |(local, _)| local);
    match domain {
        "gmail.com" | "googlemail.com" => format!("{}@gmail.com", local.replace('.', "")),
        _ => format!("{local}@{domain}"),
    }
}

/// The name of an address in a list of hashes.
fn hashed(address: &str) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, address.as_bytes());
    let digits = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn name_of(address: IpAddr) -> String {
    let name = reversed(address, "");
    name.trim_end_matches('.').to_owned()
}

/// Hops, mailboxes of the header, those of the text, and signers of one message.
const MAX_FEW: usize = 5;

/// What leaves room for the longest zone in the 253 bytes of a name, key included.
const MAX_SITE: usize = 180;

/// Sites that honest and other mail link to alike: standards, licences, fonts, big providers. No list could say anything of them; the
/// lists' operators ask that nobody asks (surbl.org, "implementation guidelines"). Sorted.
#[rustfmt::skip]
const EVERYWHERE: &[&str] = &[
    "adobe.com", "akamaihd.net", "amazon.com", "aol.com", "apache.org", "apple.com", "bing.com",
    "debian.org", "facebook.com", "fbcdn.net", "github.com", "gmail.com", "gmx.de", "gmx.net", "gnu.org",
    "google.com", "googleapis.com", "gstatic.com", "hotmail.com", "icloud.com", "ietf.org", "instagram.com",
    "kernel.org", "linkedin.com", "live.com", "mail.ru", "microsoft.com", "mozilla.org", "msn.com",
    "office.com", "outlook.com", "paypal.com", "pinterest.com", "purl.org", "python.org", "sourceforge.net",
    "t.me", "twitter.com", "w3.org", "web.de", "whatsapp.com", "wikipedia.org", "x.com", "yahoo.com",
    "yandex.ru", "youtube.com",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::authentication::Authentication;
    use crate::lists::presets::{DNSWL, DNSWL_SIGNERS, MSBL_EBL, SPAMHAUS_DBL, SPAMHAUS_ZEN, SURBL};
    use crate::message::{Direction, Envelope, Message};

    fn facts(eml: &str, client: &str) -> Facts {
        let mut envelope = Envelope::new(Direction::Inbound);
        envelope.client_address = client.parse().ok();
        Facts::gather(&Message::from_eml(eml.as_bytes()), &envelope, &Authentication::not_asked())
    }

    fn names(eml: &str, client: &str, list: &'static List, limit: usize) -> Vec<String> {
        let questions = plan(&facts(eml, client), &[list], Limits { names: limit });
        questions.into_iter().map(|question| question.name.to_string()).collect()
    }

    #[test]
    fn the_list_that_is_searched_is_sorted() {
        let mut sorted = EVERYWHERE.to_vec();
        sorted.sort_unstable();
        assert_eq!(EVERYWHERE, sorted);
    }

    #[test]
    fn addresses_are_those_that_can_be_reached() {
        let eml = "Received: from a (a [203.0.113.5]) by b with ESMTP; Sat, 21 Nov 2026 10:00:00 +0000\n\
            Received: from me (me [203.0.113.6]) by a with ESMTPSA id x; Sat, 21 Nov 2026 10:00:00 +0000\n\
            Received: from c (c [10.0.0.1]) by a with ESMTP; Sat, 21 Nov 2026 10:00:00 +0000\n\
            Received: from d (d [192.0.2.1]) by a with ESMTP; Sat, 21 Nov 2026 10:00:00 +0000\n\nx\n";
        assert_eq!(names(eml, "192.0.2.1", &SPAMHAUS_ZEN, 20), ["1.2.0.192", "5.113.0.203"]);
        assert_eq!(names(eml, "10.0.0.2", &DNSWL, 20), [""; 0]);
        assert_eq!(names("\nx\n", "2001:db8::1", &DNSWL, 20)[0].len(), 63);
        assert_eq!(names("\nx\n", "::ffff:192.0.2.1", &DNSWL, 20), ["1.2.0.192"]);
    }

    #[test]
    fn each_site_is_asked_for_once_and_not_all_of_them() {
        let eml = "From: a@mail.sender.co.uk\n\nhttp://a.evil.com/ http://b.evil.com/1 http://www.w3.org/ http://203.0.113.9/x\n\
            http://10.0.0.1/ http://localhost/ http://good.github.io/ http://192.0.2.300/\n";
        assert_eq!(names(eml, "", &SURBL, 20), ["evil.com", "9.113.0.203", "good.github.io", "sender.co.uk"]);
        assert_eq!(names(eml, "", &SPAMHAUS_DBL, 20), ["evil.com", "good.github.io", "sender.co.uk"]);
        assert_eq!(names(eml, "", &SURBL, 1), ["evil.com"]);
        let many: String = (0..900).map(|n| format!("http://x{n}.com/\n")).collect();
        assert_eq!(names(&format!("\n{many}"), "", &SURBL, 20).len(), 20);
    }

    #[test]
    fn mailboxes_are_hashed_as_the_list_does() {
        // sha1sum of "noemail@gmail.com".
        let eml = "From: No.Email+x@GoogleMail.com\nReply-To: noemail@gmail.com\n\nx\n";
        assert_eq!(names(eml, "", &MSBL_EBL, 20), [hashed("noemail@gmail.com")]);
        assert_eq!(hashed("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let many: String = (0..9).map(|number| format!(" u{number}@sender.com")).collect();
        let eml = format!("From: ann@sender.com\n\nAnswer noemail@gmail.com or No.Email@gmail.com,{many}\n");
        let expected = [
            "ann@sender.com",
            "noemail@gmail.com",
            "u0@sender.com",
            "u1@sender.com",
            "u2@sender.com",
            "u3@sender.com",
        ];
        assert_eq!(names(&eml, "", &MSBL_EBL, 20), expected.map(hashed));
    }

    #[test]
    fn signers_are_asked_for_when_they_are_known() {
        let lists: &[&'static List] = &[&DNSWL, &DNSWL_SIGNERS];
        let questions = plan_signers(&["Example.COM", "localhost"], lists);
        assert_eq!(questions.iter().map(|q| (q.list, &*q.name)).collect::<Vec<_>>(), [(1, "example.com")]);
    }
}
