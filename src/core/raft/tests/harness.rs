//! A small deterministic cluster of real nodes: a disk that takes its time and forgets what is
//! not synced, a network that cuts, holds, drops, doubles and reorders, and a virtual clock.
//! After every event the [`Checks`] look at what happened.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::checks::{Checks, Outcome};
use super::machine::{Disk, Machine};
use crate::raft::{Boot, Config, Effects, Input, Message, Node, Persist, Random};
use crate::types::{Entry, HardState, Index, Member, Membership, Moment, NodeId, Term, Ticket};

/// How often every node gets a `Tick`, in milliseconds.
const TICK: u64 = 10;

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) message: Message,
}

/// What the network does to messages, out of a hundred.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) drop: u64,
    pub(super) double: u64,
    /// Delays are drawn from `1..=delay`, so that messages overtake each other.
    pub(super) delay: u64,
    /// Inputs that wait for others before the node drains.
    pub(super) lazy: u64,
}

/// The cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    /// Virtual milliseconds.
    pub(super) now: u64,
    pub(super) machines: BTreeMap<u64, Machine>,
    packets: BTreeMap<(u64, u64), Packet>,
    pub(super) held: Vec<Packet>,
    pub(super) cut: BTreeSet<(u64, u64)>,
    hold: BTreeSet<(u64, u64)>,
    pub(super) faults: Faults,
    pub(super) random: Random,
    pub(super) checks: Checks,
    /// Every message that was sent, when a test asks for it.
    pub(super) sent: Vec<Packet>,
    pub(super) record: bool,
    order: u64,
    tickets: u64,
}

impl Cluster {
    /// A cluster of that many nodes with the default settings, nothing started twice.
    pub(super) fn new(size: u64) -> Self {
        Self::with(size, 1, |_| {})
    }

    /// A cluster whose every node's settings went through `tune`.
    pub(super) fn with(size: u64, seed: u64, tune: impl Fn(&mut Config)) -> Self {
        Self::from_logs(&vec![vec![]; usize::try_from(size).unwrap()], seed, tune)
    }

    /// A cluster whose nodes come from disks with these terms behind the first entry.
    pub(super) fn from_logs(logs: &[Vec<u64>], seed: u64, tune: impl Fn(&mut Config)) -> Self {
        let size = logs.len() as u64;
        let member = |id| Member::voter(NodeId(id), String::new(), String::new());
        let membership = Membership::of((1..=size).map(member).collect());
        let mut cluster = Self {
            now: 1_000,
            machines: BTreeMap::new(),
            packets: BTreeMap::new(),
            held: vec![],
            cut: BTreeSet::new(),
            hold: BTreeSet::new(),
            faults: Faults { delay: 1, ..Faults::default() },
            random: Random::new(seed),
            checks: Checks::new(size),
            sent: vec![],
            record: false,
            order: 0,
            tickets: 0,
        };
        for (id, terms) in (1..).zip(logs) {
            let mut config = Config::new(NodeId(id), seed * 1_000 + id);
            tune(&mut config);
            let first = Boot::first(membership.clone());
            let mut log = first.entries;
            for (index, term) in (2..).zip(terms) {
                log.push(foreign(index, *term));
            }
            // A term's entries mean that a quorum knows of the term.
            let term = logs.iter().flatten().max().map_or(Term(1), |term| Term(*term));
            let hard_state = HardState { term, vote: None };
            let disk = Disk { hard_state, log, queue: VecDeque::new(), delay: Some(1) };
            cluster.checks.recovered(&disk);
            let machine = Machine {
                config,
                node: None,
                disk,
                incarnation: 0,
                applied: 0,
                applies: VecDeque::new(),
                apply_delay: 0,
                paused_until: 0,
                dirty: false,
            };
            cluster.machines.insert(id, machine);
            cluster.restart(id);
        }
        cluster
    }

    pub(super) fn moment(&self) -> Moment {
        Moment(self.now * 1_000)
    }

    pub(super) fn machine(&mut self, id: u64) -> &mut Machine {
        self.machines.get_mut(&id).expect("that node exists")
    }

    /// The node, which must be up.
    pub(super) fn node(&self, id: u64) -> &Node {
        self.machines[&id].node.as_ref().expect("the node is up")
    }

    pub(super) fn is_up(&self, id: u64) -> bool {
        self.machines[&id].node.is_some()
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.machines.keys().copied().collect()
    }

    // ---- faults ----

    /// Messages from `from` to `to` are lost from now on, those on their way too.
    pub(super) fn cut(&mut self, from: u64, to: u64) {
        self.cut.insert((from, to));
    }

    /// Cuts a link both ways.
    pub(super) fn cut_both(&mut self, a: u64, b: u64) {
        self.cut(a, b);
        self.cut(b, a);
    }

    /// Cuts a node off from everyone.
    pub(super) fn isolate(&mut self, id: u64) {
        for other in self.ids() {
            if other != id {
                self.cut_both(id, other);
            }
        }
    }

    /// Leaves only the links named, both ways.
    pub(super) fn only_links(&mut self, links: &[(u64, u64)]) {
        for a in self.ids() {
            for b in self.ids() {
                if a != b && !links.contains(&(a, b)) && !links.contains(&(b, a)) {
                    self.cut(a, b);
                }
            }
        }
    }

    pub(super) fn mend(&mut self, from: u64, to: u64) {
        self.cut.remove(&(from, to));
    }

    /// Every link works; what was held arrives.
    pub(super) fn heal(&mut self) {
        self.cut.clear();
        self.release();
    }

    /// Messages from `from` to `to` wait until `release`.
    pub(super) fn hold(&mut self, from: u64, to: u64) {
        self.hold.insert((from, to));
    }

    /// Everything that was held arrives, in order.
    pub(super) fn release(&mut self) {
        self.hold.clear();
        for packet in std::mem::take(&mut self.held) {
            self.transmit(packet, 1);
        }
    }

    /// The process stops. Of the writes that wait, the first `kept` had reached the disk.
    pub(super) fn crash(&mut self, id: u64, kept: usize) {
        let machine = self.machine(id);
        machine.node = None;
        let mut queue = std::mem::take(&mut machine.disk.queue);
        queue.truncate(kept);
        for (_, persist) in queue {
            self.write_to_disk(id, &persist);
        }
        self.machine(id).applies.clear();
        self.checks.crashed(id);
    }

    /// The process starts from what its disk holds.
    pub(super) fn restart(&mut self, id: u64) {
        let now = self.moment();
        let machine = self.machines.get_mut(&id).expect("that node exists");
        assert!(machine.node.is_none(), "it is up");
        let disk = &machine.disk;
        let boot =
            Boot { hard_state: disk.hard_state, entries: disk.log.clone(), ..Boot::default() };
        machine.incarnation += 1;
        let mut config = machine.config.clone();
        config.seed = config.seed * 31 + machine.incarnation;
        machine.node = Some(Node::new(config, boot, now));
        machine.applied = 0;
        machine.paused_until = 0;
        self.checks.started(id, disk);
        self.drain(id);
    }

    /// Nothing on that machine happens for so long.
    pub(super) fn pause(&mut self, id: u64, ms: u64) {
        let until = self.now + ms;
        self.machine(id).paused_until = until;
    }

    // ---- requests ----

    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Proposes a command of that many bytes (at least eight).
    pub(super) fn propose_sized(&mut self, id: u64, bytes: usize) -> Ticket {
        let ticket = self.ticket();
        let mut command = ticket.0.to_be_bytes().to_vec();
        command.resize(bytes.max(8), 0);
        let command = Bytes::from(command);
        self.checks.proposed(id, ticket, command.clone());
        self.feed(id, Input::Propose(vec![(ticket, command)]));
        ticket
    }

    pub(super) fn propose(&mut self, id: u64) -> Ticket {
        self.propose_sized(id, 8)
    }

    pub(super) fn read(&mut self, id: u64) -> Ticket {
        let ticket = self.ticket();
        self.checks.asked_to_read(id, ticket);
        self.feed(id, Input::Read(vec![ticket]));
        ticket
    }

    pub(super) fn outcome(&self, ticket: Ticket) -> Option<Outcome> {
        self.checks.outcome(ticket)
    }

    // ---- time ----

    /// One fact for a node that is up; the node drains at once unless it is lazy.
    pub(super) fn feed(&mut self, id: u64, input: Input) {
        let now = self.moment();
        let lazy = self.random.below(100) < self.faults.lazy;
        let machine = self.machine(id);
        let Some(node) = machine.node.as_mut() else { return };
        node.step(now, input);
        machine.dirty = true;
        if !lazy {
            self.drain(id);
        }
    }

    /// A message out of nowhere, as if `from` had sent it.
    pub(super) fn deliver(&mut self, from: u64, to: u64, message: Message) {
        self.feed(to, Input::Received { from: NodeId(from), message });
    }

    fn drain(&mut self, id: u64) {
        let now = self.moment();
        let machine = self.machine(id);
        machine.dirty = false;
        let Some(node) = machine.node.as_mut() else { return };
        let effects = node.drain(now);
        self.carry_out(id, effects);
        self.checks.look_at(id, &self.machines);
    }

    fn carry_out(&mut self, id: u64, effects: Effects) {
        let Effects { messages, persist, apply, reads, refused, .. } = effects;
        for (to, message) in messages {
            self.post(id, to, message);
        }
        let now = self.now;
        if let Some(persist) = persist {
            let disk = &mut self.machine(id).disk;
            let earliest = disk.queue.back().map_or(now, |(due, _)| *due);
            let due = disk.delay.map_or(u64::MAX, |delay| earliest.max(now + delay));
            disk.queue.push_back((due, persist));
        }
        if let Some(apply) = apply {
            let machine = self.machine(id);
            let last = apply.entries.last().expect("an Apply is never empty").index;
            machine.applies.push_back((now + machine.apply_delay, last));
            let first = machine.applied;
            machine.applied = last.0;
            self.checks.applied(id, first, &apply);
        }
        for (ticket, index) in reads {
            self.checks.read_answered(ticket, index);
        }
        for (ticket, refusal) in refused {
            self.checks.refused(ticket, refusal);
        }
    }

    fn post(&mut self, from: u64, to: NodeId, message: Message) {
        let machine = &self.machines[&from];
        self.checks.sent(from, to, &message, &machine.disk, &self.machines);
        let packet = Packet { from, to: to.0, message };
        if self.record {
            self.sent.push(packet.clone());
        }
        let Faults { drop, double, delay, .. } = self.faults;
        if self.random.below(100) < drop {
            return;
        }
        if self.random.below(100) < double {
            let late = 1 + self.random.below(delay * 3);
            self.transmit(packet.clone(), late);
        }
        let wait = 1 + self.random.below(delay);
        self.transmit(packet, wait);
    }

    fn transmit(&mut self, packet: Packet, wait: u64) {
        if self.hold.contains(&(packet.from, packet.to)) {
            self.held.push(packet);
            return;
        }
        self.order += 1;
        self.packets.insert((self.now + wait, self.order), packet);
    }

    fn write_to_disk(&mut self, id: u64, persist: &Persist) {
        let disk = &mut self.machine(id).disk;
        disk.write(persist);
        let disk = &self.machines[&id].disk;
        self.checks.persisted(disk, persist);
    }

    /// The disk finishes what is due; what waited for it leaves, then the node hears of it.
    fn sync(&mut self, id: u64) {
        while self.machines[&id].disk.queue.front().is_some_and(|(due, _)| *due <= self.now) {
            let (_, persist) = self.machine(id).disk.queue.pop_front().expect("just looked at");
            self.write_to_disk(id, &persist);
            for (to, message) in persist.then {
                self.post(id, to, message);
            }
            self.feed(id, Input::Persisted { seq: persist.seq });
        }
        while self.machines[&id].applies.front().is_some_and(|(due, _)| *due <= self.now) {
            let (_, index) = self.machine(id).applies.pop_front().expect("just looked at");
            self.feed(id, Input::Applied { index });
        }
    }

    /// Sets how long a machine's syncs take; a disk that hung goes on.
    pub(super) fn disk_delay(&mut self, id: u64, delay: Option<u64>) {
        let now = self.now;
        let disk = &mut self.machine(id).disk;
        disk.delay = delay;
        let due = delay.map_or(u64::MAX, |delay| now + delay);
        for (waiting, _) in &mut disk.queue {
            *waiting = due;
        }
    }

    /// One millisecond: disks, then the network, then the ticks.
    pub(super) fn advance(&mut self) {
        self.now += 1;
        let now = self.now;
        let awake: Vec<u64> = self
            .machines
            .iter()
            .filter(|(_, machine)| machine.node.is_some() && machine.paused_until <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in &awake {
            self.sync(*id);
        }
        while let Some(entry) = self.packets.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let packet = entry.remove();
            let machine = &self.machines[&packet.to];
            if machine.node.is_some() && machine.paused_until > now {
                self.order += 1;
                self.packets.insert((machine.paused_until, self.order), packet);
            } else if !self.cut.contains(&(packet.from, packet.to)) {
                self.deliver(packet.from, packet.to, packet.message);
            }
        }
        for id in awake {
            if self.machines[&id].dirty || now.is_multiple_of(TICK) {
                self.feed(id, Input::Tick);
                self.drain(id);
            }
        }
    }

    pub(super) fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.advance();
        }
    }

    /// Runs until it holds; panics when it does not within that many milliseconds.
    pub(super) fn run_until(&mut self, ms: u64, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..ms {
            if done(self) {
                return;
            }
            self.advance();
        }
        assert!(done(self), "not within {ms} ms: {what}\n{}", self.picture());
    }
}

/// An entry from before the test, distinct by index and term.
pub(super) fn foreign(index: u64, term: u64) -> Entry {
    let command = Bytes::from(format!("before {index}@{term}"));
    let payload = crate::types::Payload::Command(command);
    Entry { term: Term(term), index: Index(index), payload }
}
