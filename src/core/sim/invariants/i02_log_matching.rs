//! I2, log matching (Raft §5.3): two entries of one index and term are the same entry, and so is
//! everything before them.
//!
//! Checked where entries come into a log: an (index, term) has one payload and one term before it,
//! for ever. By induction over the index that is the whole property.

use std::collections::BTreeMap;

use quorate_core::types::{Entry, NodeId, Term};

use super::Invariant;
use crate::facts::Fact;
use crate::known::{Digest, Known};

/// An (index, term) names one entry and what lies before it.
#[derive(Debug, Default)]
pub(super) struct LogMatching {
    entries: BTreeMap<(u64, Term), (u64, Term)>,
}

impl LogMatching {
    fn add(&mut self, node: NodeId, entry: &Entry, before: Term) -> Result<(), String> {
        let seen = (Digest::of(entry).hash, before);
        let known = *self.entries.entry((entry.index.0, entry.term)).or_insert(seen);
        if known != seen {
            let position = entry.position();
            let what = if known.0 == seen.0 { "what lies before it" } else { "the entry" };
            return Err(format!("{what} at {position} on node {node} is not that of another log"));
        }
        Ok(())
    }
}

impl Invariant for LogMatching {
    fn id(&self) -> &'static str {
        "I2"
    }

    fn claim(&self) -> &'static str {
        "an index and a term name one entry, and everything before it, in all logs"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        let (node, entries) = match fact {
            Fact::Staged { node, persist } => (*node, persist.entries.as_slice()),
            Fact::Started { node, log, .. } => (*node, *log),
            _ => return Ok(()),
        };
        let Some(first) = entries.first() else { return Ok(()) };
        let log = match fact {
            Fact::Started { .. } => Some(&known.found),
            _ => known.nodes.get(&node).map(|image| &image.log),
        };
        let before = log.and_then(|log| log.get(first.index.previous()));
        let mut before = before.map(|entry| entry.term).unwrap_or_default();
        for entry in entries {
            self.add(node, entry, before)?;
            before = entry.term;
        }
        Ok(())
    }
}
