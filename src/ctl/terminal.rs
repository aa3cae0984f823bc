//! What the tool asks and shows: passwords without echo, confirmations, aligned tables.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use clap::Args;
use gatepost::config::Secret;
use gatepost::daemon::print_line;

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

/// How a listing is shown; every verb that lists has it.
#[derive(Args, Clone, Copy, Debug, Default)]
#[group(skip)] // Verbs named `show` would have two groups of that name.
pub(super) struct Show {
    /// One JSON object for each line: the columns by name, as text, null where there is nothing
    #[arg(long)]
    json: bool,
}

impl Show {
    /// Whether JSON is wanted.
    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// Prints rows: aligned under a heading, which is bold on a terminal; or as JSON, whose names are the headings in lower case with
    /// underscores. An empty list has no heading and no line.
    pub(super) fn table<const N: usize>(self, heading: [&str; N], rows: &[[String; N]]) {
        if self.json {
            return rows.iter().for_each(|row| print_line(&object(heading, row)));
        }
        let heading = heading.map(str::to_owned);
        let rows: Vec<[String; N]> =
            rows.iter().map(|row| row.clone().map(|cell| printable(&cell))).collect();
        let all = || std::iter::once(&heading).chain(&rows);
        let widths: [usize; N] = std::array::from_fn(|column| {
            all().map(|row| row[column].chars().count()).max().unwrap_or_default()
        });
        let paint = Paint::for_stdout();
        for (number, row) in all().enumerate().skip(usize::from(rows.is_empty())) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            let style = if number == 0 { Style::Bold } else { Style::Plain };
            print_line(&paint.dress(style, line.trim_end()));
        }
    }
}

/// A row by the names of its columns. "-" is how tables say nothing.
fn object<const N: usize>(heading: [&str; N], row: &[String; N]) -> String {
    let fields = heading.iter().zip(row).map(|(name, cell)| {
        let value = match cell.as_str() {
            "" | "-" => serde_json::Value::Null,
            text => text.into(),
        };
        (name.to_lowercase().replace(' ', "_"), value)
    });
    serde_json::Value::Object(fields.collect()).to_string()
}

/// Prints rows as [`Show::table`] does where nobody asked for JSON.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) {
    Show::default().table(heading, rows);
}

/// What others wrote, without what would move a terminal's cursor or change its colours.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

/// How a word looks on a terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Bold,
    Green,
    Yellow,
    Red,
}

/// Whether there are colours: on a terminal that knows them, unless NO_COLOR (no-color.org) is set.
#[derive(Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    pub(super) fn for_stdout() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|value| value == "dumb");
        Self(std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb)
    }

    /// The text in a style (ECMA-48, 8.3.117).
    pub(super) fn dress(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Plain => return text.to_owned(),
            Style::Bold => "1",
            Style::Green => "32",
            Style::Yellow => "1;33",
            Style::Red => "1;31",
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_row_of_json_has_the_names_of_the_columns() {
        let row = ["alice@example.com".to_owned(), "-".to_owned(), "she said \"hi\"".to_owned()];
        let text = object(["LOGIN", "LAST USED", "NAME"], &row);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["login"], "alice@example.com");
        assert_eq!(value["last_used"], serde_json::Value::Null);
        assert_eq!(value["name"], "she said \"hi\"");
    }

    #[test]
    fn a_name_cannot_paint_the_terminal() {
        assert_eq!(printable("a\x1b[31mb\r\n\u{9b}c ü"), "a\\u{1b}[31mb\\r\\n\\u{9b}c ü");
        assert_eq!(Paint(false).dress(Style::Red, "fail"), "fail");
        assert_eq!(Paint(true).dress(Style::Red, "fail"), "\x1b[1;31mfail\x1b[0m");
    }
}
