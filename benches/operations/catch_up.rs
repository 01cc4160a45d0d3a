//! What it costs the writers when a follower, or an empty new node, catches up.

use std::time::{Duration, Instant};

use quorate_core::types::NodeId;
use quorate_core::wire::client::{Admin, Op, Success};
use quorate_harness::Cluster;

use crate::load::{Shape, Writers, client};
use crate::quorate;

/// A follower that was away for so many writes, then a new node; all under full load.
pub(crate) async fn run(writes: u64) {
    let mut cluster = Cluster::start_one_of(quorate(), 4, "");
    for id in [2, 3] {
        join(&mut cluster, id).await;
        await_vote(&cluster, id).await;
    }
    let leader = cluster.leader_of(&[1, 2, 3]).await;
    let endpoints: Vec<String> = [1, 2, 3].map(|id| cluster.endpoint(id).to_owned()).to_vec();
    let pause = Duration::ZERO;
    let shape = Shape { clients: 4, outstanding: 16, keys: 100_000, value_bytes: 256, pause };
    let writers = Writers::start(&endpoints, shape).await;
    let all = writers.rate(Duration::from_secs(10)).await;
    let follower = (1..=3).find(|id| *id != leader).expect("there are others");
    cluster.kill(follower);
    let (before, started) = (writers.done(), Instant::now());
    while writers.done() < before + writes {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let two = crate::load::as_float(writes) / started.elapsed().as_secs_f64();
    println!("writes/s with three nodes {all:.0}, with two {two:.0}");
    cluster.start_node(follower);
    watch(&cluster, &writers, follower, &format!("a follower away for {writes} writes")).await;
    let again = writers.rate(Duration::from_secs(10)).await;
    println!("writes/s with three nodes again {again:.0}");
    join(&mut cluster, 4).await;
    watch(&cluster, &writers, 4, "a new node").await;
    println!("writes/s with four nodes {:.0}", writers.rate(Duration::from_secs(10)).await);
    println!("{} writes failed; {:?}", writers.finish().await.len(), cluster.settled().await);
}

/// One empty new node after the other, each gone before the next, all under full load.
pub(crate) async fn newcomers(count: u64) {
    let mut cluster = Cluster::start_one_of(quorate(), 3 + count, "");
    for id in [2, 3] {
        join(&mut cluster, id).await;
        await_vote(&cluster, id).await;
    }
    let endpoints: Vec<String> = [1, 2, 3].map(|id| cluster.endpoint(id).to_owned()).to_vec();
    let pause = Duration::ZERO;
    let shape = Shape { clients: 4, outstanding: 16, keys: 100_000, value_bytes: 256, pause };
    let writers = Writers::start(&endpoints, shape).await;
    writers.rate(Duration::from_secs(10)).await;
    let mut dents = vec![];
    for id in 4..4 + count {
        let three = writers.rate(Duration::from_secs(4)).await;
        join(&mut cluster, id).await;
        let meanwhile = watch(&cluster, &writers, id, "a new node").await;
        await_vote(&cluster, id).await;
        let four = writers.rate(Duration::from_secs(4)).await;
        leave(&mut cluster, id).await;
        let again = writers.rate(Duration::from_secs(4)).await;
        let before = f64::midpoint(three, again);
        let dent = (1.0 - meanwhile / before) * 100.0;
        println!(
            "writes/s with three {three:.0} and {again:.0}, meanwhile {meanwhile:.0} (-{dent:.0} %), with four {four:.0} (-{:.0} %)",
            (1.0 - four / before) * 100.0
        );
        dents.push(dent);
    }
    dents.sort_by(f64::total_cmp);
    println!("median dent {:.0} %", dents[dents.len() / 2]);
    println!("{} writes failed", writers.finish().await.len());
}

async fn leave(cluster: &mut Cluster, id: u64) {
    let client = client(&[cluster.endpoint(1).to_owned()]).await;
    let remove = Admin::RemoveMember { id: NodeId(id), force: false };
    client.call(Op::Admin(remove), None).await.expect("it leaves");
    cluster.kill(id);
}

async fn join(cluster: &mut Cluster, id: u64) {
    let (peer, address) = cluster.addresses_of(id);
    let add = Admin::AddMember { id: NodeId(id), peer, client: address, standby: false };
    let client = client(&[cluster.endpoint(1).to_owned()]).await;
    let mut added = client.call(Op::Admin(add.clone()), None).await;
    while added.is_err_and(|error| !error.to_string().contains("already")) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        added = client.call(Op::Admin(add.clone()), None).await;
    }
    cluster.start_node(id);
}

/// A killed node must not be the only other one that votes.
async fn await_vote(cluster: &Cluster, id: u64) {
    let client = client(&[cluster.endpoint(1).to_owned()]).await;
    loop {
        let members = match client.call(Op::Members, None).await {
            Ok(Success::Members(members)) => members,
            other => panic!("{other:?}"),
        };
        if members.iter().any(|member| member.id == NodeId(id) && member.role == "voter") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Prints each half second's rate until the node lacks no more than a heartbeat's worth.
async fn watch(cluster: &Cluster, writers: &Writers, id: u64, what: &str) -> f64 {
    let started = Instant::now();
    let mut rates = vec![];
    loop {
        rates.push(writers.rate(Duration::from_millis(500)).await);
        let statuses = cluster.statuses().await;
        let last = statuses.iter().map(|status| status.commit_index).max().unwrap_or(0);
        let own = statuses.iter().find(|status| status.node == id).map_or(0, |s| s.applied_index);
        if own > 0 && own + 5_000 > last {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(300), "it does not catch up");
    }
    let mean = rates.iter().sum::<f64>() / crate::load::as_float(rates.len() as u64);
    let least = rates.iter().copied().fold(f64::MAX, f64::min);
    let each: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
    println!("writes/s in each half second: {}", each.join(" "));
    println!(
        "{what} has caught up after {} ms; writes/s meanwhile {mean:.0} in the mean, {least:.0} in the worst half second",
        started.elapsed().as_millis()
    );
    mean
}
