//! What a voter promises where reads are answered under leases (6.9).

use super::members::member;
use super::solo::{Solo, at};
use crate::raft::{Boot, Config, Message, Node};
use crate::types::{Membership, Moment, NodeId, Term};

/// Whether node 1 gives its vote to node 3 for a term.
fn grants(solo: &mut Solo, term: u64, transfer: bool) -> bool {
    let request = Message::RequestVote { term: Term(term), last: at(9, 1), transfer };
    let effects = solo.hear(3, request);
    let then = effects.persist.into_iter().flat_map(|persist| persist.then);
    let mut replies = effects.messages.into_iter().chain(then);
    replies.any(|(_, m)| matches!(m, Message::RequestVoteReply { granted: true, .. }))
}

/// Node 1 of three, just started.
fn started() -> Solo {
    let config = Config { lease_reads: true, ..Config::new(NodeId(1), 7) };
    let boot = Boot::first(Membership::of((1..=3).map(member).collect()));
    let now = 2_000;
    Solo { node: Node::new(config, boot, Moment(now * 1_000)), now, seq: 0 }
}

#[test]
fn a_voter_that_starts_again_keeps_the_promise_it_may_have_given_before() {
    let mut solo = started();
    solo.now = 2_499;
    assert!(!grants(&mut solo, 2, false));
    solo.now = 2_500;
    assert!(grants(&mut solo, 2, false));
}

#[test]
fn who_is_asked_to_take_over_is_elected_all_the_same() {
    let mut solo = started();
    assert!(grants(&mut solo, 2, true), "the leader has given its lease up");
}
