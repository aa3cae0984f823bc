//! `gatepost`, the admin's tool: speaks SQL to the same database as the daemons, and nothing else.

/// In place of the standard library's, which panics where nobody reads (`| head -1`).
macro_rules! println {
    () => { gatepost::daemon::print_line("") };
    ($($text:tt)*) => { gatepost::daemon::print_line(&format!($($text)*)) };
}

mod ctl;

use std::process::ExitCode;

fn main() -> ExitCode {
    ctl::main()
}
