//! Numbers that no correct node sends (8).

use super::solo::{Solo, at};
use crate::raft::{AppendOutcome, Message, Note};
use crate::types::{Entry, Index, Payload, Position, Term};

const HUGE: u64 = u64::MAX;

fn dropped(solo: &mut Solo, message: Message) -> bool {
    let effects = solo.hear(2, message);
    effects.notes.iter().any(|note| matches!(note, Note::Dropped { .. }))
}

#[test]
fn numbers_that_no_cluster_reaches_are_dropped() {
    let mut solo = Solo::new(3, &[], 1, None);
    let far = Position { term: Term(1), index: Index(HUGE) };
    let entry = Entry { term: Term(1), index: Index(0), payload: Payload::Noop };
    let (term, commit) = (Term(1), Index(0));
    let entries = vec![entry];
    assert!(dropped(&mut solo, Message::AppendEntries { term, prev: far, commit, entries }));
    let entries = vec![];
    let prev = at(1, 1);
    let commit = Index(HUGE);
    assert!(dropped(&mut solo, Message::AppendEntries { term, prev, commit, entries }));
    assert!(dropped(
        &mut solo,
        Message::RequestVote { term: Term(HUGE), last: at(1, 1), transfer: false }
    ));
    assert!(dropped(&mut solo, Message::PreVote { term, last: far }));
    assert!(dropped(
        &mut solo,
        Message::Heartbeat { term, commit: Index(0), round: HUGE, all_hold: Index(0) }
    ));
    assert!(dropped(&mut solo, Message::PreVoteReply { term: Term(HUGE), granted: false }));
    assert_eq!(solo.node.status().term, Term(1), "no term was taken over");
}

#[test]
fn a_leader_drops_answers_to_what_has_not_begun() {
    let mut solo = Solo::new(3, &[], 1, None);
    let term = solo.lead();
    assert!(dropped(&mut solo, Message::HeartbeatReply { term, round: 1_000, last: Index(1) }));
    let outcome = AppendOutcome::Accepted(Index(HUGE));
    assert!(dropped(&mut solo, Message::AppendEntriesReply { term, prev: Index(1), outcome }));
}
