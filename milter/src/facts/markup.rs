//! The reader of HTML: from tokens (html5gum, WHATWG) to what `html` keeps.
//!
//! It keeps a stack of open elements with their inline style, [`MAX_OPEN`] deep, and builds no tree: an end tag closes the last open
//! element of its name, whatever stands between.

use html5gum::emitters::callback::{Callback, CallbackEmitter, CallbackEvent};
use html5gum::{Emitter, ForwardingEmitter, Span, Tokenizer};

use super::colours::{Colour, Style};
use super::elements::{is_block, is_known, is_void};
use super::html::{Form, Html, Image, Link, MAX_LINK_TEXT, MAX_LINKS, Source};
use super::mailboxes::cut;
use super::text::lossy;
use super::urls::{Finder, Origin};

/// Deeper than any program nests; deeper elements take their parent's style.
const MAX_OPEN: usize = 256;
/// The value of one attribute that is looked at.
const MAX_ATTRIBUTE: usize = 4_096;

/// Reads one HTML text to its end.
pub(super) fn read(html: &mut Html, text: &str, finder: &mut Finder) {
    let mut reader = Reader {
        html,
        finder,
        open: Vec::new(),
        tag: Tag::default(),
        link: None,
        muted: None,
        last: Last::Space,
        gap: false,
    };
    let mut emitter =
        CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| -> Option<std::convert::Infallible> {
            reader.event(event);
            None
        });
    emitter.naively_switch_states(true);
    // Nothing is ever emitted, so this runs to the end of the text.
    let _ = Tokenizer::new_with_emitter(text, Quiet(emitter)).count();
    reader.close_link();
}

/// An emitter that tells neither errors, for which every byte would be looked at once more, nor what stands in comments.
struct Quiet<F: Callback<std::convert::Infallible, ()>>(CallbackEmitter<F>);

impl<F: Callback<std::convert::Infallible, ()>> ForwardingEmitter for Quiet<F> {
    type Token = std::convert::Infallible;

    fn inner(&mut self) -> &mut impl Emitter<Token = Self::Token> {
        &mut self.0
    }

    fn should_emit_errors(&mut self) -> bool {
        false
    }

    fn emit_error(&mut self, _: html5gum::Error) {}

    fn push_comment(&mut self, _: &[u8]) {}
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
    /// The attribute whose value comes next; none where nobody looks at it.
    attribute: Option<&'static [u8]>,
    /// The attributes that somebody looks at: most of a newsletter's say nothing here.
    values: Vec<(&'static [u8], String)>,
    /// How many attributes it has that run a script.
    handlers: usize,
}

impl Tag {
    /// Another tag, in the same memory.
    fn begin(&mut self, name: &[u8]) {
        self.name.clear();
        self.name.extend_from_slice(name);
        self.attribute = None;
        self.values.clear();
        self.handlers = 0;
    }

    fn value(&self, name: &[u8]) -> Option<&str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// The attributes that are looked at.
const ATTRIBUTES: [&[u8]; 16] = [
    b"action",
    b"background",
    b"bgcolor",
    b"color",
    b"content",
    b"data",
    b"height",
    b"hidden",
    b"href",
    b"http-equiv",
    b"rel",
    b"src",
    b"style",
    b"text",
    b"type",
    b"width",
];

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
                self.tag.begin(&name[..name.len().min(64)]);
            }
            CallbackEvent::AttributeName { name } => {
                self.tag.handlers += usize::from(name.starts_with(b"on") && name.len() > 4);
                self.tag.attribute = ATTRIBUTES.into_iter().find(|known| *known == name);
                if let Some(known) = self.tag.attribute
                    && self.tag.values.len() < 64
                {
                    self.tag.values.push((known, String::new()));
                }
            }
            CallbackEvent::AttributeValue { value } => {
                if let Some((name, text)) = self.tag.values.last_mut()
                    && Some(*name) == self.tag.attribute
                {
                    *text = lossy(&value[..value.len().min(MAX_ATTRIBUTE)]).into_owned();
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
        self.started(&tag, self_closing);
        self.tag = tag;
        self.tag.begin(b"");
    }

    fn started(&mut self, tag: &Tag, self_closing: bool) {
        self.html.tags += 1;
        if !is_known(&tag.name) {
            self.html.unknown_tags += 1;
            self.gap = self.last == Last::Letter;
        }
        if is_block(&tag.name) {
            self.line_end();
        }
        self.html.scripts += tag.handlers;
        self.special(tag);
        if self_closing || is_void(&tag.name) || self.open.len() >= MAX_OPEN {
            return;
        }
        // These close an open one of their own kind (WHATWG HTML, 13.1.2.4); old mail rarely writes the end tag.
        let implied =
            matches!(tag.name.as_slice(), b"p" | b"li" | b"td" | b"th" | b"tr" | b"dd" | b"dt" | b"option");
        if implied && self.open.last().is_some_and(|open| open.name == tag.name) {
            self.open.pop();
        }
        let look = self.styled(tag);
        if look.hidden && !self.look().hidden {
            self.html.hidden_blocks += 1;
        }
        if matches!(tag.name.as_slice(), b"script" | b"style" | b"title" | b"noembed" | b"noframes") {
            self.muted = Some(tag.name.clone());
        }
        self.open.push(Open { name: tag.name.clone(), look });
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
        if self.html.images.len() < MAX_LINKS {
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
        let text = lossy(value);
        if let Some(muted) = &self.muted {
            if muted == b"title" && self.html.title.is_empty() {
                self.html.title = cut(text.trim(), MAX_LINK_TEXT).to_owned();
            }
            return;
        }
        let look = self.look();
        let count = visible_characters(&text);
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
        // One text may be longer than all the room there is.
        let room = super::text::MAX_VISIBLE.saturating_sub(self.html.visible.len());
        if room > 0 {
            let mut rest = cut(&text, room);
            while let Some(c) = rest.chars().next() {
                // Most of a text is words; what has no white space goes in at once.
                let word = rest.bytes().take_while(u8::is_ascii_graphic).count();
                if word > 0 {
                    let (word, after) = rest.split_at(word);
                    self.html.visible.push_str(word);
                    let letter = word.ends_with(|c: char| c.is_ascii_alphabetic());
                    self.last = if letter { Last::Letter } else { Last::Other };
                    rest = after;
                    continue;
                }
                rest = &rest[c.len_utf8()..];
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

/// Characters that are no white space.
fn visible_characters(text: &str) -> usize {
    if text.is_ascii() {
        return text.bytes().filter(|byte| !matches!(byte, b'\t'..=b'\r' | b' ')).count();
    }
    text.chars().filter(|c| !c.is_whitespace()).count()
}
