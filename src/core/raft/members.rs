//! Changing the members while the group serves: joint consensus (Raft §6), learners, and the
//! rules that keep one change apart from the next (rule 11).

use super::config::Config;
use super::effects::{Note, Refusal, StepDownReason};
use super::node::{Node, Role};
use super::progress::Progress;
use crate::types::{
    Change, ChangeRefusal, Index, MemberRole, Membership, Moment, NodeId, Payload, Ticket,
};

impl Node {
    /// An operator's change. Its ticket ends when the change is complete, or here.
    pub(super) fn change_members(
        &mut self,
        now: Moment,
        ticket: Ticket,
        changes: &[Change],
        force: bool,
    ) {
        match self.judge_change(now, changes, force) {
            Ok(membership) => self.append_membership(now, membership, Some(ticket)),
            Err(refusal) => self.out.refused.push((ticket, refusal)),
        }
    }

    fn judge_change(
        &self,
        now: Moment,
        changes: &[Change],
        force: bool,
    ) -> Result<Membership, Refusal> {
        let Role::Leader(leader) = &self.role else {
            return Err(self.leader.map_or(Refusal::NoLeader, Refusal::NotLeader));
        };
        if let Some(transfer) = &leader.transfer {
            return Err(Refusal::Transferring(transfer.to));
        }
        if self.commit < leader.term_start && !mutant!(ChangeBeforeTheNoop) {
            return Err(Refusal::Change(ChangeRefusal::NotSettled));
        }
        let leaves = !self.membership.votes(self.config.id);
        if leaves || self.change_under_way() && !mutant!(ChangesOverlap) {
            return Err(Refusal::Change(ChangeRefusal::UnderWay));
        }
        let index = self.log.last().index.next();
        let new = self.membership.changed(changes, index).map_err(Refusal::Change)?;
        for change in changes {
            // It holds nothing that it was added with yet, and as a voter would have to; nor by force.
            if let Change::Promote(id) = change
                && let Some(member) = self.membership.member(*id)
                && self.progress_of(*id).is_some_and(|progress| progress.match_index < member.added)
            {
                return Err(Refusal::Change(ChangeRefusal::NotCaughtUp(*id)));
            }
        }
        if !force && new.is_joint() {
            self.judge_reach(now, &new, changes).map_err(Refusal::Change)?;
        }
        Ok(new)
    }

    /// Whether the newest membership is not committed, or joint: then no other may follow.
    pub(super) fn change_under_way(&self) -> bool {
        self.membership.is_joint() || self.log.membership_index() > self.commit
    }

    /// A change must not stop the group: who becomes a voter has caught up, and a quorum of the
    /// new voters is there.
    fn judge_reach(
        &self,
        now: Moment,
        new: &Membership,
        changes: &[Change],
    ) -> Result<(), ChangeRefusal> {
        let enough = self.caught_up_from();
        let timeout = self.config.election_timeout;
        let own = self.config.id;
        let heard =
            |progress: &Progress| progress.connected && now.since(progress.last_contact) < timeout;
        for change in changes {
            let ready = |progress: &Progress| heard(progress) && caught_up(progress, enough);
            if let Change::Promote(id) = change
                && !self.progress_of(*id).is_some_and(ready)
            {
                return Err(ChangeRefusal::NotCaughtUp(*id));
            }
        }
        let reachable = |id: NodeId| id == own || self.progress_of(id).is_some_and(heard);
        if new.completed().reached(|id| u8::from(reachable(id))) == 0 {
            return Err(ChangeRefusal::WouldLoseQuorum);
        }
        Ok(())
    }

    /// Who holds everything up to here is caught up: the end of the log but for some entries, or,
    /// where many come in, for those of the last moment (dissertation §4.2.1).
    fn caught_up_from(&self) -> Index {
        let last = self.log.last().index;
        let few = Index(last.0.saturating_sub(Config::CAUGHT_UP));
        match &self.role {
            Role::Leader(leader) => few.min(leader.ends[0]),
            Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) => few,
        }
    }

    fn progress_of(&self, id: NodeId) -> Option<&Progress> {
        match &self.role {
            Role::Leader(leader) => leader.progress.get(&id),
            Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }

    /// Appends a membership, which is in effect from here on.
    fn append_membership(&mut self, now: Moment, new: Membership, ticket: Option<Ticket>) {
        let joint = new.is_joint();
        let entry = self.append_own(Payload::Membership(new));
        self.adopt_membership();
        self.reconcile_progress(now);
        let Role::Leader(leader) = &mut self.role else { return };
        leader.uncommitted_bytes += entry.weight();
        match ticket {
            Some(ticket) if joint => leader.change = Some(ticket),
            Some(ticket) => leader.waiting.push_back((entry.index, ticket)),
            None => {}
        }
        // With fewer voters, what waits may be on a quorum already (B10.9).
        self.advance_commit();
    }

    /// Takes the newest membership of the log into effect (rule 11, C-44).
    pub(super) fn adopt_membership(&mut self) {
        let newest = self.log.membership();
        let early = mutant!(MembershipTakesEffectOnCommit);
        if newest == self.membership || early && self.log.membership_index() > self.commit {
            return;
        }
        let voters: Vec<NodeId> = newest.voters().collect();
        let others = newest.ids().filter(|id| !voters.contains(id)).collect();
        let (index, joint) = (self.log.membership_index(), newest.is_joint());
        self.note(Note::Members { index, voters, others, joint });
        self.out.membership = Some(newest.clone());
        self.membership = newest;
    }

    /// A leader keeps a progress for each other member, and for nobody else.
    fn reconcile_progress(&mut self, now: Moment) {
        let last = self.log.last().index;
        let own = self.config.id;
        let ids: Vec<NodeId> = self.membership.ids().filter(|id| *id != own).collect();
        let Role::Leader(leader) = &mut self.role else { return };
        leader.progress.retain(|id, _| ids.contains(id) || mutant!(ProgressOutlivesItsIncarnation));
        for id in ids {
            let connected = self.connected.get(&id).copied().unwrap_or(true);
            leader.progress.entry(id).or_insert_with(|| Progress::new(last, now, connected));
        }
    }

    /// A leader's part of the drain: completes what is joint and committed, promotes who has
    /// caught up, and goes when it is no voter any more.
    pub(super) fn lead_members(&mut self, now: Moment) {
        let uncommitted = self.log.membership_index() > self.commit;
        if uncommitted && !(self.membership.is_joint() && mutant!(JointIsLeftUncommitted)) {
            return;
        }
        if self.membership.is_joint() {
            let done = self.membership.completed();
            let Role::Leader(leader) = &mut self.role else { return };
            let ticket = leader.change.take();
            self.append_membership(now, done, ticket);
        } else if !self.membership.votes(self.config.id) && !mutant!(RemovedLeaderStays) {
            // Who waits on this leadership is answered first. Nothing was taken since the removal
            // was appended, so that comes.
            if self.applying.handed >= self.commit || mutant!(RemovedLeaderForgetsWhoWaits) {
                self.leave(now);
            }
        } else if self.config.promote_learners {
            self.promote(now);
        }
    }

    /// It was removed, and that is committed: the best of the others is asked to take over, so
    /// that nobody waits for a timeout (Raft §6, third problem; dissertation §4.2.2).
    fn leave(&mut self, now: Moment) {
        if let Some(to) = self.best_successor() {
            self.send(to, super::message::Message::TimeoutNow { term: self.term() });
        }
        self.beat(now);
        self.step_down(now, StepDownReason::Removed);
    }

    fn promote(&mut self, now: Moment) {
        let learners = self.membership.members.iter().filter(|m| m.role == MemberRole::Learner);
        let learners: Vec<NodeId> = learners.map(|member| member.id).collect();
        if learners.is_empty() {
            return;
        }
        let enough = self.caught_up_from();
        let (timeout, patience) = (self.config.election_timeout, self.config.promote_after);
        let Role::Leader(leader) = &mut self.role else { return };
        let mut ready = Vec::new();
        for id in learners {
            let Some(progress) = leader.progress.get_mut(&id) else { continue };
            let there = progress.connected && now.since(progress.last_contact) < timeout;
            if !there || !caught_up(progress, enough) {
                progress.caught_up = None;
            } else if now.since(*progress.caught_up.get_or_insert(now)) >= patience {
                ready.push(Change::Promote(id));
            }
        }
        if !ready.is_empty()
            && let Ok(new) = self.judge_change(now, &ready, false)
        {
            self.append_membership(now, new, None);
        }
    }

    /// The voter that lacks least, of those that are there.
    pub(super) fn best_successor(&self) -> Option<NodeId> {
        let Role::Leader(leader) = &self.role else { return None };
        let candidates = leader.progress.iter().filter(|(id, progress)| {
            progress.connected
                && !progress.needs_snapshot()
                && self.membership.voters().any(|voter| voter == **id)
        });
        let best =
            candidates.max_by_key(|(_, progress)| (progress.match_index, progress.last_contact));
        best.map(|(id, _)| *id)
    }
}

/// It holds everything up to `enough`; and it has said so: a short log is no proof.
fn caught_up(progress: &Progress, enough: Index) -> bool {
    !progress.needs_snapshot() && progress.match_index > Index(0) && progress.match_index >= enough
}
