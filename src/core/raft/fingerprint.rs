//! What tells two nodes apart, for a search that must not walk the same way twice.
//!
//! Called by `quorate-sim`'s search, under the feature `search`; no product has it. Two nodes
//! with one fingerprint decide alike, as long as no time passes: what only counts time (moments,
//! deadlines, the generator that spreads them, the numbers of writes) is left out, and so is the
//! outbox, which is empty between a `drain` and the next `step`. The one thing that a moment
//! decides while messages come in, whether the leader is heard, is hashed as the answer.

use std::hash::{Hash, Hasher};

use super::leader::Leader;
use super::node::{Applying, Disk, Node, Role};
use super::progress::Progress;
use crate::types::Moment;

impl Node {
    /// Hashes all that decides what this node does at `now`, times apart.
    pub fn fingerprint(&self, now: Moment, into: &mut impl Hasher) {
        self.config.id.hash(into);
        self.hard_state.hash(into);
        self.commit.hash(into);
        self.leader.hash(into);
        self.hears_a_leader(now).hash(into);
        self.connected.hash(into);
        self.log.base().hash(into);
        self.log.durable().hash(into);
        // The memberships are part of the entries; a compacted one is not, but the base is.
        self.log
            .slice(self.log.base().index, self.log.last().index, usize::MAX, usize::MAX)
            .hash(into);
        disk(&self.disk, into);
        applying(&self.applying, into);
        match &self.role {
            Role::Follower => 0u8.hash(into),
            Role::PreCandidate(votes) => (1u8, votes).hash(into),
            Role::Candidate(votes) => (2u8, votes).hash(into),
            Role::Leader(state) => {
                3u8.hash(into);
                leader(state, into);
            }
        }
    }
}

fn disk(disk: &Disk, into: &mut impl Hasher) {
    (disk.handed, disk.durable, disk.handed_last, disk.outstanding.len()).hash(into);
    for outstanding in &disk.outstanding {
        (outstanding.hard_state, outstanding.last).hash(into);
    }
}

fn applying(applying: &Applying, into: &mut impl Hasher) {
    (applying.handed, applying.applied, &applying.outstanding).hash(into);
}

fn leader(leader: &Leader, into: &mut impl Hasher) {
    (leader.term_start, leader.round, leader.uncommitted_bytes, &leader.waiting).hash(into);
    leader.reads.queued.hash(into);
    leader.reads.rounds.len().hash(into);
    for round in &leader.reads.rounds {
        (round.number, round.index, &round.readers).hash(into);
    }
    leader.progress.len().hash(into);
    for (id, follower) in &leader.progress {
        id.hash(into);
        progress(follower, into);
    }
}

fn progress(progress: &Progress, into: &mut impl Hasher) {
    progress.state.as_str().hash(into);
    (progress.match_index, progress.next_index, progress.connected).hash(into);
    progress.acked_round.hash(into);
    (progress.flights.len(), progress.probe.is_some()).hash(into);
    for flight in progress.flights.iter().chain(&progress.probe) {
        (flight.last, flight.round).hash(into);
    }
}
