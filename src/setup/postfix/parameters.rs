//! What becomes of each parameter of `examples/main.cf`: a line for each.

/// What becomes of one parameter of `examples/main.cf`.
pub(super) struct Treated {
    pub(super) parameter: &'static str,
    pub(super) how: How,
    pub(super) why: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Set on every server: Gatepost is asked by it.
    Switch,
    /// Set on every server; milters of others stay behind ours.
    Milters,
    /// A table of ours in the place of the tutorial's SQL, or behind; others that are there stay.
    Table,
    /// Domains that have aliases alone: those of tables that stay.
    AliasDomains,
    /// Ours come in front of the restrictions that are there, those of replaced programs go.
    Restrictions,
    /// Set on a new server, or where main.cf does not set it and the default would harm.
    New,
    /// Names and certificates: of the host, not of the example.
    Host,
}

/// Every parameter of `examples/main.cf`.
pub(super) const PARAMETERS: &[Treated] = &[
    Treated {
        parameter: "compatibility_level",
        how: How::New,
        why: "the defaults that this configuration was written for",
    },
    Treated { parameter: "mydomain", how: How::Host, why: "the domain in whose name this host writes" },
    Treated {
        parameter: "myhostname",
        how: How::Host,
        why: "the name in HELO, which DNS must know both ways",
    },
    Treated {
        parameter: "myorigin",
        how: How::New,
        why: "mail of this host's programs comes from the domain",
    },
    Treated { parameter: "mynetworks", how: How::New, why: "only this host sends without a login" },
    Treated { parameter: "mydestination", how: How::New, why: "all mail is virtual, that of root too" },
    Treated { parameter: "alias_maps", how: How::New, why: "aliases stand in the database" },
    Treated { parameter: "alias_database", how: How::New, why: "aliases stand in the database" },
    Treated { parameter: "recipient_delimiter", how: How::New, why: "alice+news@ reaches alice" },
    Treated { parameter: "smtpd_banner", how: How::New, why: "says no more than it must" },
    Treated { parameter: "biff", how: How::New, why: "nobody waits on a terminal" },
    Treated { parameter: "append_dot_mydomain", how: How::New, why: "that is the mail program's work" },
    Treated { parameter: "message_size_limit", how: How::New, why: "50 MiB" },
    Treated { parameter: "smtpd_tls_cert_file", how: How::Host, why: "the certificate" },
    Treated { parameter: "smtpd_tls_key_file", how: How::Host, why: "its key" },
    Treated { parameter: "smtpd_tls_security_level", how: How::New, why: "who can encrypt does" },
    Treated { parameter: "smtpd_tls_auth_only", how: How::New, why: "no password in clear text" },
    Treated {
        parameter: "smtp_tls_security_level",
        how: How::New,
        why: "mail leaves encrypted where the other side can",
    },
    Treated { parameter: "smtp_tls_CApath", how: How::New, why: "whom MTA-STS is proven by" },
    Treated {
        parameter: "smtp_tls_policy_maps",
        how: How::Table,
        why: "DANE and MTA-STS of those we deliver to",
    },
    Treated {
        parameter: "virtual_mailbox_domains",
        how: How::Table,
        why: "who is here: gatepost-postfix-policy, from memory",
    },
    Treated { parameter: "virtual_mailbox_maps", how: How::Table, why: "who is here" },
    Treated { parameter: "virtual_alias_maps", how: How::Table, why: "who is somebody else" },
    Treated {
        parameter: "virtual_alias_domains",
        how: How::AliasDomains,
        why: "its default would ask the aliases for every domain, in vain",
    },
    Treated { parameter: "virtual_transport", how: How::New, why: "Dovecot delivers" },
    Treated {
        parameter: "lmtp_destination_concurrency_limit",
        how: How::Switch,
        why: "Dovecot 2.4 takes no more than 10 deliveries to one user at once",
    },
    Treated { parameter: "smtpd_sender_login_maps", how: How::Table, why: "who may send as whom" },
    Treated {
        parameter: "smtpd_data_restrictions",
        how: How::Restrictions,
        why: "how much a login may send",
    },
    Treated {
        parameter: "smtpd_sasl_type",
        how: How::Switch,
        why: "logins are checked by gatepost-dovecot-auth, which speaks Dovecot's protocol",
    },
    Treated { parameter: "smtpd_sasl_path", how: How::Switch, why: "where it listens" },
    Treated { parameter: "smtpd_sasl_security_options", how: How::Switch, why: "nobody logs in as nobody" },
    Treated {
        parameter: "smtpd_milters",
        how: How::Milters,
        why: "spam, authenticity, signatures: gatepost-milter",
    },
    Treated {
        parameter: "non_smtpd_milters",
        how: How::Milters,
        why: "mail of this host's programs is signed too",
    },
    Treated {
        parameter: "milter_default_action",
        how: How::Switch,
        why: "while the milter is away, mail waits at the sender's: never unchecked, never unsigned",
    },
    Treated {
        parameter: "smtp_header_checks",
        how: How::Table,
        why: "whom a message is spam for is told to nobody outside",
    },
    Treated { parameter: "smtpd_helo_required", how: How::New, why: "a server has a name" },
    Treated {
        parameter: "disable_vrfy_command",
        how: How::New,
        why: "nobody needs it but address collectors",
    },
    Treated {
        parameter: "strict_rfc821_envelopes",
        how: How::New,
        why: "addresses are written as the standard says",
    },
    Treated { parameter: "smtpd_relay_restrictions", how: How::New, why: "no open relay" },
];

/// Where policy services of replaced programs may stand.
pub(super) const LISTS: &[&str] = &[
    "smtpd_client_restrictions",
    "smtpd_helo_restrictions",
    "smtpd_sender_restrictions",
    "smtpd_relay_restrictions",
    "smtpd_recipient_restrictions",
    "smtpd_end_of_data_restrictions",
];
