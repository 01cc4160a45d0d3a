//! Replication and conflicts (4), and its bounds (8).

use super::checks::Outcome;
use super::harness::{Cluster, foreign};
use super::solo::{Solo, at, messages, received};
use crate::raft::{AppendOutcome, Config, Effects, Input, Message, ProgressState, Refusal};
use crate::types::{Entry, Index, NodeId, Term, Ticket};

fn append(term: u64, prev: (u64, u64), commit: u64, entries: &[(u64, u64)]) -> Message {
    let entries = entries.iter().map(|(index, term)| foreign(*index, *term)).collect();
    let (prev, commit) = (at(prev.0, prev.1), Index(commit));
    Message::AppendEntries { term: Term(term), prev, commit, entries }
}

fn outcome(effects: &Effects) -> AppendOutcome {
    match messages(effects).1[..] {
        [Message::AppendEntriesReply { outcome, .. }] => *outcome,
        ref other => panic!("{other:?}"),
    }
}

fn appends(effects: &Effects, to: u64) -> Vec<&Vec<Entry>> {
    let of = |(peer, message): &'_ (NodeId, Message)| *peer == NodeId(to) && is_append(message);
    let sent = effects.messages.iter().filter(|packet| of(packet));
    sent.map(|(_, message)| match message {
        Message::AppendEntries { entries, .. } => entries,
        other => panic!("{other:?}"),
    })
    .collect()
}

fn is_append(message: &Message) -> bool {
    matches!(message, Message::AppendEntries { .. })
}

// 4.1, 4.4: also without entries, and the hint is where it could match.
#[test]
fn an_append_is_accepted_only_behind_what_matches() {
    let cases = [
        (append(6, (4, 3), 0, &[(5, 6)]), AppendOutcome::Accepted(Index(5))),
        (append(6, (4, 2), 0, &[(5, 6)]), AppendOutcome::Rejected(at(3, 2))),
        (append(6, (7, 6), 0, &[(8, 6)]), AppendOutcome::Rejected(at(5, 3))),
        (append(6, (7, 6), 0, &[]), AppendOutcome::Rejected(at(5, 3))),
        (append(6, (5, 3), 0, &[]), AppendOutcome::Accepted(Index(5))),
    ];
    for (message, expected) in cases {
        let mut solo = Solo::new(3, &[2, 2, 3, 3], 4, None);
        assert_eq!(outcome(&solo.hear(2, message.clone())), expected, "{message:?}");
    }
}

// 4.2: an append that comes late and is short must not cut what came after it.
#[test]
fn entries_that_are_there_already_are_not_removed() {
    let mut solo = Solo::new(3, &[2, 2], 2, None);
    solo.hear(2, append(3, (3, 2), 0, &[(4, 3), (5, 3), (6, 3)]));
    for late in [append(3, (1, 1), 0, &[(2, 2)]), append(3, (3, 2), 0, &[(4, 3)])] {
        let effects = solo.hear(2, late);
        assert!(effects.persist.unwrap().truncate_from.is_none());
    }
    assert_eq!(solo.node.log.last(), at(6, 3));
}

// 4.3: only from the first entry that conflicts.
#[test]
fn a_conflict_removes_from_the_first_conflicting_entry() {
    let mut solo = Solo::new(3, &[2, 2, 2], 2, None);
    let persist = solo.hear(2, append(3, (1, 1), 0, &[(2, 2), (3, 3)])).persist.unwrap();
    assert_eq!(persist.truncate_from, Some(Index(3)));
    assert_eq!(persist.entries, [foreign(3, 3)]);
    assert_eq!(solo.node.log.last(), at(3, 3));
}

// 4.3: never silent.
#[test]
#[should_panic(expected = "at or below the commit")]
fn a_conflict_below_the_commit_is_an_assertion() {
    let mut solo = Solo::new(3, &[2, 2], 2, None);
    solo.hear(2, append(2, (3, 2), 3, &[]));
    solo.hear(3, append(3, (2, 2), 0, &[(3, 3)]));
}

/// How many appends it takes until `follower` equals the leader, node 1.
fn repair(logs: &[Vec<u64>], follower: u64) -> usize {
    let mut cluster = Cluster::from_logs(logs, 1, |_| {});
    cluster.record = true;
    cluster.elect_node(1);
    cluster.settle();
    let to = |packet: &&super::harness::Packet| packet.to == follower && is_append(&packet.message);
    cluster.sent.iter().filter(to).count()
}

// 4.5: a round trip a term, however long each is.
#[test]
fn a_conflict_is_repaired_one_term_a_round_trip() {
    let run = |terms: &[u64]| terms.iter().flat_map(|t| [*t; 40]).collect::<Vec<_>>();
    let logs = [run(&[2, 3, 8, 9]), run(&[2, 3, 8, 9]), run(&[2, 3, 4, 5, 6, 7])];
    let sent = repair(&logs, 3);
    assert!(sent <= 8, "{sent} appends");
    // Each side has to skip a term that the other does not have.
    for (own, other) in [(6, 7), (7, 6)] {
        let log = |term| [vec![2; 10], vec![term; 40]].concat();
        let leader = [log(own), vec![9]].concat();
        let sent = repair(&[leader.clone(), leader, log(other)], 3);
        assert!(sent <= 6, "{sent} appends, {other} against {own}");
    }
    // 4.6: very long tails.
    let long = |term| vec![term; 3_000];
    let sent = repair(&[long(9), long(9), long(5)], 3);
    assert!(sent <= 8, "{sent} appends");
}

// 4.5, 4.14: figure 7 of the paper, each of its followers.
#[test]
fn figure_7_heals_in_a_few_messages() {
    // The first entry, of term 1, is everyone's already.
    let leader = vec![1, 1, 4, 4, 5, 5, 6, 6, 6];
    let followers: [&[u64]; 6] = [
        &[1, 1, 4, 4, 5, 5, 6, 6],
        &[1, 1, 4],
        &[1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        &[1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        &[1, 1, 4, 4, 4, 4],
        &[1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ];
    for (name, follower) in ('a'..).zip(followers) {
        // The others elect it, whatever (c) and (d) say.
        let logs = [leader.clone(), vec![], follower.to_vec()];
        let sent = repair(&logs, 3);
        assert!(sent <= 6, "({name}): {sent} appends");
    }
}

// 4.7: what a late rejection says is old news.
#[test]
fn a_stale_rejection_moves_nothing() {
    let mut solo = Solo::new(3, &[2, 2], 2, None);
    let term = solo.lead();
    let reply = |prev, outcome| Message::AppendEntriesReply { term, prev: Index(prev), outcome };
    solo.hear(2, reply(3, AppendOutcome::Accepted(Index(4))));
    let before = solo.node.status().followers[0].clone();
    let stale = [
        reply(3, AppendOutcome::Rejected(at(1, 1))),
        reply(4, AppendOutcome::Rejected(at(1, 1))),
        // 4.8: nor does a late acceptance.
        reply(1, AppendOutcome::Accepted(Index(2))),
    ];
    for message in stale {
        solo.hear(2, message.clone());
        assert_eq!(solo.node.status().followers[0], before, "{message:?}");
    }
}

// 4.7: a correct follower cannot say this.
#[test]
#[should_panic(expected = "beyond this log")]
fn an_acknowledgement_beyond_the_log_is_an_assertion() {
    let mut solo = Solo::new(3, &[], 1, None);
    let term = solo.lead();
    let outcome = AppendOutcome::Accepted(Index(99));
    solo.hear(2, Message::AppendEntriesReply { term, prev: Index(1), outcome });
}

// 4.9, 4.12: what is in flight is sent once, and the next goes with the acknowledgement.
#[test]
fn appends_are_pipelined_and_not_repeated() {
    let mut cluster = Cluster::with(3, 1, |config| config.batch_entries = 4);
    cluster.elect_node(1);
    cluster.settle();
    cluster.record = true;
    for _ in 0..40 {
        cluster.propose(1);
    }
    cluster.run_until(20, "all there, before any timer", |cluster| {
        cluster.node(3).log.durable() == cluster.node(1).log.last().index
    });
    cluster.settle();
    let mut seen = std::collections::BTreeSet::new();
    for packet in cluster.sent.iter().filter(|packet| packet.to == 3) {
        if let Message::AppendEntries { entries, .. } = &packet.message {
            assert!(entries.len() <= 4);
            assert!(entries.iter().all(|entry| seen.insert(entry.index)), "sent twice");
        }
    }
    assert_eq!(seen.len(), 40);
}

// 4.9, 8.5: shown by the answer to a heartbeat, without new traffic.
#[test]
fn a_lost_append_is_noticed_and_sent_again() {
    let mut cluster = Cluster::new(3);
    cluster.elect_node(1);
    cluster.settle();
    cluster.cut(1, 3);
    cluster.propose(1);
    cluster.run(5);
    cluster.mend(1, 3);
    cluster.run_until(250, "the second heartbeat shows it", Cluster::all_equal);
}

// 4.11: back to probing with the connection, and forward again.
#[test]
fn a_follower_is_probed_again_after_its_connection_was_lost() {
    let mut cluster = Cluster::new(3);
    cluster.elect_node(1);
    cluster.settle();
    let state = |cluster: &Cluster| cluster.node(1).status().followers[1].state;
    assert_eq!(state(&cluster), ProgressState::Replicate);
    cluster.feed(1, Input::Disconnected { peer: NodeId(3) });
    cluster.propose(1);
    cluster.run(300);
    assert_eq!(state(&cluster), ProgressState::Probe);
    cluster.feed(1, Input::Connected { peer: NodeId(3) });
    cluster.run_until(50, "in step", Cluster::all_equal);
    cluster.run(5);
    assert_eq!(state(&cluster), ProgressState::Replicate);
}

// 4.16: with the term that deposes its sender.
#[test]
fn an_append_of_an_old_term_is_refused_with_the_current_one() {
    let mut solo = Solo::new(3, &[], 9, None);
    let effects = solo.hear(2, append(4, (1, 1), 0, &[(2, 4)]));
    let reply = messages(&effects).1[0].clone();
    assert_eq!(reply.term(), Term(9));
    assert_eq!(solo.node.log.last(), at(1, 1));
    let mut solo = Solo::new(3, &[], 1, None);
    solo.lead();
    solo.hear(2, reply);
    assert_eq!(solo.node.term(), Term(9));
}

// 8.1: a full window stops, an acknowledgement opens it up to its index.
#[test]
fn the_window_in_flight_is_bounded_and_acknowledgements_free_it() {
    let mut solo = Solo::new(3, &[], 1, None);
    solo.node.config.inflight_batches = 3;
    let term = solo.lead();
    let accept = |index| {
        let outcome = AppendOutcome::Accepted(Index(index));
        received(2, Message::AppendEntriesReply { term, prev: Index(index - 1), outcome })
    };
    solo.feed([accept(2)]);
    let mut sent = 0;
    for ticket in 0..10 {
        let effects = solo.feed([Input::Propose(vec![(Ticket(ticket), "x".into())])]);
        sent += appends(&effects, 2).len();
    }
    assert_eq!(sent, 3, "more than the window");
    let effects = solo.feed([accept(4)]);
    // All that waited goes in one.
    let lengths: Vec<usize> = appends(&effects, 2).iter().map(|entries| entries.len()).collect();
    assert_eq!(lengths, [7]);
}

// 8.1: what is lost does not close the window for ever.
#[test]
fn a_full_window_of_lost_appends_does_not_wedge() {
    let tiny = |config: &mut Config| (config.inflight_batches, config.batch_entries) = (1, 1);
    let mut cluster = Cluster::with(3, 1, tiny);
    cluster.elect_node(1);
    cluster.settle();
    cluster.cut(1, 3);
    for _ in 0..10 {
        cluster.propose(1);
    }
    cluster.run(400);
    cluster.mend(1, 3);
    cluster.run_until(1_000, "all equal", Cluster::all_equal);
}

// 8.2, 8.3: a leader alone accepts only so much, and says so.
#[test]
fn uncommitted_bytes_are_bounded() {
    let mut cluster = Cluster::with(3, 1, |config| config.uncommitted_bytes = 1_000);
    cluster.elect_node(1);
    cluster.settle();
    cluster.isolate(1);
    let tickets: Vec<Ticket> = (0..100).map(|_| cluster.propose_sized(1, 68)).collect();
    let refused = Some(Outcome::Refused(Refusal::Overloaded));
    let kept = tickets.iter().filter(|ticket| cluster.outcome(**ticket) != refused).count();
    assert_eq!(kept, 10);
    cluster.heal();
    cluster.run(100);
    // Committed: there is room again, and a large one alone goes through.
    let large = cluster.propose_sized(1, 5_000);
    cluster.run(100);
    cluster.assert_done(large);
}

// 8.2: what a leader did not append itself, the tail of earlier terms and its no-op, neither
// counts when it comes nor frees anything when it commits.
#[test]
fn the_tail_of_earlier_terms_neither_fills_nor_frees_the_bound() {
    let mut solo = Solo::new(3, &[2; 50], 2, None);
    solo.node.config.uncommitted_bytes = 1_000;
    let term = solo.lead();
    let propose = |n: u64| Input::Propose(vec![(Ticket(n), vec![0; 68].into())]);
    let refused = |effects: Effects| !effects.refused.is_empty();
    assert!(!refused(solo.feed([propose(1)])), "the tail is not this leader's");
    let outcome = AppendOutcome::Accepted(Index(52));
    solo.hear(2, Message::AppendEntriesReply { term, prev: Index(51), outcome });
    assert_eq!(solo.node.status().commit, Index(52));
    let kept = (0..100).filter(|n| !refused(solo.feed([propose(100 + n)]))).count();
    assert_eq!(kept, 9, "the first one still waits");
}
