//! Who may speak to whom: the judgement of both ends when a connection is made. It stands in for the
//! peers' handshake, which tells disks apart by a random number that each bears from its first start.

use quorate_core::types::{Index, NodeId};

use super::World;
use super::machine::Machine;
use super::queue::Event;
use crate::coverage::Sometimes;
use crate::plan::Power;

/// Why a node is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TurnedAway {
    /// It was removed.
    Removed,
    /// It is not the disk that was met first under its name.
    OtherDisk,
    /// It is the disk that it had before it was removed and added again.
    FormerDisk,
}

/// How long it takes until someone looks after a node that ended because it is no member.
const LOOKED_AFTER_US: u64 = 500_000;

impl Machine {
    /// Whether it was ever met with that disk, under whichever membership.
    fn has_met(&self, node: NodeId, incarnation: u64) -> bool {
        let of_node = (node, Index(0))..=(node, Index(u64::MAX));
        self.met.range(of_node).any(|(_, known)| *known == incarnation)
    }

    /// What it knows of the entry that added it; nothing where it knows no members.
    pub(super) fn added(&self) -> Option<Index> {
        self.status()?.added
    }

    /// This node's judgement of another, which says that it was added by an entry. Who is no member
    /// is let in, and so is who was added later than this node knows: its membership may be an old
    /// one. Of who was removed it says nothing when it was removed itself.
    fn judge(
        &mut self,
        node: NodeId,
        incarnation: u64,
        added: Option<Index>,
    ) -> Result<(), TurnedAway> {
        let Some(status) = self.status() else { return Ok(()) };
        let members = &status.membership;
        if let Some(member) = members.member(node) {
            if added.is_some_and(|added| added < member.added) {
                return Err(TurnedAway::FormerDisk);
            }
            let added = member.added.max(added.unwrap_or_default());
            let first = *self.met.entry((node, added)).or_insert(incarnation);
            return if first == incarnation { Ok(()) } else { Err(TurnedAway::OtherDisk) };
        }
        let removed = status.membership_committed && members.removed.contains(&node);
        let removed = removed && members.member(self.id).is_some();
        if removed
            && self.has_met(node, incarnation)
            && added.unwrap_or_default() <= self.knows_up_to()
        {
            return Err(TurnedAway::Removed);
        }
        Ok(())
    }

    /// Whoever was added later than this is not known here.
    fn knows_up_to(&self) -> Index {
        self.status().map_or(Index(0), |status| status.commit)
    }
}

impl World {
    /// Whether two nodes agree to a connection. Who dials and hears that it was removed ends.
    pub(super) fn shake_hands(&mut self, from: NodeId, to: NodeId) -> bool {
        self.old_disk_speaks(from, to);
        let (dials, accepts) = self.disks(from, to);
        let (from_added, to_added) = (self.machine(from).added(), self.machine(to).added());
        let there = self.machine_mut(from).judge(to, accepts, to_added);
        let back = self.machine_mut(to).judge(from, dials, from_added);
        for verdict in [there, back] {
            match verdict {
                Ok(()) => {}
                Err(TurnedAway::Removed) => self.watch.sometimes(Sometimes::RemovedTurnedAway),
                Err(TurnedAway::OtherDisk) => self.watch.sometimes(Sometimes::OtherDiskTurnedAway),
                Err(TurnedAway::FormerDisk) => {
                    self.watch.sometimes(Sometimes::FormerDiskTurnedAway);
                }
            }
        }
        if there.is_ok() && back == Err(TurnedAway::Removed) {
            self.machine_mut(from).retired = true;
            self.crash(from, Power::Process, LOOKED_AFTER_US);
        }
        there.is_ok() && back.is_ok()
    }

    /// Before a node comes, its old disk does, where that one still speaks. Whoever took it for the
    /// new one would turn the new one away for ever.
    fn old_disk_speaks(&mut self, from: NodeId, to: NodeId) {
        let Some((incarnation, added)) = self.machine(from).old_disk else { return };
        let judged = self.machine_mut(to).judge(from, incarnation, Some(added));
        if judged == Err(TurnedAway::FormerDisk) {
            self.watch.sometimes(Sometimes::FormerDiskTurnedAway);
        }
    }

    /// Whether a receiver ends the connection on which a message came: its sender was removed.
    pub(super) fn is_cut_off(&mut self, from: NodeId, to: NodeId) -> bool {
        let (incarnation, added) = (self.machine(from).incarnation, self.machine(from).added());
        if self.machine_mut(to).judge(from, incarnation, added) == Err(TurnedAway::Removed) {
            self.watch.sometimes(Sometimes::RemovedNodeSpoke);
            return self.plan.members.cuts_off;
        }
        false
    }

    /// Who ended because it was removed is started again once it is a member again.
    pub(super) fn stays_retired(&mut self, id: NodeId) -> bool {
        let members = self.watch.known().committed.membership();
        let member = members.is_some_and(|members| members.member(id).is_some());
        let stays = self.machine(id).retired && !member;
        if stays {
            self.queue.push(self.now + LOOKED_AFTER_US, Event::Start { node: id });
        }
        self.machine_mut(id).retired = stays;
        stays
    }
}
