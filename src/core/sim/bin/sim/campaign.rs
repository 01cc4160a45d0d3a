//! Many seeds, on all cores: first the canary, then the seeds, then what must have been seen.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use quorate_sim::canary;
use quorate_sim::coverage::{Coverage, Sometimes};
use quorate_sim::plan::Plan;
use quorate_sim::watch::Tally;
use quorate_sim::world::{self, Run};

use crate::{Args, ledger, replay};

/// A campaign ends after so many seeds that failed.
const ENOUGH_FAILURES: usize = 3;

/// A campaign of fewer seeds need not have seen everything.
const SEES_EVERYTHING: u64 = 500;

/// What a campaign found.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) runs: u64,
    pub(crate) twice: u64,
    pub(crate) virtual_us: u64,
    pub(crate) tally: Tally,
    pub(crate) coverage: Coverage,
    pub(crate) failures: Vec<(u64, String)>,
    /// Seeds whose two runs differed.
    pub(crate) unsteady: Vec<u64>,
}

impl Findings {
    fn add(&mut self, seed: u64, run: &Run) {
        self.runs += 1;
        self.virtual_us += run.virtual_us;
        self.tally.add(&run.watch.tally);
        self.coverage.add(&run.watch.coverage);
        if let Some(violation) = &run.watch.violation {
            self.failures.push((seed, format!("{}: {}", violation.invariant, violation.what)));
        }
    }
}

/// Runs a campaign.
pub(crate) fn campaign(args: &Args) -> ExitCode {
    if let Err(silent) = canary::sings() {
        eprintln!("sim: the canary: {silent}");
        return ExitCode::from(2);
    }
    println!("canary: a cluster on disks that lie is found out, as it must be");
    let (started, cpu) = (Instant::now(), cpu_time());
    let findings = run_all(args);
    let cpu = cpu_time().saturating_sub(cpu);
    tell(&findings, started.elapsed(), cpu);
    if args.ledger {
        ledger::append(args, &findings, cpu);
    }
    if let Some((seed, _)) = findings.failures.first() {
        replay::shrunk(&Plan::of_seed(*seed, args.wish()), args);
        println!("\nreplay it with: sim --seed {seed}");
        return ExitCode::FAILURE;
    }
    if !findings.unsteady.is_empty() {
        println!("seeds whose two runs differ: {:?}", findings.unsteady);
        return ExitCode::from(2);
    }
    let missing = findings.coverage.missing();
    if findings.runs >= SEES_EVERYTHING && !missing.is_empty() {
        let words: Vec<&str> = missing.iter().map(|what| what.words()).collect();
        println!("never seen: {}", words.join("; "));
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

fn run_all(args: &Args) -> Findings {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = args.threads.unwrap_or(cores).max(1);
    let deadline = args.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let last = args.seeds.map_or(u64::MAX, |seeds| args.from.saturating_add(seeds));
    let next = AtomicU64::new(args.from);
    let findings = Mutex::new(Findings::default());
    let bar = progress(args);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                    if seed >= last || late || !one(args, seed, &findings, &bar) {
                        break;
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    findings.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs one seed; whether to go on.
fn one(args: &Args, seed: u64, findings: &Mutex<Findings>, bar: &ProgressBar) -> bool {
    let plan = Plan::of_seed(seed, args.wish());
    let run = world::run(&plan, false);
    let again = seed.is_multiple_of(args.twice_every.max(1));
    let again = again.then(|| world::run(&plan, false));
    let mut findings = findings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    findings.add(seed, &run);
    if let Some(again) = again {
        findings.twice += 1;
        let same = again.watch.trace == run.watch.trace && again.virtual_us == run.virtual_us;
        if !same || again.watch.tally != run.watch.tally {
            findings.unsteady.push(seed);
        }
    }
    let faults = findings.tally.fault_count();
    bar.set_message(format!(
        "{:.1} cluster-hours, {faults} faults, {} failed",
        hours(findings.virtual_us),
        findings.failures.len()
    ));
    bar.inc(1);
    findings.failures.len() < ENOUGH_FAILURES
}

fn progress(args: &Args) -> ProgressBar {
    let bar = args.seeds.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let template = "{elapsed_precise} {wide_bar} {pos} seeds ({per_sec}) {msg}";
    bar.with_style(ProgressStyle::with_template(template).expect("a template of ours"))
}

/// Hours of virtual time.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn hours(us: u64) -> f64 {
    us as f64 / 3.6e9
}

/// The processor time of this process, in microseconds.
fn cpu_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let whole = u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000;
    whole + u64::try_from(time.tv_nsec / 1_000).unwrap_or(0)
}

fn tell(findings: &Findings, took: Duration, cpu_us: u64) {
    let Findings { tally, coverage, .. } = findings;
    println!("\nwhat must happen now and then:");
    for what in Sometimes::ALL {
        println!("{:>12}  {}", coverage.count(*what), what.words());
    }
    println!("\nfaults, by the role of the node they struck:");
    let mut kinds: Vec<&str> = tally.faults.keys().map(|(kind, _)| *kind).collect();
    kinds.dedup();
    for kind in kinds {
        let of_kind = tally.faults.iter().filter(|((of, _), _)| *of == kind);
        let roles: Vec<String> =
            of_kind.map(|((_, role), count)| format!("{role} {count}")).collect();
        println!("  {kind:<28} {}", roles.join(", "));
    }
    println!(
        "\n{} runs ({} of them twice), {:.2} simulated cluster-hours, {} faults, {} calls answered, \
         {} entries, {} messages, {} facts checked",
        findings.runs,
        findings.twice,
        hours(findings.virtual_us),
        tally.fault_count(),
        tally.done,
        tally.committed,
        tally.messages,
        tally.facts
    );
    println!(
        "{:.1} s, {:.1} s of processor time: {} simulated cluster-seconds for each of these",
        took.as_secs_f64(),
        Duration::from_micros(cpu_us).as_secs_f64(),
        findings.virtual_us / cpu_us.max(1)
    );
    println!("{} violations", findings.failures.len());
    for (seed, what) in &findings.failures {
        println!("seed {seed}: {what}");
    }
}
