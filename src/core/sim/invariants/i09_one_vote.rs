//! I9: a node gives at most one vote in a term, over all its starts (Raft §5.2, figure 2).
//!
//! Its own candidacy is a vote for itself. A node that comes with another disk is another node.

use std::collections::BTreeMap;

use quorate_core::raft::Message;
use quorate_core::types::{NodeId, Term};

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;

/// One vote for each node and term.
#[derive(Debug, Default)]
pub(super) struct OneVote {
    votes: BTreeMap<(NodeId, u64, Term), NodeId>,
}

impl Invariant for OneVote {
    fn id(&self) -> &'static str {
        "I9"
    }

    fn claim(&self) -> &'static str {
        "a node votes for at most one candidate in a term, also over restarts"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Sent { from, to, message } = fact else { return Ok(()) };
        let vote = match message {
            Message::RequestVote { term, .. } => Some((*term, *from)),
            Message::RequestVoteReply { term, granted: true } => Some((*term, *to)),
            _ => None,
        };
        let Some((term, candidate)) = vote else { return Ok(()) };
        let disk = known.nodes.get(from).map_or(0, |image| image.disk);
        let first = *self.votes.entry((*from, disk, term)).or_insert(candidate);
        if first != candidate {
            return Err(format!(
                "node {from} votes for node {first} and for node {candidate} in term {term}"
            ));
        }
        Ok(())
    }
}
