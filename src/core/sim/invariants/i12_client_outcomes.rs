//! I12: a client is told the truth (dissertation §6.3): it happened, with its index; it did not and
//! never will; or it is unknown.
//!
//! A write that was answered was executed at the index it names and gave what it says; one that was
//! said not to have been executed never is, in whatever session it was sent; and each call ends once.

use std::collections::BTreeMap;

use quorate_core::client::Outcome;
use quorate_core::wire::client::Success;

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;
use crate::oracle::{Execution, same};

#[derive(Debug, Default)]
struct Call {
    write: bool,
    ended: bool,
    /// It was said that it is not and will never be executed.
    denied: bool,
    /// Where it was executed with success.
    executed: Option<u64>,
}

/// What clients are told is so.
#[derive(Debug, Default)]
pub(super) struct ClientOutcomes {
    calls: BTreeMap<u64, Call>,
    /// Which call a request belongs to.
    posted: BTreeMap<(u64, u64), u64>,
}

/// The index that an answer to a write names.
fn index_of(success: &Success) -> Option<u64> {
    match success {
        Success::Put { index, .. }
        | Success::Append { index, .. }
        | Success::Delete { index, .. }
        | Success::CompareAndSwap { index, .. }
        | Success::Increment { index, .. } => Some(*index),
        Success::Hello(_)
        | Success::Empty
        | Success::Get { .. }
        | Success::Status(_)
        | Success::Members(_) => None,
    }
}

impl ClientOutcomes {
    fn completed(&mut self, known: &Known, call: u64, outcome: &Outcome) -> Result<(), String> {
        let Some(state) = self.calls.get_mut(&call) else {
            return Err(format!("call {call}, which nobody made, ends"));
        };
        if std::mem::replace(&mut state.ended, true) {
            return Err(format!("call {call} ends a second time: {outcome:?}"));
        }
        match outcome {
            Outcome::Done(success) if state.write => {
                let index = index_of(success).unwrap_or(0);
                let told = Ok(success.clone());
                let so = known.oracle.at(index).is_some_and(|execution| {
                    execution.fresh
                        && self.posted.get(&(execution.session, execution.id)) == Some(&call)
                        && execution.result.as_ref().is_some_and(|result| same(result, &told))
                });
                if !so {
                    let at = known.oracle.at(index);
                    return Err(format!("call {call} was told {success:?}; executed was {at:?}"));
                }
            }
            Outcome::NotExecuted(_) | Outcome::Unreachable { .. } => {
                state.denied = true;
                if let Some(index) = state.executed {
                    return Err(format!(
                        "call {call} was told that it was not executed; it was, at {index}"
                    ));
                }
            }
            Outcome::Done(_) | Outcome::Unknown { .. } => {}
        }
        Ok(())
    }

    fn executed(&mut self, execution: &Execution) -> Result<(), String> {
        let worked = execution.fresh && matches!(execution.result, Some(Ok(_)));
        if !worked || execution.op.is_none() {
            return Ok(());
        }
        let (session, id, index) = (execution.session, execution.id, execution.index);
        let Some(call) = self.posted.get(&(session, id)) else {
            return Err(format!("request {session}:{id} is executed, and no client sent it"));
        };
        let Some(state) = self.calls.get_mut(call) else { return Ok(()) };
        if state.denied {
            return Err(format!(
                "call {call} was told that it would never be executed; it is, at {index}"
            ));
        }
        if let Some(first) = state.executed.replace(index) {
            return Err(format!("call {call} is executed at {first} and again at {index}"));
        }
        Ok(())
    }
}

impl Invariant for ClientOutcomes {
    fn id(&self) -> &'static str {
        "I12"
    }

    fn claim(&self) -> &'static str {
        "what a client is told happened did, what it is told did not never does, each call ends once"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Invoked { call, op, .. } => {
                self.calls.insert(*call, Call { write: op.is_write(), ..Call::default() });
                Ok(())
            }
            Fact::Posted { call, session, id, .. } => {
                let first = *self.posted.entry((*session, *id)).or_insert(*call);
                if first == *call {
                    return Ok(());
                }
                Err(format!("request {session}:{id} is sent for call {first} and for call {call}"))
            }
            Fact::Completed { call, outcome, .. } => self.completed(known, *call, outcome),
            Fact::Applied { .. } => match known.newly_executed.and_then(|at| known.oracle.at(at)) {
                Some(execution) => self.executed(execution),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
