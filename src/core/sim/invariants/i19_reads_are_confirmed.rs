//! I19: a read is allowed only after a majority has answered a round of heartbeats of the leader's term
//! that started after the read was asked for, and at an entry of the leader's term (dissertation §6.4,
//! steps 1 to 3).
//!
//! A follower's read is confirmed by its leader, for the follower's question. Stronger than I13, which
//! only sees reads that were in fact stale.

use std::collections::BTreeMap;

use quorate_core::raft::{Message, RoleKind};
use quorate_core::types::{Index, NodeId, Term, Ticket};

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;

/// The rounds of one leadership.
#[derive(Debug, Default)]
struct Rounds {
    /// When each round's first heartbeat left, counted in facts.
    started: BTreeMap<u64, u64>,
    /// The newest round that each member has answered.
    answered: BTreeMap<NodeId, u64>,
}

/// Leadership is confirmed for each read.
#[derive(Debug, Default)]
pub(super) struct ReadsAreConfirmed {
    facts: u64,
    asked: BTreeMap<(NodeId, Ticket), u64>,
    /// When each follower's question left.
    questions: BTreeMap<(NodeId, u64), u64>,
    rounds: BTreeMap<(NodeId, Term), Rounds>,
}

impl ReadsAreConfirmed {
    fn sent(&mut self, from: NodeId, to: NodeId, message: &Message) {
        match message {
            Message::Heartbeat { term, round, .. } => {
                let facts = self.facts;
                let rounds = self.rounds.entry((from, *term)).or_default();
                rounds.started.entry(*round).or_insert(facts);
                // Older ones confirm nothing that a newer one does not.
                while rounds.started.len() > 64 {
                    rounds.started.pop_first();
                }
            }
            Message::ReadIndex { id, .. } => drop(self.questions.insert((from, *id), self.facts)),
            Message::HeartbeatReply { term, round, .. } => {
                if let Some(rounds) = self.rounds.get_mut(&(to, *term)) {
                    let newest = rounds.answered.entry(from).or_default();
                    *newest = (*newest).max(*round);
                }
            }
            _ => {}
        }
    }

    fn released(
        &self,
        known: &Known,
        node: NodeId,
        asked: u64,
        index: Index,
    ) -> Result<(), String> {
        let Some(image) = known.nodes.get(&node) else { return Ok(()) };
        let term = image.term;
        let of = image.log.get(index).map(|entry| entry.term);
        if of != Some(term) {
            return Err(format!(
                "node {node} allows a read at {index} of term {of:?}, before its own term {term} \
                 has committed anything"
            ));
        }
        let rounds = self.rounds.get(&(node, term));
        let confirms = |round: &u64| {
            let started = rounds.and_then(|rounds| rounds.started.get(round));
            started.is_some_and(|started| *started >= asked)
        };
        let answered = |id| rounds.and_then(|rounds| rounds.answered.get(&id));
        if !image.is_quorum(|id| id == node || answered(id).is_some_and(confirms)) {
            let answered: Vec<_> =
                rounds.map(|rounds| rounds.answered.iter().collect()).unwrap_or_default();
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
        self.facts += 1;
        match fact {
            Fact::Asked { node, ticket, command: None } => {
                self.asked.insert((*node, *ticket), self.facts);
            }
            Fact::Refused { node, ticket, .. } => drop(self.asked.remove(&(*node, *ticket))),
            Fact::Started { node, .. } => {
                self.asked.retain(|(of, _), _| of != node);
                self.rounds.retain(|(of, _), _| of != node);
            }
            Fact::Sent { from, to, message: Message::ReadIndexReply { id, index, .. } } => {
                let asked = self.questions.get(&(*to, *id)).copied().unwrap_or(self.facts);
                return self.released(known, *from, asked, *index);
            }
            Fact::Sent { from, to, message } => self.sent(*from, *to, message),
            Fact::Released { node, ticket, index } => {
                let asked = self.asked.remove(&(*node, *ticket)).unwrap_or(self.facts);
                let role = known.nodes.get(node).and_then(|image| image.role);
                if role == Some(RoleKind::Leader) {
                    return self.released(known, *node, asked, *index);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
