//! The proof: a whole cluster in one deterministic process, and what watches it.

pub mod history;
pub mod search;
