//! What operating a cluster costs its clients, measured on real processes: kills and planned
//! stops of the leader, checkpoints of a large state, followers that catch up, a long overwriting
//! of a small working set, the start of a large node; and whether it stays as fast with many keys,
//! large values, more nodes, idle sessions, one slow node, and for minutes.
//!
//! ```console
//! $ cargo bench --bench operations -- kills 60     # the leader, with SIGKILL
//! $ cargo bench --bench operations -- stops 30     # the leader, as planned
//! $ cargo bench --bench operations -- growth 20    # minutes over 10 MB of keys
//! $ cargo bench --bench operations -- pause 500    # MB of state, checkpointed under writes
//! $ cargo bench --bench operations -- checkpoints 1000000 # keys; without a cluster
//! $ cargo bench --bench operations -- catchup 200000
//! $ cargo bench --bench operations -- newcomers 7  # empty new nodes, one after the other
//! $ cargo bench --bench operations -- boot 1000000
//! $ cargo bench --bench operations -- keys 1000000
//! $ cargo bench --bench operations -- values       # 16 B to 1 MiB
//! $ cargo bench --bench operations -- nodes        # 3, 5 and 7
//! $ cargo bench --bench operations -- sessions 10000   # idle ones; takes as many open files
//! $ cargo bench --bench operations -- slow 3       # rounds with one slow node
//! $ cargo bench --bench operations -- saturated 60 # seconds
//! ```
//!
//! It prints what it measures and judges nothing: timings depend on the machine.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

mod bench;
mod catch_up;
mod checkpoints;
mod failover;
mod growth;
mod hindered;
mod large;
mod load;
mod scale;

use std::path::Path;
use std::time::Duration;

fn quorate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let number = |otherwise: u64| words.get(1).and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    match words.first().map(String::as_str) {
        Some("kills") => failover::run(number(60), failover::End::Kill).await,
        Some("stops") => failover::run(number(30), failover::End::Stop).await,
        Some("growth") => growth::run(number(20)).await,
        Some("pause") => large::pause(number(500)).await,
        Some("checkpoints") => checkpoints::run(number(1_000_000)),
        Some("catchup") => catch_up::run(number(200_000)).await,
        Some("newcomers") => catch_up::newcomers(number(7)).await,
        Some("boot") => large::boot(number(1_000_000)).await,
        Some("keys") => scale::keys(number(1_000_000)).await,
        Some("values") => scale::values().await,
        Some("nodes") => scale::nodes().await,
        Some("sessions") => scale::sessions(number(10_000)).await,
        Some("slow") => hindered::run(number(3)).await,
        Some("saturated") => scale::saturated(number(60)).await,
        _ => println!(
            "kills|stops|growth|pause|checkpoints|catchup|newcomers|boot|keys|values|nodes|sessions|\
             slow|saturated [NUMBER]"
        ),
    }
}

/// The value below which so many percent of them are.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(place).copied().unwrap_or_default()
}
