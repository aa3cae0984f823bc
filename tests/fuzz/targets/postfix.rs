//! Bytes of a Postfix: socketmap questions and policy requests, whole and in two pieces, with what an answer would look like.
#![no_main]

use bytes::BytesMut;
use gatepost::mail::SmtpReply;
use gatepost::net::frames::Netstrings;
use gatepost_postfix_policy::protocol::policy::{Action, Header, Requests};
use gatepost_postfix_policy::protocol::socketmap::{MAX_REQUEST, Reply, Request, Value};
use libfuzzer_sys::fuzz_target;
use tokio_util::codec::Decoder;

fuzz_target!(|data: &[u8]| {
    let Some((&cut, data)) = data.split_first() else { return };
    let (first, second) = data.split_at(usize::from(cut).min(data.len()));
    assert_eq!(questions(&[data]), questions(&[first, second]), "pieces change nothing");
    assert_eq!(requests(&[data]), requests(&[first, second]), "pieces change nothing");
});

fn questions(pieces: &[&[u8]]) -> Vec<String> {
    let (mut bytes, mut frames, mut seen) = (BytesMut::new(), Netstrings::new(MAX_REQUEST), Vec::new());
    for piece in pieces {
        bytes.extend_from_slice(piece);
        loop {
            match frames.decode(&mut bytes) {
                Ok(Some(frame)) => seen.push(match Request::parse(&frame) {
                    Ok(Request { map, key }) => {
                        let mut answer = BytesMut::new();
                        let value = Value::new(key.unwrap_or(map));
                        value.map_or(Reply::Temporary(map.to_owned()), Reply::Found).render(&mut answer);
                        assert!(
                            !answer.contains(&b'\n') && answer.ends_with(b","),
                            "one netstring, one line"
                        );
                        format!("{map} {key:?}")
                    }
                    Err(error) => error.to_string(),
                }),
                Ok(None) => break,
                Err(_) => {
                    seen.push("closed".to_owned());
                    return seen;
                }
            }
        }
    }
    seen
}

fn requests(pieces: &[&[u8]]) -> Vec<String> {
    let (mut bytes, mut requests, mut seen) = (BytesMut::new(), Requests::default(), Vec::new());
    for piece in pieces {
        bytes.extend_from_slice(piece);
        loop {
            match requests.decode(&mut bytes) {
                Ok(Some(request)) => {
                    for action in [
                        Action::Refuse(SmtpReply::new(550, "5.7.1", &request.sender)),
                        Action::Prepend(Header::new("X-Test", &request.helo_name)),
                    ] {
                        let mut answer = BytesMut::new();
                        action.render(&mut answer);
                        let lines = answer.iter().filter(|&&byte| byte == b'\n').count();
                        assert!(lines == 2 && answer.ends_with(b"\n\n"), "nobody puts a second action in");
                    }
                    seen.push(format!("{request:?}"));
                }
                Ok(None) => break,
                Err(_) => {
                    seen.push("closed".to_owned());
                    return seen;
                }
            }
        }
    }
    seen
}
