//! A run, written down: everything that the seed decided before it began. A plan can be read,
//! edited, made smaller ([`crate::shrink`]) and run again; the same plan gives the same run on
//! every machine.

use serde::{Deserialize, Serialize};

mod faults;
mod generate;
mod members;
mod text;

pub use faults::{Fault, Point, Power, Shape, Target, Timed};
pub use generate::Wish;
pub use members::{Members, Order};
pub use text::PlanError;

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Decides every draw during the run.
    pub seed: u64,
    /// How many nodes the cluster begins with.
    pub nodes: u64,
    /// Nodes that come and go.
    #[serde(default)]
    pub members: Members,
    /// How long clients work and faults happen, in milliseconds of virtual time.
    pub run_ms: u64,
    /// What of the cluster heals in the end.
    pub ending: Ending,
    /// The nodes' settings.
    pub knobs: Knobs,
    /// What clients do.
    pub workload: Workload,
    /// The links between nodes.
    pub network: NetworkPlan,
    /// Checkpoints and snapshots.
    #[serde(default)]
    pub upkeep: Upkeep,
    /// The disks.
    pub disks: DiskPlan,
    /// Each node's clock, in parts per million of true time; nodes without one keep true time.
    pub clock_rates: Vec<u64>,
    /// What goes wrong, in order of time.
    pub faults: Vec<Timed>,
}

impl Plan {
    /// How many nodes there are, with those that are not members at the beginning.
    #[must_use]
    pub fn machines(&self) -> u64 {
        self.nodes + self.members.spares
    }
}

/// What heals before the final checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Everything.
    All,
    /// A random quorum; the others stay down, cut off, or cut off one way.
    Quorum,
}

/// The nodes' settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knobs {
    /// The leader's heartbeat interval.
    pub heartbeat_ms: u64,
    /// The shortest election timeout.
    pub election_timeout_ms: u64,
    /// The most entries of one AppendEntries.
    pub batch_entries: usize,
    /// The most bytes of one AppendEntries.
    pub batch_bytes: usize,
    /// The most AppendEntries in flight to one follower.
    pub inflight_batches: usize,
    /// The most bytes in flight to one follower.
    pub inflight_bytes: usize,
    /// The most bytes of entries not committed.
    pub uncommitted_bytes: usize,
    /// The most bytes of entries handed out to be applied.
    pub apply_bytes: usize,
    /// A segment of the log ends at about this size.
    pub segment_bytes: u64,
    /// Segments grow by this much.
    pub preallocate_bytes: u64,
    /// Between a fact's arrival and the drain: what arrives meanwhile shares it.
    pub drain_us: u64,
    /// How long applying a batch takes.
    pub apply_us: u64,
    /// How often a node looks at its deadlines.
    pub tick_ms: u64,
    /// Messages between nodes go through the wire's codec.
    pub wire: bool,
    /// How many writes of a session may be unanswered.
    pub window: u64,
    /// How long a session lives without a sign.
    pub session_ttl_ms: u64,
    /// How often the cluster's clock advances.
    pub clock_interval_ms: u64,
    /// How many sessions there may be.
    pub max_sessions: u64,
    /// The longest value that an append may make.
    pub value_bytes: u64,
    /// The disks lie: a sync reports success and does nothing. This must be found; a
    /// campaign's canary.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lying_disks: bool,
    /// Reads are answered under a lease where there is one. Clocks then keep to its margin.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lease_reads: bool,
}

/// What clients do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// How many clients.
    pub clients: u64,
    /// How many keys.
    pub keys: u64,
    /// A key is left for a new one after so many calls, so that histories stay short.
    pub calls_per_key: u64,
    /// How many calls of a client may be open.
    pub outstanding: u64,
    /// The mean time between a client's calls.
    pub think_us: u64,
    /// Of a hundred pauses, so many are a hundred times as long.
    pub quiet_percent: u64,
    /// How long a call may take.
    pub deadline_ms: u64,
    /// After so long without a word from a node a client leaves it.
    pub silence_ms: u64,
    /// Of a hundred calls, so many are reads.
    pub read_percent: u64,
    /// The longest value beside its token.
    pub padding_bytes: u64,
    /// The mean latency between a client and a node.
    pub latency_us: u64,
    /// Of a million messages between clients and nodes, so many take up to three seconds more.
    pub late_millionths: u64,
    /// Of a hundred clients, so many know only one node; every other of them follows no hint.
    pub stuck_percent: u64,
}

/// The links between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkPlan {
    /// Links are streams, as websockets are: in order, nothing lost but with the connection.
    /// Otherwise every message goes its own way.
    pub streams: bool,
    /// The shortest delay.
    pub delay_us: u64,
    /// The mean of what comes on top.
    pub jitter_us: u64,
    /// Of a million messages, so many are lost (streams: break the connection).
    pub loss_millionths: u64,
    /// Of a million messages, so many arrive twice.
    pub duplicate_millionths: u64,
    /// Of a million messages, so many take a hundred times as long.
    pub late_millionths: u64,
}

/// Checkpoints, and snapshots for followers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upkeep {
    /// A checkpoint is made after so many entries, ...
    pub snapshot_entries: u64,
    /// ... or so many bytes of them.
    pub snapshot_bytes: usize,
    /// So many entries stay in the log behind a checkpoint.
    pub trailing_entries: u64,
    /// The size of a piece of a snapshot.
    pub piece_bytes: usize,
    /// A piece without an answer is sent again after so long.
    pub resend_ms: u64,
    /// How long it takes until a checkpoint is durable.
    pub store_us: u64,
}

/// As if there were none.
impl Default for Upkeep {
    fn default() -> Self {
        Self {
            snapshot_entries: 1_000_000,
            snapshot_bytes: 1 << 30,
            trailing_entries: 10_000,
            piece_bytes: 1 << 20,
            resend_ms: 200,
            store_us: 1_000,
        }
    }
}

/// The disks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskPlan {
    /// The shortest sync.
    pub sync_us: u64,
    /// The mean of what comes on top.
    pub jitter_us: u64,
    /// Of a million syncs, so many take a hundred times as long.
    pub slow_millionths: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_its_text() {
        for seed in 0..300 {
            let plan = Plan::of_seed(seed, Wish::default());
            let text = plan.to_text();
            assert_eq!(Plan::from_text(&text).unwrap(), plan, "{text}");
        }
    }

    #[test]
    fn every_kind_of_fault_is_drawn() {
        let plans = (0..400).map(|seed| Plan::of_seed(seed, Wish::default()));
        let drawn: Vec<Timed> = plans.flat_map(|plan| plan.faults).collect();
        for kind in Fault::KINDS {
            assert!(drawn.iter().any(|timed| timed.fault.kind() == *kind), "never: {kind}");
        }
    }
}
