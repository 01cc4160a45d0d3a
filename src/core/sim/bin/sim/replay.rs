//! One run, told to a person; where it fails, a small plan that fails the same way.

use std::path::Path;
use std::process::ExitCode;

use quorate_sim::invariants;
use quorate_sim::plan::Plan;
use quorate_sim::shrink::shrink;
use quorate_sim::world::{self, Run};

use crate::Args;

/// Runs a plan from a file.
pub(crate) fn replay_file(path: &Path, args: &Args) -> ExitCode {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("sim: cannot read {}: {error}", path.display());
            return ExitCode::from(66);
        }
    };
    match Plan::from_text(&text) {
        Ok(plan) => replay(&plan, args),
        Err(error) => {
            eprintln!("sim: {}: {error}", path.display());
            ExitCode::from(65)
        }
    }
}

/// Runs a plan and tells its story.
pub(crate) fn replay(plan: &Plan, args: &Args) -> ExitCode {
    let run = world::run(plan, true);
    tell(&run, args.last);
    if run.watch.violation.is_none() {
        return ExitCode::SUCCESS;
    }
    shrunk(plan, args);
    ExitCode::FAILURE
}

fn tell(run: &Run, last: usize) {
    println!("{}", run.plan.to_text());
    if let Some(story) = &run.watch.story {
        println!("{}", story.render(last));
    }
    let tally = &run.watch.tally;
    println!(
        "{} ms of virtual time, {} events, {} faults, {} entries committed, {} calls done, trace {:016x}",
        run.virtual_us / 1_000,
        tally.events,
        tally.fault_count(),
        tally.committed,
        tally.done,
        run.watch.trace
    );
    match &run.watch.violation {
        None => println!("every claim held"),
        Some(violation) => {
            println!("\n{} does not hold: {}", violation.invariant, claim(&violation.invariant));
            println!("{}", violation.what);
        }
    }
}

/// What a claim says, by its short name.
pub(crate) fn claim(id: &str) -> String {
    let known = invariants::all().into_iter().find(|invariant| invariant.id() == id);
    match (known, id) {
        (Some(invariant), _) => invariant.claim().to_owned(),
        (None, "H1") => "the log's order explains every answer and keeps real time".to_owned(),
        (None, "H2") => "some order of each key's operations explains every answer".to_owned(),
        (None, "L1") => "once all heals, one leader with equal members answers everyone".to_owned(),
        (None, "L2") => "once all heals, fresh writes and reads succeed".to_owned(),
        (None, _) => "an assertion of the code".to_owned(),
    }
}

/// Makes a failing plan small, tells it, and says how to keep it.
pub(crate) fn shrunk(plan: &Plan, args: &Args) {
    eprintln!("\nmaking it smaller, with at most {} runs ...", args.shrink_runs);
    let small = shrink(plan, args.shrink_runs, |step| eprintln!("  {step}"));
    let run = world::run(&small, true);
    println!("\n==== the smallest plan found that fails the same way ====");
    tell(&run, args.last);
    let name = format!("seed_{}", plan.seed);
    println!(
        "\nTo keep it as a test, save this as src/core/sim/plans/{name}.toml (name it after the\n\
         claim that it broke) and run `cargo test -p quorate-sim plans`:\n"
    );
    print!("{}", small.to_text());
}
