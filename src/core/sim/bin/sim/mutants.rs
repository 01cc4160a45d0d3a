//! Measures what is found: each bug on purpose is put in, and seeds are run until a claim fails.
//! What no seed finds is looked for by the named tests of the core.

use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use quorate_core::mutant::{self, Mutant};
use quorate_sim::ledger::Found;
use quorate_sim::plan::{Plan, Wish};
use quorate_sim::world;

use crate::ledger;

/// Looks for every bug whose name contains `only`.
pub(crate) fn measure(seeds: u64, only: &str, keep: bool) -> ExitCode {
    let chosen: Vec<Mutant> =
        Mutant::ALL.iter().copied().filter(|mutant| mutant.name().contains(only)).collect();
    let found = Mutex::new(vec![None; chosen.len()]);
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(mutant) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = by_seeds(*mutant, seeds);
                    tell(&result);
                    let place = chosen.iter().position(|other| other == mutant).unwrap_or(0);
                    let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    if let Some(slot) = found.get_mut(place) {
                        *slot = Some(result);
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut found: Vec<Found> = found.into_iter().flatten().collect();
    for result in found.iter_mut().filter(|result| result.by.is_none()) {
        result.by = by_tests(&result.mutant);
        tell(result);
    }
    let left = found.iter().filter(|result| result.by.is_none()).count();
    println!("{} of {} found", found.len() - left, found.len());
    if keep {
        let mut ledger = ledger::read();
        // Of several measurements of one bug the newest counts.
        ledger.mutants.retain(|old| !found.iter().any(|new| new.mutant == old.mutant));
        ledger.mutants.extend(found);
        let place = |name: &str| Mutant::ALL.iter().position(|mutant| mutant.name() == name);
        ledger.mutants.sort_by_key(|found| place(&found.mutant));
        ledger::write(&ledger);
    }
    if left == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

fn tell(found: &Found) {
    let by = found.by.as_deref().unwrap_or("not found");
    let seeds = found.seeds.map_or(String::new(), |seeds| format!(", {seeds} seeds"));
    println!("{:<40} {by}{seeds}", found.mutant);
}

fn by_seeds(mutant: Mutant, seeds: u64) -> Found {
    mutant::arm(Some(mutant));
    let failing = (1..=seeds).find_map(|seed| {
        let run = world::run(&Plan::of_seed(seed, Wish::default()), false);
        run.watch.violation.map(|violation| (seed, violation))
    });
    mutant::arm(None);
    let by = failing.as_ref().map(|(_, violation)| match violation.invariant.as_str() {
        "ASSERT" => "an assertion of the core".to_owned(),
        id => format!("{id}: {}", crate::replay::claim(id)),
    });
    let seeds = failing.map(|(seed, _)| seed);
    let (mutant, sentence) = (mutant.name().to_owned(), mutant.sentence().to_owned());
    Found { mutant, sentence, seeds, by }
}

/// The first test that fails with the bug in it: of the core, or of the exhaustive search.
fn by_tests(mutant: &str) -> Option<String> {
    failing_test(mutant, &["-p", "quorate-core", "--features", "mutants"])
        .or_else(|| failing_test(mutant, &["-p", "quorate-sim", "--features", "mutants", "--lib"]))
}

fn failing_test(mutant: &str, of: &[&str]) -> Option<String> {
    let output = Command::new("cargo")
        .args(["test", "--no-fail-fast"])
        .args(of)
        .env("QUORATE_MUTANT", mutant)
        // What fails now is no case to keep.
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
        // Of its own, so that builds with and without the feature do not undo each other.
        .env("CARGO_TARGET_DIR", ledger::project("target/mutants"))
        .current_dir(ledger::project("."))
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // A script that fails is named by its file, which is its claim.
    let script = text.lines().find_map(|line| line.trim().strip_suffix(".txt"));
    let script = script.and_then(|path| path.rsplit('/').next());
    let failed = text.lines().find_map(|line| {
        line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
    });
    script.map(|name| format!("script `{name}`")).or(failed.map(|name| format!("test `{name}`")))
}
