//! I5, committed on a quorum (Raft §5.3, §5.4.2): when the first node says that an entry is committed,
//! a majority holds it on disk.
//!
//! A crashed node's disk counts, and so does one that was lost since: what was on it when it was
//! acknowledged was promised. Broken by a leader that counts itself before
//! its sync, by acknowledgements that speak for more than they should, and by wrong quorums.

use quorate_core::types::Index;

use super::Invariant;
use crate::facts::Fact;
use crate::known::{Known, NodeImage};

/// What is committed first was durable on a majority before.
#[derive(Debug, Default)]
pub(super) struct CommittedOnAQuorum;

impl Invariant for CommittedOnAQuorum {
    fn id(&self) -> &'static str {
        "I5"
    }

    fn claim(&self) -> &'static str {
        "an entry is on the disks of a majority before anyone says that it is committed"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Drained { node, status, .. } = fact else { return Ok(()) };
        let (from, to) = known.newly_committed;
        for index in (from.0 + 1..=to.0).map(Index) {
            let entry = known.committed.get(index);
            let holds = |image: &&NodeImage| image.durable_log.get(index) == entry;
            let holders = known.nodes.values().filter(holds).count();
            if holders < known.quorum() {
                return Err(format!(
                    "node {node} says in term {} that {index} is committed; it is on {holders} of {} disks",
                    status.term,
                    known.nodes.len()
                ));
            }
        }
        Ok(())
    }
}
