//! What a history did that no linearizable store does.

use std::fmt;

use super::{Operation, timeline};

/// Which promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// An answer is what the writes before it make of the store.
    Answer,
    /// What ended before a call is at a lower index, or at the same one for a read.
    RealTime,
    /// No two writes have the same index, and an answer is one to the operation.
    Index,
    /// Each write raises the revision by one, and nothing else does.
    Revision,
    /// What was executed is what clients asked for, once each, and what they were told.
    Execution,
    /// The check could not be finished within its budget. It counts as a failure.
    Decidable,
}

/// A broken promise, and the operations that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub rule: Rule,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The operations in question, the accused one last.
    pub operations: Vec<Operation>,
}

impl Violation {
    pub(super) fn new<'a>(
        rule: Rule,
        operations: impl IntoIterator<Item = &'a Operation>,
        message: impl Into<String>,
    ) -> Self {
        let operations = operations.into_iter().cloned().collect();
        Self { rule, message: message.into(), operations }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}: {}", self.rule, self.message)?;
        for operation in &self.operations {
            let key = operation.op.key().map_or(String::new(), timeline::text);
            writeln!(f, "  key {key}  {}", timeline::line(operation))?;
        }
        Ok(())
    }
}

impl std::error::Error for Violation {}
