//! A large state: what its checkpoints cost the writers, and how long a start takes.

use std::time::{Duration, Instant};

use quorate_core::wire::client::{Admin, Op};
use quorate_harness::Cluster;

use crate::load::{Shape, Writers, client, fill};
use crate::{percentile, quorate};

/// Writes while a state of so many MB is checkpointed whole, by the leader and then by a follower,
/// and while that follower, which has lost it, gets all of it.
pub(crate) async fn pause(megabytes: u64) {
    // No checkpoint by itself, or that of a small state would be the last whole one.
    let never = "[raft]\nsnapshot_entries = 1000000000\nsnapshot_bytes = 1000000000000\n";
    let mut cluster = Cluster::start(quorate(), 3, never);
    cluster.leader().await;
    let keys = megabytes * 1_000;
    fill(&cluster.endpoints(), keys, 1_000).await;
    println!("{keys} keys of 1,000 bytes are there");
    let pause = Duration::from_millis(1);
    let shape = Shape { clients: 1, outstanding: 1, keys, value_bytes: 1_000, pause };
    let writers = Writers::start(&cluster.endpoints(), shape).await;
    let quiet = slowest_of(&writers, 20).await;
    println!("without a checkpoint: slowest write of each of 20 s, p50 and most: {}", both(&quiet));
    for what in
        ["checkpoint", "checkpoint of a follower", "snapshot for a follower without a state"]
    {
        let leader = cluster.leader().await;
        let follower = (1..=3).find(|id| *id != leader).expect("there are others");
        let started = Instant::now();
        writers.slowest();
        if what.starts_with("snapshot") {
            cluster.kill(follower);
            cluster.lose_checkpoint(follower);
            cluster.start_node(follower);
            while cluster.status(follower).await.is_none_or(|s| s.applied_index < keys) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        } else {
            let whose = if what == "checkpoint" { leader } else { follower };
            checkpoint(&cluster, whose).await;
        }
        let (took, slowest) = (started.elapsed(), writers.slowest());
        println!(
            "{what}: {} ms; slowest write meanwhile {} ms; n{leader} led, n{} leads",
            took.as_millis(),
            slowest.as_millis(),
            cluster.leader().await
        );
    }
    println!("{} writes failed", writers.finish().await.len());
    // All nodes are on one disk: who writes a state makes the others' syncs wait.
    for id in cluster.ids() {
        let log = std::fs::read_to_string(cluster.log_of(id)).expect("its lines");
        log.lines()
            .filter(|line| line.contains("sync"))
            .for_each(|line| println!("  n{id} {line}"));
    }
}

async fn checkpoint(cluster: &Cluster, node: u64) {
    let builder = quorate_client::Client::builder().endpoint(cluster.endpoint(node));
    let builder = builder.pinned(true).sessionless(true).deadline(Duration::from_secs(120));
    let client = builder.connect().await.expect("a client");
    client.call(Op::Admin(Admin::Snapshot), None).await.expect("a checkpoint");
}

async fn slowest_of(writers: &Writers, seconds: u64) -> Vec<Duration> {
    let mut all = vec![];
    for _ in 0..seconds {
        writers.slowest();
        tokio::time::sleep(Duration::from_secs(1)).await;
        all.push(writers.slowest());
    }
    all.sort_unstable();
    all
}

fn both(sorted: &[Duration]) -> String {
    let (half, most) = (percentile(sorted, 50), percentile(sorted, 100));
    format!("{} and {} ms", half.as_millis(), most.as_millis())
}

/// How long a node with so many keys of 256 bytes takes from its start to its first answer.
pub(crate) async fn boot(keys: u64) {
    let mut cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    fill(&cluster.endpoints(), keys, 256).await;
    checkpoint(&cluster, 1).await;
    for end in ["planned stop", "SIGKILL"] {
        if end == "SIGKILL" {
            cluster.kill(1);
        } else {
            cluster.stop(1);
        }
        let started = Instant::now();
        cluster.start_node(1);
        cluster.leader().await;
        let serves = started.elapsed();
        let client = client(&cluster.endpoints()).await;
        client.get("key/00000000").await.expect("a read");
        println!(
            "{keys} keys of 256 bytes, after a {end}: leads after {} ms, has answered a read after {} ms",
            serves.as_millis(),
            started.elapsed().as_millis()
        );
    }
    let log = std::fs::read_to_string(cluster.log_of(1)).expect("its lines");
    log.lines()
        .filter(|l| l.contains("checkpoint:") || l.contains("log:"))
        .for_each(|l| println!("  {l}"));
}
