//! The ledger's form, `docs/reliability.json`: what has been run, appended by tools and never by
//! hand. Reading and writing it is theirs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The ledger.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Campaigns of the simulator, the newest last.
    pub campaigns: Vec<Campaign>,
    /// What the newest campaign saw how often.
    pub seen: Vec<Seen>,
    /// Bugs on purpose, and what found them.
    pub mutants: Vec<Found>,
    /// Runs of real processes under faults, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tortures: Vec<Torture>,
}

/// One campaign.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Campaign {
    /// The commit that was run; with a `+` where the tree had changes.
    pub commit: String,
    /// Seconds since 1970.
    pub unix_time: u64,
    /// The first seed.
    pub first_seed: u64,
    /// How many runs.
    pub runs: u64,
    /// How many of them were made twice and compared.
    pub twice: u64,
    /// Virtual time.
    pub virtual_ms: u64,
    /// Processor time.
    pub cpu_ms: u64,
    /// Calls of clients that were answered.
    pub calls: u64,
    /// Entries committed.
    pub entries: u64,
    /// Messages between nodes.
    pub messages: u64,
    /// Of these, lost.
    pub messages_lost: u64,
    /// Of these, doubled.
    pub messages_doubled: u64,
    /// Old ones that came again.
    pub messages_replayed: u64,
    /// Starts of nodes.
    pub starts: u64,
    /// Facts that were checked.
    pub facts: u64,
    /// What was found.
    pub violations: u64,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
}

/// Something that must happen now and then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// What.
    pub what: String,
    /// How often.
    pub times: u64,
}

/// A bug on purpose, and what found it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    /// Its name.
    pub mutant: String,
    /// What it does.
    pub sentence: String,
    /// The seeds that were tried until one found it.
    pub seeds: Option<u64>,
    /// The claim, or the named test.
    pub by: Option<String>,
}

/// One torture of real processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Torture {
    /// The commit that was run; with a `+` where the tree had changes.
    pub commit: String,
    /// Seconds since 1970.
    pub unix_time: u64,
    /// The plan's seed.
    pub seed: u64,
    /// How many nodes.
    pub nodes: u64,
    /// How long clients worked.
    pub seconds: u64,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// Calls of clients.
    pub operations: u64,
    /// Of these, answered with success.
    pub acknowledged: u64,
    /// Writes whose outcome is unknown.
    pub unknown: u64,
    /// Calls that certainly had no effect.
    pub refused: u64,
    /// Acknowledged tokens that were not there in the end.
    pub lost: u64,
    /// Tokens that were there more than once.
    pub doubled: u64,
    /// Reads that answered from the past.
    pub stale: u64,
    /// Everything that was wrong, also what is counted above.
    pub violations: u64,
    /// The longest time without a success.
    pub longest_outage_ms: u64,
    /// The state's hash, equal on all nodes, and its index.
    pub state: String,
}
