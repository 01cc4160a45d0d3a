//! The log in memory: the newest entries, and how far they are durable.
//!
//! ```text
//!   1 ......... begin | ....... base | entries ............... last
//!   in a checkpoint   | on disk only | on disk, and in memory
//! ```
//!
//! What only the disk has is applied, and is read again at a start. A follower that lacks some of it
//! gets a snapshot.

use std::collections::{BTreeMap, VecDeque};

use crate::types::{Entry, Index, Membership, Payload, Position, Term};

/// The entries behind `base`, contiguous.
#[derive(Debug)]
#[cfg_attr(feature = "search", derive(Clone))]
pub(crate) struct Log {
    /// The last entry that is not in memory any more; zero when all are.
    base: Position,
    /// The last entry that the disk may let go of, at or below `base`.
    begin: Index,
    base_membership: Option<Membership>,
    entries: VecDeque<Entry>,
    /// The bytes of `entries`.
    bytes: usize,
    /// Where the memberships in `entries` are.
    memberships: BTreeMap<Index, Membership>,
    /// Everything up to here is on this node's disk.
    durable: Index,
}

impl Log {
    /// A log as recovered: all of it is durable.
    ///
    /// # Panics
    /// When the entries do not follow `base` without a gap or their terms fall.
    pub(crate) fn recovered(
        base: Position,
        base_membership: Option<Membership>,
        entries: Vec<Entry>,
    ) -> Self {
        let mut log = Self {
            base,
            begin: base.index,
            base_membership,
            entries: VecDeque::with_capacity(entries.len()),
            bytes: 0,
            memberships: BTreeMap::new(),
            durable: base.index,
        };
        for entry in entries {
            log.append(entry);
        }
        log.durable = log.last().index;
        log
    }

    /// The first entry that is not only in a checkpoint, be it in memory or not.
    pub(crate) fn first_index(&self) -> Index {
        self.begin.next()
    }

    /// The entry before the first one in memory.
    pub(crate) fn base(&self) -> Position {
        self.base
    }

    /// The last entry, or `base` when there is none.
    pub(crate) fn last(&self) -> Position {
        self.entries.back().map_or(self.base, Entry::position)
    }

    pub(crate) fn durable(&self) -> Index {
        self.durable
    }

    /// Everything up to `index` is on disk now.
    pub(crate) fn set_durable(&mut self, index: Index) {
        assert!(index <= self.last().index, "durable beyond the log's end");
        self.durable = self.durable.max(index);
    }

    /// The term at an index: known within the log and at its base; 0 at index 0.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.get(index).map(|entry| entry.term)
    }

    pub(crate) fn get(&self, index: Index) -> Option<&Entry> {
        let offset = index.0.checked_sub(self.base.index.0 + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// Adds entries behind the last.
    ///
    /// # Panics
    /// When they leave a gap or a term falls.
    pub(crate) fn append(&mut self, entry: Entry) {
        let last = self.last();
        assert!(entry.index == last.index.next(), "{} after {last} leaves a gap", entry.position());
        assert!(entry.term >= last.term, "{} after {last}: the term falls", entry.position());
        if let Payload::Membership(membership) = &entry.payload {
            self.memberships.insert(entry.index, membership.clone());
        }
        self.bytes += entry.weight();
        self.entries.push_back(entry);
    }

    /// Removes the entry at `from` and all behind it; says how many.
    pub(crate) fn truncate_from(&mut self, from: Index) -> u64 {
        assert!(from > self.base.index, "truncation of the compacted prefix at {from}");
        let keep = usize::try_from(from.0 - self.base.index.0 - 1).unwrap_or(usize::MAX);
        let removed = self.entries.len().saturating_sub(keep);
        self.bytes -=
            self.entries.range(keep.min(self.entries.len())..).map(Entry::weight).sum::<usize>();
        self.entries.truncate(keep);
        self.memberships.split_off(&from);
        if !mutant!(DurableSurvivesTruncation) {
            self.durable = self.durable.min(from.previous());
        }
        removed as u64
    }

    /// The entries in `(after, to]`, as many as fit into the bounds, at least one where there
    /// is any.
    pub(crate) fn slice(
        &self,
        after: Index,
        to: Index,
        max: usize,
        max_bytes: usize,
    ) -> Vec<Entry> {
        assert!(after >= self.base.index, "entries after {after} are compacted");
        let skip = usize::try_from(after.0 - self.base.index.0).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut slice = Vec::new();
        for entry in self.entries.range(skip.min(self.entries.len())..) {
            bytes += entry.weight();
            if entry.index > to || slice.len() >= max || (bytes > max_bytes && !slice.is_empty()) {
                break;
            }
            slice.push(entry.clone());
        }
        slice
    }

    /// The bytes of the entries in `(after, to]`.
    pub(crate) fn weight(&self, after: Index, to: Index) -> usize {
        let place = |index: Index| {
            let offset = index.0.saturating_sub(self.base.index.0);
            usize::try_from(offset).unwrap_or(usize::MAX).min(self.entries.len())
        };
        self.entries.range(place(after)..place(to)).map(Entry::weight).sum()
    }

    /// The last entry at or below `limit` in index and in term: where a log that holds `limit`
    /// could still match this one.
    pub(crate) fn last_at_or_below(&self, limit: Position) -> Position {
        let mut index = limit.index.min(self.last().index);
        while let Some(term) = self.term_at(index) {
            if term <= limit.term || index == self.base.index {
                return Position { term, index };
            }
            index = index.previous();
        }
        self.base
    }

    /// Removes everything up to and including `to`, which is in a checkpoint, from the disk, too.
    ///
    /// # Panics
    /// When that is behind the log's end.
    pub(crate) fn compact(&mut self, to: Index) {
        assert!(to <= self.last().index, "compaction at {to}, beyond the log's end");
        self.begin = self.begin.max(to);
        self.forget(to, 0, 0);
    }

    /// Drops entries from memory, the oldest first, but none beyond `limit`, as long as there are
    /// more than so many, or more than so many bytes of them. The disk keeps them.
    pub(crate) fn forget(&mut self, limit: Index, entries: u64, bytes: usize) {
        let before = self.base.index;
        while let Some(first) = self.entries.front()
            && first.index <= limit
            && (self.entries.len() as u64 > entries || self.bytes > bytes)
        {
            self.base = first.position();
            self.bytes -= first.weight();
            self.entries.pop_front();
        }
        if self.base.index > before {
            self.membership_moves_below();
        }
        self.durable = self.durable.max(self.base.index);
    }

    /// The memberships at and below the base are summed up by the newest of them.
    fn membership_moves_below(&mut self) {
        let later = self.memberships.split_off(&self.base.index.next());
        if let Some((_, newest)) = std::mem::replace(&mut self.memberships, later).pop_last() {
            self.base_membership = Some(newest);
        }
    }

    /// Begins anew behind a snapshot that replaces everything.
    pub(crate) fn reset(&mut self, base: Position) {
        self.base = base;
        self.begin = base.index;
        self.entries.clear();
        self.memberships.clear();
        self.bytes = 0;
        self.durable = base.index;
    }

    /// The membership in effect at the last entry of a state whose beginning the log lacks, or
    /// from before its first membership.
    pub(crate) fn set_base_membership(&mut self, membership: Membership) {
        self.base_membership = Some(membership);
    }

    /// Where the newest membership is; 0 when it is in the compacted prefix.
    pub(crate) fn membership_index(&self) -> Index {
        self.memberships.last_key_value().map_or(Index(0), |(index, _)| *index)
    }

    /// The membership that the newest one in the log takes the place of, where that is known.
    pub(crate) fn replaced_membership(&self) -> Option<&Membership> {
        self.memberships.last_key_value()?;
        self.memberships.values().rev().nth(1).or(self.base_membership.as_ref())
    }

    /// The bytes of the entries.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The newest membership in the log, else the base's.
    pub(crate) fn membership(&self) -> Membership {
        let newest = self.memberships.last_key_value().map(|(_, membership)| membership);
        newest.or(self.base_membership.as_ref()).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn entry(index: u64, term: u64) -> Entry {
        let payload = Payload::Command(Bytes::from_static(b"x"));
        Entry { term: Term(term), index: Index(index), payload }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Append(u64),
        Truncate(u64),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![(0u64..3).prop_map(Op::Append), (1u64..20).prop_map(Op::Truncate)];
        prop::collection::vec(op, 0..60)
    }

    proptest! {
        #[test]
        fn behaves_as_a_vec(base in 0u64..5, ops in ops()) {
            let start = Position { term: Term(1), index: Index(base) };
            let mut log = Log::recovered(start, None, vec![]);
            let mut model: Vec<(u64, u64)> = vec![];
            for op in ops {
                let last = model.last().copied().unwrap_or((base, 1));
                match op {
                    Op::Append(step) => {
                        log.append(entry(last.0 + 1, last.1 + step));
                        model.push((last.0 + 1, last.1 + step));
                    }
                    Op::Truncate(at) if at > base => {
                        log.truncate_from(Index(at));
                        model.retain(|(index, _)| *index < at);
                    }
                    Op::Truncate(_) => {}
                }
                let last = model.last().copied().unwrap_or((base, 1));
                prop_assert_eq!(log.last().index.0, last.0);
                for (index, term) in &model {
                    prop_assert_eq!(log.term_at(Index(*index)), Some(Term(*term)));
                }
                prop_assert_eq!(log.term_at(Index(last.0 + 1)), None);
                let all = log.slice(Index(base), log.last().index, usize::MAX, usize::MAX);
                prop_assert_eq!(all.len(), model.len());
            }
        }
    }

    #[test]
    fn a_slice_keeps_to_its_bounds_but_gives_at_least_one() {
        let entries = (1..=5).map(|index| entry(index, 1)).collect();
        let log = Log::recovered(Position::default(), None, entries);
        assert_eq!(log.slice(Index(1), Index(4), 2, usize::MAX).len(), 2);
        assert_eq!(log.slice(Index(1), Index(4), 9, usize::MAX).len(), 3);
        assert_eq!(log.slice(Index(1), Index(4), 9, 1).len(), 1);
        assert_eq!(log.slice(Index(5), Index(5), 9, 1).len(), 0);
    }
}
