//! Commit and apply (5), reads (6), and how requests end (9).

use super::checks::Outcome;
use super::harness::{Cluster, foreign};
use super::solo::{Solo, at, received};
use crate::raft::{AppendOutcome, Input, Message, Refusal, RoleKind, StepDownReason};
use crate::types::{Index, NodeId, Term, Ticket};

fn accepted(term: Term, index: u64) -> Message {
    let outcome = AppendOutcome::Accepted(Index(index));
    Message::AppendEntriesReply { term, prev: Index(index - 1), outcome }
}

fn answered(term: Term, round: u64) -> Message {
    Message::HeartbeatReply { term, round, last: Index(0) }
}

/// The newest round of heartbeats among these.
fn round(messages: &[(NodeId, Message)]) -> Option<u64> {
    let beat = |(_, message): &(NodeId, Message)| match message {
        Message::Heartbeat { round, .. } => Some(*round),
        _ => None,
    };
    messages.iter().filter_map(beat).max()
}

// 5.1, 5.2: an entry of an older term on a quorum is not committed by that.
#[test]
fn entries_of_earlier_terms_commit_only_with_one_of_the_own() {
    let mut solo = Solo::new(3, &[2, 3], 3, None);
    let term = solo.lead();
    solo.hear(2, accepted(term, 3));
    assert_eq!(solo.node.status().commit, Index(0), "counted copies of an older term");
    solo.hear(2, accepted(term, 4));
    assert_eq!(solo.node.status().commit, Index(4));
}

// 5.1: figure 8 of the paper, scripted: what is on a majority in (c) may be overwritten in (d).
#[test]
fn figure_8_commits_nothing_that_can_be_overwritten() {
    // (b): S1 has an entry of term 2, S5 one of term 3 at the same index.
    let logs = [vec![2], vec![], vec![], vec![], vec![3]];
    let mut cluster = Cluster::from_logs(&logs, 1, |config| config.batch_entries = 1);
    // (c): S1 leads again and copies the old entry to S2 and S3, its no-op to nobody.
    cluster.isolate(4);
    cluster.isolate(5);
    cluster.campaign(1);
    let copied = |cluster: &Cluster, id| cluster.machines[&id].disk.log.len() == 2;
    cluster.run_until(500, "(c)", |cluster| copied(cluster, 2) && copied(cluster, 3));
    cluster.cut(1, 2);
    cluster.cut(1, 3);
    cluster.run(10);
    let matches = cluster.node(1).status().followers.iter().map(|f| f.match_index.0).max();
    assert_eq!(matches, Some(2), "S1 knows that a majority holds the entry");
    assert!(cluster.checks.committed.is_empty(), "{:?}", cluster.checks.committed);
    // (d): S5 wins with S3 and S4 and overwrites it; nothing that was promised is gone.
    cluster.crash(1, 0);
    cluster.crash(2, 0);
    cluster.heal();
    cluster.run(1_000);
    cluster.elect_node(5);
    cluster.restart(1);
    cluster.restart(2);
    cluster.settle();
    assert_eq!(cluster.terms(1)[0], 3, "the entry of term 2 was overwritten");
}

// 5.3: what lies behind the last entry known to match may conflict.
#[test]
fn a_follower_commits_no_further_than_what_matches() {
    let mut solo = Solo::new(3, &[2, 2, 2], 3, None);
    let entries = vec![foreign(2, 2)];
    let term = Term(4);
    let message = Message::AppendEntries { term, prev: at(1, 1), commit: Index(4), entries };
    solo.hear(2, message);
    assert_eq!(solo.node.status().commit, Index(2));
}

// 5.4: a heartbeat commits what is known to match, and no more.
#[test]
fn a_heartbeat_carries_the_commit_clamped_to_the_match() {
    let mut solo = Solo::new(3, &[], 1, None);
    let term = solo.lead();
    solo.hear(2, accepted(term, 2));
    let beats = solo.wait(100).messages;
    let commit = |to| {
        let beat = |(peer, message): &(NodeId, Message)| match message {
            Message::Heartbeat { commit, .. } if *peer == NodeId(to) => Some(*commit),
            _ => None,
        };
        beats.iter().find_map(beat)
    };
    assert_eq!((commit(2), commit(3)), (Some(Index(2)), Some(Index(0))));
}

// 5.7, 5.10: in pieces, in order, and commit goes on meanwhile.
#[test]
fn slow_applying_bounds_what_is_handed_out() {
    let mut cluster = Cluster::with(3, 1, |config| config.apply_bytes = 200);
    cluster.elect_node(1);
    cluster.settle();
    cluster.machine(1).apply_delay = 50;
    let tickets: Vec<Ticket> = (0..30).map(|_| cluster.propose(1)).collect();
    cluster.run(20);
    assert_eq!(cluster.node(1).status().commit, cluster.node(1).log.last().index);
    assert!(cluster.machines[&1].applied < 10);
    cluster.settle();
    tickets.iter().for_each(|ticket| cluster.assert_done(*ticket));
}

// 5.8: recovered by the next leader.
#[test]
fn the_commit_index_is_found_again_after_all_restart() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.elect();
    cluster.propose(leader);
    cluster.settle();
    let committed = cluster.node(leader).commit;
    for id in 1..=3 {
        cluster.crash(id, 0);
    }
    for id in 1..=3 {
        cluster.restart(id);
    }
    cluster.elect();
    cluster.settle();
    assert!(cluster.node(1).commit > committed);
}

// 6.1: before the term's first commit it waits; then it gets the commit of then.
#[test]
fn no_read_is_answered_before_the_term_has_a_commit() {
    let mut solo = Solo::new(3, &[2], 2, None);
    let term = solo.lead();
    solo.feed([Input::Read(vec![Ticket(1)])]);
    for _ in 0..5 {
        let round = round(&solo.wait(100).messages).expect("a heartbeat is due");
        assert!(solo.hear(2, answered(term, round)).reads.is_empty());
    }
    let effects = solo.hear(2, accepted(term, 3));
    assert!(effects.reads.is_empty(), "the rounds before are no confirmation");
    let round = round(&effects.messages).expect("the read's round starts with the commit");
    let effects = solo.hear(2, answered(term, round));
    assert_eq!(effects.reads, [(Ticket(1), Index(3))]);
}

// 6.2, 6.3: an answer to an earlier round proves nothing about later.
#[test]
fn a_read_is_confirmed_by_a_round_that_started_after_it() {
    let mut solo = Solo::new(3, &[], 1, None);
    let term = solo.lead();
    solo.hear(2, accepted(term, 2));
    let before = round(&solo.wait(100).messages).expect("a heartbeat is due");
    let effects = solo.feed([Input::Read(vec![Ticket(1)]), Input::Read(vec![Ticket(2)])]);
    let after = round(&effects.messages).expect("a read starts a round at once");
    assert!(after > before && effects.reads.is_empty());
    assert!(solo.hear(2, answered(term, before)).reads.is_empty());
    assert!(solo.hear(3, answered(term, before)).reads.is_empty());
    let reads = solo.hear(3, answered(term, after)).reads;
    assert_eq!(reads, [(Ticket(1), Index(2)), (Ticket(2), Index(2))]);
}

// 6.5, 6.7, 9.2: every one who waits is told, once, and never served.
#[test]
fn a_deposed_leader_fails_its_reads_and_writes() {
    let mut cluster = Cluster::new(3);
    cluster.elect_node(1);
    cluster.isolate(1);
    let (read, write) = (cluster.read(1), cluster.propose(1));
    cluster.run_until(5_000, "another leader", |cluster| {
        cluster.leader().is_some_and(|leader| leader != 1)
    });
    let (late_read, late_write) = (cluster.read(1), cluster.propose(1));
    cluster.heal();
    cluster.settle();
    let ends = [
        (read, Refusal::NoLeader),
        (write, Refusal::Unknown),
        (late_read, Refusal::NoLeader),
        (late_write, Refusal::NoLeader),
    ];
    for (ticket, refusal) in ends {
        assert_eq!(cluster.outcome(ticket), Some(Outcome::Refused(refusal)));
    }
}

// 9.2: by a higher term, and on being asked to stop.
#[test]
fn stepping_down_answers_everyone_who_waits() {
    for asked in [true, false] {
        let mut solo = Solo::new(3, &[], 1, None);
        let term = solo.lead();
        solo.feed([
            Input::Propose(vec![(Ticket(1), "x".into()), (Ticket(2), "y".into())]),
            Input::Read(vec![Ticket(3)]),
        ]);
        let last = if asked {
            Input::StepDown
        } else {
            received(2, Message::HeartbeatReply { term: term.next(), round: 1, last: Index(1) })
        };
        let effects = solo.feed([last, Input::Read(vec![Ticket(4)])]);
        let unknown = [(Ticket(1), Refusal::Unknown), (Ticket(2), Refusal::Unknown)];
        let not_done = [(Ticket(3), Refusal::NoLeader), (Ticket(4), Refusal::NoLeader)];
        assert_eq!(effects.refused, [unknown, not_done].concat());
        assert_eq!(solo.node.status().role, RoleKind::Follower);
        let why = if asked { StepDownReason::Asked } else { StepDownReason::HigherTerm };
        let noted = effects.notes.iter().any(|note| {
            matches!(note, crate::raft::Note::SteppedDown { why: w, unknown: 2, .. } if *w == why)
        });
        assert!(noted, "{:?}", effects.notes);
    }
}

// 9.3: another entry at the awaited index is no success.
#[test]
fn who_waits_for_an_overwritten_entry_is_not_told_it_happened() {
    let mut cluster = Cluster::new(3);
    cluster.elect_node(1);
    cluster.isolate(1);
    let lost = cluster.propose(1);
    cluster.elect_node(2);
    let won = cluster.propose(2);
    cluster.run(100);
    cluster.heal();
    cluster.settle();
    cluster.assert_done(won);
    assert_eq!(cluster.outcome(lost), Some(Outcome::Refused(Refusal::Unknown)));
}
