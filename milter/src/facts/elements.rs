//! The elements of HTML, as far as reading a mail needs to know them.
//!
//! For `html`. Names are in lower case, as the tokenizer gives them.

/// Elements that have no end (WHATWG HTML, 13.1.2), and old ones of that kind.
#[rustfmt::skip]
pub(super) fn is_void(name: &[u8]) -> bool {
    matches!(name,
        b"area" | b"base" | b"basefont" | b"bgsound" | b"br" | b"col" | b"embed" | b"frame" | b"hr" |
        b"img" | b"input" | b"link" | b"meta" | b"param" | b"source" | b"wbr")
}

/// Elements that begin a line of their own.
#[rustfmt::skip]
pub(super) fn is_block(name: &[u8]) -> bool {
    matches!(name,
        b"address" | b"article" | b"blockquote" | b"body" | b"center" | b"dd" | b"div" | b"dl" | b"dt" |
        b"form" | b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"li" | b"ol" | b"p" | b"pre" |
        b"section" | b"table" | b"td" | b"th" | b"tr" | b"ul")
}

/// Elements of HTML, old ones included, and the namespaces and custom elements that office programs write (`o:p`).
pub(super) fn is_known(name: &[u8]) -> bool {
    is_other(name) || is_block(name) || is_void(name) || name.contains(&b':') || name.contains(&b'-')
}

/// The rest.
#[rustfmt::skip]
fn is_other(name: &[u8]) -> bool {
    matches!(name,
        b"a" | b"abbr" | b"acronym" | b"applet" | b"aside" | b"audio" | b"b" | b"bdi" | b"bdo" | b"big" |
        b"blink" | b"button" | b"canvas" | b"caption" | b"cite" | b"code" | b"colgroup" | b"data" |
        b"datalist" | b"del" | b"details" | b"dfn" | b"dialog" | b"dir" | b"em" | b"fieldset" |
        b"figcaption" | b"figure" | b"font" | b"footer" | b"frameset" | b"g" | b"head" | b"header" |
        b"hgroup" | b"html" | b"i" | b"iframe" | b"image" | b"ins" | b"kbd" | b"label" | b"layer" |
        b"legend" | b"listing" | b"main" | b"map" | b"mark" | b"marquee" | b"math" | b"menu" | b"meter" |
        b"nav" | b"nobr" | b"noframes" | b"noscript" | b"object" | b"optgroup" | b"option" | b"output" |
        b"path" | b"picture" | b"plaintext" | b"progress" | b"q" | b"rect" | b"rp" | b"rt" | b"ruby" |
        b"s" | b"samp" | b"script" | b"select" | b"slot" | b"small" | b"span" | b"strike" | b"strong" |
        b"style" | b"sub" | b"summary" | b"sup" | b"svg" | b"tbody" | b"template" | b"textarea" | b"tfoot" |
        b"thead" | b"time" | b"title" | b"tt" | b"u" | b"var" | b"video" | b"xml" | b"xmp")
}
