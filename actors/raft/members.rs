//! RaftActor's part in changing members and in keeping the log short: ways to whoever comes, no
//! way to whoever goes, and the core's orders to the actors below.

use actix::prelude::*;
use quorate_core::raft::Effects;
use quorate_core::types::{Index, Membership, NodeId, Ticket};
use quorate_core::wire::client::Success;

use super::{RaftActor, Waiting};
use crate::dialler::Dialler;
use crate::messages::{Capture, Install, Peers, Purpose, Retire, Serve, Trim};
use crate::peer::{self, PeerActor};
use crate::reply::{Answers, Outcome, Reply};

/// How many nodes that are no members have a way at a time.
const MOST_GUESTS: usize = 16;

/// Makes the ways to other members.
pub struct Roads {
    /// How they are dialled.
    pub dialler: Dialler,
    /// Whom they tell.
    pub raft: Addr<RaftActor>,
    /// How many bytes may wait for each.
    pub queue_bytes: usize,
}

impl Roads {
    /// A way to a member, from now on.
    #[must_use]
    pub fn to(&self, id: NodeId, address: String) -> Addr<PeerActor> {
        let above = peer::Above {
            connected: self.raft.clone().recipient(),
            disconnected: self.raft.clone().recipient(),
        };
        let dial = self.dialler.raft(id, address);
        PeerActor::new(id, above, dial, self.queue_bytes).start()
    }
}

impl RaftActor {
    /// Another membership is in effect: who is new gets a way.
    pub(super) fn follow_members(&mut self, new: Membership) {
        let own = self.view.node();
        let gone = self.members.ids().filter(|id| new.member(*id).is_none());
        self.leaving.extend(gone.filter(|id| *id != own));
        self.leaving.retain(|id| new.member(*id).is_none());
        for member in new.members.iter().filter(|member| member.id != own) {
            self.reach(member.id, &member.peer);
        }
        self.members = new;
        self.tell_peers();
        self.view.update(self.node.status());
    }

    /// Who is no member any more has no way any more, once that is settled. Until then it may
    /// lead, and must hear that its own removal is stored here.
    pub(super) fn part_from_members(&mut self) {
        if self.leaving.is_empty() || !self.node.status().membership_committed {
            return;
        }
        for id in std::mem::take(&mut self.leaving) {
            if let Some((_, peer)) = self.below.peers.remove(&id) {
                peer.do_send(Retire);
            }
        }
        self.tell_peers();
    }

    /// Sees to it that there is a way to that address.
    fn reach(&mut self, id: NodeId, address: &str) {
        match self.below.peers.get(&id) {
            Some((known, _)) if known == address => return,
            Some((_, peer)) => peer.do_send(Retire),
            None => {}
        }
        let peer = self.below.roads.to(id, address.to_owned());
        self.below.peers.insert(id, (address.to_owned(), peer));
    }

    /// Who dials this node is to be answered, though it may be no member that it knows. Of such
    /// guests only so many are: whoever reaches the peer address can claim to be one.
    pub(super) fn introduced(&mut self, id: NodeId, address: &str) {
        *self.speaking.entry(id).or_default() += 1;
        if id == self.view.node() || self.members.member(id).is_some() {
            return;
        }
        let guests = self.below.peers.keys().filter(|other| self.is_guest(**other)).count();
        if guests >= MOST_GUESTS && !self.below.peers.contains_key(&id) {
            log::debug!("peer: node {id} is no member, and as many others are answered already");
            return;
        }
        self.reach(id, address);
        self.tell_peers();
    }

    /// One connection of a peer is gone. A guest has a way for as long as it has one.
    pub(super) fn silenced(&mut self, id: NodeId) {
        let left = self.speaking.get(&id).map_or(0, |open| open.saturating_sub(1));
        if left > 0 {
            self.speaking.insert(id, left);
            return;
        }
        self.speaking.remove(&id);
        if self.is_guest(id)
            && let Some((_, peer)) = self.below.peers.remove(&id)
        {
            peer.do_send(Retire);
            self.tell_peers();
        }
    }

    /// Whether a node is no member, and none that is being parted from.
    fn is_guest(&self, id: NodeId) -> bool {
        self.members.member(id).is_none() && !self.leaving.contains(&id)
    }

    fn tell_peers(&self) {
        let peers = self.below.peers.iter();
        let peers = peers.map(|(id, (_, peer))| (*id, peer.clone().recipient())).collect();
        self.below.log_store.do_send(Peers(peers));
    }

    /// The core's orders about checkpoints and snapshots.
    pub(super) fn compact(&self, effects: &mut Effects) {
        if effects.capture {
            self.below.state_machine.do_send(Capture { purpose: Purpose::Checkpoint });
        }
        if let Some(through) = effects.trim.take() {
            self.below.log_store.do_send(Trim(through));
        }
        if let Some(followers) = effects.snapshots.take() {
            let address = |id: NodeId| {
                let known = self.below.peers.get(&id);
                known.map(|(address, _)| (id, address.clone()))
            };
            let followers = followers.into_iter().filter_map(address).collect();
            self.below.snapshots.do_send(Serve(followers));
        }
        if let Some(verdict) = effects.install.take() {
            self.below.snapshots.do_send(Install(verdict));
        }
    }

    /// Operators' requests that are done.
    pub(super) fn finish(&mut self, done: Vec<Ticket>) {
        let replies = done.into_iter().filter_map(|ticket| match self.tickets.remove(&ticket) {
            Some(Waiting::Write(reply)) => Some(reply),
            Some(Waiting::Reads(_)) | None => None,
        });
        answer_all(replies.collect());
    }

    pub(super) fn answer_checkpoints(&mut self) {
        answer_all(std::mem::take(&mut self.checkpoint_asked));
    }
}

fn answer_all(replies: Vec<Reply>) {
    let mut answers = Answers::default();
    for reply in replies {
        answers.add(reply, Outcome { index: Index(0), result: Ok(Success::Empty) });
    }
    answers.send();
}
