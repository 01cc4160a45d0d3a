//! Reads, and what everyone who waits is told: the claims, one test each.

use super::super::{Input, Message, Refusal, RoleKind};
use super::harness::{End, Group, id};
use crate::types::{Index, Term};

/// B6.1, C-26: a new leader does not answer reads before its own term's first commit.
#[test]
fn no_read_before_the_terms_first_commit() {
    let mut group = Group::new(3);
    group.until(5_000, "leader", |group| group.leader().is_some());
    let leader = group.leader().unwrap();
    // No append arrives any more, heartbeats do.
    let read = group.read(leader);
    for _ in 0..400 {
        group.flights.retain(|flight| !matches!(flight.message, Message::AppendEntries { .. }));
        group.millisecond();
    }
    assert!(!group.ended.contains_key(&read), "answered with an old commit index");
    group.until(1_000, "read", |group| matches!(group.ended.get(&read), Some(End::ReadAt(_))));
}

/// B6.2: a read needs a round that started after it arrived; older answers do not count.
#[test]
fn an_answer_to_an_older_round_does_not_confirm_a_read() {
    let mut group = Group::new(3);
    let leader = group.elect();
    group.level(1_000);
    group.flights.clear();
    // A round is on its way when the read arrives.
    group.until(300, "heartbeat", |group| {
        group.flights.iter().any(|flight| matches!(flight.message, Message::Heartbeat { .. }))
    });
    let older: Vec<_> = group.flights.drain(..).collect();
    let read = group.read(leader);
    group.flights.clear();
    for flight in older {
        if let Message::Heartbeat { term, round, .. } = flight.message {
            let last = Index(0);
            let message = Message::HeartbeatReply { term, round, last };
            group.step(id(leader), Input::Received { from: flight.to, message });
        }
    }
    assert!(!group.ended.contains_key(&read));
    group.until(300, "read", |group| matches!(group.ended.get(&read), Some(End::ReadAt(_))));
}

/// B6.3: reads that wait share one round.
#[test]
fn reads_share_one_round() {
    let mut group = Group::new(3);
    let leader = group.elect();
    group.level(1_000);
    let before = group.delivered;
    let term = group.status(leader).term;
    assert!(term > Term(1));
    let tickets: Vec<_> = (0..100).map(|_| group.read(leader)).collect();
    group.run(5);
    assert!(tickets.iter().all(|ticket| matches!(group.ended[ticket], End::ReadAt(_))));
    // Here each read is drained by itself; still no more than a round trip to each follower.
    assert!(group.delivered - before <= 100 * 4 + 8);
}

/// B6.7, rule 6: an old leader in a minority never answers a read, not at once and not ever.
#[test]
fn an_old_leader_in_a_minority_never_answers_a_read() {
    let mut group = Group::new(5);
    let old = group.elect();
    group.level(1_000);
    let rest = group.others(old);
    group.part(&[old, rest[0]], &rest[1..]);
    let read = group.read(old);
    group.run(5_000);
    assert_eq!(group.ended[&read], End::Refused(Refusal::NoLeader));
    let late = group.read(old);
    assert!(matches!(group.ended[&late], End::Refused(_)));
}

/// B6.5, B9.2: a deposed leader answers everyone who waits, exactly once.
#[test]
fn a_deposed_leader_answers_everyone() {
    let mut group = Group::new(3);
    let old = group.elect();
    group.level(1_000);
    group.part(&[old], &group.others(old));
    let writes: Vec<_> = (0..10).map(|number| group.propose(old, &number.to_string())).collect();
    let reads: Vec<_> = (0..10).map(|_| group.read(old)).collect();
    let message = Message::HeartbeatReply { term: Term(99), round: 1, last: Index(0) };
    let other = group.others(old)[0];
    group.step(id(old), Input::Received { from: id(other), message });
    assert_eq!(group.status(old).role, RoleKind::Follower);
    for ticket in writes {
        assert_eq!(group.ended[&ticket], End::Refused(Refusal::Unknown));
    }
    for ticket in reads {
        assert_eq!(group.ended[&ticket], End::Refused(Refusal::NoLeader));
    }
    assert_eq!(group.unanswered(), 0);
}

/// B9.3: a write whose place another entry took is never reported as done; it may be lost.
#[test]
fn a_write_that_another_entry_replaced_is_not_reported_as_done() {
    let mut group = Group::new(3);
    let old = group.elect();
    group.level(1_000);
    group.part(&[old], &group.others(old));
    let lost = group.propose(old, "lost");
    group.until(3_000, "new leader", |group| {
        group.leader().is_some_and(|leader| leader != old && group.status(leader).settled)
    });
    let new = group.leader().unwrap();
    group.propose(new, "kept");
    group.run(50);
    group.heal();
    group.level(3_000);
    assert_eq!(group.ended[&lost], End::Refused(Refusal::Unknown));
}

/// B8.4: without a leader the answer is immediate.
#[test]
fn without_a_leader_the_answer_is_immediate() {
    let mut group = Group::new(3);
    let (write, read) = (group.propose(1, "x"), group.read(1));
    let refused = End::Refused(Refusal::NoLeader);
    assert_eq!((group.ended[&write], group.ended[&read]), (refused, refused));
}

/// Rule 9 of the design's answers: a leader that is told to stop answers everyone.
#[test]
fn a_leader_told_to_step_down_answers_everyone() {
    let mut group = Group::new(3);
    let leader = group.elect();
    let write = group.propose(leader, "x");
    group.step(id(leader), Input::StepDown);
    assert_eq!(group.ended[&write], End::Refused(Refusal::Unknown));
    assert_ne!(group.status(leader).role, RoleKind::Leader);
}

/// B12.11: all nodes at once, again and again, and nothing committed is lost.
#[test]
fn restarting_all_at_once_keeps_what_was_committed() {
    let mut group = Group::new(3);
    for round in 0..5 {
        let leader = group.elect();
        let ticket = group.propose(leader, &format!("round {round}"));
        group.until(500, "commit", |group| group.ended.contains_key(&ticket));
        for node in group.up() {
            group.crash(node);
        }
        for node in 1..=3 {
            group.start(id(node));
        }
    }
    group.elect();
    group.level(2_000);
}
