//! From a plan that fails to a small one that fails the same way: what a person has to read.
//!
//! A step is kept if the run still violates the **same** invariant. Streams of chance are
//! independent, so what is left does what it did before.

use crate::plan::{DiskPlan, Ending, NetworkPlan, Plan};
use crate::world;

/// Makes a failing plan smaller, with at most so many runs. `told` hears of each step.
#[must_use]
pub fn shrink(plan: &Plan, runs: usize, mut told: impl FnMut(&str)) -> Plan {
    let first = world::run(plan, false);
    let Some(violation) = &first.watch.violation else { return plan.clone() };
    let mut shrinking = Shrinking {
        plan: plan.clone(),
        invariant: violation.invariant.clone(),
        left: runs,
        ended_ms: first.virtual_us / 1_000 + 1,
    };
    shrinking.cut_time();
    for round in 1..=3 {
        let before = shrinking.plan.clone();
        shrinking.fewer_faults();
        shrinking.plainer();
        shrinking.cut_time();
        told(&format!(
            "round {round}: {} nodes, {} faults, {} clients, {} ms",
            shrinking.plan.nodes,
            shrinking.plan.faults.len(),
            shrinking.plan.workload.clients,
            shrinking.plan.run_ms
        ));
        if shrinking.plan == before || shrinking.left == 0 {
            break;
        }
    }
    shrinking.plan
}

struct Shrinking {
    plan: Plan,
    invariant: String,
    left: usize,
    /// When the smallest plan's run was over.
    ended_ms: u64,
}

impl Shrinking {
    /// Whether the plan fails the same way; then it is the new smallest.
    fn try_plan(&mut self, plan: Plan) -> bool {
        if self.left == 0 || plan == self.plan {
            return false;
        }
        self.left -= 1;
        let run = world::run(&plan, false);
        let same = run.watch.violation.is_some_and(|v| v.invariant == self.invariant);
        if same {
            self.ended_ms = run.virtual_us / 1_000 + 1;
            self.plan = plan;
        }
        same
    }

    fn try_change(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = self.plan.clone();
        change(&mut plan);
        self.try_plan(plan)
    }

    /// Nothing happens after the violation, or as early as it still shows.
    fn cut_time(&mut self) {
        let ended = self.ended_ms;
        self.try_change(|plan| {
            plan.run_ms = plan.run_ms.min(ended);
            plan.faults.retain(|timed| timed.at_ms <= ended);
        });
        while self.plan.run_ms > 100 && self.try_change(|plan| plan.run_ms = plan.run_ms * 3 / 4) {}
    }

    /// Leaves out pieces of the list of faults, halves first, single ones last.
    fn fewer_faults(&mut self) {
        let mut piece = self.plan.faults.len().div_ceil(2);
        while piece > 0 && !self.plan.faults.is_empty() {
            let mut from = 0;
            while from < self.plan.faults.len() {
                let to = (from + piece).min(self.plan.faults.len());
                let removed = self.try_change(|plan| drop(plan.faults.drain(from..to)));
                if !removed {
                    from = to;
                }
            }
            piece /= 2;
        }
    }

    /// Fewer nodes and clients, and everything that can be plain is plain.
    fn plainer(&mut self) {
        while self.plan.nodes > 3 && self.try_change(|plan| plan.nodes -= 1) {}
        while self.plan.workload.clients > 1 && self.try_change(|plan| plan.workload.clients -= 1) {
        }
        for change in PLAINER {
            self.try_change(change);
        }
        self.try_change(|plan| plan.workload.think_us *= 2);
    }
}

/// Each makes one thing plain.
const PLAINER: &[fn(&mut Plan)] = &[
    |plan| plan.ending = Ending::All,
    |plan| plan.clock_rates.clear(),
    |plan| plan.disks = DiskPlan { sync_us: 200, jitter_us: 0, slow_millionths: 0 },
    |plan| {
        plan.network = NetworkPlan { loss_millionths: 0, ..plan.network.clone() };
        plan.network.duplicate_millionths = 0;
        plan.network.late_millionths = 0;
    },
    |plan| plan.network.jitter_us = 10,
    |plan| plan.network.delay_us = 500,
    |plan| plan.network.streams = false,
    |plan| plan.workload.keys = 1,
    |plan| plan.workload.outstanding = 1,
    |plan| plan.workload.padding_bytes = 0,
    |plan| plan.workload.quiet_percent = 0,
    |plan| plan.workload.stuck_percent = 0,
    |plan| plan.workload.read_percent = 0,
    |plan| plan.workload.late_millionths = 0,
    |plan| plan.workload.latency_us = 100,
    |plan| plan.workload.deadline_ms = 2_000,
    |plan| (plan.knobs.heartbeat_ms, plan.knobs.election_timeout_ms) = (100, 500),
    |plan| plan.knobs.batch_entries = 1_024,
    |plan| plan.knobs.batch_bytes = 1 << 20,
    |plan| plan.knobs.inflight_batches = 64,
    |plan| plan.knobs.inflight_bytes = 8 << 20,
    |plan| plan.knobs.uncommitted_bytes = 16 << 20,
    |plan| plan.knobs.apply_bytes = 256 << 10,
    |plan| plan.knobs.segment_bytes = 65_536,
    |plan| plan.knobs.preallocate_bytes = 16_384,
    |plan| plan.knobs.drain_us = 20,
    |plan| plan.knobs.apply_us = 0,
    |plan| plan.knobs.tick_ms = 10,
    |plan| plan.knobs.wire = false,
    |plan| plan.knobs.window = 1_024,
    |plan| plan.knobs.session_ttl_ms = 60_000,
    |plan| plan.knobs.clock_interval_ms = 1_000,
    |plan| plan.knobs.max_sessions = 10_000,
    |plan| plan.knobs.value_bytes = 1 << 20,
    |plan| plan.upkeep = crate::plan::Upkeep::default(),
    |plan| plan.upkeep.snapshot_bytes = 1 << 20,
    |plan| plan.upkeep.snapshot_entries = 10,
    |plan| plan.upkeep.trailing_entries = 0,
    |plan| plan.upkeep.piece_bytes = 1 << 20,
    |plan| plan.upkeep.store_us = 1_000,
];
