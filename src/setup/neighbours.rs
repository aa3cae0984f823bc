//! Programs whose work becomes ours: which milters, policy services and tables of Postfix are theirs, and which units run them.
//!
//! Only what is certain: by the names of their sockets, and by the ports of their packages and manuals.

use super::facts::Facts;
use super::plan::{Plan, Step};

/// One program.
struct Known {
    name: &'static str,
    /// What its address in Postfix holds, as a milter, policy service or table.
    marks: &'static [&'static str],
    /// What does its work now.
    now: &'static str,
}

/// Every one that is known.
const KNOWN: &[Known] = &[
    Known { name: "Rspamd", marks: &[":11332", "rspamd"], now: "gatepost-milter" },
    Known { name: "OpenDKIM", marks: &[":8891", ":12301", "opendkim"], now: "gatepost-milter" },
    Known { name: "OpenDMARC", marks: &[":8893", ":54321", "opendmarc"], now: "gatepost-milter" },
    Known { name: "SpamAssassin's milter", marks: &["spamass"], now: "gatepost-milter" },
    Known { name: "postgrey", marks: &[":10023", "postgrey"], now: "[milter.actions] greylist" },
    Known { name: "policyd-spf", marks: &["policyd-spf", "policy-spf"], now: "gatepost-milter" },
    Known {
        name: "policyd-rate-limit",
        marks: &["ratelimit/policy"],
        now: "gatepost-postfix-policy, rate-limit",
    },
    Known {
        name: "mta-sts-resolver",
        marks: &[":8461", "mta-sts", "postfix-mta-sts"],
        now: "gatepost-postfix-policy, map tls",
    },
    Known { name: "PostSRSd", marks: &[":10001", ":10002", "postsrsd"], now: "gatepost-postfix-policy, SRS" },
];

/// Whether a milter's or policy service's address is of a program whose work becomes ours; its name.
pub fn is_replaced_milter(address: &str) -> Option<&'static str> {
    KNOWN.iter().find(|known| known.marks.iter().any(|mark| address.contains(mark))).map(|known| known.name)
}

/// The units that have nothing to do any more.
pub(super) fn retire(facts: &Facts, plan: &mut Plan) {
    for neighbour in &facts.neighbours {
        let known = KNOWN.iter().find(|known| known.name == neighbour.name);
        let now = known.map_or("gatepost", |known| known.now);
        plan.found.push(format!("{}: {}", neighbour.name, neighbour.units.join(", ")));
        if neighbour.name == "PostSRSd" {
            plan.remark(
                "PostSRSd stays: gatepost-postfix-policy(8), \"SRS\", has the lines that replace it, with its own secrets and addresses",
            );
            continue;
        }
        if neighbour.units.is_empty() {
            continue;
        }
        if facts.systemd {
            plan.step(
                Step::DisableUnits { units: neighbour.units.clone() },
                format!("its work is done by {now}; the package stays installed"),
                format!("systemctl enable --now {}", neighbour.units.join(" ")),
            );
        } else {
            plan.remark(format!(
                "{} has nothing to do any more ({now}): stop {}; no systemd runs here to do it",
                neighbour.name,
                neighbour.units.join(", ")
            ));
        }
        if neighbour.name == "Rspamd" {
            plan.remark(
                "Redis: if nobody else uses it (Nextcloud may): systemctl disable --now redis-server; Rspamd kept its statistics there, which Gatepost does not read",
            );
        }
    }
}
