//! I20: what a leader believes to match on a follower's disk does (Raft §5.3, matchIndex).
//!
//! Unless the follower has gone on to a later term, where another leader may have replaced it, or is
//! not the one that the leader means, but has come with another disk since.
//! Stronger than I5, which only sees what a wrong belief has committed.

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;

/// A leader's belief of its followers is so.
#[derive(Debug, Default)]
pub(super) struct WhatMatchesMatches;

impl Invariant for WhatMatchesMatches {
    fn id(&self) -> &'static str {
        "I20"
    }

    fn claim(&self) -> &'static str {
        "what a leader takes for matching is on the follower's disk, and is the leader's own entry"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Drained { node, status, .. } = fact else { return Ok(()) };
        let Some(leader) = known.nodes.get(node) else { return Ok(()) };
        for follower in &status.followers {
            let Some(image) = known.nodes.get(&follower.id) else { continue };
            let (id, at) = (follower.id, follower.match_index);
            let meant = image.is_member(&status.membership, id);
            if at.0 == 0 || image.hard_state.term > status.term || !meant {
                continue;
            }
            if image.durable_log.get(at) != leader.log.get(at) {
                let term = status.term;
                return Err(format!(
                    "node {node}, leader of term {term}, takes node {id} to match up to {at}, and \
                     its disk does not hold that entry"
                ));
            }
        }
        Ok(())
    }
}
