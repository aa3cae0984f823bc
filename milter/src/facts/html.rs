//! HTML as its reader sees it: the visible text, what is hidden from him, links with what they show, images, forms.
//!
//! For the rules of the groups `html` and `phishing`. `markup` reads it; no style sheet is applied and no script runs, so what `<style>`
//! hides is taken for visible. At most [`MAX_LINKS`] links, images and forms are kept; the text is bounded by `text`.

use super::markup;
use super::urls::Finder;

/// Links kept with their text, and as many images and forms.
pub const MAX_LINKS: usize = 1_000;
/// The text of one link that is kept.
pub(super) const MAX_LINK_TEXT: usize = 512;

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
        markup::read(self, text, finder);
        self.visible.push('\n');
    }

    /// Images by where they come from.
    pub fn images_from(&self, source: Source) -> usize {
        self.images.iter().filter(|image| image.source == source).count()
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
