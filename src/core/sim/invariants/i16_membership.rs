//! I16: the members in effect are those of the newest membership entry of the log, else of its compacted
//! beginning (dissertation §4.1), and one change follows the other (§4.3, §4.4).
//!
//! A leader appends a membership only where the newest before it is committed, and begins a change not
//! before an entry of its own term is (Raft §6, the rule of 2015); and what follows a joint one is what
//! completes it, by whichever leader: all quorums by then hold a majority of the new voters.
//! Voters change through a joint membership only, in which those before have their say.

use std::collections::BTreeMap;

use quorate_core::raft::{RoleKind, Status};
use quorate_core::types::{Index, Membership, NodeId, Payload, Term};

use super::Invariant;
use crate::facts::Fact;
use crate::known::{Known, NodeImage};

/// A membership that was appended.
#[derive(Debug)]
struct Appended {
    term: Term,
    /// Where the one before is.
    before: Index,
    /// It completes that one, and begins no change.
    completes: bool,
}

/// The log rules who belongs to the cluster.
#[derive(Debug, Default)]
pub(super) struct MembershipOfTheLog {
    /// Memberships that a drain of this node has appended.
    appended: BTreeMap<NodeId, Vec<Appended>>,
}

fn voters(membership: &Membership) -> Vec<NodeId> {
    membership.voters().collect()
}

impl MembershipOfTheLog {
    /// A membership must complete the one before it, if that is joint.
    fn staged(&mut self, node: NodeId, image: &NodeImage, from: Index) -> Result<(), String> {
        let memberships = image.log.memberships();
        let behind = memberships.range(from..).map(|(at, membership)| (*at, membership));
        for (at, membership) in behind {
            let Some((before, old)) = memberships.range(..at).next_back() else { continue };
            if old.is_joint() && *membership != old.completed() {
                return Err(format!(
                    "node {node} has at {at} members that do not complete the change at {before}"
                ));
            }
            let (before_it, after_it) = (voters(old), voters(membership));
            let joins = membership.is_joint() && membership.outgoing == before_it;
            if !old.is_joint() && before_it != after_it && !joins {
                return Err(format!(
                    "node {node} has at {at} other voters than at {before}, and both need not agree"
                ));
            }
            let term = image.log.get(at).map(|entry| entry.term).unwrap_or_default();
            let completes = old.is_joint();
            let appended = Appended { term, before: *before, completes };
            self.appended.entry(node).or_default().push(appended);
        }
        Ok(())
    }

    /// A leader's own ones come only behind what is committed, and begin a change only in a term that
    /// has committed.
    fn appended(&mut self, image: &NodeImage, status: &Status) -> Result<(), String> {
        let appended = self.appended.remove(&status.id).unwrap_or_default();
        let own = appended.into_iter().filter(|appended| appended.term == status.term);
        for Appended { term, before, completes } in own.filter(|_| status.role == RoleKind::Leader)
        {
            let (node, commit) = (status.id, status.commit);
            if before > commit {
                return Err(format!(
                    "node {node} changes the members while those at {before} are not committed"
                ));
            }
            if !completes && image.log.get(commit).map(|entry| entry.term) != Some(term) {
                return Err(format!(
                    "node {node} changes the members before its term {term} has committed anything"
                ));
            }
        }
        Ok(())
    }
}

impl Invariant for MembershipOfTheLog {
    fn id(&self) -> &'static str {
        "I16"
    }

    fn claim(&self) -> &'static str {
        "the members in effect are the log's newest, and one change is complete before the next"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Started { node, .. } => drop(self.appended.remove(node)),
            Fact::Staged { node, persist } => {
                let member = |payload: &Payload| matches!(payload, Payload::Membership(_));
                let first = persist.entries.iter().find(|entry| member(&entry.payload));
                if let (Some(first), Some(image)) = (first, known.nodes.get(node)) {
                    return self.staged(*node, image, first.index);
                }
            }
            Fact::Drained { node, status, .. } => {
                let Some(image) = known.nodes.get(node) else { return Ok(()) };
                self.appended(image, status)?;
                // Of members under the log, a node without the state there does not know.
                let at = image.log.membership_index();
                let hidden = status.lacks_state && at < status.first_index;
                let newest = image.log.membership();
                if newest.is_some_and(|newest| *newest != status.membership) && !hidden {
                    return Err(format!("node {node} goes by members that are not its log's"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
