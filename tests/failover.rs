//! Real processes, killed and paused under load: nothing acknowledged is lost or doubled, and
//! nobody answers from the past.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::{Duration, Instant};

use quorate_client::Client;
use quorate_core::wire::client::{Get, Op, Put, Success};
use quorate_harness::load::Load;
use quorate_harness::{Cluster, wait_for};
use rustix::process::Signal;

fn quorate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

/// How often the leader is killed; QUORATE_KILLS=100 for the long run.
fn kills() -> u32 {
    std::env::var("QUORATE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

#[tokio::test]
async fn killed_leaders_lose_nothing_and_double_nothing() {
    let mut cluster = Cluster::start(quorate(), 3, "");
    cluster.leader().await;
    let load = Load::start(8, &cluster.endpoints()).await;
    load.next_ack().await;
    let mut longest = Duration::ZERO;
    for _ in 0..kills() {
        let leader = cluster.leader().await;
        cluster.kill(leader);
        longest = longest.max(load.next_ack().await);
        cluster.start_node(leader);
    }
    let client = cluster.client().await;
    let (acked, unknown) = load.finish(&client).await;
    let (index, hash) = cluster.settled().await;
    println!(
        "{} kills: {acked} writes acknowledged, {unknown} unknown, 0 lost, 0 doubled; longest \
         outage {} ms; state {hash} at {index} on all",
        kills(),
        longest.as_millis()
    );
    assert!(longest < Duration::from_secs(5), "the cluster serves again");
}

/// A client of one node only, which follows no hints.
async fn pinned(cluster: &Cluster, node: u64) -> Client {
    let builder = Client::builder().endpoint(&cluster.addresses[&node]).pinned(true);
    builder.sessionless(true).deadline(Duration::from_secs(2)).connect().await.unwrap()
}

fn put(key: &'static str, value: &'static str) -> Op {
    Op::Put(Put { key: key.into(), value: value.into(), ..Put::default() })
}

fn get(key: &'static str) -> Op {
    Op::Get(Get { key: key.into(), ..Get::default() })
}

#[tokio::test]
async fn a_paused_leader_never_acknowledges_or_answers_from_its_past() {
    let cluster = Cluster::start(quorate(), 3, "");
    let old = cluster.leader().await;
    let old_client = pinned(&cluster, old).await;
    old_client.call(put("key", "before"), None).await.unwrap();
    cluster.signal(old, Signal::STOP);
    let others: Vec<String> =
        cluster.addresses.iter().filter(|(id, _)| **id != old).map(|(_, a)| a.clone()).collect();
    let rest = Client::builder().endpoints(others).deadline(Duration::from_secs(20));
    let rest = rest.connect().await.unwrap();
    rest.call(put("key", "after"), None).await.unwrap();
    // What the paused leader finds in its socket when it wakes up.
    let read = old_client.submit(get("key"), None);
    let write = old_client.submit(put("key", "from the past"), None);
    tokio::time::sleep(Duration::from_millis(50)).await;
    cluster.signal(old, Signal::CONT);
    match read.await {
        Ok(Success::Get { entry, .. }) => assert_eq!(entry.unwrap().value, "after"),
        Ok(other) => panic!("{other:?}"),
        Err(_) => {}
    }
    assert!(write.await.is_err(), "the old leader acknowledged a write");
    let now = rest.call(get("key"), None).await.unwrap();
    let Success::Get { entry: Some(entry), .. } = now else { panic!("{now:?}") };
    assert_eq!(entry.value, "after");
    cluster.settled().await;
}

#[tokio::test]
async fn a_paused_follower_comes_back_without_disturbing_the_leader() {
    let cluster = Cluster::start(quorate(), 3, "");
    let leader = cluster.leader().await;
    let term = cluster.status(leader).await.unwrap().term;
    let follower = *cluster.addresses.keys().find(|id| **id != leader).unwrap();
    cluster.signal(follower, Signal::STOP);
    let client = cluster.client().await;
    let paused = Instant::now();
    while paused.elapsed() < Duration::from_secs(3) {
        client.call(put("key", "while it sleeps"), None).await.unwrap();
    }
    cluster.signal(follower, Signal::CONT);
    cluster.settled().await;
    let after = cluster.status(leader).await.unwrap();
    assert_eq!((after.role.as_str(), after.term), ("leader", term), "the leader was disturbed");
    // Linearizable reads it answers at the index that its leader names, stale ones by itself.
    let asked = pinned(&cluster, follower).await;
    client.call(put("key", "now"), None).await.unwrap();
    let read = asked.call(get("key"), None).await.unwrap();
    let Success::Get { entry: Some(entry), .. } = read else { panic!("{read:?}") };
    assert_eq!(entry.value, "now");
    client.call(put("key", "while it sleeps"), None).await.unwrap();
    assert!(asked.get_stale("key").await.unwrap().entry.is_some());
}

#[tokio::test]
async fn a_leader_without_a_quorum_refuses_and_the_cluster_comes_back() {
    let mut cluster = Cluster::start(quorate(), 3, "");
    let leader = cluster.leader().await;
    let others: Vec<u64> = cluster.addresses.keys().copied().filter(|id| *id != leader).collect();
    let client = pinned(&cluster, leader).await;
    client.call(put("key", "with a quorum"), None).await.unwrap();
    for other in &others {
        cluster.kill(*other);
    }
    let stepped_down = wait_for("step-down", Duration::from_secs(5), async || {
        let status = cluster.status(leader).await?;
        (status.role != "leader").then_some(status)
    });
    stepped_down.await;
    // Whatever the client could find out by its deadline: it is no success, and what is read
    // below shows that nothing was done.
    assert!(client.call(put("key", "alone"), None).await.is_err());
    for other in &others {
        cluster.start_node(*other);
    }
    cluster.leader().await;
    let client = cluster.client().await;
    let now = client.call(get("key"), None).await.unwrap();
    let Success::Get { entry: Some(entry), .. } = now else { panic!("{now:?}") };
    assert_eq!(entry.value, "with a quorum");
}

#[tokio::test]
async fn all_nodes_killed_at_once_come_back_with_everything() {
    let mut cluster = Cluster::start(quorate(), 3, "");
    let client = cluster.client().await;
    for number in 0..50u32 {
        client.put(format!("key/{number}"), format!("{number}")).await.unwrap();
    }
    let (_, before) = cluster.settled().await;
    for id in 1..=3 {
        cluster.kill(id);
    }
    for id in 1..=3 {
        cluster.start_node(id);
    }
    cluster.leader().await;
    for number in 0..50u32 {
        let read = client.get(format!("key/{number}")).await.unwrap();
        assert_eq!(read.entry.unwrap().value, format!("{number}"));
    }
    let (_, after) = cluster.settled().await;
    assert_ne!(before, after, "the state went on: a new term's entries count");
}

#[tokio::test]
async fn a_node_told_to_stop_answers_what_is_in_flight_and_ends_with_0() {
    let mut cluster = Cluster::start(quorate(), 3, "");
    let leader = cluster.leader().await;
    let load = Load::start(4, &cluster.endpoints()).await;
    load.next_ack().await;
    assert_eq!(cluster.stop(leader), Some(0));
    load.next_ack().await;
    cluster.start_node(leader);
    let client = cluster.client().await;
    load.finish(&client).await;
    cluster.settled().await;
}
