//! The proof: a whole cluster in one deterministic process, and what watches it.

pub mod facts;
pub mod history;
pub mod invariants;
pub mod known;
pub mod search;
