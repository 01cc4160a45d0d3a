//! The rounds of heartbeats of each leadership: when they began, and who has answered them. What
//! confirms reads (I19) and gives leases (I15).

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_core::raft::Message;
use quorate_core::types::{Moment, NodeId, Term};

use crate::facts::Fact;
use crate::known::NodeImage;

/// Older rounds confirm nothing that a newer one does not.
const KEPT: usize = 64;

/// A round's beginning.
#[derive(Clone, Copy, Debug)]
struct Began {
    /// Counted in facts.
    fact: u64,
    /// By the leader's clock; known when the drain that began it is over.
    at: Option<Moment>,
}

/// The rounds of one leadership.
#[derive(Debug, Default)]
struct Leadership {
    began: BTreeMap<u64, Began>,
    /// The newest round that each member has answered.
    answered: BTreeMap<NodeId, u64>,
}

/// The rounds of all.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    facts: u64,
    of: BTreeMap<(NodeId, Term), Leadership>,
}

impl Rounds {
    /// How many facts there were.
    pub(super) fn facts(&self) -> u64 {
        self.facts
    }

    /// Takes in a fact.
    pub(super) fn observe(&mut self, fact: &Fact<'_>) {
        self.facts += 1;
        match fact {
            Fact::Started { node, .. } => self.of.retain(|(of, _), _| of != node),
            Fact::Staged { node, persist } => {
                for (_, message) in &persist.then {
                    self.began(*node, message);
                }
            }
            Fact::Sent { from, to, message } => {
                self.began(*from, message);
                if let Message::HeartbeatReply { term, round, .. } = message
                    && let Some(leadership) = self.of.get_mut(&(*to, *term))
                {
                    let newest = leadership.answered.entry(*from).or_default();
                    *newest = (*newest).max(*round);
                }
            }
            Fact::Drained { node, now, status } => {
                if let Some(leadership) = self.of.get_mut(&(*node, status.term)) {
                    let new = leadership.began.values_mut().rev().take_while(|it| it.at.is_none());
                    new.for_each(|began| began.at = Some(*now));
                }
            }
            _ => {}
        }
    }

    fn began(&mut self, node: NodeId, message: &Message) {
        let Message::Heartbeat { term, round, .. } = message else { return };
        let fact = self.facts;
        let leadership = self.of.entry((node, *term)).or_default();
        leadership.began.entry(*round).or_insert(Began { fact, at: None });
        while leadership.began.len() > KEPT {
            leadership.began.pop_first();
        }
    }

    /// The newest round that each has answered.
    pub(super) fn answered(&self, node: NodeId, term: Term) -> Vec<(NodeId, u64)> {
        let leadership = self.of.get(&(node, term));
        let answered = leadership.into_iter().flat_map(|leadership| &leadership.answered);
        answered.map(|(id, round)| (*id, *round)).collect()
    }

    /// Whether a quorum, the leader included, has answered a round of which that holds.
    fn quorum(
        &self,
        image: &NodeImage,
        (node, term): (NodeId, Term),
        of: impl Fn(&Began) -> bool,
    ) -> bool {
        let leadership = self.of.get(&(node, term));
        image.is_quorum(|id| {
            let answered = leadership
                .and_then(|leadership| leadership.began.get(leadership.answered.get(&id)?));
            id == node || answered.is_some_and(&of)
        })
    }

    /// Whether a quorum has answered a round that began after a fact.
    pub(super) fn confirmed_since(
        &self,
        image: &NodeImage,
        leader: (NodeId, Term),
        fact: u64,
    ) -> bool {
        self.quorum(image, leader, |began| began.fact >= fact)
    }

    /// Whether a quorum has answered a round that began less than so long before `now`.
    pub(super) fn leased(
        &self,
        image: &NodeImage,
        node: NodeId,
        now: Moment,
        length: Duration,
    ) -> bool {
        self.quorum(image, (node, image.term), |began| began.at.is_some_and(|at| now < at + length))
    }
}
