//! I7: the indexes of a node are in order, and what it says of its log is so.
//!
//! applied <= commit <= last, durable <= last, and neither its last nor its durable index is beyond
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
        "applied <= commit <= last, durable <= last, and the disk holds what is called durable"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Drained { node, status, .. } = fact else { return Ok(()) };
        let Some(image) = known.nodes.get(node) else { return Ok(()) };
        let Status { applied, commit, last_index, durable_index, first_index, .. } = status;
        let last = image.log.last().index;
        let held = (1..=durable_index.0).next_back().map(Index);
        let durable = held.is_none_or(|at| image.durable_log.get(at) == image.log.get(at));
        let broken = [
            (applied > commit, "applied is beyond commit"),
            (commit > last_index, "commit is beyond the log"),
            (durable_index > last_index, "durable is beyond the log"),
            (first_index.0 > applied.0 + 1 && applied.0 > 0, "the log begins behind applied"),
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
