//! The daemon's program; everything is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Passwords pass through this process: no core dump, no debugger of the same user.
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        eprintln!("gatepost-dovecot-auth: memory is not protected: {error}");
    }
    gatepost::daemon::main::<gatepost_dovecot_auth::DovecotAuth>()
}
