//! What clients asked and were told, and the two checkers that judge it.
//!
//! A history is a list of [`Operation`]s, in any order, on one clock. It is linearizable
//! (Herlihy and Wing 1990) if each operation can be given one instant between its call and its
//! answer so that the answers are those of a store that executes one operation at a time.
//!
//! ```text
//!                  ┌── witness::check ─────────── the servers' indexes are the order to verify
//!  history ────────┼── witness::check_with_log ── the same, with all that was executed: exact
//!                  └── wgl::check ─────────────── any order will do; the servers are not asked
//! ```
//!
//! The witness check takes linear time and is for every run. It does not trust the servers: an
//! order that explains the answers and keeps real time proves linearizability, whoever named it.
//! The search of Wing and Gong is for short histories, and proves the witness in turn.
//!
//! Pure functions: no clock, no chance, no I/O. They leave out reads that may be stale where
//! real time is concerned, `hello`, `ping`, `bye`, `status` and `members`.

use quorate_core::client::Outcome;
use quorate_core::wire::client::{Consistency, Op, Success};

mod fit;
mod guess;
mod memo;
mod model;
mod order;
mod replay;
#[cfg(test)]
mod tests;
mod timeline;
mod violation;
pub mod wgl;
pub mod witness;

/// One call of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who called. A client may have several calls under way.
    pub client: u64,
    /// When it was called, in microseconds on the one true clock.
    pub invoked: u64,
    /// When it was answered or given up, on the same clock; `None` if the run ended before.
    pub ended: Option<u64>,
    /// What was asked.
    pub op: Op,
    /// What was answered; `None` if the run ended before.
    pub outcome: Option<Outcome>,
}

/// What a history says of whether an operation took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate<'a> {
    /// It did, once, before this answer.
    Done(&'a Success),
    /// It did not and never will, or it was a read that nobody learned from.
    Not,
    /// A write that did at some time after its call, or does later, or never.
    Maybe,
}

impl Operation {
    /// Every outcome that the client may report, seen as this module sees it.
    fn fate(&self) -> Fate<'_> {
        match &self.outcome {
            Some(Outcome::Done(success)) => Fate::Done(success),
            Some(Outcome::NotExecuted(_) | Outcome::Unreachable { .. }) => Fate::Not,
            Some(Outcome::Unknown { .. }) | None if self.op.is_write() => Fate::Maybe,
            Some(Outcome::Unknown { .. }) | None => Fate::Not,
        }
    }

    /// Whether it may be answered from the past, and so is no part of a linearizable history.
    fn is_stale_read(&self) -> bool {
        matches!(&self.op, Op::Get(get) if get.consistency == Consistency::Stale)
    }
}
