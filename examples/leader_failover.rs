//! Kills the leader three times under load, and shows that nothing acknowledged is lost or
//! doubled.
//!
//! Starts three nodes as processes of their own from a configuration, lets eight sessions
//! append numbered tokens, ends the leader with SIGKILL, waits until writes go on, starts the
//! dead node again; three times. Then reads everything back.
//!
//! `cargo run --release --example leader_failover`

use std::process::ExitCode;
use std::time::{Duration, Instant};

use quorate_harness::Cluster;
use quorate_harness::load::Load;

mod support;

fn main() -> ExitCode {
    if let Some(code) = support::be_a_node_if_asked() {
        return code;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(show());
    ExitCode::SUCCESS
}

async fn show() {
    let started = Instant::now();
    let say = |what: String| println!("{:7.3} s  {what}", started.elapsed().as_secs_f64());
    let mut cluster = Cluster::of_this_program(3, "");
    let first = cluster.leader().await;
    say(format!("three nodes run, node {first} leads"));
    let load = Load::start(8, &cluster.endpoints()).await;
    load.next_ack().await;
    say("eight sessions append".to_owned());
    for _ in 0..3 {
        let leader = cluster.leader().await;
        let acked = load.acked.load(std::sync::atomic::Ordering::SeqCst);
        cluster.kill(leader);
        say(format!("node {leader} is killed with SIGKILL after {acked} acknowledged writes"));
        let outage = load.next_ack().await;
        let next = cluster.leader().await;
        say(format!(
            "node {next} leads; the next write was acknowledged {outage:.0?} after the kill"
        ));
        assert!(outage < Duration::from_secs(5), "the cluster serves again");
        cluster.start_node(leader);
        say(format!("node {leader} is started again"));
    }
    let client = cluster.client().await;
    let (acked, unknown) = load.finish(&client).await;
    say(format!("{acked} writes acknowledged, {unknown} unknown: 0 lost, 0 doubled, all in order"));
    let (index, hash) = cluster.settled().await;
    say(format!("all three nodes have state {hash} at index {index}"));
    client.close().await.expect("the session ends");
}
