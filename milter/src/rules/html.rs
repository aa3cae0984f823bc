//! Group `html`: what the HTML hides, loads and asks for.

use super::{Check, Evidence, Group, Rule, when};
use crate::facts::Facts;
use crate::facts::html::{Image, Source};

/// The group's table.
pub const RULES: &[Rule] = &[
    R_WHITE_ON_WHITE,
    ZERO_FONT,
    MANY_INVISIBLE_PARTS,
    HTML_SHORT_LINK_IMG_1,
    HTML_SHORT_LINK_IMG_2,
    HTML_SHORT_LINK_IMG_3,
    HTML_IMAGE_ONLY,
    R_EMPTY_IMAGE,
    R_SUSPICIOUS_IMAGES,
    EXT_CSS,
    HTML_META_REFRESH_URL,
    DATA_URI_OBFU,
    HTML_FORM,
    HTML_PASSWORD_FIELD,
    HTML_SCRIPT,
    HTML_FRAME,
    HTML_BROKEN_WORDS,
    HTML_UNKNOWN_TAGS,
];

/// Text in the colour of its background.
pub const R_WHITE_ON_WHITE: Rule = Rule {
    symbol: "R_WHITE_ON_WHITE",
    group: Group::Html,
    weight: 4.4,
    summary: "text in (almost) the colour of its background",
    why: "words for the filter that no reader sees; all points from half of the text on",
    check: Check::Facts(|facts| {
        let (hidden, all) = (facts.html.camouflaged_characters, facts.html.visible_characters);
        let share = hidden as f64 / all.max(1) as f64;
        (hidden >= 20 && share > 0.02)
            .then(|| Evidence::new(format_args!("{hidden} of {all}")).times((share * 2.0).clamp(0.3, 1.0)))
    }),
};

/// Text without size.
pub const ZERO_FONT: Rule = Rule {
    symbol: "ZERO_FONT",
    group: Group::Html,
    weight: 1.0,
    summary: "text too small to read",
    why: "words for the filter that no reader sees; the preview line of newsletters is shorter",
    check: Check::Facts(|facts| {
        let tiny = facts.html.tiny_characters;
        (tiny > 200).then(|| Evidence::new(tiny))
    }),
};

/// Many hidden parts.
pub const MANY_INVISIBLE_PARTS: Rule = Rule {
    symbol: "MANY_INVISIBLE_PARTS",
    group: Group::Html,
    weight: 1.0,
    summary: "many hidden pieces of text",
    why: "the reader sees another text than the filter; newsletters hide one or two pieces for other screens",
    check: Check::Facts(|facts| {
        let (blocks, characters) = (facts.html.hidden_blocks, facts.html.hidden_characters);
        (blocks > 10 && characters > 200)
            .then(|| Evidence::new(format_args!("{characters} characters in {blocks}")))
    }),
};

/// A linked image in a tiny message.
pub const HTML_SHORT_LINK_IMG_1: Rule = Rule {
    symbol: "HTML_SHORT_LINK_IMG_1",
    group: Group::Html,
    weight: 2.6,
    summary: "hardly any HTML around a linked image",
    why: "the message is in the picture, where no filter reads; less than 1 KiB of HTML",
    check: Check::Facts(|facts| when(linked_image(facts, 0..1_024))),
};

/// A linked image in a small message.
pub const HTML_SHORT_LINK_IMG_2: Rule = Rule {
    symbol: "HTML_SHORT_LINK_IMG_2",
    group: Group::Html,
    weight: 1.0,
    summary: "little HTML around a linked image",
    why: "the message is in the picture, where no filter reads; less than 1.5 KiB of HTML",
    check: Check::Facts(|facts| when(linked_image(facts, 1_024..1_536))),
};

/// A linked image in a short message.
pub const HTML_SHORT_LINK_IMG_3: Rule = Rule {
    symbol: "HTML_SHORT_LINK_IMG_3",
    group: Group::Html,
    weight: 0.5,
    summary: "short HTML around a linked image",
    why: "the message is in the picture, where no filter reads; less than 2 KiB of HTML",
    check: Check::Facts(|facts| when(linked_image(facts, 1_536..2_048))),
};

/// Images instead of text.
pub const HTML_IMAGE_ONLY: Rule = Rule {
    symbol: "HTML_IMAGE_ONLY",
    group: Group::Html,
    weight: 2.1,
    summary: "images from a server and fewer than twenty words",
    why: "the message is in the picture, where no filter reads",
    check: Check::Facts(|facts| {
        let big = facts
            .html
            .images
            .iter()
            .filter(|image| image.source == Source::Remote && !is_tiny(image))
            .count();
        (big > 0 && facts.text.words() < 20)
            .then(|| Evidence::new(format_args!("{big} images, {} words", facts.text.words())))
    }),
};

/// An image from nowhere.
pub const R_EMPTY_IMAGE: Rule = Rule {
    symbol: "R_EMPTY_IMAGE",
    group: Group::Html,
    weight: 0.5,
    summary: "an image of some size without a source",
    why: "a template whose placeholder was not filled in (Rspamd: 2); private copies of web pages have it too",
    check: Check::Facts(|facts| {
        when(facts.html.images.iter().any(|image| image.source == Source::None && !is_tiny(image)))
    }),
};

/// Many images, little text.
pub const R_SUSPICIOUS_IMAGES: Rule = Rule {
    symbol: "R_SUSPICIOUS_IMAGES",
    group: Group::Html,
    weight: 3.4,
    summary: "much image and little text",
    why: "the message is cut into pictures, where no filter reads (Rspamd: 5)",
    check: Check::Facts(|facts| {
        let area: u64 = facts
            .html
            .images
            .iter()
            .map(|image| {
                u64::from(image.width.unwrap_or(0).min(2_000))
                    * u64::from(image.height.unwrap_or(0).min(4_000))
            })
            .sum();
        let words = facts.text.words() as u64;
        // A word takes about 1,000 square pixels of a page.
        (area > 90_000 && words * 1_000 < area / 4)
            .then(|| Evidence::new(format_args!("{area} pixels, {words} words")))
    }),
};

/// A style sheet from elsewhere.
pub const EXT_CSS: Rule = Rule {
    symbol: "EXT_CSS",
    group: Group::Html,
    weight: 0.4,
    summary: "a style sheet from a server",
    why: "mail programs do not load it; a copied web page",
    check: Check::Facts(|facts| when(facts.html.external_styles > 0)),
};

/// Leads elsewhere by itself.
pub const HTML_META_REFRESH_URL: Rule = Rule {
    symbol: "HTML_META_REFRESH_URL",
    group: Group::Html,
    weight: 5.0,
    summary: "the HTML leads to another page by itself",
    why: "no mail needs meta refresh; attached phishing pages do",
    check: Check::Facts(|facts| {
        facts.html.refresh.as_deref().filter(|url| url.contains("://")).map(Evidence::new)
    }),
};

/// A page in a link.
pub const DATA_URI_OBFU: Rule = Rule {
    symbol: "DATA_URI_OBFU",
    group: Group::Html,
    weight: 2.0,
    summary: "a link or frame with a data: URL",
    why: "RFC 2397, 2 is for small pieces; here it hides a page",
    check: Check::Facts(|facts| {
        (facts.html.data_links > 64).then(|| Evidence::new(format_args!("{} bytes", facts.html.data_links)))
    }),
};

/// A form.
pub const HTML_FORM: Rule = Rule {
    symbol: "HTML_FORM",
    group: Group::Html,
    weight: 0.3,
    summary: "a form in the message",
    why: "honest senders link to their page; phishing asks at once; searches in newsletters have one too",
    check: Check::Facts(|facts| {
        let form = facts.html.forms.first()?;
        let target = form.url.and_then(|url| facts.urls.get(url)).map_or("", |url| url.host.as_str());
        Some(Evidence::new(if form.by_mail { "mailto:" } else { target }))
    }),
};

/// A password field.
pub const HTML_PASSWORD_FIELD: Rule = Rule {
    symbol: "HTML_PASSWORD_FIELD",
    group: Group::Html,
    weight: 5.0,
    summary: "the message asks for a password in a form",
    why: "nobody honest asks for it in a message; a page on the web does",
    check: Check::Facts(|facts| when(facts.html.password_fields > 0)),
};

/// A script.
pub const HTML_SCRIPT: Rule = Rule {
    symbol: "HTML_SCRIPT",
    group: Group::Html,
    weight: 0.7,
    summary: "a script in the message",
    why: "mail programs do not run it; a copied or hostile page",
    check: Check::Facts(|facts| (facts.html.scripts > 0).then(|| Evidence::new(facts.html.scripts))),
};

/// A frame.
pub const HTML_FRAME: Rule = Rule {
    symbol: "HTML_FRAME",
    group: Group::Html,
    weight: 0.2,
    summary: "a frame or object that loads something",
    why: "mail programs do not load it; the worms of the nineties did",
    check: Check::Facts(|facts| when(facts.html.frames > 0)),
};

/// Words broken by tags.
pub const HTML_BROKEN_WORDS: Rule = Rule {
    symbol: "HTML_BROKEN_WORDS",
    group: Group::Html,
    weight: 3.1,
    summary: "words broken by comments or by tags that do not exist",
    why: "the reader sees a word that the filter does not",
    check: Check::Facts(|facts| {
        let broken = facts.html.broken_words;
        (broken >= 3).then(|| Evidence::new(broken))
    }),
};

/// Tags that do not exist.
pub const HTML_UNKNOWN_TAGS: Rule = Rule {
    symbol: "HTML_UNKNOWN_TAGS",
    group: Group::Html,
    weight: 1.5,
    summary: "many tags that no HTML has",
    why: "random words in angle brackets make every copy different",
    check: Check::Facts(|facts| {
        let (unknown, all) = (facts.html.unknown_tags, facts.html.tags);
        (unknown >= 5 && unknown * 10 > all).then(|| Evidence::new(format_args!("{unknown} of {all}")))
    }),
};

fn linked_image(facts: &Facts, sizes: std::ops::Range<usize>) -> bool {
    let html = &facts.html;
    let linked = html
        .images
        .iter()
        .any(|image| image.linked && matches!(image.source, Source::Remote | Source::Attached));
    html.present && sizes.contains(&html.size) && linked && facts.text.words() < 100
}

/// A pixel for counting readers, or a spacer.
fn is_tiny(image: &Image) -> bool {
    image.width.is_some_and(|width| width < 4) || image.height.is_some_and(|height| height < 4)
}
