//! Waiting for what comes about by itself. A minute is "never" on any machine.

use std::future::Future;
use std::time::Duration;

use crate::postgres::Database;

/// Waits until a condition holds.
pub(crate) async fn until<F: AsyncFnMut() -> bool>(what: &str, mut condition: F) {
    for _ in 0..LOOKS {
        if condition().await {
            return;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    panic!("never: {what}");
}

/// Waits until a query says that.
pub(crate) async fn until_rows(what: &str, database: &Database, query: &str, expected: &str) {
    let mut found = String::new();
    for _ in 0..LOOKS {
        found = database.sql(query).await;
        if found == expected {
            return;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    panic!("never: {what}; {found}");
}

/// Waits for what comes; a test that waits in vain says so instead of hanging.
pub(crate) async fn soon<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(BETWEEN * LOOKS, waiting).await.unwrap_or_else(|_| panic!("never: {what}"))
}

const LOOKS: u32 = 600;
const BETWEEN: Duration = Duration::from_millis(100);
