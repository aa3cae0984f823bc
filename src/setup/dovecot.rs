//! Dovecot: a file beside its own, made of the topics of `examples/dovecot-2.3.conf` or `dovecot-2.4.conf`.
//!
//! A server in use keeps its mailboxes, ports, certificates and namespaces, and gets the topics by which Gatepost is asked; a new one gets
//! all. What the admin's own files set for the same purpose (a quota, Sieve scripts, plugins) stays beside ours. Its `passdb` and `userdb`
//! stay too: nobody asks them any more, and with our file gone everything is as it was.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::facts::{DovecotFacts, Facts, Wish};
use super::plan::{Plan, Step};
use super::{example, facts::MailOwner};

/// The steps for Dovecot.
pub(super) fn switch(facts: &Facts, wish: &Wish, plan: &mut Plan) {
    let Some(dovecot) = &facts.dovecot else {
        plan.obstacles.push(
            "Dovecot is not installed: apt-get install dovecot-imapd dovecot-lmtpd dovecot-sieve".to_owned(),
        );
        return;
    };
    plan.found.push(format!("Dovecot {}, {}", dovecot.version, dovecot.config.display()));
    let Some(flavour) = Flavour::of(&dovecot.version) else {
        plan.obstacles
            .push(format!("Dovecot {} is neither 2.3 nor 2.4; examples/ has what to set", dovecot.version));
        return;
    };
    let before = plan.steps.len();
    let directory = dovecot.config.parent().unwrap_or(Path::new("/etc/dovecot"));
    let learns = facts.to_be_configured("milter.learning", "listen").is_some();
    let mut scripts = Vec::new();
    if dovecot.has_sieve {
        for (name, text) in example::SIEVE.iter().filter(|(name, _)| learns || !name.starts_with("learn-")) {
            let path = directory.join("sieve").join(name);
            let text = text.replace("/etc/dovecot", &directory.display().to_string());
            if !facts.has(&path, &text) {
                plan.step(
                    Step::WriteFile { path: path.clone(), contents: text, mode: 0o644 },
                    if name.starts_with("learn-") {
                        "moving mail teaches"
                    } else {
                        "spam is filed into Junk"
                    },
                    format!("rm {}", path.display()),
                );
                scripts.push(path);
            }
        }
    } else {
        plan.remark("Sieve is not installed, so spam is marked and not filed: apt-get install dovecot-sieve, then `gatepost setup` again");
    }
    let text = flavour.text(facts, dovecot, wish, learns);
    let (path, include) = drop_in(dovecot);
    if !facts.has(&path, &text) {
        plan.step(
            Step::WriteFile { path: path.clone(), contents: text, mode: 0o644 },
            "Dovecot asks Gatepost who may log in, who exists and who shares with whom",
            format!("rm {}", path.display()),
        );
    }
    if let Some(line) = include
        && !dovecot.text.lines().any(|there| there.trim() == line)
    {
        plan.step(
            Step::AppendLine { path: dovecot.config.clone(), line },
            "Dovecot reads our file, after its own",
            "take the line out",
        );
    }
    // After our file: it allows the scripts what they require.
    for path in scripts {
        let undo = format!("rm {}", path.with_extension("svbin").display());
        plan.step(Step::CompileSieve { path }, "Dovecot's processes may not write there", undo);
    }
    if plan.steps.len() > before {
        plan.step(
            Step::ReloadDovecot { running: dovecot.running, probe: facts.database.a_user.clone() },
            "Dovecot looks its files over and reads them again",
            "doveadm reload, after the files are as they were",
        );
        if !dovecot.running {
            plan.remark("Dovecot does not run: systemctl start dovecot");
        }
    }
    if dovecot.protocols.contains("submission") {
        plan.remark("Dovecot's own submission service goes on asking Dovecot's passdb; Postfix's ports 587 and 465 do without it");
    }
}

/// Where our file goes: among `conf.d/*.conf` if the main file includes them, else beside it, by a line of its own.
pub(super) fn drop_in(dovecot: &DovecotFacts) -> (PathBuf, Option<String>) {
    let directory = dovecot.config.parent().unwrap_or(Path::new("/etc/dovecot"));
    let includes = dovecot.text.lines().map(str::trim).any(|line| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("!include" | "!include_try"))
            && words.next().is_some_and(|pattern| {
                pattern == "conf.d/*.conf" || Path::new(pattern) == directory.join("conf.d/*.conf")
            })
    });
    if includes {
        (directory.join("conf.d/99-gatepost.conf"), None)
    } else {
        (directory.join("gatepost.conf"), Some("!include_try gatepost.conf".to_owned()))
    }
}

/// The two languages of configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavour {
    V23,
    V24,
}

impl Flavour {
    fn of(version: &str) -> Option<Self> {
        let known = |prefix: &str| version == prefix || version.starts_with(&format!("{prefix}."));
        match () {
            () if known("2.3") => Some(Self::V23),
            () if known("2.4") => Some(Self::V24),
            () => None,
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::V23 => example::DOVECOT_2_3,
            Self::V24 => example::DOVECOT_2_4,
        }
    }

    /// The file's text.
    fn text(self, facts: &Facts, dovecot: &DovecotFacts, wish: &Wish, learns: bool) -> String {
        let new = dovecot.is_new(facts.serves_mail());
        let learns = learns && dovecot.has_sieve && !self.has_own_imapsieve(dovecot);
        let mut text = HEADER.to_owned();
        for (title, topic) in example::topics(self.example()) {
            let part = match title {
                "Mailboxes" if new => topic.to_owned(),
                "Mailboxes" => self.plugins_alone(topic),
                "Delivery" if new => topic.to_owned(),
                "Delivery" => continue,
                "Spam into Junk" if !dovecot.has_sieve => continue,
                "Learning" if !learns => continue,
                "Sharing between users"
                    if dovecot.has_shared_namespace && !sets(dovecot, "namespace shared {") =>
                {
                    without_block(topic, "namespace shared {")
                }
                "Quota" => self.quota(dovecot, topic),
                "What IMAP and delivery have of all this" => self.protocols(dovecot, topic, learns),
                _ => topic.to_owned(),
            };
            text.push('\n');
            text.push_str(part.trim_end());
            text.push('\n');
        }
        text = self.installed_only(dovecot, text);
        if !new {
            text = without_block(&text, "  inet_listener ");
        }
        // Before what is theirs comes in, which stays as it is.
        let directory = dovecot.config.parent().unwrap_or(Path::new("/etc/dovecot"));
        let queue = facts.postfix.as_ref().map_or(Path::new("/var/spool/postfix"), |postfix| &postfix.queue);
        text = text
            .replace("/run/gatepost", &facts.run.display().to_string())
            .replace("/etc/dovecot", &directory.display().to_string())
            .replace("/var/spool/postfix", &queue.display().to_string());
        if self == Self::V23 {
            text = keep_theirs(dovecot, text);
        }
        if new {
            text.push_str(&self.certificate(dovecot, wish));
        }
        text
    }

    /// The certificate that was asked for, now or when our file was written.
    fn certificate(self, dovecot: &DovecotFacts, wish: &Wish) -> String {
        let names = match self {
            Self::V23 => ["ssl_cert = <", "ssl_key = <"],
            Self::V24 => ["ssl_server_cert_file = ", "ssl_server_key_file = "],
        };
        if let Some((certificate, key)) = &wish.certificate {
            let [first, second] = names;
            return format!(
                "\nssl = required\n{first}{}\n{second}{}\n",
                certificate.display(),
                key.display()
            );
        }
        let ours = dovecot.ours.as_deref().unwrap_or_default();
        let kept = |line: &&str| names.iter().any(|name| line.starts_with(name));
        let lines: String = ours.lines().filter(kept).map(|line| format!("{line}\n")).collect();
        if lines.is_empty() { lines } else { format!("\nssl = required\n{lines}") }
    }

    /// Of the mailboxes only the plugins; those of Dovecot 2.3 stand with the protocols.
    fn plugins_alone(self, topic: &str) -> String {
        match self {
            Self::V23 => String::new(),
            Self::V24 => {
                format!("# --- Plugins, beside those that are there.\n{}", block(topic, "mail_plugins {"))
            }
        }
    }

    /// Without a quota of ours where there is one.
    fn quota(self, dovecot: &DovecotFacts, topic: &str) -> String {
        match self {
            Self::V23 => topic.to_owned(),
            Self::V24 => {
                let theirs = dovecot.settings.keys().any(|name| name.starts_with("quota "));
                if theirs && !sets(dovecot, "quota \"User quota\" {") {
                    without_block(topic, "quota \"User quota\" {")
                } else {
                    topic.to_owned()
                }
            }
        }
    }

    /// What single protocols have: for Dovecot 2.3 whole lists of plugins, because a list replaces the one before it.
    fn protocols(self, dovecot: &DovecotFacts, topic: &str, learns: bool) -> String {
        let wanted =
            |plugin: &str| (learns || plugin != "imap_sieve") && (dovecot.has_sieve || plugin != "sieve");
        if self == Self::V24 {
            let left_out = |line: &&str| line.trim().strip_suffix(" = yes").is_none_or(wanted);
            return topic.lines().filter(left_out).map(|line| format!("{line}\n")).collect();
        }
        let global = list(self.example(), "mail_plugins");
        let mut text = topic.lines().take(1).map(|line| format!("{line}\n")).collect::<String>();
        for protocol in ["imap", "pop3", "lmtp", "lda", "doveadm"] {
            let installed = matches!(protocol, "lda" | "doveadm") || dovecot.protocols.contains(protocol);
            if !installed {
                continue;
            }
            let own = block(topic, &format!("protocol {protocol} {{"));
            let mut plugins: Vec<String> = dovecot.plugins.get(protocol).cloned().unwrap_or_default();
            for plugin in global.iter().chain(&list(&own, "mail_plugins")) {
                if !plugins.contains(plugin) && !plugin.starts_with('$') && wanted(plugin) {
                    plugins.push(plugin.clone());
                }
            }
            text.push_str(&format!("protocol {protocol} {{\n  mail_plugins = {}\n", plugins.join(" ")));
            for line in own.lines().filter(|line| line.starts_with("  ") && !line.contains("mail_plugins")) {
                text.push_str(&format!("{line}\n"));
            }
            text.push_str("}\n");
        }
        text
    }

    /// Without the services of protocols that are not installed: Dovecot would not start.
    fn installed_only(self, dovecot: &DovecotFacts, text: String) -> String {
        let mut text = text;
        for (protocol, services) in [
            ("imap", ["imap-login", "imap"]),
            ("pop3", ["pop3-login", "pop3"]),
            ("sieve", ["managesieve-login", "managesieve"]),
        ] {
            if !dovecot.protocols.contains(protocol) {
                for service in services {
                    text = without_block(&text, &format!("service {service} {{"));
                }
            }
        }
        if !dovecot.protocols.contains("lmtp") {
            text = without_block(&text, "service lmtp {");
        }
        text
    }

    /// Whether the admin has Sieve scripts of his own at moving mail.
    fn has_own_imapsieve(self, dovecot: &DovecotFacts) -> bool {
        self == Self::V23
            && dovecot.settings.contains_key("imapsieve_mailbox1_name")
            && !sets(dovecot, "imapsieve_mailbox1_name = ")
    }
}

/// Dovecot 2.3: `plugin` settings that the admin has already. His quota and his place of scripts stay; his scripts run after ours; lists
/// are joined.
fn keep_theirs(dovecot: &DovecotFacts, text: String) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once(" = ") else {
            lines.push(line.to_owned());
            continue;
        };
        let there = dovecot.settings.get(key).map(String::as_str);
        match key {
            "quota" | "quota_vsizes" | "sieve" | "acl"
                if there.is_some() && !sets(dovecot, &format!("{key} = ")) => {}
            "sieve_before" => {
                lines.push(line.to_owned());
                let ours = dovecot.ours.as_deref().unwrap_or_default();
                let kept = ours.lines().find_map(|line| line.trim().strip_prefix("sieve_before2 = "));
                let theirs =
                    there.filter(|there| Path::new(there).file_name() != Path::new(value).file_name());
                if let Some(theirs) = kept.or(theirs) {
                    lines.push(format!("  sieve_before2 = {theirs}"));
                }
            }
            "sieve_global_extensions" | "sieve_plugins" => {
                let mut words: Vec<&str> = there.unwrap_or_default().split_whitespace().collect();
                words.extend(value.split_whitespace());
                let mut seen = BTreeSet::new();
                words.retain(|word| seen.insert(*word));
                lines.push(format!("  {key} = {}", words.join(" ")));
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Whether our file as it is at present holds a line that begins so.
fn sets(dovecot: &DovecotFacts, start: &str) -> bool {
    dovecot.ours.as_deref().is_some_and(|ours| ours.lines().any(|line| line.trim_start().starts_with(start)))
}

/// The words of the first setting of that name.
fn list(text: &str, name: &str) -> Vec<String> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix(name)?.trim_start().strip_prefix('='))
        .map(|value| value.split_whitespace().map(str::to_owned).collect())
        .unwrap_or_default()
}

/// The lines of a block, from the line that begins with `start` to its closing brace.
fn block(text: &str, start: &str) -> String {
    let mut depth = 0_i32;
    let mut lines = String::new();
    for line in text.lines() {
        if depth > 0 || line.starts_with(start) {
            depth += braces(line);
            lines.push_str(line);
            lines.push('\n');
            if depth <= 0 {
                break;
            }
        }
    }
    lines
}

/// Without any block that begins with a line that begins so.
fn without_block(text: &str, start: &str) -> String {
    let mut depth = 0_i32;
    let mut kept = String::new();
    for line in text.lines() {
        if depth > 0 || line.starts_with(start) {
            depth += braces(line);
            continue;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

fn braces(line: &str) -> i32 {
    if line.trim_start().starts_with('#') {
        return 0;
    }
    i32::from(line.ends_with('{')) - i32::from(line.trim() == "}")
}

impl MailOwner {
    /// From the `args` of a static userdb of Dovecot 2.3, or the `fields` of one of 2.4, as `key=value` pairs.
    pub fn of(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut owner = Self::default();
        for (key, value) in pairs {
            match key.trim() {
                "uid" => owner.uid = Some(value),
                "gid" => owner.gid = Some(value),
                "home" => owner.home = home(&value),
                _ => {}
            }
        }
        owner
    }
}

/// Dovecot's variables in our words; `None` where there is one that we have no word for.
fn home(value: &str) -> Option<String> {
    let mut text: String = value.chars().filter(|character| !character.is_whitespace()).collect();
    for (theirs, ours) in [
        ("%{user|domain|lower}", "{domain}"),
        ("%{user|username|lower}", "{local}"),
        ("%{user|domain}", "{domain}"),
        ("%{user|username}", "{local}"),
        ("%{domain}", "{domain}"),
        ("%{username}", "{local}"),
        ("%{user}", "{user}"),
        ("%Ld", "{domain}"),
        ("%Ln", "{local}"),
        ("%Lu", "{user}"),
        ("%d", "{domain}"),
        ("%n", "{local}"),
        ("%u", "{user}"),
    ] {
        text = text.replace(theirs, ours);
    }
    (!text.contains('%')).then_some(text)
}

/// Above everything.
const HEADER: &str = "# Gatepost: written by `gatepost setup`, taken away by `gatepost setup --undo`. Read after Dovecot's own files, which stay as they are;
# their passdb and userdb are not asked any more. Changes of yours belong into a file of yours that is read later.
";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn both_examples_have_the_same_topics() {
        let titles = |text| example::topics(text).into_iter().map(|(title, _)| title).collect::<Vec<_>>();
        assert_eq!(titles(example::DOVECOT_2_3), titles(example::DOVECOT_2_4));
        assert_eq!(
            titles(example::DOVECOT_2_3),
            [
                "Mailboxes",
                "Who logs in",
                "Whose mailbox the login opens",
                "Who exists",
                "Delivery",
                "Sharing between users",
                "Quota",
                "Spam into Junk",
                "Learning",
                "What IMAP and delivery have of all this"
            ]
        );
    }

    #[test]
    fn a_home_is_said_in_our_words() {
        assert_eq!(home("/var/vmail/%d/%n").as_deref(), Some("/var/vmail/{domain}/{local}"));
        assert_eq!(home("/m/%{user | domain}/%{user | username}").as_deref(), Some("/m/{domain}/{local}"));
        assert_eq!(home("/m/%h"), None);
    }
}
