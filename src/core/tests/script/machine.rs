//! One machine: a node, its clock, its disk, and what the disk has not done yet.

use std::collections::VecDeque;

use quorate_core::raft::{Boot, Config, Node, Persist};
use quorate_core::types::{Entry, HardState, Index, Membership, Moment, Position};

/// What survives a crash.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    /// The last entry of the compacted prefix.
    pub(crate) base: Position,
    pub(crate) base_membership: Option<Membership>,
    pub(crate) entries: Vec<Entry>,
}

impl Disk {
    /// With nothing on it.
    pub(crate) fn empty() -> Self {
        Self {
            hard_state: HardState::default(),
            base: Position::default(),
            base_membership: None,
            entries: vec![],
        }
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
        let boot = Boot {
            hard_state: self.disk.hard_state,
            base: self.disk.base,
            entries: self.disk.entries.clone(),
            state: self.disk.base,
            state_membership: self.disk.base_membership.clone(),
        };
        self.node = Some(Node::new(config, boot, self.moment()));
    }

    /// Stops the node. Of the writes that wait, the first `keep` had reached the disk.
    pub(crate) fn stop(&mut self, keep: usize) {
        self.node = None;
        self.applying.clear();
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

    /// The node's log in memory: the disk's, and what is on its way there.
    pub(crate) fn log(&self) -> Vec<Entry> {
        let mut disk = self.disk.clone();
        self.pending.iter().for_each(|persist| disk.write(persist));
        disk.entries
    }
}
