//! I10: replicas that have applied the same log are the same (Raft §2: deterministic state machines).
//!
//! The hash of the state, sessions and replies included, is equal at equal applied index, and so it is
//! where the state came as a snapshot.

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
        let (node, index, hash) = match fact {
            Fact::Applied { node, entry, hash, .. } => (node, entry.index.0, hash),
            Fact::Installed { node, position, hash } => (node, position.index.0, hash),
            _ => return Ok(()),
        };
        let place = usize::try_from(index - 1).unwrap_or(usize::MAX);
        let Some((first, by)) = self.hashes.get(place) else {
            if place != self.hashes.len() {
                return Err(format!("node {node} has the state at {index}, which nobody applied"));
            }
            self.hashes.push((*hash, *node));
            return Ok(());
        };
        if first != hash {
            return Err(format!("nodes {by} and {node} differ after applying {index}"));
        }
        Ok(())
    }
}
