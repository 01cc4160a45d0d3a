//! I3, leader completeness (Raft §5.4): "if a log entry is committed in a given term, then that
//! entry will be present in the logs of the leaders for all higher-numbered terms".
//!
//! Of higher-numbered terms only: a candidate that slept through the counting of its votes may
//! come to lead an older term when a newer one has committed long since.
//!
//! Broken by votes for logs that are not up to date, by commits of earlier terms by counting
//! (figure 8), and by a disk that forgets what was acknowledged.

use std::collections::BTreeSet;

use quorate_core::raft::RoleKind;
use quorate_core::types::{Index, Term};

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;

/// A new leader has everything that was committed.
#[derive(Debug, Default)]
pub(super) struct LeaderCompleteness {
    seen: BTreeSet<Term>,
}

impl Invariant for LeaderCompleteness {
    fn id(&self) -> &'static str {
        "I3"
    }

    fn claim(&self) -> &'static str {
        "a new leader's log has every entry that was ever committed"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Drained { node, status, .. } = fact else { return Ok(()) };
        if status.role != RoleKind::Leader || !self.seen.insert(status.term) {
            return Ok(());
        }
        let Some(image) = known.nodes.get(node) else { return Ok(()) };
        for (index, term) in (1..).map(Index).zip(&known.committed_in) {
            if *term < status.term && image.log.get(index) != known.committed.get(index) {
                let term = status.term;
                return Err(format!(
                    "node {node} leads in term {term} without the entry {index}, which was committed"
                ));
            }
        }
        Ok(())
    }
}
