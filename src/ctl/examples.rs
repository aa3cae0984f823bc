//! Examples for `--help` and the manual page, one table for all nouns.
//!
//! Each line is a command as it is typed; a test parses them all, and those that stand beside a verb of its own.

use clap::Command;

/// A noun, and lines for it. A verb's `--help` has those of its own.
type Examples = (&'static str, &'static [&'static str]);

const EXAMPLES: &[Examples] = &[
    (
        "schema",
        &[
            "gatepost schema install",
            "gatepost schema install --passwords /etc/gatepost    # roles that log in by password",
            "gatepost schema print | less                         # the SQL of it, to read before",
            "gatepost schema status",
            "gatepost schema remove",
        ],
    ),
    (
        "domain",
        &[
            "gatepost domain add example.com",
            "gatepost domain add example.net --kind alias --of example.com",
            "gatepost domain add example.org --kind relay --next-hop mail.example.org --recipients listed",
            "gatepost domain list",
            "gatepost domain dns example.com --reports postmaster@example.com    # its zone, to paste",
            "gatepost domain dns example.com --check                             # what DNS says of it",
            "gatepost domain remove example.net",
        ],
    ),
    (
        "user",
        &[
            "gatepost user add alice@example.com --display-name \"Alice Doe\"",
            "gatepost user password alice@example.com < new-password.txt",
            "gatepost user list example.com",
            "gatepost user lock alice@example.com --reason \"Please call the help desk\"",
            "gatepost user lock alice@example.com --for 2h",
            "gatepost user unlock alice@example.com",
            "gatepost user show alice@example.com",
            "gatepost user remove alice@example.com --yes",
        ],
    ),
    (
        "alias",
        &[
            "gatepost alias add info@example.com alice@example.com bob@example.com",
            "gatepost alias add @example.com alice@example.com                     # a catch-all",
            "gatepost alias add 'team-*@example.com' alice@example.com --wildcard",
            "gatepost alias add '(.+)-(.+)@example.com' '$2@example.com' --regex",
            "gatepost alias list example.com",
            "gatepost alias remove info@example.com bob@example.com                # one of its destinations",
            "gatepost alias remove info@example.com",
        ],
    ),
    (
        "sendas",
        &[
            "gatepost sendas add info@example.com alice@example.com",
            "gatepost sendas add @example.com newsletter@example.com",
            "gatepost sendas list",
            "gatepost sendas remove info@example.com alice@example.com",
        ],
    ),
    (
        "access",
        &[
            "gatepost access add sender spammer.example reject \"We do not want your mail\"",
            "gatepost access add client 192.0.2.0/24 hold",
            "gatepost access list",
            "gatepost access remove sender spammer.example",
        ],
    ),
    (
        "bcc",
        &[
            "gatepost bcc add sender sales@example.com archive@example.com",
            "gatepost bcc add recipient @example.com archive@example.com",
            "gatepost bcc list",
            "gatepost bcc remove sender sales@example.com",
        ],
    ),
    (
        "transport",
        &[
            "gatepost transport add @example.org smtp:[mail.example.org]:2525",
            "gatepost transport list",
            "gatepost transport remove @example.org",
        ],
    ),
    (
        "share",
        &[
            "gatepost share add alice@example.com bob@example.com",
            "gatepost share list",
            "gatepost share remove alice@example.com bob@example.com",
        ],
    ),
    (
        "group",
        &[
            "gatepost group add sales alice@example.com",
            "gatepost group list",
            "gatepost group remove sales alice@example.com",
        ],
    ),
    (
        "quota",
        &[
            "gatepost quota set '*' --bytes 5GiB",
            "gatepost quota set alice@example.com --bytes 20GiB --messages 0",
            "gatepost quota list",
            "gatepost quota unset alice@example.com",
        ],
    ),
    (
        "dkim",
        &[
            "gatepost dkim import rspamd --dry-run        # keys that are published already",
            "gatepost dkim generate example.com",
            "gatepost dkim activate example.com --wait 1h # signs once DNS shows it",
            "gatepost dkim check",
            "gatepost dkim rotate example.com             # a step at each call",
        ],
    ),
    (
        "allow",
        &[
            "gatepost allow add partner.example --reason \"contract 17\"",
            "gatepost allow add 192.0.2.0/24 --only-for example.com --for 30d",
            "gatepost allow list",
            "gatepost allow remove partner.example",
        ],
    ),
    (
        "deny",
        &[
            "gatepost deny add spammer@example.net",
            "gatepost deny add 203.0.113.0/24 --defer",
            "gatepost deny list",
            "gatepost deny remove spammer@example.net",
        ],
    ),
    (
        "score",
        &[
            "gatepost score add news.example --points -3",
            "gatepost score add \"Subject: ^cheap\" --kind header --points 4",
            "gatepost score list",
            "gatepost score remove news.example",
        ],
    ),
    (
        "tag",
        &[
            "gatepost tag add bank.example --kind verified --as bank",
            "gatepost tag list",
            "gatepost tag remove bank.example --kind verified",
        ],
    ),
    (
        "settings",
        &[
            "gatepost settings names                                # what there is to set",
            "gatepost settings set example.com add-header 5",
            "gatepost settings set alice@example.com reject off",
            "gatepost settings show alice@example.com               # what counts for her, and who says so",
            "gatepost settings unset example.com add-header",
            "gatepost settings list",
        ],
    ),
    (
        "quarantine",
        &[
            "gatepost quarantine list",
            "gatepost quarantine show 4XqT1z0Kk1z8",
            "gatepost quarantine release 4XqT1z0Kk1z8",
            "gatepost quarantine delete 4XqT1z0Kk1z8 --yes",
        ],
    ),
    (
        "greylist",
        &[
            "gatepost greylist list example.net",
            "gatepost greylist allow 192.0.2.7 --reason \"their server never comes again\"",
            "gatepost greylist delete 192.0.2.7",
        ],
    ),
    (
        "limits",
        &[
            "gatepost limits show alice@example.com",
            "gatepost limits set alice@example.com --messages 1000 --recipients 5000 --window 1d",
            "gatepost limits unset alice@example.com",
            "gatepost limits reset alice@example.com       # forgets what was sent, and unlocks",
        ],
    ),
    (
        "learn",
        &[
            "gatepost learn spam --user ann@example.com /var/vmail/example.com/ann/Maildir/.Junk",
            "gatepost learn ham --user ann@example.com --read-for 30 /var/vmail/example.com/ann/Maildir",
            "gatepost learn spam - < message.eml",
        ],
    ),
    (
        "model",
        &[
            "gatepost model status",
            "gatepost model export training.jsonl",
            "gatepost model import training.jsonl",
            "gatepost model forget alice@example.com",
            "gatepost model rebuild",
        ],
    ),
    (
        "logins",
        &[
            "gatepost logins set @example.com --services imap,submission",
            "gatepost logins set alice@example.com --main-password none    # app passwords only",
            "gatepost logins set bob@example.com --networks 192.0.2.0/24",
            "gatepost logins list",
            "gatepost logins unset alice@example.com",
        ],
    ),
    (
        "apppassword",
        &[
            "gatepost apppassword add alice@example.com phone",
            "gatepost apppassword add alice@example.com scanner --services submission --networks 192.0.2.9 --expires 365d",
            "gatepost apppassword list alice@example.com",
            "gatepost apppassword remove alice@example.com phone",
        ],
    ),
    (
        "master",
        &[
            "gatepost master add support@example.com @example.com --networks 192.0.2.0/24",
            "gatepost master list",
            "gatepost master log alice@example.com",
            "gatepost master remove support@example.com @example.com",
        ],
    ),
    (
        "auth",
        &[
            "gatepost auth failures",
            "gatepost auth failures alice@example.com --since 7d",
            "gatepost auth unblock 192.0.2.7",
        ],
    ),
    (
        "dmarc",
        &[
            "gatepost dmarc policy set partner.example none --comment \"their lists break signatures\"",
            "gatepost dmarc forwarder add dkim forwarder.example --for example.com",
            "gatepost dmarc reports",
            "gatepost dmarc send --dry-run",
            "gatepost dmarc read google.com!example.com!1764201600!1764287999.zip",
        ],
    ),
    (
        "history",
        &[
            "gatepost history --recipient alice@example.com --since 2d",
            "gatepost history --action reject --limit 200",
            "gatepost history --follow",
        ],
    ),
    (
        "why",
        &[
            "gatepost why 4XqT1z0Kk1z8",
            "gatepost why '<20260120.1@example.net>' --recipient alice@example.com",
        ],
    ),
    (
        "stats",
        &["gatepost stats", "gatepost stats --by symbol --since 7d", "gatepost stats --by action --json"],
    ),
    (
        "import",
        &[
            "gatepost import csv users.csv aliases.csv            # tried, and taken back",
            "gatepost import csv users.csv aliases.csv --yes",
            "gatepost import mysqldump ispmail.sql",
            "gatepost import postfix --mailboxes vmailbox --aliases virtual --passwords /etc/dovecot/users",
        ],
    ),
    (
        "check",
        &[
            "gatepost check",
            "gatepost check --problems --offline",
            "gatepost check --only sockets --only postfix",
            "gatepost check --domain example.com --json",
        ],
    ),
    (
        "completions",
        &[
            "gatepost completions bash > /usr/share/bash-completion/completions/gatepost",
            "gatepost completions zsh > /usr/share/zsh/vendor-completions/_gatepost",
        ],
    ),
];

/// The command line with these examples: behind each noun's help, and behind a verb's those of the verb, unless it has some of its own.
pub(super) fn put(mut command: Command) -> Command {
    for (noun, lines) in EXAMPLES {
        command = command.mut_subcommand(noun, |noun| behind_noun(noun, lines));
    }
    command
}

fn behind_noun(noun: Command, lines: &[&'static str]) -> Command {
    let name = noun.get_name().to_owned();
    let verbs: Vec<String> = noun.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    let mut noun = noun.after_help(shown(lines));
    for verb in verbs {
        let start = format!("gatepost {name} {verb}");
        let own: Vec<&str> = lines.iter().copied().filter(|line| begins(line, &start)).collect();
        noun = noun.mut_subcommand(&verb, |verb| match verb.get_after_help().is_some() || own.is_empty() {
            true => verb,
            false => verb.after_help(shown(&own)),
        });
    }
    noun
}

fn begins(line: &str, start: &str) -> bool {
    line.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

fn shown(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("\n  {line}")).collect();
    format!("Examples:{lines}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// The words of a line as a shell has them, up to a comment, a pipe or a redirection.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote, mut is_word) = (Vec::new(), String::new(), None, false);
        for c in line.chars().chain([' ']) {
            match (quote, c) {
                (Some(mark), c) if c == mark => quote = None,
                (Some(_), c) => word.push(c),
                (None, '"' | '\'') => (quote, is_word) = (Some(c), true),
                (None, ' ') if is_word || !word.is_empty() => {
                    words.push(std::mem::take(&mut word));
                    is_word = false;
                }
                (None, ' ') => {}
                (None, '#' | '|' | '<' | '>') if word.is_empty() => break,
                (None, ';') => {
                    words.push(word);
                    break;
                }
                (None, c) => word.push(c),
            }
        }
        words
    }

    fn examples(command: &Command, found: &mut Vec<String>) {
        for part in [command.get_after_help(), command.get_after_long_help()].into_iter().flatten() {
            let text = part.to_string();
            let lines = text.lines().map(str::trim).filter(|line| line.starts_with("gatepost "));
            found.extend(lines.map(str::to_owned));
        }
        command.get_subcommands().for_each(|verb| examples(verb, found));
    }

    #[test]
    fn every_noun_has_examples_and_each_is_understood() {
        let command = super::super::command();
        for noun in command.get_subcommands().filter(|noun| !noun.is_hide_set()) {
            let mut own = Vec::new();
            examples(noun, &mut own);
            let start = format!("gatepost {}", noun.get_name());
            assert!(own.iter().any(|line| begins(line, &start)), "`{start} --help` has no example");
            let behind = noun.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(behind.contains(&start), "`{start} --help` has no example of its own");
        }
        let mut all = Vec::new();
        examples(&command, &mut all);
        assert!(all.len() > 100, "only {} examples", all.len());
        for line in all {
            if let Err(error) = super::super::command().try_get_matches_from(words(&line)) {
                panic!("{line}\n{error}");
            }
        }
    }

    #[test]
    fn a_verb_has_the_examples_of_its_own() {
        let command = super::super::command();
        let add = command.find_subcommand("user").unwrap().find_subcommand("add").unwrap();
        let text = add.get_after_help().unwrap().to_string();
        assert!(
            text.contains("gatepost user add alice@example.com") && !text.contains("user lock"),
            "{text}"
        );
        assert_eq!(words("a \"b c\" --d    # e"), ["a", "b c", "--d"]);
        assert_eq!(words("a '' 'b \"c' <f"), ["a", "", "b \"c"]);
    }
}
