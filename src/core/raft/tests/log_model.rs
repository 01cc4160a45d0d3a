//! The log in memory against a plain vector, for everything it can be asked.

use bytes::Bytes;
use proptest::prelude::*;

use crate::raft::log::Log;
use crate::types::{Entry, Index, Member, Membership, NodeId, Payload, Position, Term};

#[derive(Clone, Debug)]
enum Op {
    /// An entry whose term is so much above the last one's.
    Append(u64, Payload),
    Truncate(u64),
    Durable(prop::sample::Index),
    /// Up to the limit, down to so many entries and so many bytes.
    Forget(prop::sample::Index, u64, usize),
    Compact(prop::sample::Index),
}

/// What the log should be: all that it holds, in a vector.
#[derive(Clone, Debug)]
struct Model {
    base: Position,
    /// Where the log on disk begins, which may be before `base`.
    begin: Index,
    base_membership: Option<Membership>,
    entries: Vec<Entry>,
    durable: u64,
}

impl Model {
    fn last(&self) -> Position {
        self.entries.last().map_or(self.base, Entry::position)
    }

    /// The entries in `(after, to]`.
    fn range(&self, after: u64, to: u64) -> Vec<Entry> {
        let within = |entry: &&Entry| entry.index.0 > after && entry.index.0 <= to;
        self.entries.iter().filter(within).cloned().collect()
    }

    fn term_at(&self, index: u64) -> Option<Term> {
        let held = self.entries.iter().map(Entry::position).chain([self.base]);
        held.into_iter().find(|position| position.index.0 == index).map(|position| position.term)
    }

    fn membership(&self) -> Membership {
        let newest = self.entries.iter().rev().find_map(|entry| match &entry.payload {
            Payload::Membership(membership) => Some(membership.clone()),
            Payload::Noop | Payload::Command(_) => None,
        });
        newest.or_else(|| self.base_membership.clone()).unwrap_or_default()
    }

    fn last_at_or_below(&self, limit: Position) -> Position {
        let below = |held: &&Entry| held.index <= limit.index && held.term <= limit.term;
        self.entries.iter().rfind(below).map_or(self.base, Entry::position)
    }

    fn apply(&mut self, log: &mut Log, op: &Op) {
        match op {
            Op::Append(step, payload) => {
                let last = self.last();
                let (term, index) = (Term(last.term.0 + step), last.index.next());
                let entry = Entry { term, index, payload: payload.clone() };
                log.append(entry.clone());
                self.entries.push(entry);
            }
            Op::Truncate(from) if Index(*from) > self.base.index => {
                let before = self.entries.len();
                self.entries.retain(|entry| entry.index.0 < *from);
                self.durable = self.durable.min(from - 1);
                let removed = log.truncate_from(Index(*from));
                assert_eq!(removed, (before - self.entries.len()) as u64);
            }
            Op::Truncate(_) => {}
            Op::Durable(place) => {
                let index = self.place(*place);
                log.set_durable(index);
                self.durable = self.durable.max(index.0);
            }
            Op::Forget(place, entries, bytes) => {
                let limit = self.place(*place);
                log.forget(limit, *entries, *bytes);
                self.forget(limit, *entries, *bytes);
            }
            Op::Compact(place) => {
                let to = self.place(*place);
                log.compact(to);
                self.begin = self.begin.max(to);
                self.forget(to, 0, 0);
            }
        }
    }

    /// An index from 0 up to the last.
    fn place(&self, place: prop::sample::Index) -> Index {
        Index(place.index(usize::try_from(self.last().index.0).unwrap() + 1) as u64)
    }

    fn forget(&mut self, limit: Index, entries: u64, bytes: usize) {
        let weight = |held: &[Entry]| held.iter().map(Entry::weight).sum::<usize>();
        let goes = |held: &[Entry]| {
            let first = held.first().is_some_and(|first| first.index <= limit);
            first && (held.len() as u64 > entries || weight(held) > bytes)
        };
        while goes(&self.entries) {
            let first = self.entries.remove(0);
            self.base = first.position();
            if let Payload::Membership(membership) = first.payload {
                self.base_membership = Some(membership);
            }
        }
        self.durable = self.durable.max(self.base.index.0);
    }

    /// Every question, and every answer.
    fn is_told_by(&self, log: &Log) {
        let last = self.last();
        assert_eq!((log.base(), log.last()), (self.base, last));
        assert_eq!(log.first_index(), self.begin.next());
        assert_eq!(log.bytes(), self.entries.iter().map(Entry::weight).sum::<usize>());
        assert_eq!(log.durable(), Index(self.durable));
        assert_eq!(log.membership(), self.membership());
        for index in 0..last.index.0 + 3 {
            assert_eq!(log.term_at(Index(index)), self.term_at(index), "at {index}");
            let held = self.entries.iter().find(|entry| entry.index.0 == index);
            assert_eq!(log.get(Index(index)), held, "at {index}");
            for term in 0..last.term.0 + 2 {
                let limit = Position { term: Term(term), index: Index(index) };
                assert_eq!(log.last_at_or_below(limit), self.last_at_or_below(limit), "{limit}");
            }
            for after in self.base.index.0..=index {
                let sum: usize = self.range(after, index).iter().map(Entry::weight).sum();
                assert_eq!(log.weight(Index(after), Index(index)), sum, "({after}, {index}]");
            }
        }
    }

    /// As many as fit, in order, and at least one where there is any.
    fn slice(&self, after: u64, to: u64, max: usize, max_bytes: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let mut slice = vec![];
        for entry in self.range(after, to) {
            bytes += entry.weight();
            let first = slice.is_empty();
            if slice.len() == max || (bytes > max_bytes && !first) {
                break;
            }
            slice.push(entry);
        }
        slice
    }
}

fn payload() -> impl Strategy<Value = Payload> {
    let member = |id| Member::voter(NodeId(id), format!("p:{id}"), format!("c:{id}"));
    prop_oneof![
        1 => Just(Payload::Noop),
        4 => (0usize..200).prop_map(|bytes| Payload::Command(Bytes::from(vec![7; bytes]))),
        2 => (1u64..6).prop_map(move |size| {
            Payload::Membership(Membership::of((1..=size).map(member).collect()))
        }),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        5 => (0u64..3, payload()).prop_map(|(step, payload)| Op::Append(step, payload)),
        1 => (1u64..24).prop_map(Op::Truncate),
        1 => any::<prop::sample::Index>().prop_map(Op::Durable),
        1 => (any::<prop::sample::Index>(), 0u64..6, 0usize..900)
            .prop_map(|(place, entries, bytes)| Op::Forget(place, entries, bytes)),
        1 => any::<prop::sample::Index>().prop_map(Op::Compact),
    ];
    prop::collection::vec(op, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_vector(
        base in 0u64..5,
        ops in ops(),
        asked in prop::collection::vec((0u64..24, 0u64..24, 0usize..6, 0usize..600), 8),
    ) {
        let base_membership = (base > 0).then(|| Membership::of(vec![]));
        let base = Position { term: Term(base.min(1)), index: Index(base) };
        let mut log = Log::recovered(base, base_membership.clone(), vec![]);
        let mut model = Model {
            base,
            begin: base.index,
            base_membership,
            entries: vec![],
            durable: base.index.0,
        };
        for op in &ops {
            model.apply(&mut log, op);
            model.is_told_by(&log);
            for (after, to, max, max_bytes) in &asked {
                let after = (*after).max(model.base.index.0);
                let slice = log.slice(Index(after), Index(*to), *max, *max_bytes);
                prop_assert_eq!(slice, model.slice(after, *to, *max, *max_bytes));
            }
        }
        // What comes from a disk is the same log, all of it durable.
        model.durable = model.last().index.0;
        model.begin = model.base.index;
        let membership = model.base_membership.clone();
        let again = Log::recovered(model.base, membership, model.entries.clone());
        model.is_told_by(&again);
    }
}
