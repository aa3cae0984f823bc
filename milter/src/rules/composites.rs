//! Group `composites`: symbols made of others, where together they mean more than their sum, or less.

use super::{Check, Composite, Group, Rule};
use super::{
    attachments, authentication as a, dates, envelope as e, headers as h, html, lists, message_id as mid,
    mime, phishing as p, recipients as r, replies, sender as s, subject, text, urls,
};

/// The group's table.
pub const RULES: &[Rule] = &[
    AUTH_NA,
    AUTH_NA_OR_FAIL,
    MISSING_ESSENTIAL_HEADERS,
    FORGED_RECIPIENTS_MAILLIST,
    VIOLATED_DIRECT_SPF,
    BOUNCE_NO_AUTH,
    FREEMAIL_AFF,
    FREEMAIL_ELSEWHERE,
    BAD_EXT_WITH_PRETEXT,
    SUSPICIOUS_URL_IN_SUSPICIOUS_MESSAGE,
    PHISHING_FROM_BRAND,
    BOT_MAIL,
    HIDDEN_TEXT_SELLS,
];

/// No SPF, DKIM, DMARC.
pub const AUTH_NA: Rule = Rule {
    symbol: "AUTH_NA",
    group: Group::Composites,
    weight: 1.0,
    summary: "neither SPF nor DKIM nor DMARC",
    why: "whoever means to be recognised publishes one of them by now",
    check: Check::Composite(Composite {
        all: &[a::R_SPF_NA.symbol, a::R_DKIM_NA.symbol, a::DMARC_NA.symbol],
        any: &[],
        none: &[],
        replaces: &[],
    }),
};

/// None passes.
pub const AUTH_NA_OR_FAIL: Rule = Rule {
    symbol: "AUTH_NA_OR_FAIL",
    group: Group::Composites,
    weight: 1.0,
    summary: "SPF, DKIM and DMARC fail or are missing, and at least one fails",
    why: "nothing at all speaks for the sender",
    check: Check::Composite(Composite {
        all: &[a::DMARC_NA.symbol],
        any: &[
            &[a::R_SPF_NA.symbol, a::R_SPF_FAIL.symbol, a::R_SPF_SOFTFAIL.symbol, a::R_SPF_PERMFAIL.symbol],
            &[a::R_DKIM_NA.symbol, a::R_DKIM_REJECT.symbol, a::R_DKIM_PERMFAIL.symbol],
        ],
        none: &["AUTH_NA"],
        replaces: &[],
    }),
};

/// Everything missing.
pub const MISSING_ESSENTIAL_HEADERS: Rule = Rule {
    symbol: "MISSING_ESSENTIAL_HEADERS",
    group: Group::Composites,
    weight: 7.0,
    summary: "author, recipient, subject, date and Message-ID are all missing",
    why: "RFC 5322, 3.6: no mail program makes such a message; in place of their own points",
    check: Check::Composite(Composite {
        all: &[
            h::MISSING_FROM.symbol,
            r::MISSING_TO.symbol,
            h::MISSING_SUBJECT.symbol,
            h::MISSING_DATE.symbol,
            mid::MISSING_MID.symbol,
        ],
        any: &[],
        none: &[h::COMPLETELY_EMPTY.symbol],
        replaces: &[h::MISSING_FROM.symbol, r::MISSING_TO.symbol, h::MISSING_SUBJECT.symbol],
    }),
};

/// A list's recipients are its own business.
pub const FORGED_RECIPIENTS_MAILLIST: Rule = Rule {
    symbol: "FORGED_RECIPIENTS_MAILLIST",
    group: Group::Composites,
    weight: 0.0,
    summary: "the header does not name the recipient, but the message says that it is bulk mail",
    why: "that is how lists and newsletters work; takes the points of FORGED_RECIPIENTS away",
    check: Check::Composite(Composite {
        all: &[r::FORGED_RECIPIENTS.symbol],
        any: &[&[lists::PRECEDENCE_BULK.symbol, lists::BOUNCE.symbol]],
        none: &[],
        replaces: &[r::FORGED_RECIPIENTS.symbol],
    }),
};

/// SPF fails for a client that is no forwarder.
pub const VIOLATED_DIRECT_SPF: Rule = Rule {
    symbol: "VIOLATED_DIRECT_SPF",
    group: Group::Composites,
    weight: 2.5,
    summary: "SPF fails, and the client looks like no mail server",
    why: "a forwarder has a name and a proper HELO; a bot has neither (Rspamd: 3.5, by counting hops)",
    check: Check::Composite(Composite {
        all: &[],
        any: &[
            &[a::R_SPF_FAIL.symbol, a::R_SPF_SOFTFAIL.symbol],
            &[
                e::RDNS_NONE.symbol,
                e::HFILTER_HOSTNAME_UNKNOWN.symbol,
                e::HFILTER_HELO_5.symbol,
                e::HFILTER_HOSTNAME_5.symbol,
                e::HFILTER_HELO_NOT_FQDN.symbol,
                e::HFILTER_HELO_BADIP.symbol,
                e::HFILTER_HELO_BAREIP.symbol,
            ],
        ],
        none: &[a::R_DKIM_ALLOW.symbol],
        replaces: &[],
    }),
};

/// A bounce from nobody.
pub const BOUNCE_NO_AUTH: Rule = Rule {
    symbol: "BOUNCE_NO_AUTH",
    group: Group::Composites,
    weight: 1.0,
    summary: "a bounce whose sender nothing confirms",
    why: "bounces come from servers, and servers' domains publish SPF for their HELO names",
    check: Check::Composite(Composite {
        all: &[lists::BOUNCE.symbol],
        any: &[&["AUTH_NA", "AUTH_NA_OR_FAIL"]],
        none: &[],
        replaces: &[],
    }),
};

/// Advance fee from a freemail account.
pub const FREEMAIL_AFF: Rule = Rule {
    symbol: "FREEMAIL_AFF",
    group: Group::Composites,
    weight: 4.0,
    summary: "somebody's millions, and answers to a freemail account or hidden recipients",
    why: "solicitors and banks have domains of their own",
    check: Check::Composite(Composite {
        all: &[],
        any: &[
            &[text::ADVANCE_FEE.symbol, text::LOTTERY.symbol],
            &[
                replies::FREEMAIL_FROM.symbol,
                replies::FREEMAIL_REPLYTO.symbol,
                r::R_UNDISC_RCPT.symbol,
                r::TO_DN_RECIPIENTS.symbol,
                r::MISSING_TO.symbol,
            ],
        ],
        none: &[lists::MAILLIST.symbol, lists::REPLY_TO_SOMETHING.symbol],
        replaces: &[],
    }),
};

/// Answers go to another freemail account.
pub const FREEMAIL_ELSEWHERE: Rule = Rule {
    symbol: "FREEMAIL_ELSEWHERE",
    group: Group::Composites,
    weight: 3.0,
    summary: "answers go to another freemail account; recipients are hidden or little is said",
    why: "a stolen account writes to thousands, and its owner must not see the answers",
    check: Check::Composite(Composite {
        all: &[],
        any: &[
            &[replies::FREEMAIL_REPLYTO_NEQ_FROM.symbol, replies::FREEMAIL_REPLYTO_NEQ_FROM_DOM.symbol],
            &[
                r::R_UNDISC_RCPT.symbol,
                r::TO_DN_RECIPIENTS.symbol,
                r::MISSING_TO.symbol,
                h::MISSING_SUBJECT.symbol,
                h::FAKE_REPLY.symbol,
                subject::EMPTY_SUBJECT.symbol,
                subject::SUBJECT_SAYS_NOTHING.symbol,
                s::FROM_NAME_HAS_TITLE.symbol,
                s::FROM_EQ_TO.symbol,
                text::ADVANCE_FEE.symbol,
                text::ASKS_FOR_DETAILS.symbol,
                text::IMPERSONAL_GREETING.symbol,
                text::COLD_OFFER.symbol,
            ],
        ],
        none: &[lists::REPLY_TO_SOMETHING.symbol],
        replaces: &[],
    }),
};

/// A program and something to disguise it.
pub const BAD_EXT_WITH_PRETEXT: Rule = Rule {
    symbol: "BAD_EXT_WITH_PRETEXT",
    group: Group::Composites,
    weight: 4.0,
    summary: "an attachment that runs, and another sign of a disguise",
    why: "either may be honest, both together are malware",
    check: Check::Composite(Composite {
        all: &[],
        any: &[
            &[attachments::MIME_BAD_EXTENSION.symbol, attachments::SINGLE_FILE_ARCHIVE_WITH_EXE.symbol],
            &[
                attachments::MIME_DOUBLE_BAD_EXTENSION.symbol,
                attachments::MIME_BAD_ATTACHMENT.symbol,
                attachments::MIME_BAD_UNICODE.symbol,
                attachments::MIME_ENCRYPTED_ARCHIVE.symbol,
            ],
        ],
        none: &[],
        replaces: &[],
    }),
};

/// An odd link in an odd message.
pub const SUSPICIOUS_URL_IN_SUSPICIOUS_MESSAGE: Rule = Rule {
    symbol: "SUSPICIOUS_URL_IN_SUSPICIOUS_MESSAGE",
    group: Group::Composites,
    weight: 1.0,
    summary: "an odd link in a message that hides its author or its recipients",
    why: "each is seen in honest mail, both together hardly",
    check: Check::Composite(Composite {
        all: &[],
        any: &[
            &[
                urls::URL_NUMERIC_IP.symbol,
                urls::URL_USER_PASSWORD.symbol,
                urls::URL_OBFUSCATED_IP.symbol,
                urls::URL_SUSPICIOUS_TLD.symbol,
                urls::URL_FREE_HOSTING.symbol,
                urls::URL_SHORTENER.symbol,
                urls::URL_ODD_PORT.symbol,
                p::PHISHING.symbol,
            ],
            &[
                r::R_UNDISC_RCPT.symbol,
                r::MISSING_TO.symbol,
                mid::MISSING_MID.symbol,
                h::MISSING_DATE.symbol,
                h::FAKE_REPLY.symbol,
                replies::FREEMAIL_REPLYTO_NEQ_FROM.symbol,
                replies::FREEMAIL_REPLYTO_NEQ_FROM_DOM.symbol,
            ],
        ],
        none: &[lists::MAILLIST.symbol],
        replaces: &[],
    }),
};

/// A brand in the name and a false link in the text.
pub const PHISHING_FROM_BRAND: Rule = Rule {
    symbol: "PHISHING_FROM_BRAND",
    group: Group::Composites,
    weight: 3.0,
    summary: "calls itself a brand, and its links deceive",
    why: "either may be clumsiness, both together are phishing",
    check: Check::Composite(Composite {
        all: &[s::FROM_NAME_BRAND.symbol],
        any: &[&[
            p::PHISHING.symbol,
            p::HTTP_TO_IP.symbol,
            p::BRAND_IN_URL_HOST.symbol,
            p::BRAND_IN_URL_PATH.symbol,
            p::PHISHED_CREDENTIALS.symbol,
            urls::URL_NUMERIC_IP.symbol,
            urls::URL_FREE_HOSTING.symbol,
        ]],
        none: &[],
        replaces: &[],
    }),
};

/// No mail program wrote this.
pub const BOT_MAIL: Rule = Rule {
    symbol: "BOT_MAIL",
    group: Group::Composites,
    weight: 2.1,
    summary: "several headers that no mail program forgets or forges, in HTML",
    why: "one flaw is a script of somebody's own, two with an HTML page are a bot",
    check: Check::Composite(Composite {
        all: &[mime::MIME_HTML_ONLY.symbol],
        any: &[
            &[
                mid::MISSING_MID.symbol,
                h::FORGED_MUA_OUTLOOK.symbol,
                mid::MID_BARE_IP.symbol,
                mid::INVALID_MSGID.symbol,
            ],
            &[
                h::MISSING_DATE.symbol,
                dates::INVALID_DATE.symbol,
                dates::DATE_IN_FUTURE.symbol,
                h::MISSING_MIME_VERSION.symbol,
                r::MISSING_TO.symbol,
                subject::SUBJ_ALL_CAPS.symbol,
                h::XM_CASE.symbol,
            ],
        ],
        none: &[lists::MAILLIST.symbol],
        replaces: &[],
    }),
};

/// Sells, and hides words.
pub const HIDDEN_TEXT_SELLS: Rule = Rule {
    symbol: "HIDDEN_TEXT_SELLS",
    group: Group::Composites,
    weight: 2.0,
    summary: "sells something, and hides text from its reader",
    why: "who sells honestly has nothing to hide from a filter",
    check: Check::Composite(Composite {
        all: &[],
        any: &[
            &[
                text::PHARMACY.symbol,
                text::LOANS.symbol,
                text::EASY_MONEY.symbol,
                text::STOCK_TIP.symbol,
                text::ADULT.symbol,
                text::GOODS.symbol,
            ],
            &[
                html::R_WHITE_ON_WHITE.symbol,
                html::ZERO_FONT.symbol,
                html::MANY_INVISIBLE_PARTS.symbol,
                html::HTML_BROKEN_WORDS.symbol,
                html::HTML_UNKNOWN_TAGS.symbol,
                text::R_MIXED_CHARSET.symbol,
                text::TEXT_GAPPY.symbol,
            ],
        ],
        none: &[],
        replaces: &[],
    }),
};
