//! One machine of the tests' cluster: its disk, and what outlives its node.

use std::collections::VecDeque;

use crate::raft::{Config, Node, Persist};
use crate::types::{Entry, HardState, Index, Term};

/// What a machine's disk holds, and what it was asked to hold.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) hard_state: HardState,
    /// The durable log, from index 1.
    pub(super) log: Vec<Entry>,
    /// What waits to be written, and when that is done.
    pub(super) queue: VecDeque<(u64, Persist)>,
    /// How long a sync takes, in milliseconds; `None`: it hangs.
    pub(super) delay: Option<u64>,
}

impl Disk {
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        match index.0.checked_sub(1) {
            None => Some(Term(0)),
            Some(offset) => self.log.get(usize::try_from(offset).unwrap()).map(|e| e.term),
        }
    }

    pub(super) fn write(&mut self, persist: &Persist) {
        if let Some(from) = persist.truncate_from {
            assert!(from.0 >= 1 && from.0 <= self.log.len() as u64, "a truncation of nothing");
            self.log.truncate(usize::try_from(from.0 - 1).unwrap());
        }
        for entry in &persist.entries {
            assert_eq!(entry.index.0, self.log.len() as u64 + 1, "a gap on the disk");
            self.log.push(entry.clone());
        }
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
    }
}

/// One member: its disk outlives its node.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) config: Config,
    pub(super) node: Option<Node>,
    pub(super) disk: Disk,
    pub(super) incarnation: u64,
    /// The entries this incarnation applied.
    pub(super) applied: u64,
    pub(super) applies: VecDeque<(u64, Index)>,
    /// How long applying takes, in milliseconds.
    pub(super) apply_delay: u64,
    pub(super) paused_until: u64,
    /// It absorbed something and has not drained.
    pub(super) dirty: bool,
}
