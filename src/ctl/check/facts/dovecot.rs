//! Dovecot as it is configured: what `doveconf -n` says, flattened.

use std::path::{Path, PathBuf};

/// What is set, in order: the way to the setting, such as `service imap-login/executable`, and its value.
#[derive(Clone, Debug, Default)]
pub(in crate::ctl) struct Dovecot {
    pub(in crate::ctl::check) version: String,
    settings: Vec<(String, String)>,
}

impl Dovecot {
    /// Asks `doveconf`; of another file than /etc/dovecot/dovecot.conf where one is named.
    pub(in crate::ctl) fn gather(file: Option<&Path>) -> Result<Self, String> {
        let file = file.map(|path| path.display().to_string());
        let mut arguments = vec!["-n"];
        if let Some(file) = &file {
            arguments.extend(["-c", file]);
        }
        Ok(Self::parse(&super::output("doveconf", &arguments)?))
    }

    /// From its output.
    pub(in crate::ctl::check) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        let mut blocks: Vec<String> = Vec::new();
        for line in text.lines().map(str::trim) {
            if let Some(comment) = line.strip_prefix('#') {
                // "# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf"
                if found.version.is_empty() {
                    found.version = comment.split_whitespace().next().unwrap_or_default().to_owned();
                }
            } else if let Some(block) = line.strip_suffix('{') {
                blocks.push(block.trim().to_owned());
            } else if line == "}" {
                blocks.pop();
            } else if let Some((name, value)) = line.split_once('=') {
                let mut way = blocks.clone();
                way.push(name.trim().to_owned());
                found.settings.push((way.join("/"), value.trim().to_owned()));
            }
        }
        found
    }

    /// The value of a setting.
    pub(in crate::ctl::check) fn value(&self, way: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(name, _)| name == way).map(|(_, value)| value.as_str())
    }

    pub(in crate::ctl::check) fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Every socket of ours that is named, with the setting.
    pub(in crate::ctl::check) fn sockets(&self) -> Vec<(String, PathBuf)> {
        let mut found = Vec::new();
        for (way, value) in self.settings() {
            for word in value.split([' ', ':', '=']) {
                let path = Path::new(word);
                // What is beside them, such as the directory itself in --chdir=, is no socket.
                if path.is_absolute() && path.parent().is_some_and(|parent| parent.ends_with("run/gatepost"))
                {
                    found.push((way.to_owned(), path.to_owned()));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn blocks_are_flattened_and_our_sockets_found() {
        let text = "# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf\n# OS: Linux\nauth_socket_path = /run/gatepost/auth-userdb\nplugin {\n  acl = vfile\n  acl_shared_dict = proxy:idle_msecs=30000:/run/gatepost/dict:acl\n}\n\
            service imap-login {\n  executable = imap-login /run/gatepost/auth-login\n  inet_listener imaps {\n    port = 993\n  }\n}\nservice managesieve {\n  executable = /usr/bin/env --chdir=/run/gatepost /usr/lib/dovecot/managesieve\n}\n";
        let dovecot = Dovecot::parse(text);
        assert_eq!(dovecot.version, "2.3.19.1");
        assert_eq!(dovecot.value("service imap-login/inet_listener imaps/port"), Some("993"));
        let found: Vec<String> =
            dovecot.sockets().iter().map(|(way, path)| format!("{way} {}", path.display())).collect();
        assert_eq!(
            found,
            [
                "auth_socket_path /run/gatepost/auth-userdb",
                "plugin/acl_shared_dict /run/gatepost/dict",
                "service imap-login/executable /run/gatepost/auth-login",
            ]
        );
    }
}
