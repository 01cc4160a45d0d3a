//! An order to try when a search does not end: that of the log indexes in the answers.
//!
//! It is believed in nothing: it must keep real time, and each step must explain its answer in
//! the search's own model. If it does, it is an order, wherever it came from.

use super::model::{self, Span, State};
use super::{Fate, Operation};

/// Whether the operations of one key, in the order of their indexes, a write before the reads at
/// its index, keep real time and explain each other's answers. What has no answer is left out.
pub(super) fn explains(operations: &[&Operation]) -> bool {
    let mut order = Vec::new();
    for operation in operations {
        let Fate::Done(told) = operation.fate() else { continue };
        let Some((_, index)) = model::numbers(&operation.op, told) else { return false };
        let is_read = !model::has_written(&operation.op, told);
        order.push((index, is_read, operation.invoked, operation, told));
    }
    order.sort_by_key(|(index, is_read, invoked, ..)| (*index, *is_read, *invoked));
    let (mut state, mut newest): (State, u64) = (None, 0);
    for (_, _, invoked, operation, told) in order {
        if operation.ended.is_some_and(|ended| ended < newest) {
            return false;
        }
        newest = newest.max(invoked);
        match model::step(&operation.op, told, &state, Span::ANY) {
            Some(after) => state = after,
            None => return false,
        }
    }
    true
}
