//! `bench`: how many puts or gets a second, and how long each takes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_client::{Client, Pending};
use quorate_core::raft::Random;
use quorate_core::wire::client::{Get, Op, Put};
use serde_json::json;

use super::args::{BenchArgs, BenchWhat, Common};
use super::connect::builder;
use super::output::{Failed, print_line};

/// What one client measured.
#[derive(Default)]
struct Measured {
    /// Of each request that succeeded, in microseconds.
    micros: Vec<u32>,
    failed: u64,
    last_error: Option<String>,
}

/// `bench`
///
/// # Errors
/// When no client can connect.
pub async fn bench(common: &Common, args: &BenchArgs) -> Result<(), Failed> {
    let clients = args.clients.max(1);
    let each = (args.outstanding / clients).max(1);
    let args = Arc::new(Settings::of(args, each));
    let mut connected = Vec::new();
    for _ in 0..clients {
        connected.push(builder(common)?.window(each.max(1) as u64).connect().await?);
    }
    let started = Instant::now();
    let runs: Vec<_> = connected
        .iter()
        .enumerate()
        .map(|(number, client)| tokio::spawn(run(client.clone(), number as u64, Arc::clone(&args))))
        .collect();
    let mut all = Measured::default();
    for one in runs {
        if let Ok(measured) = one.await {
            all.micros.extend(measured.micros);
            all.failed += measured.failed;
            all.last_error = measured.last_error.or(all.last_error);
        }
    }
    let took = started.elapsed();
    for client in connected {
        let _ = client.close().await;
    }
    report(common, &args, clients, all, took)
}

/// What every client does.
struct Settings {
    what: BenchWhat,
    outstanding: usize,
    keys: u64,
    value: Bytes,
    time: Duration,
}

impl Settings {
    fn of(args: &BenchArgs, outstanding: usize) -> Self {
        let mut random = Random::new(7);
        let value: Vec<u8> =
            (0..args.value_bytes).map(|_| random.draw().to_le_bytes()[0]).collect();
        Self {
            what: args.what,
            outstanding,
            keys: args.keys.max(1) as u64,
            value: value.into(),
            time: Duration::from_secs(args.seconds),
        }
    }

    fn op(&self, random: &mut Random) -> Op {
        let key = Bytes::from(format!("bench/{:010}", random.below(self.keys)));
        match self.what {
            BenchWhat::Put => Op::Put(Put { key, value: self.value.clone(), ..Put::default() }),
            BenchWhat::Get => Op::Get(Get { key, ..Get::default() }),
        }
    }
}

/// One client: a closed loop that keeps its share of requests outstanding.
async fn run(client: Client, number: u64, settings: Arc<Settings>) -> Measured {
    let mut random = Random::new(number + 1);
    let mut measured = Measured::default();
    let mut waiting: VecDeque<(Instant, Pending)> = VecDeque::new();
    let end = Instant::now() + settings.time;
    loop {
        while waiting.len() < settings.outstanding && Instant::now() < end {
            waiting.push_back((Instant::now(), client.submit(settings.op(&mut random), None)));
        }
        let Some((sent, pending)) = waiting.pop_front() else { break };
        match pending.await {
            Ok(_) => {
                let micros = sent.elapsed().as_micros();
                measured.micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
            }
            Err(error) => {
                measured.failed += 1;
                measured.last_error = Some(error.to_string());
            }
        }
    }
    measured
}

fn report(
    common: &Common,
    settings: &Settings,
    clients: usize,
    mut all: Measured,
    took: Duration,
) -> Result<(), Failed> {
    all.micros.sort_unstable();
    let at = |share: f64| -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a list"
        )]
        let place = (all.micros.len() as f64 * share) as usize;
        let micros = all.micros.get(place.min(all.micros.len().saturating_sub(1)));
        f64::from(micros.copied().unwrap_or(0)) / 1e3
    };
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = all.micros.len() as f64 / took.as_secs_f64();
    let name = if settings.what == BenchWhat::Put { "put" } else { "get" };
    let (p50, p90, p99, p999, max) = (at(0.5), at(0.9), at(0.99), at(0.999), at(1.0));
    if common.json() {
        return print_line(json!({
            "operation": name, "clients": clients, "outstanding": settings.outstanding * clients,
            "value_bytes": settings.value.len(), "seconds": took.as_secs_f64(),
            "completed": all.micros.len(), "failed": all.failed, "per_second": rate,
            "latency_ms": {"p50": p50, "p90": p90, "p99": p99, "p999": p999, "max": max},
        }));
    }
    print_line(format_args!(
        "{name}  {rate:.0}/s   {} in {:.1} s, {clients} clients x {} outstanding, {} B values",
        all.micros.len(),
        took.as_secs_f64(),
        settings.outstanding,
        settings.value.len()
    ))?;
    print_line(format_args!(
        "latency  p50 {p50:.2} ms   p90 {p90:.2} ms   p99 {p99:.2} ms   p99.9 {p999:.2} ms   max {max:.1} ms"
    ))?;
    if all.failed > 0 {
        let last = all.last_error.unwrap_or_default();
        print_line(format_args!("failed   {}   last: {last}", all.failed))?;
    }
    Ok(())
}
