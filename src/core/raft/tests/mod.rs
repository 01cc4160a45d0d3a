//! The core's tests: a deterministic cluster of real nodes, scenarios named after the claim
//! that they hold the core to, and random faults. The numbers in the tests' comments group
//! the claims: 1 elections, 2 pre-vote, 3 check-quorum and partial connectivity, 4 conflicts,
//! 5 commit and apply, 6 reads, 8 bounds, 9 outcomes for clients, 12 durability.

mod bounds;
mod chaos;
mod checks;
mod commits;
mod durability;
mod elections;
mod harness;
mod learners;
mod leases;
mod log_model;
mod machine;
mod members;
mod memory;
mod partitions;
mod removal;
mod replication;
mod solo;
mod view;
