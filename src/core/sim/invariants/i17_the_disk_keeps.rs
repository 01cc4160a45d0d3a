//! I17: a disk gives back what was synced (DESIGN of the write-ahead log: recovery is exactly what was
//! synced, and perhaps a beginning of what was staged after it, in order).
//!
//! At a start, what is found equals what was durable plus the first so many records, in the order in
//! which they were staged, of what was not.

use quorate_core::raft::Persist;
use quorate_core::types::HardState;

use super::Invariant;
use crate::facts::Fact;
use crate::known::{Known, LogImage};

/// Recovery neither loses what was synced nor makes anything up.
#[derive(Debug, Default)]
pub(super) struct TheDiskKeeps;

/// The records of a `Persist`, one by one, in the order in which they are staged.
fn records(persist: &Persist, log: &mut LogImage, hard: &mut HardState, place: &mut usize) -> bool {
    let mut left = *place;
    let mut step = || {
        let more = left > 0;
        left = left.saturating_sub(1);
        more
    };
    if let Some(from) = persist.truncate_from {
        if !step() {
            return false;
        }
        log.truncate_from(from);
    }
    if let Some(hard_state) = persist.hard_state {
        if !step() {
            return false;
        }
        *hard = hard_state;
    }
    for entry in &persist.entries {
        if !step() {
            return false;
        }
        log.push(entry);
    }
    *place = left;
    true
}

impl Invariant for TheDiskKeeps {
    fn id(&self) -> &'static str {
        "I17"
    }

    fn claim(&self) -> &'static str {
        "a start finds what was synced, and at most a beginning of what was written after it"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Started { node, hard_state, .. } = fact else { return Ok(()) };
        let before = &known.previous;
        let Some(now) = known.nodes.get(node) else { return Ok(()) };
        if before.incarnation == 0 {
            return Ok(());
        }
        let all: usize = before.waiting.iter().map(|persist| persist.entries.len() + 2).sum();
        for count in 0..=all {
            let (mut log, mut hard) = (before.durable_log.clone(), before.durable_hard_state);
            let mut left = count;
            for persist in &before.waiting {
                if !records(persist, &mut log, &mut hard, &mut left) {
                    break;
                }
            }
            if hard == *hard_state && log == now.durable_log {
                return Ok(());
            }
        }
        Err(format!(
            "node {node} finds {hard_state:?} and a log up to {}; synced were {:?} and a log up to {}",
            now.durable_log.last(),
            before.durable_hard_state,
            before.durable_log.last()
        ))
    }
}
