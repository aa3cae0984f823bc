//! Group `subject`.

use super::{Check, Evidence, Group, Rule, when};
use crate::facts::headers::is_answer;
use crate::facts::phrases::{Phrase, Theme, Words};
use crate::facts::urls::Origin;

/// The group's table.
pub const RULES: &[Rule] = &[
    EMPTY_SUBJECT,
    SUBJ_ALL_CAPS,
    LONG_SUBJ,
    URL_IN_SUBJECT,
    SUBJECT_ENDS_QUESTION,
    SUBJECT_ENDS_EXCLAIM,
    SUBJECT_HAS_EXCLAIM,
    SUBJECT_HAS_CURRENCY,
    SUBJECT_ENDS_SPACES,
    SUBJECT_GAPPY_TEXT,
    SUBJECT_MIXED,
    SUBJECT_NEEDS_ENCODING,
    SUBJ_EXCESS_BASE64,
    SUBJ_EXCESS_QP,
    RCPT_ADDR_IN_SUBJECT,
    RCPT_LOCAL_IN_SUBJECT,
    SUBJECT_TRACKING_NUMBER,
    SUBJECT_ADV,
    SUBJECT_SAYS_NOTHING,
    SUBJECT_SELLS,
    SUBJECT_PERCENT_OFF,
    DRUG_NAME_IN_HEADER,
];

/// Empty.
pub const EMPTY_SUBJECT: Rule = Rule {
    symbol: "EMPTY_SUBJECT",
    group: Group::Subject,
    weight: 1.2,
    summary: "the subject is empty",
    why: "RFC 5322, 3.6.5: a few words; people forget it too, hence one point",
    check: Check::Facts(|facts| when(facts.subject.present && facts.subject.text.trim().is_empty())),
};

/// All capitals.
pub const SUBJ_ALL_CAPS: Rule = Rule {
    symbol: "SUBJ_ALL_CAPS",
    group: Group::Subject,
    weight: 3.7,
    summary: "the subject is all in capitals",
    why: "shouting; the longer, the surer: all points from 40 characters on, as in Rspamd",
    check: Check::Facts(|facts| {
        let bare = &facts.subject.bare;
        let letters = bare.chars().filter(|c| c.is_alphabetic()).count();
        let shouted = letters >= 6
            && bare.contains(' ')
            && bare.chars().all(|c| !c.is_lowercase())
            && bare.chars().any(char::is_uppercase);
        let length = bare.chars().count() as f64;
        shouted.then(|| Evidence::new(format_args!("{length}")).times((length / 40.0).clamp(0.3, 1.0)))
    }),
};

/// Too long.
pub const LONG_SUBJ: Rule = Rule {
    symbol: "LONG_SUBJ",
    group: Group::Subject,
    weight: 3.1,
    summary: "the subject has more than 200 characters",
    why: "the message stands in the subject; all points from 400 characters on, as in Rspamd",
    check: Check::Facts(|facts| {
        let length = facts.subject.bare.chars().count();
        (length > 200).then(|| Evidence::new(length).times((length as f64 / 400.0).min(1.0)))
    }),
};

/// A URL.
pub const URL_IN_SUBJECT: Rule = Rule {
    symbol: "URL_IN_SUBJECT",
    group: Group::Subject,
    weight: 3.7,
    summary: "a URL in the subject",
    why: "people write about a page, machines write its address; fewer points the less of the subject it is",
    check: Check::Facts(|facts| {
        let url = facts.urls.iter().find(|url| url.origin == Origin::Subject)?;
        let share = url.length as f64 / facts.subject.text.len().max(1) as f64;
        let factor = if share > 0.9 { 1.0 } else { 0.25 };
        Some(Evidence::new(&url.host).times(factor))
    }),
};

/// Ends in a question mark.
pub const SUBJECT_ENDS_QUESTION: Rule = Rule {
    symbol: "SUBJECT_ENDS_QUESTION",
    group: Group::Subject,
    weight: 0.3,
    summary: "the subject ends with a question mark",
    why: "advertisement asks; people do too, so much less than Rspamd's point",
    check: Check::Facts(|facts| {
        when(!facts.subject.is_reply && facts.subject.bare.trim_end().ends_with('?'))
    }),
};

/// Ends in an exclamation mark.
pub const SUBJECT_ENDS_EXCLAIM: Rule = Rule {
    symbol: "SUBJECT_ENDS_EXCLAIM",
    group: Group::Subject,
    weight: 1.1,
    summary: "the subject ends with an exclamation mark",
    why: "advertisement shouts",
    check: Check::Facts(|facts| {
        when(!facts.subject.is_reply && facts.subject.bare.trim_end().ends_with('!'))
    }),
};

/// Exclamation marks inside.
pub const SUBJECT_HAS_EXCLAIM: Rule = Rule {
    symbol: "SUBJECT_HAS_EXCLAIM",
    group: Group::Subject,
    weight: 0.6,
    summary: "an exclamation mark inside the subject, or several at its end",
    why: "advertisement shouts; no answer to anything of ours",
    check: Check::Facts(|facts| {
        let bare = facts.subject.bare.trim_end();
        let inside = bare.strip_suffix('!').unwrap_or(bare).contains('!');
        when(inside && !facts.subject.is_reply && !is_answer(&facts.headers))
    }),
};

/// A currency sign.
pub const SUBJECT_HAS_CURRENCY: Rule = Rule {
    symbol: "SUBJECT_HAS_CURRENCY",
    group: Group::Subject,
    weight: 1.1,
    summary: "an amount of money in the subject",
    why: "there is something to be sold or won; shops' invoices have it too",
    check: Check::Facts(|facts| {
        let words = Words::of(&facts.subject.bare, 100);
        let money = (0..words.len()).any(|at| {
            words.get(at) == Some("$")
                && [at.checked_sub(1), Some(at + 1)]
                    .into_iter()
                    .flatten()
                    .any(|near| words.get(near) == Some("#"))
        });
        when(money && !facts.subject.is_reply)
    }),
};

/// Blanks at the end.
pub const SUBJECT_ENDS_SPACES: Rule = Rule {
    symbol: "SUBJECT_ENDS_SPACES",
    group: Group::Subject,
    weight: 0.6,
    summary: "blanks inside or before the end of the subject that push something out of sight",
    why: "a random number behind them makes every subject another one",
    check: Check::Facts(|facts| when(facts.subject.text.contains("      "))),
};

/// Letters with gaps.
pub const SUBJECT_GAPPY_TEXT: Rule = Rule {
    symbol: "SUBJECT_GAPPY_TEXT",
    group: Group::Subject,
    weight: 2.5,
    summary: "the subject is spelled in single letters",
    why: "V I A G R A: against filters that look for words",
    check: Check::Facts(|facts| {
        let words = Words::of(&facts.subject.bare, 200);
        let (mut row, mut longest) = (0, 0);
        for word in words.iter() {
            row = if word.len() == 1 && word != "#" && word != "$" { row + 1 } else { 0 };
            longest = longest.max(row);
        }
        (longest >= 4).then(|| Evidence::new(&facts.subject.bare))
    }),
};

/// Scripts mixed in a word.
pub const SUBJECT_MIXED: Rule = Rule {
    symbol: "SUBJECT_MIXED",
    group: Group::Subject,
    weight: 3.0,
    summary: "a word of the subject mixes letters of several scripts, or hides characters",
    why: "Unicode TR 39: against filters that look for words",
    check: Check::Facts(|facts| {
        let odd = facts.subject.mixed_words + facts.subject.invisible;
        (odd > 0).then(|| Evidence::new(&facts.subject.bare))
    }),
};

/// Raw bytes.
pub const SUBJECT_NEEDS_ENCODING: Rule = Rule {
    symbol: "SUBJECT_NEEDS_ENCODING",
    group: Group::Subject,
    weight: 1.2,
    summary: "the subject has bytes beyond ASCII that are not even UTF-8",
    why: "RFC 2047, 5: they are encoded; UTF-8 is left out, RFC 6532 allows it",
    check: Check::Facts(|facts| when(facts.headers.field("subject").is_some_and(|field| field.broken_utf8))),
};

/// Base64 for nothing.
pub const SUBJ_EXCESS_BASE64: Rule = Rule {
    symbol: "SUBJ_EXCESS_BASE64",
    group: Group::Subject,
    weight: 1.8,
    summary: "the subject is encoded in base64, but plain ASCII",
    why: "RFC 2047, 1: encoding is for what ASCII cannot say; here it hides words from simple filters",
    check: Check::Facts(|facts| when(facts.subject.encoding.base64 && !facts.subject.encoding.needed)),
};

/// Quoted-printable for nothing.
pub const SUBJ_EXCESS_QP: Rule = Rule {
    symbol: "SUBJ_EXCESS_QP",
    group: Group::Subject,
    weight: 0.7,
    summary: "the subject is encoded in quoted-printable, but plain ASCII",
    why: "RFC 2047, 1: encoding is for what ASCII cannot say; some newsletter programs always encode (Rspamd: 1.2)",
    check: Check::Facts(|facts| {
        when(
            facts.subject.encoding.quoted && !facts.subject.encoding.base64 && !facts.subject.encoding.needed,
        )
    }),
};

/// The recipient's address.
pub const RCPT_ADDR_IN_SUBJECT: Rule = Rule {
    symbol: "RCPT_ADDR_IN_SUBJECT",
    group: Group::Subject,
    weight: 3.4,
    summary: "the recipient's address in the subject",
    why: "a template filled in by a machine that knows nothing but the address",
    check: Check::Facts(|facts| when(facts.subject.names_address)),
};

/// The recipient's local part.
pub const RCPT_LOCAL_IN_SUBJECT: Rule = Rule {
    symbol: "RCPT_LOCAL_IN_SUBJECT",
    group: Group::Subject,
    weight: 1.9,
    summary: "the left side of the recipient's address in the subject",
    why: "a template filled in by a machine that knows nothing but the address; info@ and other roles are left out",
    check: Check::Facts(|facts| {
        let to = facts.people.to.first()?;
        let role = ROLES.contains(&to.local.as_str());
        let list = crate::facts::headers::is_list(&facts.headers);
        (facts.subject.names_local && !role && !list && !facts.subject.is_reply)
            .then(|| Evidence::new(&to.local))
    }),
};

/// A random number at the end.
pub const SUBJECT_TRACKING_NUMBER: Rule = Rule {
    symbol: "SUBJECT_TRACKING_NUMBER",
    group: Group::Subject,
    weight: 1.6,
    summary: "the subject ends with a random word or number",
    why: "makes every copy different, against filters that count equal subjects",
    check: Check::Facts(|facts| {
        let last = facts.subject.bare.rsplit([' ', '\t']).next().unwrap_or_default();
        let gap = facts.subject.text.contains("     ");
        (last.len() < facts.subject.bare.len() && !facts.subject.is_reply && is_random(last, gap))
            .then(|| Evidence::new(last))
    }),
};

/// Hello.
pub const SUBJECT_SAYS_NOTHING: Rule = Rule {
    symbol: "SUBJECT_SAYS_NOTHING",
    group: Group::Subject,
    weight: 2.4,
    summary: "the subject is a greeting, \"urgent\" or the like, and nothing else",
    why: "who has something to say to somebody he knows says what it is about; who fishes for an answer does not",
    check: Check::Facts(|facts| {
        let bare = facts.subject.bare.to_lowercase();
        let words: Vec<&str> =
            bare.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let says_nothing = EMPTY_WORDS.contains(&words.join(" ").as_str());
        (says_nothing && !is_answer(&facts.headers)).then(|| Evidence::new(&facts.subject.bare))
    }),
};

/// Whole subjects that say nothing, as words.
const EMPTY_WORDS: &[&str] = &[
    "hello",
    "hello dear",
    "hello friend",
    "hi",
    "hi dear",
    "hey",
    "dear",
    "dear friend",
    "my dear",
    "good day",
    "good morning",
    "greetings",
    "greeting",
    "urgent",
    "very urgent",
    "urgent response",
    "urgent reply",
    "urgent response needed",
    "urgent message",
    "attention",
    "attn",
    "attention please",
    "important",
    "important message",
    "important notice",
    "notice",
    "notification",
    "message",
    "ok",
    "reply",
    "please reply",
    "kindly reply",
    "reply me",
    "response",
    "your response",
    "need your response",
    "good news",
    "congratulations",
    "business",
    "proposal",
    "business proposal",
    "business offer",
    "offer",
    "investment",
    "investment proposal",
    "inquiry",
    "enquiry",
    "urgent inquiry",
    "new inquiry",
    "product inquiry",
    "donation",
    "confidential",
    "strictly confidential",
    "request",
    "help",
    "assistance",
    "urgent help",
    "dear sir",
    "dear sir madam",
    "hallo",
    "vorschlag",
    "spende",
    "dringend",
    "bonjour",
    "salut",
    "urgente",
    "hola",
    "saludos",
    "ciao",
    "from me",
    "read",
    "please read",
    "read me",
    "contact me",
    "get back to me",
    "fyi",
];

/// Advertisement, by its own word.
pub const SUBJECT_ADV: Rule = Rule {
    symbol: "SUBJECT_ADV",
    group: Group::Subject,
    weight: 4.3,
    summary: "the subject begins with ADV",
    why: "laws of some states want advertisement to call itself so; nobody else does",
    check: Check::Facts(|facts| {
        let bare = facts.subject.bare.as_bytes();
        let adv = bare.get(..3).is_some_and(|head| head.eq_ignore_ascii_case(b"ADV"));
        when(adv && bare.get(3).is_some_and(|byte| matches!(byte, b':' | b'-' | b' ' | b'.')))
    }),
};

/// Sells.
pub const SUBJECT_SELLS: Rule = Rule {
    symbol: "SUBJECT_SELLS",
    group: Group::Subject,
    weight: 1.7,
    summary: "the subject has a phrase of pills, loans, easy money, millions, sex or prizes",
    why: "what stands in the subject is what the message is about; replies are left out",
    check: Check::Facts(|facts| {
        let mut found = Vec::new();
        Words::of(&facts.subject.bare, 100).phrases(&mut found);
        let theme = |phrase: &&Phrase| {
            matches!(
                phrase.theme,
                Theme::Pharmacy
                    | Theme::Loans
                    | Theme::Money
                    | Theme::AdvanceFee
                    | Theme::Adult
                    | Theme::Lottery
                    | Theme::Stocks
            )
        };
        let phrase = found.iter().find(theme).filter(|_| !facts.subject.is_reply)?;
        Some(Evidence::new(phrase.text))
    }),
};

/// Percents off.
pub const SUBJECT_PERCENT_OFF: Rule = Rule {
    symbol: "SUBJECT_PERCENT_OFF",
    group: Group::Subject,
    weight: 1.0,
    summary: "the subject promises a discount in percent",
    why: "shops write so to their customers too, who can leave: mail with List-Unsubscribe is left out",
    check: Check::Facts(|facts| {
        let words = Words::of(&facts.subject.bare, 100);
        let off = (0..words.len()).any(|at| {
            words.get(at) == Some("%")
                && matches!(
                    words.get(at + 1),
                    Some("off" | "discount" | "sale" | "less" | "cheaper" | "rabatt")
                )
        });
        when(off && !facts.headers.has("list-unsubscribe"))
    }),
};

/// The name of a drug.
pub const DRUG_NAME_IN_HEADER: Rule = Rule {
    symbol: "DRUG_NAME_IN_HEADER",
    group: Group::Subject,
    weight: 3.4,
    summary: "the name of a much advertised drug in the subject or the author's name",
    why: "patients and doctors write about them in the text, not in the subject; also as a part of a word",
    check: Check::Facts(|facts| {
        let author = facts.people.author().map_or("", |author| author.name.as_str());
        let text = format!("{} {author}", facts.subject.bare).to_lowercase();
        // A specialist is no drug.
        let cialis = text.split(|c: char| !c.is_alphanumeric()).any(|word| word.starts_with("cialis"));
        DRUGS
            .iter()
            .copied()
            .find(|name| text.contains(name))
            .or(cialis.then_some("cialis"))
            .map(Evidence::new)
    }),
};

/// Whether a word is made by chance: behind a gap, of letters and digits that take turns, or of letters that nobody can speak.
fn is_random(word: &str, gap: bool) -> bool {
    let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    if letters + digits != word.len() || word.len() < 3 {
        return word
            .rsplit(['!', '?', '.'])
            .next()
            .is_some_and(|tail| tail.len() < word.len() && tail.len() >= 4 && is_random(tail, true));
    }
    let lower = word.bytes().all(|byte| byte.is_ascii_lowercase());
    let silent = !word.bytes().any(|byte| b"aeiouyAEIOUY".contains(&byte));
    gap && (digits == 0 || letters == 0 || word.len() >= 4)
        || digits >= 2 && letters >= 4 && changes(word) >= 3
        || digits == 0 && lower && silent && word.len() >= 5
}

/// How often letters and digits take turns.
fn changes(word: &str) -> usize {
    word.as_bytes().windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count()
}

/// Drugs that are sold by mail to strangers.
#[rustfmt::skip]
const DRUGS: &[&str] = &[
    "viagra", "levitra", "xanax", "valium", "vicodin", "phentermine", "hydrocodone", "oxycodone", "oxycontin", "tadalafil", "sildenafil",
    "tramadol", "v1agra", "vi@gra", "c1alis",
];

/// Local parts that are words, which stand in honest subjects.
#[rustfmt::skip]
const ROLES: &[&str] = &[
    "abuse",
    "accounts",
    "admin",
    "billing",
    "contact",
    "events",
    "help",
    "hello",
    "info",
    "jobs",
    "mail",
    "marketing",
    "news",
    "newsletter",
    "office",
    "orders",
    "postmaster",
    "sales",
    "security",
    "service",
    "support",
    "team",
    "webmaster",
    "test",
];
