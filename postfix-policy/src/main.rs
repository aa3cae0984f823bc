//! The daemon's program; everything is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    gatepost::daemon::main::<gatepost_postfix_policy::PostfixPolicy>()
}
