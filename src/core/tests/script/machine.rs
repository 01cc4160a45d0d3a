//! One machine: a node, its clock, its disk, its state, and what the disk has not done yet.

use std::collections::VecDeque;

use quorate_core::raft::{Boot, Config, Node, Persist};
use quorate_core::types::{Entry, HardState, Index, Membership, Moment, Payload, Position};

/// A state, as far as scripts look at it: what it holds, and who the members are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The last entry in it.
    pub(crate) position: Position,
    pub(crate) membership: Membership,
}

/// A snapshot that is to become the durable checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct Storing {
    pub(crate) snapshot: Snapshot,
    /// It came from another member, and is to become the state, too.
    pub(crate) installs: bool,
}

/// What survives a crash.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    /// The last entry of the compacted prefix.
    pub(crate) base: Position,
    /// The newest checkpoint of the state.
    pub(crate) checkpoint: Option<Snapshot>,
    pub(crate) entries: Vec<Entry>,
}

impl Disk {
    /// With nothing on it.
    pub(crate) fn empty() -> Self {
        Self {
            hard_state: HardState::default(),
            base: Position::default(),
            checkpoint: None,
            entries: vec![],
        }
    }

    /// The log's last entry, or its base.
    pub(crate) fn last(&self) -> Position {
        self.entries.last().map_or(self.base, Entry::position)
    }

    /// Lets go of what the log holds up to there.
    pub(crate) fn trim(&mut self, to: Index) {
        let behind = self.entries.iter().take_while(|entry| entry.index <= to).count();
        let behind = self.entries.split_off(behind);
        self.base = self.last();
        self.entries = behind;
    }

    fn write(&mut self, persist: &Persist) {
        if let Some(base) = persist.reset {
            self.base = base;
            self.entries.clear();
        }
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(from) = persist.truncate_from {
            self.entries.retain(|entry| entry.index < from);
        }
        self.entries.extend(persist.entries.iter().cloned());
    }
}

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) config: Config,
    /// `None`: it is down.
    pub(crate) node: Option<Node>,
    /// Its own clock, in milliseconds.
    pub(crate) clock: u64,
    pub(crate) disk: Disk,
    /// What waits for the disk, oldest first.
    pub(crate) pending: VecDeque<Persist>,
    /// The ends of what waits to be applied, oldest first.
    pub(crate) applying: VecDeque<Index>,
    /// The state machine's state.
    pub(crate) state: Snapshot,
    /// Checkpoints that are not durable yet, oldest first.
    pub(crate) storing: VecDeque<Storing>,
    /// A durable checkpoint that is to become the state.
    pub(crate) replacing: Option<Snapshot>,
    /// A snapshot of another member that has come in whole.
    pub(crate) received: Option<Snapshot>,
    /// The disk hangs.
    pub(crate) stalled: bool,
    starts: u64,
}

impl Machine {
    /// A machine that is not started yet.
    pub(crate) fn new(config: Config, disk: Disk) -> Self {
        Self {
            config,
            node: None,
            clock: 1_000,
            disk,
            pending: VecDeque::new(),
            applying: VecDeque::new(),
            state: Snapshot::default(),
            storing: VecDeque::new(),
            replacing: None,
            received: None,
            stalled: false,
            starts: 0,
        }
    }

    /// Its clock as the node sees it.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.clock * 1_000)
    }

    /// Starts the node from what the disk holds. Its chance differs from start to start.
    pub(crate) fn start(&mut self) {
        self.starts += 1;
        let mut config = self.config.clone();
        config.seed = config.seed * 1_000 + self.starts;
        let checkpoint = self.disk.checkpoint.clone();
        self.state = checkpoint.clone().unwrap_or_default();
        let boot = Boot {
            hard_state: self.disk.hard_state,
            base: self.disk.base,
            entries: self.disk.entries.clone(),
            state: self.state.position,
            state_membership: checkpoint.map(|checkpoint| checkpoint.membership),
        };
        let (boot, _) = boot.reconciled();
        self.disk.hard_state = boot.hard_state;
        self.disk.base = boot.base;
        self.disk.entries = boot.entries.clone();
        self.node = Some(Node::new(config, boot, self.moment()));
    }

    /// Stops the node. Of the writes that wait, the first `keep` had reached the disk.
    pub(crate) fn stop(&mut self, keep: usize) {
        self.node = None;
        self.applying.clear();
        self.storing.clear();
        (self.replacing, self.received) = (None, None);
        let pending = std::mem::take(&mut self.pending);
        for persist in pending.iter().take(keep) {
            self.disk.write(persist);
        }
    }

    /// The disk does the oldest write.
    pub(crate) fn write_one(&mut self) -> Option<Persist> {
        let persist = self.pending.pop_front()?;
        self.disk.write(&persist);
        Some(persist)
    }

    /// The state machine applies an entry.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        self.state.position = entry.position();
        if let Payload::Membership(membership) = &entry.payload {
            self.state.membership = membership.clone();
        }
    }

    /// The node's log in memory: the disk's, and what is on its way there.
    pub(crate) fn log(&self) -> Vec<Entry> {
        let mut disk = self.disk.clone();
        self.pending.iter().for_each(|persist| disk.write(persist));
        disk.entries
    }
}
