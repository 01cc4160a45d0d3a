//! Whether it stays as fast: with many keys, small and large values, more nodes, idle sessions,
//! for minutes at the most that it can do.

use std::io::Write as _;
use std::time::{Duration, Instant};

use quorate_client::Client;
use quorate_harness::Cluster;

use crate::bench::{Measured, bench};
use crate::load::as_float;
use crate::quorate;

/// Puts and gets of 16 bytes with 10,000 keys, then with so many.
pub(crate) async fn keys(most: u64) {
    for keys in [10_000, most] {
        let cluster = cluster(3, "").await;
        let started = Instant::now();
        let words = format!("--clients 32 --outstanding 1000 --value-bytes 16 --keys {keys}");
        bench(&cluster, &format!("put {words} --prefill --seconds 1")).await;
        println!("{keys} keys of 16 bytes: written after {:.0} s", started.elapsed().as_secs_f64());
        for what in ["put", "get"] {
            say(what, &bench(&cluster, &format!("{what} {words} --seconds 20")).await);
        }
    }
}

/// Puts of each size, and how many bytes a second that is; beside it what the disk takes.
pub(crate) async fn values() {
    println!("the disk takes {:.0} MB/s, synced after each MiB", disk_megabytes());
    for size in [16, 256, 4_096, 65_536, 1 << 20] {
        let cluster = cluster(3, "").await;
        let outstanding = ((16 << 20) / size).clamp(16, 256);
        let keys = ((64 << 20) / size).clamp(64, 10_000);
        let words =
            format!("--clients 16 --outstanding {outstanding} --value-bytes {size} --keys {keys}");
        let put = bench(&cluster, &format!("put {words} --seconds 8")).await;
        let megabytes = put.per_second() * as_float(size) / 1e6;
        say(&format!("put {size} B, {outstanding} outstanding ({megabytes:.1} MB/s)"), &put);
        let get = bench(&cluster, &format!("get {words} --seconds 4 --prefill")).await;
        let megabytes = get.per_second() * as_float(size) / 1e6;
        say(&format!("get {size} B, {outstanding} outstanding ({megabytes:.1} MB/s)"), &get);
    }
}

/// Clusters of three, five and seven.
pub(crate) async fn nodes() {
    for size in [3, 5, 7] {
        let cluster = cluster(size, "").await;
        both(&cluster, &format!("{size} nodes")).await;
    }
}

/// Before, with so many clients that have a session and ask nothing, and after.
pub(crate) async fn sessions(count: u64) {
    let most = count + 1_000;
    let more = format!(
        "[limits]\nsessions = {most}\nconnections = {most}\nconnections_per_address = {most}\n"
    );
    let cluster = cluster(3, &more).await;
    both(&cluster, "without").await;
    let started = Instant::now();
    let mut idle = vec![];
    for _ in 0..count {
        let builder = Client::builder().endpoints(cluster.endpoints());
        idle.push(builder.deadline(Duration::from_secs(60)).connect().await.expect("a session"));
    }
    println!("{count} sessions are open after {:.1} s", started.elapsed().as_secs_f64());
    both(&cluster, &format!("with {count} idle sessions")).await;
    drop(idle);
}

async fn both(cluster: &Cluster, when: &str) {
    for what in ["put", "get"] {
        let words = format!("{what} --clients 32 --outstanding 256 --prefill --seconds 8");
        say(&format!("{when}, {what}"), &bench(cluster, &words).await);
    }
}

/// Puts at the most that it can do, for so many seconds; whether the leader stays.
pub(crate) async fn saturated(seconds: u64) {
    let cluster = cluster(3, "").await;
    let before = cluster.settled().await;
    let term = terms(&cluster).await;
    let words = format!("put --clients 100 --outstanding 4000 --seconds {seconds}");
    let put = bench(&cluster, &words).await;
    say("put, 4000 outstanding", &put);
    let each = put.each_second();
    let (least, most) = (each.iter().min(), each.iter().max());
    println!("  least {least:?} and most {most:?} a second");
    println!("  terms {term:?} before, {:?} after; {before:?} before", terms(&cluster).await);
}

async fn terms(cluster: &Cluster) -> Vec<u64> {
    cluster.statuses().await.iter().map(|status| status.term).collect()
}

async fn cluster(size: u64, more: &str) -> Cluster {
    let cluster = Cluster::start(quorate(), size, more);
    cluster.leader().await;
    cluster
}

fn say(what: &str, measured: &Measured) {
    println!(
        "  {what}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {:.1} us of all nodes each, {:.0} MiB in the largest",
        measured.per_second(),
        measured.latency("p50"),
        measured.latency("p99"),
        measured.micros(),
        measured.memory()
    );
}

/// Bytes in MB that a file takes in a second, over zeros that are there, synced after each MiB.
fn disk_megabytes() -> f64 {
    let mut file = tempfile::tempfile().expect("a file");
    let (piece, count) = (vec![0x5A; 1 << 20], 256);
    let mut took = Duration::ZERO;
    for _round in 0..2 {
        std::io::Seek::rewind(&mut file).expect("it can be rewound");
        let started = Instant::now();
        for _ in 0..count {
            file.write_all(&piece).expect("there is space");
            file.sync_data().expect("it is synced");
        }
        took = started.elapsed();
    }
    as_float(count << 20) / 1e6 / took.as_secs_f64()
}
