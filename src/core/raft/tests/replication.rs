//! Replication, conflicts, commit and flow control: the claims, one test each.

use std::time::Duration;

use bytes::Bytes;

use super::super::{AppendOutcome, Boot, Config, Input, Message, Node, Persist, Refusal};
use super::harness::{Disk, End, Group, id, membership, plain};
use crate::types::{Entry, HardState, Index, Moment, NodeId, Payload, Position, Term, Ticket};

/// A disk whose entries behind the first have the given terms.
fn disk(terms: &[u64], current: u64) -> Disk {
    let mut log = Boot::first(membership(3)).entries;
    for term in terms {
        let index = Index(log.len() as u64 + 1);
        let payload = Payload::Command(Bytes::from(format!("{term}@{index}")));
        log.push(Entry { term: Term(*term), index, payload });
    }
    let hard_state = HardState { term: Term(current), vote: None };
    Disk { hard_state, log, ..Disk::default() }
}

fn restart_with(group: &mut Group, node: u64, disk: Disk) {
    group.crash(id(node));
    group.machines.get_mut(&id(node)).unwrap().disk = disk;
    group.start(id(node));
}

/// B4.5, B4.14: whatever a follower's tail looks like (the rows of the paper's figure 7), it
/// ends up like the leader's.
#[test]
fn every_follower_of_figure_7_is_brought_level() {
    let leader = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    let rows: [&[u64]; 6] = [
        &[1, 1, 1, 4, 4, 5, 5, 6, 6],
        &[1, 1, 1, 4],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        &[1, 1, 1, 4, 4, 4, 4],
        &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ];
    for row in rows {
        let mut group = Group::new(3);
        restart_with(&mut group, 1, disk(&leader, 7));
        restart_with(&mut group, 2, disk(&leader, 7));
        restart_with(&mut group, 3, disk(row, 7));
        group.elect();
        group.level(3_000);
        let logs: Vec<_> = group.machines.values().map(|m| m.disk.log.clone()).collect();
        assert!(logs.windows(2).all(|two| two[0] == two[1]), "{row:?}");
    }
}

/// B4.5, B4.6: repair takes a round trip for each differing term, not for each entry.
#[test]
fn a_long_divergent_tail_heals_a_term_a_round_trip() {
    for length in [10usize, 100, 2_000] {
        let mut group = Group::new(3);
        let mut ours = vec![1; 5];
        ours.extend(vec![3; length]);
        let mut theirs = vec![1; 5];
        theirs.extend(vec![2; length * 2]);
        restart_with(&mut group, 1, disk(&ours, 3));
        restart_with(&mut group, 2, disk(&ours, 3));
        restart_with(&mut group, 3, disk(&theirs, 3));
        group.elect();
        let before = group.delivered;
        group.level(3_000);
        let messages = group.delivered - before;
        assert!(messages < 120, "{messages} messages for {length} entries");
    }
}

/// A follower alone, driven by hand.
fn follower(terms: &[u64], current: u64) -> Node {
    let Disk { hard_state, log, .. } = disk(terms, current);
    let boot = Boot { hard_state, entries: log, ..Boot::default() };
    Node::new(plain(id(2)), boot, Moment(1_000_000))
}

fn append(term: u64, prev: (u64, u64), commit: u64, terms: &[u64]) -> Input {
    let prev = Position { index: Index(prev.0), term: Term(prev.1) };
    let entry = |(place, term): (usize, &u64)| Entry {
        term: Term(*term),
        index: Index(prev.index.0 + 1 + place as u64),
        payload: Payload::Command(Bytes::from(format!(
            "{term}@{}",
            prev.index.0 + 1 + place as u64
        ))),
    };
    let entries = terms.iter().enumerate().map(entry).collect();
    let message = Message::AppendEntries { term: Term(term), prev, commit: Index(commit), entries };
    Input::Received { from: id(1), message }
}

fn drained(node: &mut Node) -> Persist {
    node.drain(Moment(1_001_000)).persist.expect("an answer that waits for its sync")
}

fn outcome(persist: &Persist) -> AppendOutcome {
    match persist.then.last() {
        Some((_, Message::AppendEntriesReply { outcome, .. })) => *outcome,
        other => panic!("{other:?}"),
    }
}

/// B4.2, C-5: a late, short append does not cut what came after it.
#[test]
fn entries_that_are_there_already_are_not_cut() {
    let mut node = follower(&[2, 2, 2], 2);
    node.step(Moment(1_000_000), append(2, (1, 1), 0, &[2]));
    let persist = drained(&mut node);
    assert_eq!(outcome(&persist), AppendOutcome::Accepted(Index(2)));
    assert_eq!((persist.truncate_from, persist.entries.len()), (None, 0));
    assert_eq!(node.status().last_index, Index(4));
}

/// B4.3: only a real conflict truncates, and from the conflict on.
#[test]
fn a_conflict_truncates_from_itself_on() {
    let mut node = follower(&[2, 2, 2], 3);
    node.step(Moment(1_000_000), append(3, (1, 1), 0, &[2, 3]));
    let persist = drained(&mut node);
    assert_eq!(persist.truncate_from, Some(Index(3)));
    assert_eq!(persist.entries.len(), 1);
    assert_eq!(outcome(&persist), AppendOutcome::Accepted(Index(3)));
}

/// B4.3, B1.15: a conflict at or below the commit index is a broken rule, not an event.
#[test]
#[should_panic(expected = "at or below the commit")]
fn a_conflict_below_the_commit_index_stops_the_node() {
    let mut node = follower(&[2, 2, 2], 2);
    node.step(Moment(1_000_000), append(2, (4, 2), 4, &[]));
    node.step(Moment(1_000_000), append(3, (1, 1), 0, &[3]));
}

/// B5.3: a follower commits no further than what it knows to match.
#[test]
fn a_followers_commit_is_clamped_to_what_matches() {
    let mut node = follower(&[2, 2, 2], 3);
    node.step(Moment(1_000_000), append(3, (2, 2), 4, &[]));
    assert_eq!(node.status().commit, Index(2));
}

/// B4.1, B4.4: what does not match is refused with the follower's last entry that could.
#[test]
fn a_mismatch_is_refused_with_a_hint() {
    let mut node = follower(&[2, 2, 2], 5);
    node.step(Moment(1_000_000), append(5, (9, 4), 0, &[]));
    let hint = Position { term: Term(2), index: Index(4) };
    assert_eq!(outcome(&drained(&mut node)), AppendOutcome::Rejected(hint));
}

/// B4.16: an append of an old term is refused with the newer one.
#[test]
fn an_old_leader_hears_the_newer_term() {
    let mut node = follower(&[2], 5);
    node.step(Moment(1_000_000), append(4, (1, 1), 0, &[4]));
    let persist = drained(&mut node);
    assert!(matches!(persist.then[0].1, Message::AppendEntriesReply { term: Term(5), .. }));
    assert_eq!(node.status().last_index, Index(2));
}

/// B12.3: a late answer of the disk does not speak for entries that replaced the ones it was
/// about, even of the same term and index as them.
#[test]
fn a_late_sync_does_not_vouch_for_what_replaced_its_entries() {
    let mut node = follower(&[], 2);
    node.step(Moment(1_000_000), append(2, (1, 1), 0, &[2, 2]));
    let first = drained(&mut node);
    node.step(Moment(1_000_000), append(3, (1, 1), 0, &[3]));
    let second = drained(&mut node);
    assert_eq!(second.truncate_from, Some(Index(2)));
    node.step(Moment(1_000_000), Input::Persisted { seq: first.seq });
    assert_eq!(node.status().durable_index, Index(1));
    node.step(Moment(1_000_000), Input::Persisted { seq: second.seq });
    assert_eq!(node.status().durable_index, Index(2));
}

/// B5.1: figure 8 of the paper. An entry of an older term on a majority is not committed by
/// counting, and may be overwritten.
#[test]
fn figure_8_an_older_terms_entry_is_not_committed_by_counting() {
    let mut group = Group::new(3);
    // (c): node 1 leads term 4; its entry of term 2 is on nodes 1 and 2; node 3 has one of 3.
    restart_with(&mut group, 1, disk(&[2], 3));
    restart_with(&mut group, 2, disk(&[], 3));
    restart_with(&mut group, 3, disk(&[3], 3));
    group.crash(id(3));
    // Node 1's no-op of term 4 never leaves: only the old entry is copied.
    group.until(5_000, "node 1 to lead", |group| group.leader() == Some(1));
    let old_only = |message: &Message| match message {
        Message::AppendEntries { entries, .. } => entries.iter().all(|entry| entry.term < Term(4)),
        _ => true,
    };
    for _ in 0..300 {
        for flight in &mut group.flights {
            if let Message::AppendEntries { entries, .. } = &mut flight.message
                && flight.from == id(1)
            {
                entries.retain(|entry| entry.term < Term(4));
            }
        }
        assert!(group.flights.iter().all(|flight| old_only(&flight.message)));
        group.millisecond();
    }
    let copied = group.machines[&id(2)].disk.log.iter().any(|entry| entry.term == Term(2));
    assert!(copied, "the old entry is on a majority");
    assert_eq!(group.status(1).commit, Index(0), "and not committed");
    // (d): node 1 crashes, node 3 leads and overwrites it.
    group.crash(id(1));
    group.start(id(3));
    group.until(5_000, "node 3 to lead", |group| group.leader() == Some(3));
    group.run(200);
    assert!(group.machines[&id(2)].disk.log.iter().all(|entry| entry.term != Term(2)));
    group.start(id(1));
    group.level(5_000);
}

/// B4.15: every message twice, and nothing happens twice.
#[test]
fn every_message_twice_is_harmless() {
    let mut group = Group::new(3);
    let leader = group.elect();
    for number in 0..50 {
        group.propose(leader, &format!("{number}"));
        let again = group.flights.clone();
        group.flights.extend(again);
        group.millisecond();
    }
    group.level(2_000);
    assert_eq!(group.unanswered(), 0);
}

/// B4.9: a lost append is found by the next heartbeat's answer and sent again.
#[test]
fn a_lost_append_is_sent_again() {
    let mut group = Group::new(3);
    let leader = group.elect();
    group.level(1_000);
    let ticket = group.propose(leader, "lost on its way");
    group.flights.clear();
    group.until(400, "commit", |group| matches!(group.ended.get(&ticket), Some(End::Applied(_))));
    group.level(1_000);
}

/// B4.18: a follower that answers nothing does not hold up the others.
#[test]
fn a_dead_follower_does_not_hold_up_the_others() {
    let mut group = Group::new(3);
    let leader = group.elect();
    group.crash(id(group.others(leader)[0]));
    for number in 0..200 {
        group.propose(leader, &format!("{number}"));
    }
    group.until(100, "commit", |group| group.unanswered() == 0);
}

fn narrow(node: NodeId) -> Config {
    Config { inflight_batches: 2, batch_entries: 1, uncommitted_bytes: 300, ..plain(node) }
}

/// B8.1: a full window stops appends; an answer lets the next ones out.
#[test]
fn a_full_window_stops_appends_until_an_answer() {
    let mut group = Group::with(3, narrow);
    let leader = group.elect();
    group.level(1_000);
    let follower = group.others(leader)[0];
    group.flights.clear();
    for number in 0..6 {
        group.propose(leader, &number.to_string());
    }
    let sent = |group: &Group| {
        let to = |flight: &&super::harness::Flight| flight.to == id(follower);
        let append = |flight: &&super::harness::Flight| {
            matches!(flight.message, Message::AppendEntries { .. })
        };
        group.flights.iter().filter(to).filter(append).count()
    };
    assert_eq!(sent(&group), 2);
    group.until(200, "all committed", |group| group.unanswered() == 0);
}

/// B8.2, B8.3: what is not committed is bounded in bytes; beyond it proposals are refused at
/// once, before anything is appended.
#[test]
fn too_much_uncommitted_is_refused_before_anything_is_appended() {
    let mut group = Group::with(3, narrow);
    let leader = group.elect();
    group.level(1_000);
    group.part(&[leader], &group.others(leader));
    let last = group.status(leader).last_index;
    let tickets: Vec<Ticket> =
        (0..20).map(|n| group.propose(leader, &format!("{n:030}"))).collect();
    let refused: Vec<_> = tickets
        .iter()
        .filter(|t| group.ended.get(t) == Some(&End::Refused(Refusal::Overloaded)))
        .collect();
    let taken = group.status(leader).last_index.0 - last.0;
    assert!(refused.len() >= 10 && refused.len() as u64 + taken == 20, "{} refused", refused.len());
    // What is committed no longer counts.
    group.heal();
    group.until(3_000, "answers", |group| group.unanswered() == 0);
    let leader = group.elect();
    let ticket = group.propose(leader, "after");
    group.until(500, "commit", |group| matches!(group.ended.get(&ticket), Some(End::Applied(_))));
}

/// B8.2: the commit of an earlier term's tail frees nothing of this leader's own count.
#[test]
fn the_tail_of_earlier_terms_does_not_loosen_the_bound() {
    let mut group = Group::with(3, narrow);
    let tail = vec![1; 50];
    for node in 1..=3 {
        restart_with(&mut group, node, disk(&tail, 1));
    }
    group.until(5_000, "leader", |group| group.leader().is_some());
    let leader = group.leader().unwrap();
    // Its own entries are held back, the tail and the no-op are committed.
    for number in 0..5 {
        group.propose(leader, &format!("{number:030}"));
    }
    group.level(2_000);
    group.part(&[leader], &group.others(leader));
    let last = group.status(leader).last_index;
    for number in 0..20 {
        group.propose(leader, &format!("{number:030}"));
    }
    assert_eq!(group.status(leader).last_index.0 - last.0, 4, "300 bytes, 62 for each");
}

/// B9.1: who does not lead says who does, at once.
#[test]
fn a_follower_refuses_and_names_the_leader() {
    let mut group = Group::new(3);
    let leader = group.elect();
    group.run(50);
    let follower = group.others(leader)[0];
    let (write, read) = (group.propose(follower, "x"), group.read(follower));
    let refused = End::Refused(Refusal::NotLeader(id(leader)));
    assert_eq!((group.ended[&write], group.ended[&read]), (refused, refused));
    assert_eq!(Duration::from_millis(100), plain(id(1)).heartbeat);
}
