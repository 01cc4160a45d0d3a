//! I10: replicas that have applied the same log are the same (Raft §2: deterministic state machines).
//!
//! The hash of the state, sessions and replies included, is equal at equal applied index.

use quorate_core::types::NodeId;

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;

/// The state is a function of the log.
#[derive(Debug, Default)]
pub(super) struct EqualReplicas {
    /// The first node's hash at each index.
    hashes: Vec<(u64, NodeId)>,
}

impl Invariant for EqualReplicas {
    fn id(&self) -> &'static str {
        "I10"
    }

    fn claim(&self) -> &'static str {
        "at equal applied index all nodes have the same state, sessions and replies included"
    }

    fn check(&mut self, _: &Known, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Applied { node, entry, hash, .. } = fact else { return Ok(()) };
        let index = entry.index.0;
        let place = usize::try_from(index - 1).unwrap_or(usize::MAX);
        let Some((first, by)) = self.hashes.get(place) else {
            self.hashes.push((*hash, *node));
            return Ok(());
        };
        if first != hash {
            return Err(format!("nodes {by} and {node} differ after applying {index}"));
        }
        Ok(())
    }
}
