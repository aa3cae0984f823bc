//! HTML as its reader sees it: the visible text, what is hidden from him, links with what they show, images, forms.
//!
//! For the rules of the groups `html` and `phishing`. It reads tokens (html5gum, WHATWG) and keeps a stack of open elements with their
//! inline style; it builds no tree, applies no style sheet, runs no script. What `<style>` hides is taken for visible.
//!
//! Bounds: [`MAX_OPEN`] elements deep, [`MAX_LINKS`] links, [`MAX_IMAGES`] images; the text is bounded by `text`.

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

use super::colours::{Colour, Style};
use super::elements::{is_block, is_known, is_void};
use super::mailboxes::cut;
use super::urls::{Finder, Origin};

/// Deeper than any program nests; deeper elements take their parent's style.
const MAX_OPEN: usize = 256;
/// Links kept with their text.
pub const MAX_LINKS: usize = 1_000;
/// Images kept.
const MAX_IMAGES: usize = 1_000;
/// The text of one link that is kept.
const MAX_LINK_TEXT: usize = 512;
/// The value of one attribute that is looked at.
const MAX_ATTRIBUTE: usize = 4_096;

/// What a reader of the HTML parts sees, and does not see.
#[derive(Debug, Clone, Default)]
pub struct Html {
    /// Whether there is an HTML part.
    pub present: bool,
    /// The size of all HTML in bytes.
    pub size: usize,
    /// The visible text, blocks separated by line ends.
    pub visible: String,
    /// How many characters are visible, white space not counted.
    pub visible_characters: usize,
    /// How many characters are hidden by style.
    pub hidden_characters: usize,
    /// How many characters have (almost) the colour of their background.
    pub camouflaged_characters: usize,
    /// How many characters are too small to read.
    pub tiny_characters: usize,
    /// How many elements hide text.
    pub hidden_blocks: usize,
    /// The links.
    pub links: Vec<Link>,
    /// The images.
    pub images: Vec<Image>,
    /// The forms.
    pub forms: Vec<Form>,
    /// Input fields for a password.
    pub password_fields: usize,
    /// Elements that run scripts, and event handlers.
    pub scripts: usize,
    /// Frames, objects and embedded pages.
    pub frames: usize,
    /// Style sheets from elsewhere.
    pub external_styles: usize,
    /// Where `<meta http-equiv=refresh>` leads.
    pub refresh: Option<String>,
    /// `<base href>`.
    pub base: Option<String>,
    /// Comments and empty elements between two letters of a word.
    pub broken_words: usize,
    /// The longest `data:` URL in a link or frame.
    pub data_links: usize,
    /// Start tags.
    pub tags: usize,
    /// Tags that no HTML has.
    pub unknown_tags: usize,
    /// Whether there is an `<html>` or `<body>` tag.
    pub has_frame_tags: bool,
    /// `<title>`.
    pub title: String,
}

/// A link and what it shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Which of the message's URLs it leads to.
    pub url: Option<usize>,
    /// The visible text, cut.
    pub text: String,
    /// Whether an image stands in it.
    pub has_image: bool,
}

/// An image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// Where it comes from.
    pub source: Source,
    /// Its width in pixels, if the tag says so.
    pub width: Option<u32>,
    /// Its height in pixels, if the tag says so.
    pub height: Option<u32>,
    /// Whether a link surrounds it.
    pub linked: bool,
}

/// Where an image comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Source {
    /// A server.
    Remote,
    /// A part of the message (`cid:`).
    Attached,
    /// The tag itself (`data:`).
    Inline,
    /// Nowhere.
    #[default]
    None,
}

/// A form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// Which of the message's URLs it is sent to.
    pub url: Option<usize>,
    /// Whether it is sent by mail.
    pub by_mail: bool,
    /// How many fields it has that a reader writes into.
    pub fields: usize,
}

impl Html {
    /// Reads one HTML text, adding to what is known.
    pub(super) fn read(&mut self, text: &str, finder: &mut Finder) {
        self.present = true;
        self.size += text.len();
        let mut reader = Reader {
            html: self,
            finder,
            open: Vec::new(),
            tag: Tag::default(),
            link: None,
            muted: None,
            last: Last::Space,
            gap: false,
        };
        let mut emitter = CallbackEmitter::new(
            |event: CallbackEvent<'_>, _: Span<()>| -> Option<std::convert::Infallible> {
                reader.event(event);
                None
            },
        );
        emitter.naively_switch_states(true);
        // Nothing is ever emitted, so this runs to the end of the text.
        let _ = Tokenizer::new_with_emitter(text, emitter).count();
        reader.close_link();
        self.visible.push('\n');
    }

    /// Images by where they come from.
    pub fn images_from(&self, source: Source) -> usize {
        self.images.iter().filter(|image| image.source == source).count()
    }
}

/// What came before the next character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Space,
    Letter,
    Other,
}

/// An open element that changes how text looks, or has to be matched with its end.
struct Open {
    name: Vec<u8>,
    look: Look,
}

/// How text looks there.
#[derive(Clone, Copy)]
struct Look {
    hidden: bool,
    tiny: bool,
    colour: Colour,
    /// None where an image covers the colour.
    background: Option<Colour>,
}

/// The start tag being read.
#[derive(Default)]
struct Tag {
    name: Vec<u8>,
    attribute: Vec<u8>,
    values: Vec<(Vec<u8>, String)>,
}

impl Tag {
    fn value(&self, name: &[u8]) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

struct Reader<'a> {
    html: &'a mut Html,
    finder: &'a mut Finder,
    open: Vec<Open>,
    tag: Tag,
    link: Option<Link>,
    /// The element whose content is no text: script, style, title.
    muted: Option<Vec<u8>>,
    last: Last,
    /// A comment or an element came directly after a letter.
    gap: bool,
}

impl Reader<'_> {
    fn event(&mut self, event: CallbackEvent<'_>) {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.tag = Tag { name: name[..name.len().min(64)].to_vec(), ..Tag::default() };
            }
            CallbackEvent::AttributeName { name } => {
                self.tag.attribute = name[..name.len().min(64)].to_vec();
                if self.tag.values.len() < 64 {
                    let name = self.tag.attribute.clone();
                    self.tag.values.push((name, String::new()));
                }
            }
            CallbackEvent::AttributeValue { value } => {
                if let Some((name, text)) = self.tag.values.last_mut()
                    && *name == self.tag.attribute
                {
                    *text = String::from_utf8_lossy(&value[..value.len().min(MAX_ATTRIBUTE)]).into_owned();
                }
            }
            CallbackEvent::CloseStartTag { self_closing } => self.start(self_closing),
            CallbackEvent::EndTag { name } => self.end(name),
            CallbackEvent::String { value } => self.string(value),
            CallbackEvent::Comment { .. } => self.gap = self.last == Last::Letter,
            CallbackEvent::Doctype { .. } | CallbackEvent::Error(_) => {}
        }
    }

    fn look(&self) -> Look {
        self.open.last().map_or(
            Look { hidden: false, tiny: false, colour: Colour::BLACK, background: Some(Colour::WHITE) },
            |open| open.look,
        )
    }

    fn start(&mut self, self_closing: bool) {
        let tag = std::mem::take(&mut self.tag);
        self.html.tags += 1;
        if !is_known(&tag.name) {
            self.html.unknown_tags += 1;
            self.gap = self.last == Last::Letter;
        }
        if is_block(&tag.name) {
            self.line_end();
        }
        self.html.scripts +=
            tag.values.iter().filter(|(name, _)| name.starts_with(b"on") && name.len() > 4).count();
        self.special(&tag);
        if self_closing || is_void(&tag.name) || self.open.len() >= MAX_OPEN {
            return;
        }
        // These close an open one of their own kind (WHATWG HTML, 13.1.2.4); old mail rarely writes the end tag.
        let implied =
            matches!(tag.name.as_slice(), b"p" | b"li" | b"td" | b"th" | b"tr" | b"dd" | b"dt" | b"option");
        if implied && self.open.last().is_some_and(|open| open.name == tag.name) {
            self.open.pop();
        }
        let look = self.styled(&tag);
        if look.hidden && !self.look().hidden {
            self.html.hidden_blocks += 1;
        }
        if matches!(tag.name.as_slice(), b"script" | b"style" | b"title" | b"noembed" | b"noframes") {
            self.muted = Some(tag.name.clone());
        }
        self.open.push(Open { name: tag.name, look });
    }

    /// How text in this element looks: its own style over its parent's.
    fn styled(&self, tag: &Tag) -> Look {
        let mut look = self.look();
        let style = tag.value(b"style").map(Style::parse).unwrap_or_default();
        look.hidden |= style.hidden || tag.value(b"hidden").is_some();
        look.tiny = style.tiny.unwrap_or(look.tiny);
        if matches!(tag.name.as_slice(), b"table" | b"td" | b"th" | b"tr" | b"body" | b"div") {
            if let Some(colour) = tag.value(b"bgcolor").and_then(Colour::parse) {
                look.background = Some(colour);
            }
            if tag.value(b"background").is_some() {
                look.background = None;
            }
        }
        if let Some(colour) = style.background {
            look.background = Some(colour);
        }
        if style.background_image {
            look.background = None;
        }
        let attribute = match tag.name.as_slice() {
            b"font" => tag.value(b"color"),
            b"body" => tag.value(b"text"),
            _ => None,
        };
        if let Some(colour) = style.colour.or_else(|| attribute.and_then(Colour::parse)) {
            look.colour = colour;
        } else if tag.name == b"a" {
            // Links have a colour of their own unless they are given one.
            look.colour = Colour(0, 0, 238);
        }
        look
    }

    fn special(&mut self, tag: &Tag) {
        match tag.name.as_slice() {
            b"a" | b"area" => {
                self.close_link();
                let Some(href) = tag.value(b"href") else { return };
                if cut(href.trim_start(), 5).eq_ignore_ascii_case("data:") {
                    self.html.data_links = self.html.data_links.max(href.len());
                }
                let url = self.finder.attribute(href, Origin::Link);
                self.link = Some(Link { url, ..Link::default() });
            }
            b"img" | b"image" => self.image(tag),
            b"form" => {
                let action = tag.value(b"action").unwrap_or_default();
                let url = self.finder.attribute(action, Origin::Form);
                let by_mail = cut(action.trim_start(), 7).eq_ignore_ascii_case("mailto:");
                if self.html.forms.len() < MAX_LINKS {
                    self.html.forms.push(Form { url, by_mail, fields: 0 });
                }
            }
            b"input" => {
                let kind = tag.value(b"type").unwrap_or("text").to_ascii_lowercase();
                self.html.password_fields += usize::from(kind == "password");
                if matches!(kind.as_str(), "password" | "text" | "email" | "tel" | "number")
                    && let Some(form) = self.html.forms.last_mut()
                {
                    form.fields += 1;
                }
            }
            b"script" => self.html.scripts += 1,
            b"iframe" | b"frame" | b"object" | b"embed" | b"applet" => {
                self.html.frames += 1;
                if let Some(source) = tag.value(b"src").or_else(|| tag.value(b"data")) {
                    if cut(source.trim_start(), 5).eq_ignore_ascii_case("data:") {
                        self.html.data_links = self.html.data_links.max(source.len());
                    }
                    self.finder.attribute(source, Origin::Image);
                }
            }
            b"link" => {
                let style =
                    tag.value(b"rel").is_some_and(|rel| rel.to_ascii_lowercase().contains("stylesheet"));
                self.html.external_styles += usize::from(style);
            }
            b"meta"
                if tag
                    .value(b"http-equiv")
                    .is_some_and(|name| name.trim().eq_ignore_ascii_case("refresh")) =>
            {
                let content = tag.value(b"content").unwrap_or_default();
                let lower = content.to_ascii_lowercase();
                if let Some(at) = lower.find("url=").filter(|_| lower.len() == content.len()) {
                    let target = content[at + 4..].trim_matches(['"', '\'', ' ']);
                    self.finder.attribute(target, Origin::Link);
                    self.html.refresh = Some(cut(target, MAX_LINK_TEXT).to_owned());
                }
            }
            b"base" => self.html.base = tag.value(b"href").map(|href| cut(href, MAX_LINK_TEXT).to_owned()),
            b"html" | b"body" => self.html.has_frame_tags = true,
            b"br" | b"hr" => self.line_end(),
            _ => {}
        }
    }

    fn image(&mut self, tag: &Tag) {
        let source = tag.value(b"src").unwrap_or_default().trim();
        let source = match () {
            () if source.is_empty() => Source::None,
            () if cut(source, 4).eq_ignore_ascii_case("cid:") => Source::Attached,
            () if cut(source, 5).eq_ignore_ascii_case("data:") => Source::Inline,
            () => match self.finder.attribute(source, Origin::Image) {
                Some(_) => Source::Remote,
                None => Source::None,
            },
        };
        let linked = match &mut self.link {
            Some(link) => {
                link.has_image = true;
                true
            }
            None => false,
        };
        let length =
            |name| tag.value(name).and_then(|value| value.trim().trim_end_matches("px").parse().ok());
        if self.html.images.len() < MAX_IMAGES {
            self.html.images.push(Image {
                source,
                width: length(b"width"),
                height: length(b"height"),
                linked,
            });
        }
    }

    fn end(&mut self, name: &[u8]) {
        let name = &name[..name.len().min(64)];
        if self.muted.as_deref() == Some(name) {
            self.muted = None;
        }
        if name == b"a" {
            self.close_link();
        }
        if !is_known(name) {
            self.gap = self.last == Last::Letter;
        }
        if is_block(name) {
            self.line_end();
        }
        if let Some(at) = self.open.iter().rposition(|open| open.name == name) {
            self.open.truncate(at);
        }
    }

    fn string(&mut self, value: &[u8]) {
        // The tokenizer was given a str and decodes to UTF-8.
        let text = String::from_utf8_lossy(value);
        if let Some(muted) = &self.muted {
            if muted == b"title" && self.html.title.is_empty() {
                self.html.title = cut(text.trim(), MAX_LINK_TEXT).to_owned();
            }
            return;
        }
        let look = self.look();
        let count = text.chars().filter(|c| !c.is_whitespace()).count();
        if look.hidden {
            self.html.hidden_characters += count;
            return;
        }
        let mut characters = text.chars();
        let first = characters.next();
        if self.gap && self.last == Last::Letter && first.is_some_and(|c| c.is_ascii_lowercase()) {
            self.html.broken_words += 1;
        }
        self.gap = false;
        if look.tiny {
            self.html.tiny_characters += count;
        } else if look.background.is_some_and(|background| background.is_close_to(look.colour)) {
            self.html.camouflaged_characters += count;
        }
        self.html.visible_characters += count;
        if let Some(link) = &mut self.link {
            let room = MAX_LINK_TEXT.saturating_sub(link.text.len());
            link.text.push_str(cut(&text, room));
        }
        if self.html.visible.len() < super::text::MAX_VISIBLE {
            for c in text.chars() {
                // White space collapses (CSS Text 3, 4.1.1); a no-break space is to the reader a space.
                if c.is_whitespace() {
                    if self.last != Last::Space {
                        self.html.visible.push(' ');
                    }
                    self.last = Last::Space;
                } else {
                    self.html.visible.push(c);
                    self.last = if c.is_alphabetic() { Last::Letter } else { Last::Other };
                }
            }
        }
    }

    fn line_end(&mut self) {
        if !self.html.visible.is_empty() && !self.html.visible.ends_with('\n') {
            self.html.visible.push('\n');
        }
        self.last = Last::Space;
        self.gap = false;
    }

    fn close_link(&mut self) {
        if let Some(link) = self.link.take()
            && self.html.links.len() < MAX_LINKS
        {
            self.html.links.push(link);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn read(text: &str) -> (Html, Finder) {
        let (mut html, mut finder) = (Html::default(), Finder::default());
        html.read(text, &mut finder);
        (html, finder)
    }

    #[test]
    fn the_reader_sees_text_and_not_what_is_hidden() {
        let (html, _) = read(
            "<title>T</title><style>p{}</style><p>Hello&nbsp;<b>big</b> world<div style='display:none'>secret <p>too</p></div>\
             <font color=white>pale</font><span style='font-size:1px'>tiny</span><script>alert(1)</script>",
        );
        assert_eq!(html.visible.trim(), "Hello big world\npaletiny");
        assert_eq!(html.title, "T");
        assert_eq!((html.hidden_characters, html.hidden_blocks), (9, 1));
        assert_eq!((html.camouflaged_characters, html.tiny_characters, html.scripts), (4, 4, 1));
    }

    #[test]
    fn links_know_what_they_show() {
        let (html, finder) = read(
            "<a href='http://evil.example/x'><b>www.bank.example</b></a><a href=//b.example><img src=cid:1></a>",
        );
        assert_eq!(html.links[0].text, "www.bank.example");
        assert_eq!(finder.urls()[html.links[0].url.unwrap()].host, "evil.example");
        assert_eq!(finder.urls()[html.links[1].url.unwrap()].host, "b.example");
        assert!(html.links[1].has_image);
        assert_eq!(html.images_from(Source::Attached), 1);
    }

    #[test]
    fn a_white_table_on_a_dark_page_is_no_camouflage() {
        let (html, _) = read(
            "<body bgcolor=black text=white>seen<table bgcolor='#ffffff'><tr><td style='color:#fefefe'>unseen</table>",
        );
        assert_eq!(html.camouflaged_characters, 6);
    }

    #[test]
    fn words_broken_by_comments_are_counted() {
        let (html, _) = read("via<!-- x -->gra ci<zz>alis plain <!-- a --> text <b>b</b>old");
        assert_eq!(html.broken_words, 2);
    }
}
