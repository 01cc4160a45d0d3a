//! I18: a leader was elected by a majority, each of whom voted for it in its term (Raft §5.2).
//!
//! The own vote is the request of votes, or in a cluster of one the term on disk. Broken by votes of
//! another term that are counted, pre-votes taken for votes, and wrong quorums.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::raft::{Message, RoleKind};
use quorate_core::types::{NodeId, Term};

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;

/// A leader has the votes.
#[derive(Debug, Default)]
pub(super) struct ElectedByAQuorum {
    votes: BTreeMap<(Term, NodeId), BTreeSet<NodeId>>,
    seen: BTreeSet<Term>,
}

impl Invariant for ElectedByAQuorum {
    fn id(&self) -> &'static str {
        "I18"
    }

    fn claim(&self) -> &'static str {
        "a leader has the votes of a majority, given to it in its own term"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Sent { from, to, message: Message::RequestVoteReply { term, granted: true } } => {
                self.votes.entry((*term, *to)).or_default().insert(*from);
            }
            Fact::Drained { node, status, .. } if status.role == RoleKind::Leader => {
                if !self.seen.insert(status.term) {
                    return Ok(());
                }
                let votes = self.votes.get(&(status.term, *node));
                let voted = |id| id == *node || votes.is_some_and(|votes| votes.contains(&id));
                if !known.nodes.get(node).is_some_and(|image| image.is_quorum(voted)) {
                    return Err(format!(
                        "node {node} leads in term {} with the votes of {votes:?}",
                        status.term
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
