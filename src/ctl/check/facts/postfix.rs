//! Postfix as it is configured: what `postconf` says, with `$name` expanded (`-x`), and the overrides in master.cf (`-P`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// All parameters, defaults included.
#[derive(Clone, Debug, Default)]
pub(in crate::ctl) struct Postfix {
    main: BTreeMap<String, String>,
    /// Such as `submission/inet/smtpd_sasl_auth_enable`.
    master: BTreeMap<String, String>,
}

impl Postfix {
    /// Asks `postconf`; of another directory than /etc/postfix where one is named.
    pub(in crate::ctl) fn gather(directory: Option<&Path>) -> Result<Self, String> {
        let directory = directory.map(|path| path.display().to_string());
        let ask = |option: &'static str| {
            let mut arguments = vec![option];
            if let Some(directory) = &directory {
                arguments.extend(["-c", directory]);
            }
            super::output("postconf", &arguments)
        };
        Ok(Self::parse(&ask("-x")?, &ask("-xP").unwrap_or_default()))
    }

    /// From the output of both.
    pub(in crate::ctl::check) fn parse(main: &str, master: &str) -> Self {
        let lines = |text: &str| {
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
        };
        Self { main: lines(main), master: lines(master) }
    }

    /// A parameter of main.cf; none where it is empty.
    pub(in crate::ctl) fn value(&self, name: &str) -> Option<&str> {
        self.main.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The values of a parameter anywhere: main.cf first, then each service's own, with the service's name.
    pub(in crate::ctl::check) fn everywhere<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let main = self.value(name).map(|value| ("main.cf", value));
        let master = self.master.iter().filter_map(move |(key, value)| {
            let (service, parameter) = key.rsplit_once('/')?;
            (parameter == name && !value.is_empty()).then_some((service, value.as_str()))
        });
        main.into_iter().chain(master)
    }

    /// Every unix socket that our parameters name, with the parameter; a relative path is one in the queue directory.
    pub(in crate::ctl::check) fn sockets(&self) -> Vec<(String, PathBuf)> {
        let mut found = Vec::new();
        for name in ASKING {
            for (_, value) in self.everywhere(name) {
                for path in paths(value) {
                    let pair = ((*name).to_owned(), self.queue().join(path));
                    if !found.contains(&pair) {
                        found.push(pair);
                    }
                }
            }
        }
        for (_, value) in self.everywhere("smtpd_sasl_path") {
            if value.contains('/') && !value.contains(':') {
                found.push(("smtpd_sasl_path".to_owned(), self.queue().join(value)));
            } else {
                found
                    .extend(paths(value).map(|path| ("smtpd_sasl_path".to_owned(), self.queue().join(path))));
            }
        }
        found.sort();
        found.dedup();
        found
    }

    fn queue(&self) -> PathBuf {
        self.value("queue_directory").unwrap_or("/var/spool/postfix").into()
    }
}

/// The paths of all `unix:PATH` in a value; a socketmap's name follows after another colon.
fn paths(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(|c: char| c.is_whitespace() || c == ',' || c == '{' || c == '}')
        .filter_map(|word| word.split_once("unix:").map(|(_, rest)| rest.split(':').next().unwrap_or(rest)))
        .filter(|path| path.contains('/'))
}

/// The parameters by which Postfix asks others: milters, tables, policy services.
const ASKING: &[&str] = &[
    "smtpd_milters",
    "non_smtpd_milters",
    "virtual_mailbox_domains",
    "virtual_mailbox_maps",
    "virtual_alias_maps",
    "smtpd_sender_login_maps",
    "relay_domains",
    "relay_recipient_maps",
    "transport_maps",
    "smtp_tls_policy_maps",
    "sender_bcc_maps",
    "recipient_bcc_maps",
    "recipient_canonical_maps",
    "sender_canonical_maps",
    "sender_dependent_default_transport_maps",
    "smtpd_client_restrictions",
    "smtpd_helo_restrictions",
    "smtpd_sender_restrictions",
    "smtpd_relay_restrictions",
    "smtpd_recipient_restrictions",
    "smtpd_data_restrictions",
    "smtpd_end_of_data_restrictions",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn every_socket_that_postfix_asks_is_found_once() {
        let main = "queue_directory = /var/spool/postfix\nsmtpd_milters = unix:run/gatepost/milter.sock, inet:localhost:11332\nnon_smtpd_milters = unix:run/gatepost/milter.sock\n\
            virtual_alias_maps = socketmap:unix:run/gatepost/socketmap.sock:aliases\nsmtpd_sasl_path = private/auth\n\
            smtpd_data_restrictions = reject_unauth_pipelining, check_policy_service { unix:/run/p.sock, timeout=2s }\n";
        let master = "submission/inet/smtpd_sasl_path = run/gatepost/auth-postfix.sock\n";
        let found: Vec<String> = Postfix::parse(main, master)
            .sockets()
            .iter()
            .map(|(name, path)| format!("{name} {}", path.display()))
            .collect();
        assert_eq!(
            found,
            [
                "non_smtpd_milters /var/spool/postfix/run/gatepost/milter.sock",
                "smtpd_data_restrictions /run/p.sock",
                "smtpd_milters /var/spool/postfix/run/gatepost/milter.sock",
                "smtpd_sasl_path /var/spool/postfix/private/auth",
                "smtpd_sasl_path /var/spool/postfix/run/gatepost/auth-postfix.sock",
                "virtual_alias_maps /var/spool/postfix/run/gatepost/socketmap.sock",
            ]
        );
    }
}
