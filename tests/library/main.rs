//! The library against a real PostgreSQL: run by `tests/run`, or `tests/with-postgres cargo test --workspace`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

mod accounts;
mod directory;
mod dkim;
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
mod reporting;
mod reports;
mod schema;
mod sessions;
mod spam;
mod store;
mod tool;
mod training;

/// Waits until a condition holds; a minute is "never" on any machine.
async fn until<F: AsyncFnMut() -> bool>(what: &str, mut condition: F) {
    for _ in 0..600 {
        if condition().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("never: {what}");
}

async fn connect(database: &postgres::Database, user: &str) -> sqlx::PgConnection {
    use sqlx::ConnectOptions;
    let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .socket(database.socket())
        .database(database.name())
        .username(user);
    options.password(user).connect().await.unwrap()
}
