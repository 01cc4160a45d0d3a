//! I15: a read is answered under a lease only while nobody else can lead (dissertation §6.4.1).
//!
//! When such a read comes, a quorum must have answered a round of heartbeats that began, by the leader's
//! clock, less than a lease ago; leadership must not have been handed over; and, in true time, no node
//! leads or has led in a later term. So no two nodes hold a lease at once. A read that a round has
//! confirmed since it came needs no lease.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::raft::{Message, RoleKind};
use quorate_core::types::{Index, NodeId, Term, Ticket};

use super::Invariant;
use super::rounds::Rounds;
use crate::facts::{Fact, Lease};
use crate::known::Known;

/// A read that may be answered under a lease, and what the lease was when it came.
#[derive(Debug)]
struct Asked {
    fact: u64,
    /// Why there was no lease.
    none: Option<String>,
}

/// Who answers under a lease is the only one who can lead.
#[derive(Debug, Default)]
pub(super) struct LeasesExclude {
    rounds: Rounds,
    asked: BTreeMap<(NodeId, Ticket), Asked>,
    /// Leaderships that were handed over, or tried to be.
    handed_over: BTreeSet<(NodeId, Term)>,
}

impl LeasesExclude {
    fn none(&self, known: &Known, node: NodeId, lease: &Lease) -> Option<String> {
        let image = known.nodes.get(&node)?;
        let term = image.term;
        let later = known.nodes.iter().find(|(_, other)| other.led_in > Some(term));
        if let Some((other, image)) = later {
            let later = image.led_in.unwrap_or_default();
            return Some(format!("node {other} leads in term {later}, and it leads in {term}"));
        }
        if self.handed_over.contains(&(node, term)) {
            return Some(format!("it has handed its leadership of term {term} over"));
        }
        if !self.rounds.leased(image, node, lease.now, lease.length) {
            let answered = self.rounds.answered(node, term);
            let length = lease.length;
            return Some(format!(
                "no quorum has answered a round of the last {length:?} (answered: {answered:?})"
            ));
        }
        None
    }

    fn released(
        &mut self,
        known: &Known,
        node: NodeId,
        ticket: Ticket,
        index: Index,
    ) -> Result<(), String> {
        let Some(Asked { fact, none }) = self.asked.remove(&(node, ticket)) else { return Ok(()) };
        let Some(image) = known.nodes.get(&node) else { return Ok(()) };
        if image.role != Some(RoleKind::Leader) {
            return Ok(());
        }
        let of = image.log.get(index).map(|entry| entry.term);
        if of != Some(image.term) {
            let term = image.term;
            return Err(format!(
                "node {node} allows a read at {index} of term {of:?}, before its own term {term} \
                 has committed anything"
            ));
        }
        match none {
            Some(none) if !self.rounds.confirmed_since(image, (node, image.term), fact) => {
                Err(format!("node {node} answers a read under a lease, and {none}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Invariant for LeasesExclude {
    fn id(&self) -> &'static str {
        "I15"
    }

    fn claim(&self) -> &'static str {
        "a read is answered under a lease only while a quorum keeps everyone else from leading"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        self.rounds.observe(fact);
        match fact {
            Fact::Asked { node, ticket, command: None, lease: Some(lease) } => {
                let none = self.none(known, *node, lease);
                let fact = self.rounds.facts();
                self.asked.insert((*node, *ticket), Asked { fact, none });
            }
            Fact::Sent { from, message: Message::TimeoutNow { term }, .. } => {
                self.handed_over.insert((*from, *term));
            }
            Fact::Refused { node, ticket, .. } => drop(self.asked.remove(&(*node, *ticket))),
            Fact::Stopped { node, .. } => self.asked.retain(|(of, _), _| of != node),
            Fact::Released { node, ticket, index } => {
                return self.released(known, *node, *ticket, *index);
            }
            _ => {}
        }
        Ok(())
    }
}
