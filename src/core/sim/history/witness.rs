//! The witness check: the servers say in which order the operations took effect, and this
//! verifies that the order explains every answer and keeps real time.
//!
//! Each answer bears a log index: a write's own, or the one at which a read was served, which
//! sees the writes up to there. The history is linearizable if
//!
//! 1. no two writes have the same index,
//! 2. in real time, an operation's index is not below the largest index of an operation that
//!    ended before its call, and strictly above it for a write,
//! 3. a replay in the order of the indexes, a write before the reads at its index, gives every
//!    answer: values, lengths, counts, numbers, versions and revisions.
//!
//! Operations of which the client does not know whether they took effect have no index. With
//! the log of what was executed ([`check_with_log`]) that does not matter, and the check is
//! exact. Without it ([`check`]) a search places them where an answer needs them. What it leaves
//! out then: that the same hidden revision is not used for two keys.
//!
//! Reads with consistency `stale` are compared with the replay, but may lie in the past.

use std::collections::BTreeMap;

use quorate_core::wire::client::Op;

use super::Operation;
use super::fit::{KeyHistory, Misfit};
use super::order::Order;
use super::replay;
pub use super::violation::{Rule, Violation};

/// How many nodes the search for unknown writes may visit, over all keys. It needs one per
/// answer, and a few more for each unknown write that shows.
const SEARCH_NODES: u64 = 200_000;

/// A write that the replicated state machine executed; retries that got the first execution's
/// reply are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedWrite {
    /// Its log index.
    pub index: u64,
    /// What was executed.
    pub op: Op,
}

/// What a history that passed contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witnessed {
    /// How many operations of each name were answered.
    pub done: BTreeMap<&'static str, u64>,
    /// How many writes ended without a certain answer, or not at all.
    pub unknown: u64,
    /// How many of these took effect: all of them with a log, else those that an answer shows.
    pub unknown_applied: u64,
}

/// Checks a history by the indexes of its answers, in the time that sorting takes, unless many
/// unknown writes of one key took effect.
///
/// # Errors
/// The first violation found; also when the search for the unknown writes takes too long.
pub fn check(history: &[Operation]) -> Result<Witnessed, Violation> {
    let mut order = Order::of(history)?;
    order.count_unanswered()?;
    let mut keys: BTreeMap<_, KeyHistory<'_>> = BTreeMap::new();
    for answer in &order.answers {
        keys.entry(answer.operation.op.key()).or_default().answers.push(*answer);
    }
    for maybe in &order.maybes {
        keys.entry(maybe.operation.op.key()).or_default().maybes.push(*maybe);
    }
    let mut budget = SEARCH_NODES + order.answers.len() as u64;
    let mut applied = 0;
    for key in keys.values() {
        applied += key.fit(&mut budget).map_err(|misfit| violation(key, misfit))?;
    }
    Ok(witnessed(order, applied))
}

/// Checks a history by the replay of everything that was executed, in the order of the log.
/// Exact: each answer must be the replay's, each write that was answered must be in the log at
/// its index, and each other write in the log must be one whose fate is unknown.
///
/// Increments that the data did not allow may be in `log` or not; appends that were refused as
/// too large must not be.
///
/// # Errors
/// The first violation found.
pub fn check_with_log(history: &[Operation], log: &[LoggedWrite]) -> Result<Witnessed, Violation> {
    let order = Order::of(history)?;
    let applied = replay::replay(&order, log)?;
    Ok(witnessed(order, applied))
}

fn witnessed(order: Order<'_>, unknown_applied: u64) -> Witnessed {
    let Order { done, maybes, .. } = order;
    Witnessed { done, unknown: maybes.len() as u64, unknown_applied }
}

fn violation(key: &KeyHistory<'_>, misfit: Misfit) -> Violation {
    match misfit {
        Misfit::Answer(at, state) => match key.answers.get(at) {
            Some(answer) => replay::wrong_answer(answer.operation, answer.index, &state),
            None => Violation::new(Rule::Answer, [], "no order explains the answers"),
        },
        Misfit::Undecided => {
            let maybes = key.maybes.iter().map(|maybe| maybe.operation);
            let message = "too many unknown writes may explain the answers of this key";
            Violation::new(Rule::Decidable, maybes, message)
        }
    }
}
