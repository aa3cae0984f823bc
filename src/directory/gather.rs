//! Many who ask the same kind of question at the same time are answered by one statement.
//!
//! A statement costs PostgreSQL and us far more than a row that it finds: parsing, planning, a round trip, a change of processes. So while
//! one is under way, further questions wait for each other, and the next statement takes them all; a question that comes alone goes at once. A
//! crowd after a restart costs a few statements, not thousands, and never more connections than [`LANES`].
//!
//! Whoever is there first asks for all, in its own task. If it goes away in the middle (its client hung up), the others ask again: no answer is
//! lost, and nothing is spawned.

use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};

use crate::database::Trouble;

/// What one key's question ends with.
pub(crate) type Answer<V> = Result<Option<V>, Trouble>;

/// One kind of question.
pub(crate) struct Gather<K, V> {
    waiting: Mutex<Vec<(K, oneshot::Sender<Answer<V>>)>>,
    lanes: Semaphore,
}

impl<K, V> Default for Gather<K, V> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), lanes: Semaphore::new(LANES) }
    }
}

impl<K: Clone + Send, V: Send> Gather<K, V> {
    /// What `load` says of a key; it is given several at once, and gives an answer for each, in their order.
    pub(crate) async fn ask<'a>(
        &self,
        key: K,
        load: impl Fn(Vec<K>) -> BoxFuture<'a, Result<Vec<Answer<V>>, Trouble>> + Send,
    ) -> Answer<V> {
        loop {
            let (answer, mut mine) = oneshot::channel();
            self.waiting().push((key.clone(), answer));
            loop {
                let lane = tokio::select! {
                    biased;
                    answer = &mut mine => match answer {
                        Ok(answer) => return answer,
                        // Whoever asked for us has gone.
                        Err(_) => break,
                    },
                    lane = self.lanes.acquire() => lane,
                };
                let (keys, others) = self.take();
                if !keys.is_empty() {
                    settle(others, load(keys).await);
                }
                drop(lane);
            }
        }
    }

    /// Those whose turn it is; without those who have gone.
    fn take(&self) -> (Vec<K>, Vec<oneshot::Sender<Answer<V>>>) {
        let mut waiting = self.waiting();
        waiting.retain(|(_, answer)| !answer.is_closed());
        let count = waiting.len().min(MOST);
        waiting.drain(..count).unzip()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<(K, oneshot::Sender<Answer<V>>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn settle<V>(askers: Vec<oneshot::Sender<Answer<V>>>, loaded: Result<Vec<Answer<V>>, Trouble>) {
    match loaded {
        Ok(answers) => askers.into_iter().zip(answers).for_each(|(asker, answer)| drop(asker.send(answer))),
        Err(trouble) => askers.into_iter().for_each(|asker| drop(asker.send(Err(trouble.clone())))),
    }
}

/// Statements at once: one that is slow does not hold up all others, and the pool keeps connections for other questions.
const LANES: usize = 2;
/// Keys of one statement: their answers come within a millisecond or two.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_crowd_is_answered_by_few_statements_each_with_its_own_answer() {
        let (gather, statements) = (Arc::new(Gather::<u32, u32>::default()), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..1000u32)
            .map(|key| {
                let (gather, statements) = (Arc::clone(&gather), Arc::clone(&statements));
                tokio::spawn(async move {
                    let load = |keys: Vec<u32>| -> BoxFuture<'static, _> {
                        statements.fetch_add(1, Ordering::Relaxed);
                        Box::pin(async move {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                            let answer = |key| match key % 3 {
                                0 => Ok(None),
                                1 => Err(Trouble::Misconfigured(format!("row {key}"))),
                                _ => Ok(Some(key * 2)),
                            };
                            Ok(keys.into_iter().map(answer).collect())
                        })
                    };
                    gather.ask(key, load).await
                })
            })
            .collect();
        for (key, task) in (0..1000).zip(tasks) {
            let expected = match key % 3 {
                0 => Ok(None),
                1 => Err(Trouble::Misconfigured(format!("row {key}"))),
                _ => Ok(Some(key * 2)),
            };
            assert_eq!(task.await.unwrap(), expected);
        }
        assert!(statements.load(Ordering::Relaxed) <= 2 + 1000 / MOST + 2, "{statements:?}");
    }

    #[tokio::test]
    async fn trouble_is_everybodys_and_who_goes_away_takes_nobody_with_it() {
        let gather = Arc::new(Gather::<u32, u32>::default());
        let never = |_: Vec<u32>| -> BoxFuture<'static, _> { Box::pin(std::future::pending()) };
        let away = |_: Vec<u32>| -> BoxFuture<'static, Result<Vec<Answer<u32>>, Trouble>> {
            Box::pin(async { Err(Trouble::Away("gone".into())) })
        };
        // Both lanes are taken by askers who wait for ever, a third waits behind one of them.
        let stuck: Vec<_> = (0..2)
            .map(|key| {
                let gather = Arc::clone(&gather);
                tokio::spawn(async move { gather.ask(key, never).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let waiting = {
            let gather = Arc::clone(&gather);
            tokio::spawn(async move { gather.ask(7, away).await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        stuck.iter().for_each(tokio::task::JoinHandle::abort);
        assert_eq!(waiting.await.unwrap(), Err(Trouble::Away("gone".into())));
        assert_eq!(gather.ask(8, away).await, Err(Trouble::Away("gone".into())));
    }
}
