//! The whole cluster at one moment of the search, and what can happen to it next.

use std::fmt;
use std::rc::Rc;

use quorate_core::raft::{Message, RoleKind};
use quorate_core::types::{Index, NodeId, Term};

use super::Bounds;
use super::checks::History;
use super::machine::{Event, Machine};
use super::print::{Print, print, print_all};

/// A message on its way.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) message: Message,
    pub(super) print: Print,
}

impl Packet {
    pub(super) fn new(from: NodeId, to: NodeId, message: Message) -> Self {
        let print = print(&(from, to, &message));
        Self { from, to, message, print }
    }
}

/// What a cluster has used up of its bounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) proposals: u8,
    pub(super) duplicates: u8,
    pub(super) crashes: u8,
    /// The machines that may crash, one bit each.
    pub(super) victims: u8,
    /// The machines to which something has happened, one bit each.
    pub(super) touched: u8,
    /// The place of the machine that crashed last.
    pub(super) crashed: u8,
    /// The machines that have yet to see that their connection to it broke, one bit each.
    pub(super) broken: u8,
}

impl Used {
    /// One number for all of it.
    fn print(self) -> Print {
        let Self { proposals, duplicates, crashes, victims, touched, crashed, broken } = self;
        let parts = [proposals, duplicates, crashes, victims, touched, crashed, broken];
        parts.into_iter().fold(0, |all, part| all << 8 | Print::from(part))
    }
}

/// One thing that can happen next. The number is the machine's place, or the packet's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Deliver(u8),
    /// Delivers a copy; the message can come again.
    DeliverCopy(u8),
    Sync(u8),
    Elapse(u8),
    Propose(u8),
    Beat(u8),
    Crash(u8),
    /// The machine sees that its connection to the crashed one is back.
    Reconnect(u8),
}

/// The cluster.
#[derive(Clone)]
pub(super) struct State {
    pub(super) machines: Vec<Rc<Machine>>,
    /// What was sent and has not come in, in the order of the fingerprints. A message that is
    /// lost is one that never comes in.
    pub(super) packets: Vec<Rc<Packet>>,
    pub(super) history: Rc<History>,
    pub(super) used: Used,
}

impl State {
    /// This first state, once for each set of machines that may crash.
    pub(super) fn with_victims(&self, crashes: u8) -> Vec<Self> {
        let machines = u32::try_from(self.machines.len()).unwrap_or(u32::MAX);
        let most = u32::from(crashes).min(machines);
        let sets = (0u8..1 << machines).filter(|set| set.count_ones() == most);
        sets.map(|victims| Self { used: Used { victims, ..self.used }, ..self.clone() }).collect()
    }

    /// Two states with the same fingerprint have the same future, and broke the same rules.
    pub(super) fn print(&self) -> Print {
        let machines = self.machines.iter().map(|machine| machine.print);
        let packets = self.packets.iter().map(|packet| packet.print);
        let rest = [self.history.print, self.used.print()];
        print_all(machines.chain(rest).chain(packets))
    }

    /// Everything that can happen next within the bounds.
    pub(super) fn choices(&self, bounds: &Bounds, last_term: Term) -> Vec<Choice> {
        let mut choices = Vec::with_capacity(16);
        let mut seen = None;
        for (place, packet) in (0u8..).zip(&self.packets) {
            // Equal messages lie side by side, and one stands for all.
            if seen.replace(packet.print) == Some(packet.print) || !self.may_touch(packet.to) {
                continue;
            }
            choices.push(Choice::Deliver(place));
            if self.used.duplicates < bounds.duplicates {
                choices.push(Choice::DeliverCopy(place));
            }
        }
        for (place, machine) in (0u8..).zip(&self.machines) {
            if self.may_touch(machine.id) {
                self.machine_choices(place, machine, bounds, last_term, &mut choices);
            }
        }
        choices
    }

    /// Machines that nothing distinguishes are touched in the order of their numbers: every
    /// other order is the same with the names exchanged.
    fn may_touch(&self, id: NodeId) -> bool {
        let bit = bit(id);
        self.used.touched & bit != 0 || (self.used.touched + 1) & bit != 0
    }

    fn machine_choices(
        &self,
        place: u8,
        machine: &Machine,
        bounds: &Bounds,
        last_term: Term,
        choices: &mut Vec<Choice>,
    ) {
        if !machine.writes.is_empty() {
            choices.push(Choice::Sync(place));
        }
        // In the last term nobody can follow a leader that steps down: it may as well be silent.
        if machine.term < last_term && machine.may_elapse() {
            choices.push(Choice::Elapse(place));
        }
        if machine.role == RoleKind::Leader {
            if self.used.proposals < bounds.proposals {
                choices.push(Choice::Propose(place));
            }
            if bounds.heartbeats && machine.commit > machine.told {
                choices.push(Choice::Beat(place));
            }
        }
        if self.used.victims & bit(machine.id) != 0 {
            choices.push(Choice::Crash(place));
        }
        if self.used.broken & bit(machine.id) != 0 {
            choices.push(Choice::Reconnect(place));
        }
    }

    /// Whether a machine's writes are on the disk at once: that they were not is seen only by
    /// those who crash.
    pub(super) fn syncs_at_once(&self, id: NodeId, bounds: &Bounds) -> bool {
        bounds.reduced && self.used.victims & bit(id) == 0
    }

    /// The machine that a choice is about.
    pub(super) fn place_of(&self, choice: Choice) -> usize {
        match choice {
            Choice::Deliver(at) | Choice::DeliverCopy(at) => {
                usize::try_from(self.packet(at).to.0 - 1).unwrap_or(usize::MAX)
            }
            Choice::Sync(place)
            | Choice::Elapse(place)
            | Choice::Propose(place)
            | Choice::Beat(place)
            | Choice::Crash(place)
            | Choice::Reconnect(place) => usize::from(place),
        }
    }

    pub(super) fn packet(&self, at: u8) -> &Rc<Packet> {
        &self.packets[usize::from(at)]
    }

    /// The event that a choice is for its machine.
    pub(super) fn event(&self, choice: Choice) -> Event<'_> {
        match choice {
            Choice::Deliver(at) | Choice::DeliverCopy(at) => {
                let packet = self.packet(at);
                Event::Receive(packet)
            }
            Choice::Sync(_) => Event::Sync,
            Choice::Elapse(_) => Event::Elapse,
            Choice::Propose(_) => Event::Propose(self.used.proposals + 1),
            Choice::Beat(_) => Event::Beat,
            Choice::Crash(_) => Event::Crash,
            Choice::Reconnect(_) => {
                Event::Reconnect(self.machines[usize::from(self.used.crashed)].id)
            }
        }
    }

    /// Takes out of the bounds, and out of the network, what a choice uses up.
    pub(super) fn pay(&mut self, choice: Choice, bounds: &Bounds) {
        let place = self.place_of(choice);
        let id = self.machines[place].id;
        self.used.touched |= bit(id);
        match choice {
            Choice::Deliver(at) => drop(self.packets.remove(usize::from(at))),
            Choice::DeliverCopy(_) => self.used.duplicates += 1,
            Choice::Propose(_) => self.used.proposals += 1,
            Choice::Crash(crashed) => {
                self.used.crashes += 1;
                if self.used.crashes == bounds.crashes {
                    self.used.victims = 0;
                }
                self.used.crashed = crashed;
                let others = self.machines.iter().filter(|machine| machine.id != id);
                self.used.broken = others.fold(0, |all, other| all | bit(other.id));
            }
            Choice::Reconnect(_) => self.used.broken &= !bit(id),
            Choice::Sync(_) | Choice::Elapse(_) | Choice::Beat(_) => {}
        }
    }

    /// Forgets the broken connections of those who lead and campaign no longer: only these two
    /// keep anything by connection.
    pub(super) fn forget_connections(&mut self) {
        for machine in &self.machines {
            if !matches!(machine.role, RoleKind::Leader | RoleKind::Candidate) {
                self.used.broken &= !bit(machine.id);
            }
        }
        if self.used.broken == 0 {
            self.used.crashed = 0;
        }
    }

    /// Adds a message to those on their way.
    pub(super) fn send(&mut self, packet: &Rc<Packet>) {
        let at = self.packets.partition_point(|other| other.print < packet.print);
        self.packets.insert(at, Rc::clone(packet));
    }
}

fn bit(id: NodeId) -> u8 {
    1 << (id.0 - 1)
}

/// A message in words, without what is the same in all of them.
pub(super) struct Words<'a>(pub(super) &'a Message);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Message::RequestVote { term, last, .. } => {
                write!(f, "RequestVote term {term}, last {last}")
            }
            Message::RequestVoteReply { term, granted } => {
                let what = if *granted { "granted" } else { "refused" };
                write!(f, "RequestVoteReply term {term}, {what}")
            }
            Message::AppendEntries { term, prev, commit, entries } => {
                write!(f, "AppendEntries term {term}, prev {prev}, commit {commit}, entries [")?;
                for entry in entries {
                    write!(f, " {}", entry.position())?;
                }
                write!(f, " ]")
            }
            Message::AppendEntriesReply { term, prev, outcome } => {
                write!(f, "AppendEntriesReply term {term}, prev {prev}, {outcome:?}")
            }
            Message::Heartbeat { term, commit, .. } => {
                write!(f, "Heartbeat term {term}, commit {commit}")
            }
            Message::PreVote { .. }
            | Message::PreVoteReply { .. }
            | Message::HeartbeatReply { .. }
            | Message::TimeoutNow { .. }
            | Message::ReadIndex { .. }
            | Message::ReadIndexReply { .. }
            | Message::WantSnapshot { .. } => write!(f, "{:?}", self.0),
        }
    }
}

/// Whether the search follows a message: pre-votes are granted at once, the first heartbeats
/// say nothing, and without reads an answer to a heartbeat is not waited for.
pub(super) fn is_followed(message: &Message) -> bool {
    match message {
        Message::RequestVote { .. }
        | Message::RequestVoteReply { .. }
        | Message::AppendEntries { .. }
        | Message::AppendEntriesReply { .. } => true,
        Message::Heartbeat { commit, .. } => *commit > Index(0),
        Message::PreVote { .. }
        | Message::PreVoteReply { .. }
        | Message::HeartbeatReply { .. }
        | Message::TimeoutNow { .. }
        | Message::ReadIndex { .. }
        | Message::ReadIndexReply { .. }
        | Message::WantSnapshot { .. } => false,
    }
}
