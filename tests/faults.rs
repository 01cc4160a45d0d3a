//! The harness's own faults, against real nodes: each one is seen to happen, and the cluster
//! answers it as it promises.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use quorate_harness::disk::Shim;
use quorate_harness::proxy::{Place, Rules, Way};
use quorate_harness::{Cluster, Setup, wait_for};

const SOON: Duration = Duration::from_secs(20);

fn setup(size: u64) -> Setup {
    let shim = Shim::compile().unwrap();
    Setup::new(Path::new(env!("CARGO_BIN_EXE_quorate")), size).proxies(1).disk_faults(shim)
}

fn others(cluster: &Cluster, id: u64) -> Vec<u64> {
    cluster.ids().into_iter().filter(|other| *other != id).collect()
}

#[tokio::test]
async fn a_leader_that_is_cut_off_is_replaced_and_comes_back_as_a_follower() {
    let cluster = setup(3).start();
    let old = cluster.leader().await;
    let client = cluster.client().await;
    client.put("key", "before").await.unwrap();
    let rest = others(&cluster, old);
    cluster.net().split(&[old], &rest);
    let new = cluster.leader_of(&rest).await;
    assert_ne!(old, new);
    client.put("key", "after").await.unwrap();
    cluster.net().heal();
    cluster.settled().await;
    assert_eq!(client.get("key").await.unwrap().entry.unwrap().value, "after");
    let counts = cluster.net().total();
    assert!(counts.dropped > 0 && counts.of("AppendEntries") > 0, "{counts:?}");
    // Clients went through their proxies, and nowhere else.
    let to_nodes = cluster.ids().into_iter().map(|id| Way::new(Place::Clients, Place::Node(id)));
    assert!(to_nodes.map(|way| cluster.net().counts(way).frames).sum::<u64>() > 3);
}

#[tokio::test]
async fn a_node_whose_sync_fails_ends_with_74_and_the_others_go_on() {
    let mut cluster = setup(3).start();
    let leader = cluster.leader().await;
    let client = cluster.client().await;
    client.put("key", "before").await.unwrap();
    cluster.disk(leader).fail_syncs(1);
    client.put("key", "after").await.unwrap();
    assert_eq!(cluster.exit_code(leader, SOON).await, 74);
    assert_eq!(cluster.disk(leader).done().syncs_failed, 1);
    cluster.start_node(leader);
    cluster.settled().await;
    assert_eq!(client.get("key").await.unwrap().entry.unwrap().value, "after");
}

#[tokio::test]
async fn a_node_whose_write_fails_ends_with_74_and_the_others_go_on() {
    let mut cluster = setup(3).start();
    let leader = cluster.leader().await;
    let client = cluster.client().await;
    cluster.disk(leader).fail_writes(1);
    client.put("key", "value").await.unwrap();
    assert_eq!(cluster.exit_code(leader, SOON).await, 74);
    cluster.start_node(leader);
    cluster.settled().await;
}

#[tokio::test]
async fn a_leader_whose_disk_hangs_steps_down_and_the_others_go_on() {
    let cluster = setup(3).start();
    let leader = cluster.leader().await;
    let client = cluster.client().await;
    cluster.disk(leader).stall(true);
    client.put("key", "value").await.unwrap();
    assert_ne!(cluster.leader_of(&others(&cluster, leader)).await, leader);
    assert!(cluster.disk(leader).done().syncs_held > 0);
    cluster.disk(leader).heal();
    cluster.settled().await;
}

#[tokio::test]
async fn a_wall_clock_that_jumps_by_years_changes_nothing() {
    let cluster = setup(3).start();
    let leader = cluster.leader().await;
    let client = cluster.client().await;
    let before = cluster.status(leader).await.unwrap();
    for shift in [-400_000_000_000, 400_000_000_000, 1_500] {
        cluster.disk(leader).clock_ms(shift);
        for _ in 0..20 {
            client.put("key", "value").await.unwrap();
        }
    }
    let after = cluster.status(leader).await.unwrap();
    assert_eq!((before.term, before.role), (after.term, after.role));
    assert!(after.uptime_ms < 60_000, "{}", after.uptime_ms);
    // That it did jump is seen in the lines it writes after a restart.
    let mut cluster = cluster;
    cluster.kill(leader);
    cluster.disk(leader).clock_ms(400_000_000_000);
    cluster.start_node(leader);
    cluster.settled().await;
    let year = time_now_year() + 12;
    let log = cluster.last_lines(leader, 5);
    assert!(log.contains(&year.to_string()), "no {year} in {log}");
}

/// The year, near enough: 400,000,000 s later it is one of twelve years on.
fn time_now_year() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    1970 + (since.as_secs() + 400_000_000) / 31_556_952 - 12
}

#[tokio::test]
async fn a_wiped_disk_and_a_swapped_one_are_refused_and_a_rotten_one_is_noticed() {
    let mut cluster = setup(3).start();
    let client = cluster.client().await;
    client.put("key", "value").await.unwrap();
    let leader = cluster.leader().await;
    let [a, b] = others(&cluster, leader).try_into().unwrap();
    cluster.settled().await;
    cluster.kill(a);
    let aside = cluster.move_aside(a);
    cluster.start_node(a);
    assert_eq!(cluster.exit_code(a, SOON).await, 65, "the wiped disk");
    cluster.put_back(a, &aside);
    cluster.start_node(a);
    cluster.settled().await;

    cluster.kill(a);
    cluster.kill(b);
    cluster.swap(a, b);
    for id in [a, b] {
        cluster.start_node(id);
        assert_eq!(cluster.exit_code(id, SOON).await, 65, "the swapped disk");
    }
    cluster.swap(a, b);
    let (path, place) = cluster.rot(a);
    cluster.start_node(a);
    assert_eq!(cluster.exit_code(a, SOON).await, 76, "the rotten disk");
    quorate_harness::cluster::flip(&path, place);
    cluster.start_node(a);
    cluster.start_node(b);
    cluster.settled().await;
}

#[tokio::test]
async fn lost_doubled_and_overtaken_messages_do_no_harm() {
    let cluster = setup(3).start();
    cluster.leader().await;
    let client = cluster.client().await;
    for (from, to) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)] {
        let rules = Rules { double_millionths: 200_000, ..Rules::unreliable() };
        cluster.net().set(Way::nodes(from, to), rules);
    }
    for number in 1..=100 {
        assert_eq!(client.increment("number", 1).await.unwrap().number, number);
    }
    cluster.net().heal();
    cluster.settled().await;
    let counts = cluster.net().total();
    assert!(counts.dropped > 0 && counts.doubled > 0 && counts.overtook > 0, "{counts:?}");
}

#[tokio::test]
async fn a_full_disk_ends_a_follower_or_not_but_never_the_cluster() {
    let mut cluster = setup(3).start();
    let leader = cluster.leader().await;
    let follower = others(&cluster, leader)[0];
    let client = cluster.client().await;
    cluster.disk(follower).space(Some(0));
    let value = "v".repeat(200_000);
    let wrote = wait_for("a write without space", Duration::from_secs(60), async || {
        client.put("key", value.clone()).await.unwrap();
        (cluster.disk(follower).done().writes_full > 0).then_some(())
    });
    wrote.await;
    client.put("key", "after").await.unwrap();
    cluster.disk(follower).heal();
    if !cluster.is_running(follower) {
        cluster.start_node(follower);
    }
    cluster.settled().await;
}
