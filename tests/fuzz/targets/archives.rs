//! The directories of archives.
#![no_main]

use gatepost_milter::facts::archives::{Archive, MAX_DEPTH, Work};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(archive) = Archive::read(data, &mut Work::default()) {
        let depth = |archive: &Archive| archive.inner.iter().map(|inner| inner.walk().len()).sum::<usize>();
        assert!(archive.walk().iter().map(|archive| archive.names.len()).sum::<usize>() <= 5_000);
        let _ = (depth(&archive), MAX_DEPTH);
    }
});
