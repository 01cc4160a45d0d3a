//! The replicated state machine: what the log's commands do to the data and to the sessions.
//!
//! ```text
//!  committed entry ──► StateMachine::apply(index, payload) ──► OpResult, for whoever waits
//!                         │
//!                         ├── data      key → value, revisions            (data.rs)
//!                         ├── sessions  id → deadline, replies, mark      (sessions.rs)
//!                         ├── tally     hash and bytes, kept as both change (digest.rs)
//!                         └── changes   since the last checkpoint (changes.rs)
//!
//!   a point in time ──► records (record.rs) ──► checkpoint, or a snapshot's chunks ──► Builder
//! ```
//!
//! # What it is
//!
//! A [`StateMachine`] executes a [`Command`] per committed entry, in the order of the log and
//! each index once. It is called by whoever owns the state of a node (an actor, a simulated
//! node, a test), and it calls nobody. A session's node encodes the command once, with
//! [`Command::encode`]; Raft carries it as opaque bytes; every replica decodes it here.
//!
//! # What it promises
//!
//! * **Determinism.** The state is a function of the log alone. There is no clock, no chance,
//!   no configuration: limits that matter ride in the command, so that replicas with different
//!   settings or versions of them still decide alike.
//! * **At most once** (dissertation §6.3). Within a session each write id is executed at most
//!   once. A retry gets the first execution's reply, with its revision and index; a retry whose
//!   reply is forgotten gets `stale_request`; a write of a session that is gone gets
//!   `session_expired`. Refusals that depend on the data (`bad_request` of an increment,
//!   `too_large` of an append) are replies like any other: executed once, remembered, repeated.
//! * **One clock for all.** Sessions expire by `Clock` entries in the log, never by a node's
//!   own clock; see [`Pacemaker`].
//! * **Cheap points in time.** All of it is shared by copies, so a clone of the state machine is
//!   a count of references for each thousand keys, and what is applied later does not show in it.
//!   What is shared is copied when it is changed, for as long as the clone lives.
//! * **A hash.** [`StateMachine::hash`] costs a few nanoseconds, whatever the size of the
//!   state, and is equal on replicas at equal applied index; a difference is an alarm.
//!
//! # Revisions
//!
//! An empty store is at revision 1, and each command that writes raises it by one. A put, an
//! append and an increment that succeed always write, also where the value stays as it was (the
//! entry's `mod_revision` and `version` tell). The delete of a missing key, a compare-and-swap
//! that finds something else, and a refusal write nothing.
//!
//! # What it leaves out, and what that costs
//!
//! * **History.** Only the newest value of a key is kept; a `get` of an old revision is
//!   `unsupported`.
//! * **Range operations, transactions, leases, watches.** An entry's `lease` is always 0.
//! * **Limits of requests.** The lengths of keys and put values are checked before a command is
//!   proposed. Only the length of an append's result is known no earlier than here.
//! * **A bound on the bytes of cached replies.** Their number is bounded by the session's
//!   window; their bytes are counted into [`Summary::state_bytes`].

pub mod backup;
mod changed;
mod changes;
mod command;
mod data;
mod digest;
mod held;
mod keyed;
mod pacemaker;
mod read;
mod record;
mod replies;
mod sessions;
mod slots;
mod snapshot;
mod state;

pub use changed::{Change, Changed};
pub use changes::Changes;
pub use command::{Command, CommandError, WriteOp};
pub use pacemaker::{DEFAULT_CLOCK_INTERVAL, Pacemaker};
pub use read::{Listing, Page, Summary};
pub use record::{Record, RecordError};
pub use snapshot::{Builder, Chunk};
pub use state::StateMachine;

#[cfg(test)]
mod tests;
