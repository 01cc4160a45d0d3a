//! Elections, pre-votes and check-quorum: the claims, one test each.

use std::time::Duration;

use super::super::{Input, Message, Refusal, RoleKind};
use super::harness::{End, Group, id};
use crate::types::{Index, Moment, Position, Term};

/// B1.1: a single voter elects itself, but leads only after its own sync (rule 2).
#[test]
fn a_single_voter_elects_itself_after_its_own_sync() {
    let mut group = Group::new(1);
    group.machines.get_mut(&id(1)).unwrap().sync_ms = 50;
    group.until(2_000, "candidate", |group| group.status(1).role == RoleKind::Candidate);
    group.run(49);
    assert_eq!(group.status(1).role, RoleKind::Candidate);
    group.run(2);
    assert_eq!(group.status(1).role, RoleKind::Leader);
    let ticket = group.propose(1, "alone");
    group.run(49);
    assert!(!group.ended.contains_key(&ticket), "answered before its sync (B12.4)");
    group.run(60);
    assert!(matches!(group.ended[&ticket], End::Applied(_)));
}

/// B1.1, B1.16: nobody campaigns before its timeout, at boot or after a restart.
#[test]
fn nobody_campaigns_before_its_timeout() {
    let mut group = Group::new(3);
    group.run(499);
    assert_eq!(group.delivered, 0);
    let leader = group.elect();
    let follower = group.others(leader)[0];
    group.crash(id(follower));
    group.start(id(follower));
    let term = group.status(leader).term;
    group.run(3_000);
    assert_eq!(group.leader(), Some(leader));
    assert_eq!(group.status(leader).term, term, "a restart disturbs nobody");
}

/// B1.4, B1.17: with one of three gone the others elect; with two gone nobody leads.
#[test]
fn a_majority_elects_and_a_minority_does_not() {
    let mut group = Group::new(3);
    let first = group.elect();
    group.crash(id(first));
    let second = group.elect();
    assert_ne!(first, second);
    group.crash(id(second));
    let last = group.up()[0].0;
    let term = group.status(last).term;
    group.run(5_000);
    assert_ne!(group.status(last).role, RoleKind::Leader);
    assert_eq!(group.status(last).term, term, "B2.2: an isolated node's term does not grow");
}

/// B1.5: a candidate whose log is behind a voter's gets no vote; compared as (term, index).
#[test]
fn a_vote_goes_only_to_a_log_at_least_as_up_to_date() {
    let mut group = Group::new(3);
    let leader = group.elect();
    let behind = group.others(leader)[0];
    group.part(&[behind], &group.others(behind));
    for number in 0..5 {
        group.propose(leader, &format!("{number}"));
    }
    group.run(100);
    group.heal();
    group.crash(id(leader));
    let next = group.elect();
    assert_ne!(next, behind, "the log that is behind won");
}

/// B1.6, B12.1: a vote survives a restart, so nobody votes twice in a term.
#[test]
fn a_vote_survives_a_restart() {
    let mut group = Group::new(3);
    let last = Position { term: Term(9), index: Index(9) };
    let ask = |from| Input::Received {
        from: id(from),
        message: Message::RequestVote { term: Term(5), last },
    };
    group.step(id(3), ask(1));
    group.run(3);
    assert_eq!(group.machines[&id(3)].disk.hard_state.vote, Some(id(1)));
    group.crash(id(3));
    group.start(id(3));
    group.step(id(3), ask(2));
    group.run(3);
    assert_eq!(group.machines[&id(3)].disk.hard_state.vote, Some(id(1)), "it voted twice");
}

/// B1.6, C-11: no vote is heard of before it is durable, and a crash before the sync takes it
/// back.
#[test]
fn a_vote_that_was_not_synced_was_never_given() {
    let mut group = Group::new(3);
    group.machines.get_mut(&id(3)).unwrap().sync_ms = 100;
    let last = Position { term: Term(9), index: Index(9) };
    let message = Message::RequestVote { term: Term(5), last };
    group.step(id(3), Input::Received { from: id(1), message });
    group.run(50);
    let votes = |flight: &super::harness::Flight| {
        matches!(flight.message, Message::RequestVoteReply { .. })
    };
    assert!(!group.flights.iter().any(votes));
    group.crash(id(3));
    assert_eq!(group.machines[&id(3)].disk.hard_state.vote, None);
}

/// B1.10: votes of strangers, of old terms, and twice the same one count for nothing.
#[test]
fn votes_of_strangers_and_duplicates_count_for_nothing() {
    let mut group = Group::new(5);
    group.part(&[1], &[2, 3, 4, 5]);
    group.until(2_000, "pre-candidate", |group| group.status(1).role == RoleKind::PreCandidate);
    let term = group.status(1).term.next();
    for from in [2, 2, 2, 77, 78, 79] {
        let message = Message::PreVoteReply { term, granted: true };
        group.step(id(1), Input::Received { from: id(from), message });
    }
    assert_eq!(group.status(1).role, RoleKind::PreCandidate, "two of five are no quorum");
}

/// B2.1: a pre-vote changes nothing on either side's disk.
#[test]
fn a_pre_vote_changes_no_term_and_no_vote() {
    let mut group = Group::new(3);
    let before: Vec<_> = group.machines.values().map(|m| m.disk.hard_state).collect();
    group.part(&[1], &[2, 3]);
    group.part(&[2], &[3]);
    group.run(4_000);
    let after: Vec<_> = group.machines.values().map(|m| m.disk.hard_state).collect();
    assert_eq!(before, after);
}

/// B2.2, B3.2: a node that comes back from a long absence does not depose the leader.
#[test]
fn a_returning_node_does_not_depose_the_leader() {
    let mut group = Group::new(3);
    let leader = group.elect();
    let away = group.others(leader)[0];
    group.part(&[away], &group.others(away));
    group.run(5_000);
    let term = group.status(leader).term;
    group.heal();
    group.run(3_000);
    assert_eq!((group.leader(), group.status(leader).term), (Some(leader), term));
}

/// B2.3, B3.3: a node with a lower term learns the higher one and catches up; one with a higher
/// term is freed.
#[test]
fn a_stuck_higher_term_is_freed() {
    let mut group = Group::new(3);
    let leader = group.elect();
    let other = group.others(leader)[0];
    // It has campaigned in a term that nobody else knows of.
    group.crash(id(other));
    group.machines.get_mut(&id(other)).unwrap().disk.hard_state.term = Term(40);
    group.start(id(other));
    group.run(3_000);
    let leader = group.elect();
    assert!(group.status(leader).term > Term(40));
    group.level(2_000);
}

/// B2.6: whom a follower believes to be leader may ask it for a pre-vote.
#[test]
fn a_leader_that_stepped_down_may_ask_its_followers() {
    let mut group = Group::new(3);
    let leader = group.elect();
    let follower = group.others(leader)[0];
    let term = group.status(leader).term.next();
    let last = Position { term: group.status(leader).term, index: group.status(leader).last_index };
    let ask = |from| Input::Received { from: id(from), message: Message::PreVote { term, last } };
    let granted = |group: &Group, to: u64| {
        group.flights.iter().any(|flight| {
            flight.to == id(to)
                && matches!(flight.message, Message::PreVoteReply { granted: true, .. })
        })
    };
    let third = group.others(leader)[1];
    group.step(id(follower), ask(third));
    assert!(!granted(&group, third), "a live leader is not voted away");
    group.step(id(follower), ask(leader));
    assert!(granted(&group, leader));
}

/// B3.1: a leader that hears no quorum steps down within an election timeout or so, and says so
/// to everyone who waits.
#[test]
fn a_leader_without_a_quorum_steps_down_and_answers_everyone() {
    let mut group = Group::new(5);
    let leader = group.elect();
    let write = group.propose(leader, "before");
    group.run(50);
    assert!(matches!(group.ended[&write], End::Applied(_)));
    group.part(&[leader], &group.others(leader));
    let (write, read) = (group.propose(leader, "lost?"), group.read(leader));
    group.until(800, "step-down", |group| group.status(leader).role != RoleKind::Leader);
    assert_eq!(group.ended[&write], End::Refused(Refusal::Unknown));
    assert_eq!(group.ended[&read], End::Refused(Refusal::NoLeader));
    group.until(3_000, "next leader", |group| group.leader().is_some_and(|next| next != leader));
}

/// B3.6: two of three cannot hear each other, both hear the third: a stable leader emerges.
#[test]
fn two_that_cannot_hear_each_other_still_get_a_stable_leader() {
    let mut group = Group::new(3);
    let leader = group.elect();
    let other = group.others(leader)[0];
    group.part(&[leader], &[other]);
    group.run(3_000);
    let leader = group.elect();
    let term = group.status(leader).term;
    group.run(10_000);
    assert_eq!((group.leader(), group.status(leader).term), (Some(leader), term), "leaders churn");
}

/// B3.8: an old leader that reaches only a bridge steps down, and the bridge stops vetoing.
#[test]
fn a_bridge_does_not_keep_a_leader_without_a_quorum() {
    let mut group = Group::new(5);
    let old = group.elect();
    let rest = group.others(old);
    let bridge = rest[0];
    group.part(&[old], &rest[1..]);
    group.until(5_000, "leader on the other side", |group| {
        group.leader().is_some_and(|leader| leader != old && group.status(leader).settled)
    });
    assert_ne!(group.status(old).role, RoleKind::Leader);
    let term = group.status(bridge).term;
    group.run(5_000);
    assert_eq!(group.status(bridge).term, term, "leaders churn");
}

/// B1.18: a follower whose own messages are lost, but that hears the leader, does not campaign.
#[test]
fn a_follower_that_cannot_be_heard_does_not_campaign() {
    let mut group = Group::new(3);
    let leader = group.elect();
    let mute = group.others(leader)[0];
    for other in group.others(mute) {
        group.cut.insert((id(mute), id(other)));
    }
    let term = group.status(leader).term;
    group.run(5_000);
    assert_eq!((group.leader(), group.status(mute).term), (Some(leader), term));
}

/// A leader whose connections break is replaced within a few heartbeats; if it lives, nobody
/// disturbs it.
#[test]
fn a_broken_connection_calls_an_election_only_if_the_leader_is_gone() {
    let mut group = Group::new(3);
    let leader = group.elect();
    let term = group.status(leader).term;
    for other in group.others(leader) {
        group.step(id(other), Input::Silenced { peer: id(leader) });
    }
    group.run(2_000);
    assert_eq!((group.leader(), group.status(leader).term), (Some(leader), term));
    group.crash(id(leader));
    for other in group.others(leader) {
        group.step(id(other), Input::Silenced { peer: id(leader) });
    }
    group.until(300, "next leader", |group| group.leader().is_some());
}

/// Rule 7, C-29: a leader whose disk does not sync for an election timeout steps down.
#[test]
fn a_leader_whose_disk_stalls_steps_down() {
    let mut group = Group::new(3);
    let leader = group.elect();
    group.machines.get_mut(&id(leader)).unwrap().sync_ms = 60_000;
    group.propose(leader, "stuck here");
    group.until(5_000, "another leader", |group| group.leader().is_some_and(|next| next != leader));
    group.run(5_000);
    assert_ne!(group.leader(), Some(leader), "a node that cannot save its vote campaigned");
}

/// A node that was itself absent does not accuse anyone before it has listened.
#[test]
fn a_paused_node_listens_before_it_judges() {
    let mut group = Group::new(3);
    let leader = group.elect();
    let term = group.status(leader).term;
    // All are paused for a minute, as when a machine sleeps; nothing is lost meanwhile.
    group.now = Moment(group.now.0) + Duration::from_secs(60);
    group.run(3_000);
    assert_eq!((group.leader(), group.status(leader).term), (Some(leader), term));
}
