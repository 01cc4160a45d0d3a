//! I5, committed on a quorum (Raft §5.3, §5.4.2): when the first node says that an entry is committed,
//! a majority holds it on disk.
//!
//! And a leader counts only for entries of its own term: the newest entry that a leader commits is
//! one (§5.4.2). A crashed node's disk counts, and so does one that was lost since: what was on it when it was
//! acknowledged was promised. Broken by a leader that counts itself before
//! its sync, by acknowledgements that speak for more than they should, and by wrong quorums.

use quorate_core::raft::RoleKind;
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
        let newest = known.committed.get(to).map(|entry| entry.term);
        if to > from && status.role == RoleKind::Leader && newest != Some(status.term) {
            return Err(format!(
                "node {node} commits up to {to}, of term {newest:?}, by counting in term {}",
                status.term
            ));
        }
        for index in (from.0 + 1..=to.0).map(Index) {
            let entry = known.committed.get(index);
            let holds = |id| {
                let image: Option<&NodeImage> = known.nodes.get(&id);
                image.is_some_and(|image| image.has_promised(index, entry))
            };
            // The leader's members decide. Whoever says it first may not be the leader: then its own
            // members, or those that any leader whose word it can be went by.
            let own = known.nodes.get(node).is_some_and(|image| image.is_quorum(holds));
            let leads = |image: &&NodeImage| image.led_in == Some(status.term);
            let leaders = || known.nodes.values().filter(leads);
            let so =
                own || leaders().any(|image| image.is_quorum(holds) || image.was_quorum(holds));
            if !so {
                let holders: Vec<u64> =
                    known.nodes.keys().filter(|id| holds(**id)).map(|id| id.0).collect();
                return Err(format!(
                    "node {node} says in term {} that {index} is committed; it is on the disks of \
                     {holders:?}, of the members {:?}",
                    status.term,
                    status.membership.ids().map(|id| id.0).collect::<Vec<_>>()
                ));
            }
        }
        Ok(())
    }
}
