//! Members that come and go, and leases: I5, I9, I14, I15, I16, I20.

use std::time::Duration;

use super::*;
use crate::facts::Lease;
use quorate_core::raft::{Follower, ProgressState};
use quorate_core::types::Change;

fn entry(index: u64, term: u64, membership: &Membership) -> Entry {
    let payload = Payload::Membership(membership.clone());
    Entry { term: Term(term), index: Index(index), payload }
}

/// Another disk under the name of a node.
fn replace(feed: &mut Feed, node: u64) {
    feed.stop(node).unwrap();
    feed.tell(&Fact::Replaced { node: NodeId(node) }).unwrap();
    feed.start(node, 0, None, &[]).unwrap();
}

fn without_the_third() -> Membership {
    members().changed(&[Change::Remove(NodeId(3))], Index(3)).unwrap()
}

#[test]
fn i5_what_a_disk_had_acknowledged_before_it_was_replaced_counts() {
    let mut feed = Feed::of("I5");
    for node in [1, 2] {
        feed.write(node, &entries(vec![noop(2, 2)])).unwrap();
    }
    replace(&mut feed, 2);
    feed.drain(&leader(1, 2, 2, 2)).unwrap();
}

#[test]
fn i5_while_members_change_both_majorities_must_hold_it() {
    let joint = without_the_third();
    for (holders, fine) in [(vec![1, 2], true), (vec![1, 3], false)] {
        let mut feed = Feed::of("I5");
        for node in holders {
            feed.write(node, &entries(vec![noop(2, 2), entry(3, 2, &joint)])).unwrap();
        }
        // It goes by them since the drain before.
        for _ in 0..2 {
            feed.tell(&Fact::Members { node: NodeId(1), membership: &joint }).unwrap();
        }
        let status = Status { membership: joint.clone(), ..leader(1, 2, 3, 3) };
        assert_eq!(feed.drain(&status).is_ok(), fine);
    }
}

#[test]
fn i9_another_disk_may_vote_again_and_the_same_one_may_not() {
    let granted = Message::RequestVoteReply { term: Term(2), granted: true };
    let mut feed = Feed::of("I9");
    feed.send(3, 1, &granted).unwrap();
    replace(&mut feed, 3);
    feed.send(3, 2, &granted).unwrap();
    feed.send(3, 1, &granted).unwrap_err();
}

#[test]
fn i14_a_change_ends_with_its_entry_or_in_doubt_and_with_no_other_entry() {
    let (node, ticket) = (NodeId(1), Ticket(7));
    let ordered = Fact::Ordered { node, ticket, changes: true };
    let entry = entry(2, 2, &without_the_third());
    let mut feed = Feed::of("I14");
    feed.tell(&ordered).unwrap();
    feed.apply(1, &entry, Some(7), None, 0).unwrap();
    feed.tell(&ordered).unwrap();
    let why = quorate_core::raft::Refusal::Unknown;
    feed.tell(&Fact::Refused { node, ticket, why }).unwrap();
    feed.tell(&ordered).unwrap();
    feed.apply(1, &noop(3, 2), Some(7), None, 0).unwrap_err();
    // Nor does a write end with members.
    let command = put(2, 1, "x");
    feed.ask(1, 8, Some(&command)).unwrap();
    feed.apply(1, &entry, Some(8), None, 0).unwrap_err();
}

fn beat(round: u64) -> Message {
    Message::Heartbeat { term: Term(2), commit: Index(0), round, all_hold: Index(0) }
}

/// Node 1 leads in term 2, has committed, and had round 5, of moment 1,000,000, answered by node 2.
fn leased() -> Feed {
    let mut feed = Feed::of("I15");
    for node in [1, 2] {
        feed.write(node, &entries(vec![noop(2, 2)])).unwrap();
    }
    feed.send(1, 2, &beat(5)).unwrap();
    let status = leader(1, 2, 2, 2);
    feed.tell(&Fact::Drained { node: NodeId(1), now: Moment(1_000_000), status: &status }).unwrap();
    let answer = Message::HeartbeatReply { term: Term(2), round: 5, last: Index(2) };
    feed.send(2, 1, &answer).unwrap();
    feed
}

fn ask_under_lease(feed: &mut Feed, now: u64) {
    let lease = Some(Lease { now: Moment(now), length: Duration::from_millis(400) });
    let (node, ticket) = (NodeId(1), Ticket(7));
    feed.tell(&Fact::Asked { node, ticket, command: None, lease }).unwrap();
}

#[test]
fn i15_a_read_within_the_lease_is_fine_and_a_later_one_is_noticed() {
    let mut feed = leased();
    ask_under_lease(&mut feed, 1_399_999);
    feed.release(1, 7, 2).unwrap();
    ask_under_lease(&mut feed, 1_400_000);
    feed.release(1, 7, 2).unwrap_err();
}

#[test]
fn i15_a_round_that_began_later_confirms_what_has_no_lease() {
    let mut feed = leased();
    ask_under_lease(&mut feed, 9_000_000);
    feed.send(1, 3, &beat(6)).unwrap();
    feed.send(3, 1, &Message::HeartbeatReply { term: Term(2), round: 6, last: Index(2) }).unwrap();
    feed.release(1, 7, 2).unwrap();
}

#[test]
fn i15_no_lease_once_another_leads_in_a_later_term() {
    let mut feed = leased();
    feed.drain(&leader(3, 3, 1, 2)).unwrap();
    ask_under_lease(&mut feed, 1_100_000);
    feed.release(1, 7, 2).unwrap_err();
}

#[test]
fn i15_no_lease_once_leadership_was_handed_over() {
    let mut feed = leased();
    feed.send(1, 2, &Message::TimeoutNow { term: Term(2) }).unwrap();
    ask_under_lease(&mut feed, 1_100_000);
    feed.release(1, 7, 2).unwrap_err();
}

#[test]
fn i15_no_read_before_the_terms_first_commit() {
    let mut feed = leased();
    ask_under_lease(&mut feed, 1_100_000);
    feed.release(1, 7, 1).unwrap_err();
}

/// Node 1 leads in term 2 and appends these memberships behind the term's first entry, which is
/// committed or not.
fn appends(memberships: &[Membership], commit: u64) -> Result<(), String> {
    let mut feed = Feed::of("I16");
    feed.write(1, &entries(vec![noop(2, 2)])).unwrap();
    let list = (3..).zip(memberships).map(|(index, membership)| entry(index, 2, membership));
    let list: Vec<Entry> = list.collect();
    let last = 2 + list.len() as u64;
    feed.stage(1, &entries(list))?;
    let membership = memberships.last().cloned().unwrap_or_default();
    feed.drain(&Status { membership, ..leader(1, 2, commit, last) })
}

#[test]
fn i16_one_change_follows_another_through_a_joint_membership() {
    let joint = without_the_third();
    appends(std::slice::from_ref(&joint), 2).unwrap();
    appends(std::slice::from_ref(&joint), 1).unwrap_err();
    appends(&[joint.clone(), joint.completed()], 3).unwrap();
    appends(&[joint.clone(), joint.completed()], 2).unwrap_err();
    // Other voters at once, or what does not complete the change.
    appends(&[joint.completed()], 2).unwrap_err();
    appends(&[joint, members()], 3).unwrap_err();
}

#[test]
fn i20_a_belief_in_the_disk_before_is_noticed_unless_its_member_is_meant() {
    let follower = |id: u64| Follower {
        id: NodeId(id),
        match_index: Index(2),
        next_index: Index(3),
        state: ProgressState::Replicate,
        connected: true,
        last_contact: Moment(0),
    };
    let mut feed = Feed::of("I20");
    for node in [1, 2] {
        feed.write(node, &entries(vec![noop(2, 2)])).unwrap();
    }
    feed.drain(&leader(1, 2, 2, 2)).unwrap();
    replace(&mut feed, 2);
    // A leader that knows only the one before.
    let mut status = Status { followers: vec![follower(2)], ..leader(1, 2, 2, 2) };
    feed.drain(&status).unwrap();
    for member in status.membership.members.iter_mut().filter(|member| member.id == NodeId(2)) {
        member.added = Index(3);
    }
    feed.drain(&status).unwrap_err();
}
