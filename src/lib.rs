//! The shared library of Gatepost: everything that the milter, dovecot-auth and postfix-policy have in common.
//!
//! The modules in reading order:
//!
//! - [`mail`]: the words of the domain as types: address, domain, SMTP reply.
//! - [`config`]: one TOML file into typed sections, with errors that name file, line and column.
//! - [`net`]: listeners, the one accept loop, bounded frames, the life of a daemon.
//! - [`connections`]: the connections to PostgreSQL, kept warm between questions.
//! - [`database`]: what is asked over them, its deadlines, and what counts as "away".
//! - [`directory`]: typed questions to the database `mail_server`, cached, with [`directory::Lookup`] as the only kind of answer.
//! - [`store`]: our own schema `gatepost`: its migrations, signing keys, counters.
//! - [`dmarc`]: DMARC policies, the operator's exceptions, what reports count.
//! - [`spam`]: what the operator decides about spam in SQL: settings and lists.
//! - [`dns`]: questions to DNS, with the same kind of answer.
//! - [`dkim`]: signing keys before the signing: made, imported, encrypted, compared with DNS.
//! - [`spf`]: who may send for a domain.
//! - [`mta_sts`]: who may take a domain's mail, as it says on the web.
//! - [`password`]: stored password hashes and their verification on a bounded pool.
//! - [`import`]: users, domains and aliases of other servers, from their files.
//! - [`setup`]: from the server that is there to one that Gatepost serves, as a plan.
//! - [`training`]: a message as the training log keeps it.
//! - [`telemetry`]: logs and metrics.
//! - [`manual`]: manual pages, from the same tables as the programs.
//! - [`daemon`]: the skeleton that the three daemons share: verbs, start, reload, end.
//!
//! Dependencies point one way, downwards in this list never upwards; the library knows no protocol of Postfix or Dovecot.

pub mod config;
pub mod connections;
pub mod daemon;
pub mod database;
pub mod directory;
pub mod dkim;
pub mod dmarc;
pub mod dns;
pub mod import;
pub mod mail;
pub mod manual;
pub mod mta_sts;
pub mod net;
pub mod password;
mod servers;
pub mod setup;
pub mod spam;
pub mod spf;
pub mod store;
pub mod telemetry;
pub mod training;
