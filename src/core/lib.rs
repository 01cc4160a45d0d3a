//! The pure core of Quorate: everything that decides, nothing that waits.
//!
//! * [`raft`]: consensus, as `step` and `drain`.
//! * [`kv`]: the state machine: the data, its revisions, the sessions.
//! * [`wire`]: MessagePack, between clients and nodes and between nodes.
//! * [`wal`]: the write-ahead log's format and recovery, over the [`fs::Fs`] trait.
//! * [`client`]: a client's session without I/O: ids, retries, failover.
//!
//! No clock, disk, socket, thread or randomness lives here: time is an argument, the disk is a
//! trait, chance comes from a seed.
//!
//! # Glossary
//!
//! The words are those of Ongaro's dissertation; no synonyms are used.
//!
//! | word | meaning |
//! |---|---|
//! | term | a period of at most one leader |
//! | index | a place in the log, counted from 1 |
//! | entry | one record of the log: term, index, payload |
//! | commit index | the highest index known to be on a quorum |
//! | applied index | the highest index the state machine has executed |
//! | match index | the highest index known to be durable on a follower |
//! | next index | the next entry to send to a follower |
//! | pre-vote | asking whether a vote could be won, before any term is raised |
//! | ReadIndex | a read's commit index, confirmed by a round of heartbeats |
//! | session | a client's identity, within which each write id is executed at most once |
//! | revision | the store's version: every write that changes something raises it by one |

#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm, clippy::indexing_slicing))]

#[macro_use]
pub mod mutant;

pub mod client;
pub mod fs;
pub mod kv;
pub mod membership;
pub mod raft;
pub mod store;
pub mod types;
pub mod wal;
pub mod wire;
