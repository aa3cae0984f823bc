//! From facts to plans: a tutorial's server, a new one, one that is set up.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::mail::{Address, Domain};

fn tutorial() -> Facts {
    let settings = [
        ("myhostname", "mail.example.com"),
        ("mynetworks", "127.0.0.0/8"),
        ("virtual_mailbox_domains", "pgsql:/etc/postfix/pgsql-virtual-mailbox-domains.cf"),
        ("virtual_mailbox_maps", "pgsql:/etc/postfix/pgsql-virtual-mailbox-maps.cf"),
        ("virtual_alias_maps", "pgsql:/etc/postfix/pgsql-virtual-alias-maps.cf"),
        ("virtual_transport", "lmtp:unix:private/dovecot-lmtp"),
        ("smtpd_sasl_type", "dovecot"),
        ("smtpd_sasl_path", "private/auth"),
        ("smtpd_milters", "inet:127.0.0.1:11332"),
        ("non_smtpd_milters", "inet:127.0.0.1:11332"),
        (
            "smtpd_recipient_restrictions",
            "reject_unauth_destination check_policy_service inet:127.0.0.1:10023",
        ),
    ];
    let domain = Domain::parse("example.com").unwrap();
    Facts {
        hostname: "mail.example.com".into(),
        config: "/etc/gatepost/gatepost.toml".into(),
        config_text: None,
        run: "/run/gatepost".into(),
        database: DatabaseFacts {
            name: "mail_server".into(),
            exists: true,
            has_tables: true,
            schema: None,
            has_triggers: false,
            roles: Default::default(),
            domains: vec![domain.clone()],
            a_user: Some(Address::parse("alice@example.com").unwrap()),
            hba: (
                "/pg/pg_hba.conf".into(),
                "local all postgres peer\nhost all all 127.0.0.1/32 md5\n".into(),
            ),
            ident: ("/pg/pg_ident.conf".into(), String::new()),
            by_socket: true,
        },
        daemons: DAEMONS
            .iter()
            .map(|daemon| DaemonFacts {
                section: daemon.section.into(),
                system_user: daemon.system_user.into(),
                ..Default::default()
            })
            .collect(),
        postfix: Some(PostfixFacts {
            version: "3.7.11".into(),
            directory: "/etc/postfix".into(),
            queue: "/var/spool/postfix".into(),
            settings: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            services: vec![("submission".into(), "inet".into(), "submission inet n - y - - smtpd".into())],
            overrides: vec![("submission/inet".into(), "smtpd_sasl_path".into(), "private/auth".into())],
            has_main: true,
            running: true,
        }),
        dovecot: Some(DovecotFacts {
            version: "2.3.19.1".into(),
            config: "/etc/dovecot/dovecot.conf".into(),
            text: "!include conf.d/*.conf\n".into(),
            protocols: ["imap", "lmtp", "sieve"].map(str::to_owned).into(),
            plugins: [("imap", "acl imap_acl"), ("lmtp", "acl sieve"), ("lda", "acl"), ("doveadm", "acl")]
                .map(|(name, list)| (name.to_owned(), list.split(' ').map(str::to_owned).collect()))
                .into(),
            settings: [
                ("acl", "vfile"),
                ("acl_shared_dict", "proxy::acl"),
                ("sieve_before", "/etc/dovecot/sieve-before"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            has_shared_namespace: true,
            ours: None,
            has_sieve: true,
            owner: MailOwner::of(
                [("uid", "vmail"), ("gid", "vmail"), ("home", "/var/vmail/%d/%n")]
                    .map(|(key, value)| (key.to_owned(), value.to_owned())),
            ),
            running: true,
        }),
        neighbours: vec![Neighbour { name: "Rspamd", units: vec!["rspamd.service".into()] }],
        keys: KeyFacts {
            to_import: vec![Foreign {
                from: KeySource::Rspamd,
                path: "/etc/rspamd".into(),
                keys: vec![(domain, "2024".into())],
            }],
            ..Default::default()
        },
        systemd: true,
        users: DAEMONS
            .iter()
            .map(|daemon| daemon.system_user.to_owned())
            .chain(["vmail".to_owned()])
            .collect(),
        files: Default::default(),
    }
}

fn settings(plan: &Plan) -> Vec<(String, String)> {
    plan.steps
        .iter()
        .filter_map(|planned| match &planned.step {
            Step::Postconf { settings } | Step::MasterOptions { settings } => Some(settings),
            _ => None,
        })
        .flatten()
        .map(|setting| (setting.parameter.clone(), setting.value.clone()))
        .collect()
}

fn file<'a>(plan: &'a Plan, path: &str) -> &'a str {
    plan.steps
        .iter()
        .find_map(|planned| match &planned.step {
            Step::WriteFile { path: known, contents, .. } if known.to_str() == Some(path) => {
                Some(contents.as_str())
            }
            _ => None,
        })
        .unwrap_or_else(|| panic!("{path} is not written"))
}

/// What stands there once the plan is carried out.
fn carried_out(facts: &Facts, plan: &Plan) -> Facts {
    let mut facts = facts.clone();
    for planned in &plan.steps {
        match &planned.step {
            Step::CreateDatabase { .. } => facts.database.exists = true,
            Step::TutorialTables { .. } => facts.database.has_tables = true,
            Step::InstallSchema { passwords } => {
                facts.database.schema = Some(crate::store::schema::VERSION);
                facts.database.has_triggers = true;
                facts.database.roles = DAEMONS.iter().map(|daemon| daemon.role.to_owned()).collect();
                for (_, _, _) in passwords {
                    facts.daemons.iter_mut().for_each(|daemon| daemon.has_password = true);
                }
            }
            Step::InsertLines { path, before, lines } => {
                let database = &mut facts.database;
                let text = if *path == database.hba.0 { &mut database.hba.1 } else { &mut database.ident.1 };
                let mut all: Vec<String> = text.lines().map(str::to_owned).collect();
                let at = before.map_or(all.len(), |line| line - 1);
                all.splice(at..at, lines.iter().cloned());
                *text = all.join("\n") + "\n";
            }
            Step::AddDomain { domain } => facts.database.domains.push(Domain::parse(domain).unwrap()),
            Step::AddUser { address } => facts.database.a_user = Some(address.clone()),
            Step::ImportKeys { .. } => facts.keys.to_import.clear(),
            Step::MailUser { name, .. } => {
                facts.users.insert(name.clone());
            }
            Step::WriteFile { path, contents, .. } => {
                if *path == facts.config {
                    facts.config_text = Some(contents.clone());
                }
                if path.ends_with("99-gatepost.conf") {
                    facts.dovecot.as_mut().unwrap().ours = Some(contents.clone());
                }
                if path.ends_with("main.cf") {
                    facts.postfix.as_mut().unwrap().has_main = true;
                }
                facts.files.insert(path.clone(), contents.clone());
            }
            Step::EnableUnits { .. } => {
                facts.daemons.iter_mut().for_each(|daemon| daemon.unit_is_down = false)
            }
            Step::Postconf { settings } => {
                for one in settings {
                    facts.postfix.as_mut().unwrap().settings.insert(one.parameter.clone(), one.value.clone());
                }
            }
            Step::MasterOptions { settings } => {
                for one in settings {
                    for (service, parameter, value) in &mut facts.postfix.as_mut().unwrap().overrides {
                        if format!("{service}/{parameter}") == one.parameter {
                            *value = one.value.clone();
                        }
                    }
                }
            }
            Step::MasterService { service, entry } => {
                let (name, kind) = service.split_once('/').unwrap();
                let service = (name.to_owned(), kind.to_owned(), entry.clone());
                facts.postfix.as_mut().unwrap().services.push(service);
            }
            Step::DisableUnits { .. } => facts.neighbours.clear(),
            Step::AddAlias { .. }
            | Step::GenerateKey { .. }
            | Step::ReloadPostgresql { .. }
            | Step::CompileSieve { .. }
            | Step::AppendLine { .. }
            | Step::Listening { .. }
            | Step::ReloadDovecot { .. }
            | Step::ReloadPostfix { .. } => {}
        }
    }
    let domains = facts.database.domains.clone();
    facts.keys.with_key = domains.into_iter().collect();
    facts
}

#[test]
fn a_tutorials_server_is_switched_and_what_it_has_of_its_own_stays() {
    let facts = tutorial();
    let plan = plan(&facts, &Wish::default());
    assert_eq!(plan.obstacles, Vec::<String>::new());
    let settings = settings(&plan);
    let get = |name: &str| settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(get("virtual_mailbox_domains"), Some("socketmap:unix:run/gatepost/socketmap.sock:domains"));
    assert_eq!(get("smtpd_milters"), Some("unix:run/gatepost/milter.sock"));
    assert_eq!(get("smtpd_recipient_restrictions"), Some("reject_unauth_destination"));
    assert_eq!(get("submission/inet/smtpd_sasl_path"), Some("run/gatepost/auth-postfix.sock"));
    for own in ["myhostname", "mynetworks", "virtual_transport", "smtpd_tls_cert_file", "smtpd_sasl_type"] {
        assert_eq!(get(own), None, "{own}");
    }
    let ours = file(&plan, "/etc/dovecot/conf.d/99-gatepost.conf");
    for line in [
        "  executable = imap-login /run/gatepost/auth-login",
        "auth_socket_path = /run/gatepost/auth-userdb",
        "  acl_shared_dict = proxy:idle_msecs=30000:/run/gatepost/dict:acl",
        "  sieve_before = /etc/dovecot/sieve/spam-to-junk.sieve",
        "  sieve_before2 = /etc/dovecot/sieve-before",
        "  mail_plugins = acl imap_acl quota last_login notify quota_clone imap_quota imap_sieve",
        "  mail_plugins = acl sieve quota last_login notify quota_clone",
    ] {
        assert!(ours.lines().any(|there| there == line), "{line} is missing in\n{ours}");
    }
    for word in ["namespace", "inet_listener", "pop3", "mail_location", "ssl", "  acl = vfile"] {
        assert!(!ours.contains(word), "{word} in\n{ours}");
    }
    let toml = file(&plan, "/etc/gatepost/gatepost.toml");
    assert!(!toml.lines().any(|line| line.starts_with("database-password-file")), "{toml}");
    let path = std::path::Path::new("/etc/gatepost/gatepost.toml");
    crate::config::parse::<crate::config::NoSection>(toml, path).unwrap();
    let hba = plan.steps.iter().find_map(|planned| match &planned.step {
        Step::InsertLines { path, before, lines } if path.ends_with("pg_hba.conf") => {
            Some((*before, lines[1].clone()))
        }
        _ => None,
    });
    let (before, line) = hba.unwrap();
    assert_eq!((before, line.split_whitespace().next_back()), (None, Some("map=gatepost")));
}

#[test]
fn a_plan_that_is_carried_out_leaves_nothing_to_do() {
    let new = Facts {
        database: DatabaseFacts {
            name: "mail_server".into(),
            hba: ("/pg/pg_hba.conf".into(), "local all postgres peer\nlocal all all peer\n".into()),
            ident: ("/pg/pg_ident.conf".into(), String::new()),
            by_socket: true,
            ..Default::default()
        },
        postfix: Some(PostfixFacts {
            version: "3.10".into(),
            directory: "/etc/postfix".into(),
            queue: "/var/spool/postfix".into(),
            ..Default::default()
        }),
        dovecot: Some(DovecotFacts {
            version: "2.4.1".into(),
            config: "/etc/dovecot/dovecot.conf".into(),
            text: "!include conf.d/*.conf\n".into(),
            protocols: ["imap", "lmtp", "sieve", "pop3"].map(str::to_owned).into(),
            has_sieve: true,
            // Debian 13 has a home for the system's users.
            owner: MailOwner::of([("home".to_owned(), "/home/%{user | username}".to_owned())]),
            ..Default::default()
        }),
        keys: KeyFacts::default(),
        neighbours: Vec::new(),
        ..tutorial()
    };
    let asked = Wish {
        domain: Some(Domain::parse("example.org").unwrap()),
        user: Some(Address::parse("ann@example.org").unwrap()),
        ..Default::default()
    };
    let mut with_passwords = tutorial();
    with_passwords.config_text = Some("[milter]\ndatabase-password-file = \"/etc/gatepost/m\"\n[milter.learning]\nlisten = [\"systemd:learn\"]\n".into());
    with_passwords.daemons[0].password_file = Some("/etc/gatepost/m".into());
    for (facts, wish) in [(tutorial(), Wish::default()), (new, asked), (with_passwords, Wish::default())] {
        let first = plan(&facts, &wish);
        assert_eq!(first.obstacles, Vec::<String>::new());
        assert!(first.steps.len() > 5, "{first:?}");
        let again = plan(&carried_out(&facts, &first), &wish);
        assert!(again.steps.is_empty() && again.obstacles.is_empty(), "{:#?}", again);
    }
}

#[test]
fn a_new_server_gets_the_whole_example() {
    let mut facts = tutorial();
    facts.postfix =
        Some(PostfixFacts { has_main: true, directory: "/etc/postfix".into(), ..Default::default() });
    facts.database.domains.clear();
    facts.database.a_user = None;
    let wish = Wish { domain: Some(Domain::parse("example.org").unwrap()), ..Default::default() };
    assert!(plan(&facts, &wish).obstacles[0].contains("--user you@example.org"));
    assert!(plan(&facts, &Wish::default()).obstacles[0].contains("--domain example.com"));
    let wish = Wish { user: Some(Address::parse("ann@example.org").unwrap()), ..wish };
    let plan = plan(&facts, &wish);
    let settings = settings(&plan);
    let missing: Vec<&str> = example::parameters()
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with("smtpd_tls_") || *name == "smtpd_tls_auth_only")
        .filter(|name| !settings.iter().any(|(known, _)| known == name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
    let ours = file(&plan, "/etc/dovecot/conf.d/99-gatepost.conf");
    assert!(ours.contains("mail_location = maildir:~/Maildir") && ours.contains("port = 993"), "{ours}");
    assert!(plan.steps.iter().any(|planned| matches!(&planned.step, Step::MasterService { service, .. } if service == "submissions/inet")));
    assert!(plan.dns.iter().any(|dns| dns.record == "example.org. 3600 IN MX 10 mail.example.com."));
}

#[test]
fn a_new_configuration_has_the_home_that_dovecot_has() {
    let mut facts = tutorial();
    let dovecot = facts.dovecot.as_mut().unwrap();
    dovecot.owner.home = Some("/srv/mail/{user}".into());
    let plan = plan(&facts, &Wish::default());
    let toml = file(&plan, "/etc/gatepost/gatepost.toml");
    assert!(toml.contains("\nhome = \"/srv/mail/{user}\"\n"), "{toml}");
}

#[test]
fn another_home_of_the_mail_is_in_the_way() {
    let mut facts = tutorial();
    facts.config_text = Some("[dovecot-auth]\nhome = \"/srv/mail/{user}\"\n".into());
    let plan = plan(&facts, &Wish::default());
    assert!(
        plan.obstacles.iter().any(|text| text.contains("home = \"/var/vmail/{domain}/{local}\"")),
        "{plan:?}"
    );
}

#[test]
fn the_record_of_pg_hba_conf_that_counts_is_the_first_that_fits() {
    let text = "# local all all trust\nlocal  all  postgres peer\nhost all all ::1/128 md5\nlocal \"mail_server\", other gatepost_auth , x peer map=gatepost # ours\nlocal sameuser all md5\nlocal all all md5\n";
    let rule = hba::first(text, "mail_server", "gatepost_auth").unwrap();
    assert_eq!((rule.line, rule.names_role, rule.is_mapped()), (4, true, true));
    let rule = hba::first(text, "mail_server", "gatepost_milter").unwrap();
    assert_eq!((rule.line, rule.names_role, rule.is_password()), (6, false, true));
    assert_eq!(hba::first("local \"all\" all trust", "mail_server", "x"), None);
    let ours: Vec<[&str; 3]> = example::ident_records().collect();
    let expected: Vec<[&str; 3]> =
        DAEMONS.iter().map(|daemon| ["gatepost", daemon.system_user, daemon.role]).collect();
    assert_eq!(ours, expected);
    for daemon in DAEMONS {
        let line = database::ident_line(daemon.system_user, daemon.role);
        assert!(example::PG_IDENT.lines().any(|known| known == line), "{line}");
        assert!(hba::is_mapped(example::PG_IDENT, "gatepost", daemon.system_user, daemon.role));
        for peer in [true, false] {
            let rule = hba::first(example::hba_record(peer), "mail_server", daemon.role).unwrap();
            assert_eq!((rule.is_mapped(), rule.is_password()), (peer, !peer));
        }
    }
}

#[test]
fn what_is_printed_is_a_script_of_the_shell() {
    let plan = plan(&tutorial(), &Wish::default());
    let text = shell(&plan, &Places::default());
    let checked = std::process::Command::new("sh").args(["-n", "-c", &text]).output().unwrap();
    assert!(checked.status.success(), "{}\n{text}", String::from_utf8_lossy(&checked.stderr));
    assert!(
        text.contains(
            "\n  'virtual_mailbox_maps = socketmap:unix:run/gatepost/socketmap.sock:mailboxes' \\\n"
        ),
        "{text}"
    );
    assert!(text.contains("\ngatepost dkim import rspamd /etc/rspamd\n"));
    assert_eq!(word("it's"), "'it'\\''s'");
    serde_json::to_string(&plan).unwrap();
}

#[test]
fn the_way_back_in_postfix_is_told_as_commands() {
    let plan = plan(&tutorial(), &Wish::default());
    let script = shell(&plan, &Places::default());
    for line in [
        "# back: postconf -e \\",
        "#   'virtual_mailbox_domains = pgsql:/etc/postfix/pgsql-virtual-mailbox-domains.cf' \\",
        "# back: postconf -X \\",
        "# back: postconf -P \\",
        "#   submission/inet/smtpd_sasl_path=private/auth",
        "# back: postconf -MX submissions/inet",
    ] {
        assert!(script.lines().any(|there| there == line), "{line} is missing in\n{script}");
    }
    // What was not set before is taken out, whatever stands in its place now.
    let unset = script.split("# back: postconf -X").nth(1).unwrap();
    assert!(unset.split("\n\n").next().unwrap().contains("smtp_tls_policy_maps"), "{unset}");
}

/// Each of them is named, its work has a successor, and what cannot be taken over by itself stays with the lines that do it.
#[test]
fn what_stood_beside_the_tutorials_server_is_known() {
    let mut facts = tutorial();
    let domain = Domain::parse("example.com").unwrap();
    facts.keys.to_import = vec![Foreign {
        from: KeySource::Opendkim,
        path: "/etc/opendkim.conf".into(),
        keys: vec![(domain, "mail".into())],
    }];
    facts.neighbours = [("OpenDKIM", "opendkim"), ("postgrey", "postgrey"), ("PostSRSd", "postsrsd")]
        .map(|(name, unit)| Neighbour { name, units: vec![format!("{unit}.service")] })
        .into();
    let milters = "inet:localhost:12301, unix:mine.sock".to_owned();
    facts.postfix.as_mut().unwrap().settings.insert("smtpd_milters".into(), milters);
    let plan = plan(&facts, &Wish::default());
    let script = shell(&plan, &Places::default());
    for line in [
        "# found: OpenDKIM: opendkim.service",
        "gatepost dkim import opendkim /etc/opendkim.conf",
        "systemctl disable --now opendkim.service",
        "# back: systemctl enable --now opendkim.service",
        "systemctl disable --now postgrey.service",
    ] {
        assert!(script.lines().any(|there| there == line), "{line} is missing in\n{script}");
    }
    assert!(!script.contains("disable --now postsrsd"), "{script}");
    assert!(script.contains("# note: PostSRSd stays: gatepost-postfix-policy(8), \"SRS\""), "{script}");
    // A milter of the admin's own stays behind ours, OpenDKIM's goes.
    let settings = settings(&plan);
    let (_, milters) = settings.iter().find(|(name, _)| name == "smtpd_milters").unwrap();
    assert!(milters.contains("mine.sock") && !milters.contains("12301"), "{milters}");
    // Every step has its reason and its way back.
    assert!(plan.steps.iter().all(|planned| !planned.why.is_empty() && !planned.undo.is_empty()));
}

/// Whoever has aliases in a file beside the tutorial's SQL would see mail for them bounce.
#[test]
fn tables_of_the_admins_own_stay() {
    let mut facts = tutorial();
    let postfix = facts.postfix.as_mut().unwrap();
    for (parameter, value) in [
        ("virtual_alias_maps", "hash:/etc/postfix/virtual, pgsql:/etc/postfix/pgsql-virtual-alias-maps.cf"),
        ("virtual_mailbox_domains", "lists.test pgsql:/etc/postfix/pgsql-virtual-mailbox-domains.cf"),
        ("smtp_tls_policy_maps", "hash:/etc/postfix/tls_policy"),
    ] {
        postfix.settings.insert(parameter.to_owned(), value.to_owned());
    }
    let plan = plan(&facts, &Wish::default());
    let settings = settings(&plan);
    let set = |parameter: &str| {
        settings.iter().find(|(name, _)| name == parameter).map(|(_, value)| value.as_str())
    };
    let ours = |map: &str| format!("socketmap:unix:run/gatepost/socketmap.sock:{map}");
    assert_eq!(set("virtual_alias_maps"), Some(&*format!("hash:/etc/postfix/virtual, {}", ours("aliases"))));
    assert_eq!(set("virtual_alias_domains"), Some("hash:/etc/postfix/virtual"));
    assert_eq!(set("virtual_mailbox_domains"), Some(&*format!("lists.test, {}", ours("domains"))));
    assert_eq!(set("virtual_mailbox_maps"), Some(&*ours("mailboxes")));
    assert_eq!(set("smtp_tls_policy_maps"), Some(&*format!("hash:/etc/postfix/tls_policy, {}", ours("tls"))));
    // Once more: there is nothing left to do.
    let postfix = facts.postfix.as_mut().unwrap();
    postfix.settings.extend(settings.iter().cloned());
    let again = super::plan(&facts, &Wish::default());
    let left = self::settings(&again);
    assert!(
        !left.iter().any(|(name, _)| name.starts_with("virtual_") || name.starts_with("smtp_")),
        "{left:?}"
    );
}
