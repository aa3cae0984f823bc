//! What the tool asks and shows: passwords without echo, confirmations, aligned tables.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use gatepost::config::Secret;

/// A new password: asked twice on a terminal, else the first line of stdin.
pub(super) fn new_password(whose: &str) -> anyhow::Result<Secret> {
    if !std::io::stdin().is_terminal() {
        let mut line = zeroize::Zeroizing::new(String::new());
        std::io::stdin().lock().read_line(&mut line).context("cannot read the password from stdin")?;
        let password = Secret::new(line.trim_end_matches(['\r', '\n']).to_owned());
        return acceptable(password);
    }
    let first = Secret::new(rpassword::prompt_password(format!("New password of {whose}: "))?);
    let second = Secret::new(rpassword::prompt_password("The same again: ")?);
    if first.expose() != second.expose() {
        bail!("the two passwords differ; nothing was changed");
    }
    acceptable(first)
}

fn acceptable(password: Secret) -> anyhow::Result<Secret> {
    let text = password.expose();
    if text.is_empty() {
        bail!("an empty password is no password; nothing was changed");
    }
    if text.chars().any(char::is_control) {
        bail!("a password with control characters cannot be typed into mail programs; nothing was changed");
    }
    Ok(password)
}

/// Asks before a destructive act; without a terminal `--yes` must have been given.
pub(super) fn confirm(question: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("{question} Nothing was changed; give --yes to go on without being asked");
    }
    print!("{question} [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("nothing was changed");
    }
    Ok(())
}

/// Prints rows in aligned columns under a heading; nothing but the heading's absence tells an empty list.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) {
    let heading = heading.map(str::to_owned);
    let all = || std::iter::once(&heading).chain(rows);
    let widths: [usize; N] =
        std::array::from_fn(|column| all().map(|row| row[column].chars().count()).max().unwrap_or_default());
    for row in all().skip(usize::from(rows.is_empty())) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        gatepost::daemon::print_line(line.trim_end());
    }
}
