//! I13: a linearizable read sees everything that was committed when it was asked for (dissertation §6.4),
//! and only a leader allows it.
//!
//! Broken by a read without a round of heartbeats, with a round that started before the read, or
//! before the term's first commit.

use std::collections::BTreeMap;

use quorate_core::raft::RoleKind;
use quorate_core::types::{Index, NodeId, Ticket};

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;

/// Reads are not stale.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// What was committed when each read was asked for.
    floors: BTreeMap<(NodeId, Ticket), Index>,
}

impl Invariant for Reads {
    fn id(&self) -> &'static str {
        "I13"
    }

    fn claim(&self) -> &'static str {
        "a read sees everything that was committed when it was asked for, and a leader allows it"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Asked { node, ticket, command: None } => {
                self.floors.insert((*node, *ticket), known.committed.last().index);
            }
            Fact::Refused { node, ticket, .. } => drop(self.floors.remove(&(*node, *ticket))),
            Fact::Stopped { node, .. } => self.floors.retain(|(of, _), _| of != node),
            Fact::Released { node, ticket, index } => {
                let Some(floor) = self.floors.remove(&(*node, *ticket)) else {
                    return Err(format!("node {node} allows a read that nobody waits for"));
                };
                let leads = known.nodes.get(node).and_then(|image| image.role);
                if leads != Some(RoleKind::Leader) {
                    return Err(format!("node {node} allows a read and is {leads:?}"));
                }
                if *index < floor {
                    return Err(format!(
                        "node {node} allows a read at {index}; {floor} was committed when it was \
                         asked for"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
