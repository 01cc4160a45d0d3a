//! I1, election safety (Raft §5.2): at most one leader in a term.
//!
//! Remembered for the whole run: a leader that crashed led its term all the same. Broken by a vote
//! that is given twice, forgotten in a crash, or counted where it was not given.

use std::collections::BTreeMap;

use quorate_core::raft::RoleKind;
use quorate_core::types::{NodeId, Term};

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;

/// At most one leader in a term.
#[derive(Debug, Default)]
pub(super) struct ElectionSafety {
    leaders: BTreeMap<Term, NodeId>,
}

impl Invariant for ElectionSafety {
    fn id(&self) -> &'static str {
        "I1"
    }

    fn claim(&self) -> &'static str {
        "at most one node leads in a term, over the whole run"
    }

    fn check(&mut self, _: &Known, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Drained { node, status, .. } = fact else { return Ok(()) };
        if status.role != RoleKind::Leader {
            return Ok(());
        }
        let first = *self.leaders.entry(status.term).or_insert(*node);
        if first != *node {
            return Err(format!("nodes {first} and {node} both lead in term {}", status.term));
        }
        Ok(())
    }
}
