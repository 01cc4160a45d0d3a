//! What no script may ever show, whatever its expected output says.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::raft::{Effects, RoleKind, Status};
use quorate_core::types::{Entry, Index, NodeId, Term, Ticket};

use super::dump;

/// The history that every event is held against.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    leaders: BTreeMap<Term, NodeId>,
    applied: BTreeMap<Index, Entry>,
    ended: BTreeSet<Ticket>,
}

impl Checks {
    /// One leader a term, one entry an index, one end for each ticket.
    ///
    /// # Errors
    /// When one of them is broken: then the core is wrong, and no output is expected.
    pub(crate) fn look(&mut self, status: &Status, effects: &Effects) -> Result<(), String> {
        if status.role == RoleKind::Leader {
            let known = *self.leaders.entry(status.term).or_insert(status.id);
            if known != status.id {
                return Err(format!("unsafe: two leaders in term {}", status.term));
            }
        }
        for entry in effects.apply.iter().flat_map(|apply| &apply.entries) {
            let known = self.applied.entry(entry.index).or_insert_with(|| entry.clone());
            if known != entry {
                return Err(format!("unsafe: node {} applies another entry", status.id));
            }
        }
        let answered = effects.apply.iter().flat_map(|apply| &apply.waiting);
        let tickets = answered.map(|(_, ticket)| *ticket);
        let tickets = tickets.chain(effects.reads.iter().map(|(ticket, _)| *ticket));
        for ticket in tickets.chain(effects.refused.iter().map(|(ticket, _)| *ticket)) {
            if !self.ended.insert(ticket) {
                return Err(format!("unsafe: {} ends a second time", dump::ticket(ticket)));
            }
        }
        Ok(())
    }
}
