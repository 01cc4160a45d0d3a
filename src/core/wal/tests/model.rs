//! What a log must hold after a crash.

use crate::types::{Entry, HardState, Position};
use crate::wal::Recovered;

/// What the log must hold: every state it passed through, oldest first. What was synced is
/// the floor below which no crash may fall.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    /// Where the last snapshot ends.
    pub(super) base: Position,
    pub(super) entries: Vec<Entry>,
    pub(super) hard_state: HardState,
    /// The log may have let go of everything up to here.
    pub(super) trimmed: u64,
}

impl Model {
    pub(super) fn last(&self) -> Position {
        self.entries.last().map_or(self.base, Entry::position)
    }

    /// Whether what was found is this, but for what may have been let go.
    pub(super) fn allows(&self, found: &Recovered) -> bool {
        let gone = found.base.index.0.checked_sub(self.base.index.0);
        let Some(gone) = gone.and_then(|gone| usize::try_from(gone).ok()) else { return false };
        let Some(rest) = self.entries.get(gone..) else { return false };
        let before = gone.checked_sub(1).map_or(self.base, |last| self.entries[last].position());
        let within = gone == 0 || found.base.index.0 <= self.trimmed;
        within
            && before == found.base
            && rest == found.entries
            && self.hard_state == found.hard_state
    }
}

impl From<Recovered> for Model {
    fn from(Recovered { base, entries, hard_state, .. }: Recovered) -> Self {
        Self { base, entries, hard_state, trimmed: base.index.0 }
    }
}
