//! A second opinion on recorded histories: is what clients were told linearizable?
//!
//! ```text
//!   real processes ── QUORATE_HISTORY ──► history.jsonl ──► by key ──► WGLChecker ──► verdict
//!                                                                         ▲
//!                                             docs/protocol.md ──► Store ─┘
//! ```
//!
//! The project judges its histories itself, in `quorate_sim::history`. Who writes a store and its
//! judge may be wrong twice in the same way, so this program uses the checker of the crate
//! [`todc_utils`], by other authors, and a specification of its own, and no crate of this project.
//! One key is judged at a time, since linearizability is local (Herlihy and Wing §3.3).
//!
//! ```console
//! $ QUORATE_HISTORY=histories cargo test --release --test torture mixed
//! $ cargo run --release -p quorate-second-opinion -- histories/*.jsonl
//! $ cargo run --release -p quorate-second-opinion -- --control histories/*.jsonl
//! ```
//!
//! It leaves out reads that may be stale, and what spans several keys: revisions and indexes are
//! compared within a key only.
//!
//! Exit codes: 0 every key is linearizable, 1 one is not, 2 a file cannot be judged, 3 a key is
//! undecided. With `--control`, 0 says that every spoilt key was found to be illegal.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;

mod call;
mod spoil;
mod store;
#[cfg(test)]
mod tests;
mod verdict;

use call::Timed;
use verdict::Verdict;

/// Judges recorded histories with a linearizability checker that is not Quorate's own.
#[derive(Parser)]
#[command(name = "second-opinion")]
struct Arguments {
    /// The histories, as `QUORATE_HISTORY` has them written.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How long a key may take.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Say nothing of keys that are as they should be.
    #[arg(long)]
    quiet: bool,
    /// Spoil a read of each key first, and expect every key to be illegal.
    #[arg(long)]
    control: bool,
}

/// What was found in a file, or in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    keys: usize,
    calls: usize,
    unknown: usize,
    illegal: usize,
    undecided: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let mut all = Tally::default();
    for file in &arguments.files {
        let keys = match call::read(file) {
            Ok(keys) => keys,
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                return ExitCode::from(2);
            }
        };
        let tally = arguments.judge_file(&keys);
        println!("{}: {}", file.display(), tally.line());
        all.add(tally);
    }
    println!("in all, in {:.1} s: {}", started.elapsed().as_secs_f64(), all.line());
    all.exit_code(arguments.control)
}

impl Arguments {
    fn judge_file(&self, keys: &BTreeMap<Bytes, Vec<Timed>>) -> Tally {
        let mut tally = Tally::default();
        for (key, calls) in keys {
            let spoilt = if self.control { spoil::with_a_stale_read(calls) } else { None };
            if self.control && spoilt.is_none() {
                continue;
            }
            let calls = spoilt.as_ref().unwrap_or(calls);
            let started = Instant::now();
            let verdict = verdict::judge(calls, self.limit());
            tally.count(verdict, calls);
            let is_expected = verdict == self.expected();
            if !self.quiet || !is_expected {
                let (key, calls) = (key.escape_ascii(), calls.len());
                let milliseconds = started.elapsed().as_millis();
                println!("{verdict:?}: {key}, {calls} calls, {milliseconds} ms");
            }
            if verdict == Verdict::Illegal && !is_expected {
                explain(&verdict::shortest(calls, self.limit()));
            }
        }
        tally
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn expected(&self) -> Verdict {
        if self.control { Verdict::Illegal } else { Verdict::Linearizable }
    }
}

/// Shows the end of what has no order: its last call, and those before it.
fn explain(shortest: &[Timed]) {
    println!("  {} calls have no order; the last of them:", shortest.len());
    for timed in &shortest[shortest.len().saturating_sub(20)..] {
        let Timed { client, invoked_ns, ended_ns, call } = timed;
        let ended = ended_ns.map_or_else(|| "never".into(), |ended| ended.to_string());
        let (op, answer) = (&call.op, &call.answer);
        println!("  client {client}, {invoked_ns} to {ended}: {op:?} gave {answer:?}");
    }
}

impl Tally {
    fn count(&mut self, verdict: Verdict, calls: &[Timed]) {
        self.keys += 1;
        self.calls += calls.len();
        self.unknown += calls.iter().filter(|timed| timed.call.answer.is_none()).count();
        self.illegal += usize::from(verdict == Verdict::Illegal);
        self.undecided += usize::from(verdict == Verdict::Undecided);
    }

    fn add(&mut self, other: Self) {
        self.keys += other.keys;
        self.calls += other.calls;
        self.unknown += other.unknown;
        self.illegal += other.illegal;
        self.undecided += other.undecided;
    }

    fn line(&self) -> String {
        let Self { keys, calls, unknown, illegal, undecided } = self;
        let linearizable = keys - illegal - undecided;
        format!(
            "{calls} calls ({unknown} of unknown outcome) to {keys} keys: {linearizable} keys \
             linearizable, {illegal} illegal, {undecided} undecided"
        )
    }

    fn exit_code(&self, control: bool) -> ExitCode {
        let wrong = if control { self.keys - self.illegal - self.undecided } else { self.illegal };
        match (wrong, self.undecided) {
            // A control that spoils nothing shows nothing.
            _ if self.keys == 0 => ExitCode::from(2),
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(3),
            (_, _) => ExitCode::from(1),
        }
    }
}
