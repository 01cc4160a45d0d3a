//! Whether anything grows when a small working set is overwritten for a long time.

use std::time::{Duration, Instant};

use quorate_harness::Cluster;
use quorate_harness::bare::resident_kib;

use crate::load::{Shape, Writers};
use crate::quorate;

/// Overwrites 10 MB for so many minutes, and prints a line each half minute.
pub(crate) async fn run(minutes: u64) {
    let cluster = Cluster::start(quorate(), 3, "");
    cluster.leader().await;
    let pause = Duration::ZERO;
    let shape = Shape { clients: 4, outstanding: 16, keys: 10_000, value_bytes: 1_000, pause };
    let writers = Writers::start(&cluster.endpoints(), shape).await;
    let started = Instant::now();
    println!("seconds  writes/s  node  log MiB  checkpoint MiB  data MiB  memory MiB  open files");
    while started.elapsed() < Duration::from_secs(minutes * 60) {
        let rate = writers.rate(Duration::from_secs(30)).await;
        for status in cluster.statuses().await {
            let (id, mib) = (status.node, |bytes: u64| bytes >> 20);
            println!(
                "{:>7}  {rate:>8.0}  n{id:<3}  {:>7}  {:>14}  {:>8}  {:>10}  {:>10}",
                started.elapsed().as_secs(),
                mib(status.log_bytes),
                mib(status.snapshot_bytes),
                mib(size_of(&cluster.data_dir(id))),
                resident_kib(cluster.pid(id)) >> 10,
                open_files(&cluster, id),
            );
        }
    }
    let failed = writers.finish().await;
    println!("{} writes failed; {:?}", failed.len(), cluster.settled().await);
}

fn open_files(cluster: &Cluster, id: u64) -> usize {
    let path = format!("/proc/{}/fd", cluster.pid(id).as_raw_nonzero());
    std::fs::read_dir(path).map_or(0, Iterator::count)
}

/// The bytes of all files below a directory.
fn size_of(path: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => size_of(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
