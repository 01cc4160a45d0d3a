//! `bench`: how many requests a second a cluster takes, and how long each one waits.
//!
//! The load is closed (each client sends the next request when one is answered) or, with `--rate`,
//! open: requests are due at a fixed rate whatever becomes of those before, and a request's time
//! counts from when it was due. A closed load stops asking while the cluster stands still, so its
//! percentiles leave out what users would have waited for ("coordinated omission").

mod compare;
mod load;
mod machine;
mod pace;
mod record;
mod report;
mod servers;
mod workload;

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quorate_client::Client;

use super::args::{BenchArgs, Common};
use super::connect::{builder, endpoints};
use super::output::Failed;
use compare::Before;
use load::Plan;
use machine::Machine;
use pace::Ticker;
use record::Recorder;
use report::Report;
use servers::Servers;
use workload::Workload;

pub use machine::fsync;

/// `bench`
///
/// # Errors
/// When the arguments contradict each other, the file to compare with is not one, or no node
/// answers.
pub async fn bench(common: &Common, args: &BenchArgs) -> Result<(), Failed> {
    check(args)?;
    let before = args.compare.as_deref().map(|path| Before::read(path, args)).transpose()?;
    let workload = Arc::new(Workload::of(args)?);
    let machine = Machine::measure();
    let clients = connect(common, args).await?;
    if workload.needs_keys() && !args.no_fill {
        fill(common, &workload, &clients, args).await?;
    }
    let (measured, servers) = measure(common, args, &workload, &clients).await?;
    for client in clients {
        // A session that is not closed expires.
        drop(client.close().await);
    }
    let own_cpu_seconds = crate::process::used().map(|used| used.cpu_seconds);
    let report = Report { args, machine, servers, measured, own_cpu_seconds };
    report.print(common, before.as_ref())
}

fn check(args: &BenchArgs) -> Result<(), Failed> {
    let wrong = |what: &str| Err(Failed::usage(what.to_owned()));
    if args.clients == 0 || args.outstanding == 0 || args.keys == 0 || args.seconds == 0 {
        return wrong("--clients, --outstanding, --keys and --seconds are at least 1");
    }
    if args.outstanding < args.clients {
        return wrong(
            "--outstanding is less than --clients: each client has at least one request under way",
        );
    }
    if args.outstanding.div_ceil(args.clients) > 65_536 {
        return wrong("more than 65,536 requests under way on one connection: use more --clients");
    }
    if args.reads > 100 {
        return wrong("--reads is a percentage: 0 to 100");
    }
    if args.rate == Some(0) {
        return wrong("--rate is at least 1 a second; leave it out for a closed loop");
    }
    if args.seconds > 86_400 || args.warm_up > 86_400 {
        return wrong("--seconds and --warm-up are at most a day, 86,400");
    }
    Ok(())
}

async fn connect(common: &Common, args: &BenchArgs) -> Result<Vec<Client>, Failed> {
    let window = args.outstanding.div_ceil(args.clients) as u64;
    let mut clients = Vec::new();
    for _ in 0..args.clients {
        clients.push(builder(common)?.window(window).connect().await?);
    }
    Ok(clients)
}

/// Writes every key once: reads of keys that are not there measure something else.
async fn fill(
    common: &Common,
    workload: &Arc<Workload>,
    clients: &[Client],
    args: &BenchArgs,
) -> Result<(), Failed> {
    let bar = bar(common, args.keys, "filling");
    let share = args.keys.div_ceil(clients.len() as u64);
    let mut tasks = Vec::new();
    for (client, first) in
        clients.iter().zip((0..).step_by(usize::try_from(share).unwrap_or(usize::MAX)))
    {
        let keys = first..args.keys.min(first + share);
        tasks.push(tokio::spawn(load::fill(
            client.clone(),
            Arc::clone(workload),
            keys,
            bar.clone(),
        )));
    }
    for task in tasks {
        task.await.map_err(|error| Failed::usage(error.to_string()))??;
    }
    bar.finish_and_clear();
    Ok(())
}

async fn measure(
    common: &Common,
    args: &BenchArgs,
    workload: &Arc<Workload>,
    clients: &[Client],
) -> Result<(Recorder, Servers), Failed> {
    let (warm_up, time) = (Duration::from_secs(args.warm_up), Duration::from_secs(args.seconds));
    let origin = Instant::now();
    let plan = Plan { origin, from: warm_up, until: warm_up + time };
    let ticker = args.rate.map(|_| Arc::new(Ticker::start(warm_up + time)));
    let mut tasks = Vec::new();
    for (number, client) in (0..).zip(clients) {
        let pace = pace::Pace::of(args, number);
        let client = load::Client {
            client: client.clone(),
            workload: Arc::clone(workload),
            window: share(args.outstanding, args.clients, number),
            number: number as u64,
            of: args.clients as u64,
        };
        tasks.push(tokio::spawn(load::run(client, plan, pace, ticker.clone())));
    }
    let servers = watch(common, args, warm_up, time).await?;
    let mut all = Recorder::new(&plan);
    for task in tasks {
        let recorder = task.await.map_err(|error| Failed::usage(error.to_string()))?;
        all.add(&recorder);
    }
    Ok((all, servers))
}

/// The part of client `number`, where `all` is divided evenly.
fn share(all: usize, clients: usize, number: usize) -> usize {
    all / clients + usize::from(number < all % clients)
}

/// Shows a bar while the load runs, and reads what the servers used in the measured part.
async fn watch(
    common: &Common,
    args: &BenchArgs,
    warm_up: Duration,
    time: Duration,
) -> Result<Servers, Failed> {
    let nodes = endpoints(common)?;
    let bar = bar(common, args.warm_up + args.seconds, "measuring");
    let started = Instant::now();
    let mut before = None;
    while started.elapsed() < warm_up + time {
        if before.is_none() && started.elapsed() >= warm_up {
            before = Some(servers::Readings::take(&nodes).await);
        }
        bar.set_position(started.elapsed().as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = servers::Readings::take(&nodes).await;
    bar.finish_and_clear();
    Ok(Servers::between(before.as_ref(), &after))
}

fn bar(common: &Common, length: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(what);
    if common.quiet || common.json() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_adds_up() {
        for (all, clients) in [(1, 1), (7, 3), (256, 32), (1_000, 100)] {
            let sum: usize = (0..clients).map(|number| share(all, clients, number)).sum();
            assert_eq!(sum, all);
        }
    }
}
