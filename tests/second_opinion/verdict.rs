//! Verdicts: the search, its limit of time, and the shortest beginning of a history that is wrong.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use todc_utils::{Action, History, WGLChecker};

use crate::call::Timed;
use crate::store::Store;

/// What the checker says of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is an order that explains every answer.
    Linearizable,
    /// There is none.
    Illegal,
    /// The time was over before.
    Undecided,
}

/// Searches for an order of the calls to one key. The checker cannot be stopped: one that is out
/// of time goes on beside us, and ends with the process.
pub(crate) fn judge(calls: &[Timed], limit: Duration) -> Verdict {
    if calls.is_empty() {
        return Verdict::Linearizable;
    }
    let (told, verdict) = channel();
    let actions = actions(calls);
    thread::spawn(move || {
        let found = WGLChecker::<Store>::is_linearizable(History::from_actions(actions));
        // Nobody waits for an answer that comes too late.
        let _ = told.send(found);
    });
    match verdict.recv_timeout(limit) {
        Ok(true) => Verdict::Linearizable,
        Ok(false) => Verdict::Illegal,
        Err(_) => Verdict::Undecided,
    }
}

type Operation = <Store as todc_utils::Specification>::Operation;

/// Calls and returns in the order of their times; at the same time, calls first. Each call is a
/// process of its own, since a client may have several under way.
fn actions(calls: &[Timed]) -> Vec<(usize, Action<Operation>)> {
    let mut actions = Vec::with_capacity(2 * calls.len());
    for (place, timed) in calls.iter().enumerate() {
        let never = u64::MAX;
        actions.push((timed.invoked_ns, false, place));
        actions.push((timed.ended_ns.unwrap_or(never), true, place));
    }
    actions.sort_unstable();
    let action = |(_, is_return, place): (u64, bool, usize)| {
        let call = calls[place].call.clone();
        (place, if is_return { Action::Response(call) } else { Action::Call(call) })
    };
    actions.into_iter().map(action).collect()
}

/// The shortest beginning in time of a wrong history that is wrong, as far as the time allows.
/// Its last call by end is the one that no order explains.
pub(crate) fn shortest(calls: &[Timed], limit: Duration) -> Vec<Timed> {
    let by = Instant::now() + limit;
    let mut ends: Vec<u64> = calls.iter().filter_map(|timed| timed.ended_ns).collect();
    ends.sort_unstable();
    // Every beginning of a history that has an order has one.
    let is_right = |until: &u64| {
        let left = by.saturating_duration_since(Instant::now());
        judge(&beginning(calls, *until), left) == Verdict::Linearizable
    };
    let first = ends.partition_point(is_right);
    let mut shortest = ends.get(first).map_or_else(|| calls.to_vec(), |end| beginning(calls, *end));
    shortest.sort_by_key(|timed| timed.ended_ns.unwrap_or(0));
    shortest
}

/// What was known at a time: later answers were not, and later calls had not been made.
fn beginning(calls: &[Timed], until: u64) -> Vec<Timed> {
    let mut known = Vec::new();
    for timed in calls.iter().filter(|timed| timed.invoked_ns <= until) {
        if timed.ended_ns.is_some_and(|ended| ended <= until) {
            known.push(timed.clone());
        } else if let Some(open) = timed.unanswered() {
            known.push(open);
        }
    }
    known
}
