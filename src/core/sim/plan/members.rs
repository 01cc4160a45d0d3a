//! What operators do to the members, as data, and how a seed draws it.

use serde::{Deserialize, Serialize};

use super::generate::target;
use super::{Fault, Target, Timed};
use crate::chance::Chance;

/// Nodes that come and go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Members {
    /// So many nodes with empty disks are there, beside the first members, to be added.
    pub spares: u64,
    /// Whether a learner becomes a voter by itself ...
    pub promote: bool,
    /// ... once it has been caught up for so long.
    pub promote_after_ms: u64,
    /// Whoever was removed is cut off by those who know of it; else it goes on to speak.
    pub cuts_off: bool,
}

/// As the product's defaults.
impl Default for Members {
    fn default() -> Self {
        Self { spares: 0, promote: true, promote_after_ms: 5_000, cuts_off: true }
    }
}

/// What an operator wants. He asks whoever leads, again and again for a while, until it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// A node that is no member becomes one.
    Add {
        /// Which of them.
        node: u64,
        /// It is not to be promoted by itself.
        standby: bool,
        /// Where it was a member before, it comes with an empty disk; whether the old one is still
        /// there, and speaks up as well.
        old_disk_speaks: bool,
    },
    /// Learners become voters.
    Promote {
        /// Also where they lag.
        force: bool,
    },
    /// A voter becomes a standby.
    Demote {
        /// Which.
        node: Target,
    },
    /// A member is removed. Its process runs on.
    Remove {
        /// Which.
        node: Target,
        /// Also where a quorum of those who are left is not reachable, unless that would be the end.
        force: bool,
    },
    /// A member is removed, and comes again with an empty disk: one whose disk is lost, where there
    /// is one.
    Replace {
        /// Which.
        node: Target,
    },
    /// In one change the learners become voters and a member is removed.
    Swap {
        /// Who goes.
        node: Target,
    },
}

impl Order {
    /// Its kind, as the ledger counts it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Order::Add { .. } => "member added",
            Order::Promote { .. } => "learner promoted",
            Order::Demote { .. } => "voter demoted",
            Order::Remove { .. } => "member removed",
            Order::Replace { .. } => "member replaced",
            Order::Swap { .. } => "members swapped",
        }
    }

    /// The node that it strikes, where it is one of the members.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        match self {
            Order::Demote { node }
            | Order::Remove { node, .. }
            | Order::Replace { node }
            | Order::Swap { node } => Some(*node),
            Order::Add { .. } | Order::Promote { .. } => None,
        }
    }
}

/// The most nodes, so that runs stay short.
const MOST_NODES: u64 = 8;

/// The names of the orders' streams of chance begin here.
const FIRST_ID: u64 = 1_000_000;

/// In some runs the members change, again and again; in the others never.
pub(super) fn draw(chance: &mut Chance, nodes: u64, run_ms: u64) -> (Members, Vec<Timed>) {
    if !chance.percent(45) {
        return (Members::default(), vec![]);
    }
    let spares: u64 = chance.pick(&[0, 1, 1, 2, 2, 3]);
    let members = Members {
        spares: spares.min(MOST_NODES.saturating_sub(nodes)),
        promote: chance.percent(70),
        promote_after_ms: chance.pick(&[0, 50, 300, 1_000]),
        cuts_off: chance.percent(50),
    };
    let machines = nodes + members.spares;
    let mean_ms = chance.pick(&[200, 500, 1_000, 2_000]);
    let mut orders = Vec::new();
    let mut at_ms = 200 + chance.around(mean_ms);
    while at_ms < run_ms {
        let id = FIRST_ID + orders.len() as u64;
        orders.push(Timed { at_ms, id, fault: Fault::Members(order(chance, machines)) });
        at_ms += 1 + chance.around(mean_ms);
    }
    (members, orders)
}

fn order(chance: &mut Chance, machines: u64) -> Order {
    let node = target(chance, machines);
    let force = chance.percent(20);
    match chance.below(100) {
        0..35 => {
            let (standby, old_disk_speaks) = (chance.percent(15), !chance.percent(70));
            Order::Add { node: chance.between(1, machines), standby, old_disk_speaks }
        }
        35..50 => Order::Promote { force },
        50..58 => Order::Demote { node },
        58..75 => Order::Remove { node, force },
        75..92 => Order::Replace { node },
        _ => Order::Swap { node },
    }
}
