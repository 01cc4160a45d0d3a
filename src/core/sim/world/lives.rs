//! Starts and ends of processes, and what the disk keeps of them.

use quorate_core::fs::memory::Faults;
use quorate_core::raft::Input;
use quorate_core::store::StoreError;
use quorate_core::types::NodeId;

use super::World;
use super::machine::Started;
use super::queue::Event;
use crate::coverage::Sometimes;
use crate::facts::Fact;
use crate::plan::{Point, Power};

impl World {
    /// The node's process starts from its disk.
    pub(super) fn start(&mut self, id: NodeId) {
        let now = self.now;
        let machine = self.machine(id);
        if machine.is_up() || machine.gone || machine.absent || self.stays_retired(id) {
            return;
        }
        let Self { plan, machines, watch, .. } = self;
        let machine = machines.get_mut(&id).expect("only nodes that are there are named");
        if let Some(power) = machine.power_goes.take() {
            machine.lose_power(power, &plan.knobs);
        }
        let first = machine.epoch == 0;
        let (process, started) = match machine.boot(plan, now) {
            Ok(started) => started,
            Err(error) => return self.start_failed(id, &error),
        };
        // Damage that nothing depends on, such as to the header of a segment that is still empty,
        // is made good. What was found must be what was synced, as at every start (I17).
        machine.rotten = false;
        let (bytes, epoch) = (quorate_core::store::LogStore::bytes(&process.wal), machine.epoch);
        machine.process = Some(process);
        machine.paused_until = 0;
        if started.recovered.torn.is_some() {
            watch.sometimes(Sometimes::TornTailCut);
        }
        if bytes > plan.knobs.segment_bytes + plan.knobs.preallocate_bytes {
            watch.sometimes(Sometimes::SegmentsRecovered);
        }
        let durable = watch.known().nodes.get(&id).map(|node| node.durable_log.last());
        let Started { recovered, state, raised, reset } = started;
        let last = recovered.entries.last().map(quorate_core::types::Entry::position);
        if !first && durable.zip(last).is_some_and(|(durable, last)| last > durable) {
            watch.sometimes(Sometimes::UnsyncedSurvived);
        }
        watch.tally.starts += 1;
        let (hard_state, log) = (recovered.hard_state, recovered.entries.as_slice());
        let base = recovered.base;
        watch.tell(now, &Fact::Started { node: id, hard_state, raised, base, log, state, reset });
        for (hit, what) in [
            (state.index.0 > 0, Sometimes::StartedFromACheckpoint),
            (reset.is_some(), Sometimes::StartedBehindItsLog),
            (state.index < base.index, Sometimes::StartedWithoutState),
        ] {
            if hit {
                watch.sometimes(what);
            }
        }
        if self.ends_at(id, Point::Started) {
            return;
        }
        let tick_us = self.plan.knobs.tick_ms * 1_000;
        let stagger = self.machine_mut(id).chance.below(tick_us);
        self.queue.push(now + stagger, Event::Tick { node: id, epoch });
        if !first {
            for other in self.ids().into_iter().filter(|other| *other != id) {
                self.break_link(id, other);
                self.break_link(other, id);
            }
        }
    }

    fn start_failed(&mut self, id: NodeId, error: &StoreError) {
        let now = self.now;
        let machine = self.machine_mut(id);
        let rotten = std::mem::take(&mut machine.rotten);
        match error {
            StoreError::Damaged { .. } if rotten => {
                machine.gone = true;
                self.watch.sometimes(Sometimes::DamageNoticed);
                self.watch.tell(now, &Fact::Stopped { node: id, for_good: true });
            }
            StoreError::Io { .. } => {
                let again = now + machine.chance.between(20_000, 300_000);
                self.queue.push(again, Event::Start { node: id });
            }
            StoreError::Damaged { .. } | StoreError::Foreign { .. } => {
                self.watch.violated("I17", format!("node {id} does not start: {error}"));
            }
        }
    }

    /// Whether an armed crash strikes here.
    pub(super) fn ends_at(&mut self, id: NodeId, point: Point) -> bool {
        let Some(armed) = self.machine(id).armed.filter(|armed| armed.point == point) else {
            return false;
        };
        self.machine_mut(id).armed = None;
        self.watch.sometimes(match point {
            Point::Drained => Sometimes::EndedDrained,
            Point::BetweenMessages => Sometimes::EndedBetweenMessages,
            Point::Handed => Sometimes::EndedHanded,
            Point::InSync => Sometimes::EndedInSync,
            Point::Synced => Sometimes::EndedSynced,
            Point::BetweenPromises => Sometimes::EndedBetweenPromises,
            Point::Promised => Sometimes::EndedPromised,
            Point::BetweenApplies => Sometimes::EndedBetweenApplies,
            Point::Applied => Sometimes::EndedApplied,
            Point::Started => Sometimes::EndedStarted,
            Point::Capturing => Sometimes::EndedCapturing,
            Point::Captured => Sometimes::EndedCaptured,
            Point::Accepted => Sometimes::EndedAccepted,
            Point::Installed => Sometimes::EndedInstalled,
            Point::Replaced => Sometimes::EndedReplaced,
            Point::Trimmed => Sometimes::EndedTrimmed,
        });
        self.crash(id, armed.power, armed.down_ms * 1_000);
        true
    }

    /// The node's process ends, and starts again after so long.
    pub(super) fn crash(&mut self, id: NodeId, power: Power, down_us: u64) {
        let now = self.now;
        if !self.machine(id).is_up() {
            return;
        }
        self.leave_half_written(id);
        let machine = self.machines.get_mut(&id).expect("only nodes that are there are named");
        machine.process = None;
        machine.lose_power(power, &self.plan.knobs);
        if self.watch.known().nodes.get(&id).is_some_and(|node| !node.waiting.is_empty()) {
            self.watch.sometimes(Sometimes::UnsyncedLost);
        }
        self.watch.tell(now, &Fact::Stopped { node: id, for_good: false });
        self.queue.push(now + down_us.max(1), Event::Start { node: id });
        let noticed = power == Power::Process;
        self.close_connections(id, noticed);
        if noticed {
            for other in self.ids().into_iter().filter(|other| *other != id) {
                self.break_link(id, other);
                self.break_link(other, id);
            }
        }
    }

    /// Of the write and sync that were going on, some had been done.
    fn leave_half_written(&mut self, id: NodeId) {
        let machine = self.machines.get_mut(&id).expect("only nodes that are there are named");
        let (half, at) = (machine.chance.percent(60), machine.chance.between(1, 3));
        let knobs = &self.plan.knobs;
        if !half || machine.process.as_ref().is_none_or(|process| process.syncing.is_empty()) {
            return;
        }
        machine.set_disk_faults(knobs, Faults { ends_in_sync: at, ..Faults::default() });
        if let Some(process) = &mut machine.process {
            drop(process.write());
        }
    }

    /// The disk failed: the process ends (rule 12), and is started again later.
    pub(super) fn disk_failed(&mut self, id: NodeId, error: &StoreError) {
        let StoreError::Io { action, full, .. } = error else {
            return self.watch.violated("I17", format!("node {id}: {error}"));
        };
        self.watch.sometimes(match (*action, *full) {
            (_, true) => Sometimes::FullDiskEnded,
            ("sync", _) => Sometimes::SyncErrorEnded,
            _ => Sometimes::WriteErrorEnded,
        });
        let machine = self.machine_mut(id);
        let down = machine.down_us.max(machine.chance.between(1_000, 300_000));
        machine.down_us = 0;
        if let Some(process) = &mut machine.process {
            process.syncing.clear();
        }
        self.crash(id, Power::Process, down);
    }

    /// The end of a peer's connection is noticed.
    pub(super) fn silence(&mut self, id: NodeId, epoch: u64, peer: NodeId) {
        if self.machine(id).epoch == epoch {
            self.feed(id, Input::Silenced { peer });
        }
    }

    /// Someone's disk is lost for good.
    pub(super) fn lose_for_good(&mut self, id: NodeId) {
        self.crash(id, Power::Synced, 1);
        let now = self.now;
        let machine = self.machine_mut(id);
        if !machine.gone {
            machine.gone = true;
            self.watch.tell(now, &Fact::Stopped { node: id, for_good: true });
        }
    }
}
