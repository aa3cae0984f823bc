//! Bytes of a milter client: frames, commands, macros, the order of commands.
#![no_main]

use bytes::BytesMut;
use gatepost_milter::protocol::{Command, Frames, Macros, State};
use libfuzzer_sys::fuzz_target;
use tokio_util::codec::Decoder;

fuzz_target!(|data: &[u8]| {
    let mut bytes = BytesMut::from(data);
    let mut state = State::Start;
    let mut macros = Macros::default();
    while let Ok(Some(frame)) = Frames.decode(&mut bytes) {
        let Ok(command) = Command::parse(frame) else { return };
        let Some(next) = state.after(command.event()) else { return };
        state = next;
        if let Command::Macros { command, pairs } = command {
            macros.announce(command, pairs);
            let _ = (macros.get("i"), macros.text("{auth_authen}"));
        }
    }
});
