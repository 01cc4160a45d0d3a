//! Replicas, sessions and clients: I10, I11, I12, I14, I21.

use super::*;
use quorate_core::client::Outcome;
use quorate_core::raft::Refusal;
use quorate_core::wire::client::{ErrorCode, Failure, Op, Put, Success};

/// A put's answer.
fn answered(index: u64, revision: u64) -> OpResult {
    Ok(Success::Put { revision, index, previous: None })
}

fn opened() -> Bytes {
    Command::OpenSession { ttl_ms: 1_000, window: 8, max_sessions: 9 }.encode()
}

fn asks() -> Op {
    let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(b"x"));
    Op::Put(Put { key, value, lease: 0, return_previous: false })
}

/// A node that has applied the members and a session's opening, at index 2.
fn with_session(claim: &str) -> Feed {
    let mut feed = Feed::of(claim);
    let open = write(2, 1, &opened());
    feed.apply(1, &first()[0], None, None, 1).unwrap();
    feed.apply(1, &open, None, Some(&Ok(Success::Empty)), 2).unwrap();
    feed
}

/// A client calls, and sends its write in the session.
fn posted(claim: &str) -> Feed {
    let mut feed = with_session(claim);
    feed.tell(&Fact::Invoked { client: 1, call: 5, op: &asks() }).unwrap();
    let post = Fact::Posted { client: 1, call: 5, session: 2, id: 1, acked: 0, message: 1 };
    feed.tell(&post).unwrap();
    feed
}

fn completed(feed: &mut Feed, outcome: &Outcome) -> Result<(), String> {
    feed.tell(&Fact::Completed { client: 1, call: 5, outcome })
}

fn denied() -> Outcome {
    Outcome::NotExecuted(Failure::new(ErrorCode::NoLeader, "no"))
}

#[test]
fn i10_equal_hashes_are_fine_and_a_different_one_is_noticed() {
    let mut feed = with_session("I10");
    feed.apply(2, &first()[0], None, None, 1).unwrap();
    feed.apply(2, &write(2, 1, &opened()), None, Some(&Ok(Success::Empty)), 3).unwrap_err();
}

#[test]
fn i10_a_restarted_node_must_come_to_the_same_state() {
    let mut feed = with_session("I10");
    feed.start(1, 1, None, &first()).unwrap();
    feed.apply(1, &first()[0], None, None, 9).unwrap_err();
}

#[test]
fn i11_a_write_and_its_repetition_give_the_first_answer() {
    let mut feed = with_session("I11");
    let put = put(2, 1, "x");
    feed.apply(1, &write(3, 1, &put), None, Some(&answered(3, 2)), 3).unwrap();
    feed.apply(1, &write(4, 1, &put), None, Some(&answered(3, 2)), 4).unwrap();
}

#[test]
fn i11_a_second_execution_is_noticed() {
    let mut feed = with_session("I11");
    let put = put(2, 1, "x");
    feed.apply(1, &write(3, 1, &put), None, Some(&answered(3, 2)), 3).unwrap();
    feed.apply(1, &write(4, 1, &put), None, Some(&answered(4, 3)), 4).unwrap_err();
}

#[test]
fn i11_a_wrong_answer_and_a_missing_one_are_noticed() {
    let entry = write(3, 1, &put(2, 1, "x"));
    with_session("I11").apply(1, &entry, None, Some(&answered(3, 7)), 3).unwrap_err();
    with_session("I11").apply(1, &entry, None, None, 3).unwrap_err();
    // The session does not exist.
    let entry = write(3, 1, &put(9, 1, "x"));
    with_session("I11").apply(1, &entry, None, Some(&answered(3, 2)), 3).unwrap_err();
}

#[test]
fn i12_the_truth_is_fine() {
    let mut feed = posted("I12");
    feed.apply(1, &write(3, 1, &put(2, 1, "x")), None, Some(&answered(3, 2)), 3).unwrap();
    completed(&mut feed, &Outcome::Done(answered(3, 2).unwrap())).unwrap();
}

#[test]
fn i12_an_answer_to_what_was_not_executed_is_noticed() {
    let done = Outcome::Done(answered(3, 2).unwrap());
    completed(&mut posted("I12"), &done).unwrap_err();
}

#[test]
fn i12_a_denied_write_that_was_or_will_be_executed_is_noticed() {
    let entry = write(3, 1, &put(2, 1, "x"));
    let mut feed = posted("I12");
    feed.apply(1, &entry, None, Some(&answered(3, 2)), 3).unwrap();
    completed(&mut feed, &denied()).unwrap_err();
    let mut feed = posted("I12");
    completed(&mut feed, &denied()).unwrap();
    feed.apply(1, &entry, None, Some(&answered(3, 2)), 3).unwrap_err();
}

#[test]
fn i12_a_call_that_ends_twice_or_that_nobody_made_is_noticed() {
    let mut feed = posted("I12");
    completed(&mut feed, &denied()).unwrap();
    completed(&mut feed, &denied()).unwrap_err();
    completed(&mut Feed::of("I12"), &denied()).unwrap_err();
}

#[test]
fn i14_an_answer_of_ones_own_is_fine() {
    let (mut feed, command) = (Feed::of("I14"), put(2, 1, "x"));
    feed.ask(1, 7, Some(&command)).unwrap();
    feed.stage(1, &entries(vec![write(2, 1, &command)])).unwrap();
    feed.apply(1, &write(2, 1, &command), Some(7), None, 0).unwrap();
    assert!(feed.claim.at_end(&feed.known, &[NodeId(1)]).is_ok());
}

#[test]
fn i14_anothers_answer_and_a_second_one_are_noticed() {
    let (mut feed, command) = (Feed::of("I14"), put(2, 1, "x"));
    feed.ask(1, 7, Some(&command)).unwrap();
    feed.apply(1, &write(2, 1, &put(2, 2, "y")), Some(7), None, 0).unwrap_err();
    feed.apply(1, &write(2, 1, &command), Some(7), None, 0).unwrap_err();
}

#[test]
fn i14_who_waits_for_ever_is_noticed_unless_his_node_ended() {
    let mut feed = Feed::of("I14");
    feed.ask(1, 7, None).unwrap();
    assert!(feed.claim.at_end(&feed.known, &[NodeId(1)]).is_err());
    feed.stop(1).unwrap();
    assert!(feed.claim.at_end(&feed.known, &[NodeId(1)]).is_ok());
}

#[test]
fn i14_what_was_refused_for_certain_is_in_no_log() {
    let (mut feed, command) = (Feed::of("I14"), put(2, 1, "x"));
    feed.ask(1, 7, Some(&command)).unwrap();
    let why = Refusal::NoLeader;
    feed.tell(&Fact::Refused { node: NodeId(1), ticket: Ticket(7), why }).unwrap();
    feed.stage(1, &entries(vec![write(2, 1, &command)])).unwrap_err();
}

#[test]
fn i21_rising_ids_and_what_has_ended_are_fine() {
    let mut feed = posted("I21");
    completed(&mut feed, &denied()).unwrap();
    let next = Fact::Posted { client: 1, call: 6, session: 2, id: 2, acked: 1, message: 2 };
    feed.tell(&next).unwrap();
}

#[test]
fn i21_an_acknowledgement_of_what_is_open_and_falling_ids_are_noticed() {
    let early = Fact::Posted { client: 1, call: 6, session: 2, id: 2, acked: 1, message: 2 };
    posted("I21").tell(&early).unwrap_err();
    let falls = Fact::Posted { client: 1, call: 6, session: 2, id: 1, acked: 0, message: 1 };
    posted("I21").tell(&falls).unwrap_err();
}
