//! The library against a real PostgreSQL: run by `tests/run`, or `tests/with-postgres cargo test --workspace`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

mod accounts;
mod directory;
mod dkim;
mod dkim_import;
mod dmarc;
mod dns;
#[allow(dead_code, reason = "each test binary uses its part of it")]
#[path = "../support/dns.rs"]
mod dns_server;
mod doctor;
mod failover;
mod history;
mod import;
#[allow(dead_code, reason = "each test binary uses its part of it")]
#[path = "../support/postgres.rs"]
mod postgres;
mod report_mail;
mod reporting;
mod reports;
mod schema;
mod sessions;
mod spam;
mod store;
mod tool;
mod tool_reports;
mod tool_rules;
mod training;

#[allow(dead_code, reason = "each test binary uses its part of it")]
#[path = "../support/waiting.rs"]
mod waiting;

use waiting::until;

async fn connect(database: &postgres::Database, user: &str) -> sqlx::PgConnection {
    use sqlx::ConnectOptions;
    let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .socket(database.socket())
        .database(database.name())
        .username(user);
    options.password(user).connect().await.unwrap()
}
