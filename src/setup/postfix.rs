//! Postfix: which parameters of `examples/main.cf` are set on a server in use, which only on a new one, and what of the admin's own stays.
//!
//! A milter, policy service or restriction that is not known to be replaced stays where it is. Parameters are all set by one call of
//! `postconf`, so that no process of Postfix ever reads half of them.

mod parameters;

use parameters::{How, LISTS, PARAMETERS, Treated};

use super::example;
use super::facts::{Facts, PostfixFacts, Wish};
use super::neighbours::is_replaced_milter;
use super::plan::{Dns, Plan, Setting, Step, name};

/// The steps for Postfix.
pub(super) fn switch(facts: &Facts, wish: &Wish, plan: &mut Plan) {
    let Some(postfix) = &facts.postfix else {
        plan.obstacles.push("Postfix is not installed: apt-get install postfix".to_owned());
        return;
    };
    plan.found.push(format!("Postfix {}, {}", postfix.version, postfix.directory.display()));
    let before = plan.steps.len();
    let main = postfix.directory.join("main.cf");
    if !postfix.has_main {
        let level =
            format!("compatibility_level = {}\n", example::parameter("compatibility_level").unwrap_or("3.6"));
        let undo = format!("rm {}", main.display());
        plan.step(
            Step::WriteFile { path: main.clone(), contents: level, mode: 0o644 },
            "Postfix starts with a main.cf alone",
            undo,
        );
    }
    let new = !facts.serves_mail();
    let mut settings: Vec<Setting> = Vec::new();
    for treated in PARAMETERS {
        let there = postfix.settings.get(treated.parameter);
        let value = value(treated, facts, postfix, wish, new);
        if let Some(value) = value
            && there.is_none_or(|there| squeezed(there) != squeezed(&value))
        {
            let before = there.cloned();
            settings.push(Setting {
                parameter: treated.parameter.to_owned(),
                value,
                before,
                why: treated.why,
            });
        }
    }
    for list in LISTS {
        if let Some(there) = postfix.settings.get(*list)
            && let Some(value) = without_replaced(there)
        {
            let why = "the policy service of a program whose work is Gatepost's now goes";
            settings.push(Setting { parameter: (*list).to_owned(), value, before: Some(there.clone()), why });
        }
    }
    if !settings.is_empty() {
        plan.step(
            Step::Postconf { settings },
            "Postfix asks Gatepost",
            format!("the copy of {}", main.display()),
        );
    }
    services(postfix, plan);
    if plan.steps.len() > before {
        let probe = facts.database.domains.first().or(wish.domain.as_ref()).map(name);
        plan.step(
            Step::ReloadPostfix { running: postfix.running, probe },
            "Postfix looks its files over and reads them again",
            "postfix reload, after the files are as they were",
        );
        if !postfix.running {
            plan.remark("Postfix does not run: systemctl start postfix");
        }
    }
    if let Some(there) = postfix.settings.get("inet_interfaces")
        && new
        && squeezed(there) != "all"
    {
        plan.remark(format!(
            "inet_interfaces = {there}: Postfix hears nobody else; for mail from outside: postconf -e inet_interfaces=all, systemctl restart postfix"
        ));
    }
    records(facts, postfix, wish, new, plan);
}

/// What a parameter should be; `None` where it stays.
fn value(treated: &Treated, facts: &Facts, postfix: &PostfixFacts, wish: &Wish, new: bool) -> Option<String> {
    let example = example::parameter(treated.parameter)?;
    let there = postfix.settings.get(treated.parameter).map(String::as_str);
    match treated.how {
        How::Switch => Some(example.to_owned()),
        How::Milters => Some(milters(treated.parameter, there, example)),
        How::Table => Some(table(there.unwrap_or_default(), example)),
        How::AliasDomains => Some(alias_domains(
            there.unwrap_or("$virtual_alias_maps"),
            postfix.settings.get("virtual_alias_maps").map(String::as_str).unwrap_or_default(),
        )),
        How::Restrictions => Some(restrictions(there.unwrap_or_default(), example)),
        // Debian writes some of them at installation; on a new server the example counts.
        How::New => new.then(|| example.to_owned()),
        How::Host => match treated.parameter {
            "myhostname" if there.is_none() => Some(facts.hostname.clone()),
            "mydomain" if new && there.is_none() => wish.domain.as_ref().map(name),
            "smtpd_tls_cert_file" => {
                wish.certificate.as_ref().map(|(certificate, _)| certificate.display().to_string())
            }
            "smtpd_tls_key_file" => wish.certificate.as_ref().map(|(_, key)| key.display().to_string()),
            _ => None,
        },
    }
}

/// Our milter, then those of others that are not replaced.
fn milters(parameter: &str, there: Option<&str>, example: &str) -> String {
    let there = there.unwrap_or_default();
    let kept: Vec<String> = words(there)
        .into_iter()
        .filter(|milter| {
            is_replaced_milter(milter).is_none() && milter != example && milter != "$smtpd_milters"
        })
        .filter(|milter| Some(milter.as_str()) != example::parameter("smtpd_milters"))
        .collect();
    if kept.is_empty() {
        return example.to_owned();
    }
    // Those of non_smtpd_milters are listed by themselves: they may be others.
    let ours = if parameter == "non_smtpd_milters" {
        example::parameter("smtpd_milters").unwrap_or(example)
    } else {
        example
    };
    [ours.to_owned()].into_iter().chain(kept).collect::<Vec<_>>().join(", ")
}

/// What was there, with ours in the place of tables whose work it does now, or behind: mail for an alias that stands in a file of the admin's is
/// not to bounce.
fn table(there: &str, example: &str) -> String {
    let mut tables: Vec<String> = Vec::new();
    for one in words(there) {
        let one = if is_replaced_table(&one) { example.to_owned() } else { one };
        if !tables.contains(&one) {
            tables.push(one);
        }
    }
    // `tls-tlsrpt` is the map `tls` in another form.
    if !tables.iter().any(|one| squeezed(one).starts_with(&squeezed(example))) {
        tables.push(example.to_owned());
    }
    tables.join(", ")
}

/// The tables of aliases that stay may name domains too (virtual(5)); ours does not.
fn alias_domains(there: &str, alias_maps: &str) -> String {
    let ours = example::parameter("virtual_alias_maps").unwrap_or_default();
    let mut tables: Vec<String> = Vec::new();
    for one in words(there) {
        let of_aliases = matches!(one.as_str(), "$virtual_alias_maps" | "${virtual_alias_maps}");
        let meant = if of_aliases { words(alias_maps) } else { vec![one] };
        for one in meant {
            if !is_replaced_table(&one) && one != ours && !tables.contains(&one) {
                tables.push(one);
            }
        }
    }
    tables.join(", ")
}

/// The tutorial's SQL, and tables of programs whose work is ours now.
fn is_replaced_table(table: &str) -> bool {
    let table = table.strip_prefix("proxy:").unwrap_or(table);
    table.starts_with("pgsql:") || is_replaced_milter(table).is_some()
}

/// Ours, then what was there.
fn restrictions(there: &str, example: &str) -> String {
    let ours = pairs(&words(example));
    let theirs = pairs(&words(there));
    let kept = theirs.into_iter().filter(|one| !ours.contains(one) && is_replaced_milter(one).is_none());
    ours.iter().cloned().chain(kept).collect::<Vec<_>>().join(", ")
}

/// The list without policy services of replaced programs; `None` if there is none.
fn without_replaced(there: &str) -> Option<String> {
    let all = pairs(&words(there));
    let replaced =
        |one: &&String| one.starts_with("check_policy_service ") && is_replaced_milter(one).is_some();
    if !all.iter().any(|one| replaced(&one)) {
        return None;
    }
    Some(all.iter().filter(|one| !replaced(one)).cloned().collect::<Vec<_>>().join(", "))
}

/// `submission` and `submissions` where they are missing; what single services set otherwise.
fn services(postfix: &PostfixFacts, plan: &mut Plan) {
    let mut settings = Vec::new();
    for (service, parameter, value) in &postfix.overrides {
        let Some(treated) = PARAMETERS.iter().find(|treated| treated.parameter == parameter) else {
            continue;
        };
        let Some(example) = example::parameter(parameter) else { continue };
        let wanted = match treated.how {
            How::Switch if !value.is_empty() => example.to_owned(),
            How::Table if !value.is_empty() => table(value, example),
            How::Milters if !value.is_empty() => {
                milters("smtpd_milters", Some(value), example::parameter("smtpd_milters").unwrap_or(example))
            }
            _ => continue,
        };
        if squeezed(value) != squeezed(&wanted) && !ours_already(value) {
            settings.push(Setting {
                parameter: format!("{service}/{parameter}"),
                value: wanted,
                before: Some(value.clone()),
                why: treated.why,
            });
        }
    }
    let master = postfix.directory.join("master.cf");
    if !settings.is_empty() {
        plan.step(
            Step::MasterOptions { settings },
            "services that set for themselves what main.cf sets",
            format!("the copy of {}", master.display()),
        );
    }
    for (line, options) in example::services() {
        let mut columns = line.split_whitespace();
        let (Some(service), Some(kind)) = (columns.next(), columns.next()) else { continue };
        if has_service(postfix, service) {
            continue;
        }
        let entry = [line.split_whitespace().collect::<Vec<_>>().join(" ")]
            .into_iter()
            .chain(options.iter().map(|option| (*option).to_owned()))
            .collect::<Vec<_>>()
            .join(" ");
        plan.step(
            Step::MasterService { service: format!("{service}/{kind}"), entry },
            "a port for our own users, who log in",
            format!("the copy of {}", master.display()),
        );
    }
}

/// Whether the port is served, under whatever name.
fn has_service(postfix: &PostfixFacts, service: &str) -> bool {
    let names: &[&str] =
        if service == "submission" { &["submission", "587"] } else { &["submissions", "smtps", "465"] };
    let mark =
        if service == "submission" { "syslog_name=postfix/submission" } else { "smtpd_tls_wrappermode=yes" };
    postfix.services.iter().any(|(name, kind, entry)| {
        let port = name.rsplit(':').next().unwrap_or(name);
        let marked = entry.split_whitespace().any(|word| word == mark);
        kind == "inet" && (names.contains(&port) || marked)
    })
}

/// What a new domain needs in DNS.
fn records(facts: &Facts, postfix: &PostfixFacts, wish: &Wish, new: bool, plan: &mut Plan) {
    if !new || !facts.database.domains.is_empty() {
        for domain in facts.database.domains.iter().take(SHOWN_DOMAINS) {
            plan.remark(format!(
                "DNS: the switch needs no other record; `gatepost domain dns {domain} --check` says what {domain} lacks, without --check it prints all"
            ));
        }
        return;
    }
    let Some(domain) = &wish.domain else { return };
    let host = postfix.settings.get("myhostname").unwrap_or(&facts.hostname);
    let mut dns = |record: String, why| plan.dns.push(Dns { record, why });
    dns(format!("{domain}. 3600 IN MX 10 {host}."), "mail for the domain comes to this host");
    dns(format!("{domain}. 3600 IN TXT \"v=spf1 mx -all\""), "mail of the domain comes from this host alone");
    dns(
        format!("_dmarc.{domain}. 3600 IN TXT \"v=DMARC1; p=none; rua=mailto:postmaster@{domain}\""),
        "others say what they see of the domain; p=reject once it is all yours",
    );
    dns(format!("; {host}. IN A …, and its address back to {host}."), "others refuse hosts without");
}

/// Domains for which a command is spelled out.
const SHOWN_DOMAINS: usize = 3;

fn ours_already(value: &str) -> bool {
    value.contains("run/gatepost/")
}

/// Without differences that mean nothing to Postfix.
fn squeezed(value: &str) -> String {
    words(value).join(" ")
}

/// The elements of a list: divided by blanks and commas, `{ … }` one of them.
fn words(list: &str) -> Vec<String> {
    let (mut words, mut word, mut depth) = (Vec::new(), String::new(), 0_usize);
    for character in list.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && (character == ',' || character.is_whitespace()) {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        } else {
            word.push(character);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Restrictions with their arguments.
fn pairs(words: &[String]) -> Vec<String> {
    let mut pairs: Vec<String> = Vec::new();
    let mut takes = false;
    for word in words {
        match pairs.last_mut() {
            Some(last) if takes => {
                last.push(' ');
                last.push_str(word);
                takes = false;
            }
            _ => {
                takes = word.starts_with("check_") && word.ends_with(['s', 'e'])
                    || matches!(
                        word.as_str(),
                        "reject_rbl_client"
                            | "reject_rhsbl_client"
                            | "reject_rhsbl_helo"
                            | "reject_rhsbl_sender"
                            | "reject_rhsbl_recipient"
                            | "reject_rhsbl_reverse_client"
                            | "permit_dnswl_client"
                            | "permit_rhswl_client"
                    );
                pairs.push(word.clone());
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn every_parameter_of_the_example_is_treated_and_no_other() {
        let example: Vec<&str> = example::parameters().map(|(name, _)| name).collect();
        let treated: Vec<&str> = PARAMETERS.iter().map(|treated| treated.parameter).collect();
        assert_eq!(treated, example);
    }

    #[test]
    fn what_is_not_known_to_be_replaced_stays() {
        let ours = "unix:run/gatepost/milter.sock";
        for (there, expected) in [
            ("", ours.to_owned()),
            ("inet:127.0.0.1:11332", ours.to_owned()),
            ("inet:localhost:11332 unix:/clamav/milter.ctl", format!("{ours}, unix:/clamav/milter.ctl")),
            (
                "{ inet:127.0.0.1:8891, default_action=accept }, inet:127.0.0.1:7357",
                format!("{ours}, inet:127.0.0.1:7357"),
            ),
            (ours, ours.to_owned()),
        ] {
            assert_eq!(milters("smtpd_milters", Some(there), ours), expected, "{there}");
        }
        assert_eq!(
            milters("non_smtpd_milters", Some("inet:localhost:11332"), "$smtpd_milters"),
            "$smtpd_milters"
        );
        assert_eq!(milters("non_smtpd_milters", Some("$smtpd_milters"), "$smtpd_milters"), "$smtpd_milters");
        assert_eq!(
            milters("non_smtpd_milters", Some("unix:other"), "$smtpd_milters"),
            format!("{ours}, unix:other")
        );
        assert_eq!(
            without_replaced("permit_mynetworks reject_unauth_destination check_policy_service inet:127.0.0.1:10023, check_sender_access hash:/etc/postfix/a, check_policy_service unix:private/other").as_deref(),
            Some("permit_mynetworks, reject_unauth_destination, check_sender_access hash:/etc/postfix/a, check_policy_service unix:private/other")
        );
        assert_eq!(without_replaced("permit_mynetworks, check_policy_service unix:private/other"), None);
        let checks = "regexp:{{ /^X-Ours:/ IGNORE }}";
        for (there, expected) in [
            ("", checks.to_owned()),
            (checks, checks.to_owned()),
            ("pcre:/etc/postfix/out", format!("pcre:/etc/postfix/out, {checks}")),
        ] {
            assert_eq!(table(there, checks), expected);
        }
        let ours = "socketmap:unix:run/gatepost/socketmap.sock:tls";
        for (there, expected) in [
            ("", ours.to_owned()),
            ("pgsql:/a.cf, proxy:pgsql:/b.cf", ours.to_owned()),
            ("socketmap:inet:127.0.0.1:8461:postfix", ours.to_owned()),
            ("hash:/a pgsql:/b.cf hash:/c", format!("hash:/a, {ours}, hash:/c")),
            ("hash:/a", format!("hash:/a, {ours}")),
            (ours, ours.to_owned()),
            (&format!("{ours}-tlsrpt"), format!("{ours}-tlsrpt")),
        ] {
            assert_eq!(table(there, ours), expected, "{there}");
        }
        let aliases = "socketmap:unix:run/gatepost/socketmap.sock:aliases";
        for (there, maps, expected) in [
            ("$virtual_alias_maps", "pgsql:/a.cf", ""),
            ("$virtual_alias_maps", "hash:/a, pgsql:/b.cf", "hash:/a"),
            ("list.test ${virtual_alias_maps}", &format!("hash:/a, {aliases}"), "list.test, hash:/a"),
            ("", "hash:/a", ""),
            ("hash:/d", "pgsql:/a.cf", "hash:/d"),
        ] {
            assert_eq!(alias_domains(there, maps), expected, "{there} {maps}");
        }
        let example = example::parameter("smtpd_data_restrictions").unwrap();
        assert_eq!(restrictions("", example), example);
        assert_eq!(restrictions(example, example), example);
        assert_eq!(
            restrictions("permit_mynetworks, reject_unauth_pipelining", example),
            format!("{example}, permit_mynetworks")
        );
    }
}
