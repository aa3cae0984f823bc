//! `gatepost`, the admin's tool: speaks SQL to the same database as the daemons, and nothing else.

mod ctl;

use std::process::ExitCode;

fn main() -> ExitCode {
    ctl::main()
}
