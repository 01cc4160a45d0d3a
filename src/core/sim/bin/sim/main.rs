//! `sim`: the simulated cluster, for people.
//!
//! ```text
//! sim --seed 42                 replays one seed and tells its story
//! sim --plan FILE               runs a plan, as written or edited
//! sim --seeds 1000              a campaign, on all cores
//! sim --minutes 10 --ledger     a campaign of so long, added to docs/reliability.json
//! sim --page                    writes docs/reliability.md and the README's line from the ledger
//! sim --mutants                 measures what is found (needs --features mutants)
//! ```
//!
//! Ends with 0 where everything holds, 1 where a claim is violated, 2 where the proof itself
//! falls short: a canary that lives, two runs of a seed that differ, something never seen.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use quorate_sim::plan::{Plan, Wish};

mod campaign;
mod ledger;
#[cfg(feature = "mutants")]
mod mutants;
mod page;
mod replay;

/// Runs the whole cluster in one deterministic process, under faults.
#[derive(Parser, Debug)]
#[command(name = "sim", about)]
struct Args {
    /// Replay one seed and tell its story
    #[arg(long, conflicts_with_all = ["plan", "seeds", "minutes"])]
    seed: Option<u64>,
    /// Run a plan from a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "minutes"])]
    plan: Option<PathBuf>,
    /// A campaign of so many seeds
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// A campaign of so many minutes
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// The campaign's first seed
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    from: u64,
    /// The number of nodes, instead of what the seed draws
    #[arg(long, value_name = "N")]
    nodes: Option<u64>,
    /// The length of a run's busy part in virtual milliseconds, instead of what the seed draws
    #[arg(long, value_name = "MS")]
    run_ms: Option<u64>,
    /// Threads; all cores where absent
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Run every n-th seed of a campaign twice and compare
    #[arg(long, value_name = "N", default_value_t = 20)]
    twice_every: u64,
    /// Add the campaign to docs/reliability.json
    #[arg(long)]
    ledger: bool,
    /// Write the generated parts of docs/reliability.md and README.md
    #[arg(long)]
    page: bool,
    /// How many events to tell in full at the end of a story
    #[arg(long, value_name = "N", default_value_t = 60)]
    last: usize,
    /// How many runs making a failing plan smaller may take
    #[arg(long, value_name = "N", default_value_t = 600)]
    shrink_runs: usize,
    /// Look for each bug on purpose with so many seeds, then by the named tests
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "SEEDS", num_args = 0..=1, default_missing_value = "2000")]
    mutants: Option<u64>,
    /// Only the bugs whose name contains this
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

impl Args {
    fn wish(&self) -> Wish {
        Wish { nodes: self.nodes, run_ms: self.run_ms }
    }
}

fn main() -> ExitCode {
    // A panic inside a run is a finding, told in the run's own words.
    std::panic::set_hook(Box::new(|_| {}));
    let args = Args::parse();
    #[cfg(feature = "mutants")]
    if let Some(seeds) = args.mutants {
        return mutants::measure(seeds, &args.only, args.ledger);
    }
    if let Some(seed) = args.seed {
        return replay::replay(&Plan::of_seed(seed, args.wish()), &args);
    }
    if let Some(path) = &args.plan {
        return replay::replay_file(path, &args);
    }
    if args.seeds.is_some() || args.minutes.is_some() {
        return campaign::campaign(&args);
    }
    if args.page {
        return page::write();
    }
    eprintln!("sim: say what to run: --seed S, --plan FILE, --seeds N, --minutes N or --page");
    ExitCode::from(64)
}
