//! The fault harness: clusters of real processes, and everything that can be done to them.
//!
//! ```text
//!   Workload ──► client's proxy ──► node 1 ──► proxy 1→2 ──► node 2
//!      │                             │ LD_PRELOAD: disk and wall-clock faults
//!      ▼                             ▼
//!   history ──► judge            Nemesis: kill, pause, wipe, swap, and the rules of every proxy
//! ```
//!
//! * [`Cluster`]: nodes as processes, from a configuration made for them.
//! * [`proxy`]: relays whole websocket frames, and delays, loses, doubles, holds or spoils them.
//! * [`disk`]: makes syncs and writes of one process fail or wait, and shifts its wall clock.
//! * [`plan`] and [`nemesis`]: faults as data, and what carries them out.
//! * [`bare`]: a client that behaves as no client should, and what a process takes of the machine.
//! * [`workload`] and [`judge`]: what clients did and were told, and whether that can be.
//! * [`history`]: the same as a file, for checkers that share nothing with this project.
//!
//! Used by the tests beside it and by the examples; the simulator does the same in one process and
//! in virtual time. It leaves out what a process cannot show: losing what was written and not
//! synced.
#![expect(
    clippy::missing_panics_doc,
    reason = "whatever cannot go on ends the test with the reason"
)]

pub mod bare;
pub mod cluster;
pub mod course;
pub mod disk;
pub mod history;
pub mod judge;
pub mod ledger;
pub mod load;
pub mod nemesis;
pub mod plan;
pub mod proxy;
mod wait;
pub mod workload;

pub use cluster::{Cluster, Setup};
pub use wait::{free_addresses, wait_for, wait_until};
