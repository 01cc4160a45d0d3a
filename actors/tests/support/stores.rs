//! What a node of these tests has instead of disks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use quorate_actors::handshake::Incarnations;
use quorate_actors::space::FreeSpace;
use quorate_core::kv::{Changes, StateMachine};
use quorate_core::store::{CheckpointStore, LogStore, StoreError};
use quorate_core::types::{Entry, HardState, Index, NodeId, Position};

/// A log that forgets everything at its end.
#[derive(Default)]
pub(super) struct Memory {
    entries: Vec<Entry>,
    syncs: u64,
    pub(super) disk: Arc<Platter>,
}

/// What a test sees and does of a log's disk.
#[derive(Default)]
pub(crate) struct Platter {
    /// Syncs that are done.
    pub(crate) syncs: AtomicU64,
    /// While this is set no sync ends.
    pub(crate) stuck: AtomicBool,
}

impl LogStore for Memory {
    fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        self.entries.extend_from_slice(entries);
        Ok(())
    }
    fn truncate_from(&mut self, from: Index) -> Result<(), StoreError> {
        self.entries.retain(|entry| entry.index < from);
        Ok(())
    }
    fn save_hard_state(&mut self, _: HardState) -> Result<(), StoreError> {
        Ok(())
    }
    fn sync(&mut self) -> Result<(), StoreError> {
        while self.disk.stuck.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        self.syncs += 1;
        self.disk.syncs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    fn reset(&mut self, _: Position) -> Result<(), StoreError> {
        self.entries.clear();
        Ok(())
    }
    fn trim(&mut self, through: Index) -> Result<(), StoreError> {
        self.entries.retain(|entry| entry.index > through);
        Ok(())
    }
    fn last_index(&self) -> Index {
        self.entries.last().map_or(Index(1), |entry| entry.index)
    }
    fn bytes(&self) -> u64 {
        0
    }
    fn syncs(&self) -> u64 {
        self.syncs
    }
}

/// A checkpoint that nothing is read back from.
pub(super) struct Forgetful;

impl CheckpointStore for Forgetful {
    fn save(&mut self, _: StateMachine, _: Option<Changes>) -> Result<(), StoreError> {
        Ok(())
    }
    fn room(&self, _: &StateMachine, _: Option<&Changes>) -> u64 {
        0
    }
    fn bytes(&self) -> u64 {
        0
    }
}

/// Space that a test gives and takes.
#[derive(Debug)]
pub(super) struct Left(pub(super) Arc<AtomicU64>);

impl FreeSpace for Left {
    fn free_bytes(&self) -> std::io::Result<u64> {
        Ok(self.0.load(Ordering::SeqCst))
    }
    fn place(&self) -> String {
        "memory".into()
    }
}

#[derive(Default)]
pub(super) struct Known(BTreeMap<NodeId, u64>);

impl Incarnations for Known {
    fn known(&self, node: NodeId, _: Index) -> Option<u64> {
        self.0.get(&node).copied()
    }
    fn met(&self, node: NodeId, incarnation: u64) -> bool {
        self.0.get(&node) == Some(&incarnation)
    }
    fn remember(&mut self, node: NodeId, _: Index, incarnation: u64) -> std::io::Result<()> {
        self.0.insert(node, incarnation);
        Ok(())
    }
}
