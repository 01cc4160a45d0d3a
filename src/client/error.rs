//! How a call fails: certainly not executed, or unknown.

use quorate_core::client::Outcome;
use quorate_core::wire::client::{ErrorCode, Failure, Leader, Success};

/// Why a call did not succeed. Only [`Error::Unknown`] leaves open whether it was executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It was not executed and never will be.
    #[error("not executed: {code}: {message}")]
    NotExecuted {
        /// The kind of refusal.
        code: ErrorCode,
        /// One sentence that says what to do.
        message: String,
        /// The leader, where the node knew it.
        leader: Option<Leader>,
    },
    /// A write was sent and may have been executed, once, or not.
    #[error("outcome unknown (session {session}, id {id}): {reason}")]
    Unknown {
        /// The session it was sent in; 0 where sessionless.
        session: u64,
        /// Its id there.
        id: u64,
        /// What stood in the way of an answer.
        reason: String,
    },
    /// It was not executed and never will be: no node could be reached in time.
    #[error("unreachable: {reason}")]
    Unreachable {
        /// What stood in the way.
        reason: String,
    },
}

impl Error {
    /// Whether it is certain that the call was not executed and never will be.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        !matches!(self, Error::Unknown { .. })
    }

    pub(crate) fn refused(code: ErrorCode, message: &str) -> Self {
        Failure::new(code, message).into()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let Failure { code, message, leader, .. } = failure;
        Error::NotExecuted { code, message, leader }
    }
}

/// The outcome as a result.
pub(crate) fn result(outcome: Outcome) -> Result<Success, Error> {
    match outcome {
        Outcome::Done(success) => Ok(success),
        Outcome::NotExecuted(failure) => Err(failure.into()),
        Outcome::Unreachable { reason } => Err(Error::Unreachable { reason }),
        Outcome::Unknown { session, id, reason } => Err(Error::Unknown { session, id, reason }),
    }
}
