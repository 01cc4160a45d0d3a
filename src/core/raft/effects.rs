//! What goes into a [`Node`](super::Node) and what comes out of it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::message::Message;
use crate::store::{LogStore, StoreError};
use crate::types::{
    Change, ChangeRefusal, Entry, HardState, Index, Membership, NodeId, Position, Term, Ticket,
};

/// A fact or a request.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed. Deadlines are judged in `drain`, after all that is queued.
    Tick,
    /// A message came in from a peer.
    Received {
        /// Who sent it.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// Commands to append, each with the ticket of who waits for it.
    Propose(Vec<(Ticket, Bytes)>),
    /// Linearizable reads, each with the ticket of who waits for it.
    Read(Vec<Ticket>),
    /// The `Persist` of that number, and all before it, are durable.
    Persisted {
        /// The number.
        seq: u64,
    },
    /// The state machine has applied everything up to this index.
    Applied {
        /// The applied index.
        index: Index,
    },
    /// The connection to a peer stands.
    Connected {
        /// The peer.
        peer: NodeId,
    },
    /// The connection to a peer is gone; what was on its way may be lost.
    Disconnected {
        /// The peer.
        peer: NodeId,
    },
    /// The connection on which a peer's messages came in is gone: it may have died.
    Silenced {
        /// The peer.
        peer: NodeId,
    },
    /// The process is about to stop: lead no longer, answer everyone who waits.
    StepDown,
    /// Reads that may be answered under a lease; where there is none, as `Read`.
    LeaseRead(Vec<Ticket>),
    /// An operator changes the members. The ticket waits until the change is complete.
    ChangeMembers {
        /// Who waits.
        ticket: Ticket,
        /// What to change, as one.
        changes: Vec<Change>,
        /// Also where a promoted learner lags or too few voters are reachable.
        force: bool,
    },
    /// Hand leadership over, to a node or to whoever is best placed.
    TransferLeadership {
        /// Who waits until it is done or has failed.
        ticket: Ticket,
        /// To whom.
        to: Option<NodeId>,
    },
    /// An operator wants a checkpoint now.
    Checkpoint,
    /// A checkpoint that holds everything up to there is durable.
    Captured {
        /// Its last entry.
        position: Position,
        /// How long the next one may wait, if it is not urgent.
        rest: Duration,
    },
    /// The sending of a snapshot to a follower has begun.
    SnapshotStarted {
        /// The follower.
        peer: NodeId,
        /// The snapshot's last index.
        index: Index,
    },
    /// A follower has installed a snapshot, or holds all of it anyway.
    SnapshotSent {
        /// The follower.
        peer: NodeId,
        /// The snapshot's last index.
        index: Index,
    },
    /// A snapshot from another member has come in whole, and its checksums hold.
    SnapshotReceived {
        /// Its last entry.
        position: Position,
        /// The membership in effect there.
        membership: Membership,
    },
    /// The snapshot that was accepted is durable as this node's checkpoint, and is the state
    /// machine's state.
    Installed {
        /// Its last entry.
        position: Position,
    },
}

/// What a node wants done, in this order.
#[derive(Debug, Default)]
pub struct Effects {
    /// Messages that may leave at once.
    pub messages: Vec<(NodeId, Message)>,
    /// What to make durable, and what may leave only then.
    pub persist: Option<Persist>,
    /// What to apply, and who waits for it.
    pub apply: Option<Apply>,
    /// Reads that may be answered once the applied index has reached theirs.
    pub reads: Vec<(Ticket, Index)>,
    /// Requests that end here. Each ticket is answered exactly once, here, in `apply`, in
    /// `done` or in `reads`.
    pub refused: Vec<(Ticket, Refusal)>,
    /// Requests of an operator that are done, and no entries of the log.
    pub done: Vec<Ticket>,
    /// Make a checkpoint of the state behind this `apply`; `Input::Captured` tells when it is
    /// durable. At most one is on its way.
    pub capture: bool,
    /// The entries up to this one are in a durable checkpoint: the log may let them go.
    pub trim: Option<Index>,
    /// Who is to be sent a snapshot, whenever that changes: all of them.
    pub snapshots: Option<Vec<NodeId>>,
    /// What becomes of a snapshot that came in.
    pub install: Option<Install>,
    /// The membership in effect, whenever it changes.
    pub membership: Option<Membership>,
    /// What a person may want to read in the log.
    pub notes: Vec<Note>,
}

impl Effects {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.persist.is_none()
            && self.apply.is_none()
            && self.reads.is_empty()
            && self.refused.is_empty()
            && self.done.is_empty()
            && self.notes.is_empty()
            && !self.capture
            && self.trim.is_none()
            && self.snapshots.is_none()
            && self.install.is_none()
            && self.membership.is_none()
    }
}

/// The verdict on a snapshot that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Install {
    /// Its last entry.
    pub position: Position,
    /// Whether to make it durable as the checkpoint, then the state machine's state, and to
    /// answer with `Input::Installed`. Else it is to be dropped: this node has what it holds,
    /// or is busy with another.
    pub accept: bool,
}

/// To be made durable as one: first the truncation, then the entries and the hard state.
#[derive(Clone, Debug, Default)]
pub struct Persist {
    /// Its number; `Input::Persisted` bears it back. Rises by one each time.
    pub seq: u64,
    /// The term and vote, where they changed.
    pub hard_state: Option<HardState>,
    /// Where the log begins anew: behind a snapshot that is this node's durable checkpoint.
    pub reset: Option<Position>,
    /// The first entry to remove, with all behind it.
    pub truncate_from: Option<Index>,
    /// The entries to append.
    pub entries: Vec<Entry>,
    /// The messages that may leave only when all of this, and every `Persist` before it, is
    /// durable: votes, acknowledgements, requests of a new term. They are made nowhere else.
    pub then: Vec<(NodeId, Message)>,
}

impl Persist {
    /// Stages all of it, in the one order in which a crash in the middle does no harm: the log
    /// is never newer than the term that is saved before it.
    ///
    /// # Errors
    /// The store's; fatal.
    pub fn stage(&self, store: &mut dyn LogStore) -> Result<(), StoreError> {
        if let Some(base) = self.reset {
            store.reset(base)?;
        }
        if let Some(from) = self.truncate_from {
            store.truncate_from(from)?;
        }
        if let Some(hard_state) = self.hard_state {
            store.save_hard_state(hard_state)?;
        }
        if !self.entries.is_empty() {
            store.append(&self.entries)?;
        }
        Ok(())
    }
}

/// Entries that are committed and durable here, in order, without a gap.
#[derive(Clone, Debug, Default)]
pub struct Apply {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Who waits for which of them, in order of the index.
    pub waiting: Vec<(Index, Ticket)>,
}

/// Why a request ends without its effect being known or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Never appended; that node leads.
    NotLeader(NodeId),
    /// Never appended; no leader is known.
    NoLeader,
    /// Never appended; too many bytes wait to be committed.
    Overloaded,
    /// Appended here, and leadership was lost before it was committed: it may yet be.
    Unknown,
    /// Never appended; leadership is being handed over to that node.
    Transferring(NodeId),
    /// The members cannot be changed so.
    Change(ChangeRefusal),
    /// Leadership is not handed over: that node is no voter, or there is nobody to hand it to.
    NoTarget,
    /// Leadership was not handed over in time; this node leads on.
    TransferFailed,
}

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Follows in a term, with or without a known leader.
    Follows {
        /// The term.
        term: Term,
        /// The leader, where known.
        leader: Option<NodeId>,
    },
    /// Asks for pre-votes.
    AsksPreVotes {
        /// The term it would campaign in.
        term: Term,
    },
    /// Campaigns.
    Campaigns {
        /// The term.
        term: Term,
    },
    /// Leads.
    Leads {
        /// The term.
        term: Term,
        /// The index of the term's no-op.
        from: Index,
    },
    /// Stopped leading of its own accord.
    SteppedDown {
        /// The term it led.
        term: Term,
        /// Why.
        why: StepDownReason,
        /// How many writes end as unknown.
        unknown: usize,
    },
    /// Gave its vote.
    Voted {
        /// The term.
        term: Term,
        /// For whom.
        candidate: NodeId,
    },
    /// Removed entries that conflict with the leader's.
    Truncated {
        /// The first one removed.
        from: Index,
        /// How many.
        count: u64,
    },
    /// Dropped a message that no correct node sends.
    Dropped {
        /// Who sent it.
        from: NodeId,
        /// What was wrong.
        what: &'static str,
    },
    /// A follower's log begins behind what this leader still has.
    NeedsSnapshot {
        /// The follower.
        peer: NodeId,
    },
    /// A follower has a snapshot now.
    SnapshotSent {
        /// The follower.
        peer: NodeId,
        /// The snapshot's last index.
        index: Index,
    },
    /// Another membership is in effect.
    Members {
        /// The index of its entry; 0 when a snapshot brought it.
        index: Index,
        /// The voters.
        voters: Vec<NodeId>,
        /// Members that do not vote.
        others: Vec<NodeId>,
        /// Whether a change is under way.
        joint: bool,
    },
    /// Hands leadership over.
    Transfers {
        /// To whom.
        to: NodeId,
    },
    /// Leadership was not handed over.
    TransferFailed {
        /// To whom it was to go.
        to: NodeId,
    },
    /// A snapshot is installed.
    Installed {
        /// Its last entry.
        position: Position,
        /// Whether the log was replaced, too.
        reset: bool,
    },
}

/// Why a leader stopped leading without having seen a higher term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepDownReason {
    /// It has not heard from a quorum for an election timeout.
    NoQuorum,
    /// Its own disk has not synced for an election timeout.
    DiskStalled,
    /// It was told to.
    Asked,
    /// It saw a higher term.
    HigherTerm,
    /// It is no voter any more.
    Removed,
}

impl fmt::Display for StepDownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StepDownReason::NoQuorum => "no quorum heard from for an election timeout",
            StepDownReason::DiskStalled => "own disk has not synced for an election timeout",
            StepDownReason::Asked => "asked to",
            StepDownReason::HigherTerm => "saw a higher term",
            StepDownReason::Removed => "no voter any more",
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Follows { term, leader: Some(leader) } => {
                write!(f, "term {term}: follower of node {leader}")
            }
            Note::Follows { term, leader: None } => write!(f, "term {term}: follower, no leader"),
            Note::AsksPreVotes { term } => {
                write!(f, "term {term}: would campaign, asks for pre-votes")
            }
            Note::Campaigns { term } => write!(f, "term {term}: candidate"),
            Note::Leads { term, from } => write!(f, "term {term}: leader from index {from}"),
            Note::SteppedDown { term, why, unknown } => {
                write!(f, "term {term}: stepped down: {why} ({unknown} writes unknown)")
            }
            Note::Voted { term, candidate } => write!(f, "term {term}: voted for node {candidate}"),
            Note::Truncated { from, count } => {
                write!(f, "removed {count} conflicting entries from index {from}")
            }
            Note::Dropped { from, what } => write!(f, "dropped a message of node {from}: {what}"),
            Note::NeedsSnapshot { peer } => {
                write!(f, "node {peer} is behind the first entry kept and needs a snapshot")
            }
            Note::SnapshotSent { peer, index } => {
                write!(f, "node {peer} has the snapshot up to index {index}")
            }
            Note::Members { index, voters, others, joint } => {
                let list = |ids: &[NodeId]| {
                    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                };
                let change = if *joint { ", a change is under way" } else { "" };
                write!(f, "members from index {index}: voters {}", list(voters))?;
                if !others.is_empty() {
                    write!(f, "; without a vote {}", list(others))?;
                }
                f.write_str(change)
            }
            Note::Transfers { to } => write!(f, "hands leadership over to node {to}"),
            Note::TransferFailed { to } => {
                write!(f, "leadership did not go to node {to} in time, and stays here")
            }
            Note::Installed { position, reset } => {
                let log = if *reset { "the log begins behind it" } else { "the log goes on" };
                write!(f, "installed the snapshot up to {position}; {log}")
            }
        }
    }
}
