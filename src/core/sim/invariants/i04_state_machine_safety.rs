//! I4, state machine safety (Raft §5.4.3): what is committed at an index is the same everywhere and
//! for ever.
//!
//! Checked where a node's commit index covers an entry, and where it applies one.

use std::collections::BTreeMap;

use quorate_core::types::{Index, NodeId};

use super::Invariant;
use crate::facts::Fact;
use crate::known::{Digest, Known};

/// What is committed and applied at an index never differs.
#[derive(Debug, Default)]
pub(super) struct StateMachineSafety {
    /// How far each node's commits were compared, in its present start.
    compared: BTreeMap<NodeId, Index>,
}

impl StateMachineSafety {
    fn covered(&mut self, known: &Known, node: NodeId, commit: Index) -> Result<(), String> {
        let Some(image) = known.nodes.get(&node) else { return Ok(()) };
        let compared = self.compared.entry(node).or_default();
        for index in (compared.0 + 1..=commit.0).map(Index) {
            if image.log.get(index) != known.committed.get(index) {
                return Err(format!("node {node} commits another entry at {index}"));
            }
        }
        *compared = commit.max(*compared);
        Ok(())
    }
}

impl Invariant for StateMachineSafety {
    fn id(&self) -> &'static str {
        "I4"
    }

    fn claim(&self) -> &'static str {
        "what is committed or applied at an index is the same on all nodes, for ever"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Started { node, .. } => {
                self.compared.remove(node);
                Ok(())
            }
            Fact::Drained { node, status, .. } => self.covered(known, *node, status.commit),
            Fact::Applied { node, entry, .. } => {
                let committed = known.committed.get(entry.index);
                if committed != Some(Digest::of(entry)) {
                    let position = entry.position();
                    return Err(format!(
                        "node {node} applies {position}, committed is {committed:?}"
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
