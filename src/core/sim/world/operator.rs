//! Operators: what they want of the members, and how they go about it. They ask whoever leads, look
//! whether it is so, and ask again.

use std::collections::VecDeque;

use quorate_core::raft::{Input, Status};
use quorate_core::types::{Change, Index, Member, MemberRole, Membership, NodeId};

use super::World;
use super::machine::Waiting;
use super::queue::Event;
use crate::chance::Chance;
use crate::facts::Fact;
use crate::known::is_quorum;
use crate::plan::{Order, Power, Target};

/// What is not so after this long is given up.
const PATIENCE_US: u64 = 4_000_000;

/// What an operator does, one after the other.
#[derive(Clone, Debug)]
enum Step {
    /// Has the members changed.
    Change { wish: Wish, force: bool },
    /// Gives a node that is no member another disk; the old one may go on to speak.
    NewDisk { old_speaks: bool },
    /// Sees to it that a node runs.
    Start,
}

/// What is to be so of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Member {
        standby: bool,
    },
    /// Every learner is a voter.
    Promoted,
    NoVoter,
    NoMember,
    /// Every learner is a voter, and it is no member.
    Swapped,
}

/// What an operator is at.
pub(super) struct Errand {
    node: NodeId,
    steps: VecDeque<Step>,
    until: u64,
    chance: Chance,
}

impl Wish {
    fn holds(self, node: NodeId, members: &Membership) -> bool {
        let role = members.member(node).map(|member| member.role);
        let learners = members.members.iter().any(|member| member.role == MemberRole::Learner);
        match self {
            Wish::Member { .. } => role.is_some(),
            Wish::Promoted => !learners,
            Wish::NoVoter => role != Some(MemberRole::Voter),
            Wish::NoMember => role.is_none(),
            Wish::Swapped => role.is_none() && !learners,
        }
    }

    fn changes(self, node: NodeId, members: &Membership) -> Vec<Change> {
        let learners = members.members.iter().filter(|it| it.role == MemberRole::Learner);
        let learners = learners.map(|it| it.id).filter(|id| *id != node).map(Change::Promote);
        match self {
            Wish::Member { standby } => {
                let role = if standby { MemberRole::Standby } else { MemberRole::Learner };
                let (peer, client, added) = (String::new(), format!("n{node}"), Index(0));
                vec![Change::Add(Member { id: node, peer, client, role, added })]
            }
            Wish::Promoted => learners.collect(),
            Wish::NoVoter => vec![Change::Demote(node)],
            Wish::NoMember => vec![Change::Remove(node)],
            Wish::Swapped => learners.chain([Change::Remove(node)]).collect(),
        }
    }
}

impl World {
    /// An operator sets about something.
    pub(super) fn order(&mut self, order: Order, mut chance: Chance) {
        let Some(node) = self.node_for(order) else { return };
        if self.errands.values().any(|errand| errand.node == node) {
            return;
        }
        let change = |wish, force| Step::Change { wish, force };
        let steps = match order {
            Order::Add { standby, old_disk_speaks, .. } => {
                let used = !self.machine(node).absent && !self.machine(node).fresh;
                let mut steps = vec![change(Wish::Member { standby }, false), Step::Start];
                if chance.percent(50) {
                    steps.reverse();
                }
                if used || self.machine(node).gone {
                    steps.insert(0, Step::NewDisk { old_speaks: old_disk_speaks });
                }
                steps
            }
            Order::Promote { force } => vec![change(Wish::Promoted, force)],
            Order::Demote { .. } => vec![change(Wish::NoVoter, false)],
            Order::Remove { force, .. } => vec![change(Wish::NoMember, force)],
            Order::Replace { .. } => {
                let add = change(Wish::Member { standby: false }, false);
                vec![
                    change(Wish::NoMember, false),
                    Step::NewDisk { old_speaks: false },
                    add,
                    Step::Start,
                ]
            }
            Order::Swap { .. } => vec![change(Wish::Swapped, false)],
        };
        let number = self.next_errand;
        self.next_errand += 1;
        let until = self.now + PATIENCE_US;
        self.errands.insert(number, Errand { node, steps: steps.into(), until, chance });
        self.queue.push(self.now, Event::Errand { number });
    }

    /// Whom an order is about.
    fn node_for(&self, order: Order) -> Option<NodeId> {
        let members = &self.machine(self.leader()?).status()?.membership;
        match order {
            Order::Add { node, .. } => {
                let free = self.ids().into_iter().filter(|id| members.member(*id).is_none());
                let free: Vec<NodeId> = free.collect();
                let place = usize::try_from(node.checked_rem(free.len() as u64)?).ok()?;
                free.get(place).copied()
            }
            Order::Promote { .. } => {
                members.members.iter().find(|it| it.role == MemberRole::Learner).map(|it| it.id)
            }
            Order::Replace { .. } => {
                let lost = members.ids().find(|id| self.machine(*id).gone);
                lost.or_else(|| self.member_for(members, order.target()?))
            }
            Order::Demote { .. } | Order::Remove { .. } | Order::Swap { .. } => {
                self.member_for(members, order.target()?)
            }
        }
    }

    fn member_for(&self, members: &Membership, target: Target) -> Option<NodeId> {
        let id = self.resolve(target);
        members.member(id).map(|member| member.id)
    }

    /// The time to look after an errand has come.
    pub(super) fn errand(&mut self, number: u64) {
        let Some(mut errand) = self.errands.remove(&number) else { return };
        if self.calm || self.now > errand.until {
            return;
        }
        while let Some(step) = errand.steps.front().cloned() {
            if !self.step(&mut errand, &step) {
                break;
            }
            errand.steps.pop_front();
        }
        if !errand.steps.is_empty() {
            let again = self.now + errand.chance.between(20_000, 300_000);
            self.errands.insert(number, errand);
            self.queue.push(again, Event::Errand { number });
        }
    }

    /// Whether it is done.
    fn step(&mut self, errand: &mut Errand, step: &Step) -> bool {
        let node = errand.node;
        match step {
            Step::Change { wish, force } => self.wish(node, *wish, *force),
            Step::NewDisk { old_speaks } => {
                if !self.is_free(node) {
                    errand.until = 0;
                    return false;
                }
                self.new_disk(node, *old_speaks);
                true
            }
            Step::Start => {
                self.bring_up(node);
                true
            }
        }
    }

    /// Whether it is so; else whoever leads is asked.
    fn wish(&mut self, node: NodeId, wish: Wish, force: bool) -> bool {
        let Some(leader) = self.leader() else { return false };
        let Some(Status { membership, membership_committed, .. }) =
            self.machine(leader).status().cloned()
        else {
            return false;
        };
        if membership_committed && !membership.is_joint() && wish.holds(node, &membership) {
            return true;
        }
        let changes = wish.changes(node, &membership);
        let after = membership.changed(&changes, Index(u64::MAX / 2));
        // A group without a quorum is lost for good: nobody may want that, also not by force.
        let fatal = after.is_ok_and(|after| !self.can_go_on(&after, None));
        if changes.is_empty() || fatal {
            return false;
        }
        let now = self.now;
        let Some(process) = &mut self.machine_mut(leader).process else { return false };
        let ticket = process.ticket(Waiting::Change);
        self.watch.tell(now, &Fact::Ordered { node: leader, ticket, changes: true });
        self.feed(leader, Input::ChangeMembers { ticket, changes, force });
        false
    }

    /// Every membership that may be in effect somewhere, or come to be.
    pub(super) fn memberships(&self) -> Vec<Membership> {
        let known = self.watch.known();
        let live = known.nodes.iter().filter(|(id, _)| !self.machine(**id).gone);
        let logs = live.flat_map(|(_, image)| [&image.log, &image.durable_log]);
        let newest = logs.chain([&known.committed]).filter_map(|log| log.membership().cloned());
        let processes = self.machines.values().filter_map(|machine| machine.process.as_ref());
        let newest = newest.chain(processes.map(|process| process.node.status().membership));
        let mut all: Vec<Membership> = Vec::new();
        for membership in newest {
            let done = membership.completed();
            let learners = done.members.iter().filter(|it| it.role == MemberRole::Learner);
            let promotions: Vec<Change> = learners.map(|it| Change::Promote(it.id)).collect();
            // Each by itself, or all of them.
            let promotions = promotions.chunks(1).chain([promotions.as_slice()]);
            let joint = promotions.filter_map(|them| done.changed(them, Index(0)).ok());
            let mut now: Vec<Membership> = joint.collect();
            now.extend([membership, done]);
            for one in now {
                let done = one.completed();
                for one in [one, done] {
                    if !one.members.is_empty() && !all.contains(&one) {
                        all.push(one);
                    }
                }
            }
        }
        all
    }

    /// Whether enough voters of a membership have their disks and their state, also without one, and
    /// also when whoever has not is promoted right after it was heard for the last time.
    pub(super) fn can_go_on(&self, membership: &Membership, without: Option<NodeId>) -> bool {
        let there = |id| {
            let machine = self.machine(id);
            let away = machine.gone || machine.rotten || machine.absent;
            let away = away || machine.lacks_state();
            Some(id) != without && !away
        };
        let learners = membership.members.iter().filter(|it| it.role == MemberRole::Learner);
        let away = learners.map(|it| it.id).filter(|id| !there(*id));
        let away: Vec<Change> = away.map(Change::Promote).collect();
        let promoted = membership.completed().changed(&away, Index(0));
        is_quorum(membership, there) && promoted.is_ok_and(|them| is_quorum(&them, there))
    }

    /// Whether a node is no member, and nobody believes that it is one again.
    fn is_free(&self, id: NodeId) -> bool {
        let known = self.watch.known();
        let at = known.committed.membership_index();
        let is_in = |membership: &Membership| membership.member(id).is_some();
        let newer = known.nodes.values().filter(|image| image.log.membership_index() > at);
        let mut newer = newer.filter_map(|image| image.log.membership());
        !known.committed.membership().is_some_and(is_in) && !newer.any(is_in)
    }

    /// A node gets an empty disk. Its old one may go on to speak under its id.
    fn new_disk(&mut self, id: NodeId, old_speaks: bool) {
        let machine = self.machine_mut(id);
        let old = (machine.incarnation, machine.added().unwrap_or_default());
        machine.old_disk = (old_speaks && !machine.absent).then_some(old);
        if machine.absent {
            machine.gone = false;
            return;
        }
        self.crash(id, Power::Synced, u64::MAX / 4);
        self.machine_mut(id).replace_disk();
        self.watch.tell(self.now, &Fact::Replaced { node: id });
    }

    /// A node that does not run is started.
    fn bring_up(&mut self, id: NodeId) {
        self.machine_mut(id).absent = false;
        self.start(id);
        for other in self.ids().into_iter().filter(|other| *other != id) {
            self.begin_to_dial(id, other);
            self.begin_to_dial(other, id);
        }
    }
}
