//! Quorate beside etcd and Redis: the same loads, in turns, on fresh directories of one disk.
//!
//! ```console
//! $ apt-get install etcd-server golang-go golang-etcd-server-dev redis-server
//! $ cargo bench --bench side_by_side                       # 5 rounds of 5 seconds
//! $ cargo bench --bench side_by_side -- 1 2 --json out.json
//! ```
//!
//! etcd is loaded by a program over its own Go client (`etcd_load/`), shaped as etcd's own load
//! tool; Quorate by `quorate bench`; Redis (one, without replicas, each write synced) by
//! `redis-benchmark`. The directories are where `TMPDIR` says.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

mod peers;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use peers::Peer;
use serde_json::Value;
use table::{LOADS, LONG, LONG_SECONDS, Load, Runs, Sample};

const KEYS: &str = "10000";

fn quorate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let number = |place: usize, otherwise: u64| {
        words.get(place).and_then(|word| word.parse().ok()).unwrap_or(otherwise)
    };
    let (rounds, seconds) = (number(0, 5), number(1, 5));
    let json = words.iter().skip_while(|word| *word != "--json").nth(1);
    let directory = tempfile::tempdir().expect("a directory");
    let Some(etcd_load) = missing_or_built(directory.path()) else { return };
    println!("{}", machine());
    let mut all: Vec<(Load, Runs)> =
        LOADS.into_iter().map(|load| (load, Runs::default())).collect();
    for round in 1..=rounds {
        for (load, runs) in &mut all {
            run(*load, runs, seconds, &etcd_load).await;
            if load.operation == "put" {
                runs.redis.push(redis(*load));
            }
            let (ours, theirs) = (runs.quorate.last(), runs.etcd.last());
            println!("round {round}: {} {}: {ours:?} {theirs:?}", load.operation, load.outstanding);
        }
    }
    println!("\n{}", table::markdown(&all));
    let mut long = Runs::default();
    run(LONG, &mut long, LONG_SECONDS, &etcd_load).await;
    let mut verdicts = table::verdicts(&all);
    verdicts.push(table::memory(&long));
    for (holds, what) in verdicts {
        println!("{}  {what}", if holds { "holds" } else { "SHORT" });
    }
    if let Some(path) = json {
        std::fs::write(path, table::report(&all).to_string()).expect("the file is written");
    }
}

/// One run of a load on each.
async fn run(load: Load, runs: &mut Runs, seconds: u64, etcd_load: &Path) {
    let etcd = Peer::etcd();
    runs.etcd.push(loaded(&etcd, seconds, |peer, seconds, first| {
        let mut command = Command::new(etcd_load);
        command.args(["-operation", load.operation, "-warm-up", "0", "-keys", KEYS]);
        command.arg(format!("-fill={first}")).args(["-endpoints", &peer.endpoints.join(",")]);
        command.args(["-seconds", &seconds.to_string(), "-clients", &load.connections.to_string()]);
        command.args(["-outstanding", &load.outstanding.to_string()]);
        command
    }));
    drop(etcd);
    let cluster = Peer::quorate(quorate()).await;
    runs.quorate.push(loaded(&cluster, seconds, |peer, seconds, first| {
        let mut command = Command::new(quorate());
        command.args(["bench", load.operation, "--json", "--warm-up", "0", "--keys", KEYS]);
        command.args(["--key-bytes", "8", "--endpoints", &peer.endpoints.join(",")]);
        command.args(if first { &["--prefill"][..] } else { &[] });
        command.args([
            "--seconds",
            &seconds.to_string(),
            "--clients",
            &load.connections.to_string(),
        ]);
        command.args(["--outstanding", &load.outstanding.to_string()]);
        command
    }));
    drop(cluster);
}

/// Warms up for a second, then measures.
fn loaded(peer: &Peer, seconds: u64, command: impl Fn(&Peer, u64, bool) -> Command) -> Sample {
    json_of(command(peer, 1, true));
    let before = peer.used();
    let found = json_of(command(peer, seconds, false));
    let after = peer.used();
    let number = |place: &str| {
        let number = found.pointer(place).and_then(Value::as_f64);
        number.unwrap_or_else(|| panic!("no {place} in {found}"))
    };
    assert!(number("/failed") == 0.0, "requests failed: {found}");
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let time = seconds as f64;
    Sample {
        per_second: number("/per_second"),
        p99: number("/latency_ms/p99"),
        cpu_micros: table::ratio(
            (after.cpu_seconds - before.cpu_seconds) * 1e6,
            number("/completed"),
        ),
        memory: after.memory_mib,
        generator: number("/generator/cpu_seconds") / time,
    }
}

fn json_of(mut command: Command) -> Value {
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A connection for each request under way: pipelined, Redis answers several with one sync and one
/// write, which no client that waits for its answers gets.
fn redis(load: Load) -> Sample {
    let server = Peer::redis();
    let port = server.endpoints[0].rsplit(':').next().unwrap_or_default().to_owned();
    let requests = if load.outstanding == 1 { "15000" } else { "300000" };
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &port, "-t", "set", "-d", "256", "-r", KEYS, "-n", requests, "--csv"]);
    command.args(["-c", &load.outstanding.to_string()]);
    let output = command.output().expect("it starts");
    let csv = String::from_utf8_lossy(&output.stdout).into_owned();
    let (per_second, p99) = table::redis_sample(&csv).unwrap_or_else(|| panic!("{csv}"));
    Sample { per_second, p99, ..Sample::default() }
}

/// Builds etcd's load; says what is missing instead.
fn missing_or_built(directory: &Path) -> Option<PathBuf> {
    for program in ["etcd", "go", "redis-server", "redis-benchmark"] {
        if Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_err()
        {
            println!(
                "skipped: there is no `{program}` here; apt-get install etcd-server golang-go \
                 golang-etcd-server-dev redis-server"
            );
            return None;
        }
    }
    let built = directory.join("etcd_load");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/side_by_side/etcd_load");
    let status = Command::new("go")
        .args(["build", "-o"])
        .args([&built])
        .arg(".")
        .current_dir(source)
        .envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode")])
        .status();
    if !status.is_ok_and(|status| status.success()) {
        println!("skipped: etcd's Go client is not here; apt-get install golang-etcd-server-dev");
        return None;
    }
    Some(built)
}

/// What it runs on, in a line.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches(['\t', ' ', ':']);
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        text.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
    };
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores ({model}), Linux {}; {}; {}",
        kernel.trim(),
        version("etcd"),
        version("redis-server")
    )
}
