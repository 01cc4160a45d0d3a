//! Fault plans: files that say what goes wrong and when.
//!
//! The words are the simulator's ([`quorate_sim::plan`]), so that a plan of the simulator drives
//! real processes, too: what only a simulation has (settings of its disks and links) is left
//! out. What only real processes have is in a list of its own, `more`; a plan without one drives
//! both.

use std::path::Path;

use quorate_core::raft::Random;
use quorate_sim::plan::{Fault, Target, Timed, Workload};
use serde::{Deserialize, Serialize};

mod draw;

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Decides every draw.
    pub seed: u64,
    /// How many nodes.
    pub nodes: u64,
    /// How long clients work, at least, in milliseconds.
    pub run_ms: u64,
    /// What clients do.
    #[serde(default = "workload")]
    pub workload: Workload,
    /// What goes wrong, in the simulator's words.
    #[serde(default)]
    pub faults: Vec<Timed>,
    /// What goes wrong, where only real processes know it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<TimedMore>,
}

/// A fault of real processes and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedMore {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub fault: More,
}

/// What goes wrong with real processes only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum More {
    /// A node is asked to end, and starts again.
    Stop {
        /// Which.
        node: Target,
        /// How long it is down.
        down_ms: u64,
    },
    /// Each of a disk's syncs takes longer.
    SlowDisk {
        /// Whose.
        node: Target,
        /// By so much.
        delay_us: u64,
        /// How long.
        ms: u64,
    },
    /// Messages of one direction take longer.
    SlowLink {
        /// Who is heard late.
        from: Target,
        /// Who hears late.
        to: Target,
        /// By so much, on average.
        mean_us: u64,
        /// How long.
        ms: u64,
    },
    /// Little fits through each link.
    Narrow {
        /// So much, in each direction.
        bytes_per_second: u64,
        /// How long.
        ms: u64,
    },
    /// Messages overtake each other on every link.
    Reorder {
        /// They are up to so late.
        late_us: u64,
        /// How long.
        ms: u64,
    },
    /// Frames between nodes have a bit that is wrong.
    Corrupt {
        /// So many of a million.
        millionths: u64,
        /// How long.
        ms: u64,
    },
    /// Messages of one kind wait in one direction, and others overtake them.
    Hold {
        /// Who is not heard.
        from: Target,
        /// Who does not hear.
        to: Target,
        /// The kind, by the paper's name.
        kind: String,
        /// How long.
        ms: u64,
    },
    /// The course's unreliable network, also before clients.
    Unreliable {
        /// How long.
        ms: u64,
    },
    /// Two nodes are started on each other's directory.
    Swap {
        /// One.
        a: Target,
        /// The other.
        b: Target,
    },
}

impl More {
    /// Its kind, as the ledger counts it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            More::Stop { .. } => "stopped and started",
            More::SlowDisk { .. } => "slow disk",
            More::SlowLink { .. } => "slow link",
            More::Narrow { .. } => "little bandwidth",
            More::Reorder { .. } => "messages reordered",
            More::Corrupt { .. } => "frames corrupted",
            More::Hold { .. } => "one kind of message held",
            More::Unreliable { .. } => "unreliable network",
            More::Swap { .. } => "directories swapped",
        }
    }
}

/// Any fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Any {
    /// In the simulator's words.
    Shared(Fault),
    /// Of real processes only.
    Real(More),
}

impl Any {
    /// Its kind, as the ledger counts it. What a process cannot show (a loss of power) counts
    /// as what it is here.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Any::Shared(Fault::Crash { .. } | Fault::CrashAt { .. }) => "process killed",
            Any::Shared(Fault::StepDown { .. }) => "stopped and started",
            Any::Shared(fault) => fault.kind(),
            Any::Real(more) => more.kind(),
        }
    }
}

impl Plan {
    /// Reads a plan, of the harness or of the simulator.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub fn from_text(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| format!("this is no plan: {error}"))
    }

    /// The plan as a file.
    #[must_use]
    pub fn to_text(&self) -> String {
        toml::to_string(self).expect("numbers and words")
    }

    /// Reads a plan from a file.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("the plan can be read");
        Self::from_text(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A plan of `faults` faults, about one each `gap_ms`, a quarter of them at the same time as
    /// the one before. Kinds come in turns, so that none is forgotten.
    #[must_use]
    pub fn torture(seed: u64, nodes: u64, faults: u64, gap_ms: u64) -> Self {
        let mut random = Random::new(seed);
        let mut plan = Self {
            seed,
            nodes,
            run_ms: faults * gap_ms,
            workload: workload(),
            faults: Vec::new(),
            more: Vec::new(),
        };
        let mut kinds: Vec<draw::Draw> = Vec::new();
        let mut at_ms = 0;
        for id in 0..faults {
            if kinds.is_empty() {
                kinds = draw::KINDS.to_vec();
            }
            let kind = kinds.swap_remove(draw::place(&mut random, kinds.len()));
            if id % 4 != 3 {
                at_ms = id * gap_ms + random.below(gap_ms / 2 + 1);
            }
            match kind(&mut random, nodes) {
                Any::Shared(fault) => plan.faults.push(Timed { at_ms, id, fault }),
                Any::Real(fault) => plan.more.push(TimedMore { at_ms, fault }),
            }
        }
        plan
    }

    /// Every fault with its time, in order of time.
    #[must_use]
    pub fn in_order(&self) -> Vec<(u64, Any)> {
        let shared =
            self.faults.iter().map(|timed| (timed.at_ms, Any::Shared(timed.fault.clone())));
        let real = self.more.iter().map(|timed| (timed.at_ms, Any::Real(timed.fault.clone())));
        let mut all: Vec<(u64, Any)> = shared.chain(real).collect();
        all.sort_by_key(|(at_ms, _)| *at_ms);
        all
    }
}

/// The clients of a torture: a few hundred calls a second while all is well.
#[must_use]
pub fn workload() -> Workload {
    Workload {
        clients: 11,
        keys: 4,
        calls_per_key: 150,
        outstanding: 2,
        think_us: 30_000,
        quiet_percent: 0,
        deadline_ms: 4_000,
        silence_ms: 1_000,
        read_percent: 30,
        padding_bytes: 64,
        latency_us: 0,
        late_millionths: 0,
        stuck_percent: 28,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_plan_survives_its_text_and_has_every_kind() {
        let plan = Plan::torture(3, 5, 80, 1_000);
        assert_eq!(Plan::from_text(&plan.to_text()), Ok(plan.clone()));
        let kinds: BTreeSet<&str> = plan.in_order().iter().map(|(_, any)| any.kind()).collect();
        assert_eq!(kinds.len(), draw::KINDS.len(), "{kinds:?}");
        assert_eq!(plan.in_order().len(), 80);
    }

    #[test]
    fn a_plan_of_the_simulator_is_a_plan_here() {
        let simulated = quorate_sim::plan::Plan::of_seed(9, quorate_sim::plan::Wish::default());
        let plan = Plan::from_text(&simulated.to_text()).unwrap();
        assert_eq!((plan.nodes, &plan.faults), (simulated.nodes, &simulated.faults));
    }

    #[test]
    fn the_plans_beside_this_crate_hold_in_the_simulator_where_they_apply() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
        let mut both = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let plan = Plan::read(&path);
            assert!(!plan.in_order().is_empty(), "{} does nothing", path.display());
            let text = std::fs::read_to_string(&path).unwrap();
            if plan.more.is_empty() {
                let simulated = quorate_sim::plan::Plan::from_text(&text).unwrap();
                let run = quorate_sim::world::run(&simulated, false);
                assert_eq!(run.watch.violation, None, "{}", path.display());
                both += 1;
            }
        }
        assert!(both > 0, "no plan drives the simulator, too");
    }
}
