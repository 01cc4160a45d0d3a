//! The simulated world: nodes, links, disks, clocks and clients in one thread, in virtual time.
//!
//! ```text
//!   plan ──► World::run ──► events in order of true time ──► facts ──► watch
//!                             │
//!                             ├── driver.rs    a node's effects, carried out, with crash points
//!                             ├── machine.rs   its disk, clock and process
//!                             ├── lives.rs     starts and ends of processes
//!                             ├── network.rs   links
//!                             ├── upkeep.rs    checkpoints, trimming, installs
//!                             ├── snapshots.rs snapshots between nodes
//!                             ├── gateway.rs   clients' connections, at the node
//!                             ├── clients.rs   clients: the real session, and what they call
//!                             ├── faults.rs    what goes wrong
//!                             ├── operator.rs  changes of the members
//!                             ├── handshake.rs which nodes speak to each other
//!                             └── ending.rs    healing, and the checks at the end
//! ```
//!
//! Real are the Raft core, the state machine with its sessions, the write-ahead log, the
//! client's session and both codecs; the world stands in for the actors, the sockets, the disk
//! and the clocks.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use quorate_core::types::NodeId;

use crate::history::Operation;
use crate::invariants::Violation;
use crate::plan::Plan;
use crate::watch::Watch;
use clients::Client;
use gateway::Conn;
use machine::Machine;
use network::Network;
use operator::Errand;
use queue::{Event, Queue};

mod clients;
mod driver;
mod ending;
mod faults;
mod gateway;
mod handshake;
mod lives;
mod machine;
mod network;
mod operator;
mod queue;
mod snapshots;
mod upkeep;
mod workload;

/// What a run gave.
pub struct Run {
    /// The plan that was run.
    pub plan: Plan,
    /// The watch over it: violation, coverage, numbers, trace, story.
    pub watch: Watch,
    /// The virtual time it took, in microseconds.
    pub virtual_us: u64,
}

/// Runs a plan. The same plan gives the same run.
#[must_use]
pub fn run(plan: &Plan, story: bool) -> Run {
    let mut world = World::new(plan.clone(), story);
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    if let Err(panic) = ended {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default();
        world.watch.violated("ASSERT", text);
    }
    let World { plan, mut watch, now, .. } = world;
    if let (Some(story), Some(violation)) = (&mut watch.story, &watch.violation) {
        let Violation { invariant, what } = violation;
        story.tell(now, format!("** {invariant} is violated: {what}"));
    }
    Run { plan, watch, virtual_us: now }
}

/// Everything.
pub(crate) struct World {
    plan: Plan,
    /// True time, in microseconds.
    now: u64,
    queue: Queue,
    machines: BTreeMap<NodeId, Machine>,
    network: Network,
    clients: BTreeMap<u64, Client>,
    conns: BTreeMap<u64, Conn>,
    next_conn: u64,
    history: Vec<Operation>,
    /// What operators are at.
    errands: BTreeMap<u64, Errand>,
    next_errand: u64,
    /// When each entry was first applied, from index 1.
    executed_at: Vec<u64>,
    watch: Watch,
    /// No new calls and no new faults.
    calm: bool,
    /// No client says anything any more, and the cluster's clock stands.
    silent: bool,
}

impl World {
    fn new(plan: Plan, story: bool) -> Self {
        let machines =
            (1..=plan.machines()).map(|id| (NodeId(id), Machine::new(&plan, NodeId(id))));
        let mut world = Self {
            now: 0,
            queue: Queue::default(),
            machines: machines.collect(),
            network: Network::new(plan.seed, plan.nodes, plan.machines()),
            clients: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_conn: 1,
            history: Vec::new(),
            errands: BTreeMap::new(),
            next_errand: 1,
            executed_at: Vec::new(),
            watch: Watch::new(story),
            calm: false,
            silent: false,
            plan,
        };
        for (place, timed) in world.plan.faults.iter().enumerate() {
            world.queue.push(timed.at_ms * 1_000, Event::Fault(place));
        }
        world
    }

    fn run(&mut self) {
        for id in self.ids() {
            self.start(id);
        }
        for client in 1..=self.plan.workload.clients {
            self.add_client(client);
        }
        self.until(self.plan.run_ms * 1_000, |_| false);
        self.end();
    }

    fn ids(&self) -> Vec<NodeId> {
        self.machines.keys().copied().collect()
    }

    fn machine(&self, id: NodeId) -> &Machine {
        self.machines.get(&id).expect("only nodes that are there are named")
    }

    fn machine_mut(&mut self, id: NodeId) -> &mut Machine {
        self.machines.get_mut(&id).expect("only nodes that are there are named")
    }

    /// Lets things happen until that time, or until it is done, which is looked at every few
    /// milliseconds. Says whether it was done.
    fn until(&mut self, end: u64, done: impl Fn(&Self) -> bool) -> bool {
        let mut look = self.now;
        while self.watch.violation.is_none() {
            if self.now >= look {
                if done(self) {
                    return true;
                }
                look = self.now + 5_000;
            }
            let Some((at, event)) = self.queue.pop() else { break };
            if at > end {
                self.queue.push(at, event);
                self.now = end;
                break;
            }
            self.now = self.now.max(at);
            self.watch.tally.events += 1;
            self.happen(event);
        }
        done(self)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick { node, epoch } => self.tick(node, epoch),
            Event::Drain { node, epoch } => self.drain(node, epoch),
            Event::Sync { node, epoch } => self.sync(node, epoch),
            Event::Apply { node, epoch } => self.work(node, epoch),
            Event::Stored { node, epoch } => self.stored(node, epoch),
            Event::Resend { node, epoch, peer, number } => self.resend(node, epoch, peer, number),
            Event::Parcel(parcel) => self.parcel(&parcel),
            Event::Start { node } => self.start(node),
            Event::Deliver(packet) => self.deliver(packet),
            Event::Dial { from, to } => self.dial(from, to),
            Event::Silence { node, epoch, peer } => self.silence(node, epoch, peer),
            Event::Errand { number } => self.errand(number),
            Event::Fault(place) => self.strike(place),
            Event::Lift(lift) => self.lift(lift),
            Event::Wake { client } => self.wake(client),
            Event::Call { client } => self.call(client),
            Event::Open { conn } => self.open(conn),
            Event::Opened { conn, stands } => self.opened(conn, stands),
            Event::ToNode { conn, frame } => self.at_node(conn, &frame),
            Event::ToClient { conn, frame } => self.at_client(conn, &frame),
            Event::Lost { conn } => self.lost(conn),
            Event::Closed { conn } => self.closed(conn),
        }
    }
}
