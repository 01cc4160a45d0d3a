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
        }
    }
}

/// What a node finds on its disk, recovered before anything starts.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    /// Its term and vote.
    pub hard_state: HardState,
    /// The last entry of the compacted prefix; zero when nothing is compacted.
    pub base: Position,
    /// The membership in effect at `base`; `None` when nothing is compacted.
    pub base_membership: Option<Membership>,
    /// The log behind `base`.
    pub entries: Vec<Entry>,
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
}
