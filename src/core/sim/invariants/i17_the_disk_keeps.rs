//! I17: a disk gives back what was synced (DESIGN of the write-ahead log: recovery is exactly what was
//! synced, and perhaps a beginning of what was staged after it, in order).
//!
//! At a start, what is found equals what was durable plus the first so many records, in the order in
//! which they were staged, of what was not.

use quorate_core::raft::Persist;
use quorate_core::types::{HardState, Index, Position};

use super::Invariant;
use crate::facts::Fact;
use crate::known::{Known, LogImage};

/// Recovery neither loses what was synced nor makes anything up.
#[derive(Debug, Default)]
pub(super) struct TheDiskKeeps;

/// The records of a `Persist`, one by one, in the order in which they are staged.
fn records(
    persist: &Persist,
    committed: &LogImage,
    log: &mut LogImage,
    hard: &mut HardState,
    place: &mut usize,
) -> bool {
    let mut left = *place;
    let mut step = || {
        let more = left > 0;
        left = left.saturating_sub(1);
        more
    };
    if let Some(base) = persist.reset {
        if !step() {
            return false;
        }
        *log = committed.prefix(base);
    }
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
        let Fact::Started { node, hard_state, base, state, .. } = fact else { return Ok(()) };
        let before = &known.previous;
        let found = &known.found;
        if before.incarnation == 0 {
            return Ok(());
        }
        let resets = before.waiting.iter().filter_map(|persist| persist.reset);
        let let_go = resets.map(|base| base.index).fold(before.let_go, Index::max);
        if base.index > let_go.max(before.checkpoint.index) {
            return Err(format!("node {node} finds a log from {base}; it had let go of {let_go}"));
        }
        if state.index > before.checkpoint.index {
            let held = before.checkpoint;
            return Err(format!(
                "node {node} finds a checkpoint up to {state}; it had one to {held}"
            ));
        }
        let all: usize = before.waiting.iter().map(|persist| persist.entries.len() + 3).sum();
        for count in 0..=all {
            let (mut log, mut hard) = (before.durable_log.clone(), before.durable_hard_state);
            let mut left = count;
            for persist in &before.waiting {
                if !records(persist, &known.committed, &mut log, &mut hard, &mut left) {
                    break;
                }
            }
            if hard == *hard_state && log == *found {
                return Ok(());
            }
            // An earlier start may have ended in the middle of making good what it found.
            let Position { term, index } = before.checkpoint;
            if index.0 > 0 && log.get(index).map(|entry| entry.term) != Some(term) {
                log = known.committed.prefix(before.checkpoint);
            }
            let raised = HardState { term: log.last().term, vote: None };
            let hards = if raised.term > hard.term { [hard, raised] } else { [hard, hard] };
            if hards.contains(hard_state) && log == *found {
                return Ok(());
            }
        }
        Err(format!(
            "node {node} finds {hard_state:?} and a log up to {}; synced were {:?} and a log up to {}",
            found.last(),
            before.durable_hard_state,
            before.durable_log.last()
        ))
    }
}
