//! Whose turn it is to hash: one line for each client's address, served in turn, so that an address that asks a hundred times waits for
//! itself and not before everybody else.
//!
//! What runs is bounded by threads and by memory, what waits by number and by time. Where no more may wait, the newest of the longest line
//! makes room for a client whose line is shorter. Strictly in turn: who needs much memory is not overtaken for ever by those who need little.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::workspace::Workspace;

/// Who asks: an IPv4 address, an IPv6 network of 64 bits (RFC 6177: one customer's), or nobody that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Client(Option<IpAddr>);

impl Client {
    /// By the address as the peer wrote it.
    pub(super) fn parse(address: &str) -> Self {
        Self(address.parse::<IpAddr>().ok().map(|address| match address.to_canonical() {
            IpAddr::V6(six) => IpAddr::V6((u128::from(six) & !u128::from(u64::MAX)).into()),
            four @ IpAddr::V4(_) => four,
        }))
    }
}

/// The lines, and what runs.
pub(super) struct Queue {
    threads: usize,
    /// KiB.
    memory: usize,
    most: usize,
    wait: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    /// KiB of what runs.
    used: usize,
    /// Memory that the last ones left; counts against the bound.
    spare: Vec<Workspace>,
    lines: HashMap<Client, VecDeque<Waiter>>,
    /// Whose line is served next.
    turns: VecDeque<Client>,
    waiting: usize,
    serial: u64,
}

struct Waiter {
    serial: u64,
    memory: usize,
    call: oneshot::Sender<Permit>,
}

/// The right to hash, with the memory for it. Belongs to the work, not to whoever asked.
pub(super) struct Permit {
    queue: Arc<Queue>,
    memory: usize,
    /// Whose it is, while the permit is held.
    pub(super) workspace: Workspace,
}

impl Queue {
    /// `threads` at once, `memory` KiB for all, `most` waiting, each at most `wait`.
    pub(super) fn new(threads: usize, memory: usize, most: usize, wait: Duration) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { threads: threads.max(1), memory: memory.max(8), most: most.max(1), wait, state })
    }

    /// KiB for all.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// Waits for its turn; `None` if there are too many, or it takes too long. `memory` in KiB, at most that of all.
    pub(super) async fn turn(self: &Arc<Self>, client: Client, memory: usize) -> Option<Permit> {
        let (place, mut called) = {
            let mut state = self.state();
            if state.waiting == 0 && self.has_room(&state, memory) {
                return Some(self.grant(&mut state, memory));
            }
            if state.waiting >= self.most && !state.make_room_for(client) {
                return None;
            }
            let (call, called) = oneshot::channel();
            state.serial += 1;
            let serial = state.serial;
            state.waiting += 1;
            let line = state.lines.entry(client).or_default();
            line.push_back(Waiter { serial, memory, call });
            if line.len() == 1 {
                state.turns.push_back(client);
            }
            (Place { queue: self, client, serial }, called)
        };
        // Room may have come to be while nobody was looking at a line that has just begun.
        self.serve();
        let permit = tokio::time::timeout(self.wait, &mut called).await.ok().and_then(Result::ok);
        drop(place);
        permit
    }

    /// Calls everybody whose turn has come.
    fn serve(self: &Arc<Self>) {
        loop {
            let mut state = self.state();
            let Some(client) = state.turns.front().copied() else { return };
            let Some(memory) = state.lines.get(&client).and_then(|line| line.front()).map(|next| next.memory)
            else {
                state.turns.pop_front();
                continue;
            };
            if !self.has_room(&state, memory) {
                return;
            }
            state.turns.pop_front();
            let line = state.lines.entry(client).or_default();
            let next = line.pop_front();
            let is_empty = line.is_empty();
            if is_empty {
                state.lines.remove(&client);
            } else {
                state.turns.push_back(client);
            }
            let Some(next) = next else { continue };
            state.waiting -= 1;
            let permit = self.grant(&mut state, memory);
            drop(state);
            // Whoever has gone meanwhile gives it back at once, by its drop.
            drop(next.call.send(permit));
        }
    }

    fn has_room(&self, state: &State, memory: usize) -> bool {
        state.running < self.threads && state.used + memory <= self.memory
    }

    fn grant(self: &Arc<Self>, state: &mut State, memory: usize) -> Permit {
        state.running += 1;
        let mut workspace = Workspace::default();
        if memory >= WORTH_KEEPING {
            let fits = |spare: &Workspace| spare.size() >= memory && state.used + spare.size() <= self.memory;
            let best = (0..state.spare.len())
                .filter(|at| fits(&state.spare[*at]))
                .min_by_key(|at| state.spare[*at].size());
            if let Some(at) = best {
                workspace = state.spare.swap_remove(at);
            }
        }
        let memory = memory.max(workspace.size());
        state.used += memory;
        while state.used + state.spare.iter().map(Workspace::size).sum::<usize>() > self.memory {
            state.spare.pop();
        }
        Permit { queue: Arc::clone(self), memory, workspace }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the newest of the longest line out, if that is longer than this client's would become.
    fn make_room_for(&mut self, client: Client) -> bool {
        let own = self.lines.get(&client).map_or(0, VecDeque::len);
        let longest = self.lines.values_mut().max_by_key(|line| line.len());
        match longest.filter(|line| line.len() > own + 1) {
            // Its call is dropped with it, which is what it hears.
            Some(line) => {
                line.pop_back();
                self.waiting -= 1;
                true
            }
            None => false,
        }
    }
}

/// One place in a line; given up when whoever waits goes away.
struct Place<'a> {
    queue: &'a Arc<Queue>,
    client: Client,
    serial: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        let Some(line) = state.lines.get_mut(&self.client) else { return };
        let before = line.len();
        line.retain(|waiter| waiter.serial != self.serial);
        let (left, is_empty) = (before - line.len(), line.is_empty());
        if is_empty {
            state.lines.remove(&self.client);
            state.turns.retain(|client| *client != self.client);
        }
        state.waiting -= left;
        drop(state);
        // Who came behind it may need less.
        if left > 0 {
            self.queue.serve();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        {
            let mut state = self.queue.state();
            state.running -= 1;
            state.used -= self.memory;
            let workspace = std::mem::take(&mut self.workspace);
            let kept: usize = state.spare.iter().map(Workspace::size).sum();
            let fits = state.used + kept + workspace.size() <= self.queue.memory;
            if fits && workspace.size() >= WORTH_KEEPING && state.spare.len() < self.queue.threads {
                state.spare.push(workspace);
            }
        }
        self.queue.serve();
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        write!(f, "Queue({} running, {} waiting)", state.running, state.waiting)
    }
}

/// KiB from which memory is kept for the next; below, the allocator is as fast.
const WORTH_KEEPING: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    /// Somebody who waits, and writes its name down when its turn has come.
    fn wait_as(queue: &Arc<Queue>, address: &'static str, order: &Arc<Mutex<Vec<&'static str>>>) {
        let (queue, order) = (Arc::clone(queue), Arc::clone(order));
        tokio::spawn(async move {
            let permit = queue.turn(Client::parse(address), 8).await;
            order.lock().unwrap().push(if permit.is_some() { address } else { "busy" });
            tokio::task::yield_now().await;
        });
    }

    #[tokio::test]
    async fn clients_are_served_in_turn_however_many_each_has_sent() {
        let queue = Queue::new(1, 64, 100, LONG);
        let order = Arc::default();
        let first = queue.turn(Client::default(), 8).await.unwrap();
        for _ in 0..5 {
            wait_as(&queue, "192.0.2.1", &order);
        }
        settle().await;
        for address in ["192.0.2.2", "2001:db8::1"] {
            wait_as(&queue, address, &order);
        }
        settle().await;
        assert_eq!(queue.waiting(), 7);
        drop(first);
        settle().await;
        assert_eq!(
            *order.lock().unwrap(),
            ["192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.1"]
        );
        let state = queue.state();
        assert_eq!((state.waiting, state.used, state.running), (0, 0, 0));
    }

    #[tokio::test]
    async fn a_full_queue_makes_room_for_a_client_with_a_shorter_line() {
        let queue = Queue::new(1, 64, 4, LONG);
        let order = Arc::default();
        let first = queue.turn(Client::default(), 8).await.unwrap();
        for _ in 0..4 {
            wait_as(&queue, "192.0.2.1", &order);
        }
        settle().await;
        assert!(queue.turn(Client::parse("192.0.2.1"), 8).await.is_none());
        wait_as(&queue, "192.0.2.2", &order);
        settle().await;
        assert_eq!(*order.lock().unwrap(), ["busy"]);
        drop(first);
        settle().await;
        assert_eq!(*order.lock().unwrap(), ["busy", "192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.1"]);
    }

    #[tokio::test]
    async fn who_waits_too_long_or_goes_away_leaves_no_trace() {
        let queue = Queue::new(1, 64, 4, Duration::from_millis(50));
        let first = queue.turn(Client::default(), 8).await.unwrap();
        assert!(queue.turn(Client::parse("192.0.2.1"), 8).await.is_none());
        let gone = tokio::time::timeout(Duration::ZERO, queue.turn(Client::parse("192.0.2.2"), 8)).await;
        assert!(gone.is_err());
        {
            let state = queue.state();
            assert_eq!((state.waiting, state.lines.len(), state.turns.len()), (0, 0, 0));
        }
        drop(first);
        assert!(queue.turn(Client::default(), 64).await.is_some());
    }

    #[tokio::test]
    async fn memory_is_used_again_and_never_beyond_the_bound() {
        let queue = Queue::new(4, 10_000, 4, LONG);
        let mut one = queue.turn(Client::default(), 4000).await.unwrap();
        one.workspace.blocks(4000).unwrap();
        let mut two = queue.turn(Client::default(), 5000).await.unwrap();
        two.workspace.blocks(5000).unwrap();
        let order = Arc::default();
        {
            let (queue, order): (_, Arc<Mutex<Vec<&str>>>) = (Arc::clone(&queue), Arc::clone(&order));
            tokio::spawn(async move {
                let permit = queue.turn(Client::default(), 2000).await.unwrap();
                order.lock().unwrap().push("called");
                assert_eq!(permit.workspace.size(), 4000);
            });
        }
        settle().await;
        assert!(order.lock().unwrap().is_empty(), "more than the bound");
        drop(one);
        settle().await;
        assert_eq!(*order.lock().unwrap(), ["called"]);
        drop(two);
        assert_eq!(queue.state().spare.len(), 2);
        let big = queue.turn(Client::default(), 10_000).await.unwrap();
        assert!(queue.state().spare.is_empty());
        drop(big);
    }

    #[test]
    fn an_ipv6_customer_is_one_client() {
        assert_eq!(Client::parse("2001:db8::1"), Client::parse("2001:db8::ffff:2"));
        assert_ne!(Client::parse("2001:db8::1"), Client::parse("2001:db8:0:1::1"));
        assert_eq!(Client::parse("::ffff:192.0.2.1"), Client::parse("192.0.2.1"));
        assert_ne!(Client::parse("192.0.2.1"), Client::parse("192.0.2.2"));
        assert_eq!(Client::parse("a host"), Client::default());
    }
}
