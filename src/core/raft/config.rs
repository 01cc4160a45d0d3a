//! What a [`Node`](super::Node) is told at its start.

use std::time::Duration;

use crate::types::{Entry, HardState, Index, Membership, NodeId, Payload, Position, Term};

/// A node's settings. Every bound has a default that holds on a laptop and on a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub id: NodeId,
    /// The leader's heartbeat interval.
    pub heartbeat: Duration,
    /// The shortest election timeout `T`; each election draws from `[T, 2T)`.
    pub election_timeout: Duration,
    /// The seed of this node's randomness.
    pub seed: u64,
    /// The most entries of one AppendEntries.
    pub batch_entries: usize,
    /// The most bytes of one AppendEntries; a single larger entry still goes, alone.
    pub batch_bytes: usize,
    /// The most AppendEntries in flight to one follower.
    pub inflight_batches: usize,
    /// The most bytes in flight to one follower.
    pub inflight_bytes: usize,
    /// The most bytes of entries appended and not yet committed.
    pub uncommitted_bytes: usize,
    /// The most bytes of entries handed out to be applied and not yet applied.
    pub apply_bytes: usize,
    /// A checkpoint of the state is made after so many entries since the last one, ...
    pub snapshot_entries: u64,
    /// ... or so many bytes of entries, whichever is first.
    pub snapshot_bytes: usize,
    /// So many entries, of at most `snapshot_bytes` in all, are kept behind a checkpoint for
    /// followers that are a little behind.
    pub trailing_entries: u64,
    /// Whether a learner becomes a voter by itself once it has caught up.
    pub promote_learners: bool,
    /// For how long a learner must have been caught up: no more than [`Config::CAUGHT_UP`] entries
    /// behind, or no more than what was appended within two heartbeats.
    pub promote_after: Duration,
    /// An append to who has no vote waits so long after the one before, unless a whole batch is
    /// there: in fewer and larger ones it costs the voters less.
    pub learner_pause: Duration,
    /// Whether reads that ask for it are answered under a lease (dissertation §6.4.1): without
    /// a round, as long as a quorum has lately promised to elect nobody. Must be equal on all
    /// nodes, and so must the election timeout.
    pub lease_reads: bool,
    /// The part of the election timeout, in percent, that a lease is shorter than it, for
    /// clocks that run at different speeds.
    pub lease_margin_percent: u32,
}

impl Config {
    /// The defaults for a node.
    #[must_use]
    pub fn new(id: NodeId, seed: u64) -> Self {
        Self {
            id,
            heartbeat: Duration::from_millis(100),
            election_timeout: Duration::from_millis(500),
            seed,
            batch_entries: 1_024,
            batch_bytes: 1 << 20,
            inflight_batches: 64,
            inflight_bytes: 8 << 20,
            uncommitted_bytes: 16 << 20,
            apply_bytes: 256 << 10,
            snapshot_entries: 100_000,
            snapshot_bytes: 64 << 20,
            trailing_entries: 10_000,
            promote_learners: true,
            promote_after: Duration::from_secs(5),
            learner_pause: Duration::from_millis(10),
            lease_reads: false,
            lease_margin_percent: 20,
        }
    }

    /// A learner that lacks no more entries than these is caught up.
    pub const CAUGHT_UP: u64 = 1_000;

    /// How long a lease lasts from the moment at which its round was sent.
    #[must_use]
    pub fn lease(&self) -> Duration {
        let margin = if mutant!(LeaseIgnoresItsMargin) { 0 } else { self.lease_margin_percent };
        let percent = 100u32.saturating_sub(margin);
        self.election_timeout * percent / 100
    }
}

/// What a node finds on its disk, recovered before anything starts.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    /// Its term and vote.
    pub hard_state: HardState,
    /// The last entry of the compacted prefix; zero when nothing is compacted.
    pub base: Position,
    /// The log behind `base`.
    pub entries: Vec<Entry>,
    /// What the state machine's last durable checkpoint holds: everything up to this entry.
    pub state: Position,
    /// The membership in effect at `state`; `None` when there is no checkpoint.
    pub state_membership: Option<Membership>,
}

impl Boot {
    /// What an empty disk is to be given at the first boot: the same first entry on every
    /// node, which holds the membership. From then on the log rules, not the configuration.
    #[must_use]
    pub fn first(membership: Membership) -> Self {
        let entry =
            Entry { term: Term(1), index: Index(1), payload: Payload::Membership(membership) };
        Self {
            hard_state: HardState { term: Term(1), vote: None },
            entries: vec![entry],
            ..Self::default()
        }
    }

    /// The last entry of the log, or its base.
    #[must_use]
    pub fn last(&self) -> Position {
        self.entries.last().map_or(self.base, Entry::position)
    }

    /// Judges a log and a checkpoint together. A checkpoint is of committed entries, so where
    /// the log does not hold its last one, the log is of a time before a snapshot was
    /// installed, and all of it is obsolete: it then begins anew behind the checkpoint, which
    /// the caller makes durable by [`LogStore::reset`](crate::store::LogStore::reset) to the
    /// position that is given back, and by saving the hard state, which is raised to the log's
    /// term where it is older.
    #[must_use]
    pub fn reconciled(mut self) -> (Self, Option<Position>) {
        let Position { term, index } = self.state;
        let held = if index == self.base.index {
            Some(self.base.term)
        } else {
            let place = index.0.checked_sub(self.base.index.0 + 1);
            let place = place.and_then(|place| usize::try_from(place).ok());
            place.and_then(|place| self.entries.get(place)).map(|entry| entry.term)
        };
        // A state from before the log's beginning says nothing of the log.
        let reset = index >= self.base.index && held != Some(term);
        if reset {
            self.base = self.state;
            self.entries.clear();
        }
        // An install makes the log's beginning durable before the term that goes with it. This
        // node has not voted in that term: its vote would be durable with the term.
        let term = self.last().term;
        if term > self.hard_state.term {
            self.hard_state = HardState { term, vote: None };
        }
        let base = self.base;
        (self, reset.then_some(base))
    }
}
