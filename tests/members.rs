//! Members that come and go under load, on real processes: nothing acknowledged is lost or doubled.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use quorate_client::Client;
use quorate_core::types::NodeId;
use quorate_core::wire::client::{Admin, Op, Success};
use quorate_harness::load::Load;
use quorate_harness::{Cluster, wait_for};

fn quorate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

/// Short logs, so that whoever comes needs a snapshot.
const SMALL: &str = "
[raft]
snapshot_entries = 1_000
trailing_entries = 50
";

/// A client of every node that there may be, for an operator's commands.
async fn operator(cluster: &Cluster) -> Client {
    let builder = Client::builder().endpoints(cluster.endpoints()).sessionless(true);
    builder.deadline(Duration::from_secs(20)).connect().await.unwrap()
}

/// Asks until it is done: a change may have to wait for the one before it, or for a leader.
async fn admin(cluster: &Cluster, admin: Admin) {
    let last = std::cell::RefCell::new(String::new());
    wait_for("change", Duration::from_secs(40), async || {
        let client = operator(cluster).await;
        match client.call(Op::Admin(admin.clone()), None).await {
            Ok(_) => Some(()),
            Err(error) => {
                let said = error.to_string();
                // It was done by an attempt whose answer was lost.
                let done = said.contains("already") || said.contains("is not a member");
                if *last.borrow() != said {
                    eprintln!("{admin:?}: {said}");
                    last.replace(said);
                }
                done.then_some(())
            }
        }
    })
    .await;
}

async fn voters(cluster: &Cluster) -> Vec<u64> {
    let members = operator(cluster).await.call(Op::Members, None).await.unwrap();
    let Success::Members(members) = members else { panic!("{members:?}") };
    members.iter().filter(|member| member.role == "voter").map(|member| member.id.0).collect()
}

async fn add(cluster: &mut Cluster, id: u64) {
    let (peer, client) = cluster.addresses_of(id);
    let member = Admin::AddMember { id: NodeId(id), peer, client, standby: false };
    admin(cluster, member).await;
    cluster.start_node(id);
    admin(cluster, Admin::PromoteMember { id: NodeId(id), force: false }).await;
}

async fn remove(cluster: &Cluster, id: u64) {
    admin(cluster, Admin::RemoveMember { id: NodeId(id), force: false }).await;
}

#[tokio::test]
async fn a_cluster_grows_is_repaired_and_shrinks_under_load() {
    let mut cluster = Cluster::start_one_of(quorate(), 5, SMALL);
    cluster.leader().await;
    let load = Load::start(4, &cluster.endpoints()).await;
    load.next_ack().await;
    for id in 2..=5 {
        add(&mut cluster, id).await;
        load.next_ack().await;
    }
    assert_eq!(voters(&cluster).await, [1, 2, 3, 4, 5]);
    // A killed leader, and a node whose disk is lost and which comes back as a new member.
    let leader = cluster.leader().await;
    cluster.kill(leader);
    load.next_ack().await;
    cluster.start_node(leader);
    let lost = (2..=5).find(|id| *id != leader).unwrap();
    cluster.kill(lost);
    std::fs::remove_dir_all(cluster.dir.path().join(format!("n{lost}"))).unwrap();
    remove(&cluster, lost).await;
    add(&mut cluster, lost).await;
    assert_eq!(voters(&cluster).await, [1, 2, 3, 4, 5]);
    load.next_ack().await;
    // Whoever is removed ends by itself, and says why.
    for id in [5, 4, 3, 2] {
        remove(&cluster, id).await;
        load.next_ack().await;
        assert_eq!(cluster.wait(id), Some(66), "n{id}");
        cluster.addresses.remove(&id);
    }
    assert_eq!(voters(&cluster).await, [1]);
    let client = cluster.client().await;
    let (acked, unknown) = load.finish(&client).await;
    println!("{acked} writes acknowledged, {unknown} unknown, 0 lost, 0 doubled");
    cluster.settled().await;
}

#[tokio::test]
async fn leadership_is_handed_over_and_a_planned_stop_costs_no_write() {
    let mut cluster = Cluster::start(quorate(), 3, "");
    let old = cluster.leader().await;
    let load = Load::start(4, &cluster.endpoints()).await;
    load.next_ack().await;
    let to = (1..=3).find(|id| *id != old).unwrap();
    admin(&cluster, Admin::TransferLeadership { to: NodeId(to) }).await;
    wait_for("the new leader", Duration::from_secs(5), async || {
        let status = cluster.status(to).await?;
        (status.role == "leader").then_some(())
    })
    .await;
    load.next_ack().await;
    let leader = cluster.leader().await;
    assert_eq!(cluster.stop(leader), Some(0));
    let outage = load.next_ack().await;
    let log = std::fs::read_to_string(cluster.log_of(leader)).unwrap();
    assert!(log.contains("hands leadership over"), "{log}");
    cluster.start_node(leader);
    let client = cluster.client().await;
    let (acked, unknown) = load.finish(&client).await;
    println!("{acked} acknowledged, {unknown} unknown; outage {} ms", outage.as_millis());
    assert_eq!(unknown, 0, "a planned stop leaves no write unknown");
    cluster.settled().await;
}
