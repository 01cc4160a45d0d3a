//! Each claim on good and on bad stories, told fact by fact.

use bytes::Bytes;
use quorate_core::kv::{Command, WriteOp};
use quorate_core::raft::{Boot, Message, Persist, RoleKind, Status};
use quorate_core::types::{
    Entry, HardState, Index, Member, Membership, Moment, NodeId, Payload, Position, Term, Ticket,
};
use quorate_core::wire::client::OpResult;

use super::{Invariant, all};
use crate::facts::Fact;
use crate::known::Known;

mod clients;
mod logs;
mod members;
mod votes;

/// One claim, and what is known.
struct Feed {
    known: Known,
    claim: Box<dyn Invariant>,
}

impl Feed {
    /// The claim of that id, on three nodes that have just started with the same first entry.
    fn of(id: &str) -> Self {
        let claim = all().into_iter().find(|claim| claim.id() == id).unwrap();
        let mut feed = Self { known: Known::default(), claim };
        for node in 1..=3 {
            feed.start(node, 1, None, &first()).unwrap();
        }
        feed
    }

    fn tell(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        self.known.absorb(fact);
        self.claim.check(&self.known, fact)
    }

    fn start(
        &mut self,
        node: u64,
        term: u64,
        vote: Option<u64>,
        log: &[Entry],
    ) -> Result<(), String> {
        self.tell(&Fact::Started {
            node: NodeId(node),
            hard_state: hard(term, vote),
            base: Position::default(),
            log,
            state: Position::default(),
            raised: hard(term, vote),
            reset: None,
        })
    }

    fn stop(&mut self, node: u64) -> Result<(), String> {
        self.tell(&Fact::Stopped { node: NodeId(node), for_good: false })
    }

    fn stage(&mut self, node: u64, persist: &Persist) -> Result<(), String> {
        self.tell(&Fact::Staged { node: NodeId(node), persist })
    }

    fn durable(&mut self, node: u64, persist: &Persist) -> Result<(), String> {
        self.tell(&Fact::Durable { node: NodeId(node), persist })
    }

    /// Staged and durable.
    fn write(&mut self, node: u64, persist: &Persist) -> Result<(), String> {
        self.stage(node, persist)?;
        self.durable(node, persist)
    }

    fn drain(&mut self, status: &Status) -> Result<(), String> {
        self.tell(&Fact::Drained { node: status.id, now: Moment(0), status })
    }

    fn send(&mut self, from: u64, to: u64, message: &Message) -> Result<(), String> {
        self.tell(&Fact::Sent { from: NodeId(from), to: NodeId(to), message })
    }

    fn ask(&mut self, node: u64, ticket: u64, command: Option<&Bytes>) -> Result<(), String> {
        self.tell(&Fact::Asked { node: NodeId(node), ticket: Ticket(ticket), command, lease: None })
    }

    fn release(&mut self, node: u64, ticket: u64, index: u64) -> Result<(), String> {
        let (node, ticket, index) = (NodeId(node), Ticket(ticket), Index(index));
        self.tell(&Fact::Released { node, ticket, index })
    }

    fn apply(
        &mut self,
        node: u64,
        entry: &Entry,
        waiter: Option<u64>,
        result: Option<&OpResult>,
        hash: u64,
    ) -> Result<(), String> {
        let (node, waiter) = (NodeId(node), waiter.map(Ticket));
        self.tell(&Fact::Applied { node, entry, waiter, result, hash })
    }
}

fn hard(term: u64, vote: Option<u64>) -> HardState {
    HardState { term: Term(term), vote: vote.map(NodeId) }
}

fn members() -> Membership {
    let member = |id| Member::voter(NodeId(id), String::new(), String::new());
    Membership::of((1..=3).map(member).collect())
}

/// The log that every node begins with.
fn first() -> Vec<Entry> {
    Boot::first(members()).entries
}

fn noop(index: u64, term: u64) -> Entry {
    Entry { term: Term(term), index: Index(index), payload: Payload::Noop }
}

fn write(index: u64, term: u64, command: &Bytes) -> Entry {
    Entry { term: Term(term), index: Index(index), payload: Payload::Command(command.clone()) }
}

/// A put of a session's request, encoded.
fn put(session: u64, id: u64, value: &'static str) -> Bytes {
    let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(value.as_bytes()));
    let op = WriteOp::Put { key, value, return_previous: false };
    Command::Write { session, id, acked: 0, value_bytes: 1_000, op }.encode()
}

fn entries(entries: Vec<Entry>) -> Persist {
    Persist { seq: 1, entries, ..Persist::default() }
}

fn term(term: u64, vote: Option<u64>) -> Persist {
    Persist { seq: 1, hard_state: Some(hard(term, vote)), ..Persist::default() }
}

fn at(index: u64, term: u64) -> Position {
    Position { term: Term(term), index: Index(index) }
}

/// A status; `indexes` are applied, commit, durable and last.
fn status(id: u64, role: RoleKind, term: u64, indexes: [u64; 4]) -> Status {
    let [applied, commit, durable, last] = indexes.map(Index);
    Status {
        id: NodeId(id),
        role,
        term: Term(term),
        leader: None,
        commit,
        applied,
        first_index: Index(1),
        last_index: last,
        durable_index: durable,
        membership: members(),
        added: Some(Index(0)),
        membership_committed: true,
        leader_contact: None,
        settled: false,
        followers: vec![],
        checkpoint_index: Index(0),
        log_bytes: 0,
        snapshot_floor: commit.next(),
        lacks_state: false,
        transfers_to: None,
    }
}

fn leader(id: u64, term: u64, commit: u64, last: u64) -> Status {
    status(id, RoleKind::Leader, term, [0, commit, commit, last])
}

fn follower(id: u64, term: u64, commit: u64, last: u64) -> Status {
    status(id, RoleKind::Follower, term, [0, commit, commit, last])
}

#[test]
fn every_claim_has_a_name_of_its_own() {
    let mut ids: Vec<&str> = all().iter().map(|claim| claim.id()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}
