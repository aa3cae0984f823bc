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
    /// A background image covers whatever colour there is.
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

    /// A colour as HTML and CSS write one: `#fff`, `#ffffff`, `ffffff`, `rgb(1, 2, 3)`, or a basic name.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if let Some((_, colour)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Some(*colour);
        }
        if let Some(inner) =
            text.strip_prefix("rgb").and_then(|rest| rest.split_once('(')).map(|(_, inner)| inner)
        {
            let mut channels =
                inner.trim_end_matches(')').split([',', ' ', '/']).filter(|part| !part.is_empty());
            let mut next =
                || channels.next().and_then(|part| part.trim().parse::<f32>().ok()).map(|value| value as u8);
            let colour = Self(next()?, next()?, next()?);
            // A transparent colour paints nothing.
            return (next() != Some(0) || !text.starts_with("rgba")).then_some(colour);
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
                "color" => style.colour = Colour::parse(value),
                "background-color" => style.background = Colour::parse(value),
                "background" => {
                    style.background_image |= value.contains("url(") || value.contains("gradient");
                    style.background =
                        Colour::parse(value).or_else(|| value.split(' ').find_map(Colour::parse));
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

/// The sixteen names of HTML 4, 6.5.
const NAMES: [(&str, Colour); 17] = [
    ("black", Colour::BLACK),
    ("silver", Colour(192, 192, 192)),
    ("gray", Colour(128, 128, 128)),
    ("grey", Colour(128, 128, 128)),
    ("white", Colour::WHITE),
    ("maroon", Colour(128, 0, 0)),
    ("red", Colour(255, 0, 0)),
    ("purple", Colour(128, 0, 128)),
    ("fuchsia", Colour(255, 0, 255)),
    ("green", Colour(0, 128, 0)),
    ("lime", Colour(0, 255, 0)),
    ("olive", Colour(128, 128, 0)),
    ("yellow", Colour(255, 255, 0)),
    ("navy", Colour(0, 0, 128)),
    ("blue", Colour(0, 0, 255)),
    ("teal", Colour(0, 128, 128)),
    ("aqua", Colour(0, 255, 255)),
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
