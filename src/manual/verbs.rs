//! What a program can be told, from the same definitions as its `--help`.

use clap::{Arg, ArgAction, Command};

use super::text::{escaped, guarded, paragraphs, sentence};
use super::{Entry, heading};

/// How each verb is called, with the options of all of them before it: section SYNOPSIS.
pub fn synopsis(command: &Command) -> Vec<Entry> {
    let mut command = command.clone();
    command.build();
    let everywhere: String = command
        .get_arguments()
        .filter(|argument| argument.is_global_set())
        .map(|argument| format!(" {}", in_usage(argument)))
        .collect();
    let start = format!("\\fB{}\\fR{everywhere}", escaped(command.get_name()));
    let mut lines = Vec::new();
    for verb in command.get_subcommands() {
        leaves(verb, "", &mut |name, verb| lines.push(format!("{start} {}\n", usage(name, verb))));
    }
    vec![Entry { key: "synopsis".to_owned(), head: lines.join(".br\n"), tail: String::new() }]
}

/// Every verb with its arguments, as its `--help` has them; what stands behind them there (examples) too.
pub fn verbs(command: &Command) -> Vec<Entry> {
    let mut command = command.clone();
    command.build();
    let mut entries = Vec::new();
    let are_nouns = command.get_subcommands().any(|noun| is_shown(noun) && noun.has_subcommands());
    for noun in command.get_subcommands().filter(|noun| is_shown(noun)) {
        if are_nouns {
            entries.push(Entry { key: String::new(), ..heading(noun.get_name()) });
        }
        let behind = behind(noun);
        walk(noun, "", &behind, &mut entries);
        if !behind.is_empty() {
            entries.push(Entry { key: String::new(), head: literal(&behind), tail: String::new() });
        }
    }
    entries
}

fn is_shown(command: &Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

/// Calls back for each verb that is one, not for those that only have others below them.
fn leaves<'a>(command: &'a Command, above: &str, found: &mut dyn FnMut(&str, &'a Command)) {
    if !is_shown(command) {
        return;
    }
    let name = format!("{above}{}", command.get_name());
    match command.has_subcommands() {
        true => command.get_subcommands().for_each(|verb| leaves(verb, &format!("{name} "), found)),
        false => found(&name, command),
    }
}

/// A verb, or those below it; what stands behind the noun's help is not said again.
fn walk(command: &Command, above: &str, noun: &str, entries: &mut Vec<Entry>) {
    if !is_shown(command) {
        return;
    }
    let name = format!("{above}{}", command.get_name());
    let about = command.get_long_about().or_else(|| command.get_about()).map(ToString::to_string);
    let about = paragraphs(&about.unwrap_or_default());
    if command.has_subcommands() {
        let head = if above.is_empty() { about } else { String::new() };
        entries.push(Entry { key: name.clone(), head, tail: String::new() });
        command.get_subcommands().for_each(|verb| walk(verb, &format!("{name} "), noun, entries));
        return;
    }
    let head = format!(".TP\n{}\n{about}", usage(&name, command));
    let mut tail = arguments(command);
    let behind = behind(command);
    if !behind.lines().all(|line| noun.contains(line.trim())) {
        tail.push_str(&format!(".RS\n{}.RE\n", literal(&behind)));
    }
    entries.push(Entry { key: name, head, tail });
}

/// What stands behind a command's help: examples, mostly.
fn behind(command: &Command) -> String {
    command.get_after_help().map(ToString::to_string).unwrap_or_default()
}

/// Lines as they are.
fn literal(text: &str) -> String {
    let lines: String =
        text.lines().map(|line| format!("{}\n", guarded(&escaped(line.trim_end())))).collect();
    format!(".PP\n.nf\n{lines}.fi\n")
}

/// The arguments of a verb, indented below it.
fn arguments(command: &Command) -> String {
    let list: String = command
        .get_arguments()
        .filter(|argument| is_own(argument))
        .map(|argument| format!(".TP\n{}\n{}", spelled(argument), sentence(&help(argument))))
        .collect();
    if list.is_empty() { list } else { format!(".RS\n{list}.RE\n") }
}

/// Not those that every verb has.
fn is_own(argument: &Arg) -> bool {
    let everywhere = argument.is_global_set() || matches!(argument.get_id().as_str(), "help" | "version");
    !everywhere && !argument.is_hide_set()
}

fn usage(name: &str, command: &Command) -> String {
    let arguments = command.get_arguments().filter(|argument| is_own(argument));
    let arguments: String = arguments.map(|argument| format!(" {}", in_usage(argument))).collect();
    format!("\\fB{}\\fR{arguments}", escaped(name))
}

fn in_usage(argument: &Arg) -> String {
    let is_repeated = matches!(argument.get_action(), ArgAction::Append)
        || argument.get_num_args().is_some_and(|range| range.max_values() > 1);
    let again = if is_repeated { "..." } else { "" };
    match argument.is_required_set() {
        true => format!("{}{again}", spelled(argument)),
        false => format!("[{}]{again}", spelled(argument)),
    }
}

fn takes_value(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
}

/// `--long VALUE`, or the name of a positional one.
fn spelled(argument: &Arg) -> String {
    let value = || {
        let names = argument.get_value_names().unwrap_or_default();
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        let name = match names.is_empty() {
            true => argument.get_id().as_str().to_uppercase(),
            false => names.join(" "),
        };
        format!("\\fI{}\\fR", escaped(&name))
    };
    match argument.get_long() {
        Some(long) if takes_value(argument) => {
            format!("\\fB{}\\fR {}", escaped(&format!("--{long}")), value())
        }
        Some(long) => format!("\\fB{}\\fR", escaped(&format!("--{long}"))),
        None => value(),
    }
}

/// What it is, what it may be, and what it is if it is not given.
fn help(argument: &Arg) -> String {
    let text = argument.get_long_help().or_else(|| argument.get_help()).map(ToString::to_string);
    let mut text = text.unwrap_or_default();
    if !takes_value(argument) {
        return text;
    }
    let shown = argument.get_possible_values();
    let values: Vec<&str> =
        shown.iter().filter(|value| !value.is_hide_set()).map(|value| value.get_name()).collect();
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if !values.is_empty() {
        text.push_str(&format!(". One of: {}", values.join(", ")));
    }
    if !defaults.is_empty() && !argument.is_hide_default_value_set() {
        text.push_str(&format!(". If not given: {}", defaults.join(" ")));
    }
    text
}
