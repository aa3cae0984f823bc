//! The threads that hash. They are few, and they give way: hashing takes whatever the processor has, for as long as logins come, and whoever
//! only looks something up must not wait until a hash has used its time slice up.
//!
//! Each thread lowers its own priority (setpriority(2); on Linux a nice value is a thread's own). Nice values are compared within a service only:
//! systemd's services are sessions or control groups of their own (sched(7), "The autogroup feature"), so other programs of the host get no
//! more than before. Refuses to decide what runs when: a permit of [`queue`](super::queue) says so.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The threads of one pool; they end with it.
pub(super) struct Threads {
    shared: Arc<Shared>,
    most: usize,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    alive: usize,
    idle: usize,
    over: bool,
}

type Job = Box<dyn FnOnce() + Send>;

impl Threads {
    /// At most `most`, started when they are needed.
    pub(super) fn new(most: usize) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), work: Condvar::new() }), most: most.max(1) }
    }

    /// Has a thread do something; `None` where it cannot be done, because no thread can be had or because it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, outcome) = oneshot::channel();
        // Whoever asked may have gone; the work was done all the same.
        self.submit(Box::new(move || drop(done.send(work()))));
        outcome.await.ok()
    }

    fn submit(&self, job: Job) {
        let mut state = self.shared.state();
        state.waiting.push_back(job);
        if state.waiting.len() > state.idle && state.alive < self.most {
            let shared = Arc::clone(&self.shared);
            match std::thread::Builder::new().name("hashing".to_owned()).spawn(move || serve(&shared)) {
                Ok(_) => state.alive += 1,
                // Nobody would ever do it.
                Err(_) if state.alive == 0 => state.waiting.clear(),
                Err(_) => {}
            }
        }
        drop(state);
        self.shared.work.notify_one();
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Threads({} of {})", self.shared.state().alive, self.most)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.state().over = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job; `None` at the end.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.over {
                return None;
            }
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

fn serve(shared: &Shared) {
    let own = rustix::process::getpriority_process(None).unwrap_or_default();
    if let Err(error) = rustix::process::setpriority_process(None, NICE.max(own)) {
        tracing::debug!(%error, "hashing runs at the priority of everything else");
    }
    while let Some(job) = shared.next() {
        // Its sender is dropped with it, which is what whoever waits hears.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

/// A tenth of the processor where something of the same service wants it as well, and at once out of its way (kernel/sched/core.c,
/// `sched_prio_to_weight`).
const NICE: i32 = 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[tokio::test]
    async fn work_is_done_by_few_threads_of_low_priority_and_none_is_lost() {
        let threads = Arc::new(Threads::new(2));
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let threads = Arc::clone(&threads);
                tokio::spawn(async move {
                    let work = move || (number, rustix::process::getpriority_process(None).unwrap());
                    threads.run(work).await
                })
            })
            .collect();
        let own = rustix::process::getpriority_process(None).unwrap();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), Some((number, NICE.max(own))));
        }
        assert!((1..=2).contains(&threads.shared.state().alive));
    }

    #[tokio::test]
    async fn a_panic_is_one_works_own() {
        let threads = Threads::new(1);
        assert_eq!(threads.run(|| -> u8 { panic!("as a broken hash might") }).await, None);
        assert_eq!(threads.run(|| 7).await, Some(7));
        let shared = Arc::downgrade(&threads.shared);
        drop(threads);
        // The thread ends, and with it what it held.
        for _ in 0..1000 {
            if shared.strong_count() == 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("the thread stays");
    }
}
