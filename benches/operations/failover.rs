//! How long nothing is acknowledged when the leader goes.

use std::time::{Duration, Instant};

use quorate_harness::Cluster;

use crate::load::{Shape, Writers};
use crate::{percentile, quorate};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Kill,
    Stop,
}

/// Ends the leader so many times, and starts it again each time.
pub(crate) async fn run(rounds: u64, end: End) {
    let mut cluster = Cluster::start(quorate(), 3, "");
    cluster.leader().await;
    let pause = Duration::from_millis(2);
    let shape = Shape { clients: 4, outstanding: 1, keys: 1_000, value_bytes: 256, pause };
    let writers = Writers::start(&cluster.endpoints(), shape).await;
    let mut outages = vec![];
    for _ in 0..rounds {
        let leader = cluster.leader().await;
        writers.next().await;
        writers.slowest();
        outages.push(end_and_wait(&mut cluster, leader, &writers, end).await);
        cluster.start_node(leader);
        while cluster.statuses().await.len() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let done = writers.done();
    let failed = writers.finish().await;
    outages.sort_unstable();
    println!(
        "{end:?}: {rounds} rounds, {done} writes, {} failed; outage p50 {} ms, p99 {} ms, longest {} ms",
        failed.len(),
        percentile(&outages, 50).as_millis(),
        percentile(&outages, 99).as_millis(),
        percentile(&outages, 100).as_millis(),
    );
    failed.iter().take(5).for_each(|error| println!("  {error}"));
}

/// The longest time without an acknowledged write until writes are acknowledged again.
async fn end_and_wait(cluster: &mut Cluster, leader: u64, writers: &Writers, end: End) -> Duration {
    let (mut longest, mut last, mut seen) = (Duration::ZERO, Instant::now(), writers.done());
    let ended = match end {
        End::Kill => {
            cluster.kill(leader);
            Instant::now()
        }
        End::Stop => {
            cluster.signal(leader, rustix::process::Signal::TERM);
            Instant::now()
        }
    };
    // A stop takes as long as it takes: the gap is looked for until well behind it.
    loop {
        let now = Instant::now();
        if writers.done() > seen {
            (seen, last) = (writers.done(), now);
        } else {
            longest = longest.max(now - last);
        }
        let gone =
            end == End::Kill || cluster.ended(leader).is_some() || !cluster.is_started(leader);
        if gone && now - last < Duration::from_millis(5) && now - ended > Duration::from_secs(3) {
            return longest;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
