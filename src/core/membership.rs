//! Who is in the group, and how that changes: joint consensus (Raft §6).
//!
//! ```text
//!               changed(..)            committed             completed()          committed
//!   C_old ────────────────► C_old,new ───────────► (leader) ────────────► C_new ───────────► done
//!   one quorum              a quorum of each                              one quorum
//! ```
//!
//! A membership is an entry of the log and takes effect where it is appended, not where it is
//! committed. While it is joint, every decision (commit, vote, read, check-quorum) needs a
//! quorum of the voters before *and* of the voters after the change; all of them ask
//! `Membership::reached` and nothing else. A change that leaves the voters as they are (a
//! learner comes or goes) needs no joint step.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::{Index, NodeId};

/// The members of the cluster, in order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "search", derive(Hash))]
pub struct Membership {
    /// Every member: voters, learners, and, while a change is under way, those that leave.
    pub members: Vec<Member>,
    /// While a change is under way: the ids of the voters before it, ascending. Else empty.
    #[serde(default)]
    pub outgoing: Vec<NodeId>,
    /// The ids that were members once and are not any more, ascending: what they still send
    /// is refused by name.
    #[serde(default)]
    pub removed: Vec<NodeId>,
}

/// One member: who it is and where others reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "search", derive(Hash))]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// The `host:port` at which the other nodes reach it.
    pub peer: String,
    /// The `host:port` at which clients reach it.
    pub client: String,
    /// What it does.
    #[serde(default)]
    pub role: MemberRole,
    /// The index of the entry that added it; 0 for the members of the first start. A member
    /// that was removed and added again has another one, and may come with another disk.
    #[serde(default)]
    pub added: Index,
}

/// What a member does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "search", derive(Hash))]
pub enum MemberRole {
    /// Counts in every quorum.
    #[default]
    #[serde(rename = "v")]
    Voter,
    /// Receives the log, and counts in none. To be promoted once it has caught up.
    #[serde(rename = "l")]
    Learner,
    /// As a learner, and stays one until an operator says otherwise.
    #[serde(rename = "s")]
    Standby,
    /// Was a voter before the change that is under way, and is no member after it.
    #[serde(rename = "x")]
    Leaving,
}

impl MemberRole {
    /// The name in `members` and `status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            MemberRole::Voter => "voter",
            MemberRole::Learner => "learner",
            MemberRole::Standby => "standby",
            MemberRole::Leaving => "leaving",
        }
    }
}

/// One step of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds a member that does not vote yet: [`MemberRole::Learner`] or
    /// [`MemberRole::Standby`]; its `added` is set by the log.
    Add(Member),
    /// Makes a learner a voter.
    Promote(NodeId),
    /// Makes a voter a learner that stays one.
    Demote(NodeId),
    /// Removes a member.
    Remove(NodeId),
    /// Gives a member other addresses.
    Move {
        /// The member.
        id: NodeId,
        /// Where the other nodes reach it from now on; `None` leaves it.
        peer: Option<String>,
        /// Where clients reach it from now on; `None` leaves it.
        client: Option<String>,
    },
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeRefusal {
    /// The leader has committed nothing in its term yet, so it cannot know that no earlier
    /// change is under way (the rule of 2015 on Raft §6).
    NotSettled,
    /// Another change is under way.
    UnderWay,
    /// Such a member is there already.
    Exists(NodeId),
    /// No such member.
    Unknown(NodeId),
    /// It votes already, or does not vote anyway.
    NothingToChange(NodeId),
    /// No voter would be left.
    NoVoterLeft,
    /// It lags too far behind to be a voter.
    NotCaughtUp(NodeId),
    /// Fewer than a quorum of the voters after the change are reachable now.
    WouldLoseQuorum,
    /// An id of 0.
    BadId,
}

impl fmt::Display for ChangeRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChangeRefusal::NotSettled => f.write_str(
                "the leader has not committed an entry of its term yet: retry in a moment",
            ),
            ChangeRefusal::UnderWay => {
                f.write_str("another change of the members is under way: retry when it is done")
            }
            ChangeRefusal::Exists(id) => write!(f, "node {id} is a member already"),
            ChangeRefusal::Unknown(id) => write!(f, "node {id} is not a member"),
            ChangeRefusal::NothingToChange(id) => {
                write!(f, "node {id} is what it is asked to become already")
            }
            ChangeRefusal::NoVoterLeft => f.write_str("no voter would be left"),
            ChangeRefusal::NotCaughtUp(id) => write!(
                f,
                "node {id} has not caught up with the log: as a voter it would hold up every write"
            ),
            ChangeRefusal::WouldLoseQuorum => f.write_str(
                "fewer than a quorum of the voters after the change are reachable now, so nothing \
                 could be written any more",
            ),
            ChangeRefusal::BadId => f.write_str("a node's id is from 1 to 65535"),
        }
    }
}

impl Member {
    /// A voter of the first start.
    #[must_use]
    pub fn voter(id: NodeId, peer: impl Into<String>, client: impl Into<String>) -> Self {
        let (peer, client) = (peer.into(), client.into());
        Self { id, peer, client, role: MemberRole::Voter, added: Index(0) }
    }
}

impl Membership {
    /// The members of the first start: voters all.
    #[must_use]
    pub fn of(members: Vec<Member>) -> Self {
        Self { members, outgoing: vec![], removed: vec![] }
    }

    /// The ids of the voters after the change that is under way, or of all voters where there
    /// is none; ascending.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        let voters = self.members.iter().filter(|member| member.role == MemberRole::Voter);
        voters.map(|member| member.id)
    }

    /// The ids of all members, ascending.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.iter().map(|member| member.id)
    }

    /// The member of that id.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// Whether a node counts in a quorum, before or after the change that is under way.
    #[must_use]
    pub fn votes(&self, id: NodeId) -> bool {
        self.outgoing.contains(&id) || self.voters().any(|voter| voter == id)
    }

    /// Whether a change is under way.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// What a quorum has reached, of a value that each voter has: of the voters before and of
    /// the voters after a change, the less. The one quorum of all decisions (rule 3).
    pub(crate) fn reached<T: Ord + Copy + Default>(&self, value: impl Fn(NodeId) -> T) -> T {
        let mut incoming: Vec<T> = self.voters().map(&value).collect();
        if mutant!(LearnersCount) {
            incoming = self.ids().map(&value).collect();
        }
        let reached = crate::raft::reached(&mut incoming);
        if !self.is_joint() || mutant!(JointNeedsOneQuorum) {
            return reached;
        }
        let mut outgoing: Vec<T> = self.outgoing.iter().copied().map(&value).collect();
        reached.min(crate::raft::reached(&mut outgoing))
    }

    /// This membership with changes made, as the entry at `index` will say: joint where the
    /// voters are not the same afterwards.
    ///
    /// # Errors
    /// Why these changes cannot be made. Nothing is said of reachability: only the leader
    /// knows that.
    pub fn changed(&self, changes: &[Change], index: Index) -> Result<Self, ChangeRefusal> {
        if self.is_joint() {
            return Err(ChangeRefusal::UnderWay);
        }
        let before: Vec<NodeId> = self.voters().collect();
        let mut new = self.clone();
        for change in changes {
            // One that goes is gone, with all that is known of its disk, before it comes again.
            if let Change::Add(member) = change
                && self.member(member.id).is_some()
            {
                return Err(ChangeRefusal::Exists(member.id));
            }
            new.change(change, index)?;
        }
        let after: Vec<NodeId> = new.voters().collect();
        if after.is_empty() {
            return Err(ChangeRefusal::NoVoterLeft);
        }
        if after != before {
            for id in &before {
                if new.member(*id).is_none() {
                    let old = self.member(*id).ok_or(ChangeRefusal::Unknown(*id))?;
                    new.insert(Member { role: MemberRole::Leaving, ..old.clone() });
                    new.removed.retain(|removed| removed != id);
                }
            }
            new.outgoing = before;
        }
        Ok(new)
    }

    /// The membership that ends a joint one.
    #[must_use]
    pub fn completed(&self) -> Self {
        let mut new = self.clone();
        new.outgoing.clear();
        let leaving = |member: &Member| member.role == MemberRole::Leaving;
        let gone: Vec<NodeId> = new.members.iter().filter(|m| leaving(m)).map(|m| m.id).collect();
        new.members.retain(|member| !leaving(member));
        gone.into_iter().for_each(|id| new.note_removed(id));
        new
    }

    fn change(&mut self, change: &Change, index: Index) -> Result<(), ChangeRefusal> {
        let found = |id: NodeId, this: &Self| this.member(id).map(|member| member.role);
        match change {
            Change::Add(member) => {
                if member.id == NodeId(0) || member.id.0 > u64::from(u16::MAX) {
                    return Err(ChangeRefusal::BadId);
                }
                if found(member.id, self).is_some() {
                    return Err(ChangeRefusal::Exists(member.id));
                }
                let role = match member.role {
                    MemberRole::Standby => MemberRole::Standby,
                    MemberRole::Voter | MemberRole::Learner | MemberRole::Leaving => {
                        MemberRole::Learner
                    }
                };
                self.removed.retain(|id| *id != member.id);
                self.insert(Member { role, added: index, ..member.clone() });
            }
            Change::Promote(id) => match found(*id, self) {
                None => return Err(ChangeRefusal::Unknown(*id)),
                Some(MemberRole::Voter) => return Err(ChangeRefusal::NothingToChange(*id)),
                Some(_) => self.update(*id, |member| member.role = MemberRole::Voter),
            },
            Change::Demote(id) => match found(*id, self) {
                None => return Err(ChangeRefusal::Unknown(*id)),
                Some(MemberRole::Voter) => {
                    self.update(*id, |member| member.role = MemberRole::Standby);
                }
                Some(_) => return Err(ChangeRefusal::NothingToChange(*id)),
            },
            Change::Remove(id) => {
                if found(*id, self).is_none() {
                    return Err(ChangeRefusal::Unknown(*id));
                }
                self.members.retain(|member| member.id != *id);
                self.note_removed(*id);
            }
            Change::Move { id, peer, client } => {
                if found(*id, self).is_none() {
                    return Err(ChangeRefusal::Unknown(*id));
                }
                self.update(*id, |member| {
                    member.peer = peer.clone().unwrap_or_else(|| member.peer.clone());
                    member.client = client.clone().unwrap_or_else(|| member.client.clone());
                });
            }
        }
        Ok(())
    }

    fn update(&mut self, id: NodeId, act: impl Fn(&mut Member)) {
        self.members.iter_mut().filter(|member| member.id == id).for_each(act);
    }

    fn insert(&mut self, member: Member) {
        self.members.push(member);
        self.members.sort_by_key(|member| member.id);
    }

    fn note_removed(&mut self, id: NodeId) {
        self.removed.push(id);
        self.removed.sort_unstable();
        self.removed.dedup();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(id: u64) -> Member {
        Member::voter(NodeId(id), format!("p{id}"), format!("c{id}"))
    }

    fn voters(ids: &[u64]) -> Membership {
        Membership::of(ids.iter().map(|id| member(*id)).collect())
    }

    fn ids(of: impl Iterator<Item = NodeId>) -> Vec<u64> {
        of.map(|id| id.0).collect()
    }

    #[test]
    fn a_learner_comes_and_goes_without_a_joint_step() {
        let with = voters(&[1, 2, 3]).changed(&[Change::Add(member(4))], Index(9)).unwrap();
        assert!(!with.is_joint() && !with.votes(NodeId(4)));
        assert_eq!(with.member(NodeId(4)).unwrap().added, Index(9));
        let without = with.changed(&[Change::Remove(NodeId(4))], Index(10)).unwrap();
        assert!(!without.is_joint());
        assert_eq!(without.removed, [NodeId(4)]);
        let again = without.changed(&[Change::Add(member(4))], Index(11)).unwrap();
        assert!(again.removed.is_empty());
    }

    #[test]
    fn a_voter_is_replaced_in_one_joint_step_and_the_old_one_is_known_as_removed() {
        let with = voters(&[1, 2, 3]).changed(&[Change::Add(member(4))], Index(9)).unwrap();
        let swap = [Change::Promote(NodeId(4)), Change::Remove(NodeId(2))];
        let joint = with.changed(&swap, Index(10)).unwrap();
        assert_eq!(ids(joint.voters()), [1, 3, 4]);
        assert_eq!(ids(joint.outgoing.iter().copied()), [1, 2, 3]);
        assert_eq!(joint.member(NodeId(2)).unwrap().role, MemberRole::Leaving);
        assert!(joint.votes(NodeId(2)) && joint.removed.is_empty());
        assert_eq!(joint.changed(&swap, Index(11)), Err(ChangeRefusal::UnderWay));
        let done = joint.completed();
        assert_eq!((ids(done.ids()), done.removed.clone()), (vec![1, 3, 4], vec![NodeId(2)]));
        assert!(!done.is_joint());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let three = voters(&[1, 2, 3]);
        let refused = |changes: &[Change]| three.changed(changes, Index(5)).unwrap_err();
        assert_eq!(refused(&[Change::Add(member(2))]), ChangeRefusal::Exists(NodeId(2)));
        assert_eq!(refused(&[Change::Add(member(0))]), ChangeRefusal::BadId);
        assert_eq!(refused(&[Change::Remove(NodeId(7))]), ChangeRefusal::Unknown(NodeId(7)));
        assert_eq!(
            refused(&[Change::Promote(NodeId(1))]),
            ChangeRefusal::NothingToChange(NodeId(1))
        );
        let all: Vec<Change> = (1..=3).map(|id| Change::Remove(NodeId(id))).collect();
        assert_eq!(refused(&all), ChangeRefusal::NoVoterLeft);
    }

    proptest! {
        /// Whatever is decided in a joint membership is decided by a majority of each side, by
        /// the definition.
        #[test]
        fn a_joint_quorum_is_a_quorum_of_both(
            old in prop::collection::btree_set(1u64..9, 1..6),
            new in prop::collection::btree_set(1u64..9, 1..6),
            values in prop::collection::vec(0u64..6, 9),
        ) {
            let base = voters(&old.iter().copied().collect::<Vec<_>>());
            let mut changes: Vec<Change> = new.difference(&old).map(|id| Change::Add(member(*id))).collect();
            changes.extend(new.difference(&old).map(|id| Change::Promote(NodeId(*id))));
            changes.extend(old.difference(&new).map(|id| Change::Remove(NodeId(*id))));
            let joint = base.changed(&changes, Index(5)).unwrap();
            prop_assert_eq!(joint.is_joint(), old != new);
            let value = |id: u64| values[usize::try_from(id).unwrap() - 1];
            let naive = |set: &std::collections::BTreeSet<u64>, limit: u64| {
                set.iter().filter(|id| value(**id) >= limit).count() * 2 > set.len()
            };
            let expected = (0..6).rev().find(|limit| naive(&old, *limit) && naive(&new, *limit));
            prop_assert_eq!(joint.reached(|id| value(id.0)), expected.unwrap());
            prop_assert_eq!(joint.completed().voters().map(|id| id.0).collect::<Vec<_>>(), new.into_iter().collect::<Vec<_>>());
        }
    }
}
