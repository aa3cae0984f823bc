//! Programs of others: run to their end, with what they said where it failed.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, bail};

/// Runs a program; its standard output, or an error with all it said.
pub(super) fn said(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = run(program, arguments)?;
    if !output.status.success() {
        bail!("{}: {}", line(program, arguments), complaint(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether it ends well.
pub(super) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    run(program, arguments).is_ok_and(|output| output.status.success())
}

/// Whether it is installed, in any of the directories of programs.
pub(super) fn is_installed(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|directory| Path::new(directory).join(program).exists())
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    // Root's path, whoever called.
    Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", line(program, arguments)))
}

fn complaint(output: &Output) -> String {
    let text =
        String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.len().saturating_sub(LINES);
    if lines.is_empty() { output.status.to_string() } else { lines[last..].join("\n  ") }
}

fn line(program: &str, arguments: &[&str]) -> String {
    let words: Vec<String> = arguments.iter().map(|word| gatepost::setup::word(word)).collect();
    format!("{program} {}", words.join(" "))
}

/// How much of what a program said is repeated.
const LINES: usize = 10;
