//! One node of the search: the real core, its disk, its clock, and the writes that are not yet
//! on the disk.
//!
//! # Time
//!
//! Each machine has a clock of its own, which stands still but for two things.
//!
//! * *Its timeout fires*: the clock goes on, in steps that are too short to count as an absence
//!   of the node, until the core asks for pre-votes or steps down.
//! * A follower that has heard a leader is at once a whole election timeout older. A core that
//!   still hears its leader ignores a request for its vote, and a request that is ignored is the
//!   same as one that has not come yet, so nothing is lost by asking only those who no longer
//!   do.
//!
//! Pre-votes are granted at once, whatever the others know: they promise nothing, so this only
//! allows more than can happen.

use std::collections::VecDeque;
use std::hash::Hash;
use std::time::Duration;

use quorate_core::raft::{
    Boot, Config, Effects, Input, Message, Node, Note, Persist, RoleKind, Status,
};
use quorate_core::types::{Entry, HardState, Index, Moment, NodeId, Term, Ticket};

use super::print::{Print, print, print_all, print_of};
use super::state::Packet;

/// So long that no sum of other waits ever reaches it.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1_000);
const HEARTBEAT: Duration = Duration::from_millis(1);
/// More such steps than any drawn timeout, with the grace after an absence, needs.
const MOST_STEPS: u32 = 8;

/// What a disk holds.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Disk {
    pub(super) hard_state: HardState,
    pub(super) entries: Vec<Entry>,
}

impl Disk {
    fn write(&mut self, persist: &Persist) {
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
        replace_tail(&mut self.entries, persist);
    }

    /// Whether it holds this very entry.
    pub(super) fn holds(&self, entry: &Entry) -> bool {
        self.entries.contains(entry)
    }
}

fn replace_tail(entries: &mut Vec<Entry>, persist: &Persist) {
    if let Some(from) = persist.truncate_from {
        entries.retain(|entry| entry.index < from);
    }
    entries.extend(persist.entries.iter().cloned());
}

/// Something that happens to one machine.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event<'a> {
    /// Its election timeout fires; a leader's check-quorum does.
    Elapse,
    /// The oldest write reaches the disk.
    Sync,
    /// It crashes, loses what has not reached the disk, and starts again.
    Crash,
    /// A client proposes its command of that number.
    Propose(u8),
    /// A leader whose commit index rose says so in a heartbeat.
    Beat,
    /// Its connection to a peer broke and is back.
    Reconnect(NodeId),
    /// A message comes in.
    Receive(&'a Packet),
}

impl Event<'_> {
    /// Tells it from every other.
    pub(super) fn print(&self) -> Print {
        match self {
            Event::Elapse => 1,
            Event::Sync => 2,
            Event::Crash => 3,
            Event::Beat => 4,
            Event::Propose(number) => 0x100 | Print::from(*number),
            Event::Reconnect(peer) => 0x1_0000 | Print::from(peer.0),
            Event::Receive(packet) => packet.print,
        }
    }
}

/// What came of an event.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Messages that left before what they promise could be on the disk.
    pub(super) early: Vec<(NodeId, Message)>,
    /// Messages that left.
    pub(super) left: Vec<(NodeId, Message)>,
    /// What was applied.
    pub(super) applied: Vec<Entry>,
    /// How many writes were lost in a crash.
    pub(super) lost: usize,
    /// What the core says for people.
    pub(super) notes: Vec<Note>,
}

/// One machine.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) id: NodeId,
    node: Node,
    now: Moment,
    pub(super) disk: Disk,
    pub(super) writes: VecDeque<Persist>,
    /// The log as the node has it: the disk's, and the writes on their way there.
    pub(super) log: Vec<Entry>,
    /// The commit index that followers were last told in a heartbeat.
    pub(super) told: Index,
    pub(super) role: RoleKind,
    pub(super) term: Term,
    pub(super) commit: Index,
    pub(super) applied: Index,
    /// For each entry of the log the fingerprint of it and all before it.
    pub(super) chain: Vec<Print>,
    pub(super) print: Print,
}

impl Machine {
    /// A node that starts from that disk.
    pub(super) fn new(id: NodeId, disk: Disk) -> Self {
        let now = Moment(1_000);
        let mut machine = Self {
            id,
            node: boot(id, &disk, now),
            now,
            log: disk.entries.clone(),
            disk,
            writes: VecDeque::new(),
            told: Index(0),
            role: RoleKind::Follower,
            term: Term(0),
            commit: Index(0),
            applied: Index(0),
            chain: vec![],
            print: 0,
        };
        machine.settle();
        machine
    }

    /// The machine after the event, and what came of it.
    pub(super) fn after(&self, event: &Event<'_>, syncs_at_once: bool) -> (Self, Outcome) {
        let mut next = self.clone();
        let mut outcome = Outcome::default();
        match event {
            Event::Elapse => next.elapse(&mut outcome),
            Event::Sync => next.sync(&mut outcome),
            Event::Crash => next.crash(&mut outcome),
            Event::Propose(number) => {
                let ticket = Ticket(u64::from(*number));
                next.step(Input::Propose(vec![(ticket, vec![*number].into())]), &mut outcome);
            }
            Event::Beat => next.beat(&mut outcome),
            Event::Reconnect(peer) => {
                next.node.step(next.now, Input::Disconnected { peer: *peer });
                next.step(Input::Connected { peer: *peer }, &mut outcome);
            }
            Event::Receive(packet) => {
                let (from, message) = (packet.from, packet.message.clone());
                next.step(Input::Received { from, message }, &mut outcome);
            }
        }
        while syncs_at_once && !next.writes.is_empty() {
            next.sync(&mut outcome);
        }
        next.settle();
        (next, outcome)
    }

    /// Whether its timeout can fire: a core whose disk lags neither campaigns nor asks to.
    pub(super) fn may_elapse(&self) -> bool {
        self.role == RoleKind::Leader || self.writes.is_empty()
    }

    fn step(&mut self, input: Input, outcome: &mut Outcome) {
        self.node.step(self.now, input);
        self.drain(outcome);
    }

    fn drain(&mut self, outcome: &mut Outcome) -> RoleKind {
        let effects = self.node.drain(self.now);
        let Effects { messages, persist, apply, notes, .. } = effects;
        outcome.notes.extend(notes);
        for (to, message) in messages {
            if self.is_early(&message) {
                outcome.early.push((to, message));
            } else {
                outcome.left.push((to, message));
            }
        }
        if let Some(persist) = persist {
            replace_tail(&mut self.log, &persist);
            self.writes.push_back(persist);
        }
        if let Some(apply) = apply {
            let last = apply.entries.last().map_or(Index(0), |entry| entry.index);
            outcome.applied.extend(apply.entries);
            self.node.step(self.now, Input::Applied { index: last });
        }
        // Where there is nothing to write, nothing is gained by waiting: what may leave then can
        // still come late, or never.
        while self.writes.front().is_some_and(is_empty) {
            self.sync(outcome);
        }
        self.node.status().role
    }

    /// Promises may leave only after a sync, and nothing may leave in a term that is not on the
    /// disk.
    fn is_early(&self, message: &Message) -> bool {
        match message {
            Message::PreVote { .. }
            | Message::PreVoteReply { .. }
            | Message::TimeoutNow { .. }
            | Message::ReadIndex { .. }
            | Message::ReadIndexReply { .. }
            | Message::WantSnapshot { .. } => false,
            Message::AppendEntries { term, .. }
            | Message::Heartbeat { term, .. }
            | Message::HeartbeatReply { term, .. } => *term > self.disk.hard_state.term,
            Message::RequestVote { .. }
            | Message::RequestVoteReply { .. }
            | Message::AppendEntriesReply { .. } => true,
        }
    }

    fn sync(&mut self, outcome: &mut Outcome) {
        let Some(persist) = self.writes.pop_front() else { return };
        self.disk.write(&persist);
        outcome.left.extend(persist.then);
        self.step(Input::Persisted { seq: persist.seq }, outcome);
    }

    fn crash(&mut self, outcome: &mut Outcome) {
        outcome.lost = self.writes.len();
        self.writes.clear();
        self.log = self.disk.entries.clone();
        self.node = boot(self.id, &self.disk, self.now);
        self.told = Index(0);
    }

    fn elapse(&mut self, outcome: &mut Outcome) {
        let was = self.node.status().role;
        for _ in 0..MOST_STEPS {
            self.now = self.now + (ELECTION_TIMEOUT / 2 - HEARTBEAT);
            let asked = outcome.notes.len();
            let role = self.drain(outcome);
            let notes = outcome.notes.get(asked..).unwrap_or_default();
            if notes.iter().any(|note| matches!(note, Note::AsksPreVotes { .. })) {
                return self.grant_pre_vote(outcome);
            }
            if role != was {
                break;
            }
        }
        // Heartbeats of a leader that nobody answers: as well lost.
        outcome.left.retain(|(_, message)| !matches!(message, Message::Heartbeat { .. }));
    }

    /// One other member would vote for it, and so would a quorum of three.
    fn grant_pre_vote(&mut self, outcome: &mut Outcome) {
        let term = self.term.next();
        let peers = self.node.status().membership;
        let peers: Vec<NodeId> = peers.voters().filter(|id| *id != self.id).collect();
        for from in peers {
            let message = Message::PreVoteReply { term, granted: true };
            self.node.step(self.now, Input::Received { from, message });
        }
        self.drain(outcome);
    }

    fn beat(&mut self, outcome: &mut Outcome) {
        self.now = self.now + HEARTBEAT;
        self.told = self.commit;
        self.drain(outcome);
    }

    /// Reads what others want to know, lets a heard leader grow old, takes the fingerprint.
    fn settle(&mut self) {
        let Status { role, term, commit, applied, leader, .. } = self.node.status();
        if role != RoleKind::Leader {
            self.told = Index(0);
        }
        if role == RoleKind::Follower && leader.is_some() {
            self.now = self.now + ELECTION_TIMEOUT;
        }
        (self.role, self.term) = (role, term);
        (self.commit, self.applied) = (commit, applied);
        self.chain = chain_of(&self.log);
        self.print = print_of(|into| {
            self.node.fingerprint(self.now, into);
            self.disk.hash(into);
            self.told.hash(into);
            for Persist { hard_state, reset, truncate_from, entries, then, seq: _ } in &self.writes
            {
                (reset, hard_state, truncate_from, entries, then).hash(into);
            }
        });
    }
}

fn chain_of(entries: &[Entry]) -> Vec<Print> {
    let links = entries.iter().scan(0, |last, entry| {
        *last = print_all([*last, print(entry)]);
        Some(*last)
    });
    links.collect()
}

fn is_empty(persist: &Persist) -> bool {
    persist.hard_state.is_none() && persist.truncate_from.is_none() && persist.entries.is_empty()
}

fn boot(id: NodeId, disk: &Disk, now: Moment) -> Node {
    let config = Config {
        heartbeat: HEARTBEAT,
        election_timeout: ELECTION_TIMEOUT,
        batch_entries: 1,
        ..Config::new(id, id.0)
    };
    let boot =
        Boot { hard_state: disk.hard_state, entries: disk.entries.clone(), ..Boot::default() };
    Node::new(config, boot, now)
}
