//! The stack below work that saw a password, overwritten when the work is done.
//!
//! For `hash` and `verified`. What we keep of a password is zeroised where it is dropped; what the libraries that hash it keep in contexts and
//! buffers of their own is not always, and stays on the thread's stack until something else happens to be called as deep.

use std::hint::black_box;

/// As deep as any scheme calls, with room to spare: the largest frames are Argon2's, with some blocks of 1 KiB.
const DEPTH: usize = 32 * 1024;

/// Does the work, then leaves nothing of it on the stack but its result.
pub(super) fn wiped<T>(work: impl FnOnce() -> T) -> T {
    let result = apart(work);
    wipe();
    result
}

/// In frames of its own: what is inlined into the caller lies where `wipe` does not come.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe() {
    // Whoever looks at the zeros wants them to be there.
    black_box(&mut [0u8; DEPTH]);
}
