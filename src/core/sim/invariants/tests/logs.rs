//! Logs, disks and members: I2, I4, I5, I6, I7, I16, I17, I20.

use super::*;
use quorate_core::raft::{Follower, ProgressState};

#[test]
fn i2_equal_logs_are_fine() {
    let mut feed = Feed::of("I2");
    feed.stage(1, &entries(vec![noop(2, 2), noop(3, 2)])).unwrap();
    feed.stage(2, &entries(vec![noop(2, 2)])).unwrap();
    feed.stage(2, &entries(vec![noop(3, 2)])).unwrap();
}

#[test]
fn i2_another_payload_at_one_place_and_term_is_noticed() {
    let mut feed = Feed::of("I2");
    feed.stage(1, &entries(vec![noop(2, 2)])).unwrap();
    feed.stage(2, &entries(vec![write(2, 2, &put(1, 1, "x"))])).unwrap_err();
}

#[test]
fn i2_another_term_before_an_equal_entry_is_noticed() {
    let mut feed = Feed::of("I2");
    feed.stage(1, &entries(vec![noop(2, 2), noop(3, 3)])).unwrap();
    feed.stage(2, &entries(vec![noop(2, 3), noop(3, 3)])).unwrap_err();
}

#[test]
fn i4_equal_commits_are_fine() {
    let mut feed = Feed::of("I4");
    for node in [1, 2] {
        feed.write(node, &entries(vec![noop(2, 2)])).unwrap();
        feed.drain(&leader(node, 2, 2, 2)).unwrap();
        feed.apply(node, &first()[0], None, None, 0).unwrap();
        feed.apply(node, &noop(2, 2), None, None, 0).unwrap();
    }
}

#[test]
fn i4_another_entry_under_a_commit_is_noticed() {
    let mut feed = Feed::of("I4");
    feed.write(1, &entries(vec![noop(2, 2)])).unwrap();
    feed.drain(&leader(1, 2, 2, 2)).unwrap();
    feed.write(2, &entries(vec![noop(2, 3)])).unwrap();
    feed.drain(&follower(2, 3, 2, 2)).unwrap_err();
}

#[test]
fn i4_an_apply_of_what_is_not_committed_is_noticed() {
    let mut feed = Feed::of("I4");
    feed.drain(&leader(1, 2, 1, 1)).unwrap();
    feed.apply(1, &first()[0], None, None, 0).unwrap();
    feed.apply(1, &noop(2, 2), None, None, 0).unwrap_err();
}

#[test]
fn i5_two_disks_of_three_are_enough() {
    let mut feed = Feed::of("I5");
    feed.write(1, &entries(vec![noop(2, 2)])).unwrap();
    feed.write(2, &entries(vec![noop(2, 2)])).unwrap();
    // A crashed node's disk counts.
    feed.stop(2).unwrap();
    feed.drain(&leader(1, 2, 2, 2)).unwrap();
}

#[test]
fn i5_one_disk_is_not_enough_nor_is_what_waits_for_its_sync() {
    let mut feed = Feed::of("I5");
    feed.write(1, &entries(vec![noop(2, 2)])).unwrap();
    feed.stage(2, &entries(vec![noop(2, 2)])).unwrap();
    feed.drain(&leader(1, 2, 2, 2)).unwrap_err();
}

#[test]
fn i5_a_commit_of_an_earlier_term_by_counting_is_noticed() {
    let mut feed = Feed::of("I5");
    for node in [1, 2] {
        feed.write(node, &entries(vec![noop(2, 2)])).unwrap();
    }
    feed.drain(&leader(1, 3, 2, 2)).unwrap_err();
}

#[test]
fn i6_going_on_is_fine() {
    let mut feed = Feed::of("I6");
    feed.stage(1, &term(2, None)).unwrap();
    feed.stage(1, &term(2, Some(3))).unwrap();
    feed.drain(&follower(1, 2, 1, 1)).unwrap();
    feed.stage(1, &term(3, None)).unwrap();
}

#[test]
fn i6_a_term_a_vote_and_a_commit_that_go_back_are_noticed() {
    let mut feed = Feed::of("I6");
    feed.stage(1, &term(3, None)).unwrap();
    feed.stage(1, &term(2, None)).unwrap_err();
    let mut feed = Feed::of("I6");
    feed.stage(1, &term(3, Some(1))).unwrap();
    feed.stage(1, &term(3, Some(2))).unwrap_err();
    let mut feed = Feed::of("I6");
    feed.drain(&follower(1, 1, 1, 1)).unwrap();
    feed.drain(&follower(1, 1, 0, 1)).unwrap_err();
}

#[test]
fn i6_a_restart_that_forgets_its_vote_is_noticed() {
    let mut feed = Feed::of("I6");
    feed.write(1, &term(3, Some(1))).unwrap();
    feed.stop(1).unwrap();
    feed.start(1, 3, None, &first()).unwrap_err();
}

#[test]
fn i7_indexes_in_order_are_fine() {
    let mut feed = Feed::of("I7");
    feed.stage(1, &entries(vec![noop(2, 2)])).unwrap();
    feed.drain(&status(1, RoleKind::Leader, 2, [0, 1, 1, 2])).unwrap();
}

#[test]
fn i7_indexes_out_of_order_are_noticed() {
    for indexes in [[0, 2, 1, 1], [1, 0, 1, 1], [0, 1, 2, 1], [0, 1, 1, 2], [1, 1, 1, 1]] {
        let mut feed = Feed::of("I7");
        feed.drain(&status(1, RoleKind::Leader, 2, indexes)).unwrap_err();
    }
}

#[test]
fn i7_calling_durable_what_is_not_is_noticed() {
    let mut feed = Feed::of("I7");
    feed.stage(1, &entries(vec![noop(2, 2)])).unwrap();
    feed.drain(&status(1, RoleKind::Leader, 2, [0, 1, 2, 2])).unwrap_err();
}

#[test]
fn i16_the_logs_members_rule() {
    let mut feed = Feed::of("I16");
    feed.drain(&follower(1, 1, 1, 1)).unwrap();
    let mut other = follower(1, 1, 1, 1);
    other.membership.members.pop();
    feed.drain(&other).unwrap_err();
}

#[test]
fn i16_members_that_were_cut_from_the_log_do_not() {
    let mut feed = Feed::of("I16");
    let removal = quorate_core::types::Change::Remove(NodeId(3));
    let fewer = members().changed(&[removal], Index(2)).unwrap();
    let payload = Payload::Membership(fewer.clone());
    let entry = Entry { term: Term(2), index: Index(2), payload };
    feed.stage(1, &entries(vec![entry])).unwrap();
    let with = |membership| Status { membership, ..follower(1, 2, 1, 1) };
    feed.drain(&with(fewer.clone())).unwrap();
    let cut = Persist { seq: 2, truncate_from: Some(Index(2)), ..Persist::default() };
    feed.stage(1, &cut).unwrap();
    feed.drain(&with(members())).unwrap();
    feed.drain(&with(fewer)).unwrap_err();
}

/// Node 1 has synced an entry, and was writing a vote and two more when it ended.
fn half_written() -> Feed {
    let mut feed = Feed::of("I17");
    feed.write(1, &entries(vec![noop(2, 2)])).unwrap();
    let more = vec![noop(3, 2), noop(4, 2)];
    let more = Persist { hard_state: Some(hard(2, Some(1))), ..entries(more) };
    feed.stage(1, &more).unwrap();
    feed.stop(1).unwrap();
    feed
}

fn log(last: u64) -> Vec<Entry> {
    first().into_iter().chain((2..=last).map(|index| noop(index, 2))).collect()
}

#[test]
fn i17_what_was_synced_and_any_beginning_of_the_rest_is_fine() {
    half_written().start(1, 1, None, &log(2)).unwrap();
    half_written().start(1, 2, Some(1), &log(2)).unwrap();
    half_written().start(1, 2, Some(1), &log(3)).unwrap();
    half_written().start(1, 2, Some(1), &log(4)).unwrap();
}

#[test]
fn i17_less_than_was_synced_is_noticed() {
    half_written().start(1, 1, None, &log(1)).unwrap_err();
}

#[test]
fn i17_an_entry_without_the_vote_before_it_or_out_of_nowhere_is_noticed() {
    half_written().start(1, 1, None, &log(3)).unwrap_err();
    half_written().start(1, 2, Some(1), &log(5)).unwrap_err();
}

/// A leader that takes node 2 to match up to there.
fn believes(matches: u64) -> Status {
    let follower = Follower {
        id: NodeId(2),
        match_index: Index(matches),
        next_index: Index(matches + 1),
        state: ProgressState::Replicate,
        connected: true,
        last_contact: Moment(0),
    };
    Status { followers: vec![follower], ..leader(1, 2, 1, 2) }
}

#[test]
fn i20_a_belief_that_is_so_is_fine() {
    let mut feed = Feed::of("I20");
    feed.write(1, &entries(vec![noop(2, 2)])).unwrap();
    feed.write(2, &entries(vec![noop(2, 2)])).unwrap();
    feed.drain(&believes(2)).unwrap();
}

#[test]
fn i20_a_belief_in_what_is_not_there_or_is_another_entry_is_noticed() {
    let mut feed = Feed::of("I20");
    feed.write(1, &entries(vec![noop(2, 2)])).unwrap();
    feed.stage(2, &entries(vec![noop(2, 2)])).unwrap();
    feed.drain(&believes(2)).unwrap_err();
    let mut feed = Feed::of("I20");
    feed.write(1, &entries(vec![noop(2, 2)])).unwrap();
    feed.write(2, &entries(vec![noop(2, 1)])).unwrap();
    feed.drain(&believes(2)).unwrap_err();
}

#[test]
fn i20_a_follower_that_has_gone_on_to_a_later_term_proves_nothing() {
    let mut feed = Feed::of("I20");
    feed.write(1, &entries(vec![noop(2, 2)])).unwrap();
    feed.write(2, &term(3, None)).unwrap();
    feed.drain(&believes(2)).unwrap();
}
