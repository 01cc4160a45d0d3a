//! Quorate: a fault-tolerant key-value store on Raft.
//!
//! This package is the outside of it: the configuration ([`config`]), the disk ([`store`]) and
//! the command line ([`cli`]). What decides is in `quorate-core`; the actors around it are in
//! `quorate-actors`; programs talk to a cluster through `quorate-client`.
//!
//! See `README.md` for what it is and is not, `docs/architecture.md` for how it works,
//! `docs/protocol.md` for the clients' protocol.

pub mod cli;
pub mod config;
pub mod process;
pub mod signals;
pub mod store;
