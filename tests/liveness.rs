//! Partial connectivity, on real processes: every node runs, and not every one hears every
//! other. Where some node still reaches a quorum, writes are acknowledged again within a bound,
//! and the leader that then leads goes on leading.
//!
//! The shapes are those that have stopped real clusters: a switch that cut two of three nodes
//! from each other (Cloudflare, November 2020), a leader whose acknowledgements are lost, and a
//! node between two halves that each could vote with it. A quorum is always there, so everything
//! that takes long is an election that need not be.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quorate_harness::load::Load;
use quorate_harness::proxy::Way;
use quorate_harness::{Cluster, Setup};

/// The longest time without an acknowledged write. An election timeout is 0.5 to 1 s: one for
/// the old leader to give way, one for the others to notice, one for a vote that is split; and
/// as much again for two cores under other tests.
const WITHIN: Duration = Duration::from_secs(6);
/// How long it is watched after the cut.
const WATCHED: Duration = Duration::from_secs(8);
/// The terms that may pass meanwhile: the election that is needed, and two that are split.
const TERMS: u64 = 3;

/// And where the leader can stay: none. One is allowed for a machine that stands still for longer
/// than an election timeout; a node that disturbs its leader would begin one a second.
const STAYS: u64 = 1;

/// The nodes in an order of roles: the leader first.
async fn cast(cluster: &Cluster) -> Vec<u64> {
    let leader = cluster.leader().await;
    let rest = cluster.ids().into_iter().filter(|id| *id != leader);
    std::iter::once(leader).chain(rest).collect()
}

/// Cuts every way between two nodes but these, both ways.
fn only(cluster: &Cluster, nodes: &[u64], links: &[(usize, usize)]) {
    for (a, one) in nodes.iter().enumerate() {
        for (b, other) in nodes.iter().enumerate().skip(a + 1) {
            if !links.contains(&(a, b)) {
                cluster.net().split(&[*one], &[*other]);
            }
        }
    }
}

/// What was seen after the cut.
#[derive(Debug)]
struct Seen {
    /// The longest time without an acknowledgement.
    longest_gap: Duration,
    /// How many terms began.
    terms: u64,
    /// Who led, and in which term.
    leaders: BTreeSet<(u64, u64)>,
}

async fn watch(cluster: &Cluster, load: &Load, before: u64) -> Seen {
    let started = Instant::now();
    let acked = || load.acked.load(Ordering::SeqCst);
    let (mut last, mut at, mut longest_gap) = (acked(), started, Duration::ZERO);
    let (mut newest, mut leaders) = (before, BTreeSet::new());
    let mut look_at = started;
    while started.elapsed() < WATCHED {
        tokio::time::sleep(Duration::from_millis(5)).await;
        longest_gap = longest_gap.max(at.elapsed());
        if acked() != last {
            (last, at) = (acked(), Instant::now());
        }
        if Instant::now() >= look_at {
            for status in cluster.statuses().await {
                newest = newest.max(status.term);
                if status.role == "leader" {
                    leaders.insert((status.term, status.node));
                }
            }
            look_at = Instant::now() + Duration::from_millis(100);
        }
    }
    Seen { longest_gap, terms: newest - before, leaders }
}

/// Cuts as told (the leader is the first of the nodes) under load, watches, heals, and checks
/// every write.
async fn lives_on(name: &str, size: u64, cut: impl FnOnce(&Cluster, &[u64])) -> Seen {
    let program = Path::new(env!("CARGO_BIN_EXE_quorate"));
    let cluster = Setup::new(program, size).proxies(1).start();
    let nodes = cast(&cluster).await;
    let load = Load::start(4, &cluster.endpoints()).await;
    load.next_ack().await;
    let term = cluster.status(nodes[0]).await.unwrap().term;
    cut(&cluster, &nodes);
    let seen = watch(&cluster, &load, term).await;
    println!("{name}: {seen:?}, the leader was {} of term {term}", nodes[0]);
    assert!(seen.longest_gap < WITHIN, "{name}: {seen:?}");
    assert!(seen.terms <= TERMS, "{name}: {seen:?}");
    let led: BTreeSet<u64> = seen.leaders.iter().map(|(term, _)| *term).collect();
    assert_eq!(led.len(), seen.leaders.len(), "{name}: two leaders in one term: {seen:?}");
    cluster.net().heal();
    let client = cluster.client().await;
    let (acked, unknown) = load.finish(&client).await;
    println!("{name}: {acked} writes acknowledged, {unknown} unknown");
    cluster.settled().await;
    seen
}

#[tokio::test]
async fn a_leader_that_one_follower_cannot_reach_goes_on_leading() {
    // Cloudflare's switch: the third node hears both.
    let seen = lives_on("two of three are cut from each other", 3, |cluster, nodes| {
        only(cluster, nodes, &[(0, 2), (1, 2)]);
    });
    let seen = seen.await;
    assert!(seen.terms <= STAYS, "{seen:?}");
}

#[tokio::test]
async fn a_leader_that_can_send_and_not_hear_gives_way() {
    let seen = lives_on("the leader is deaf", 3, |cluster, nodes| {
        for other in &nodes[1..] {
            cluster.net().change(Way::nodes(*other, nodes[0]), |rules| rules.cut = true);
        }
    });
    assert!(seen.await.terms > 0);
}

#[tokio::test]
async fn a_leader_that_can_hear_and_not_send_gives_way() {
    let seen = lives_on("the leader is mute", 3, |cluster, nodes| {
        for other in &nodes[1..] {
            cluster.net().change(Way::nodes(nodes[0], *other), |rules| rules.cut = true);
        }
    });
    assert!(seen.await.terms > 0);
}

#[tokio::test]
async fn a_follower_that_hears_nothing_of_its_leader_and_is_heard_disturbs_nobody() {
    let seen = lives_on("one follower is deaf to its leader", 3, |cluster, nodes| {
        cluster.net().change(Way::nodes(nodes[0], nodes[1]), |rules| rules.cut = true);
    });
    let seen = seen.await;
    assert!(seen.terms <= STAYS, "{seen:?}");
}

#[tokio::test]
async fn two_halves_that_are_joined_by_one_node_keep_their_leader() {
    // 0 and 1, 3 and 4; 2 hears all. Each half has a quorum with it.
    let seen = lives_on("a bridge", 5, |cluster, nodes| {
        only(cluster, nodes, &[(0, 1), (3, 4), (0, 2), (1, 2), (2, 3), (2, 4)]);
    });
    let seen = seen.await;
    assert!(seen.terms <= STAYS, "{seen:?}");
}

/// It must step down, and the bridge, which hears it all the time, must stop vetoing others.
#[tokio::test]
async fn a_leader_that_reaches_only_the_bridge_gives_way_to_the_other_side() {
    let seen = lives_on("the leader reaches only the bridge", 5, |cluster, nodes| {
        only(cluster, nodes, &[(0, 1), (1, 2), (1, 3), (2, 3), (2, 4), (3, 4)]);
    });
    assert!(seen.await.terms > 0);
}

#[tokio::test]
async fn a_chain_with_its_leader_at_one_end_finds_one_in_the_middle() {
    let seen = lives_on("a chain", 5, |cluster, nodes| {
        only(cluster, nodes, &[(0, 1), (1, 2), (2, 3), (3, 4)]);
    });
    assert!(seen.await.terms > 0);
}

/// Two nodes at the rim see one other each; the leader is one of them.
#[tokio::test]
async fn a_leader_at_the_rim_gives_way_to_one_of_those_that_see_each_other() {
    let seen = lives_on("two nodes at the rim", 5, |cluster, nodes| {
        only(cluster, nodes, &[(0, 2), (1, 3), (2, 3), (2, 4), (3, 4)]);
    });
    assert!(seen.await.terms > 0);
}
