//! Checkpoints, and what a node does with its log and its state because of them. It stands in for the
//! store under StateMachineActor: one write at a time, in order, durable at once or not at all.

use std::time::Duration;

use quorate_core::kv::StateMachine;
use quorate_core::raft::{Input, Install};
use quorate_core::store::LogStore;
use quorate_core::types::{Index, NodeId};

use super::World;
use super::machine::{Storing, Work};
use super::queue::Event;
use crate::coverage::Sometimes;
use crate::facts::Fact;
use crate::plan::{Point, Power};

/// How many bytes of trimmed segments are freed in one step.
const RECLAIMED: u64 = 4_000;

impl World {
    /// The log lets go of what a checkpoint holds. Says whether the node is still there.
    pub(super) fn trim(&mut self, id: NodeId, to: Index) -> bool {
        let now = self.now;
        self.watch.tell(now, &Fact::Trimmed { node: id, to });
        let Some(process) = &mut self.machine_mut(id).process else { return false };
        let before = process.wal.bytes();
        // One step for each trim, so that there is more to be found at most starts.
        if let Err(error) =
            process.wal.trim(to).and_then(|()| process.wal.reclaim(RECLAIMED, false))
        {
            self.disk_failed(id, &error);
            return false;
        }
        let trimmed = process.wal.bytes() < before;
        self.machine_mut(id).trimmed = true;
        if trimmed {
            self.watch.sometimes(Sometimes::SegmentsTrimmed);
        }
        !self.ends_at(id, Point::Trimmed)
    }

    /// The state of now becomes a checkpoint.
    pub(super) fn capture(&mut self, id: NodeId) {
        let Some(process) = &mut self.machine_mut(id).process else { return };
        let state = process.state.point_in_time();
        process.storing.push_back(Storing { state, installs: false });
        self.begin_store(id);
    }

    fn begin_store(&mut self, id: NodeId) {
        let (now, mean) = (self.now, self.plan.upkeep.store_us);
        let machine = self.machine_mut(id);
        let at = now + machine.chance.around(mean);
        let epoch = machine.epoch;
        let Some(process) = &mut machine.process else { return };
        if !process.stores && !process.storing.is_empty() {
            process.stores = true;
            self.queue.push(at, Event::Stored { node: id, epoch });
        }
    }

    /// A checkpoint is written; now it becomes durable.
    pub(super) fn stored(&mut self, id: NodeId, epoch: u64) {
        if !self.runs(id, epoch, || Event::Stored { node: id, epoch }) {
            return;
        }
        if self.ends_at(id, Point::Capturing) {
            return;
        }
        let now = self.now;
        let machine = self.machine_mut(id);
        let Some(process) = &mut machine.process else { return };
        process.stores = false;
        let Some(Storing { state, installs }) = process.storing.pop_front() else { return };
        let position = state.position();
        // One that was begun before a snapshot was installed is older than that.
        let newest = machine.checkpoint.as_ref().map(StateMachine::position);
        if newest.is_none_or(|newest| newest.index < position.index) {
            machine.checkpoint = Some(state.clone());
            self.watch.tell(now, &Fact::Captured { node: id, position });
        }
        self.begin_store(id);
        if installs {
            self.machine_mut(id).trimmed = true;
            if self.ends_at(id, Point::Installed) {
                return;
            }
            return self.hand_to_state(id, Work::Install(Box::new(state)));
        }
        if !self.ends_at(id, Point::Captured) {
            // As after one that took about so long; half as long as a node rests, as more checkpoints
            // meet more of what they could break.
            let rest = Duration::from_micros(self.plan.upkeep.store_us) * 9;
            self.feed(id, Input::Captured { position, rest });
        }
    }

    /// The verdict on a snapshot that came in.
    pub(super) fn judged(&mut self, id: NodeId, install: Install) -> bool {
        let Some(process) = &mut self.machine_mut(id).process else { return false };
        let Some(state) = process.received.take() else {
            self.watch.violated("L4", format!("node {id} judges a snapshot that did not come"));
            return false;
        };
        assert!(state.position() == install.position, "a verdict on another snapshot");
        if !install.accept {
            self.watch.sometimes(Sometimes::SnapshotRefused);
            return true;
        }
        process.installs = true;
        process.storing.push_back(Storing { state, installs: true });
        if self.ends_at(id, Point::Accepted) {
            return false;
        }
        self.begin_store(id);
        true
    }

    /// The state is replaced by that of a snapshot. Who waits for it to be reached is answered.
    pub(super) fn install(&mut self, id: NodeId, state: StateMachine) {
        let now = self.now;
        let (position, hash) = (state.position(), state.hash());
        let machine = self.machine_mut(id);
        let local = machine.clock.at(now);
        let joins = machine.joins;
        let Some(process) = &mut machine.process else { return };
        let first = joins && process.state.applied().0 == 0;
        process.state = state;
        process.pacemaker.applied_clock(local);
        process.installs = false;
        self.watch.tell(now, &Fact::Installed { node: id, position, hash });
        if first {
            self.watch.sometimes(Sometimes::AddedNodeGotASnapshot);
        }
        if self.ends_at(id, Point::Replaced) {
            return;
        }
        self.answer_reads(id);
        self.feed(id, Input::Installed { position });
    }

    /// Whether, without what this node knows, there are enough left who could lead, whichever members
    /// are in effect: more than half have their disks and their state.
    pub(super) fn may_lose(&self, id: NodeId) -> bool {
        self.memberships().iter().all(|members| self.can_go_on(members, Some(id)))
    }

    /// The node ends, and its checkpoint is lost, unless that would leave too few who could lead.
    pub(super) fn lose_checkpoint(&mut self, id: NodeId, down_us: u64) {
        if !self.may_lose(id) || self.machine(id).gone {
            return;
        }
        self.crash(id, Power::Synced, down_us);
        self.machine_mut(id).checkpoint = None;
    }
}
