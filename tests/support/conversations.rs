//! What the replays of conversations (`tests/*/replay.rs`) have in common: a test for each file, escapes, and writing in pieces.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::waiting::soon;

/// A test for each of these files in `folder()`, which `replay(name, step)` plays; and one that no file is left out.
macro_rules! conversations {
    ($($name:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            for step in [1, 16, 4096] {
                replay(stringify!($name), step).await;
            }
        })*

        #[test]
        fn every_conversation_is_replayed() {
            let mut files: Vec<String> = std::fs::read_dir(folder())
                .unwrap()
                .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().replace('-', "_"))
                .collect();
            files.sort();
            let mut named = vec![$(stringify!($name)),*];
            named.sort_unstable();
            assert_eq!(files, named);
        }
    };
}

/// Sends in pieces. The other side may close in the middle, where it refuses the beginning.
pub(crate) async fn send(peer: &mut (impl AsyncWrite + Unpin), bytes: &[u8], step: usize, place: &str) {
    for piece in bytes.chunks(step) {
        if soon(place, peer.write_all(piece)).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// There must be no answer that nobody expected.
pub(crate) async fn hang_up_and_drain(mut peer: impl AsyncRead + AsyncWrite + Unpin, place: &str) {
    let _ = peer.shutdown().await;
    let mut rest = Vec::new();
    let _ = soon(place, peer.read_to_end(&mut rest)).await;
    assert_eq!(rest.escape_ascii().to_string(), "", "{place}: an answer too many");
}

/// `\t`, `\n`, `\r`, `\0`, `\\` and `\xHH`.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).unwrap()
            }
            other => panic!("bad escape {other:?} in {text}"),
        });
    }
    bytes
}
