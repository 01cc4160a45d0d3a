//! Elections, promises and reads: I1, I3, I8, I9, I13, I18, I19.

use super::*;
use quorate_core::raft::AppendOutcome;

fn granted(term: u64) -> Message {
    Message::RequestVoteReply { term: Term(term), granted: true }
}

fn request(term: u64) -> Message {
    Message::RequestVote { term: Term(term), last: at(1, 1), transfer: false }
}

fn beat(term: u64, round: u64) -> Message {
    Message::Heartbeat { term: Term(term), commit: Index(0), round, all_hold: Index(0) }
}

fn answer(term: u64, round: u64) -> Message {
    Message::HeartbeatReply { term: Term(term), round, last: Index(1) }
}

#[test]
fn i1_leaders_of_different_terms_are_fine() {
    let mut feed = Feed::of("I1");
    feed.drain(&leader(1, 2, 0, 1)).unwrap();
    feed.drain(&leader(2, 3, 0, 1)).unwrap();
    feed.drain(&leader(1, 2, 0, 1)).unwrap();
}

#[test]
fn i1_two_leaders_of_one_term_are_noticed() {
    let mut feed = Feed::of("I1");
    feed.drain(&leader(1, 2, 0, 1)).unwrap();
    feed.drain(&leader(2, 2, 0, 1)).unwrap_err();
}

#[test]
fn i1_also_when_the_first_has_crashed() {
    let mut feed = Feed::of("I1");
    feed.drain(&leader(1, 2, 0, 1)).unwrap();
    feed.stop(1).unwrap();
    feed.drain(&leader(3, 2, 0, 1)).unwrap_err();
}

/// Node 1 has committed an entry of term 2.
fn committed() -> Feed {
    let mut feed = Feed::of("I3");
    feed.write(1, &entries(vec![noop(2, 2)])).unwrap();
    feed.write(2, &entries(vec![noop(2, 2)])).unwrap();
    feed.drain(&leader(1, 2, 2, 2)).unwrap();
    feed
}

#[test]
fn i3_a_new_leader_with_everything_is_fine() {
    committed().drain(&leader(2, 3, 1, 2)).unwrap();
}

#[test]
fn i3_a_new_leader_without_a_committed_entry_is_noticed() {
    committed().drain(&leader(3, 3, 1, 1)).unwrap_err();
}

#[test]
fn i3_a_new_leader_with_another_entry_there_is_noticed() {
    let mut feed = committed();
    feed.write(3, &entries(vec![noop(2, 1)])).unwrap();
    feed.drain(&leader(3, 3, 1, 2)).unwrap_err();
}

#[test]
fn i3_a_leader_of_an_older_term_that_wakes_late_is_fine() {
    let mut feed = Feed::of("I3");
    feed.write(1, &entries(vec![noop(2, 5)])).unwrap();
    feed.write(2, &entries(vec![noop(2, 5)])).unwrap();
    feed.drain(&leader(1, 5, 2, 2)).unwrap();
    feed.drain(&leader(3, 4, 1, 1)).unwrap();
}

#[test]
fn i8_what_is_on_disk_may_be_promised() {
    let mut feed = Feed::of("I8");
    feed.write(1, &term(2, Some(1))).unwrap();
    feed.send(1, 2, &request(2)).unwrap();
    feed.write(2, &term(2, Some(1))).unwrap();
    feed.send(2, 1, &granted(2)).unwrap();
    feed.write(2, &entries(vec![noop(2, 2)])).unwrap();
    let outcome = AppendOutcome::Accepted(Index(2));
    let reply = Message::AppendEntriesReply { term: Term(2), prev: Index(1), outcome };
    feed.send(2, 1, &reply).unwrap();
}

#[test]
fn i8_a_question_for_a_pre_vote_promises_nothing() {
    let mut feed = Feed::of("I8");
    feed.send(1, 2, &Message::PreVote { term: Term(9), last: at(1, 1) }).unwrap();
    feed.send(2, 1, &Message::PreVoteReply { term: Term(9), granted: true }).unwrap();
}

#[test]
fn i8_a_vote_that_is_not_on_disk_is_noticed() {
    let mut feed = Feed::of("I8");
    feed.stage(2, &term(2, Some(1))).unwrap();
    feed.send(2, 1, &granted(2)).unwrap_err();
    let mut feed = Feed::of("I8");
    feed.write(2, &term(2, Some(3))).unwrap();
    feed.send(2, 1, &granted(2)).unwrap_err();
    let mut feed = Feed::of("I8");
    feed.write(1, &term(2, None)).unwrap();
    feed.send(1, 2, &request(2)).unwrap_err();
}

#[test]
fn i8_an_entry_that_is_not_on_disk_is_noticed() {
    let mut feed = Feed::of("I8");
    feed.write(2, &term(2, None)).unwrap();
    feed.stage(2, &entries(vec![noop(2, 2)])).unwrap();
    let outcome = AppendOutcome::Accepted(Index(2));
    let reply = Message::AppendEntriesReply { term: Term(2), prev: Index(1), outcome };
    feed.send(2, 1, &reply).unwrap_err();
}

#[test]
fn i8_a_term_that_is_not_on_disk_is_noticed() {
    Feed::of("I8").send(2, 1, &answer(2, 1)).unwrap_err();
}

#[test]
fn i9_the_same_vote_twice_is_fine() {
    let mut feed = Feed::of("I9");
    feed.send(2, 1, &granted(2)).unwrap();
    feed.send(2, 1, &granted(2)).unwrap();
    feed.send(2, 3, &granted(3)).unwrap();
}

#[test]
fn i9_a_second_vote_is_noticed() {
    let mut feed = Feed::of("I9");
    feed.send(2, 1, &granted(2)).unwrap();
    feed.send(2, 3, &granted(2)).unwrap_err();
}

#[test]
fn i9_a_candidate_that_votes_for_another_is_noticed_over_restarts() {
    let mut feed = Feed::of("I9");
    feed.send(2, 1, &request(2)).unwrap();
    feed.stop(2).unwrap();
    feed.start(2, 1, None, &first()).unwrap();
    feed.send(2, 3, &granted(2)).unwrap_err();
}

#[test]
fn i13_a_read_at_what_was_committed_is_fine() {
    let mut feed = Feed::of("I13");
    feed.drain(&leader(1, 2, 1, 1)).unwrap();
    feed.ask(1, 7, None).unwrap();
    feed.release(1, 7, 1).unwrap();
}

#[test]
fn i13_a_stale_read_is_noticed() {
    let mut feed = Feed::of("I13");
    feed.write(1, &entries(vec![noop(2, 2)])).unwrap();
    feed.drain(&leader(1, 2, 2, 2)).unwrap();
    feed.ask(1, 7, None).unwrap();
    feed.release(1, 7, 1).unwrap_err();
}

#[test]
fn i13_a_read_of_a_follower_and_one_that_nobody_asked_for_are_noticed() {
    let mut feed = Feed::of("I13");
    feed.drain(&follower(1, 2, 1, 1)).unwrap();
    feed.ask(1, 7, None).unwrap();
    feed.release(1, 7, 1).unwrap_err();
    feed.drain(&leader(1, 2, 1, 1)).unwrap();
    feed.release(1, 8, 1).unwrap_err();
}

#[test]
fn i18_two_of_three_votes_elect() {
    let mut feed = Feed::of("I18");
    feed.send(2, 1, &granted(2)).unwrap();
    feed.drain(&leader(1, 2, 0, 1)).unwrap();
}

#[test]
fn i18_a_leader_without_votes_of_its_term_is_noticed() {
    let mut feed = Feed::of("I18");
    feed.send(2, 1, &granted(2)).unwrap();
    feed.drain(&leader(1, 3, 0, 1)).unwrap_err();
    let mut feed = Feed::of("I18");
    feed.send(2, 1, &Message::PreVoteReply { term: Term(2), granted: true }).unwrap();
    feed.drain(&leader(1, 2, 0, 1)).unwrap_err();
}

/// Node 1 leads in term 2 and has committed its no-op.
fn leading() -> Feed {
    let mut feed = Feed::of("I19");
    feed.write(1, &entries(vec![noop(2, 2)])).unwrap();
    feed.drain(&leader(1, 2, 2, 2)).unwrap();
    feed
}

#[test]
fn i19_a_round_that_began_after_the_read_confirms_it() {
    let mut feed = leading();
    feed.ask(1, 7, None).unwrap();
    feed.send(1, 2, &beat(2, 5)).unwrap();
    feed.send(2, 1, &answer(2, 5)).unwrap();
    feed.release(1, 7, 2).unwrap();
}

#[test]
fn i19_a_round_that_began_before_the_read_does_not() {
    let mut feed = leading();
    feed.send(1, 2, &beat(2, 5)).unwrap();
    feed.ask(1, 7, None).unwrap();
    feed.send(2, 1, &answer(2, 5)).unwrap();
    feed.release(1, 7, 2).unwrap_err();
}

#[test]
fn i19_a_round_of_another_term_or_one_that_nobody_answered_does_not() {
    let mut feed = leading();
    feed.ask(1, 7, None).unwrap();
    feed.send(1, 2, &beat(2, 5)).unwrap();
    feed.send(2, 1, &answer(1, 5)).unwrap();
    feed.release(1, 7, 2).unwrap_err();
}

#[test]
fn i19_a_read_before_the_terms_first_commit_is_noticed() {
    let mut feed = leading();
    feed.ask(1, 7, None).unwrap();
    feed.send(1, 2, &beat(2, 5)).unwrap();
    feed.send(2, 1, &answer(2, 5)).unwrap();
    feed.release(1, 7, 1).unwrap_err();
}
