//! The proof: a whole cluster in one deterministic process, and what watches it.

pub mod canary;
pub mod chance;
pub mod coverage;
pub mod facts;
pub mod habits;
pub mod history;
pub mod invariants;
pub mod known;
pub mod ledger;
pub mod oracle;
pub mod plan;
pub mod search;
pub mod shrink;
pub mod story;
pub mod watch;
pub mod world;
