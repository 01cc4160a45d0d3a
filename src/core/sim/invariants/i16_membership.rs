//! I16: the members in effect are those of the newest membership entry of the log (dissertation §4.1).
//!
//! While memberships do not change, that is the first entry, everywhere.

use std::collections::BTreeMap;

use quorate_core::types::{Entry, Index, Membership, NodeId, Payload};

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;

/// The log rules who belongs to the cluster.
#[derive(Debug, Default)]
pub(super) struct MembershipOfTheLog {
    /// The memberships of each node's log, by index.
    memberships: BTreeMap<NodeId, BTreeMap<Index, Membership>>,
}

impl MembershipOfTheLog {
    fn add(&mut self, node: NodeId, entries: &[Entry]) {
        let known = self.memberships.entry(node).or_default();
        for entry in entries {
            if let Payload::Membership(membership) = &entry.payload {
                known.insert(entry.index, membership.clone());
            }
        }
    }
}

impl Invariant for MembershipOfTheLog {
    fn id(&self) -> &'static str {
        "I16"
    }

    fn claim(&self) -> &'static str {
        "the members in effect are those of the newest membership entry in the log"
    }

    fn check(&mut self, _: &Known, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Started { node, log, .. } => {
                self.memberships.remove(node);
                self.add(*node, log);
            }
            Fact::Staged { node, persist } => {
                let known = self.memberships.entry(*node).or_default();
                if let Some(from) = persist.truncate_from {
                    known.split_off(&from);
                }
                self.add(*node, &persist.entries);
            }
            Fact::Drained { node, status, .. } => {
                let known = self.memberships.get(node).and_then(|known| known.last_key_value());
                if known.is_none_or(|(_, membership)| *membership != status.membership) {
                    return Err(format!("node {node} goes by members that are not its log's"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
