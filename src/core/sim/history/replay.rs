//! Replays all that was executed, and compares every answer with it.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_core::wire::client::Op;

use super::model::{self, Effect, Span, State};
use super::order::{Answer, Order};
use super::violation::{Rule, Violation};
use super::witness::LoggedWrite;
use super::{Operation, timeline};

/// Compares the answers of a history with the replay of `log`, and gives how many writes
/// without an answer took effect.
///
/// # Errors
/// At the first difference.
pub(super) fn replay(order: &Order<'_>, log: &[LoggedWrite]) -> Result<u64, Violation> {
    let mut store = Store { keys: BTreeMap::new(), revision: 1 };
    let mut answers = order.answers.iter().peekable();
    let mut unclaimed = Vec::new();
    let mut last = 0;
    for write in log {
        if write.index <= last {
            let message = format!("the log's index {} follows {last}", write.index);
            return Err(Violation::new(Rule::Execution, [], message));
        }
        last = write.index;
        while let Some(answer) = answers.next_if(|answer| answer.index < write.index) {
            store.answer_outside(answer)?;
        }
        let told =
            answers.next_if(|answer| answer.index == write.index && answer.operation.op.is_write());
        match told {
            Some(answer) => store.answer_logged(answer, write)?,
            None if store.execute(&write.op) => unclaimed.push(write),
            None => {}
        }
    }
    for answer in answers {
        store.answer_outside(answer)?;
    }
    assign(order, &unclaimed)?;
    Ok(unclaimed.len() as u64)
}

/// The store as the log makes it.
struct Store<'a> {
    keys: BTreeMap<&'a Bytes, State>,
    revision: u64,
}

impl<'a> Store<'a> {
    /// Executes a write that was not answered; `false` if the data did not allow it.
    fn execute(&mut self, op: &'a Op) -> bool {
        let Some(key) = op.key() else { return false };
        let state = self.keys.entry(key).or_default();
        let effect = model::effect(op, None, state);
        self.revision += u64::from(effect.writes(state));
        let is_allowed = effect != Effect::Refuse;
        *state = effect.apply(state, Span::exact(self.revision));
        is_allowed
    }

    /// An answer at an index at which a write was executed.
    fn answer_logged(
        &mut self,
        answer: &Answer<'a>,
        write: &'a LoggedWrite,
    ) -> Result<(), Violation> {
        if answer.operation.op != write.op {
            let message = format!("at index {} was executed: {:?}", write.index, write.op);
            return Err(Violation::new(Rule::Execution, [answer.operation], message));
        }
        self.answer(answer)
    }

    /// An answer at an index at which no write was executed, or a read there.
    fn answer_outside(&mut self, answer: &Answer<'a>) -> Result<(), Violation> {
        if answer.operation.op.is_write() {
            let message = format!("no write was executed at its index {}", answer.index);
            return Err(Violation::new(Rule::Execution, [answer.operation], message));
        }
        self.answer(answer)
    }

    fn answer(&mut self, answer: &Answer<'a>) -> Result<(), Violation> {
        let Answer { operation, told, index, .. } = *answer;
        let Some(key) = operation.op.key() else { return Ok(()) };
        let state = self.keys.entry(key).or_default();
        self.revision += u64::from(model::effect(&operation.op, None, state).writes(state));
        let Some(after) = model::step(&operation.op, told, state, Span::exact(self.revision))
        else {
            return Err(wrong_answer(operation, index, state));
        };
        *state = after;
        if answer.revision != self.revision {
            let message = format!("at index {index} the revision is {}", self.revision);
            return Err(Violation::new(Rule::Revision, [operation], message));
        }
        Ok(())
    }
}

/// An answer that does not follow from what the key was.
pub(super) fn wrong_answer(operation: &Operation, index: u64, before: &State) -> Violation {
    let message = format!("before its index {index} the key was {}", timeline::state(before));
    Violation::new(Rule::Answer, [operation], message)
}

/// Gives each executed write that nobody was told of to an operation without an answer: an
/// equal one, called before all that had ended at a higher index. Each is used once.
fn assign(order: &Order<'_>, unclaimed: &[&LoggedWrite]) -> Result<(), Violation> {
    let mut free: BTreeMap<Identity<'_>, Vec<_>> = BTreeMap::new();
    if !unclaimed.is_empty() {
        for maybe in &order.maybes {
            free.entry(identity(&maybe.operation.op)).or_default().push(maybe);
        }
    }
    for write in unclaimed {
        let maybes = free.entry(identity(&write.op)).or_default();
        let equal = maybes.iter().enumerate().filter(|(_, maybe)| maybe.operation.op == write.op);
        // Of equal ones the lowest floor goes first: indexes rise, so it is never needed later.
        match equal.min_by_key(|(_, maybe)| maybe.floor) {
            Some((at, maybe)) if maybe.floor < write.index => {
                maybes.swap_remove(at);
            }
            Some((_, maybe)) => {
                let message = format!("it was executed at index {}, before its call", write.index);
                return Err(Violation::new(Rule::Execution, [maybe.operation], message));
            }
            None => return Err(unexplained(order, write)),
        }
    }
    Ok(())
}

/// A write that was executed, and that no operation can have been.
fn unexplained(order: &Order<'_>, write: &LoggedWrite) -> Violation {
    let LoggedWrite { index, op } = write;
    let is_it = |operation: &&Operation| operation.op == *op;
    let refused: Vec<_> = order.refused.iter().copied().filter(is_it).take(1).collect();
    let done = order.answers.iter().map(|answer| answer.operation);
    let (message, operations) = if refused.is_empty() {
        let done: Vec<_> = done.filter(is_it).take(1).collect();
        let once = if done.is_empty() { "nobody asked for it" } else { "once more than asked for" };
        (format!("at index {index} was executed, {once}: {op:?}"), done)
    } else {
        (format!("it was executed at index {index}, and its client told that not"), refused)
    };
    Violation::new(Rule::Execution, operations, message)
}

/// What equal writes have in common; writes that differ rarely have it in common, too.
type Identity<'a> = (&'static str, Option<&'a Bytes>, Option<&'a Bytes>);

fn identity(op: &Op) -> Identity<'_> {
    let value = match op {
        Op::Put(put) => Some(&put.value),
        Op::Append(append) => Some(&append.value),
        Op::CompareAndSwap(swap) => swap.value.as_ref(),
        Op::Get(_)
        | Op::Delete(_)
        | Op::Increment(_)
        | Op::Hello(_)
        | Op::Ping
        | Op::Bye
        | Op::Status
        | Op::Members
        | Op::Admin(_) => None,
    };
    (op.name(), op.key(), value)
}
