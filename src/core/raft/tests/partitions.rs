//! Pre-votes (2), check-quorum and partial connectivity (3).

use super::harness::Cluster;
use super::solo::{Solo, at, messages};
use crate::raft::{Input, Message, Refusal, RoleKind};
use crate::types::{Index, NodeId, Term};

use super::checks::Outcome;

// 2.1: neither asking nor answering touches term, vote or disk.
#[test]
fn a_pre_vote_changes_nothing_on_either_side() {
    let mut solo = Solo::new(3, &[], 3, Some(3));
    let before = solo.node.hard_state;
    let effects = solo.hear(2, Message::PreVote { term: Term(4), last: at(5, 3) });
    let granted = Message::PreVoteReply { term: Term(4), granted: true };
    assert_eq!(messages(&effects).0, [&granted]);
    assert!(effects.persist.is_none());
    let effects = solo.time_out();
    assert!(effects.persist.is_none());
    assert!(matches!(effects.messages[0].1, Message::PreVote { term: Term(4), .. }));
    assert_eq!(solo.node.hard_state, before);
}

// 2.2: its term stays, and its return deposes nobody.
#[test]
fn an_isolated_node_comes_back_without_disturbing() {
    let mut cluster = Cluster::new(3);
    cluster.elect_node(1);
    let term = cluster.node(1).term();
    cluster.isolate(3);
    cluster.run(10_000);
    cluster.propose(1);
    cluster.run(100);
    cluster.heal();
    cluster.run(3_000);
    assert!(cluster.is_leader(1) && cluster.all_equal());
    assert!(cluster.ids().iter().all(|id| cluster.node(*id).term() == term));
}

// 2.3: answered, not dropped, so that nobody is stuck.
#[test]
fn a_pre_vote_of_a_lower_term_is_answered_with_the_current_one() {
    let mut solo = Solo::new(3, &[], 6, None);
    let effects = solo.hear(2, Message::PreVote { term: Term(3), last: at(9, 2) });
    let reply = Message::PreVoteReply { term: Term(6), granted: false };
    assert_eq!(messages(&effects).0, [&reply]);
    // And the one who hears it takes the term over.
    let mut solo = Solo::new(3, &[], 2, None);
    solo.time_out();
    solo.hear(2, reply);
    assert_eq!(solo.node.term(), Term(6));
}

// 2.3: a longer log in a lower term and a higher term without the log, alone together.
#[test]
fn a_higher_term_and_a_longer_log_do_not_wait_for_each_other() {
    let mut cluster = Cluster::from_logs(&[vec![2, 2], vec![], vec![]], 1, |_| {});
    cluster.crash(3, 0);
    cluster.crash(2, 0);
    cluster.machine(2).disk.hard_state.term = Term(9);
    cluster.restart(2);
    assert_eq!(cluster.elect(), 1);
}

// 2.5, 3.10: no redirects to a leader that is given up.
#[test]
fn a_pre_candidate_forgets_its_leader() {
    let mut cluster = Cluster::new(3);
    cluster.elect_node(1);
    let told = cluster.propose(2);
    assert_eq!(cluster.outcome(told), Some(Outcome::Refused(Refusal::NotLeader(NodeId(1)))));
    cluster.isolate(2);
    cluster.run(1_100);
    let told = cluster.propose(2);
    assert_eq!(cluster.outcome(told), Some(Outcome::Refused(Refusal::NoLeader)));
}

// 2.6: a live leader protects against others, not against itself.
#[test]
fn a_follower_grants_a_pre_vote_to_its_own_leader_only() {
    let mut solo = Solo::new(3, &[], 3, None);
    solo.hear(
        2,
        Message::Heartbeat { term: Term(3), commit: Index(0), round: 1, all_hold: Index(0) },
    );
    for (from, expected) in [(3, false), (2, true)] {
        let ask = Message::PreVote { term: Term(4), last: at(5, 3) };
        let effects = solo.hear(from, ask);
        let term = if expected { Term(4) } else { Term(3) };
        assert_eq!(messages(&effects).0, [&Message::PreVoteReply { term, granted: expected }]);
    }
}

// 3.1: with a quorum it stays, without one it goes.
#[test]
fn a_leader_without_a_quorum_steps_down() {
    let mut cluster = Cluster::new(5);
    cluster.elect_node(1);
    let term = cluster.node(1).term();
    cluster.isolate(4);
    cluster.isolate(5);
    cluster.run(5_000);
    assert!(cluster.is_leader(1) && cluster.node(1).term() == term);
    cluster.isolate(3);
    cluster.run(700);
    assert!(!cluster.is_leader(1), "{}", cluster.picture());
}

// 3.2: neither a vote nor a new term.
#[test]
fn a_follower_of_a_live_leader_ignores_requests_of_a_higher_term() {
    let mut solo = Solo::new(3, &[], 3, None);
    solo.hear(
        2,
        Message::Heartbeat { term: Term(3), commit: Index(0), round: 1, all_hold: Index(0) },
    );
    let ask = Message::RequestVote { term: Term(8), last: at(9, 7), transfer: false };
    assert!(solo.hear(3, ask.clone()).is_empty());
    assert_eq!(solo.node.term(), Term(3));
    // An election timeout later it is free again.
    solo.now += 500;
    let effects = solo.hear(3, ask);
    let reply = Message::RequestVoteReply { term: Term(8), granted: true };
    assert_eq!(messages(&effects).1, [&reply]);
}

// 3.3: the leader learns the term from the replies, and the next election includes it.
#[test]
fn a_stuck_candidate_of_a_higher_term_is_freed() {
    let mut cluster = Cluster::new(3);
    cluster.elect_node(1);
    cluster.crash(3, 0);
    cluster.machine(3).disk.hard_state.term = Term(50);
    cluster.restart(3);
    cluster.run_until(5_000, "all in one term", |cluster| {
        cluster.all_equal() && cluster.node(3).term() > Term(50)
    });
}

// 3.1 (rule of the disk): its own disk is a member, too.
#[test]
fn a_leader_whose_disk_hangs_steps_down_and_another_takes_over() {
    let mut cluster = Cluster::new(3);
    cluster.elect_node(1);
    cluster.disk_delay(1, None);
    let ticket = cluster.propose(1);
    cluster.run_until(4_000, "another leader", |cluster| {
        matches!(cluster.leader(), Some(2 | 3)) && !cluster.is_leader(1)
    });
    assert_eq!(cluster.outcome(ticket), Some(Outcome::Refused(Refusal::Unknown)));
}

fn stays(cluster: &mut Cluster, ms: u64) {
    cluster.run_until(6_000, "a leader", |cluster| cluster.leader().is_some());
    cluster.run(2_000);
    let leader = cluster.leader();
    let leader = leader.unwrap_or_else(|| panic!("none: {}", cluster.picture()));
    let term = cluster.node(leader).term();
    cluster.run(ms);
    assert_eq!(cluster.leader(), Some(leader), "{}", cluster.picture());
    assert_eq!(cluster.node(leader).term(), term);
    let ticket = cluster.propose(leader);
    cluster.run(500);
    cluster.assert_done(ticket);
}

// 3.6: two of three mutually cut, both see the third; whoever led before.
#[test]
fn a_stable_leader_emerges_when_two_of_three_cannot_see_each_other() {
    for leader in 1..=3 {
        let mut cluster = Cluster::new(3);
        cluster.elect_node(leader);
        cluster.cut_both(1, 2);
        stays(&mut cluster, 10_000);
    }
}

// 3.7: a chain, and two that see one each.
#[test]
fn a_stable_leader_emerges_in_a_chain() {
    let chain = [(1, 2), (2, 3), (3, 4), (4, 5)];
    let arms = [(1, 2), (2, 3), (4, 2), (5, 3)];
    for links in [chain, arms] {
        for leader in 1..=5 {
            let mut cluster = Cluster::new(5);
            cluster.elect_node(leader);
            cluster.only_links(&links);
            stays(&mut cluster, 10_000);
        }
    }
}

// 3.8: the old leader must go, and the bridge must stop refusing.
#[test]
fn a_leader_that_reaches_only_the_bridge_gives_way() {
    let mut cluster = Cluster::new(5);
    cluster.elect_node(1);
    // 3 is the bridge between {2, 4} and the leader; 5 is away.
    cluster.only_links(&[(1, 3), (3, 2), (3, 4), (2, 4)]);
    cluster.run_until(5_000, "a new leader", |cluster| {
        cluster.leader().is_some_and(|leader| leader != 1) && !cluster.is_leader(1)
    });
    stays(&mut cluster, 5_000);
}

// 1.18: it hears the leader, so it does not campaign.
#[test]
fn a_follower_that_only_hears_does_not_campaign() {
    let mut cluster = Cluster::new(3);
    cluster.elect_node(1);
    let term = cluster.node(1).term();
    cluster.cut(3, 1);
    cluster.cut(3, 2);
    cluster.run(5_000);
    assert_eq!(cluster.node(3).status().role, RoleKind::Follower);
    assert_eq!((cluster.node(1).term(), cluster.node(3).term()), (term, term));
}

// 3.5: a follower that does not hear disturbs nobody.
#[test]
fn a_follower_that_cannot_hear_deposes_nobody() {
    let mut cluster = Cluster::new(3);
    cluster.elect_node(1);
    let term = cluster.node(1).term();
    cluster.cut(1, 3);
    cluster.cut(2, 3);
    cluster.run(5_000);
    assert!(cluster.is_leader(1) && cluster.node(1).term() == term);
}

// A leader whose connections break is replaced within a few heartbeats; if it lives, nobody
// disturbs it.
#[test]
fn a_broken_connection_calls_an_election_only_if_the_leader_is_gone() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.elect();
    cluster.settle();
    let term = cluster.node(leader).status().term;
    let others: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    let silence = |cluster: &mut Cluster| {
        for other in &others {
            cluster.feed(*other, Input::Silenced { peer: NodeId(leader) });
        }
    };
    silence(&mut cluster);
    cluster.run(2_000);
    assert!(cluster.is_leader(leader) && cluster.node(leader).status().term == term);
    cluster.crash(leader, 0);
    silence(&mut cluster);
    let done = |cluster: &Cluster| others.iter().any(|other| cluster.is_leader(*other));
    cluster.run_until(300, "the next leader", done);
}
