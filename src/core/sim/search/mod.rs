//! A bounded exhaustive search: every order in which a few things can happen to three real
//! nodes, not a sample of them.
//!
//! A test or a person calls [`explore()`] with a [`Start`] and [`Bounds`]. It walks, breadth
//! first, through every state that can be reached: messages come in in any order, late, never or
//! twice; a disk syncs late; a node crashes and loses what has not reached its disk; elections
//! time out at any moment. In each state the rules of `checks` hold, and the core's own
//! assertions do, or the shortest way to the state in which they do not is the answer.
//!
//! ```text
//!   Start ──► State ──choices──► Choice ──► Machine::after ──► State' ──checks──► seen before?
//!              ▲   machines, packets,        (the real core,               │ no
//!              │   history, what is used      remembered by fingerprint)   ▼
//!              └───────────────────────── the next level ◄─────────────────┘
//! ```
//!
//! # What it promises
//!
//! A search that ends with `complete` has seen every state within its bounds, up to what is left
//! out below, and no rule was broken in any. A violation comes with a way to it than which none
//! is shorter.
//!
//! # What it leaves out, and why nothing is lost
//!
//! Always:
//!
//! * Lost messages: one that never comes in.
//! * The time that a crashed node is down: nothing happens to it.
//! * Votes that are refused for a live leader's sake: a request that has not come yet.
//! * Pre-votes are granted at once: more elections than can happen, not fewer (`machine.rs`).
//! * A write without content, which only holds back messages, is on the disk at once: what it
//!   held back can still come late.
//!
//! With [`Bounds::reduced`], which makes room for the second term:
//!
//! * Late syncs of nodes that will not crash. Which nodes may is chosen at the start, in every
//!   way; of the others nobody can tell whether a write is late or the message that waits for it.
//!   A leader may so commit earlier, which binds it more, not less.
//! * Messages that cannot matter any more (`reduce.rs`).
//! * Of nodes that nothing tells apart yet, the one with the lowest number is the first to which
//!   something happens: the other orders are the same with the names exchanged.
//!
//! # What it leaves out, and what that costs
//!
//! Reads, sessions, snapshots, several inputs before one drain, more than one entry in a message,
//! answers to heartbeats (and so the repair of lost appends without a new connection), a timeout
//! of a node whose writes are still on their way to the disk. The simulation by seed covers these.

mod checks;
mod explore;
mod machine;
mod print;
mod reactions;
mod reduce;
mod start;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;

pub use explore::explore;
pub use start::Start;

/// How much may happen on one path.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Terms beyond the start's.
    pub terms: u64,
    /// Commands that clients propose.
    pub proposals: u8,
    /// Messages that come in twice.
    pub duplicates: u8,
    /// Crashes, each with a restart.
    pub crashes: u8,
    /// Whether leaders tell a new commit index in heartbeats, and not only with entries.
    pub heartbeats: bool,
    /// Whether to leave out what arguments say cannot matter (see the module).
    pub reduced: bool,
    /// The most states to look at; below 2^32. Ten million take some 2 GB.
    pub max_states: usize,
}

/// What a search has seen.
#[derive(Clone, Debug)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Steps from one state to another, or to itself.
    pub transitions: usize,
    /// Different states of single nodes.
    pub machines: usize,
    /// The length of the longest of the shortest paths to each state.
    pub deepest: usize,
    /// Whether nothing is left to look at within the bounds.
    pub complete: bool,
    /// A shortest way to break a rule, if there is one.
    pub violation: Option<Violation>,
}

/// A way to break a rule.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The rule, and how it is broken.
    pub what: String,
    /// What happened, step by step.
    pub path: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in (1..).zip(&self.path) {
            writeln!(f, "{number:3}. {step}")?;
        }
        write!(f, "  => {}", self.what)
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, transitions, machines, deepest, complete, violation } = self;
        let end = if *complete { "complete" } else { "cut short" };
        write!(
            f,
            "{states} states of {machines} node states, {transitions} transitions, \
             {deepest} deep, {end}"
        )?;
        violation.as_ref().map_or(Ok(()), |violation| write!(f, "\n{violation}"))
    }
}
