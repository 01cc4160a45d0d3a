//! A plan as a file: TOML, with one line for each fault.

use std::fmt;
use std::fmt::Write;

use serde::Serialize;

use super::Plan;

/// Why a text is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError(String);

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this is no plan: {}", self.0)
    }
}

impl std::error::Error for PlanError {}

impl Plan {
    /// The plan as a file.
    ///
    /// # Panics
    /// Never: a plan is numbers, words and lists of them.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let Plan { seed, nodes, run_ms, ending, clock_rates, .. } = self;
        let lines = [
            ("seed", inline(&signed(*seed))),
            ("nodes", inline(nodes)),
            ("members", inline(&self.members)),
            ("run_ms", inline(run_ms)),
            ("ending", inline(ending)),
            ("knobs", inline(&self.knobs)),
            ("workload", inline(&self.workload)),
            ("network", inline(&self.network)),
            ("upkeep", inline(&self.upkeep)),
            ("disks", inline(&self.disks)),
            ("clock_rates", inline(clock_rates)),
        ];
        for (key, value) in lines {
            writeln!(text, "{key} = {value}").expect("writes into memory cannot fail");
        }
        text.push_str("faults = [\n");
        for fault in &self.faults {
            writeln!(text, "  {},", inline(fault)).expect("writes into memory cannot fail");
        }
        text.push_str("]\n");
        text
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub fn from_text(text: &str) -> Result<Self, PlanError> {
        toml::from_str(text).map_err(|error| PlanError(error.to_string()))
    }
}

/// TOML's numbers are signed: seeds are kept below 2^63.
fn signed(seed: u64) -> u64 {
    seed & (u64::MAX >> 1)
}

/// A value on one line.
fn inline<T: Serialize>(value: &T) -> String {
    toml::Value::try_from(value).expect("numbers and words").to_string()
}
