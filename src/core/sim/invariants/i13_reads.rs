//! I13: a linearizable read sees everything that was committed when it was asked for (dissertation §6.4),
//! and only a leader allows it: its own reads, and by a ReadIndexReply those of a follower.
//!
//! Broken by a read without a round of heartbeats, with a round that started before the read, or
//! before the term's first commit.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::raft::{Message, RoleKind};
use quorate_core::types::{Index, NodeId, Ticket};

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;

/// Reads are not stale.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// What was committed when each read was asked for.
    floors: BTreeMap<(NodeId, Ticket), Index>,
    /// What leaders told followers.
    told: BTreeSet<(NodeId, Index)>,
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
            Fact::Asked { node, ticket, command: None, .. } => {
                self.floors.insert((*node, *ticket), known.committed.last().index);
            }
            Fact::Sent { from, to, message: Message::ReadIndexReply { term, index, .. } } => {
                // It may leave after its sender has lost that term.
                let led = known.nodes.get(from).and_then(|image| image.led_in);
                if led != Some(*term) {
                    return Err(format!(
                        "node {from} allows a follower's read in term {term}, and led in {led:?}"
                    ));
                }
                self.told.insert((*to, *index));
            }
            Fact::Refused { node, ticket, .. } => drop(self.floors.remove(&(*node, *ticket))),
            Fact::Stopped { node, .. } => self.floors.retain(|(of, _), _| of != node),
            Fact::Released { node, ticket, index } => {
                let Some(floor) = self.floors.remove(&(*node, *ticket)) else {
                    return Err(format!("node {node} allows a read that nobody waits for"));
                };
                let role = known.nodes.get(node).and_then(|image| image.role);
                if role != Some(RoleKind::Leader) && !self.told.contains(&(*node, *index)) {
                    return Err(format!("node {node} allows a read at {index} and is {role:?}"));
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
