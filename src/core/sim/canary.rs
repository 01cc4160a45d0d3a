//! A run that must fail. It proves in each campaign that the alarm works: on disks that report
//! every sync as done and do nothing, a loss of power loses what was acknowledged, and that must
//! be noticed.

use crate::plan::{Fault, Plan, Power, Timed, Wish};
use crate::world;

/// The seed of the canary.
const SEED: u64 = 7;

/// Whether the canary is found out.
///
/// # Errors
/// What was seen instead, where it was not.
pub fn sings() -> Result<(), String> {
    let wish = Wish { nodes: Some(3), run_ms: Some(3_000) };
    let mut plan = Plan::of_seed(SEED, wish);
    plan.knobs.lying_disks = true;
    let fault = Fault::CrashAll { power: Power::Synced, down_ms: 10 };
    plan.faults = vec![Timed { at_ms: 2_000, id: 1, fault }];
    let run = world::run(&plan, false);
    match run.watch.violation {
        Some(violation) if ["I6", "I17"].contains(&violation.invariant.as_str()) => Ok(()),
        other => Err(format!("lying disks were to violate I6 or I17, and gave {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn disks_that_lie_are_found_out() {
        super::sings().unwrap();
    }
}
