//! What a node keeps of its log in memory: the tail, what is not applied, and what a member lacks.

use std::time::Duration;

use bytes::Bytes;

use super::harness::foreign;
use super::members::{accept, all_accept, settled_leader};
use super::solo::{Solo, at};
use crate::raft::{AppendOutcome, Effects, Input, Message};
use crate::types::{Index, NodeId, Term, Ticket};

const TAIL: u64 = 10;

/// Node 1, leading 3, with so small a tail.
fn leader() -> Solo {
    let mut solo = settled_leader(3);
    solo.node.config.trailing_entries = TAIL;
    solo
}

/// Appends so many and makes them durable here.
fn write(solo: &mut Solo, count: u64) {
    let proposals = (0..count).map(|ticket| (Ticket(ticket), Bytes::from_static(b"command")));
    solo.feed([Input::Propose(proposals.collect())]);
    solo.sync();
}

/// Everything committed is applied.
fn apply(solo: &mut Solo) -> Effects {
    let index = solo.node.status().commit;
    solo.feed([Input::Applied { index }])
}

/// The first entry in memory.
fn first_in_memory(solo: &Solo) -> u64 {
    solo.node.log.base().index.0 + 1
}

#[test]
fn what_everyone_has_is_kept_on_disk_only_but_for_a_tail() {
    let mut solo = leader();
    write(&mut solo, 100);
    apply(&mut solo);
    assert_eq!(first_in_memory(&solo), 3, "nobody has acknowledged what is new");
    all_accept(&mut solo, 3);
    apply(&mut solo);
    let status = solo.node.status();
    assert_eq!(first_in_memory(&solo), status.last_index.0 - TAIL + 1);
    assert_eq!(status.first_index, Index(1), "no checkpoint holds it");
    assert!(status.log_bytes < 100 * 40, "{} bytes in memory", status.log_bytes);
    // A checkpoint lets the disk go as far as memory went.
    solo.feed([Input::Checkpoint]);
    let position = at(status.applied.0, status.term.0);
    let effects = solo.feed([Input::Captured { position, rest: Duration::ZERO }]);
    assert_eq!(effects.trim, Some(Index(status.last_index.0 - TAIL)));
    assert_eq!(solo.node.status().first_index.0, first_in_memory(&solo));
}

#[test]
fn what_is_not_applied_is_kept() {
    let mut solo = leader();
    write(&mut solo, 100);
    all_accept(&mut solo, 3);
    let commit = solo.node.status().commit;
    solo.feed([Input::Applied { index: Index(20) }]);
    assert_eq!((first_in_memory(&solo), commit), (21, Index(102)));
}

#[test]
fn what_a_follower_lacks_is_kept_until_it_has_it() {
    let mut solo = leader();
    write(&mut solo, 10);
    all_accept(&mut solo, 3);
    apply(&mut solo);
    let lacks = solo.node.status().last_index.next();
    solo.feed([Input::Disconnected { peer: NodeId(3) }]);
    write(&mut solo, 100);
    accept(&mut solo, 2);
    apply(&mut solo);
    assert!(first_in_memory(&solo) <= lacks.0, "node 3 may come back");
    let effects = solo.feed([Input::Connected { peer: NodeId(3) }]);
    let sent = effects.messages.iter().find_map(|(to, message)| match message {
        Message::AppendEntries { prev, entries, .. } if *to == NodeId(3) => {
            Some((prev.index.0 + 1, entries.len()))
        }
        _ => None,
    });
    assert_eq!(sent, Some((lacks.0, 100)), "what it lacks, and no snapshot");
    accept(&mut solo, 3);
    apply(&mut solo);
    assert_eq!(first_in_memory(&solo), solo.node.status().last_index.0 - TAIL + 1);
}

#[test]
fn what_follows_a_snapshot_on_its_way_is_kept() {
    let mut solo = leader();
    write(&mut solo, 50);
    solo.hear(3, Message::WantSnapshot { term: Term(2) });
    accept(&mut solo, 2);
    accept(&mut solo, 3);
    apply(&mut solo);
    let held = solo.node.status().applied;
    solo.feed([Input::SnapshotStarted { peer: NodeId(3), index: held }]);
    write(&mut solo, 100);
    all_accept(&mut solo, 3);
    apply(&mut solo);
    assert_eq!(first_in_memory(&solo), held.0 + 1);
    solo.feed([Input::SnapshotSent { peer: NodeId(3), index: held }]);
    apply(&mut solo);
    assert_eq!(first_in_memory(&solo), solo.node.status().last_index.0 - TAIL + 1);
}

#[test]
fn a_follower_keeps_what_another_lacks_for_it_may_lead_next() {
    let mut solo = Solo::new(3, &[], 1, None);
    solo.node.config.trailing_entries = TAIL;
    let entries = (2..=101).map(|index| foreign(index, 1)).collect();
    let (term, prev, commit) = (Term(1), at(1, 1), Index(101));
    solo.hear(2, Message::AppendEntries { term, prev, commit, entries });
    solo.sync();
    apply(&mut solo);
    assert_eq!(first_in_memory(&solo), 1, "it was not told what the others hold");
    for (all_hold, first) in [(50, 51), (101, 92), (0, 92)] {
        let all_hold = Index(all_hold);
        solo.hear(2, Message::Heartbeat { term, commit, round: 1, all_hold });
        apply(&mut solo);
        assert_eq!(first_in_memory(&solo), first, "all hold {all_hold}");
    }
}

#[test]
fn a_leader_says_what_all_hold() {
    let mut solo = leader();
    let said = |effects: &Effects| match effects.messages.first() {
        Some((_, Message::Heartbeat { all_hold, .. })) => *all_hold,
        other => panic!("no heartbeat: {other:?}"),
    };
    write(&mut solo, 10);
    accept(&mut solo, 2);
    assert_eq!(said(&solo.wait(100)), Index(2), "node 3 lacks them");
    accept(&mut solo, 3);
    assert_eq!(said(&solo.wait(100)), Index(12));
}

#[test]
fn few_large_entries_are_kept() {
    let mut solo = leader();
    solo.node.config.snapshot_bytes = 200;
    write(&mut solo, 100);
    all_accept(&mut solo, 3);
    apply(&mut solo);
    let status = solo.node.status();
    assert!(first_in_memory(&solo) > status.last_index.0 - TAIL + 1, "fewer than the tail");
    assert!((100..=200).contains(&status.log_bytes), "{} bytes", status.log_bytes);
}

#[test]
fn what_a_follower_lacks_is_kept_only_as_far_as_there_is_room() {
    let mut solo = leader();
    solo.node.config.snapshot_bytes = 1_000;
    solo.node.config.snapshot_entries = u64::MAX;
    solo.feed([Input::Disconnected { peer: NodeId(3) }]);
    for _ in 0..10 {
        write(&mut solo, 20);
        accept(&mut solo, 2);
        apply(&mut solo);
        let status = solo.node.status();
        assert!(status.log_bytes <= 2_000, "{} bytes in memory", status.log_bytes);
    }
    assert_eq!(solo.node.status().first_index, Index(1), "no checkpoint was stored");
    assert!(first_in_memory(&solo) > 100);
    let effects = solo.feed([Input::Connected { peer: NodeId(3) }]);
    assert_eq!(effects.snapshots, Some(vec![NodeId(3)]));
}

/// Writes so many that node 2 accepts and that are applied; whether a checkpoint begins with it.
fn write_on(solo: &mut Solo, count: u64) -> bool {
    write(solo, count);
    let index = solo.node.status().last_index;
    let (term, prev, outcome) = (Term(2), Index(0), AppendOutcome::Accepted(index));
    let reply = Message::AppendEntriesReply { term, prev, outcome };
    let captures = solo.hear(2, reply).capture;
    assert!(!apply(solo).capture, "as it is handed out");
    captures
}

/// The checkpoint of all that is applied is durable; the next one is to rest for 90 ms.
fn stored(solo: &mut Solo) {
    let status = solo.node.status();
    let (position, rest) = (at(status.applied.0, status.term.0), Duration::from_millis(90));
    solo.feed([Input::Captured { position, rest }]);
}

#[test]
fn a_checkpoint_that_took_long_is_not_followed_by_another_at_once() {
    let mut solo = leader();
    solo.node.config.snapshot_entries = 20;
    assert!(!write_on(&mut solo, 10));
    assert!(write_on(&mut solo, 10), "the first one is due at once");
    stored(&mut solo);
    assert!(!write_on(&mut solo, 25), "it rests");
    assert!(!solo.wait(89).capture);
    assert!(solo.wait(1).capture, "now it is due");
    stored(&mut solo);
    assert!(!write_on(&mut solo, 79), "it rests");
    assert!(write_on(&mut solo, 1), "four times as many entries are too many");
    stored(&mut solo);
    assert!(!write_on(&mut solo, 1));
    assert!(solo.feed([Input::Checkpoint]).capture, "who asks for one gets it");
}
