//! What goes wrong, when its time comes, and when it is over.

use quorate_core::fs::Fs;
use quorate_core::fs::memory::Faults;
use quorate_core::raft::Input;
use quorate_core::types::NodeId;

use super::World;
use super::machine::{Armed, Waiting};
use super::queue::Event;
use crate::chance::Chance;
use crate::facts::Fact;
use crate::plan::{Fault, Power, Shape, Target};

/// The end of a fault that lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lift {
    /// Directions that are not cut any more.
    Cuts(Vec<(NodeId, NodeId)>),
    /// A direction that is not held any more.
    Clog(NodeId, NodeId),
    /// Loss and duplication, by so many of a hundred each.
    Storm(u64, u64),
    /// A processor is as fast as ever.
    Slow(NodeId),
    /// There is room on a disk again.
    Full(NodeId),
    /// One of the ends of a restart loop.
    Crash(NodeId, Power),
}

impl World {
    /// The leader of the highest term.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let leaders = self.machines.values().filter(|machine| machine.leads());
        leaders.max_by_key(|machine| machine.term()).map(|machine| machine.id)
    }

    pub(super) fn resolve(&self, target: Target) -> NodeId {
        let leader = self.leader().unwrap_or(NodeId(1));
        match target {
            Target::Node(id) => NodeId((id - 1) % self.plan.machines() + 1),
            Target::Leader => leader,
            Target::Follower(place) => {
                let others: Vec<NodeId> =
                    self.ids().into_iter().filter(|id| *id != leader).collect();
                let place = place.checked_rem(others.len() as u64).unwrap_or(0);
                let place = usize::try_from(place).unwrap_or(0);
                others.get(place).copied().unwrap_or(leader)
            }
        }
    }

    /// The fault at that place of the plan.
    pub(super) fn strike(&mut self, place: usize) {
        let Some(timed) = self.plan.faults.get(place).cloned() else { return };
        if self.calm {
            return;
        }
        let role = self.role_of(&timed.fault);
        *self.watch.tally.faults.entry((timed.fault.kind(), role)).or_default() += 1;
        self.watch.mix(timed.id);
        if self.watch.story.is_some() {
            let text = format!("!! fault {}: {:?} (a {role})", timed.id, timed.fault);
            let now = self.now;
            if let Some(story) = &mut self.watch.story {
                story.tell(now, text);
            }
        }
        let mut chance = Chance::stream(self.plan.seed, "fault", timed.id, 0);
        match timed.fault {
            Fault::Crash { .. }
            | Fault::CrashAt { .. }
            | Fault::CrashLoop { .. }
            | Fault::CrashAll { .. }
            | Fault::Pause { .. }
            | Fault::Slow { .. }
            | Fault::LoseCheckpoint { .. }
            | Fault::Checkpoint { .. }
            | Fault::ClockJump { .. }
            | Fault::StepDown { .. }
            | Fault::Transfer { .. } => self.strike_process(&timed.fault, &mut chance),
            Fault::Cut { .. }
            | Fault::Partition { .. }
            | Fault::Usurp { .. }
            | Fault::Reset { .. }
            | Fault::Clog { .. }
            | Fault::Storm { .. }
            | Fault::Replay { .. } => self.strike_network(&timed.fault),
            Fault::Stall { .. }
            | Fault::SyncError { .. }
            | Fault::WriteError { .. }
            | Fault::Full { .. }
            | Fault::Rot { .. }
            | Fault::Wipe { .. } => self.strike_disk(&timed.fault, &mut chance),
            Fault::Members(order) => self.order(order, chance),
            Fault::ClientReset { client } => self.cut_client(client, None),
            Fault::ClientSilence { client, requests_arrive } => {
                self.cut_client(client, Some(requests_arrive));
            }
        }
    }

    /// What the node that is struck is at the time.
    fn role_of(&self, fault: &Fault) -> &'static str {
        let target = match fault {
            Fault::Crash { node, .. }
            | Fault::CrashAt { node, .. }
            | Fault::CrashLoop { node, .. }
            | Fault::Pause { node, .. }
            | Fault::Slow { node, .. }
            | Fault::Stall { node, .. }
            | Fault::SyncError { node, .. }
            | Fault::WriteError { node, .. }
            | Fault::Full { node, .. }
            | Fault::Rot { node }
            | Fault::Wipe { node }
            | Fault::LoseCheckpoint { node, .. }
            | Fault::Checkpoint { node }
            | Fault::ClockJump { node, .. }
            | Fault::Transfer { to: node }
            | Fault::StepDown { node } => *node,
            Fault::Cut { from, .. } | Fault::Clog { from, .. } => *from,
            Fault::Reset { a, .. } => *a,
            Fault::Usurp { .. } => Target::Leader,
            Fault::Members(order) => match order.target() {
                Some(node) => node,
                None => return "cluster",
            },
            Fault::Partition { shape: Shape::Isolated(node) | Shape::Bridge(node), .. } => *node,
            Fault::Partition { shape: Shape::Halves(_) | Shape::Chain | Shape::Ring, .. }
            | Fault::CrashAll { .. }
            | Fault::Storm { .. }
            | Fault::Replay { .. } => return "cluster",
            Fault::ClientReset { .. } | Fault::ClientSilence { .. } => return "client",
        };
        let machine = self.machine(self.resolve(target));
        machine.status().map_or("node that is down", |status| status.role.as_str())
    }

    fn strike_process(&mut self, fault: &Fault, chance: &mut Chance) {
        let now = self.now;
        match *fault {
            Fault::Crash { node, power, down_ms } => {
                let node = self.resolve(node);
                self.crash(node, power, down_ms * 1_000);
            }
            Fault::CrashAt { node, point, power, down_ms } => {
                let node = self.resolve(node);
                self.machine_mut(node).armed = Some(Armed { point, power, down_ms });
            }
            Fault::CrashLoop { node, times, every_ms, power } => {
                let node = self.resolve(node);
                for time in 0..times {
                    let at = now + time * every_ms * 1_000;
                    self.queue.push(at, Event::Lift(Lift::Crash(node, power)));
                }
            }
            Fault::CrashAll { power, down_ms } => {
                for id in self.ids() {
                    let down = down_ms * 1_000 + chance.below(200_000);
                    self.crash(id, power, down);
                }
            }
            Fault::Pause { node, ms } => {
                let node = self.resolve(node);
                let machine = self.machine_mut(node);
                machine.paused_until = machine.paused_until.max(now + ms * 1_000);
            }
            Fault::Slow { node, factor, ms } => {
                let node = self.resolve(node);
                self.machine_mut(node).slow = factor.max(1);
                self.queue.push(now + ms * 1_000, Event::Lift(Lift::Slow(node)));
            }
            Fault::ClockJump { node, ms } => {
                let node = self.resolve(node);
                self.machine_mut(node).clock.jump(ms * 1_000);
            }
            Fault::LoseCheckpoint { node, down_ms } => {
                let node = self.resolve(node);
                self.lose_checkpoint(node, down_ms * 1_000);
            }
            Fault::Checkpoint { node } => {
                let node = self.resolve(node);
                self.feed(node, Input::Checkpoint);
            }
            Fault::Transfer { to } => self.transfer(to),
            Fault::StepDown { node } => {
                let node = self.resolve(node);
                self.feed(node, Input::StepDown);
            }
            _ => {}
        }
    }

    /// The leader is told to hand leadership over.
    fn transfer(&mut self, to: Target) {
        let (now, to) = (self.now, self.resolve(to));
        let Some(id) = self.leader() else { return };
        let Some(process) = &mut self.machine_mut(id).process else { return };
        let ticket = process.ticket(Waiting::Nobody);
        self.watch.tell(now, &Fact::Ordered { node: id, ticket, changes: false });
        let to = (to != id).then_some(to);
        self.feed(id, Input::TransferLeadership { ticket, to });
    }

    fn strike_network(&mut self, fault: &Fault) {
        let now = self.now;
        match *fault {
            Fault::Cut { from, to, ms } => {
                let pair = (self.resolve(from), self.resolve(to));
                self.cut(vec![pair], Some(ms));
            }
            Fault::Partition { shape, ms } => {
                let pairs = self.pairs(shape);
                self.cut(pairs, Some(ms));
            }
            Fault::Usurp { ms } => {
                let leader = self.resolve(Target::Leader);
                for other in self.ids().into_iter().filter(|other| *other != leader) {
                    self.break_link(leader, other);
                    self.break_link(other, leader);
                }
                let pairs = self.pairs(Shape::Isolated(Target::Node(leader.0)));
                self.cut(pairs, Some(ms));
            }
            Fault::Reset { a, b } => {
                let (a, b) = (self.resolve(a), self.resolve(b));
                self.break_link(a, b);
                self.break_link(b, a);
            }
            Fault::Clog { from, to, ms } => {
                let (from, to) = (self.resolve(from), self.resolve(to));
                if let Some(link) = self.network.link(from, to) {
                    link.clogs += 1;
                    self.queue.push(now + ms * 1_000, Event::Lift(Lift::Clog(from, to)));
                }
            }
            Fault::Storm { loss_percent, duplicate_percent, ms } => {
                self.network.storm.0 += loss_percent;
                self.network.storm.1 += duplicate_percent;
                let lift = Lift::Storm(loss_percent, duplicate_percent);
                self.queue.push(now + ms * 1_000, Event::Lift(lift));
            }
            Fault::Replay { messages } => self.replay(messages),
            _ => {}
        }
    }

    /// Cuts directions, for so long or until all heals.
    pub(super) fn cut(&mut self, mut pairs: Vec<(NodeId, NodeId)>, ms: Option<u64>) {
        pairs.retain(|(from, to)| match self.network.link(*from, *to) {
            Some(link) => {
                link.cuts += 1;
                true
            }
            None => false,
        });
        if let Some(ms) = ms {
            self.queue.push(self.now + ms * 1_000, Event::Lift(Lift::Cuts(pairs)));
        }
    }

    /// The directions that a partition cuts.
    fn pairs(&self, shape: Shape) -> Vec<(NodeId, NodeId)> {
        let nodes = self.plan.machines();
        let middle = match shape {
            Shape::Isolated(target) | Shape::Bridge(target) => Some(self.resolve(target)),
            Shape::Halves(_) | Shape::Chain | Shape::Ring => None,
        };
        let reaches = |a: NodeId, b: NodeId| match shape {
            Shape::Isolated(_) => Some(a) != middle && Some(b) != middle,
            Shape::Halves(bits) => (bits >> (a.0 - 1)) & 1 == (bits >> (b.0 - 1)) & 1,
            Shape::Bridge(_) => Some(a) == middle || Some(b) == middle || a.0 % 2 == b.0 % 2,
            Shape::Chain => a.0.abs_diff(b.0) == 1,
            Shape::Ring => a.0.abs_diff(b.0) == 1 || a.0.abs_diff(b.0) == nodes - 1,
        };
        let ids = self.ids();
        let all = ids.iter().flat_map(|a| ids.iter().map(|b| (*a, *b)));
        all.filter(|(a, b)| a != b && !reaches(*a, *b)).collect()
    }

    fn strike_disk(&mut self, fault: &Fault, chance: &mut Chance) {
        let now = self.now;
        let knobs = self.plan.knobs.clone();
        match *fault {
            Fault::Stall { node, ms } => {
                let node = self.resolve(node);
                self.machine_mut(node).stalled_until = now + ms * 1_000;
            }
            Fault::SyncError { node, down_ms, power } => {
                let node = self.resolve(node);
                let machine = self.machine_mut(node);
                machine.down_us = down_ms * 1_000;
                machine.power_goes = power.then_some(Power::Synced);
                machine.set_disk_faults(&knobs, Faults { sync_error_in: 1, ..Faults::default() });
            }
            Fault::WriteError { node, down_ms } => {
                let node = self.resolve(node);
                let machine = self.machine_mut(node);
                machine.down_us = down_ms * 1_000;
                let write_error_in = chance.between(1, 3);
                machine.set_disk_faults(&knobs, Faults { write_error_in, ..Faults::default() });
            }
            Fault::Full { node, bytes, ms } => {
                let node = self.resolve(node);
                let machine = self.machine_mut(node);
                machine.full = true;
                let space_left = Some(bytes);
                machine.set_disk_faults(&knobs, Faults { space_left, ..Faults::default() });
                self.queue.push(now + ms * 1_000, Event::Lift(Lift::Full(node)));
            }
            Fault::Rot { node } => {
                let node = self.resolve(node);
                if self.may_lose(node) {
                    self.rot(node, chance);
                }
            }
            Fault::Wipe { node } => {
                let node = self.resolve(node);
                if self.may_lose(node) {
                    self.lose_for_good(node);
                }
            }
            _ => {}
        }
    }

    /// A byte of what was synced changes while the node is down. It must notice at its start.
    fn rot(&mut self, id: NodeId, chance: &mut Chance) {
        if !self.machine(id).is_up() {
            return self.lose_for_good(id);
        }
        self.crash(id, Power::Synced, 50_000);
        let machine = self.machine_mut(id);
        let names = machine.fs.list("log").unwrap_or_default();
        let files: Vec<(String, usize)> = names
            .into_iter()
            .map(|name| format!("log/{name}"))
            .map(|path| (path.clone(), machine.fs.contents(&path).unwrap_or_default()))
            // Behind the last record there is nothing to damage.
            .map(|(path, bytes)| (path, bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0)))
            .filter(|(_, used)| *used > 0)
            .collect();
        let place = usize::try_from(chance.below(files.len() as u64)).unwrap_or(0);
        let Some((path, used)) = files.get(place) else { return };
        // The very last batch may be unvouched for; damage to it is taken for a torn tail.
        let offset = usize::try_from(chance.below(*used as u64 / 2)).unwrap_or(0);
        let mask = 1 << chance.below(8);
        machine.rotten = machine.fs.flip(path, offset, mask);
    }

    /// A fault is over.
    pub(super) fn lift(&mut self, lift: Lift) {
        if self.calm {
            return;
        }
        match lift {
            Lift::Cuts(pairs) => {
                for (from, to) in pairs {
                    if let Some(link) = self.network.link(from, to) {
                        link.cuts = link.cuts.saturating_sub(1);
                    }
                    self.release_link(from, to);
                }
            }
            Lift::Clog(from, to) => {
                if let Some(link) = self.network.link(from, to) {
                    link.clogs = link.clogs.saturating_sub(1);
                }
                self.release_link(from, to);
            }
            Lift::Storm(loss, double) => {
                let storm = &mut self.network.storm;
                *storm = (storm.0.saturating_sub(loss), storm.1.saturating_sub(double));
            }
            Lift::Slow(node) => self.machine_mut(node).slow = 1,
            Lift::Full(node) => self.free_disk(node),
            Lift::Crash(node, power) => self.crash(node, power, 1_000),
        }
    }

    pub(super) fn free_disk(&mut self, id: NodeId) {
        let knobs = self.plan.knobs.clone();
        let machine = self.machine_mut(id);
        if std::mem::take(&mut machine.full) {
            machine.set_disk_faults(&knobs, Faults::default());
        }
    }
}
