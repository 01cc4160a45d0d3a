//! Torture: real processes, clients that keep on calling, and faults of every kind that we can
//! make, one upon another. Nothing acknowledged may be lost, nothing doubled, nothing stale, and
//! in the end every node has the same state.
//!
//! ```console
//! $ cargo test --test torture                                            # half a minute
//! $ QUORATE_TORTURE_FAULTS=250 cargo test --release --test torture mixed # twelve minutes
//! $ QUORATE_TORTURE_SEED=7 cargo test --test torture mixed               # another order of faults
//! $ QUORATE_TORTURE_PLAN=plan.toml cargo test --test torture mixed       # a plan as written
//! $ QUORATE_PROGRAM=target/release/quorate cargo test --test torture     # another build of the product
//! $ QUORATE_TORTURE_LEDGER=1 ...                                         # and into the ledger
//! $ QUORATE_HISTORY=histories ...                                        # and into files, for other checkers
//! ```

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quorate_harness::disk::Shim;
use quorate_harness::judge::{EVERY_CALL, Judgement, judge};
use quorate_harness::nemesis::{Happened, Nemesis};
use quorate_harness::plan::Plan;
use quorate_harness::workload::Load;
use quorate_harness::{Cluster, Setup, history, ledger};
use quorate_sim::history::Operation;
use tokio::sync::Mutex;

/// Between two faults, in the mean: 250 of them in 12 minutes.
const GAP_MS: u64 = 2_880;

/// The run that every `cargo test` makes has a fault so often.
const SHORT_GAP_MS: u64 = 700;
const SHORT_FAULTS: u64 = 34;

const NODES: u64 = 5;

/// Checkpoints, trimmed logs and snapshots, as often as possible.
const SMALL_LOGS: &str = "
segment_bytes = 1_048_576
[raft]
snapshot_entries = 1_000
trailing_entries = 100
";

/// The product's binary, or another one, such as an older build's.
fn program() -> PathBuf {
    let built = || env!("CARGO_BIN_EXE_quorate").into();
    std::env::var_os("QUORATE_PROGRAM").unwrap_or_else(built).into()
}

/// What a run came to.
struct Run {
    time: Duration,
    judgement: Judgement,
    happened: Happened,
    state: (u64, String),
}

/// Runs a plan against real processes, and judges.
async fn run(plan: &Plan) -> Run {
    let shim = Shim::compile().unwrap();
    let setup = Setup::new(&program(), plan.nodes).proxies(plan.seed).disk_faults(shim);
    let mut cluster = setup.more(SMALL_LOGS).start();
    cluster.leader().await;
    let started = Instant::now();
    let load = Load::start(&cluster.endpoints(), &plan.workload, plan.seed);
    let happened = Nemesis::new(&mut cluster, plan.seed).run(plan).await;
    let recorder = load.stop().await;
    let time = started.elapsed();
    let calm = calm_client(&cluster).await;
    recorder.read_all(&calm).await;
    let state = cluster.settled().await;
    let operations = recorder.history();
    history::keep_if_asked(&operations);
    let mut judgement = judge(&operations, EVERY_CALL);
    judgement.failures.extend(happened.failures.iter().cloned());
    keep_history(&judgement, &operations, plan);
    Run { time, judgement, happened, state }
}

async fn calm_client(cluster: &Cluster) -> quorate_client::Client {
    cluster.leader().await;
    cluster.client().await
}

/// What a violation was found in, for those who look for its cause.
fn keep_history(judgement: &Judgement, operations: &[Operation], plan: &Plan) {
    if judgement.is_ok() {
        return;
    }
    let dir = std::env::var_os("QUORATE_KEEP").map_or_else(std::env::temp_dir, PathBuf::from);
    let name = format!("torture-{}", plan.seed);
    std::fs::create_dir_all(&dir).unwrap();
    history::write(&dir.join(format!("{name}.jsonl")), operations);
    std::fs::write(dir.join(format!("{name}.toml")), plan.to_text()).unwrap();
    eprintln!("the plan and the history are in {}/{name}.*", dir.display());
}

impl Run {
    /// The one line that says it all.
    fn line(&self) -> String {
        let kinds: Vec<String> =
            self.happened.kinds.iter().map(|(kind, times)| format!("{kind} {times}")).collect();
        let Judgement { operations, unknown, lost, doubled, stale, longest_outage_ms, .. } =
            &self.judgement;
        format!(
            "torture: {} faults of {} kinds in {:.0} s ({}); {operations} operations ({:.0} \
             acknowledged a second), {} acknowledged, {unknown} unknown, {} refused; {lost} lost, \
             {doubled} doubled, {stale} stale; longest outage {longest_outage_ms} ms; state {} at \
             {} on all nodes",
            self.happened.faults(),
            self.happened.kinds.len(),
            self.time.as_secs_f64(),
            kinds.join(", "),
            self.rate(),
            self.judgement.all_acked(),
            self.judgement.refused,
            self.state.1,
            self.state.0,
        )
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn rate(&self) -> f64 {
        self.judgement.all_acked() as f64 / self.time.as_secs_f64()
    }

    fn ledger_row(&self, plan: &Plan) -> ledger::Torture {
        let kinds = self.happened.kinds.iter().map(|(kind, times)| ((*kind).to_owned(), *times));
        ledger::Torture {
            commit: ledger::commit(),
            unix_time: ledger::now(),
            seed: plan.seed,
            nodes: plan.nodes,
            seconds: self.time.as_secs(),
            faults: kinds.collect(),
            operations: self.judgement.operations,
            acknowledged: self.judgement.all_acked(),
            unknown: self.judgement.unknown,
            refused: self.judgement.refused,
            lost: self.judgement.lost,
            doubled: self.judgement.doubled,
            stale: self.judgement.stale,
            violations: self.judgement.failures.len() as u64,
            longest_outage_ms: self.judgement.longest_outage_ms,
            state: format!("{} at {}", self.state.1, self.state.0),
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

fn plan() -> Plan {
    if let Some(path) = std::env::var_os("QUORATE_TORTURE_PLAN") {
        return Plan::read(Path::new(&path));
    }
    let seed = number("QUORATE_TORTURE_SEED").unwrap_or(1);
    match number("QUORATE_TORTURE_FAULTS") {
        Some(faults) => Plan::torture(seed, NODES, faults, GAP_MS),
        None => Plan::torture(seed, NODES, SHORT_FAULTS, SHORT_GAP_MS),
    }
}

/// Two clusters at once would fight for the processor.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn mixed_faults_lose_nothing_double_nothing_and_show_nothing_stale() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let plan = plan();
    let run = run(&plan).await;
    println!("{}", run.line());
    if std::env::var_os("QUORATE_TORTURE_LEDGER").is_some() {
        ledger::add(run.ledger_row(&plan));
    }
    run.judgement.assert_ok();
    assert!(run.happened.kinds.len() >= 14 || !plan.more.is_empty(), "too few kinds of faults");
    assert!(run.rate() > 100.0, "{:.0} operations a second", run.rate());
}

/// The plans that lie beside the harness; those without `more` drive the simulator, too.
#[tokio::test]
async fn the_plans_as_written() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness/plans");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let plan = Plan::read(&path);
        let run = run(&plan).await;
        println!("{}: {}", path.file_stem().unwrap().to_string_lossy(), run.line());
        run.judgement.assert_ok();
    }
}
