//! The search of Wing and Gong (1993), as Lowe (2017) and porcupine do it: is there any order
//! of the operations that keeps real time and explains the answers? The servers are not asked.
//!
//! ```text
//!   client 1   |--- put "a" ---|          first return: nothing called later can come first,
//!   client 2        |--- put "b" --|      so only the calls before it are tried
//!   client 3                      |-- get -> "a" --|
//! ```
//!
//! * **One key at a time**, since linearizability is local (Herlihy and Wing §3.3).
//! * **Depth first.** Calls and returns are a linked list in real time. An operation that the
//!   state allows is taken out and the search starts at the head again; at a return, the last
//!   choice is undone.
//! * **Memo.** Two orders of the same operations that leave the same state have the same
//!   future; only the first is followed. Sets and states are compared in full.
//! * **Without an answer.** A write that may have taken effect has no return and is tried last.
//!   It may be left out. What certainly did not happen is no part of the search. Few of them
//!   are needed at a time, so a search that lets few follow each other is made first.
//! * **A budget**, since the problem is NP-complete. Where it does not suffice, one guess may be
//!   made ([`check_or_guess`]).
//!
//! Answers are compared by values, lengths, counts, numbers and versions, not by revisions. So
//! a compare-and-swap that expects a revision may succeed on whatever is there.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use quorate_core::wire::client::{Op, Success};

use super::memo::Memo;
use super::model::{self, Span, State};
use super::{Fate, Operation, guess, timeline};

/// How many operations without an answer may follow each other: a good history is explained by
/// short chains, and the last search, without a limit, would meet the long ones first.
const CHAINS: [usize; 5] = [0, 1, 2, 4, usize::MAX];

/// How much more than the search may cost to make its counterexample small.
const SHRINK_FACTOR: u64 = 4;

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order for each key.
    Linearizable,
    /// There is none for this key.
    Violation(Counterexample),
    /// The budget did not suffice for this key, and no other key is in violation. It counts as
    /// a failure.
    Unknown {
        /// The key.
        key: Bytes,
        /// How many steps were tried.
        steps: u64,
    },
}

/// Operations of one key that no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The key.
    pub key: Bytes,
    /// What had been called when the first answer came that no order explains, without reads
    /// that do not matter. That answer's operation is the last.
    pub operations: Vec<Operation>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = timeline::text(&self.key);
        writeln!(f, "key {key}: no order of these operations explains the answers")?;
        timeline::draw(f, &self.operations)?;
        let Some(last) = self.operations.last() else { return Ok(()) };
        writeln!(f, "the first answer that cannot be:")?;
        writeln!(f, "  {}", timeline::line(last))
    }
}

/// Searches an order of the operations of each key. `budget` is how many times, per key, an
/// operation may be tried.
#[must_use]
pub fn check(history: &[Operation], budget: u64) -> Verdict {
    check_keys(history, budget, |_| false)
}

/// As [`check`]; where the budget of a key does not suffice, the order of the indexes in the
/// answers is tried. It counts if it keeps real time and explains every answer.
#[must_use]
pub fn check_or_guess(history: &[Operation], budget: u64) -> Verdict {
    check_keys(history, budget, guess::explains)
}

fn check_keys(
    history: &[Operation],
    budget: u64,
    guess: impl Fn(&[&Operation]) -> bool,
) -> Verdict {
    let mut keys: BTreeMap<&Bytes, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        if let Some(key) = operation.op.key()
            && operation.fate() != Fate::Not
            && !operation.is_stale_read()
        {
            keys.entry(key).or_default().push(operation);
        }
    }
    let mut verdict = Verdict::Linearizable;
    for (key, operations) in keys {
        let mut left = budget;
        match search(&operations, u64::MAX, &mut left) {
            Found::Order => {}
            Found::OutOfBudget if guess(&operations) => {}
            Found::OutOfBudget => {
                verdict = Verdict::Unknown { key: key.clone(), steps: budget };
            }
            Found::NoOrder => {
                let operations = shrink(operations, budget.saturating_mul(SHRINK_FACTOR));
                return Verdict::Violation(Counterexample { key: key.clone(), operations });
            }
        }
    }
    verdict
}

/// Searches an order of operations of one key, with what is known at the time `until`.
fn search(operations: &[&Operation], until: u64, budget: &mut u64) -> Found {
    for chain in CHAINS {
        let mut search = Search::new(operations, until, chain);
        match search.run(budget) {
            Found::NoOrder if search.is_limited => {}
            found => return found,
        }
    }
    Found::OutOfBudget
}

/// The end of a search.
#[derive(Debug)]
enum Found {
    Order,
    NoOrder,
    OutOfBudget,
}

/// An operation that was answered.
#[derive(Debug)]
struct Call<'a> {
    op: &'a Op,
    told: &'a Success,
    /// The highest version that the key may have before it.
    version: u64,
}

/// A write that may have taken effect.
#[derive(Debug)]
struct Maybe<'a> {
    op: &'a Op,
    invoked: u64,
    /// An equal one that was called earlier. They are interchangeable, so it goes first.
    twin: Option<usize>,
}

/// What to try next.
#[derive(Clone, Copy, Debug)]
enum Cursor {
    /// An entry of the list.
    Entry(usize),
    /// A maybe, before the return at this time.
    Maybe(usize, u64),
}

/// The search on one key.
#[derive(Debug)]
struct Search<'a> {
    calls: Vec<Call<'a>>,
    maybes: Vec<Maybe<'a>>,
    list: List,
    /// What has been taken: the calls, then the maybes.
    taken: Vec<u64>,
    state: State,
    memo: Memo,
    /// What was taken, in order, and the state before.
    path: Vec<(Cursor, State)>,
    /// How many maybes may follow each other.
    chain: usize,
    /// Whether that has mattered.
    is_limited: bool,
}

impl<'a> Search<'a> {
    /// A search on what is known at the time `until`: answers that come later are not.
    fn new(operations: &[&'a Operation], until: u64, chain: usize) -> Self {
        let mut calls = Vec::new();
        let mut maybes: Vec<Maybe<'a>> = Vec::new();
        let mut times = Vec::new();
        let rises = !operations.iter().any(|operation| model::may_remove(&operation.op));
        for operation in operations.iter().filter(|operation| operation.invoked <= until) {
            let Operation { op, invoked, ended, .. } = *operation;
            let known = ended.is_some_and(|ended| ended <= until);
            match operation.fate() {
                Fate::Done(told) if known || until == u64::MAX => {
                    let version = model::version_before(told).filter(|_| rises);
                    calls.push(Call { op, told, version: version.unwrap_or(u64::MAX) });
                    times.push((*invoked, ended.unwrap_or(u64::MAX)));
                }
                Fate::Done(_) | Fate::Maybe if op.is_write() => {
                    maybes.push(Maybe { op, invoked: *invoked, twin: None });
                }
                Fate::Done(_) | Fate::Maybe | Fate::Not => {}
            }
        }
        pair(&mut maybes);
        let taken = vec![0; (calls.len() + maybes.len()).div_ceil(64)];
        let list = List::new(&times);
        let (memo, path) = (Memo::default(), Vec::new());
        Self { calls, maybes, list, taken, state: None, memo, path, chain, is_limited: false }
    }

    fn run(&mut self, budget: &mut u64) -> Found {
        let mut cursor = self.list.first();
        while let Some(next) = cursor {
            let Some(left) = budget.checked_sub(1) else { return Found::OutOfBudget };
            *budget = left;
            cursor = match self.after(next) {
                Some(after) if self.take(next, &after) => {
                    let before = std::mem::replace(&mut self.state, after);
                    self.path.push((next, before));
                    if let Cursor::Entry(entry) = next {
                        self.list.lift(entry);
                    }
                    let Some(first) = self.list.first() else { return Found::Order };
                    Some(first)
                }
                Some(_) | None => self.following(next).or_else(|| self.undo()),
            };
        }
        if self.list.is_empty() { Found::Order } else { Found::NoOrder }
    }

    /// The state after what is at `cursor`; `None` if that does not go, or is of no use.
    fn after(&self, cursor: Cursor) -> Option<State> {
        match cursor {
            Cursor::Entry(entry) => {
                let call = self.calls.get(self.list.operation(entry))?;
                let after = model::step(call.op, call.told, &self.state, Span::ANY)?;
                let is_read = !call.op.is_write();
                (is_read || self.is_in_time(&after, self.list.operation(entry))).then_some(after)
            }
            Cursor::Maybe(number, _) => {
                self.after_maybe(number).filter(|after| self.is_in_time(after, usize::MAX))
            }
        }
    }

    fn after_maybe(&self, number: usize) -> Option<State> {
        let maybe = self.maybes.get(number)?;
        let is_left = |number: usize| !self.is_taken(self.calls.len() + number);
        if !is_left(number) || maybe.twin.is_some_and(is_left) {
            return None;
        }
        let effect = model::effect(maybe.op, None, &self.state);
        effect.writes(&self.state).then(|| effect.apply(&self.state, Span::ANY))
    }

    /// Whether no other call is left that found an older version: versions never fall on a key
    /// that nobody removes.
    fn is_in_time(&self, after: &State, taken_now: usize) -> bool {
        let version = after.as_ref().map_or(0, |entry| entry.version);
        let mut calls = self.calls.iter().enumerate();
        !calls.any(|(bit, call)| call.version < version && bit != taken_now && !self.is_taken(bit))
    }

    /// How many maybes were taken since the last call.
    fn chained(&self) -> usize {
        let is_maybe = |(cursor, _): &&(Cursor, State)| matches!(cursor, Cursor::Maybe(..));
        self.path.iter().rev().take_while(is_maybe).count()
    }

    fn bit(&self, cursor: Cursor) -> usize {
        match cursor {
            Cursor::Entry(entry) => self.list.operation(entry),
            Cursor::Maybe(number, _) => self.calls.len() + number,
        }
    }

    fn is_taken(&self, bit: usize) -> bool {
        self.taken[bit / 64] & (1 << (bit % 64)) != 0
    }

    /// Marks an operation as taken; `false`, and not marked, if that has been visited.
    fn take(&mut self, cursor: Cursor, after: &State) -> bool {
        let chained = match cursor {
            Cursor::Entry(_) => 0,
            Cursor::Maybe(..) => self.chained() + 1,
        };
        self.flip(cursor);
        self.taken.push(chained as u64);
        let is_new = self.memo.insert(&self.taken, after);
        self.taken.pop();
        if !is_new {
            self.flip(cursor);
        }
        is_new
    }

    fn flip(&mut self, cursor: Cursor) {
        let bit = self.bit(cursor);
        self.taken[bit / 64] ^= 1 << (bit % 64);
    }

    /// What is tried after `cursor` in the same state: the calls up to the first return, then
    /// the maybes that were called before it.
    fn following(&mut self, cursor: Cursor) -> Option<Cursor> {
        let (number, before) = match cursor {
            Cursor::Entry(entry) => match self.list.after(entry) {
                Next::Call(entry) => return Some(Cursor::Entry(entry)),
                Next::Return(time) => (0, time),
            },
            Cursor::Maybe(number, before) => (number + 1, before),
        };
        let is_there = self.maybes.get(number).is_some_and(|maybe| maybe.invoked <= before);
        let may_follow = is_there && self.chained() < self.chain;
        self.is_limited |= is_there && !may_follow;
        may_follow.then_some(Cursor::Maybe(number, before))
    }

    /// Undoes the last choice, and gives what is tried instead; `None` if nothing is left.
    fn undo(&mut self) -> Option<Cursor> {
        loop {
            let (last, before) = self.path.pop()?;
            self.flip(last);
            self.state = before;
            if let Cursor::Entry(entry) = last {
                self.list.unlift(entry);
            }
            if let Some(next) = self.following(last) {
                return Some(next);
            }
        }
    }
}

/// What follows an entry of the list.
enum Next {
    /// The call at this entry.
    Call(usize),
    /// A return, at this time.
    Return(u64),
}

/// Orders maybes by their calls, and tells each of its twin.
fn pair(maybes: &mut [Maybe<'_>]) {
    maybes.sort_by_key(|maybe| maybe.invoked);
    for later in 1..maybes.len() {
        let (earlier, rest) = maybes.split_at_mut(later);
        if let Some(maybe) = rest.first_mut() {
            maybe.twin = earlier.iter().rposition(|twin| twin.op == maybe.op);
        }
    }
}

/// Calls and returns in real time, as a list from which operations are lifted and put back.
/// Entry 0 is the head; operation `n` has its call at entry `2n + 1`, its return at `2n + 2`.
#[derive(Debug)]
struct List {
    next: Vec<usize>,
    previous: Vec<usize>,
    /// When each operation returned.
    returns: Vec<u64>,
}

impl List {
    fn new(times: &[(u64, u64)]) -> Self {
        let mut entries = Vec::with_capacity(2 * times.len());
        for (operation, (invoked, ended)) in times.iter().enumerate() {
            // A call and a return in the same microsecond count as concurrent: calls first.
            entries.push((*invoked, false, 2 * operation + 1));
            entries.push((*ended, true, 2 * operation + 2));
        }
        entries.sort_unstable();
        let (mut next, mut previous) = (vec![0; entries.len() + 1], vec![0; entries.len() + 1]);
        let mut last = 0;
        for (_, _, entry) in entries {
            (next[last], previous[entry]) = (entry, last);
            last = entry;
        }
        previous[0] = last;
        Self { next, previous, returns: times.iter().map(|(_, ended)| *ended).collect() }
    }

    fn is_empty(&self) -> bool {
        self.next[0] == 0
    }

    /// The first call.
    fn first(&self) -> Option<Cursor> {
        (!self.is_empty()).then(|| Cursor::Entry(self.next[0]))
    }

    fn operation(&self, entry: usize) -> usize {
        (entry - 1) / 2
    }

    /// What follows a call; there always is something, its own return at the latest.
    fn after(&self, call: usize) -> Next {
        let next = self.next[call];
        if next % 2 == 1 { Next::Call(next) } else { Next::Return(self.returns[next / 2 - 1]) }
    }

    /// Takes out a call and its return.
    fn lift(&mut self, call: usize) {
        for entry in [call, call + 1] {
            let (next, previous) = (self.next[entry], self.previous[entry]);
            self.next[previous] = next;
            self.previous[next] = previous;
        }
    }

    /// Puts back what was lifted last.
    fn unlift(&mut self, call: usize) {
        for entry in [call + 1, call] {
            let (next, previous) = (self.next[entry], self.previous[entry]);
            self.next[previous] = entry;
            self.previous[next] = entry;
        }
    }
}

/// The shortest prefix in time that has no order, without the reads that it does not need; less
/// short where the budget for all tries does not suffice.
fn shrink(mut operations: Vec<&Operation>, mut budget: u64) -> Vec<Operation> {
    operations.sort_by_key(|operation| operation.ended.unwrap_or(u64::MAX));
    if let Some(until) = first_failure(&operations, &mut budget) {
        let is_late = |ended: Option<u64>| ended.is_none_or(|ended| ended > until);
        operations.retain(|operation| {
            operation.invoked <= until && (operation.op.is_write() || !is_late(operation.ended))
        });
        drop_needless_reads(&mut operations, until, &mut budget);
        // The sort is stable: by end, and what ends later or never comes first.
        operations.sort_by_key(|operation| operation.ended == Some(until));
    }
    operations.into_iter().cloned().collect()
}

fn fails(operations: &[&Operation], until: u64, budget: &mut u64) -> bool {
    matches!(search(operations, until, budget), Found::NoOrder)
}

/// When the first answer came that has no order; `None` if the budget does not suffice to tell.
fn first_failure(operations: &[&Operation], budget: &mut u64) -> Option<u64> {
    let mut ends: Vec<u64> = operations.iter().filter_map(|operation| operation.ended).collect();
    ends.dedup();
    // Each prefix of a history that has an order has one, so the first failure is bisected.
    let first = ends.partition_point(|end| !fails(operations, *end, budget));
    ends.get(first).copied()
}

/// Drops reads as long as the rest has no order: fewer answers are easier to explain, so what
/// is left is still a violation.
fn drop_needless_reads(operations: &mut Vec<&Operation>, until: u64, budget: &mut u64) {
    let mut at = 0;
    while let Some(operation) = operations.get(at).copied() {
        let is_last = operation.ended == Some(until);
        if operation.op.is_write() || is_last {
            at += 1;
            continue;
        }
        operations.remove(at);
        if !fails(operations, until, budget) {
            operations.insert(at, operation);
            at += 1;
        }
    }
}
