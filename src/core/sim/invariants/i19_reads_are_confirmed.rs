//! I19: a read is allowed only after a majority has answered a round of heartbeats of the leader's term
//! that started after the read was asked for, and at an entry of the leader's term (dissertation §6.4,
//! steps 1 to 3).
//!
//! A follower's read is confirmed by its leader, for the follower's question. Stronger than I13, which
//! only sees reads that were in fact stale. Of reads that may be answered under a lease I15 judges.

use std::collections::BTreeMap;

use quorate_core::raft::{Message, RoleKind};
use quorate_core::types::{Index, NodeId, Term, Ticket};

use super::Invariant;
use super::rounds::Rounds;
use crate::facts::Fact;
use crate::known::{Known, NodeImage};

/// Leadership is confirmed for each read.
#[derive(Debug, Default)]
pub(super) struct ReadsAreConfirmed {
    asked: BTreeMap<(NodeId, Ticket), u64>,
    /// When each follower's question left.
    questions: BTreeMap<(NodeId, u64), u64>,
    rounds: Rounds,
}

impl ReadsAreConfirmed {
    fn released(
        &self,
        known: &Known,
        (node, term): (NodeId, Term),
        asked: u64,
        index: Index,
    ) -> Result<(), String> {
        let Some(image) = known.nodes.get(&node) else { return Ok(()) };
        let of = image.log.get(index).map(|entry| entry.term);
        if of != Some(term) {
            return Err(format!(
                "node {node} allows a read at {index} of term {of:?}, before its own term {term} \
                 has committed anything"
            ));
        }
        if !self.rounds.confirmed_since(image, (node, term), asked) {
            let answered = self.rounds.answered(node, term);
            return Err(format!(
                "node {node} allows a read that no quorum has confirmed since it was asked for \
                 (rounds answered: {answered:?})"
            ));
        }
        Ok(())
    }
}

impl Invariant for ReadsAreConfirmed {
    fn id(&self) -> &'static str {
        "I19"
    }

    fn claim(&self) -> &'static str {
        "a read waits for the term's first commit and a round that a majority answered and that began later"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        self.rounds.observe(fact);
        let facts = self.rounds.facts();
        match fact {
            Fact::Asked { node, ticket, command: None, lease: None } => {
                self.asked.insert((*node, *ticket), facts);
            }
            Fact::Refused { node, ticket, .. } => drop(self.asked.remove(&(*node, *ticket))),
            Fact::Started { node, .. } => self.asked.retain(|(of, _), _| of != node),
            Fact::Sent { from, to, message: Message::ReadIndexReply { term, id, index } } => {
                let asked = self.questions.get(&(*to, *id)).copied().unwrap_or(facts);
                return self.released(known, (*from, *term), asked, *index);
            }
            Fact::Sent { from, message: Message::ReadIndex { id, .. }, .. } => {
                self.questions.insert((*from, *id), facts);
            }
            Fact::Released { node, ticket, index } => {
                let Some(asked) = self.asked.remove(&(*node, *ticket)) else { return Ok(()) };
                let leads = |image: &&NodeImage| image.role == Some(RoleKind::Leader);
                if let Some(leader) = known.nodes.get(node).filter(leads) {
                    return self.released(known, (*node, leader.term), asked, *index);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
