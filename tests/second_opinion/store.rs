//! What one key of a sequential store does, after `docs/protocol.md` alone: the specification
//! that the checker searches an order for. It shares nothing with the servers or the simulator.
//!
//! An answer is right if its value, length, number, version and flags are those of the store, and
//! if its revisions and indexes can be those of one log: a write that changes something has a
//! higher revision than all before it, whatever does not has none that is lower, and each write
//! has an index of its own. Which numbers a write got whose answer was lost is open until an
//! answer shows them.
//!
//! A write whose outcome is unknown always fits. That it may never take effect needs no case of
//! its own: then it comes last in the order, where nobody looks.

use bytes::Bytes;
use todc_utils::Specification;

use crate::call::{Answer, Call, Expect, Op, Shown};

/// The specification.
pub(crate) struct Store;

/// One key, and the highest numbers that were seen with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    entry: Option<Entry>,
    revision: u64,
    index: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    value: Bytes,
    version: u64,
    created: Revision,
    modified: Revision,
}

/// A revision of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Revision {
    Exact(u64),
    /// One above this, of a write that nobody was answered.
    Above(u64),
}

enum Effect {
    Keep,
    Write(Bytes),
    Remove,
    /// It is not possible: the value is no number, or would be none.
    Refuse,
}

impl Specification for Store {
    type State = Key;
    type Operation = std::sync::Arc<Call>;

    fn init() -> Key {
        // The revision of an empty store is 1.
        Key { entry: None, revision: 1, index: 0 }
    }

    fn apply(call: &Self::Operation, before: &Key) -> (bool, Key) {
        let after = match &call.answer {
            Some(answer) => answered(call, answer, before),
            None => Some(unanswered(call, before)),
        };
        after.map_or_else(|| (false, before.clone()), |after| (true, after))
    }
}

/// The key after a call, if the answer is right.
fn answered(call: &Call, answer: &Answer, before: &Key) -> Option<Key> {
    let found = found(call, answer, before.entry.as_ref())?;
    let effect = effect(&call.op, Some(answer), found.as_ref());
    let changes = effect.changes(found.as_ref());
    let is_read = matches!(call.op, Op::Get { .. });
    let fits = match (&call.op, &effect) {
        (_, Effect::Refuse) => false,
        (Op::Append { .. }, Effect::Write(value)) => answer.length == Some(value.len() as u64),
        (Op::Increment { .. }, Effect::Write(value)) => {
            answer.number.is_some() && answer.number == number(value)
        }
        (Op::Delete { .. }, _) => answer.deleted == Some(u64::from(found.is_some())),
        (Op::CompareAndSwap { .. }, Effect::Keep) => answer.swapped == Some(false),
        (Op::CompareAndSwap { .. }, _) => answer.swapped == Some(true),
        (Op::Put { .. } | Op::Append { .. } | Op::Increment { .. } | Op::Get { .. }, _) => true,
    };
    let least_revision = before.revision + u64::from(changes);
    let least_index = before.index + u64::from(!is_read);
    if !fits || answer.revision < least_revision || answer.index < least_index {
        return None;
    }
    let mut entry = effect.apply(found, Revision::Exact(answer.revision));
    if answer.swapped == Some(true) {
        entry = same(call, answer, answer.entry.as_ref(), entry.as_ref())?;
    }
    Some(Key { entry, revision: answer.revision, index: answer.index })
}

/// The key after a write whose outcome is unknown, if it takes effect here.
fn unanswered(call: &Call, before: &Key) -> Key {
    let effect = effect(&call.op, None, before.entry.as_ref());
    let changes = effect.changes(before.entry.as_ref());
    Key {
        entry: effect.apply(before.entry.clone(), Revision::Above(before.revision)),
        revision: before.revision + u64::from(changes),
        index: before.index + 1,
    }
}

/// What the call found, with the revisions that its answer shows; `None` if the answer is wrong.
fn found(call: &Call, answer: &Answer, before: Option<&Entry>) -> Option<Option<Entry>> {
    let shown = match &call.op {
        Op::Put { return_previous, .. } | Op::Delete { return_previous } => {
            if answer.previous.is_some() != *return_previous {
                return None;
            }
            answer.previous.as_ref().map(Option::as_ref)
        }
        Op::Get { .. } => Some(answer.entry.as_ref()),
        Op::CompareAndSwap { .. } => match answer.swapped? {
            true => None,
            false => Some(answer.entry.as_ref()),
        },
        Op::Append { .. } | Op::Increment { .. } => None,
    };
    match shown {
        Some(shown) => same(call, answer, shown, before),
        None => Some(before.cloned()),
    }
}

/// The entry with the revisions that are shown, if it can be the one that is shown.
fn same(
    call: &Call,
    answer: &Answer,
    shown: Option<&Shown>,
    entry: Option<&Entry>,
) -> Option<Option<Entry>> {
    let (shown, entry) = match (shown, entry) {
        (None, None) => return Some(None),
        (Some(shown), Some(entry)) => (shown, entry),
        (Some(_), None) | (None, Some(_)) => return None,
    };
    let is_same = shown.key.0 == call.key
        && shown.value.0 == entry.value
        && shown.version == entry.version
        && entry.created.may_be(shown.create_revision)
        && entry.modified.may_be(shown.mod_revision)
        && shown.create_revision <= shown.mod_revision
        && shown.mod_revision <= answer.revision;
    is_same.then(|| {
        let created = Revision::Exact(shown.create_revision);
        let modified = Revision::Exact(shown.mod_revision);
        Some(Entry { created, modified, ..entry.clone() })
    })
}

/// What an operation does. Where that depends on a revision that is not known, the answer is
/// believed; without an answer, that it takes effect, since it may come last otherwise.
fn effect(op: &Op, answer: Option<&Answer>, found: Option<&Entry>) -> Effect {
    match op {
        Op::Get { .. } => Effect::Keep,
        Op::Put { value, .. } => Effect::Write(value.0.clone()),
        Op::Append { value } => {
            let mut bytes = found.map(|entry| entry.value.to_vec()).unwrap_or_default();
            bytes.extend_from_slice(&value.0);
            Effect::Write(bytes.into())
        }
        Op::Delete { .. } => Effect::Remove,
        Op::CompareAndSwap { expect, value } => {
            let believed = answer.is_none_or(|answer| answer.swapped == Some(true));
            match value {
                _ if !is_expected(expect.as_ref(), found, believed) => Effect::Keep,
                Some(value) => Effect::Write(value.0.clone()),
                None => Effect::Remove,
            }
        }
        Op::Increment { by } => {
            let before = found.map_or(Some(0), |entry| number(&entry.value));
            let sum = before.and_then(|before| before.checked_add(*by));
            sum.map_or(Effect::Refuse, |sum| Effect::Write(sum.to_string().into()))
        }
    }
}

fn is_expected(expect: Option<&Expect>, found: Option<&Entry>, believed: bool) -> bool {
    match (expect, found) {
        (None | Some(Expect::ModRevision(0)), found) => found.is_none(),
        (Some(Expect::Value(_) | Expect::ModRevision(_)), None) => false,
        (Some(Expect::Value(value)), Some(entry)) => entry.value == value.0,
        (Some(Expect::ModRevision(revision)), Some(entry)) => match entry.modified {
            Revision::Exact(modified) => modified == *revision,
            Revision::Above(least) => *revision > least && believed,
        },
    }
}

/// The number that a value spells: digits, behind a `-` perhaps.
fn number(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok().filter(|text| !text.starts_with('+'))?;
    text.parse().ok()
}

impl Revision {
    fn may_be(self, revision: u64) -> bool {
        match self {
            Revision::Exact(exact) => revision == exact,
            Revision::Above(least) => revision > least,
        }
    }
}

impl Effect {
    /// Whether it raises the revision.
    fn changes(&self, found: Option<&Entry>) -> bool {
        match self {
            Effect::Keep | Effect::Refuse => false,
            Effect::Write(_) => true,
            Effect::Remove => found.is_some(),
        }
    }

    fn apply(self, found: Option<Entry>, revision: Revision) -> Option<Entry> {
        match self {
            Effect::Keep | Effect::Refuse => found,
            Effect::Remove => None,
            Effect::Write(value) => Some(Entry {
                value,
                version: found.as_ref().map_or(1, |entry| entry.version + 1),
                created: found.map_or(revision, |entry| entry.created),
                modified: revision,
            }),
        }
    }
}
