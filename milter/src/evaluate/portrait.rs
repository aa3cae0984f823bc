//! `gatepost-milter features MESSAGE`: what the model sees of a message, to compare what was judged with what a mailbox has.
//!
//! ```text
//! header    2871  5d41402abc4b2a76
//! body      1544  7d793037a0760186
//! words      712  9e107d9d372bb682
//! ```
//!
//! For each view the number of features and a digest of them: equal digests are equal features in the same order.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use aws_lc_rs::digest::{SHA256, digest};
use gatepost::training;

use super::judge;
use crate::learning::Extractor;
use crate::message::Message;

/// The arguments of `features`.
#[derive(Debug, clap::Args)]
pub struct Features {
    /// The message as RFC 5322 text
    #[arg(value_name = "MESSAGE")]
    message: PathBuf,
    /// The message comes from a mailbox: what was put on top on its way there is taken away first, as when it is learned
    #[arg(long)]
    delivered: bool,
}

/// Reads and prints.
pub(super) fn run(arguments: &Features) -> anyhow::Result<ExitCode> {
    let mut raw = judge::read(&arguments.message)?;
    if arguments.delivered {
        raw = training::as_judged(&raw);
    }
    let features = Extractor::default().read(&Message::from_eml(&raw)).features;
    let mut out = String::new();
    for (name, view) in [("header", &features.header), ("body", &features.body), ("words", &features.words)] {
        let bytes: Vec<u8> = view.iter().flat_map(|feature| feature.to_le_bytes()).collect();
        let digest: String =
            digest(&SHA256, &bytes).as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(out, "{name:<8}{:>6}  {digest}", view.len());
    }
    super::print(&out)?;
    Ok(ExitCode::SUCCESS)
}
