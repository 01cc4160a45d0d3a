//! I11: each request takes effect at most once, and a repeated one gets the first answer (dissertation
//! §6.3).
//!
//! Every result of every node equals that of the oracle, a second state machine written from the
//! documentation; and the oracle itself sees no write of a session executed twice.

use std::collections::BTreeMap;

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;
use crate::oracle::same;

/// Results are the oracle's, and none is of a second execution.
#[derive(Debug, Default)]
pub(super) struct AtMostOnce {
    executed: BTreeMap<(u64, u64), u64>,
}

impl Invariant for AtMostOnce {
    fn id(&self) -> &'static str {
        "I11"
    }

    fn claim(&self) -> &'static str {
        "each request is executed at most once, and each result is what the documentation says"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Applied { node, entry, result, .. } = fact else { return Ok(()) };
        let Some(execution) = known.oracle.at(entry.index.0) else { return Ok(()) };
        let equal = match (result, &execution.result) {
            (None, None) => true,
            (Some(result), Some(expected)) => same(result, expected),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !equal {
            return Err(format!(
                "node {node} answers entry {} with {result:?}; it should be {:?}",
                entry.index, execution.result
            ));
        }
        if known.newly_executed.is_none() || !execution.fresh || execution.session == 0 {
            return Ok(());
        }
        let (session, id, index) = (execution.session, execution.id, execution.index);
        match self.executed.insert((session, id), index) {
            None => Ok(()),
            Some(first) => Err(format!(
                "request {id} of session {session} is executed at {first} and again at {index}"
            )),
        }
    }
}
