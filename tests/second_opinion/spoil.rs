//! The control: histories that are wrong for certain, made of true ones.

use std::sync::Arc;

use crate::call::{Answer, Op, Timed};

/// The history of one key with one read that answers from the past: with the entry that another
/// read had found before an acknowledged write, which ended before the spoilt read began. `None`
/// if there is no such read. Whatever happened in between, an entry's revision never comes again.
pub(crate) fn with_a_stale_read(calls: &[Timed]) -> Option<Vec<Timed>> {
    let mut calls = calls.to_vec();
    calls.sort_by_key(|timed| timed.invoked_ns);
    let (place, stale) = calls.iter().enumerate().rev().find_map(|(place, timed)| {
        let write =
            calls.iter().rev().find(|write| has_written(write) && ends_before(write, timed));
        let answers =
            calls.iter().filter(|read| write.is_some_and(|write| ends_before(read, write)));
        let old = answers.filter_map(found).next_back()?;
        found(timed)?;
        let answer = Answer { entry: old.entry.clone(), ..timed.call.answer.clone()? };
        Some((place, answer))
    })?;
    let timed = calls.get_mut(place)?;
    Arc::make_mut(&mut timed.call).answer = Some(stale);
    Some(calls)
}

fn ends_before(one: &Timed, other: &Timed) -> bool {
    one.ended_ns.is_some_and(|ended| ended < other.invoked_ns)
}

/// The answer of a read that found something.
fn found(timed: &Timed) -> Option<&Answer> {
    let is_read = matches!(timed.call.op, Op::Get { .. });
    timed.call.answer.as_ref().filter(|answer| is_read && answer.entry.is_some())
}

/// Whether it is a write that was acknowledged and changed the key for certain.
fn has_written(timed: &Timed) -> bool {
    let Some(answer) = &timed.call.answer else { return false };
    match timed.call.op {
        Op::Put { .. } | Op::Append { .. } | Op::Increment { .. } => true,
        Op::Delete { .. } => answer.deleted == Some(1),
        Op::CompareAndSwap { .. } | Op::Get { .. } => false,
    }
}
