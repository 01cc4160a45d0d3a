//! The core, driven by hand and at random.

mod claims;
mod elections;
mod harness;
mod random;
mod replication;
