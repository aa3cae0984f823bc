//! HTML and the URLs in it, without the way through MIME: the first byte says whether as text or as HTML.
#![no_main]

use gatepost_milter::authentication::Authentication;
use gatepost_milter::facts::Facts;
use gatepost_milter::facts::urls::{Origin, Url};
use gatepost_milter::message::{Direction, Envelope, Header, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, body)) = data.split_first() else { return };
    let kind: &[u8] = if first % 2 == 0 { b" text/html; charset=utf-8" } else { b" text/plain; charset=utf-8" };
    let message = Message {
        headers: vec![Header::new("Content-Type", kind), Header::new("Content-Transfer-Encoding", " 8bit")],
        body: body.to_vec(),
        body_size: body.len() as u64,
    };
    let facts = Facts::gather(&message, &Envelope::new(Direction::Inbound), &Authentication::not_asked());
    for url in &facts.urls {
        assert!(!url.host.is_empty() && url.text.len() <= 2_048);
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let _ = Url::parse(text, Origin::Link);
    }
});
