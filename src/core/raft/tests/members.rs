//! Members that change (10), leadership that is handed over (11), snapshots (7) and leases (6.9):
//! one leader, driven by hand.

use std::time::Duration;

use super::solo::{Solo, at};
use crate::raft::{AppendOutcome, Boot, Config, Input, Message, Node, Refusal, RoleKind};
use crate::types::{
    Change, ChangeRefusal, HardState, Index, Member, Membership, Moment, NodeId, Payload, Position,
    Term, Ticket,
};

/// Node 1, leading so many, with the term's first entry committed.
pub(super) fn settled_leader(size: u64) -> Solo {
    let mut solo = Solo::new(size, &[], 1, None);
    solo.time_out();
    for peer in 2..=size {
        solo.hear(peer, Message::PreVoteReply { term: Term(2), granted: true });
    }
    solo.sync();
    for peer in 2..=size {
        solo.hear(peer, Message::RequestVoteReply { term: Term(2), granted: true });
    }
    solo.sync();
    all_accept(&mut solo, size);
    let status = solo.node.status();
    assert_eq!((status.role, status.settled), (RoleKind::Leader, true));
    solo
}

pub(super) fn accept(solo: &mut Solo, peer: u64) {
    let index = solo.node.status().last_index;
    let outcome = AppendOutcome::Accepted(index);
    solo.hear(peer, Message::AppendEntriesReply { term: Term(2), prev: Index(0), outcome });
}

pub(super) fn all_accept(solo: &mut Solo, size: u64) {
    (2..=size).for_each(|peer| accept(solo, peer));
}

pub(super) fn change(solo: &mut Solo, ticket: u64, changes: Vec<Change>) -> Option<Refusal> {
    let input = Input::ChangeMembers { ticket: Ticket(ticket), changes, force: false };
    solo.feed([input]).refused.first().map(|(_, refusal)| *refusal)
}

fn voters(solo: &Solo) -> Vec<u64> {
    solo.node.status().membership.voters().map(|id| id.0).collect()
}

pub(super) fn member(id: u64) -> Member {
    Member::voter(NodeId(id), "p", "c")
}

#[test]
fn a_learner_that_was_never_heard_or_lags_is_not_promoted_however_short_the_log() {
    let mut solo = settled_leader(1);
    assert_eq!(change(&mut solo, 1, vec![Change::Add(member(2))]), None);
    solo.sync();
    let promote = || vec![Change::Promote(NodeId(2))];
    let refused = Some(Refusal::Change(ChangeRefusal::NotCaughtUp(NodeId(2))));
    assert_eq!(change(&mut solo, 2, promote()), refused);
    accept(&mut solo, 2);
    // It was level, and is not heard any more.
    solo.now += 600;
    assert_eq!(change(&mut solo, 3, promote()), refused);
    accept(&mut solo, 2);
    assert_eq!(change(&mut solo, 4, promote()), None);
    assert_eq!(voters(&solo), [1, 2]);
    assert!(solo.node.status().membership.is_joint());
}

#[test]
fn a_change_needs_a_majority_of_both_and_ends_by_itself() {
    let mut solo = settled_leader(3);
    assert_eq!(change(&mut solo, 1, vec![Change::Add(member(4))]), None);
    solo.sync();
    all_accept(&mut solo, 4);
    let swap = vec![Change::Promote(NodeId(4)), Change::Remove(NodeId(3))];
    assert_eq!(change(&mut solo, 2, swap), None);
    let joint = solo.node.status().last_index;
    solo.sync();
    // A majority of the new voters, 1 and 4, and of the old ones only 1.
    accept(&mut solo, 4);
    assert!(solo.node.status().commit < joint);
    accept(&mut solo, 2);
    assert_eq!(solo.node.status().commit, joint);
    // The leader completes it.
    let status = solo.node.status();
    assert_eq!((status.last_index, status.membership.is_joint()), (joint.next(), false));
    assert_eq!(status.membership.removed, [NodeId(3)]);
    solo.sync();
    accept(&mut solo, 4);
    assert_eq!(solo.node.status().commit, joint.next());
}

#[test]
fn one_change_at_a_time_and_none_before_the_terms_first_commit() {
    let mut solo = settled_leader(3);
    assert_eq!(change(&mut solo, 1, vec![Change::Add(member(4))]), None);
    let under_way = Some(Refusal::Change(ChangeRefusal::UnderWay));
    assert_eq!(change(&mut solo, 2, vec![Change::Add(member(5))]), under_way);
    let mut fresh = Solo::new(3, &[], 1, None);
    fresh.time_out();
    fresh.hear(2, Message::PreVoteReply { term: Term(2), granted: true });
    fresh.sync();
    fresh.hear(2, Message::RequestVoteReply { term: Term(2), granted: true });
    let early = Some(Refusal::Change(ChangeRefusal::NotSettled));
    assert_eq!(change(&mut fresh, 3, vec![Change::Add(member(4))]), early);
}

#[test]
fn what_would_leave_no_quorum_in_reach_is_refused_unless_forced() {
    let mut solo = settled_leader(3);
    solo.now += 450;
    accept(&mut solo, 2);
    solo.now += 100;
    // Of 1, 2, 3 without 2 only 1 is in reach.
    let refused = Some(Refusal::Change(ChangeRefusal::WouldLoseQuorum));
    assert_eq!(change(&mut solo, 1, vec![Change::Remove(NodeId(2))]), refused);
    let changes = vec![Change::Remove(NodeId(2))];
    let forced = Input::ChangeMembers { ticket: Ticket(2), changes, force: true };
    // It is appended, and as foretold: without 3 there is no majority of 1 and 3.
    assert_eq!(solo.feed([forced]).refused, [(Ticket(2), Refusal::Unknown)]);
}

#[test]
fn a_leader_that_is_removed_commits_that_then_asks_another_to_take_over() {
    let mut solo = settled_leader(3);
    assert_eq!(change(&mut solo, 1, vec![Change::Remove(NodeId(1))]), None);
    solo.sync();
    all_accept(&mut solo, 3);
    solo.sync();
    let last = solo.node.status().last_index;
    let outcome = AppendOutcome::Accepted(last);
    let reply = || Message::AppendEntriesReply { term: Term(2), prev: Index(0), outcome };
    // Its own copy does not count any more: both others must have it.
    solo.hear(2, reply());
    assert_eq!(solo.node.status().role, RoleKind::Leader);
    let effects = solo.hear(3, reply());
    let told = effects.messages.iter().any(|(_, m)| matches!(m, Message::TimeoutNow { .. }));
    let effects = if told { effects } else { solo.wait(1) };
    let told =
        told || effects.messages.iter().any(|(_, m)| matches!(m, Message::TimeoutNow { .. }));
    assert!(told, "{:?}", effects.messages);
    assert_eq!(solo.node.status().role, RoleKind::Follower);
    // And it does not campaign again.
    for _ in 0..300 {
        solo.wait(10);
    }
    assert_eq!(solo.node.status().role, RoleKind::Follower);
}

#[test]
fn leadership_goes_once_the_target_is_level_and_nobody_waits_or_not_at_all() {
    let mut solo = settled_leader(3);
    solo.feed([Input::Propose(vec![(Ticket(7), bytes::Bytes::from_static(b"x"))])]);
    let transfer = Input::TransferLeadership { ticket: Ticket(8), to: Some(NodeId(2)) };
    let effects = solo.feed([transfer]);
    let tells = |effects: &crate::raft::Effects| {
        effects
            .messages
            .iter()
            .any(|(to, m)| *to == NodeId(2) && matches!(m, Message::TimeoutNow { .. }))
    };
    assert!(!tells(&effects), "it is not level");
    let refused = solo.feed([Input::Propose(vec![(Ticket(9), bytes::Bytes::from_static(b"y"))])]);
    assert_eq!(refused.refused, [(Ticket(9), Refusal::Transferring(NodeId(2)))]);
    solo.sync();
    let index = solo.node.status().last_index;
    let outcome = AppendOutcome::Accepted(index);
    let effects =
        solo.hear(2, Message::AppendEntriesReply { term: Term(2), prev: Index(0), outcome });
    let waiting = effects.apply.as_ref().map(|apply| apply.waiting.clone());
    assert_eq!(waiting, Some(vec![(index, Ticket(7))]), "who waits is answered first");
    let effects = solo.wait(1);
    assert!(tells(&effects));
    // It is not taken over: the leader goes on.
    accept(&mut solo, 2);
    accept(&mut solo, 3);
    let mut ended = vec![];
    for _ in 0..60 {
        accept(&mut solo, 3);
        ended.extend(solo.wait(10).refused);
    }
    assert_eq!(ended, [(Ticket(8), Refusal::TransferFailed)]);
    assert_eq!(solo.node.status().role, RoleKind::Leader);
    let again = solo.feed([Input::Propose(vec![(Ticket(10), bytes::Bytes::from_static(b"z"))])]);
    assert!(again.refused.is_empty());
}

/// Node 1 of three with a log behind `base`, and a state as of `state`.
fn restarted(base: Position, state: Position, entries: u64) -> Node {
    let members = Membership::of((1..=3).map(member).collect());
    let entries = (1..=entries).map(|n| crate::types::Entry {
        term: base.term,
        index: Index(base.index.0 + n),
        payload: Payload::Noop,
    });
    let boot = Boot {
        hard_state: HardState { term: Term(5), vote: None },
        base,
        entries: entries.collect(),
        state,
        state_membership: Some(members),
    };
    Node::new(Config::new(NodeId(1), 3), boot, Moment(0))
}

#[test]
fn a_log_without_a_state_votes_and_stores_and_neither_applies_nor_campaigns() {
    let mut node = restarted(at(100, 5), Position::default(), 3);
    assert!(node.status().lacks_state);
    let mut now = 0;
    for _ in 0..300 {
        now += 10_000;
        node.step(Moment(now), Input::Tick);
        let effects = node.drain(Moment(now));
        assert!(effects.messages.is_empty() && effects.apply.is_none());
    }
    let heartbeat =
        Message::Heartbeat { term: Term(5), commit: Index(103), round: 1, all_hold: Index(0) };
    node.step(Moment(now), Input::Received { from: NodeId(2), message: heartbeat });
    let effects = node.drain(Moment(now));
    let wants =
        |(to, m): &(NodeId, Message)| *to == NodeId(2) && matches!(m, Message::WantSnapshot { .. });
    assert!(effects.messages.iter().any(wants));
    assert!(effects.apply.is_none());
    // A snapshot that leaves a gap below the log is of no use, one that reaches it is.
    for (index, accepted) in [(99, false), (102, true)] {
        let position = at(index, 5);
        let membership = Membership::of((1..=3).map(member).collect());
        node.step(Moment(now), Input::SnapshotReceived { position, membership });
        let install = node.drain(Moment(now)).install.expect("a verdict");
        assert_eq!((install.position, install.accept), (position, accepted));
    }
    node.step(Moment(now), Input::Installed { position: at(102, 5) });
    let effects = node.drain(Moment(now));
    let applied: Vec<u64> =
        effects.apply.expect("it goes on").entries.iter().map(|e| e.index.0).collect();
    assert_eq!(applied, [103], "behind the snapshot");
    assert_eq!(
        node.status().first_index,
        Index(101),
        "the log is kept: it holds the snapshot's end"
    );
}

#[test]
fn a_snapshot_that_the_log_does_not_hold_replaces_it_once_it_is_durable() {
    let mut node = restarted(at(10, 4), at(10, 4), 5);
    let members = Membership::of((1..=2).map(member).collect());
    let heartbeat =
        Message::Heartbeat { term: Term(6), commit: Index(0), round: 1, all_hold: Index(0) };
    node.step(Moment(0), Input::Received { from: NodeId(2), message: heartbeat });
    let position = at(50, 6);
    node.step(Moment(0), Input::SnapshotReceived { position, membership: members.clone() });
    assert!(node.drain(Moment(0)).install.expect("a verdict").accept);
    assert_eq!(node.status().last_index, Index(15), "nothing changes before it is durable");
    node.step(Moment(0), Input::Installed { position });
    let effects = node.drain(Moment(0));
    let persist = effects.persist.expect("the log changes");
    assert_eq!((persist.reset, persist.entries.len()), (Some(position), 0));
    let acks = |(to, m): &(NodeId, Message)| {
        let outcome = AppendOutcome::Accepted(Index(50));
        *to == NodeId(2)
            && matches!(m, Message::AppendEntriesReply { outcome: o, .. } if *o == outcome)
    };
    assert!(persist.then.iter().any(acks) && !effects.messages.iter().any(acks));
    let status = node.status();
    assert_eq!((status.first_index, status.commit), (Index(51), Index(50)));
    assert_eq!(status.membership, members, "the snapshot's, not the log's (C-44)");
    // An older one moves nothing back.
    node.step(Moment(0), Input::SnapshotReceived { position: at(40, 6), membership: members });
    assert!(!node.drain(Moment(0)).install.expect("a verdict").accept);
}

#[test]
fn the_end_of_a_followers_need_for_a_snapshot_is_said() {
    let mut solo = settled_leader(3);
    let wants = Message::WantSnapshot { term: Term(2) };
    assert_eq!(solo.hear(3, wants).snapshots, Some(vec![NodeId(3)]));
    let index = solo.node.status().last_index;
    let effects = solo.feed([Input::SnapshotSent { peer: NodeId(3), index }]);
    assert_eq!(effects.snapshots, Some(vec![]));
    assert_eq!(solo.wait(10).snapshots, None);
}

#[test]
fn a_lease_answers_at_once_for_a_while_and_never_after_a_transfer() {
    let mut solo = settled_leader(3);
    let lease_read = |solo: &mut Solo, ticket| {
        let effects = solo.feed([Input::LeaseRead(vec![Ticket(ticket)])]);
        effects.reads.iter().any(|(t, _)| *t == Ticket(ticket))
    };
    assert!(!lease_read(&mut solo, 1), "off by default");
    let round = |solo: &mut Solo| {
        let effects = solo.wait(100);
        let rounds = effects.messages.iter().filter_map(|(_, m)| match m {
            Message::Heartbeat { round, .. } => Some(*round),
            _ => None,
        });
        let round = rounds.max().expect("a round of heartbeats");
        let last = solo.node.status().last_index;
        solo.hear(2, Message::HeartbeatReply { term: Term(2), round, last });
    };
    solo.node.config.lease_reads = true;
    round(&mut solo);
    assert!(lease_read(&mut solo, 2));
    // 500 ms less a fifth, from when the round was sent; a pause of the node's own ends it, too.
    for _ in 0..4 {
        solo.now += 90;
        // Appends that are acknowledged keep it leading, and give no lease.
        accept(&mut solo, 3);
        assert!(lease_read(&mut solo, 3), "at {}", solo.now);
    }
    solo.now += 60;
    assert!(!lease_read(&mut solo, 4));
    round(&mut solo);
    assert!(lease_read(&mut solo, 5));
    solo.feed([Input::TransferLeadership { ticket: Ticket(6), to: Some(NodeId(2)) }]);
    solo.wait(1);
    for _ in 0..60 {
        accept(&mut solo, 2);
        accept(&mut solo, 3);
        solo.wait(10);
    }
    round(&mut solo);
    assert!(!lease_read(&mut solo, 7), "the target may yet win");
}

#[test]
fn the_log_is_not_trimmed_beyond_what_the_disk_was_given() {
    let mut solo = Solo::new(3, &[], 1, None);
    solo.node.config.trailing_entries = 0;
    let membership = Membership::of((1..=3).map(member).collect());
    let position = at(4, 1);
    let heartbeat =
        Message::Heartbeat { term: Term(1), commit: Index(0), round: 1, all_hold: Index(0) };
    solo.hear(2, heartbeat);
    let effects = solo.feed([Input::SnapshotReceived { position, membership }]);
    assert!(effects.install.expect("a verdict").accept);
    // The entries that the snapshot holds come in before the node drains again.
    let entries = (2..=5).map(|index| super::harness::foreign(index, 1)).collect();
    let append =
        Message::AppendEntries { term: Term(1), prev: at(1, 1), commit: Index(1), entries };
    let effects = solo.feed([
        Input::Received { from: NodeId(2), message: append },
        Input::Installed { position },
        Input::Captured { position, rest: Duration::ZERO },
    ]);
    let given: Vec<u64> =
        effects.persist.expect("it is stored").entries.iter().map(|entry| entry.index.0).collect();
    assert_eq!(given, [2, 3, 4, 5], "the disk's log has no gap");
}
