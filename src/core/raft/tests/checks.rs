//! What must hold after every event, whatever the faults. Each check panics.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::machine::{Disk, Machine};
use crate::raft::node::Role;
use crate::raft::{AppendOutcome, Apply, Message, Node, Persist, Refusal};
use crate::types::{Entry, Index, NodeId, Payload, Term, Ticket};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Applied at that index.
    Applied(Index),
    /// A read that may be answered at that index.
    Read(Index),
    Refused(Refusal),
    /// Its node crashed.
    Lost,
}

#[derive(Debug)]
struct Request {
    node: u64,
    /// `None`: a read.
    command: Option<Bytes>,
    /// A read's: everything committed anywhere when it was asked.
    floor: Index,
    outcome: Option<Outcome>,
}

/// What a node's incarnation has reached.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    term: Term,
    commit: Index,
}

/// The history that everything is held against.
#[derive(Debug)]
pub(super) struct Checks {
    size: u64,
    /// Every entry that any disk ever held, by index and term: its payload and the term of
    /// the entry before it. Equal here means equal logs up to there (log matching).
    entries: BTreeMap<(Index, Term), (Payload, Term)>,
    leaders: BTreeMap<Term, u64>,
    /// By voter and term.
    votes: BTreeMap<(u64, Term), NodeId>,
    pub(super) committed: BTreeMap<Index, Entry>,
    /// The term in which each of them was first seen committed.
    committed_in: BTreeMap<Index, Term>,
    reached: BTreeMap<u64, Reached>,
    /// The highest term that a node has told anyone it is in.
    announced: BTreeMap<u64, Term>,
    requests: BTreeMap<Ticket, Request>,
}

impl Checks {
    pub(super) fn new(size: u64) -> Self {
        Self {
            size,
            entries: BTreeMap::new(),
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            committed: BTreeMap::new(),
            committed_in: BTreeMap::new(),
            reached: BTreeMap::new(),
            announced: BTreeMap::new(),
            requests: BTreeMap::new(),
        }
    }

    // ---- requests: each ends exactly once ----

    pub(super) fn proposed(&mut self, node: u64, ticket: Ticket, command: Bytes) {
        let request = Request { node, command: Some(command), floor: Index(0), outcome: None };
        self.requests.insert(ticket, request);
    }

    pub(super) fn asked_to_read(&mut self, node: u64, ticket: Ticket) {
        let floor = self.committed.last_key_value().map_or(Index(0), |(index, _)| *index);
        self.requests.insert(ticket, Request { node, command: None, floor, outcome: None });
    }

    pub(super) fn outcome(&self, ticket: Ticket) -> Option<Outcome> {
        self.requests[&ticket].outcome
    }

    /// The requests that wait for an answer.
    pub(super) fn open(&self) -> Vec<Ticket> {
        let open = self.requests.iter().filter(|(_, request)| request.outcome.is_none());
        open.map(|(ticket, _)| *ticket).collect()
    }

    fn end(&mut self, ticket: Ticket, outcome: Outcome) -> &Request {
        let request = self.requests.get_mut(&ticket).expect("a ticket nobody gave");
        let earlier = request.outcome.replace(outcome);
        assert_eq!(earlier, None, "{ticket:?} ends a second time, as {outcome:?}");
        request
    }

    pub(super) fn refused(&mut self, ticket: Ticket, refusal: Refusal) {
        let request = self.end(ticket, Outcome::Refused(refusal));
        let Some(command) = request.command.clone() else {
            assert_ne!(refusal, Refusal::Unknown, "a read is never unknown");
            return;
        };
        if refusal != Refusal::Unknown {
            let known = self.entries.values().any(|(payload, _)| holds(payload, &command));
            assert!(!known, "{ticket:?} was refused for certain and is in a log");
        }
    }

    pub(super) fn read_answered(&mut self, ticket: Ticket, index: Index) {
        let request = self.end(ticket, Outcome::Read(index));
        assert!(request.command.is_none(), "{ticket:?} is no read");
        let floor = request.floor;
        assert!(index >= floor, "{ticket:?} reads at {index}, committed was {floor}");
    }

    pub(super) fn applied(&mut self, node: u64, before: u64, apply: &Apply) {
        for (expected, entry) in (before + 1..).zip(&apply.entries) {
            assert_eq!(entry.index.0, expected, "node {node} skips or repeats an entry");
            let committed = self.committed.get(&entry.index);
            // The node that commits first is looked at after it applies.
            if let Some(committed) = committed {
                assert_eq!(committed, entry, "node {node} applies another entry");
            }
            if let Payload::Command(command) = &entry.payload
                && let Some(request) = ticket_of(command).and_then(|t| self.requests.get(&t))
            {
                let certain = matches!(request.outcome, Some(Outcome::Refused(refusal))
                    if refusal != Refusal::Unknown);
                assert!(!certain, "a refused command is applied: {:?}", request.outcome);
            }
        }
        for (index, ticket) in &apply.waiting {
            let request = self.end(*ticket, Outcome::Applied(*index));
            assert_eq!(request.node, node, "{ticket:?} is answered by another node");
            let offset = usize::try_from(index.0 - before - 1).unwrap();
            let command = request.command.clone().expect("only writes are applied");
            let payload = &apply.entries[offset].payload;
            assert!(holds(payload, &command), "{ticket:?} is told of another's entry");
        }
    }

    pub(super) fn crashed(&mut self, node: u64) {
        for request in self.requests.values_mut() {
            if request.node == node && request.outcome.is_none() {
                request.outcome = Some(Outcome::Lost);
            }
        }
    }

    // ---- disks ----

    /// A disk from before the test.
    pub(super) fn recovered(&mut self, disk: &Disk) {
        self.know(&disk.log, Term(0));
    }

    pub(super) fn persisted(&mut self, disk: &Disk, persist: &Persist) {
        if let Some(first) = persist.entries.first() {
            let before = disk.term_at(first.index.previous()).expect("no gap");
            self.know(&persist.entries, before);
        }
    }

    fn know(&mut self, entries: &[Entry], mut before: Term) {
        for entry in entries {
            let key = (entry.index, entry.term);
            let new = (entry.payload.clone(), before);
            let known = self.entries.entry(key).or_insert_with(|| new.clone());
            assert_eq!(*known, new, "two logs differ at or before {}", entry.position());
            before = entry.term;
        }
    }

    pub(super) fn started(&mut self, id: u64, disk: &Disk) {
        let announced = self.announced.get(&id).copied().unwrap_or_default();
        assert!(disk.hard_state.term >= announced, "node {id} forgot term {announced}");
        self.reached.insert(id, Reached::default());
    }

    // ---- messages: nothing is promised that is not durable ----

    pub(super) fn sent(
        &mut self,
        from: u64,
        to: NodeId,
        message: &Message,
        disk: &Disk,
        machines: &BTreeMap<u64, Machine>,
    ) {
        let durable = disk.hard_state;
        match message {
            Message::PreVote { .. } | Message::PreVoteReply { granted: true, .. } => return,
            Message::RequestVote { term, .. } if durable.term == *term => {
                assert_eq!(durable.vote, Some(NodeId(from)), "asks without its own vote");
            }
            Message::RequestVoteReply { term, granted: true } => {
                if durable.term == *term {
                    assert_eq!(durable.vote, Some(to), "node {from} gives a vote not saved");
                }
                let voted = self.votes.insert((from, *term), to);
                assert!(voted.is_none_or(|v| v == to), "node {from} votes twice in {term}");
            }
            Message::AppendEntriesReply { term, outcome, .. } if durable.term == *term => {
                self.acknowledged(from, to, *term, *outcome, disk, machines);
            }
            _ => {}
        }
        let term = message.term();
        assert!(durable.term >= term, "node {from} tells of term {term} before its sync");
        let announced = self.announced.entry(from).or_default();
        *announced = term.max(*announced);
    }

    fn acknowledged(
        &self,
        from: u64,
        to: NodeId,
        term: Term,
        outcome: AppendOutcome,
        disk: &Disk,
        machines: &BTreeMap<u64, Machine>,
    ) {
        let AppendOutcome::Accepted(index) = outcome else { return };
        let held = disk.term_at(index);
        assert!(held.is_some(), "node {from} acknowledges {index}, which is not durable");
        if let Some(leader) = &machines[&to.0].node
            && leader.term() == term
            && matches!(leader.role, Role::Leader(_))
        {
            let theirs = leader.log.term_at(index);
            assert_eq!(held, theirs, "node {from} acknowledges another entry at {index}");
        }
    }

    // ---- nodes ----

    pub(super) fn look_at(&mut self, id: u64, machines: &BTreeMap<u64, Machine>) {
        let node = machines[&id].node.as_ref().expect("it has just drained");
        let before = self.reached[&id];
        let now = Reached { term: node.term(), commit: node.commit };
        assert!(now.term >= before.term, "node {id}: the term falls");
        assert!(now.commit >= before.commit, "node {id}: the commit falls");
        self.reached.insert(id, now);
        if matches!(node.role, Role::Leader(_)) {
            let known = self.leaders.insert(node.term(), id);
            assert!(known.is_none_or(|k| k == id), "two leaders in term {}", node.term());
            if known.is_none() {
                self.holds_all_committed(id, node);
            }
        }
        for index in (before.commit.0 + 1..=now.commit.0).map(Index) {
            self.committed_at(id, node, index, machines);
        }
    }

    fn holds_all_committed(&self, id: u64, node: &Node) {
        for (index, entry) in &self.committed {
            // A vote that arrives late may make a leader of a term that is over.
            if self.committed_in[index] >= node.term() {
                continue;
            }
            let own = node.log.get(*index);
            assert_eq!(own, Some(entry), "leader {id} of term {} lacks {index}", node.term());
        }
    }

    fn committed_at(
        &mut self,
        id: u64,
        node: &Node,
        index: Index,
        machines: &BTreeMap<u64, Machine>,
    ) {
        let entry = node.log.get(index).expect("committed within the log");
        if let Some(known) = self.committed.get(&index) {
            assert_eq!(known, entry, "node {id} commits another entry at {index}");
            return;
        }
        let on_disk = |machine: &&Machine| {
            machine.disk.log.get(usize::try_from(index.0 - 1).unwrap()) == Some(entry)
        };
        let held = machines.values().filter(on_disk).count() as u64;
        let quorum = held * 2 > self.size;
        assert!(quorum, "node {id} commits {} with {held} durable copies", entry.position());
        self.committed.insert(index, entry.clone());
        self.committed_in.insert(index, node.term());
    }
}

fn ticket_of(command: &Bytes) -> Option<Ticket> {
    let number = command.get(..8)?.try_into().ok()?;
    Some(Ticket(u64::from_be_bytes(number)))
}

fn holds(payload: &Payload, command: &Bytes) -> bool {
    matches!(payload, Payload::Command(held) if held == command)
}
