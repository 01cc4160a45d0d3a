//! A node's effects, carried out in the order that the core asks for. It stands in for
//! RaftActor, LogStoreActor and StateMachineActor, and may end the node between any two steps.

use quorate_core::raft::{Apply, Effects, Input, Persist, RoleKind};
use quorate_core::store::LogStore;
use quorate_core::types::{Index, NodeId, Ticket};
use quorate_core::wire::client::{ErrorCode, Failure, OpResult};

use super::World;
use super::machine::{Process, Waiting, Work};
use super::queue::Event;
use crate::coverage::Sometimes;
use crate::facts::Fact;
use crate::plan::Point;

impl World {
    /// A fact for a node that is up; it drains soon, with all that arrives until then.
    pub(super) fn feed(&mut self, id: NodeId, input: Input) {
        let (now, drain_us) = (self.now, self.plan.knobs.drain_us);
        let machine = self.machine_mut(id);
        let local = machine.clock.at(now);
        let at = (now + drain_us * machine.slow).max(machine.paused_until);
        let epoch = machine.epoch;
        let Some(process) = &mut machine.process else { return };
        process.node.step(local, input);
        if !process.dirty {
            process.dirty = true;
            self.queue.push(at, Event::Drain { node: id, epoch });
        }
    }

    /// Whether that start of the node runs now; an event for a paused node comes again later.
    pub(super) fn runs(&mut self, id: NodeId, epoch: u64, again: impl FnOnce() -> Event) -> bool {
        let machine = self.machine(id);
        machine.epoch == epoch && machine.is_up() && !self.requeue_if_paused(id, again)
    }

    pub(super) fn requeue_if_paused(&mut self, id: NodeId, again: impl FnOnce() -> Event) -> bool {
        let until = self.machine(id).paused_until;
        let paused = until > self.now && self.machine(id).is_up();
        if paused {
            self.queue.push(until, again());
        }
        paused
    }

    pub(super) fn tick(&mut self, id: NodeId, epoch: u64) {
        if !self.runs(id, epoch, || Event::Tick { node: id, epoch }) {
            return;
        }
        let next = self.now + self.plan.knobs.tick_ms * 1_000;
        self.queue.push(next, Event::Tick { node: id, epoch });
        if !self.silent {
            self.propose_clock(id);
        }
        let now = self.now;
        let machine = self.machine_mut(id);
        let local = machine.clock.at(now);
        let Some(process) = &mut machine.process else { return };
        process.node.step(local, Input::Tick);
        if !process.dirty {
            self.act(id, true);
        }
    }

    /// A leader advances the cluster's clock while there are sessions to expire.
    fn propose_clock(&mut self, id: NodeId) {
        let now = self.now;
        let machine = self.machine_mut(id);
        let (local, leads) = (machine.clock.at(now), machine.leads());
        let Some(process) = &mut machine.process else { return };
        let sessions = usize::try_from(process.state.summary().sessions).unwrap_or(usize::MAX);
        if let Some(command) = process.pacemaker.due(local, leads, sessions) {
            let ticket = process.ticket(Waiting::Nobody);
            let asked = Fact::Asked { node: id, ticket, command: Some(&command), lease: None };
            self.watch.tell(now, &asked);
            self.feed(id, Input::Propose(vec![(ticket, command)]));
        }
    }

    pub(super) fn drain(&mut self, id: NodeId, epoch: u64) {
        if self.runs(id, epoch, || Event::Drain { node: id, epoch }) {
            self.act(id, false);
        }
    }

    /// Drains, and does what comes of it. A look at the deadlines that gives nothing is not
    /// worth a word.
    fn act(&mut self, id: NodeId, only_deadlines: bool) {
        let now = self.now;
        let machine = self.machine_mut(id);
        let local = machine.clock.at(now);
        let Some(process) = &mut machine.process else { return };
        process.dirty = false;
        let leased = std::mem::take(&mut process.leased);
        let effects = process.node.drain(local);
        if only_deadlines && effects.is_empty() {
            return;
        }
        self.cover_leases(id, &leased, &effects.reads);
        if self.ends_at(id, Point::Drained) || !self.carry_out(id, effects) {
            return;
        }
        let Some(process) = &mut self.machine_mut(id).process else { return };
        process.status = process.node.status();
        let status = process.status.clone();
        self.watch.tell(now, &Fact::Drained { node: id, now: local, status: &status });
    }

    /// Whoever is allowed a read at once, by a leader that is not alone, is so under a lease.
    fn cover_leases(&mut self, id: NodeId, leased: &[Ticket], reads: &[(Ticket, Index)]) {
        let Some(status) = self.machine(id).status() else { return };
        if status.role != RoleKind::Leader || status.followers.is_empty() {
            return;
        }
        for ticket in leased {
            let held = reads.iter().any(|(allowed, _)| allowed == ticket);
            let what = if held { Sometimes::LeaseRead } else { Sometimes::LeaseNotHeld };
            self.watch.sometimes(what);
        }
    }

    /// Says whether the node is still there.
    fn carry_out(&mut self, id: NodeId, effects: Effects) -> bool {
        let Effects { messages, persist, apply, reads, refused, notes, .. } = effects;
        let Effects { done, capture, trim, snapshots, install, membership, .. } = effects;
        if let Some(membership) = &membership {
            self.watch.tell(self.now, &Fact::Members { node: id, membership });
        }
        for note in &notes {
            self.watch.note(self.now, id, note);
        }
        let half = messages.len() / 2;
        for (place, (to, message)) in messages.into_iter().enumerate() {
            if place == half && place > 0 && self.ends_at(id, Point::BetweenMessages) {
                return false;
            }
            self.send(id, to, message);
        }
        if let Some(persist) = persist {
            self.watch.tell(self.now, &Fact::Staged { node: id, persist: &persist });
            if let Some(process) = &mut self.machine_mut(id).process {
                process.handed.push_back(persist);
            }
            if self.ends_at(id, Point::Handed) {
                return false;
            }
            self.begin_sync(id);
        }
        if let Some(apply) = apply {
            self.hand_to_state(id, Work::Apply(apply));
        }
        for (ticket, index) in reads {
            self.watch.tell(self.now, &Fact::Released { node: id, ticket, index });
            self.read_at(id, ticket, index);
        }
        for (ticket, why) in refused {
            self.watch.tell(self.now, &Fact::Refused { node: id, ticket, why });
            self.refuse(id, ticket, why);
        }
        for ticket in done {
            self.watch.tell(self.now, &Fact::Done { node: id, ticket });
            if let Some(process) = &mut self.machine_mut(id).process {
                process.tickets.remove(&ticket);
            }
        }
        if capture {
            self.hand_to_state(id, Work::Capture);
        }
        if trim.is_some_and(|to| !self.trim(id, to)) {
            return false;
        }
        if let (Some(targets), Some(process)) = (snapshots, &mut self.machine_mut(id).process) {
            process.targets = targets;
        }
        if install.is_some_and(|install| !self.judged(id, install)) {
            return false;
        }
        self.send_snapshots(id);
        true
    }

    // ---- the log ----

    fn begin_sync(&mut self, id: NodeId) {
        let (now, disks) = (self.now, self.plan.disks.clone());
        let machine = self.machine_mut(id);
        let slow = machine.chance.millionths(disks.slow_millionths);
        let takes = disks.sync_us + machine.chance.around(disks.jitter_us);
        let takes = if slow { takes * 100 } else { takes };
        let at = (now + takes).max(machine.stalled_until);
        let epoch = machine.epoch;
        let Some(process) = &mut machine.process else { return };
        if process.syncing.is_empty() && !process.handed.is_empty() {
            process.syncing = process.handed.drain(..).collect();
            self.queue.push(at, Event::Sync { node: id, epoch });
        }
    }

    pub(super) fn sync(&mut self, id: NodeId, epoch: u64) {
        if !self.runs(id, epoch, || Event::Sync { node: id, epoch }) {
            return;
        }
        let until = self.machine(id).stalled_until;
        if until > self.now {
            return self.queue.push(until, Event::Sync { node: id, epoch });
        }
        if self.ends_at(id, Point::InSync) {
            return;
        }
        let Some(process) = &mut self.machine_mut(id).process else { return };
        let written = process.write();
        if let Err(error) = written {
            return self.disk_failed(id, &error);
        }
        let batch = std::mem::take(&mut process.syncing);
        self.promise(id, batch);
    }

    /// It is durable: what waited for that leaves, then the core hears of it.
    fn promise(&mut self, id: NodeId, batch: Vec<Persist>) {
        for persist in &batch {
            self.watch.tell(self.now, &Fact::Durable { node: id, persist });
        }
        if self.ends_at(id, Point::Synced) {
            return;
        }
        let seq = batch.last().map_or(0, |persist| persist.seq);
        let promises: Vec<_> = batch.into_iter().flat_map(|persist| persist.then).collect();
        let half = promises.len() / 2;
        for (place, (to, message)) in promises.into_iter().enumerate() {
            if place == half && place > 0 && self.ends_at(id, Point::BetweenPromises) {
                return;
            }
            self.send(id, to, message);
        }
        if self.ends_at(id, Point::Promised) {
            return;
        }
        self.feed(id, Input::Persisted { seq });
        self.begin_sync(id);
    }

    // ---- the state ----

    pub(super) fn hand_to_state(&mut self, id: NodeId, work: Work) {
        let (now, apply_us) = (self.now, self.plan.knobs.apply_us);
        let machine = self.machine_mut(id);
        let (at, epoch) = (now + apply_us * machine.slow, machine.epoch);
        let Some(process) = &mut machine.process else { return };
        process.work.push_back(work);
        if process.work.len() == 1 {
            self.queue.push(at, Event::Apply { node: id, epoch });
        }
    }

    /// The state machine gets to the next thing that it is to do.
    pub(super) fn work(&mut self, id: NodeId, epoch: u64) {
        if !self.runs(id, epoch, || Event::Apply { node: id, epoch }) {
            return;
        }
        let (now, apply_us) = (self.now, self.plan.knobs.apply_us);
        let machine = self.machine_mut(id);
        let at = now + apply_us * machine.slow;
        let Some(process) = &mut machine.process else { return };
        let work = process.work.pop_front();
        if !process.work.is_empty() {
            self.queue.push(at, Event::Apply { node: id, epoch });
        }
        match work {
            Some(Work::Apply(apply)) => self.apply(id, apply),
            Some(Work::Capture) => self.capture(id),
            Some(Work::Install(state)) => self.install(id, *state),
            None => {}
        }
    }

    fn apply(&mut self, id: NodeId, apply: Apply) {
        let Apply { entries, waiting } = apply;
        let Some(process) = &mut self.machine_mut(id).process else { return };
        let clock = process.state.summary().clock_ms;
        let mut waiting = waiting.into_iter().peekable();
        let mut answers: Vec<(Ticket, Index, OpResult)> = Vec::new();
        let half = entries.len() / 2;
        for (place, entry) in entries.iter().enumerate() {
            if place == half && place > 0 && self.ends_at(id, Point::BetweenApplies) {
                return;
            }
            let Some(process) = &mut self.machine_mut(id).process else { return };
            let result = process.state.apply(entry);
            let hash = process.state.hash();
            let waiter = waiting.next_if(|(index, _)| *index <= entry.index);
            let ticket = waiter.map(|(_, ticket)| ticket);
            let result_ref = result.as_ref();
            let fact = Fact::Applied { node: id, entry, waiter: ticket, result: result_ref, hash };
            self.watch.tell(self.now, &fact);
            if entry.index.0 > self.executed_at.len() as u64 {
                self.executed_at.push(self.now);
            }
            if let Some((index, ticket)) = waiter {
                assert!(index == entry.index, "a waiter of index {index} was left behind");
                let none = || Err(Failure::new(ErrorCode::Internal, "no command"));
                answers.push((ticket, index, result.unwrap_or_else(none)));
            }
        }
        if self.ends_at(id, Point::Applied) {
            return;
        }
        self.applied(id, clock, answers);
    }

    fn applied(&mut self, id: NodeId, clock: u64, answers: Vec<(Ticket, Index, OpResult)>) {
        for (ticket, index, result) in answers {
            self.answer_write(id, ticket, index, result);
        }
        let now = self.now;
        let machine = self.machine_mut(id);
        let local = machine.clock.at(now);
        let Some(process) = &mut machine.process else { return };
        if process.state.summary().clock_ms != clock {
            process.pacemaker.applied_clock(local);
        }
        let index = process.state.applied();
        self.answer_reads(id);
        self.feed(id, Input::Applied { index });
    }

    /// Answers the reads that waited for what is applied now.
    pub(super) fn answer_reads(&mut self, id: NodeId) {
        let Some(process) = &mut self.machine_mut(id).process else { return };
        let later = process.reads.split_off(&process.state.applied().next());
        let ready = std::mem::replace(&mut process.reads, later);
        for question in ready.into_values().flatten() {
            self.answer_read(id, &question);
        }
    }
}

impl Process {
    pub(super) fn ticket(&mut self, waiting: Waiting) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.tickets.insert(ticket, waiting);
        ticket
    }

    /// Writes and syncs the batch that is at the log.
    pub(super) fn write(&mut self) -> Result<(), quorate_core::store::StoreError> {
        for persist in &self.syncing {
            persist.stage(&mut self.wal)?;
        }
        self.wal.sync()
    }
}
