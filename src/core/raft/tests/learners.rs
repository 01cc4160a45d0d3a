//! What goes to those without a vote, and when they have caught up.

use super::members::{accept, all_accept, change, member, settled_leader};
use super::solo::Solo;
use crate::raft::{Config, Effects, Input, Message};
use crate::types::{Change, Index, NodeId, Ticket};

/// A leader of three with a learner, 4, that holds everything.
fn leader_with_a_learner() -> Solo {
    let mut solo = settled_leader(3);
    assert_eq!(change(&mut solo, 1, vec![Change::Add(member(4))]), None);
    solo.sync();
    all_accept(&mut solo, 4);
    solo.wait(10);
    solo
}

fn propose(solo: &mut Solo, count: u64) -> Effects {
    let first = solo.node.status().last_index.0 * 10;
    let commands = (first..first + count).map(|n| (Ticket(n), bytes::Bytes::from_static(b"x")));
    solo.feed([Input::Propose(commands.collect())])
}

/// Many entries, of which the learner gets none.
fn voters_hold_more(solo: &mut Solo) {
    propose(solo, 3 * Config::CAUGHT_UP);
    solo.sync();
    (2..=3).for_each(|peer| accept(solo, peer));
}

/// How many entries each peer is sent.
fn sent(effects: &Effects) -> Vec<(u64, usize)> {
    let appends = effects.messages.iter().filter_map(|(to, message)| match message {
        Message::AppendEntries { entries, .. } => Some((to.0, entries.len())),
        _ => None,
    });
    appends.collect()
}

#[test]
fn a_learner_gets_fewer_and_larger_appends_than_the_voters() {
    let mut solo = leader_with_a_learner();
    assert_eq!(sent(&propose(&mut solo, 1)), [(2, 1), (3, 1), (4, 1)], "after a silence");
    solo.now += 1;
    assert_eq!(sent(&propose(&mut solo, 2)), [(2, 2), (3, 2)]);
    solo.now += 1;
    assert_eq!(sent(&propose(&mut solo, 3)), [(2, 3), (3, 3)]);
    assert_eq!(sent(&solo.wait(8)), [(4, 5)], "ten milliseconds after the one before");
    let batch = Config::new(NodeId(1), 1).batch_entries;
    let whole = sent(&propose(&mut solo, batch as u64));
    assert_eq!(whole, [(2, batch), (3, batch), (4, batch)], "a whole batch waits no longer");
}

#[test]
fn a_learner_that_only_lacks_the_last_moment_is_caught_up_however_many_come_in() {
    let mut solo = leader_with_a_learner();
    let promote = |solo: &mut Solo, n| change(solo, n, vec![Change::Promote(NodeId(4))]);
    // Two heartbeats' worth, of which it gets nothing.
    let mut ends = vec![];
    voters_hold_more(&mut solo);
    solo.wait(100);
    for round in [1, 2] {
        ends.push(solo.node.status().last_index);
        voters_hold_more(&mut solo);
        solo.wait(100);
        assert!(promote(&mut solo, round).is_some(), "it lacks all of them");
    }
    let held = |solo: &mut Solo, index: Index| {
        let outcome = crate::raft::AppendOutcome::Accepted(index);
        let term = solo.node.status().term;
        let reply = Message::AppendEntriesReply { term, prev: Index(0), outcome };
        solo.hear(4, reply);
    };
    held(&mut solo, ends[0]);
    assert!(promote(&mut solo, 3).is_some(), "what it lacks is older than a moment");
    let before = solo.node.status().last_index;
    solo.wait(100);
    voters_hold_more(&mut solo);
    held(&mut solo, before);
    assert_eq!(promote(&mut solo, 4), None);
}
