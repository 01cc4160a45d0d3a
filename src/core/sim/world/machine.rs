//! One node: its disk and clock, which outlive its process, and the process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use quorate_core::fs::memory::{Crash, Faults, MemoryFs};
use quorate_core::kv::{Pacemaker, StateMachine};
use quorate_core::raft::{Apply, Boot, Config, Node, Persist, RoleKind, Status};
use quorate_core::store::{LogStore, StoreError};
use quorate_core::types::{
    HardState, Index, Member, Membership, Moment, NodeId, Position, Term, Ticket,
};
use quorate_core::wal::{Identity, Options, Recovered, Wal};
use quorate_core::wire::client::Get;

use super::snapshots::{Incoming, Sending};
use crate::chance::Chance;
use crate::plan::{Knobs, Plan, Point, Power};

/// A clock that runs at its own rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Parts per million of true time.
    rate: u64,
    /// How far it jumped, in microseconds, and where it began.
    offset: u64,
}

impl Clock {
    pub(super) fn at(self, now: u64) -> Moment {
        let local = u128::from(now) * u128::from(self.rate) / 1_000_000;
        Moment(self.offset + u64::try_from(local).unwrap_or(u64::MAX / 2))
    }

    pub(super) fn jump(&mut self, us: u64) {
        self.offset += us;
    }
}

/// A crash that waits for its point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Armed {
    pub(super) point: Point,
    pub(super) power: Power,
    pub(super) down_ms: u64,
}

/// A node.
pub(super) struct Machine {
    pub(super) id: NodeId,
    pub(super) fs: MemoryFs,
    pub(super) clock: Clock,
    /// Its newest durable checkpoint.
    pub(super) checkpoint: Option<StateMachine>,
    /// Whether its log has begun behind the first entry.
    pub(super) trimmed: bool,
    /// Counts the starts; what was scheduled in an earlier one is void.
    pub(super) epoch: u64,
    pub(super) process: Option<Process>,
    /// Counts its disks. Other nodes tell by it whether it is still who they know.
    pub(super) incarnation: u64,
    /// It is there, and nobody has started it yet.
    pub(super) absent: bool,
    /// Its disk has not been started from.
    pub(super) fresh: bool,
    /// Its disk begins with nothing, and its log comes from a leader.
    pub(super) joins: bool,
    /// It was told that it is removed, and waits to be started again.
    pub(super) retired: bool,
    /// The incarnation of its disk before this one, and the entry that had added it, where that
    /// one still speaks.
    pub(super) old_disk: Option<(u64, Index)>,
    /// The incarnations that it has met, by node and by the entry that added it. On its disk.
    pub(super) met: BTreeMap<(NodeId, Index), u64>,
    /// Its disk is lost: it does not come back.
    pub(super) gone: bool,
    /// Its log is damaged, and its next start must say so.
    pub(super) rotten: bool,
    pub(super) paused_until: u64,
    pub(super) slow: u64,
    pub(super) stalled_until: u64,
    pub(super) full: bool,
    pub(super) armed: Option<Armed>,
    /// The power goes, too, before the next start.
    pub(super) power_goes: Option<Power>,
    /// How long it is down when a disk error ends it.
    pub(super) down_us: u64,
    pub(super) chance: Chance,
}

/// A running node.
pub(super) struct Process {
    pub(super) node: Node,
    pub(super) wal: Wal,
    pub(super) state: StateMachine,
    pub(super) pacemaker: Pacemaker,
    /// What the node last said of itself.
    pub(super) status: Status,
    /// A drain is scheduled.
    pub(super) dirty: bool,
    /// Handed to the log, not being written.
    pub(super) handed: VecDeque<Persist>,
    /// Being written and synced.
    pub(super) syncing: Vec<Persist>,
    /// Handed to the state machine.
    pub(super) work: VecDeque<Work>,
    /// To become the durable checkpoint, in order.
    pub(super) storing: VecDeque<Storing>,
    /// The first of them is being written.
    pub(super) stores: bool,
    /// Who needs a snapshot.
    pub(super) targets: Vec<NodeId>,
    /// Snapshots on their way out.
    pub(super) sending: BTreeMap<NodeId, Sending>,
    /// The snapshot that is coming in.
    pub(super) incoming: Option<Incoming>,
    /// It has come in whole, and is not judged.
    pub(super) received: Option<StateMachine>,
    /// It was accepted, and is not installed.
    pub(super) installs: bool,
    pub(super) tickets: BTreeMap<Ticket, Waiting>,
    pub(super) next_ticket: u64,
    /// Reads that came since the last drain, and may be answered under a lease.
    pub(super) leased: Vec<Ticket>,
    /// Reads whose index is not applied yet.
    pub(super) reads: BTreeMap<Index, Vec<Question>>,
}

/// What a start found.
pub(super) struct Started {
    pub(super) recovered: Recovered,
    /// What the checkpoint holds.
    pub(super) state: Position,
    /// The term and vote, raised to the term of the log or the checkpoint.
    pub(super) raised: HardState,
    /// Where the log began anew.
    pub(super) reset: Option<Position>,
}

/// What the state machine is to do.
pub(super) enum Work {
    Apply(Apply),
    /// Make a checkpoint of the state as it is then.
    Capture,
    /// Take another state.
    Install(Box<StateMachine>),
}

/// What is to become the durable checkpoint.
pub(super) struct Storing {
    pub(super) state: StateMachine,
    /// It is a snapshot that is being installed.
    pub(super) installs: bool,
}

/// Who waits for a ticket.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    /// A request of a connection that is a log entry.
    Write { conn: u64, id: u64 },
    /// A read.
    Read(Question),
    /// An operator, for a change of the members.
    Change,
    /// Nobody.
    Nobody,
}

/// A read of a connection.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) conn: u64,
    pub(super) id: u64,
    pub(super) get: Get,
}

impl Machine {
    pub(super) fn new(plan: &Plan, id: NodeId) -> Self {
        let place = usize::try_from(id.0 - 1).unwrap_or(usize::MAX);
        let rate = plan.clock_rates.get(place).copied().unwrap_or(1_000_000);
        let founds = id.0 <= plan.nodes;
        let others = (1..=plan.nodes).map(|other| ((NodeId(other), Index(0)), 1));
        Self {
            id,
            fs: new_disk(),
            incarnation: 1,
            absent: !founds,
            joins: !founds,
            fresh: true,
            retired: false,
            old_disk: None,
            met: if founds { others.collect() } else { BTreeMap::new() },
            clock: Clock { rate, offset: 1_000_000 * id.0 },
            checkpoint: None,
            trimmed: false,
            epoch: 0,
            process: None,
            gone: false,
            rotten: false,
            paused_until: 0,
            slow: 1,
            stalled_until: 0,
            full: false,
            armed: None,
            power_goes: None,
            down_us: 0,
            chance: Chance::stream(plan.seed, "machine", id.0, 0),
        }
    }

    /// Its disk is another one from now on, with nothing on it. It must not run.
    pub(super) fn replace_disk(&mut self) {
        assert!(!self.is_up(), "the disk of a running node is not replaced");
        self.incarnation += 1;
        self.fs = new_disk();
        self.met.clear();
        (self.joins, self.fresh) = (true, true);
        (self.gone, self.rotten, self.retired) = (false, false, false);
        (self.checkpoint, self.trimmed, self.full) = (None, false, false);
        (self.armed, self.power_goes, self.down_us) = (None, None, 0);
    }

    pub(super) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Nothing is under way inside the process.
    pub(super) fn is_quiet(&self) -> bool {
        self.under_way().is_empty()
    }

    /// What the node is in the middle of.
    pub(super) fn under_way(&self) -> Vec<&'static str> {
        let Some(process) = &self.process else { return vec![] };
        let stores = !process.storing.is_empty();
        let all = [
            (process.dirty, "it is to drain"),
            (!process.handed.is_empty(), "it writes its log"),
            (!process.syncing.is_empty(), "it syncs"),
            (stores, "it makes a checkpoint"),
            (process.installs, "it installs a snapshot"),
            (!process.work.is_empty(), "it applies"),
        ];
        all.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect()
    }

    pub(super) fn leads(&self) -> bool {
        self.status().is_some_and(|status| status.role == RoleKind::Leader)
    }

    pub(super) fn status(&self) -> Option<&Status> {
        self.process.as_ref().map(|process| &process.status)
    }

    pub(super) fn term(&self) -> Option<Term> {
        self.status().map(|status| status.term)
    }

    /// There is a log, and no state under it.
    pub(super) fn lacks_state(&self) -> bool {
        match self.status() {
            Some(status) => status.lacks_state,
            None => self.trimmed && self.checkpoint.is_none(),
        }
    }

    /// The disk's faults that last.
    fn disk_faults(&self, knobs: &Knobs) -> Faults {
        let space_left = self.full.then_some(0);
        Faults { lies: knobs.lying_disks, space_left, ..Faults::default() }
    }

    pub(super) fn set_disk_faults(&self, knobs: &Knobs, more: Faults) {
        let lasting = self.disk_faults(knobs);
        let space_left = more.space_left.or(lasting.space_left);
        self.fs.set_faults(Faults { lies: lasting.lies, space_left, ..more });
    }

    /// Loss of power: only what the disk kept is there.
    pub(super) fn lose_power(&mut self, power: Power, knobs: &Knobs) {
        let pieces = self.fs.unsynced() as u64;
        let chance = &mut self.chance;
        let count = usize::try_from(chance.below(pieces + 1)).unwrap_or(0);
        let (mask, cut) = (chance.draw(), usize::try_from(chance.below(400)).unwrap_or(0));
        match power {
            Power::Process => self.fs.crash(Crash::Nothing),
            Power::Synced => self.fs.crash(Crash::SyncedOnly),
            Power::Prefix => self.fs.crash(Crash::Prefix(count)),
            Power::Subset => self.fs.crash(Crash::Subset(mask)),
            Power::Torn => self.fs.crash(Crash::Torn(count, cut)),
        }
        self.set_disk_faults(knobs, Faults::default());
    }

    /// Reads the disk and starts. At the very first start the disk gets its first entry.
    pub(super) fn boot(&mut self, plan: &Plan, now: u64) -> Result<(Process, Started), StoreError> {
        let knobs = &plan.knobs;
        self.set_disk_faults(knobs, Faults::default());
        let identity = Identity { cluster: 7, node: self.id, incarnation: self.incarnation };
        let (segment_bytes, preallocate_bytes) = (knobs.segment_bytes, knobs.preallocate_bytes);
        let options = Options { segment_bytes, preallocate_bytes, identity };
        let (mut wal, mut recovered) = Wal::open(Arc::new(self.fs.clone()), options)?;
        if std::mem::take(&mut self.fresh) && !self.joins {
            let first = Boot::first(membership(plan.nodes));
            wal.save_hard_state(first.hard_state)?;
            wal.append(&first.entries)?;
            wal.sync()?;
            (recovered.hard_state, recovered.entries) = (first.hard_state, first.entries);
        }
        self.epoch += 1;
        let state = self.checkpoint.as_ref().map_or_else(StateMachine::new, StateMachine::clone);
        let boot = Boot {
            hard_state: recovered.hard_state,
            base: recovered.base,
            entries: recovered.entries.clone(),
            state: state.position(),
            state_membership: state.membership().cloned(),
        };
        let (boot, reset) = boot.reconciled();
        let raised = boot.hard_state;
        if let Some(base) = reset {
            wal.reset(base)?;
        }
        if raised != recovered.hard_state {
            wal.save_hard_state(raised)?;
        }
        wal.sync()?;
        let started = Started { recovered, state: state.position(), raised, reset };
        self.trimmed = boot.base.index.0 > 0;
        let node = Node::new(self.config(plan), boot, self.clock.at(now));
        let process = Process {
            status: node.status(),
            node,
            wal,
            state,
            pacemaker: Pacemaker::new(Duration::from_millis(knobs.clock_interval_ms)),
            dirty: false,
            handed: VecDeque::new(),
            syncing: Vec::new(),
            work: VecDeque::new(),
            storing: VecDeque::new(),
            stores: false,
            targets: Vec::new(),
            sending: BTreeMap::new(),
            incoming: None,
            received: None,
            installs: false,
            tickets: BTreeMap::new(),
            // Tickets of one start are told from those of another.
            next_ticket: self.epoch << 40,
            leased: Vec::new(),
            reads: BTreeMap::new(),
        };
        Ok((process, started))
    }

    fn config(&self, plan: &Plan) -> Config {
        let knobs = &plan.knobs;
        let seed = Chance::stream(plan.seed, "node", self.id.0, self.epoch).draw();
        Config {
            heartbeat: Duration::from_millis(knobs.heartbeat_ms),
            election_timeout: Duration::from_millis(knobs.election_timeout_ms),
            batch_entries: knobs.batch_entries,
            batch_bytes: knobs.batch_bytes,
            inflight_batches: knobs.inflight_batches,
            inflight_bytes: knobs.inflight_bytes,
            uncommitted_bytes: knobs.uncommitted_bytes,
            apply_bytes: knobs.apply_bytes,
            snapshot_entries: plan.upkeep.snapshot_entries,
            snapshot_bytes: plan.upkeep.snapshot_bytes,
            trailing_entries: plan.upkeep.trailing_entries,
            promote_learners: plan.members.promote,
            promote_after: Duration::from_millis(plan.members.promote_after_ms),
            lease_reads: knobs.lease_reads,
            ..Config::new(self.id, seed)
        }
    }
}

fn new_disk() -> MemoryFs {
    let fs = MemoryFs::default();
    fs.stop_tracing();
    fs
}

/// The members of a cluster of that size. Clients reach node 2 at `n2`.
pub(super) fn membership(nodes: u64) -> Membership {
    let member = |id| Member::voter(NodeId(id), String::new(), format!("n{id}"));
    Membership::of((1..=nodes).map(member).collect())
}
