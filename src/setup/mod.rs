//! From the server that is there to one that Gatepost serves: what was found becomes a plan, a list of typed steps.
//!
//! ```text
//! Facts (versions, postconf, doveconf, pg_hba.conf, database, keys of others)  +  Wish (what the admin asked for)  →  Plan
//! ```
//!
//! Pure: nothing is read and nothing is changed here; `gatepost setup` gathers the facts and carries the steps out. What the steps set is
//! what the files of `examples/` say ([`example`] reads them), so that the plan, the examples and the tests of the whole server are one.
//! A server that is set up already has an empty plan. Refuses to guess: what it does not know how to change is a remark, and what would
//! do harm (another home of the mail, say) is an [`Plan::obstacles`] entry that keeps the plan from being carried out.

mod database;
mod dovecot;
pub mod example;
mod facts;
mod hba;
mod neighbours;
mod plan;
mod postfix;
mod show;

pub use facts::{
    Auth, DAEMONS, DaemonFacts, DatabaseFacts, DovecotFacts, Facts, Foreign, KeyFacts, KeySource, MailOwner,
    Neighbour, PostfixFacts, Wish,
};
pub use hba::Rule;
pub use neighbours::is_replaced_milter;
pub use plan::{Dns, Plan, Planned, Setting, Step};
pub use show::{Places, shell, word};

/// The tutorial's objects, for a machine that has none yet.
pub const MAIL_SERVER: &str = include_str!("mail_server.sql");

/// What is to be done, in order: nothing is changed in Dovecot or Postfix before database, keys and daemons are ready, and Postfix comes
/// last, so that mail finds somebody at every moment.
pub fn plan(facts: &Facts, wish: &Wish) -> Plan {
    let mut plan = Plan::default();
    let auth = facts.auth(wish);
    database::objects(facts, wish, &mut plan);
    database::access(facts, auth, &mut plan);
    database::keys(facts, wish, &mut plan);
    database::configuration(facts, auth, &mut plan);
    let switch = plan.steps.len();
    dovecot::switch(facts, wish, &mut plan);
    postfix::switch(facts, wish, &mut plan);
    let sockets = facts.needed_sockets(wish);
    if plan.steps.len() > switch && !sockets.is_empty() {
        let units = facts.missing_units();
        let mut before = Vec::new();
        if !units.is_empty() {
            before.push(Planned::new(
                Step::EnableUnits { units: units.clone() },
                "the daemons answer before anybody is told to ask them",
                format!("systemctl disable --now {}", units.join(" ")),
            ));
        }
        before.push(Planned::new(
            Step::Listening { sockets },
            "Dovecot and Postfix are not pointed at sockets on which nobody answers",
            "nothing is changed by it",
        ));
        plan.steps.splice(switch..switch, before);
    }
    neighbours::retire(facts, &mut plan);
    plan
}

#[cfg(test)]
mod tests;
