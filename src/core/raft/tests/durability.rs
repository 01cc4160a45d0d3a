//! What waits for the disk, and what comes back from it (12).

use super::checks::Outcome;
use super::harness::{Cluster, foreign};
use super::solo::{Solo, at, messages};
use crate::raft::{AppendOutcome, Input, Message};
use crate::types::{Entry, HardState, Index, NodeId, Term, Ticket};

fn append(term: u64, prev: (u64, u64), entries: &[(u64, u64)]) -> Message {
    let entries: Vec<Entry> = entries.iter().map(|(i, t)| foreign(*i, *t)).collect();
    let (prev, commit) = (at(prev.0, prev.1), Index(0));
    Message::AppendEntries { term: Term(term), prev, commit, entries }
}

// 12.1: in `then`, in the same record, and nothing of the term leaves beside it.
#[test]
fn a_vote_is_saved_before_the_reply() {
    let mut solo = Solo::new(3, &[], 1, None);
    let effects =
        solo.hear(2, Message::RequestVote { term: Term(5), last: at(1, 1), transfer: false });
    assert!(effects.messages.is_empty());
    let persist = effects.persist.expect("a vote is to be saved");
    assert_eq!(persist.hard_state, Some(HardState { term: Term(5), vote: Some(NodeId(2)) }));
    let reply = Message::RequestVoteReply { term: Term(5), granted: true };
    assert_eq!(persist.then, [(NodeId(2), reply)]);
}

// 12.1: not even the answer to a heartbeat.
#[test]
fn no_message_of_a_term_leaves_before_the_term_is_saved() {
    let mut solo = Solo::new(3, &[], 1, None);
    let beat =
        |round| Message::Heartbeat { term: Term(5), commit: Index(0), round, all_hold: Index(0) };
    for round in 1..=2 {
        let effects = solo.hear(2, beat(round));
        let (now, then) = messages(&effects);
        assert!(now.is_empty() && then.len() == 1, "{now:?}");
    }
    solo.sync();
    assert_eq!(messages(&solo.hear(2, beat(3))).0.len(), 1, "saved now");
}

// 12.2: an acknowledgement is for what is durable.
#[test]
fn entries_are_saved_before_they_are_acknowledged() {
    let mut solo = Solo::new(3, &[], 2, None);
    let persist = solo.hear(2, append(2, (1, 1), &[(2, 2)])).persist.unwrap();
    assert_eq!(persist.entries, [foreign(2, 2)]);
    let outcome = AppendOutcome::Accepted(Index(2));
    let reply = Message::AppendEntriesReply { term: Term(2), prev: Index(1), outcome };
    assert_eq!(persist.then, [(NodeId(2), reply)]);
    // A repetition, too, waits for the first one's sync.
    let effects = solo.hear(2, append(2, (1, 1), &[(2, 2)]));
    assert!(effects.messages.is_empty() && effects.persist.unwrap().then.len() == 1);
}

// 12.2: the leader counts itself only after its own sync.
#[test]
fn a_leaders_own_copy_counts_only_when_durable() {
    let mut solo = Solo::new(3, &[], 1, None);
    let term = solo.lead();
    let accept = |index| {
        let outcome = AppendOutcome::Accepted(Index(index));
        Message::AppendEntriesReply { term, prev: Index(index - 1), outcome }
    };
    solo.hear(2, accept(2));
    solo.feed([Input::Propose(vec![(Ticket(1), "x".into())])]);
    let effects = solo.hear(2, accept(3));
    assert!(effects.apply.is_none() && solo.node.status().commit == Index(2));
    // A quorum without it commits; it applies what its own disk holds.
    let effects = solo.hear(3, accept(3));
    assert!(effects.apply.is_none() && solo.node.status().commit == Index(3));
    let apply = solo.sync().apply.expect("durable here, too");
    assert_eq!(apply.waiting, [(Index(3), Ticket(1))]);
}

// 12.3: the disk's answer about entries that were replaced says nothing of their successors.
#[test]
fn a_late_answer_of_the_disk_does_not_speak_for_replaced_entries() {
    let mut solo = Solo::new(3, &[], 2, None);
    solo.hear(2, append(2, (1, 1), &[(2, 2), (3, 2), (4, 2)]));
    let first = solo.seq;
    solo.hear(3, append(3, (2, 2), &[(3, 3), (4, 3)]));
    assert_ne!(solo.seq, first);
    solo.feed([Input::Persisted { seq: first }]);
    assert_eq!(solo.node.status().durable_index, Index(2));
    solo.sync();
    assert_eq!(solo.node.status().durable_index, Index(4));
}

// 12.3: entries that came and went before the disk was asked are not written at all.
#[test]
fn entries_replaced_before_they_were_handed_out_are_not_written() {
    let mut solo = Solo::new(3, &[], 2, None);
    let both = [
        super::solo::received(2, append(2, (1, 1), &[(2, 2), (3, 2)])),
        super::solo::received(3, append(3, (2, 2), &[(3, 3)])),
    ];
    let persist = solo.feed(both).persist.unwrap();
    assert_eq!(persist.entries, [foreign(2, 2), foreign(3, 3)]);
    assert_eq!(persist.truncate_from, None);
}

// 12.4: alone is no exception.
#[test]
fn a_single_node_answers_only_after_its_own_sync() {
    let mut cluster = Cluster::new(1);
    cluster.elect();
    cluster.settle();
    cluster.disk_delay(1, None);
    let ticket = cluster.propose(1);
    cluster.run(100);
    assert_eq!(cluster.outcome(ticket), None);
    cluster.crash(1, 0);
    assert_eq!(cluster.outcome(ticket), Some(Outcome::Lost));
    cluster.disk_delay(1, Some(5));
    cluster.restart(1);
    cluster.elect();
    let ticket = cluster.propose(1);
    assert_eq!(cluster.outcome(ticket), None);
    cluster.run(20);
    cluster.assert_done(ticket);
}

// 12.8: from nothing, from a term without a log of it, from a log.
#[test]
fn a_node_starts_from_whatever_its_disk_holds() {
    for (terms, term, vote) in [(&[][..], 1, None), (&[], 9, Some(3)), (&[2, 2, 5], 9, Some(1))] {
        let solo = Solo::new(3, terms, term, vote);
        let status = solo.node.status();
        assert_eq!(status.term, Term(term));
        assert_eq!(status.last_index, Index(1 + terms.len() as u64));
        assert_eq!(status.durable_index, status.last_index);
        assert_eq!((status.commit, status.applied), (Index(0), Index(0)));
    }
}

// 12.8: a term lower than the log's is a lost term.
#[test]
#[should_panic(expected = "the log is newer than the term")]
fn a_log_newer_than_the_term_is_an_assertion() {
    Solo::new(3, &[5], 4, None);
}

// 12.11: all at once, again and again, what was applied stays.
#[test]
fn what_was_applied_survives_any_restart() {
    let mut cluster = Cluster::new(3);
    for round in 0..10 {
        let leader = cluster.elect();
        let ticket = cluster.propose(leader);
        cluster.run(50);
        cluster.assert_done(ticket);
        // In the middle of a batch.
        cluster.propose(leader);
        cluster.run(round % 4);
        for id in 1..=3 {
            cluster.crash(id, 0);
        }
        for id in 1..=3 {
            cluster.restart(id);
        }
    }
    cluster.elect();
    cluster.settle();
    // The checks compare each new leader and each applied entry with the history.
    assert!(cluster.checks.committed.len() >= 20);
}

// 12.11: what was not durable anywhere is gone, and the rest goes on without it.
#[test]
fn a_leader_that_crashes_before_its_sync_loses_only_what_it_did_not_promise() {
    let mut cluster = Cluster::new(3);
    cluster.elect_node(1);
    cluster.settle();
    cluster.disk_delay(1, None);
    cluster.isolate(1);
    cluster.propose(1);
    cluster.run(5);
    cluster.crash(1, 0);
    cluster.heal();
    cluster.disk_delay(1, Some(1));
    cluster.restart(1);
    cluster.elect();
    cluster.settle();
    let commands = cluster.checks.committed.values();
    let own = |entry: &&Entry| matches!(entry.payload, crate::types::Payload::Command(_));
    assert_eq!(commands.filter(own).count(), 0);
}
