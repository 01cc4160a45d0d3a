//! A whole group of real nodes in one value: virtual time, disks that lose what is not synced,
//! links that hold, drop, duplicate and reorder, and the invariants after every event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::super::{
    AppendOutcome, Boot, Config, Effects, Input, Message, Node, Persist, Refusal, RoleKind, Status,
};
use crate::types::{
    Entry, HardState, Index, Member, Membership, Moment, NodeId, Payload, Position, Term, Ticket,
};

/// A node's disk: what is durable, and what is on its way there.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) hard_state: HardState,
    pub(super) log: Vec<Entry>,
    pub(super) queue: Vec<(Persist, Moment)>,
}

impl Disk {
    fn last(&self) -> Position {
        self.log.last().map_or(Position::default(), Entry::position)
    }

    fn write(&mut self, persist: &Persist) {
        if let Some(from) = persist.truncate_from {
            self.log.retain(|entry| entry.index < from);
        }
        self.log.extend(persist.entries.iter().cloned());
        if let Some(hard_state) = persist.hard_state {
            let voted = self.hard_state.vote;
            let same_term = hard_state.term == self.hard_state.term;
            assert!(!same_term || voted.is_none() || hard_state.vote == voted, "a vote changed");
            assert!(hard_state.term >= self.hard_state.term, "the durable term fell");
            self.hard_state = hard_state;
        }
    }
}

/// What a ticket ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Applied(Index),
    ReadAt(Index),
    Refused(Refusal),
}

pub(super) struct Machine {
    pub(super) node: Option<Node>,
    pub(super) disk: Disk,
    applied: Index,
    waiting_reads: Vec<(Ticket, Index)>,
    /// How long a sync takes.
    pub(super) sync_ms: u64,
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) message: Message,
    due: Moment,
}

pub(super) struct Group {
    pub(super) now: Moment,
    pub(super) machines: BTreeMap<NodeId, Machine>,
    pub(super) flights: Vec<Flight>,
    /// Links (from, to) that carry nothing.
    pub(super) cut: BTreeSet<(NodeId, NodeId)>,
    /// Added to every message's journey.
    pub(super) delay_ms: u64,
    pub(super) ended: BTreeMap<Ticket, End>,
    /// Messages delivered so far.
    pub(super) delivered: usize,
    next_ticket: u64,
    asked: BTreeMap<Ticket, (Index, Option<Bytes>)>,
    leaders: BTreeMap<Term, NodeId>,
    /// Everything that was ever applied anywhere.
    applied: BTreeMap<Index, Entry>,
    config: fn(NodeId) -> Config,
    incarnation: u64,
}

pub(super) fn id(number: u64) -> NodeId {
    NodeId(number)
}

pub(super) fn membership(size: u64) -> Membership {
    let member = |number| Member { id: id(number), peer: String::new(), client: String::new() };
    Membership { members: (1..=size).map(member).collect() }
}

pub(super) fn plain(node: NodeId) -> Config {
    Config::new(node, node.0)
}

impl Group {
    pub(super) fn new(size: u64) -> Self {
        Self::with(size, plain)
    }

    pub(super) fn with(size: u64, config: fn(NodeId) -> Config) -> Self {
        let mut group = Self {
            now: Moment(3_600_000_000),
            machines: BTreeMap::new(),
            flights: vec![],
            cut: BTreeSet::new(),
            delay_ms: 1,
            ended: BTreeMap::new(),
            delivered: 0,
            next_ticket: 1,
            asked: BTreeMap::new(),
            leaders: BTreeMap::new(),
            applied: BTreeMap::new(),
            config,
            incarnation: 0,
        };
        for number in 1..=size {
            let first = Boot::first(membership(size));
            let disk = Disk { hard_state: first.hard_state, log: first.entries, queue: vec![] };
            group.add(id(number), disk);
        }
        group
    }

    /// A machine with a given disk, started.
    pub(super) fn add(&mut self, node: NodeId, disk: Disk) {
        let applied = Index(0);
        let machine = Machine { node: None, disk, applied, waiting_reads: vec![], sync_ms: 1 };
        self.machines.insert(node, machine);
        self.start(node);
    }

    pub(super) fn start(&mut self, node: NodeId) {
        self.incarnation += 1;
        let mut config = (self.config)(node);
        config.seed = config.seed.wrapping_mul(1_000).wrapping_add(self.incarnation);
        let now = self.now;
        let machine = self.machines.get_mut(&node).unwrap();
        let boot = Boot {
            hard_state: machine.disk.hard_state,
            entries: machine.disk.log.clone(),
            ..Boot::default()
        };
        machine.applied = Index(0);
        machine.node = Some(Node::new(config, boot, now));
    }

    /// Ends a machine at once; what was not durable is gone, and so is everyone who waited.
    pub(super) fn crash(&mut self, node: NodeId) {
        let machine = self.machines.get_mut(&node).unwrap();
        machine.node = None;
        machine.disk.queue.clear();
        machine.waiting_reads.clear();
        let gone: Vec<Ticket> =
            self.asked.keys().copied().filter(|ticket| ticket.0 % 64 == node.0).collect();
        for ticket in gone {
            self.asked.remove(&ticket);
        }
        self.flights.retain(|flight| flight.from != node || flight.due <= self.now);
    }

    pub(super) fn status(&self, node: u64) -> Status {
        self.machines[&id(node)].node.as_ref().unwrap().status()
    }

    pub(super) fn up(&self) -> Vec<NodeId> {
        self.machines.iter().filter(|(_, m)| m.node.is_some()).map(|(id, _)| *id).collect()
    }

    /// The leader of the highest term among those that run.
    pub(super) fn leader(&self) -> Option<u64> {
        let all = self.up().into_iter().map(|node| self.status(node.0));
        let leaders = all.filter(|status| status.role == RoleKind::Leader);
        leaders.max_by_key(|status| status.term).map(|status| status.id.0)
    }

    pub(super) fn step(&mut self, node: NodeId, input: Input) {
        let now = self.now;
        if let Some(node) = self.machines.get_mut(&node).and_then(|m| m.node.as_mut()) {
            node.step(now, input);
        }
        self.drain(node);
    }

    fn drain(&mut self, node: NodeId) {
        let now = self.now;
        let Some(core) = self.machines.get_mut(&node).and_then(|m| m.node.as_mut()) else { return };
        let effects = core.drain(now);
        self.carry_out(node, effects);
        self.check(node);
    }

    fn carry_out(&mut self, node: NodeId, effects: Effects) {
        for (to, message) in effects.messages {
            assert!(!is_promise(&message), "a promise left before its sync: {message:?}");
            let durable = self.machines[&node].disk.hard_state.term;
            assert!(own_term(&message).is_none_or(|term| term <= durable), "{message:?}");
            self.send(node, to, message);
        }
        if let Some(persist) = effects.persist {
            let due = self.now + Duration::from_millis(self.machines[&node].sync_ms);
            self.machines.get_mut(&node).unwrap().disk.queue.push((persist, due));
        }
        for (ticket, refusal) in effects.refused {
            self.end(ticket, End::Refused(refusal));
        }
        for (ticket, index) in effects.reads {
            self.machines.get_mut(&node).unwrap().waiting_reads.push((ticket, index));
        }
        if let Some(apply) = effects.apply {
            self.apply(node, &apply.entries);
            for (index, ticket) in apply.waiting {
                let entry = &self.applied[&index];
                let asked = self.asked.get(&ticket).and_then(|(_, command)| command.clone());
                assert_eq!(entry.payload, Payload::Command(asked.unwrap()), "another's entry");
                self.end(ticket, End::Applied(index));
            }
        }
        self.answer_reads(node);
    }

    fn apply(&mut self, node: NodeId, entries: &[Entry]) {
        let machine = self.machines.get_mut(&node).unwrap();
        for entry in entries {
            assert_eq!(entry.index, machine.applied.next(), "applied out of order");
            machine.applied = entry.index;
            let first = self.applied.entry(entry.index).or_insert_with(|| entry.clone());
            assert_eq!(first, entry, "two entries were applied at one index");
        }
        let index = machine.applied;
        let now = self.now;
        machine.node.as_mut().unwrap().step(now, Input::Applied { index });
    }

    fn answer_reads(&mut self, node: NodeId) {
        let machine = self.machines.get_mut(&node).unwrap();
        let applied = machine.applied;
        let (ready, later) =
            machine.waiting_reads.drain(..).partition(|(_, index)| *index <= applied);
        machine.waiting_reads = later;
        let ready: Vec<(Ticket, Index)> = ready;
        for (ticket, index) in ready {
            self.end(ticket, End::ReadAt(index));
        }
    }

    fn end(&mut self, ticket: Ticket, end: End) {
        let (floor, _) =
            self.asked.remove(&ticket).expect("a ticket ended twice, or after a crash");
        if let End::ReadAt(index) = end {
            assert!(index >= floor, "a read at {index} missed what was acknowledged at {floor}");
        }
        self.ended.insert(ticket, end);
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        if !self.cut.contains(&(from, to)) {
            let due = self.now + Duration::from_millis(self.delay_ms);
            self.flights.push(Flight { from, to, message, due });
        }
    }

    fn ticket(&mut self, node: u64, command: Option<Bytes>) -> Ticket {
        let ticket = Ticket(self.next_ticket * 64 + node);
        self.next_ticket += 1;
        let acknowledged = self.ended.values().filter_map(|end| match end {
            End::Applied(index) | End::ReadAt(index) => Some(*index),
            End::Refused(_) => None,
        });
        let floor = acknowledged.max().unwrap_or_default();
        self.asked.insert(ticket, (floor, command));
        ticket
    }

    pub(super) fn propose(&mut self, node: u64, text: &str) -> Ticket {
        let command = Bytes::copy_from_slice(text.as_bytes());
        let ticket = self.ticket(node, Some(command.clone()));
        self.step(id(node), Input::Propose(vec![(ticket, command)]));
        ticket
    }

    pub(super) fn read(&mut self, node: u64) -> Ticket {
        let ticket = self.ticket(node, None);
        self.step(id(node), Input::Read(vec![ticket]));
        ticket
    }

    /// Everyone who still waits.
    pub(super) fn unanswered(&self) -> usize {
        self.asked.len()
    }

    /// Delivers one message that is due, chosen by its place.
    pub(super) fn deliver(&mut self, place: usize) {
        let Flight { from, to, message, .. } = self.flights.remove(place);
        if self.cut.contains(&(from, to)) {
            return;
        }
        self.delivered += 1;
        if is_promise(&message) {
            self.check_promise(from, &message);
        }
        self.step(to, Input::Received { from, message });
    }

    /// One millisecond: syncs that are done, messages that have arrived, a tick for all.
    pub(super) fn millisecond(&mut self) {
        self.now = self.now + Duration::from_millis(1);
        for node in self.up() {
            self.finish_syncs(node);
        }
        while let Some(place) = self.flights.iter().position(|flight| flight.due <= self.now) {
            self.deliver(place);
        }
        for node in self.up() {
            self.step(node, Input::Tick);
        }
    }

    pub(super) fn finish_syncs(&mut self, node: NodeId) {
        loop {
            let now = self.now;
            let disk = &mut self.machines.get_mut(&node).unwrap().disk;
            if disk.queue.first().is_none_or(|(_, due)| *due > now) {
                return;
            }
            let (persist, _) = disk.queue.remove(0);
            disk.write(&persist);
            for (to, message) in persist.then {
                self.send(node, to, message);
            }
            self.step(node, Input::Persisted { seq: persist.seq });
        }
    }

    pub(super) fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds {
            self.millisecond();
        }
    }

    /// Runs until something holds; panics after a time.
    pub(super) fn until(&mut self, most_ms: u64, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..most_ms {
            if holds(self) {
                return;
            }
            self.millisecond();
        }
        panic!("no {what} within {most_ms} ms");
    }

    /// Runs until there is a leader that has committed in its term.
    pub(super) fn elect(&mut self) -> u64 {
        self.until(10_000, "settled leader", |group| {
            group.leader().is_some_and(|leader| group.status(leader).settled)
        });
        self.leader().unwrap()
    }

    /// Cuts both ways between two groups of nodes.
    pub(super) fn part(&mut self, one: &[u64], other: &[u64]) {
        for a in one {
            for b in other {
                self.cut.insert((id(*a), id(*b)));
                self.cut.insert((id(*b), id(*a)));
            }
        }
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    /// The others, of a group of three or five.
    pub(super) fn others(&self, node: u64) -> Vec<u64> {
        self.machines.keys().map(|id| id.0).filter(|other| *other != node).collect()
    }

    /// Runs until all that run hold and have applied the same.
    pub(super) fn level(&mut self, most_ms: u64) {
        self.until(most_ms, "equal logs", |group| {
            let all: Vec<Status> = group.up().into_iter().map(|n| group.status(n.0)).collect();
            let equal =
                |a: &Status, b: &Status| a.applied == b.applied && a.last_index == b.last_index;
            group.leader().is_some()
                && all.iter().all(|s| equal(s, &all[0]) && s.applied == s.last_index)
        });
    }

    fn check(&mut self, node: NodeId) {
        let status = self.status(node.0);
        if status.role == RoleKind::Leader {
            let first = *self.leaders.entry(status.term).or_insert(node);
            assert_eq!(first, node, "two leaders in term {}", status.term);
        }
        // Whatever is applied anywhere is durable on a quorum, counting the disks of all.
        if let Some((index, entry)) = self.applied.last_key_value() {
            let holds =
                |m: &&Machine| m.disk.log.iter().rev().any(|e| e.index == *index && e == entry);
            let count = self.machines.values().filter(holds).count();
            assert!(count * 2 > self.machines.len(), "index {index} is applied without a quorum");
        }
    }

    /// What a vote or an acknowledgement says is on its sender's disk, as far as a later leader
    /// has not replaced it.
    fn check_promise(&self, from: NodeId, message: &Message) {
        let disk = &self.machines[&from].disk;
        assert!(disk.hard_state.term >= message.term(), "{message:?} of a term not durable");
        if let Message::AppendEntriesReply { term, outcome: AppendOutcome::Accepted(index), .. } =
            message
            && disk.hard_state.term == *term
        {
            assert!(disk.last().index >= *index, "{message:?} before its sync");
        }
    }
}

/// Messages that may leave only after a sync.
fn is_promise(message: &Message) -> bool {
    match message {
        Message::RequestVote { .. }
        | Message::RequestVoteReply { .. }
        | Message::AppendEntriesReply { .. } => true,
        Message::PreVote { .. }
        | Message::PreVoteReply { .. }
        | Message::AppendEntries { .. }
        | Message::Heartbeat { .. }
        | Message::HeartbeatReply { .. } => false,
    }
}

/// The sender's own term, where the message bears it.
fn own_term(message: &Message) -> Option<Term> {
    match message {
        Message::PreVote { .. } | Message::PreVoteReply { .. } => None,
        other => Some(other.term()),
    }
}
