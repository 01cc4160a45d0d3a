//! I6: what a node has said it does not take back (Raft figure 2).
//!
//! Within a start the term, the commit index and the applied index never fall, and a vote changes
//! only from none to someone within a term. Over a restart the term does not fall below what was on
//! disk, nor does a vote on disk change in its term.

use std::collections::BTreeMap;

use quorate_core::types::{HardState, Index, NodeId};

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;

/// What a node last showed.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    commit: Index,
    applied: Index,
    hard_state: HardState,
}

/// Terms, votes, commits and applies only go forward.
#[derive(Debug, Default)]
pub(super) struct Monotone {
    shown: BTreeMap<NodeId, Shown>,
}

/// Whether a term and vote may follow another.
fn follows(before: HardState, after: HardState) -> bool {
    let kept = before.vote.is_none() || after.vote == before.vote;
    after.term > before.term || (after.term == before.term && kept)
}

impl Invariant for Monotone {
    fn id(&self) -> &'static str {
        "I6"
    }

    fn claim(&self) -> &'static str {
        "a node's term, vote in a term, commit and applied index never go back"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Started { node, hard_state, .. } => {
                let before = known.previous.durable_hard_state;
                let shown = known.nodes.get(node).map_or(*hard_state, |image| image.hard_state);
                self.shown.insert(*node, Shown { hard_state: shown, ..Shown::default() });
                if known.previous.incarnation > 0 && !follows(before, *hard_state) {
                    return Err(format!(
                        "node {node} had {before:?} on disk and finds {hard_state:?}"
                    ));
                }
            }
            Fact::Staged { node, persist } => {
                let shown = self.shown.entry(*node).or_default();
                let Some(hard_state) = persist.hard_state else { return Ok(()) };
                if !follows(shown.hard_state, hard_state) {
                    let before = shown.hard_state;
                    return Err(format!("node {node} goes from {before:?} to {hard_state:?}"));
                }
                shown.hard_state = hard_state;
            }
            Fact::Drained { node, status, .. } => {
                let shown = self.shown.entry(*node).or_default();
                if status.term != shown.hard_state.term {
                    let term = shown.hard_state.term;
                    return Err(format!(
                        "node {node} is in term {}, and handed out {term}",
                        status.term
                    ));
                }
                if status.commit < shown.commit || status.applied < shown.applied {
                    return Err(format!("node {node} goes back to commit {}", status.commit));
                }
                (shown.commit, shown.applied) = (status.commit, status.applied);
            }
            _ => {}
        }
        Ok(())
    }
}
