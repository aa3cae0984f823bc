//! The binary `gatepost-milter`; all of it is in the library of this crate.

fn main() -> std::process::ExitCode {
    gatepost::daemon::main::<gatepost_milter::Milter>()
}
