//! Elections (1).

use std::collections::BTreeSet;

use super::harness::Cluster;
use super::solo::{Solo, at, messages};
use crate::raft::{Message, RoleKind};
use crate::types::{HardState, Index, Moment, NodeId, Term};

// 1.3, 1.13: the first leader's no-op commits everywhere.
#[test]
fn a_cluster_of_any_size_elects_one_leader() {
    for size in 1..=7 {
        let mut cluster = Cluster::new(size);
        let leader = cluster.elect();
        cluster.settle();
        let ticket = cluster.propose(leader);
        let read = cluster.read(leader);
        cluster.settle();
        assert!(cluster.outcome(ticket).is_some() && cluster.outcome(read).is_some());
    }
}

// 1.1, 1.2, 1.16: also after a restart.
#[test]
fn a_node_waits_a_full_timeout_of_its_own_before_it_campaigns() {
    let mut drawn = vec![];
    for seed in 1..=50 {
        let cluster = Cluster::with(3, seed, |_| {});
        for id in 1..=3 {
            let ms = (cluster.node(id).election_deadline.0 - cluster.moment().0) / 1_000;
            assert!((500..1_000).contains(&ms), "{ms}");
            drawn.push(ms);
        }
    }
    let early = drawn.iter().filter(|ms| **ms < 750).count();
    assert!((50..100).contains(&early), "skewed: {early} of 150 in the first half");
}

// 1.2: the next election draws anew.
#[test]
fn each_election_draws_its_timeout_anew() {
    let mut solo = Solo::new(3, &[], 1, None);
    let mut drawn = BTreeSet::new();
    for _ in 0..10 {
        solo.time_out();
        drawn.insert(solo.node.election_deadline.0 - solo.now * 1_000);
    }
    assert!(drawn.len() > 8, "{drawn:?}");
}

// 1.3, 12.1: the request leaves only with the sync of term and vote, the own vote counts after.
#[test]
fn a_candidate_saves_its_vote_before_it_asks_and_counts_it_after() {
    let mut solo = Solo::new(3, &[], 1, None);
    solo.time_out();
    let effects = solo.hear(2, Message::PreVoteReply { term: Term(2), granted: true });
    let (now, then) = messages(&effects);
    assert!(now.is_empty(), "{now:?}");
    assert_eq!(then.len(), 2);
    assert!(matches!(then[0], Message::RequestVote { term: Term(2), .. }));
    let saved = effects.persist.unwrap().hard_state;
    assert_eq!(saved, Some(HardState { term: Term(2), vote: Some(NodeId(1)) }));
    // A reply that overtakes the disk's answer makes one vote, not two.
    solo.hear(2, Message::RequestVoteReply { term: Term(2), granted: true });
    assert_eq!(solo.node.status().role, RoleKind::Candidate);
    solo.sync();
    assert_eq!(solo.node.status().role, RoleKind::Leader);
}

// 1.5: as a pair, not each by itself.
#[test]
fn a_vote_goes_to_logs_that_are_at_least_as_up_to_date() {
    let asks = [(at(3, 4), false), (at(9, 2), false), (at(4, 4), true), (at(2, 5), true)];
    for (last, expected) in asks {
        // The voter's last entry is 4@4.
        let mut solo = Solo::new(3, &[2, 4, 4], 4, None);
        let effects = solo.hear(2, Message::RequestVote { term: Term(6), last, transfer: false });
        let (now, then) = messages(&effects);
        assert!(now.is_empty(), "a vote leaves before its sync");
        let reply = Message::RequestVoteReply { term: Term(6), granted: expected };
        assert_eq!(then, [&reply], "asked with {last}");
    }
}

// 1.6, 12.1: the same answer again, and after a restart.
#[test]
fn a_vote_is_given_once_a_term_also_across_a_restart() {
    let mut solo = Solo::new(3, &[], 1, None);
    for restarted in [false, true] {
        if restarted {
            solo = Solo::new(3, &[], 5, Some(2));
        }
        for (candidate, expected) in [(2, true), (3, false), (2, true)] {
            let ask = Message::RequestVote { term: Term(5), last: at(9, 4), transfer: false };
            let effects = solo.hear(candidate, ask);
            let reply = Message::RequestVoteReply { term: Term(5), granted: expected };
            assert_eq!(messages(&effects).1, [&reply], "node {candidate} asks");
            if effects.persist.unwrap().hard_state.is_some() {
                solo.sync();
            }
        }
    }
}

// 1.7: a lower term is refused with ours, so that the sender learns it.
#[test]
fn a_request_of_an_old_term_is_refused_with_the_current_one() {
    let mut solo = Solo::new(3, &[], 7, None);
    let effects =
        solo.hear(2, Message::RequestVote { term: Term(5), last: at(9, 5), transfer: false });
    let reply = Message::RequestVoteReply { term: Term(7), granted: false };
    assert_eq!(messages(&effects).1, [&reply]);
}

// 1.8: also among an even number.
#[test]
fn a_split_vote_resolves_in_a_later_round() {
    for seed in 1..=30 {
        let mut cluster = Cluster::with(4, seed, |_| {});
        for id in 1..=4 {
            cluster.machine(id).node.as_mut().unwrap().election_deadline = Moment(0);
        }
        cluster.run_until(5_000, "a leader", |cluster| cluster.leader().is_some());
    }
}

// 1.9: the loser of the same term follows.
#[test]
fn a_candidate_follows_the_winner_of_its_term() {
    let mut solo = Solo::new(3, &[], 1, None);
    solo.time_out();
    solo.hear(2, Message::PreVoteReply { term: Term(2), granted: true });
    solo.sync();
    solo.hear(
        3,
        Message::Heartbeat { term: Term(2), commit: Index(0), round: 1, all_hold: Index(0) },
    );
    // 2.8: a vote that comes late changes nothing.
    solo.hear(2, Message::RequestVoteReply { term: Term(2), granted: true });
    let status = solo.node.status();
    assert_eq!((status.role, status.leader), (RoleKind::Follower, Some(NodeId(3))));
}

// 1.10: a vote counts once, in its term, from a member.
#[test]
fn votes_that_are_late_double_or_foreign_do_not_count() {
    let mut solo = Solo::new(5, &[], 1, None);
    solo.time_out();
    solo.hear(2, Message::PreVoteReply { term: Term(2), granted: true });
    solo.hear(3, Message::PreVoteReply { term: Term(2), granted: true });
    solo.sync();
    for (from, term) in [(2, 2), (2, 2), (9, 2), (3, 1), (1, 2)] {
        solo.hear(from, Message::RequestVoteReply { term: Term(term), granted: true });
        assert_eq!(solo.node.status().role, RoleKind::Candidate, "node {from}, term {term}");
    }
    solo.hear(4, Message::RequestVoteReply { term: Term(2), granted: true });
    assert_eq!(solo.node.status().role, RoleKind::Leader);
}

// 1.11: only what a quorum holds is needed.
#[test]
fn who_is_behind_a_quorum_cannot_win() {
    let logs = [vec![2, 2], vec![2], vec![]];
    for seed in 1..=20 {
        let mut cluster = Cluster::from_logs(&logs, seed, |_| {});
        assert_ne!(cluster.elect(), 3);
    }
}

// 1.12: a longer tail of an older term loses.
#[test]
fn a_new_leader_overwrites_a_longer_uncommitted_tail() {
    let logs = [vec![3], vec![3], vec![2, 2, 2]];
    let mut cluster = Cluster::from_logs(&logs, 1, |_| {});
    cluster.elect();
    cluster.settle();
    assert_eq!(cluster.terms(3)[..1], [3]);
}

// 1.15: never silent.
#[test]
#[should_panic(expected = "two leaders in term")]
fn a_second_leader_in_a_term_is_an_assertion() {
    let mut solo = Solo::new(3, &[], 4, None);
    solo.hear(
        2,
        Message::Heartbeat { term: Term(4), commit: Index(0), round: 1, all_hold: Index(0) },
    );
    solo.hear(
        3,
        Message::Heartbeat { term: Term(4), commit: Index(0), round: 1, all_hold: Index(0) },
    );
}
