//! Inline CSS as far as it hides text: display, visibility, sizes, opacity, colours.
//!
//! For `html`. Style sheets in `<style>` are not applied; what they hide is seen as visible.

/// What an element's own style says; `None` where it says nothing and the parent's holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Nothing of the element is shown.
    pub hidden: bool,
    /// The font has no height to speak of.
    pub tiny: Option<bool>,
    /// The text colour.
    pub colour: Option<Colour>,
    /// The background colour.
    pub background: Option<Colour>,
    /// A background image covers whatever colour there is, and so does a colour that is not understood, or that shines through.
    pub background_image: bool,
}

/// A colour by its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub u8, pub u8, pub u8);

impl Colour {
    /// What a page is painted with when nobody says otherwise.
    pub const WHITE: Self = Self(255, 255, 255);
    /// What text is painted with when nobody says otherwise.
    pub const BLACK: Self = Self(0, 0, 0);

    /// Whether text in one is not to be read on the other. WCAG 2, 1.4.3 wants a contrast of 4.5; nobody reads at 1.1, which is
    /// about this distance in each channel.
    pub fn is_close_to(self, other: Self) -> bool {
        let distance = |a: u8, b: u8| a.abs_diff(b);
        distance(self.0, other.0).max(distance(self.1, other.1)).max(distance(self.2, other.2)) <= 12
    }

    /// A colour as HTML and CSS write one: `#fff`, `#ffffff`, `ffffff`, `rgb(1, 2, 3)`, or a name. None as well for one that shines through.
    pub fn parse(text: &str) -> Option<Self> {
        Self::covering(text, 1.0)
    }

    /// A colour that covers at least so much of what is behind it, from 0 to 1.
    fn covering(text: &str, least: f32) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if let Ok(place) = NAMES.binary_search_by(|(name, _)| (*name).cmp(&text)) {
            let [_, red, green, blue] = NAMES.get(place)?.1.to_be_bytes();
            return Some(Self(red, green, blue));
        }
        if let Some(inner) =
            text.strip_prefix("rgb").and_then(|rest| rest.split_once('(')).map(|(_, inner)| inner)
        {
            let mut numbers = inner
                .trim_end_matches(')')
                .split([',', ' ', '/'])
                .filter(|part| !part.is_empty())
                .map(|part| part.parse::<f32>().ok());
            let mut channel = || numbers.next()?.map(|value| value as u8);
            let colour = Self(channel()?, channel()?, channel()?);
            let covers = numbers.next().is_none_or(|alpha| alpha.is_some_and(|alpha| alpha >= least));
            return covers.then_some(colour);
        }
        let hex = text.strip_prefix('#').unwrap_or(&text);
        if !hex.is_ascii() {
            return None;
        }
        let channel =
            |range: std::ops::Range<usize>| hex.get(range).and_then(|part| u8::from_str_radix(part, 16).ok());
        match hex.len() {
            3 => Some(Self(channel(0..1)? * 17, channel(1..2)? * 17, channel(2..3)? * 17)),
            6 | 8 => Some(Self(channel(0..2)?, channel(2..4)?, channel(4..6)?)),
            _ => None,
        }
    }
}

impl Style {
    /// Reads the value of a `style` attribute.
    pub fn parse(text: &str) -> Self {
        let mut style = Self::default();
        let (mut clipped, mut collapsed) = (false, false);
        let text = text.to_ascii_lowercase();
        for declaration in text.split(';').take(MAX_DECLARATIONS) {
            let Some((property, value)) = declaration.split_once(':') else { continue };
            let value = value.trim().trim_end_matches("!important").trim();
            match property.trim() {
                "display" => style.hidden |= value == "none",
                "visibility" => style.hidden |= value == "hidden" || value == "collapse",
                "opacity" => style.hidden |= value.parse::<f32>().is_ok_and(|opacity| opacity < 0.05),
                "font-size" => style.tiny = size(value).map(|pixels| pixels <= TINY),
                "color" => style.colour = Colour::covering(value, 0.5),
                "background-color" => {
                    style.background = Colour::parse(value);
                    style.background_image |= style.background.is_none() && is_function(value);
                }
                "background" => {
                    style.background =
                        Colour::parse(value).or_else(|| value.split(' ').find_map(Colour::parse));
                    style.background_image |= value.contains("url(")
                        || value.contains("gradient")
                        || style.background.is_none() && is_function(value);
                }
                "background-image" => style.background_image |= value != "none",
                "overflow" => clipped = value == "hidden",
                "height" | "max-height" | "width" | "max-width" => {
                    collapsed |= size(value).is_some_and(|pixels| pixels < 1.5)
                }
                "text-indent" | "left" | "top" | "margin-left" => {
                    style.hidden |= size(value).is_some_and(|pixels| pixels < -500.0)
                }
                "mso-hide" => {} // hides in Outlook only: alternative versions are made with it
                _ => {}
            }
        }
        style.hidden |= clipped && collapsed;
        style
    }
}

/// Whether something is painted by a function, such as `hsl()`: not with an alpha of 0, which comes last.
fn is_function(value: &str) -> bool {
    let last = value.trim_end_matches(')').rsplit([',', ' ', '/', '(']).next();
    value.contains('(') && last.is_none_or(|last| last.parse::<f32>() != Ok(0.0))
}

/// A length in pixels, roughly: the unit decides only whether it is tiny.
fn size(value: &str) -> Option<f32> {
    let end = value.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-')).unwrap_or(value.len());
    let number: f32 = value[..end].parse().ok()?;
    match value[end..].trim() {
        "" | "px" => Some(number),
        "pt" => Some(number * 4.0 / 3.0),
        "em" | "rem" => Some(number * 16.0),
        "%" => Some(number * 0.16),
        _ => None,
    }
}

/// At two pixels nothing is legible; one pixel is the usual "preheader" trick as well, which is why the rule counts characters.
const TINY: f32 = 2.0;

/// More declarations than any style has.
const MAX_DECLARATIONS: usize = 64;

/// The names of CSS Color 4, 6.1, sorted.
#[rustfmt::skip]
const NAMES: &[(&str, u32)] = &[
    ("aliceblue", 0xf0f8ff), ("antiquewhite", 0xfaebd7), ("aqua", 0x00ffff), ("aquamarine", 0x7fffd4),
    ("azure", 0xf0ffff), ("beige", 0xf5f5dc), ("bisque", 0xffe4c4), ("black", 0x000000),
    ("blanchedalmond", 0xffebcd), ("blue", 0x0000ff), ("blueviolet", 0x8a2be2), ("brown", 0xa52a2a),
    ("burlywood", 0xdeb887), ("cadetblue", 0x5f9ea0), ("chartreuse", 0x7fff00), ("chocolate", 0xd2691e),
    ("coral", 0xff7f50), ("cornflowerblue", 0x6495ed), ("cornsilk", 0xfff8dc), ("crimson", 0xdc143c),
    ("cyan", 0x00ffff), ("darkblue", 0x00008b), ("darkcyan", 0x008b8b), ("darkgoldenrod", 0xb8860b),
    ("darkgray", 0xa9a9a9), ("darkgreen", 0x006400), ("darkgrey", 0xa9a9a9), ("darkkhaki", 0xbdb76b),
    ("darkmagenta", 0x8b008b), ("darkolivegreen", 0x556b2f), ("darkorange", 0xff8c00),
    ("darkorchid", 0x9932cc), ("darkred", 0x8b0000), ("darksalmon", 0xe9967a), ("darkseagreen", 0x8fbc8f),
    ("darkslateblue", 0x483d8b), ("darkslategray", 0x2f4f4f), ("darkslategrey", 0x2f4f4f),
    ("darkturquoise", 0x00ced1), ("darkviolet", 0x9400d3), ("deeppink", 0xff1493), ("deepskyblue", 0x00bfff),
    ("dimgray", 0x696969), ("dimgrey", 0x696969), ("dodgerblue", 0x1e90ff), ("firebrick", 0xb22222),
    ("floralwhite", 0xfffaf0), ("forestgreen", 0x228b22), ("fuchsia", 0xff00ff), ("gainsboro", 0xdcdcdc),
    ("ghostwhite", 0xf8f8ff), ("gold", 0xffd700), ("goldenrod", 0xdaa520), ("gray", 0x808080),
    ("green", 0x008000), ("greenyellow", 0xadff2f), ("grey", 0x808080), ("honeydew", 0xf0fff0),
    ("hotpink", 0xff69b4), ("indianred", 0xcd5c5c), ("indigo", 0x4b0082), ("ivory", 0xfffff0),
    ("khaki", 0xf0e68c), ("lavender", 0xe6e6fa), ("lavenderblush", 0xfff0f5), ("lawngreen", 0x7cfc00),
    ("lemonchiffon", 0xfffacd), ("lightblue", 0xadd8e6), ("lightcoral", 0xf08080), ("lightcyan", 0xe0ffff),
    ("lightgoldenrodyellow", 0xfafad2), ("lightgray", 0xd3d3d3), ("lightgreen", 0x90ee90),
    ("lightgrey", 0xd3d3d3), ("lightpink", 0xffb6c1), ("lightsalmon", 0xffa07a), ("lightseagreen", 0x20b2aa),
    ("lightskyblue", 0x87cefa), ("lightslategray", 0x778899), ("lightslategrey", 0x778899),
    ("lightsteelblue", 0xb0c4de), ("lightyellow", 0xffffe0), ("lime", 0x00ff00), ("limegreen", 0x32cd32),
    ("linen", 0xfaf0e6), ("magenta", 0xff00ff), ("maroon", 0x800000), ("mediumaquamarine", 0x66cdaa),
    ("mediumblue", 0x0000cd), ("mediumorchid", 0xba55d3), ("mediumpurple", 0x9370db),
    ("mediumseagreen", 0x3cb371), ("mediumslateblue", 0x7b68ee), ("mediumspringgreen", 0x00fa9a),
    ("mediumturquoise", 0x48d1cc), ("mediumvioletred", 0xc71585), ("midnightblue", 0x191970),
    ("mintcream", 0xf5fffa), ("mistyrose", 0xffe4e1), ("moccasin", 0xffe4b5), ("navajowhite", 0xffdead),
    ("navy", 0x000080), ("oldlace", 0xfdf5e6), ("olive", 0x808000), ("olivedrab", 0x6b8e23),
    ("orange", 0xffa500), ("orangered", 0xff4500), ("orchid", 0xda70d6), ("palegoldenrod", 0xeee8aa),
    ("palegreen", 0x98fb98), ("paleturquoise", 0xafeeee), ("palevioletred", 0xdb7093),
    ("papayawhip", 0xffefd5), ("peachpuff", 0xffdab9), ("peru", 0xcd853f), ("pink", 0xffc0cb),
    ("plum", 0xdda0dd), ("powderblue", 0xb0e0e6), ("purple", 0x800080), ("rebeccapurple", 0x663399),
    ("red", 0xff0000), ("rosybrown", 0xbc8f8f), ("royalblue", 0x4169e1), ("saddlebrown", 0x8b4513),
    ("salmon", 0xfa8072), ("sandybrown", 0xf4a460), ("seagreen", 0x2e8b57), ("seashell", 0xfff5ee),
    ("sienna", 0xa0522d), ("silver", 0xc0c0c0), ("skyblue", 0x87ceeb), ("slateblue", 0x6a5acd),
    ("slategray", 0x708090), ("slategrey", 0x708090), ("snow", 0xfffafa), ("springgreen", 0x00ff7f),
    ("steelblue", 0x4682b4), ("tan", 0xd2b48c), ("teal", 0x008080), ("thistle", 0xd8bfd8),
    ("tomato", 0xff6347), ("turquoise", 0x40e0d0), ("violet", 0xee82ee), ("wheat", 0xf5deb3),
    ("white", 0xffffff), ("whitesmoke", 0xf5f5f5), ("yellow", 0xffff00), ("yellowgreen", 0x9acd32),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn colours_in_every_spelling() {
        for text in ["white", "#FFF", "#ffffff", "FFFFFF", "rgb(255, 255, 255)", "rgba(255 255 255 / 1)"] {
            assert_eq!(Colour::parse(text), Some(Colour::WHITE), "{text}");
        }
        for text in ["", "#ff", "windowtext", "rgba(255,255,255,0)", "#\u{e9}\u{e9}\u{e9}", "rgb("] {
            assert_eq!(Colour::parse(text), None, "{text}");
        }
    }

    #[test]
    fn names_are_found() {
        assert!(NAMES.is_sorted());
        for (text, colour) in [
            ("Orange", Colour(255, 165, 0)),
            ("aliceblue", Colour(240, 248, 255)),
            ("yellowgreen", Colour(154, 205, 50)),
        ] {
            assert_eq!(Colour::parse(text), Some(colour), "{text}");
        }
    }

    #[test]
    fn what_is_painted_over_is_not_what_was_there() {
        for unknown in
            ["rgba(0, 0, 0, 0.8)", "rgb(0 0 0 / 50%)", "hsl(0, 0%, 0%)", "hsl(210 80% 0%)", "url(x.png)"]
        {
            for property in ["background", "background-color"] {
                let style = Style::parse(&format!("{property}: {unknown}"));
                assert!(style.background.is_none() && style.background_image, "{unknown}");
            }
        }
        for nothing in ["transparent", "none", "rgba(0,0,0,0)", "hsla(0, 0%, 0%, 0)", "rgb(0 0 0 / 0)"] {
            let style = Style::parse(&format!("background: {nothing}"));
            assert!(style.background.is_none() && !style.background_image, "{nothing}");
        }
        assert_eq!(Style::parse("background: orange").background, Some(Colour(255, 165, 0)));
        assert_eq!(Style::parse("color: rgba(255, 255, 255, .9)").colour, Some(Colour::WHITE));
    }

    #[test]
    fn what_hides_is_recognised() {
        for hidden in [
            "display:none",
            "Visibility: Hidden !important",
            "opacity:0",
            "max-height:0; overflow:hidden",
            "text-indent:-9999px",
        ] {
            assert!(Style::parse(hidden).hidden, "{hidden}");
        }
        for shown in
            ["display:block", "max-height:0", "overflow:hidden", "opacity:.9", "mso-hide:all", "::;;"]
        {
            assert!(!Style::parse(shown).hidden, "{shown}");
        }
        assert_eq!(Style::parse("font-size:1px").tiny, Some(true));
        assert_eq!(Style::parse("font-size:0").tiny, Some(true));
        assert_eq!(Style::parse("font-size:12pt").tiny, Some(false));
    }
}
