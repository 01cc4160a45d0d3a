//! What each operation does to its key, and which answers it allows: the sequential store that
//! both checkers compare with. Written anew on purpose, not shared with the servers' own.

use bytes::Bytes;
use quorate_core::wire::client::{CompareAndSwap, Expect, KeyValue, Op, Success};

/// A revision that is known to lie from `low` to `high`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    low: u64,
    high: u64,
}

impl Span {
    /// Nothing is known.
    pub(super) const ANY: Self = Self { low: 0, high: u64::MAX };

    /// This one.
    pub(super) fn exact(revision: u64) -> Self {
        Self { low: revision, high: revision }
    }

    /// One of `[low, high]`.
    pub(super) fn between(low: u64, high: u64) -> Self {
        Self { low, high }
    }

    fn allows(self, revision: u64) -> bool {
        (self.low..=self.high).contains(&revision)
    }

    /// Takes over what was told, unless that is wrong.
    fn learn(&mut self, revision: u64) {
        if self.allows(revision) {
            *self = Self::exact(revision);
        }
    }
}

/// A key that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) value: Bytes,
    pub(super) version: u64,
    created: Span,
    modified: Span,
}

/// What a key is: an entry or nothing.
pub(super) type State = Option<Entry>;

/// What an operation does to its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing, and it is answered.
    Keep,
    /// Nothing, because the data do not allow it.
    Refuse,
    /// The key has this value.
    Write(Bytes),
    /// The key goes, if it was there.
    Remove,
}

impl Effect {
    /// Whether it raises the store's revision.
    pub(super) fn writes(&self, before: &State) -> bool {
        match self {
            Effect::Keep | Effect::Refuse => false,
            Effect::Write(_) => true,
            Effect::Remove => before.is_some(),
        }
    }

    /// What the key is afterwards, if a write gets the revision `revision`.
    pub(super) fn apply(self, before: &State, revision: Span) -> State {
        match self {
            Effect::Keep | Effect::Refuse => before.clone(),
            Effect::Write(value) => {
                let version = before.as_ref().map_or(1, |entry| entry.version + 1);
                let created = before.as_ref().map_or(revision, |entry| entry.created);
                Some(Entry { value, version, created, modified: revision })
            }
            Effect::Remove => None,
        }
    }
}

/// What `op` does to a key. Where that depends on a revision that is not known, the answer is
/// believed; without an answer, that the operation takes effect.
pub(super) fn effect(op: &Op, told: Option<&Success>, before: &State) -> Effect {
    match op {
        Op::Put(put) => Effect::Write(put.value.clone()),
        Op::Append(append) => Effect::Write(joined(before, &append.value)),
        Op::Delete(_) => Effect::Remove,
        Op::CompareAndSwap(swap) if is_expected(swap, told, before) => match &swap.value {
            Some(value) => Effect::Write(value.clone()),
            None => Effect::Remove,
        },
        Op::Increment(increment) => sum(before, increment.by)
            .map_or(Effect::Refuse, |number| Effect::Write(Bytes::from(number.to_string()))),
        Op::Get(_)
        | Op::CompareAndSwap(_)
        | Op::Hello(_)
        | Op::Ping
        | Op::Bye
        | Op::Status
        | Op::Members
        | Op::Admin(_) => Effect::Keep,
    }
}

/// What the key is after `op`, if it was `before` and `told` is a true answer; `None` if not.
pub(super) fn step(op: &Op, told: &Success, before: &State, revision: Span) -> Option<State> {
    if !is_length(op, told, before) {
        return None;
    }
    let effect = effect(op, Some(told), before);
    if effect == Effect::Refuse {
        return None;
    }
    let kept = effect == Effect::Keep;
    let after = effect.apply(before, revision);
    let fits = match op {
        Op::Put(put) => matches!(told, Success::Put { previous, .. }
            if is_previous(op, put.return_previous, previous.as_ref(), before)),
        Op::Append(_) => true,
        Op::Get(_) => matches!(told, Success::Get { entry, .. }
            if is_entry(op, entry.as_ref(), before)),
        Op::Delete(delete) => matches!(told, Success::Delete { deleted, previous, .. }
            if *deleted == u64::from(before.is_some())
                && is_previous(op, delete.return_previous, previous.as_ref(), before)),
        Op::CompareAndSwap(_) => matches!(told, Success::CompareAndSwap { swapped, entry, .. }
            if *swapped != kept && is_entry(op, entry.as_ref(), &after)),
        Op::Increment(_) => matches!(told, Success::Increment { number, .. }
            if after.as_ref().is_some_and(|entry| parsed(&entry.value) == Some(*number))),
        Op::Hello(_) | Op::Ping | Op::Bye | Op::Status | Op::Members | Op::Admin(_) => true,
    };
    fits.then_some(after)
}

/// Whether an append's answer is right; anything goes for other operations. Looked at first,
/// since it needs no copy of the value.
fn is_length(op: &Op, told: &Success, before: &State) -> bool {
    let Op::Append(append) = op else { return true };
    let found = before.as_ref().map_or(0, |entry| entry.value.len());
    matches!(told, Success::Append { length, .. }
        if *length == (found + append.value.len()) as u64)
}

/// The revision and the index that an answer bears; `None` if it is not an answer to `op`.
pub(super) fn numbers(op: &Op, told: &Success) -> Option<(u64, u64)> {
    match (op, told) {
        (Op::Put(_), Success::Put { revision, index, .. })
        | (Op::Append(_), Success::Append { revision, index, .. })
        | (Op::Get(_), Success::Get { revision, index, .. })
        | (Op::Delete(_), Success::Delete { revision, index, .. })
        | (Op::CompareAndSwap(_), Success::CompareAndSwap { revision, index, .. })
        | (Op::Increment(_), Success::Increment { revision, index, .. }) => {
            Some((*revision, *index))
        }
        _ => None,
    }
}

/// Whether, by its answer, an operation raised the revision.
pub(super) fn has_written(op: &Op, told: &Success) -> bool {
    match op {
        Op::Put(_) | Op::Append(_) | Op::Increment(_) => true,
        Op::Delete(_) => matches!(told, Success::Delete { deleted, .. } if *deleted > 0),
        Op::CompareAndSwap(swap) => {
            // To remove what is expected to be absent succeeds and changes nothing.
            let found = !matches!(swap.expect, Expect::Absent | Expect::ModRevision(0));
            matches!(told, Success::CompareAndSwap { swapped: true, .. })
                && (found || swap.value.is_some())
        }
        Op::Get(_)
        | Op::Hello(_)
        | Op::Ping
        | Op::Bye
        | Op::Status
        | Op::Members
        | Op::Admin(_) => false,
    }
}

/// Takes over the revisions of the entry that an answer shows as it was before the operation.
pub(super) fn learn_before(told: &Success, before: &mut State) {
    if let Some(Some(shown)) = shown_before(told) {
        learn(before, shown);
    }
}

/// The version that an answer shows as it was before the operation, 0 for an absent key.
pub(super) fn version_before(told: &Success) -> Option<u64> {
    shown_before(told).map(|shown| shown.map_or(0, |shown| shown.version))
}

fn shown_before(told: &Success) -> Option<Option<&KeyValue>> {
    match told {
        Success::Put { previous, .. } | Success::Delete { previous, .. } => {
            previous.as_ref().map(Option::as_ref)
        }
        Success::Get { entry, .. } | Success::CompareAndSwap { swapped: false, entry, .. } => {
            Some(entry.as_ref())
        }
        Success::CompareAndSwap { swapped: true, .. }
        | Success::Append { .. }
        | Success::Increment { .. }
        | Success::Hello(_)
        | Success::Empty
        | Success::Status(_)
        | Success::Members(_) => None,
    }
}

/// Whether an operation may remove its key, after which versions begin anew.
pub(super) fn may_remove(op: &Op) -> bool {
    match op {
        Op::Delete(_) => true,
        Op::CompareAndSwap(swap) => swap.value.is_none(),
        Op::Put(_)
        | Op::Append(_)
        | Op::Increment(_)
        | Op::Get(_)
        | Op::Hello(_)
        | Op::Ping
        | Op::Bye
        | Op::Status
        | Op::Members
        | Op::Admin(_) => false,
    }
}

/// Takes over the revisions of the entry that an answer shows as the operation left it.
pub(super) fn learn_after(told: &Success, after: &mut State) {
    if let Success::CompareAndSwap { swapped: true, entry: Some(shown), .. } = told {
        learn(after, shown);
    }
}

fn learn(state: &mut State, shown: &KeyValue) {
    if let Some(entry) = state {
        entry.created.learn(shown.create_revision);
        entry.modified.learn(shown.mod_revision);
    }
}

/// Whether an answer with or without the entry before is right.
fn is_previous(op: &Op, asked: bool, told: Option<&Option<KeyValue>>, before: &State) -> bool {
    match told {
        Some(shown) => asked && is_entry(op, shown.as_ref(), before),
        None => !asked,
    }
}

/// Whether what an answer shows is what is there.
fn is_entry(op: &Op, shown: Option<&KeyValue>, state: &State) -> bool {
    match (shown, state) {
        (None, None) => true,
        (Some(shown), Some(entry)) => {
            shown.value == entry.value
                && shown.version == entry.version
                && entry.created.allows(shown.create_revision)
                && entry.modified.allows(shown.mod_revision)
                && shown.create_revision <= shown.mod_revision
                && shown.lease == 0
                && op.key() == Some(&shown.key)
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn is_expected(swap: &CompareAndSwap, told: Option<&Success>, before: &State) -> bool {
    match &swap.expect {
        Expect::Absent | Expect::ModRevision(0) => before.is_none(),
        Expect::Value(value) => before.as_ref().is_some_and(|entry| entry.value == value),
        Expect::ModRevision(revision) => before.as_ref().is_some_and(|entry| {
            let known = entry.modified.low == entry.modified.high;
            let believed = !matches!(told, Some(Success::CompareAndSwap { swapped: false, .. }));
            entry.modified.allows(*revision) && (known || believed)
        }),
    }
}

fn joined(before: &State, tail: &Bytes) -> Bytes {
    let Some(entry) = before else { return tail.clone() };
    [&entry.value[..], &tail[..]].concat().into()
}

fn sum(before: &State, by: i64) -> Option<i64> {
    let found = before.as_ref().map_or(Some(0), |entry| parsed(&entry.value))?;
    found.checked_add(by)
}

/// The number that a value spells: digits behind an optional `-`, nothing else.
fn parsed(value: &[u8]) -> Option<i64> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}
