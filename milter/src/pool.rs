//! The one place where work for the processor is done: at most so many pieces at once as the machine has cores.
//!
//! For `session`, `authentication` and `signing`. Judging a big message takes tens of milliseconds; on the threads that also serve
//! sockets it would make every other connection wait. Work waits here in turn; it is never refused, because the number of
//! connections (`[limits]`) already bounds how much can wait.

use std::sync::Arc;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Permits for heavy work.
#[derive(Debug, Clone)]
pub struct Pool {
    permits: Arc<Semaphore>,
}

/// The work panicked: a bug of ours, with the panic's message in the log.
#[derive(Debug, thiserror::Error)]
#[error("internal error")]
pub struct Panicked;

impl Pool {
    /// A pool of that many threads; 0 is as many as the machine has cores.
    pub fn new(threads: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if threads == 0 { cores } else { threads };
        Self { permits: Arc::new(Semaphore::new(threads.min(Semaphore::MAX_PERMITS))) }
    }

    /// Runs work that owns its data on a thread for blocking work.
    ///
    /// A panic in it is a bug; it costs this one answer, not the connection.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        // The semaphore is never closed, so the only other end is a permit. It belongs to the work: a session that ends frees
        // nothing before the work is done.
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let work = move || {
            let result = work();
            drop(permit);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Panicked)
    }

    /// Runs work that borrows its data, in place: at once when it is small, else with a permit and the other tasks of this
    /// thread moved away.
    pub async fn run_here<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        if bytes <= SMALL || Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return work();
        }
        let _permit = self.permits.acquire().await;
        tokio::task::block_in_place(work)
    }
}

/// Hashing runs at about 800 MB/s here, so a quarter MiB keeps a thread for less than half a millisecond.
const SMALL: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_costs_one_answer() {
        let pool = Pool::new(0);
        let panicked: Result<(), Panicked> = pool.run(|| panic!("on purpose")).await;
        assert!(panicked.is_err());
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
        assert_eq!(pool.run_here(SMALL + 1, || 8).await, 8);
    }
}
