//! Group `text`: what the words say. The phrases of each theme are in `facts::themes`; how many different ones it takes is decided here.

use super::{Check, Decision, Evidence, Group, Rule, when};
use crate::facts::Facts;
use crate::facts::headers::{is_answer, is_list};
use crate::facts::kinds::{self, Kind};
use crate::facts::parts::Part;
use crate::facts::phrases::Theme;
use crate::facts::scripts;
use crate::facts::text::Gtube;

/// The group's table.
pub const RULES: &[Rule] = &[
    GTUBE,
    GTUBE_ADD_HEADER,
    ADVANCE_FEE,
    LOTTERY,
    LEAKED_PASSWORD_SCAM,
    BITCOIN_ADDR,
    PHARMACY,
    LOANS,
    EASY_MONEY,
    STOCK_TIP,
    ADULT,
    GOODS,
    BULK_TALK,
    BULK_TALK_LIST,
    MARKETING_TALK,
    PRETEXT_ATTACHMENT,
    COLD_OFFER,
    FORM_COPY,
    ASKS_FOR_DETAILS,
    CLICK_TALK,
    IMPERSONAL_GREETING,
    R_MIXED_CHARSET,
    TEXT_INVISIBLE_CHARACTERS,
    TEXT_STYLED_LETTERS,
    TEXT_GAPPY,
    TEXT_ALL_CAPS,
    TEXT_EXCLAIMS,
    TEXT_BLANK_LINES,
    HFILTER_URL_ONLY,
    HFILTER_URL_ONELINE,
    EMPTY_BODY,
];

/// The test message.
pub const GTUBE: Rule = Rule {
    symbol: "GTUBE",
    group: Group::Text,
    weight: 0.0,
    summary: "the test pattern that every filter refuses",
    why: "spamassassin.apache.org/gtube: for trying out a filter without real spam; it decides alone",
    check: Check::Decides(
        |facts| when(facts.text.gtube == Some(Gtube::Reject)),
        Decision::Reject("Gtube pattern"),
    ),
};

/// The test message for marking.
pub const GTUBE_ADD_HEADER: Rule = Rule {
    symbol: "GTUBE_ADD_HEADER",
    group: Group::Text,
    weight: 0.0,
    summary: "the test pattern that marks a message",
    why: "Rspamd's variant of GTUBE, beginning with Y: for trying out Sieve scripts; it decides alone",
    check: Check::Decides(|facts| when(facts.text.gtube == Some(Gtube::AddHeader)), Decision::AddHeader),
};

/// Millions abroad.
pub const ADVANCE_FEE: Rule = Rule {
    symbol: "ADVANCE_FEE",
    group: Group::Text,
    weight: 7.5,
    summary: "somebody's millions need your help",
    why: "the Nigerian letter: from three phrases on, all points at eight",
    check: Check::Facts(|facts| theme(facts, Theme::AdvanceFee, 3, 8)),
};

/// A prize.
pub const LOTTERY: Rule = Rule {
    symbol: "LOTTERY",
    group: Group::Text,
    weight: 4.1,
    summary: "you have won",
    why: "a lottery nobody took part in: from three phrases on, all points at six",
    check: Check::Facts(|facts| theme(facts, Theme::Lottery, 3, 6)),
};

/// Extortion.
pub const LEAKED_PASSWORD_SCAM: Rule = Rule {
    symbol: "LEAKED_PASSWORD_SCAM",
    group: Group::Text,
    weight: 7.5,
    summary: "extortion: a bitcoin address and a threat",
    why: "a valid address (its checksum is verified) and two phrases of the threat",
    check: Check::Facts(|facts| {
        let address = facts.text.bitcoin.as_deref()?;
        (facts.text.count(Theme::Extortion) >= 2).then(|| Evidence::new(address))
    }),
};

/// A bitcoin address.
pub const BITCOIN_ADDR: Rule = Rule {
    symbol: "BITCOIN_ADDR",
    group: Group::Text,
    weight: 0.5,
    summary: "a bitcoin address in the text",
    why: "people pay otherwise, extortioners do not",
    check: Check::Facts(|facts| facts.text.bitcoin.as_deref().map(Evidence::new)),
};

/// Pills.
pub const PHARMACY: Rule = Rule {
    symbol: "PHARMACY",
    group: Group::Text,
    weight: 5.4,
    summary: "sells pills",
    why: "from two phrases on, all points at five",
    check: Check::Facts(|facts| theme(facts, Theme::Pharmacy, 2, 5)),
};

/// Loans.
pub const LOANS: Rule = Rule {
    symbol: "LOANS",
    group: Group::Text,
    weight: 4.4,
    summary: "sells loans or insurance",
    why: "from three phrases on, all points at seven; banks write so to their customers too",
    check: Check::Facts(|facts| theme(facts, Theme::Loans, 3, 7)),
};

/// Easy money.
pub const EASY_MONEY: Rule = Rule {
    symbol: "EASY_MONEY",
    group: Group::Text,
    weight: 4.3,
    summary: "promises money without work",
    why: "from three phrases on, all points at seven",
    check: Check::Facts(|facts| theme(facts, Theme::Money, 3, 7)),
};

/// Shares.
pub const STOCK_TIP: Rule = Rule {
    symbol: "STOCK_TIP",
    group: Group::Text,
    weight: 4.9,
    summary: "praises a share that is about to rise",
    why: "from three phrases on, all points at six",
    check: Check::Facts(|facts| theme(facts, Theme::Stocks, 3, 6)),
};

/// Sex.
pub const ADULT: Rule = Rule {
    symbol: "ADULT",
    group: Group::Text,
    weight: 4.7,
    summary: "sells sex",
    why: "from two phrases on, all points at four",
    check: Check::Facts(|facts| theme(facts, Theme::Adult, 2, 4)),
};

/// Goods.
pub const GOODS: Rule = Rule {
    symbol: "GOODS",
    group: Group::Text,
    weight: 2.5,
    summary: "sells something to strangers",
    why: "from four phrases on, all points at nine; shops write so to their customers too",
    check: Check::Facts(|facts| theme(facts, Theme::Goods, 4, 9)),
};

/// Bulk mail's own words.
pub const BULK_TALK: Rule = Rule {
    symbol: "BULK_TALK",
    group: Group::Text,
    weight: 2.7,
    summary: "talks about itself as bulk mail does, without being one properly",
    why: "removal instructions in the text but no List-Unsubscribe (RFC 2369): from two phrases on, all points at seven",
    check: Check::Facts(|facts| {
        let proper = facts.headers.has("list-unsubscribe") || is_list(&facts.headers);
        if proper { None } else { theme(facts, Theme::Bulk, 2, 7) }
    }),
};

/// The same, where nobody was asked.
pub const BULK_TALK_LIST: Rule = Rule {
    symbol: "BULK_TALK_LIST",
    group: Group::Text,
    weight: 3.0,
    summary: "begins a thread on a mailing list, and talks about itself as bulk mail does",
    why: "what comes by a list is left by the list's own ways, not by removal instructions in the text: from two phrases on, all points at six",
    check: Check::Facts(|facts| {
        let list = is_list(&facts.headers);
        if list && !is_answer(&facts.headers) { theme(facts, Theme::Bulk, 2, 6) } else { None }
    }),
};

/// Sells addresses and visitors.
pub const MARKETING_TALK: Rule = Rule {
    symbol: "MARKETING_TALK",
    group: Group::Text,
    weight: 4.3,
    summary: "sells addresses, visitors or a place in search results",
    why: "from three phrases on, all points at five",
    check: Check::Facts(|facts| theme(facts, Theme::Marketing, 3, 5)),
};

/// A pretext and a file that is none.
pub const PRETEXT_ATTACHMENT: Rule = Rule {
    symbol: "PRETEXT_ATTACHMENT",
    group: Group::Text,
    weight: 1.8,
    summary: "an invoice, parcel or order as a pretext for a page, an archive or a macro document",
    why: "who sends an invoice sends a document that cannot run anything",
    check: Check::Facts(|facts| {
        let count = facts.text.count(Theme::Pretext);
        let odd = |part: &Part| {
            let page = matches!(part.extension.as_deref(), Some("htm" | "html" | "shtml" | "svg"));
            let archive = matches!(part.kind, Kind::Archive | Kind::Zip)
                && part.extension.as_deref().is_none_or(kinds::is_archive);
            let macros = part.extension.as_deref().is_some_and(kinds::has_macros);
            part.is_file() && (page || archive || macros)
        };
        let part = facts.parts.iter().find(|part| odd(part))?;
        (count >= 1).then(|| {
            Evidence::new(format_args!(
                "{}: {}",
                part.name.as_deref().unwrap_or_default(),
                facts.text.examples(Theme::Pretext)
            ))
        })
    }),
};

/// A stranger's company.
pub const COLD_OFFER: Rule = Rule {
    symbol: "COLD_OFFER",
    group: Group::Text,
    weight: 2.6,
    summary: "a company introduces itself to a stranger",
    why: "\"we offer\", \"our products\", \"your business\": from three phrases on, all points at seven; no answer to anything of ours",
    check: Check::Facts(|facts| {
        if is_answer(&facts.headers) || is_newsletter(facts) {
            None
        } else {
            theme(facts, Theme::Solicitation, 3, 7)
        }
    }),
};

/// From a form.
pub const FORM_COPY: Rule = Rule {
    symbol: "FORM_COPY",
    group: Group::Text,
    weight: 2.9,
    summary: "what somebody wrote into a web site's form, sent to whom he named",
    why: "a form that sends copies to any address is a way to send mail in its owner's name; people who fill in forms are few, robots many",
    check: Check::Facts(
        |facts| if is_answer(&facts.headers) { None } else { theme(facts, Theme::Form, 2, 3) },
    ),
};

/// Who are you?
pub const ASKS_FOR_DETAILS: Rule = Rule {
    symbol: "ASKS_FOR_DETAILS",
    group: Group::Text,
    weight: 2.5,
    summary: "asks for name, address, telephone and the like",
    why: "who has business with you knows you; from three phrases on, all points at six; no answer to anything of ours",
    check: Check::Facts(
        |facts| if is_answer(&facts.headers) { None } else { theme(facts, Theme::Details, 3, 6) },
    ),
};

/// Click!
pub const CLICK_TALK: Rule = Rule {
    symbol: "CLICK_TALK",
    group: Group::Text,
    weight: 2.2,
    summary: "says several times that one must click, without being a proper newsletter",
    why: "mail that only wants one thing; from two phrases on, all points at four; newsletters have List-Unsubscribe (RFC 2369)",
    check: Check::Facts(|facts| {
        if is_answer(&facts.headers) || is_newsletter(facts) {
            None
        } else {
            theme(facts, Theme::Click, 2, 4)
        }
    }),
};

/// To whom it may concern.
pub const IMPERSONAL_GREETING: Rule = Rule {
    symbol: "IMPERSONAL_GREETING",
    group: Group::Text,
    weight: 1.4,
    summary: "greets a friend, a customer, a sir or madam, and nobody by name",
    why: "who writes to one person knows the name; no answer to anything of ours",
    check: Check::Facts(|facts| {
        let greets = facts.text.phrases_of(Theme::Greeting) >= 1 && !is_answer(&facts.headers);
        greets.then(|| Evidence::new(facts.text.examples(Theme::Greeting)))
    }),
};

/// Scripts mixed in words.
pub const R_MIXED_CHARSET: Rule = Rule {
    symbol: "R_MIXED_CHARSET",
    group: Group::Text,
    weight: 6.5,
    summary: "words that mix letters of scripts which look alike",
    why: "Unicode TR 39: against filters that look for words; all points at ten such words",
    check: Check::Facts(|facts| {
        let mixed = facts.text.mixed_words;
        (mixed >= 2).then(|| Evidence::new(mixed).times((mixed as f64 / 10.0).min(1.0)))
    }),
};

/// Characters nobody sees.
pub const TEXT_INVISIBLE_CHARACTERS: Rule = Rule {
    symbol: "TEXT_INVISIBLE_CHARACTERS",
    group: Group::Text,
    weight: 2.0,
    summary: "many characters without width inside the text",
    why: "words that the filter does not recognise; newsletters fill their preview line with them and are left out",
    check: Check::Facts(|facts| {
        let count = facts.text.invisible;
        (count >= 10 && !facts.headers.has("list-unsubscribe")).then(|| Evidence::new(count))
    }),
};

/// Letters of mathematics.
pub const TEXT_STYLED_LETTERS: Rule = Rule {
    symbol: "TEXT_STYLED_LETTERS",
    group: Group::Text,
    weight: 2.0,
    summary: "words in the bold and script letters that Unicode has for mathematics",
    why: "looks like type, and is other letters to whoever looks for words; mathematicians use single ones: all points at twenty",
    check: Check::Facts(|facts| {
        let author = facts.people.author().map_or("", |author| author.name.as_str());
        let count = |text: &str| text.chars().filter(|&c| scripts::plain(c).is_some()).count();
        let styled = facts.text.styled + 2 * (count(&facts.subject.text) + count(author));
        (styled >= 8).then(|| Evidence::new(styled).times((styled as f64 / 20.0).min(1.0)))
    }),
};

/// Letters with gaps.
pub const TEXT_GAPPY: Rule = Rule {
    symbol: "TEXT_GAPPY",
    group: Group::Text,
    weight: 2.1,
    summary: "words spelled in single letters",
    why: "V I A G R A: against filters that look for words",
    check: Check::Facts(|facts| (facts.text.gapped >= 1).then(|| Evidence::new(facts.text.gapped))),
};

/// Shouting.
pub const TEXT_ALL_CAPS: Rule = Rule {
    symbol: "TEXT_ALL_CAPS",
    group: Group::Text,
    weight: 1.5,
    summary: "most of the text is in capitals",
    why: "shouting; at least 200 letters, from half of them on",
    check: Check::Facts(|facts| {
        let (capitals, letters) = (facts.text.capitals, facts.text.letters);
        (letters >= 200 && capitals * 2 > letters)
            .then(|| Evidence::new(format_args!("{}%", capitals * 100 / letters)))
    }),
};

/// Exclaiming.
pub const TEXT_EXCLAIMS: Rule = Rule {
    symbol: "TEXT_EXCLAIMS",
    group: Group::Text,
    weight: 0.8,
    summary: "three exclamation marks in a row",
    why: "advertisement shouts; people do too, to those they know: no answer to anything of ours",
    check: Check::Facts(|facts| {
        let shouts = |text: &str| memchr::memmem::find(text.as_bytes(), b"!!!").is_some();
        when(!is_answer(&facts.headers) && (shouts(&facts.text.plain) || shouts(&facts.html.visible)))
    }),
};

/// A gap in the text.
pub const TEXT_BLANK_LINES: Rule = Rule {
    symbol: "TEXT_BLANK_LINES",
    group: Group::Text,
    weight: 2.1,
    summary: "fifteen or more empty lines in the middle of the text",
    why: "pushes words for the filter, or the way to unsubscribe, out of sight",
    check: Check::Facts(|facts| {
        (facts.text.blank_lines >= 15).then(|| Evidence::new(facts.text.blank_lines))
    }),
};

/// Nothing but a URL.
pub const HFILTER_URL_ONLY: Rule = Rule {
    symbol: "HFILTER_URL_ONLY",
    group: Group::Text,
    weight: 2.3,
    summary: "the text is nothing but a URL",
    why: "what a stolen account sends to its address book",
    check: Check::Facts(|facts| when(words_besides_urls(facts).is_some_and(|words| words == 0))),
};

/// A URL and a few words.
pub const HFILTER_URL_ONELINE: Rule = Rule {
    symbol: "HFILTER_URL_ONELINE",
    group: Group::Text,
    weight: 2.3,
    summary: "the text is one line with a URL",
    why: "what a stolen account sends to its address book (Rspamd: 2.5)",
    check: Check::Facts(|facts| {
        let words = words_besides_urls(facts)?;
        when((1..=FEW_WORDS).contains(&words) && facts.text.lines <= 2 && !facts.subject.is_reply)
    }),
};

/// Nothing to read.
pub const EMPTY_BODY: Rule = Rule {
    symbol: "EMPTY_BODY",
    group: Group::Text,
    weight: 0.5,
    summary: "no text at all, and no attachment",
    why: "a probe, or a mistake",
    check: Check::Facts(|facts| {
        let files = facts.parts.iter().any(|part| part.is_file() || !part.is_text && !part.is_multipart());
        when(facts.text.words() == 0 && !files && facts.html.images.is_empty())
    }),
};

/// Whether it can be left as bulk mail should (RFC 2369), or comes from a mailing list.
fn is_newsletter(facts: &Facts) -> bool {
    facts.headers.has("list-unsubscribe") || is_list(&facts.headers)
}

/// A share of the points that grows from `least` phrases (half) to `most` (all).
fn theme(facts: &Facts, theme: Theme, least: usize, most: usize) -> Option<Evidence> {
    let count = facts.text.count(theme);
    if count < least {
        return None;
    }
    let factor = 0.5 + 0.5 * (count - least) as f64 / (most - least).max(1) as f64;
    Some(Evidence::new(facts.text.examples(theme)).times(factor.min(1.0)))
}

/// The most words that a link may have beside it to be all of a message.
const FEW_WORDS: usize = 12;

/// How many words there are besides the URLs, counted no further than to more than [`FEW_WORDS`], in a message that has one and is short.
fn words_besides_urls(facts: &Facts) -> Option<usize> {
    let text = if facts.html.present { &facts.html.visible } else { &facts.text.plain };
    let clickable = facts.urls.iter().any(|url| url.is_clickable());
    if !clickable || text.len() > 4_096 || facts.parts.iter().any(|part| part.is_file()) {
        return None;
    }
    let is_url = |word: &str| {
        word.as_bytes().get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"www."))
            // Most words have no colon.
            || word.as_bytes().contains(&b':') && word.contains("://")
    };
    Some(
        text.split_whitespace()
            .filter(|word| word.bytes().any(|byte| byte.is_ascii_alphanumeric()) && !is_url(word))
            .take(FEW_WORDS + 1)
            .count(),
    )
}
