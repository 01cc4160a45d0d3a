//! A network of proxies: one listener for each link, rules for each direction of travel.
//!
//! ```text
//!   node 1 ──dials──► listener (1→2) ──dials──► node 2
//!              frames 1→2 ───────────────────►  rules of the way 1→2
//!              ◄─────────────────── frames 2→1  rules of the way 2→1
//! ```
//!
//! A [`Way`] is a direction of travel between two [`Place`]s, on whichever connection: a cut of the
//! way from 2 to 1 also swallows what node 2 answers on a connection that node 1 dialled. The
//! unit is the whole websocket frame ([`frame`]), so that a peer is never out of step: what is
//! lost is a message, not bytes in the middle of one.
//!
//! It runs on a thread of its own, so that a test may block. It leaves out TLS.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

pub mod frame;
mod pump;
mod relay;
mod rules;

pub use rules::{Counts, Delay, Rules};

/// Where frames come from and go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// All clients together.
    Clients,
    /// A node.
    Node(u64),
}

/// A direction of travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// Who sends.
    pub from: Place,
    /// Who receives.
    pub to: Place,
}

impl Way {
    /// From one place to another.
    #[must_use]
    pub fn new(from: Place, to: Place) -> Self {
        Self { from, to }
    }

    /// Between two nodes.
    #[must_use]
    pub fn nodes(from: u64, to: u64) -> Self {
        Self::new(Place::Node(from), Place::Node(to))
    }

    /// The other direction.
    #[must_use]
    pub fn back(self) -> Self {
        Self::new(self.to, self.from)
    }
}

/// One relayed connection.
#[derive(Debug)]
struct Connection {
    /// The way of its dialler.
    way: Way,
    /// Set to end it.
    ended: watch::Sender<bool>,
    /// What is said on it is not heard: forward, and back.
    silenced: watch::Sender<[bool; 2]>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    seed: u64,
    state: Mutex<State>,
    /// Told after each change of a rule.
    changed: watch::Sender<u64>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    rules: BTreeMap<Way, Rules>,
    counts: BTreeMap<Way, Counts>,
    /// Old frames that are to be sent again, by way.
    replays: BTreeMap<Way, u64>,
    connections: BTreeMap<u64, Arc<Connection>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rules(&self, way: Way) -> Rules {
        self.state().rules.get(&way).cloned().unwrap_or_default()
    }

    fn count(&self, way: Way, add: impl FnOnce(&mut Counts)) {
        add(self.state().counts.entry(way).or_default());
    }

    fn tell(&self) {
        self.changed.send_modify(|version| *version += 1);
    }
}

/// The network. Dropping it ends every connection and listener.
#[derive(Debug)]
pub struct Net {
    shared: Arc<Shared>,
    runtime: Handle,
    /// Ends the thread when it is dropped.
    _stop: oneshot::Sender<()>,
}

impl Net {
    /// A network without links. The seed decides every draw.
    #[must_use]
    pub fn start(seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || runtime.block_on(async { drop(stopped.await) });
        std::thread::Builder::new().name("proxies".into()).spawn(run).expect("a thread");
        let (changed, _) = watch::channel(0);
        let (state, next) = (Mutex::default(), AtomicU64::new(1));
        let shared = Arc::new(Shared { seed, state, changed, next });
        Self { shared, runtime: handle, _stop: stop }
    }

    /// Adds a link: the address that `from` is to dial in place of `target`.
    #[must_use]
    pub fn link(&self, from: Place, to: Place, target: &str) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener can be asynchronous");
        let address = listener.local_addr().expect("an address").to_string();
        let (shared, target) = (Arc::clone(&self.shared), target.to_owned());
        self.runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener of the runtime");
            let way = Way::new(from, to);
            while let Ok((socket, _)) = listener.accept().await {
                let number = shared.next.fetch_add(1, Ordering::Relaxed);
                let target = target.clone();
                tokio::spawn(relay::relay(Arc::clone(&shared), number, way, socket, target));
            }
        });
        address
    }

    /// Replaces the rules of a way.
    pub fn set(&self, way: Way, rules: Rules) {
        self.shared.state().rules.insert(way, rules);
        self.shared.tell();
    }

    /// Changes the rules of a way.
    pub fn change(&self, way: Way, change: impl FnOnce(&mut Rules)) {
        change(self.shared.state().rules.entry(way).or_default());
        self.shared.tell();
    }

    /// Replaces all rules: ways that are not named have none.
    pub fn set_all(&self, rules: BTreeMap<Way, Rules>) {
        self.shared.state().rules = rules;
        self.shared.tell();
    }

    /// Nothing is cut, held, lost or late any more.
    pub fn heal(&self) {
        for connection in self.shared.state().connections.values() {
            connection.silenced.send_replace([false, false]);
        }
        self.set_all(BTreeMap::new());
    }

    /// Cuts both ways between each node of one group and each of the other.
    pub fn split(&self, one: &[u64], other: &[u64]) {
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
            for way in [Way::nodes(a, b), Way::nodes(b, a)] {
                self.change(way, |rules| rules.cut = true);
            }
        }
    }

    /// Heals both ways between each node of one group and each of the other.
    pub fn join(&self, one: &[u64], other: &[u64]) {
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
            for way in [Way::nodes(a, b), Way::nodes(b, a)] {
                self.change(way, |rules| rules.cut = false);
            }
        }
    }

    /// Breaks the connections that were dialled on a way; how many.
    pub fn reset(&self, way: Way) -> usize {
        let hit = self.connections(way);
        for connection in &hit {
            connection.ended.send_replace(true);
        }
        hit.len()
    }

    /// Breaks one connection that was dialled on a way, by chance; whether there is one.
    pub fn reset_one(&self, way: Way, draw: u64) -> bool {
        self.pick(way, draw).is_some_and(|connection| {
            connection.ended.send_replace(true);
            true
        })
    }

    /// What is said on one connection is not heard any more, forward or back, until all heals or
    /// the connection ends; whether there is one.
    pub fn silence_one(&self, way: Way, draw: u64, forward: bool, back: bool) -> bool {
        self.pick(way, draw).is_some_and(|connection| {
            connection.silenced.send_replace([forward, back]);
            true
        })
    }

    /// Frames that have passed a way on its newest connection pass again, the oldest first.
    pub fn replay(&self, way: Way, frames: u64) {
        self.shared.state().replays.insert(way, frames);
        self.shared.tell();
    }

    /// What a way has seen.
    #[must_use]
    pub fn counts(&self, way: Way) -> Counts {
        self.shared.state().counts.get(&way).cloned().unwrap_or_default()
    }

    /// What the ways between nodes have seen, all together.
    #[must_use]
    pub fn total(&self) -> Counts {
        let state = self.shared.state();
        let between = state
            .counts
            .iter()
            .filter(|(way, _)| matches!((way.from, way.to), (Place::Node(_), Place::Node(_))));
        let mut total = Counts::default();
        for (_, counts) in between {
            total.add(counts);
        }
        total
    }

    fn connections(&self, way: Way) -> Vec<Arc<Connection>> {
        let state = self.shared.state();
        state.connections.values().filter(|one| one.way == way).map(Arc::clone).collect()
    }

    fn pick(&self, way: Way, draw: u64) -> Option<Arc<Connection>> {
        let all = self.connections(way);
        let place = draw.checked_rem(all.len() as u64)?;
        all.into_iter().nth(usize::try_from(place).ok()?)
    }
}

#[cfg(test)]
mod tests;
