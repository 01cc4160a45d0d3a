//! I7: the indexes of a node are in order, and what it says of its log is so.
//!
//! applied <= commit <= last, durable <= last, a checkpoint holds what the log lacks, and neither its last nor its durable index is beyond
//! what it handed out and what its disk holds.

use quorate_core::raft::Status;
use quorate_core::types::Index;

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;

/// The order of a node's indexes.
#[derive(Debug, Default)]
pub(super) struct Order;

impl Invariant for Order {
    fn id(&self) -> &'static str {
        "I7"
    }

    fn claim(&self) -> &'static str {
        "applied <= commit <= last, durable <= last, and the disk holds what is called durable, the \
         checkpoint what the log lacks"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Trimmed { node, to } = fact {
            let held = known.nodes.get(node).map_or(Index(0), |image| image.checkpoint.index);
            let what = || {
                format!("node {node} lets go of entries up to {to}; its checkpoint holds {held}")
            };
            return if *to > held { Err(what()) } else { Ok(()) };
        }
        let Fact::Drained { node, status, .. } = fact else { return Ok(()) };
        let Some(image) = known.nodes.get(node) else { return Ok(()) };
        let Status { applied, commit, last_index, durable_index, .. } = status;
        let Status { first_index, checkpoint_index, lacks_state, .. } = status;
        let begins_late = |held: u64| first_index.0 > held + 1 && !lacks_state;
        let last = image.log.last().index;
        let held = (1..=durable_index.0).next_back().map(Index);
        let durable = held.is_none_or(|at| {
            // What a checkpoint holds is durable, whatever becomes of the log.
            image.durable_log.get(at) == image.log.get(at) || at <= image.checkpoint.index
        });
        let broken = [
            (applied > commit, "applied is beyond commit"),
            (commit > last_index, "commit is beyond the log"),
            (durable_index > last_index, "durable is beyond the log"),
            (begins_late(applied.0), "the log begins behind applied"),
            (begins_late(image.checkpoint.index.0), "the log lacks what no checkpoint holds"),
            (*checkpoint_index > image.checkpoint.index, "no such checkpoint is on the disk"),
            (*last_index != last, "the log does not end where it was handed out"),
            (*applied > image.applied, "applied is beyond the state machine"),
            (!durable, "called durable is what the disk does not hold"),
        ];
        match broken.iter().find(|(broken, _)| *broken) {
            Some((_, what)) => Err(format!(
                "node {node}: {what} (applied {applied}, commit {commit}, durable {durable_index}, \
                 last {last_index})"
            )),
            None => Ok(()),
        }
    }
}
