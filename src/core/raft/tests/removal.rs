//! The end of a removal (10.6, 10.8), of a transfer (11.3), and of a promise (6.9): what goes wrong
//! when a node leaves too early, or is not heard any more.

use super::members::{accept, all_accept, change, member, settled_leader};
use super::solo::{Solo, at};
use crate::raft::{AppendOutcome, Boot, Config, Effects, Input, Message, Node, Refusal, RoleKind};
use crate::types::{
    Change, ChangeRefusal, Entry, HardState, Index, Membership, Moment, NodeId, Payload, Position,
    Term, Ticket,
};

/// Node 1 with these memberships as its log, from index 1 on, in term 1; and a state up to
/// `applied`.
fn with_memberships(memberships: Vec<Membership>, applied: u64) -> Solo {
    let entries = (1..).zip(memberships).map(|(index, membership)| Entry {
        term: Term(1),
        index: Index(index),
        payload: Payload::Membership(membership),
    });
    let boot = Boot {
        hard_state: HardState { term: Term(1), vote: None },
        entries: entries.collect(),
        state: at(applied, 1),
        ..Boot::default()
    };
    Solo { node: Node::new(Config::new(NodeId(1), 7), boot, Moment(0)), now: 0, seq: 0 }
}

fn members(ids: &[u64]) -> Membership {
    Membership::of(ids.iter().map(|id| member(*id)).collect())
}

/// The three memberships of one removal, in the order of the log.
fn removal(of: &[u64], removed: u64) -> Vec<Membership> {
    let old = members(of);
    let joint = old.changed(&[Change::Remove(NodeId(removed))], Index(2)).unwrap();
    let new = joint.completed();
    vec![old, joint, new]
}

fn tells_to_take_over(effects: &Effects, to: u64) -> bool {
    let tells =
        |(id, m): &(NodeId, Message)| *id == NodeId(to) && matches!(m, Message::TimeoutNow { .. });
    effects.messages.iter().any(tells)
}

#[test]
fn a_removal_that_only_the_removed_node_holds_is_completed_by_it() {
    // Node 2 has the joint membership: it needs node 1, whose log is longer.
    let mut solo = with_memberships(removal(&[1, 2], 1), 0);
    let asks = solo.time_out();
    let asked = |effects: &Effects| effects.messages.iter().any(|(to, _)| *to == NodeId(2));
    assert!(asked(&asks), "it asks for a pre-vote: {asks:?}");
    solo.hear(2, Message::PreVoteReply { term: Term(2), granted: true });
    solo.sync();
    assert_eq!(solo.node.status().role, RoleKind::Candidate, "its own vote does not count");
    solo.hear(2, Message::RequestVoteReply { term: Term(2), granted: true });
    solo.sync();
    assert_eq!(solo.node.status().role, RoleKind::Leader);
    accept(&mut solo, 2);
    solo.wait(1);
    assert_eq!(solo.node.status().role, RoleKind::Follower, "the removal is committed: it left");
    for _ in 0..300 {
        assert!(solo.wait(10).messages.is_empty(), "and never comes back");
    }
}

/// Others that lack the removal know when it was added. Were it to say that nothing had added it,
/// they would take its disk for the one that it had before it was added, and refuse it for ever.
#[test]
fn a_node_knows_what_added_it_until_its_removal_is_committed() {
    let joined = members(&[2]).changed(&[Change::Add(member(1))], Index(1)).unwrap();
    let old = joined.changed(&[Change::Promote(NodeId(1))], Index(1)).unwrap().completed();
    let joint = old.changed(&[Change::Remove(NodeId(1))], Index(2)).unwrap();
    let new = joint.completed();
    for (applied, added) in [(0, 1), (2, 1), (3, 0)] {
        let log = vec![old.clone(), joint.clone(), new.clone()];
        let solo = with_memberships(log, applied);
        assert_eq!(solo.node.status().added, Some(Index(added)), "{applied} applied");
    }
    assert_eq!(with_memberships(vec![], 0).node.status().added, None);
}

#[test]
fn a_node_whose_removal_is_committed_never_campaigns() {
    let mut solo = with_memberships(removal(&[1, 2], 1), 3);
    for _ in 0..300 {
        assert!(solo.wait(10).messages.is_empty());
    }
}

#[test]
fn who_was_removed_does_not_disturb_and_leads_again_once_it_was_added_again() {
    let mut solo = with_memberships(removal(&[1, 2, 3], 3), 3);
    let last = at(3, 1);
    let ask = |last: Position| Message::PreVote { term: Term(2), last };
    assert!(solo.hear(3, ask(last)).messages.is_empty(), "it has nothing that is new here");
    assert!(!solo.hear(3, ask(at(9, 1))).messages.is_empty(), "it may have been added again");
    // It was, elsewhere: the leader of term 4 is node 3, and this node lags.
    let entries = vec![Entry { term: Term(4), index: Index(4), payload: Payload::Noop }];
    let append = Message::AppendEntries { term: Term(4), prev: last, commit: Index(3), entries };
    let effects = solo.hear(3, append);
    let acknowledged = effects.persist.expect("it is stored").then.iter().any(|(to, m)| {
        let outcome = AppendOutcome::Accepted(Index(4));
        *to == NodeId(3)
            && matches!(m, Message::AppendEntriesReply { outcome: o, .. } if *o == outcome)
    });
    assert!(acknowledged);
    // What the leader that removed itself says last is heard, too.
    solo.sync();
    let effects = solo.hear(3, Message::TimeoutNow { term: Term(4) });
    assert_eq!(solo.node.status().role, RoleKind::Candidate, "{:?}", effects.notes);
}

#[test]
fn a_leader_that_is_removed_answers_everyone_before_it_goes() {
    let mut solo = settled_leader(3);
    let write = |ticket| Input::Propose(vec![(Ticket(ticket), bytes::Bytes::from_static(b"x"))]);
    assert_eq!(change(&mut solo, 1, vec![Change::Remove(NodeId(1))]), None);
    solo.feed([write(2)]);
    solo.sync();
    all_accept(&mut solo, 3);
    // The change is complete but for its commit: the leader takes nothing new.
    let refused = solo.feed([write(3)]).refused;
    assert!(matches!(refused[..], [(Ticket(3), Refusal::Transferring(_))]), "{refused:?}");
    let again = change(&mut solo, 4, vec![Change::Add(member(4))]);
    assert!(matches!(again, Some(Refusal::Change(_))), "{again:?}");
    solo.sync();
    let mut ended = vec![];
    let mut told = false;
    let index = solo.node.status().last_index;
    for peer in [2, 3, 3, 3] {
        let outcome = AppendOutcome::Accepted(index);
        let reply = Message::AppendEntriesReply { term: Term(2), prev: Index(0), outcome };
        let effects = solo.hear(peer, reply);
        assert_eq!(effects.refused, [], "nobody is left in doubt");
        ended.extend(effects.apply.iter().flat_map(|apply| apply.waiting.clone()));
        told |= tells_to_take_over(&effects, 2) || tells_to_take_over(&effects, 3);
    }
    let ended: Vec<u64> = ended.iter().map(|(_, ticket)| ticket.0).collect();
    assert_eq!(ended, [1], "the write was answered before, the change now");
    assert!(told);
    assert_eq!(solo.node.status().role, RoleKind::Follower);
}

#[test]
fn a_transfer_is_done_when_its_target_leads_and_failed_when_another_does() {
    for (winner, done) in [(2, true), (3, false)] {
        let mut solo = settled_leader(3);
        solo.feed([Input::TransferLeadership { ticket: Ticket(8), to: Some(NodeId(2)) }]);
        // Somebody campaigned: that alone does not say who won.
        let effects = solo.hear(3, Message::PreVoteReply { term: Term(3), granted: false });
        assert_eq!((effects.done, effects.refused), (vec![], vec![]));
        let heartbeat =
            Message::Heartbeat { term: Term(3), commit: Index(0), round: 1, all_hold: Index(0) };
        let effects = solo.hear(winner, heartbeat);
        let failed = vec![(Ticket(8), Refusal::TransferFailed)];
        let expected = if done { (vec![Ticket(8)], vec![]) } else { (vec![], failed) };
        assert_eq!((effects.done, effects.refused), expected);
    }
}

#[test]
fn a_promise_to_a_leader_outlives_its_term() {
    let mut solo = Solo::new(3, &[], 1, None);
    solo.node.config.lease_reads = true;
    solo.now = 2_000;
    solo.hear(
        2,
        Message::Heartbeat { term: Term(1), commit: Index(0), round: 1, all_hold: Index(0) },
    );
    solo.now += 100;
    solo.hear(3, Message::PreVoteReply { term: Term(2), granted: false });
    assert_eq!(solo.node.status().term, Term(2));
    let vote = |term| Message::RequestVote { term: Term(term), last: at(9, 1), transfer: false };
    let granted = |solo: &mut Solo, term| {
        let effects = solo.hear(3, vote(term));
        let then = effects.persist.into_iter().flat_map(|persist| persist.then);
        let mut replies = effects.messages.into_iter().chain(then);
        replies.any(|(_, m)| matches!(m, Message::RequestVoteReply { granted: true, .. }))
    };
    // 2 may answer reads until 2,500.
    assert!(!granted(&mut solo, 2), "in the term that it has learnt of");
    assert!(!granted(&mut solo, 3), "or in a later one");
    solo.now = 2_499;
    assert!(!granted(&mut solo, 3));
    solo.now = 2_500;
    assert!(granted(&mut solo, 3));
}

#[test]
fn a_lease_holds_through_more_rounds_than_a_follower_answers_at_once() {
    let mut solo = settled_leader(3);
    solo.node.config.lease_reads = true;
    let effects = solo.wait(100);
    let rounds = effects.messages.iter().filter_map(|(_, m)| match m {
        Message::Heartbeat { round, .. } => Some(*round),
        _ => None,
    });
    let round = rounds.max().expect("a round of heartbeats");
    // Each read begins a round of its own, before the first of them is answered.
    for ticket in 0..300 {
        solo.feed([Input::Read(vec![Ticket(100 + ticket)])]);
    }
    let last = solo.node.status().last_index;
    solo.hear(2, Message::HeartbeatReply { term: Term(2), round, last });
    let effects = solo.feed([Input::LeaseRead(vec![Ticket(1)])]);
    assert_eq!(effects.reads.len(), 1);
}

#[test]
fn the_questions_of_a_follower_do_not_pile_up_at_a_leader_that_cannot_answer() {
    let mut solo = Solo::new(3, &[], 1, None);
    solo.time_out();
    solo.hear(2, Message::PreVoteReply { term: Term(2), granted: true });
    solo.sync();
    solo.hear(2, Message::RequestVoteReply { term: Term(2), granted: true });
    solo.sync();
    assert!(!solo.node.status().settled);
    for id in 0..10_000 {
        solo.hear(3, Message::ReadIndex { term: Term(2), id });
    }
    accept(&mut solo, 2);
    let round = 1_000;
    let answers = solo.hear(2, Message::HeartbeatReply { term: Term(2), round, last: Index(2) });
    drop(answers);
    let mut newest = vec![];
    for round in 1..10 {
        let last = solo.node.status().last_index;
        let effects = solo.hear(2, Message::HeartbeatReply { term: Term(2), round, last });
        newest.extend(effects.messages.iter().filter_map(|(_, m)| match m {
            Message::ReadIndexReply { id, .. } => Some(*id),
            _ => None,
        }));
    }
    assert!((1..=64).contains(&newest.len()), "{}", newest.len());
    assert_eq!(newest.last(), Some(&9_999), "the newest are the ones that are waited for");
}

#[test]
fn a_member_cannot_go_and_come_back_in_one_change() {
    let again = [Change::Remove(NodeId(2)), Change::Add(member(2))];
    assert!(members(&[1, 2, 3]).changed(&again, Index(9)).is_err());
}

#[test]
fn who_is_added_gets_a_snapshot_and_not_the_log_from_before() {
    let mut solo = settled_leader(1);
    assert_eq!(change(&mut solo, 1, vec![Change::Add(member(2))]), None);
    let added = solo.node.status().last_index;
    let applied = solo.sync().apply.expect("it is committed").entries.last().unwrap().index;
    assert_eq!(applied, added);
    // Its disk is empty: the log would have to begin at its beginning.
    let outcome = AppendOutcome::Rejected(Position::default());
    let reply = Message::AppendEntriesReply { term: Term(2), prev: added, outcome };
    let effects = solo.hear(2, reply);
    let appends = |(_, m): &(NodeId, Message)| matches!(m, Message::AppendEntries { .. });
    assert!(!effects.messages.iter().any(appends), "{:?}", effects.messages);
    assert_eq!(effects.snapshots, None, "the state is not yet as new as its membership");
    let effects = solo.feed([Input::Applied { index: added }]);
    assert_eq!(effects.snapshots, Some(vec![NodeId(2)]));
    let promote = Input::ChangeMembers {
        ticket: Ticket(2),
        changes: vec![Change::Promote(NodeId(2))],
        force: true,
    };
    let refused = [(Ticket(2), Refusal::Change(ChangeRefusal::NotCaughtUp(NodeId(2))))];
    assert_eq!(solo.feed([promote]).refused, refused, "also by force");
}
