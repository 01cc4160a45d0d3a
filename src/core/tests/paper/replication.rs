//! §5.3 and §5.5: log replication, and what happens again; dissertation §10.2: in parallel.

use quorate_core::raft::{AppendOutcome, Input, Message, ProgressState};
use quorate_core::types::{Index, NodeId, Ticket};

use super::server::*;

/// Raft §5.3: "The leader appends the command to its log as a new entry, then issues AppendEntries
/// RPCs in parallel to each of the other servers to replicate the entry."
#[test]
fn a_command_goes_to_all_in_parallel() {
    let mut leader = Server::leader(5, &[], 1);
    for id in 2..=5 {
        leader.hear(id, accepted(2, 1, 2));
    }
    let said = leader.propose(1);
    for id in 2..=5 {
        assert_eq!(said.appends(id), [(at(2, 2), vec![2])]);
    }
}

/// Raft §5.3: "the leader retries AppendEntries RPCs indefinitely (even after it has responded to
/// the client) until all followers eventually store all log entries."
#[test]
fn an_append_is_retried_until_it_is_stored() {
    let mut leader = Server::leader(3, &[], 1);
    leader.hear(2, accepted(2, 1, 2));
    leader.hear(3, accepted(2, 1, 2));
    leader.propose(1);
    let said = leader.hear(2, accepted(2, 2, 3));
    assert_eq!(said.answered, [(Index(3), Ticket(1))]);
    for _ in 0..20 {
        // Its answers to heartbeats show that the entry never arrives.
        let round = leader.wait(HEARTBEAT).round().expect("a heartbeat is due");
        leader.hear(2, beaten(2, round, 3));
        let said = leader.hear(3, beaten(2, round, 2));
        assert_eq!(said.appends(3), [(at(2, 2), vec![2])]);
    }
}

/// Raft §5.3: "A log entry is committed once the leader that created the entry has replicated it
/// on a majority of the servers". "This also commits all preceding entries in the leader's log,
/// including entries created by previous leaders."
#[test]
fn a_majority_commits_an_entry_and_all_before_it() {
    let mut leader = Server::leader(5, &[1, 2, 3], 3);
    assert!(leader.hear(2, accepted(4, 4, 5)).applied.is_empty());
    let said = leader.hear(3, accepted(4, 4, 5));
    let applied: Vec<u64> = said.applied.iter().map(|entry| entry.term.0).collect();
    assert_eq!(applied, [1, 1, 2, 3, 4]);
}

/// Raft §5.3: "The leader keeps track of the highest index it knows to be committed, and it
/// includes that index in future AppendEntries RPCs (including heartbeats) so that the other
/// servers eventually find out."
#[test]
fn the_commit_index_is_told_in_appends_and_heartbeats() {
    let mut leader = Server::leader(3, &[], 1);
    leader.hear(2, accepted(2, 1, 2));
    assert!(leader.wait(HEARTBEAT).to(2).contains(&&heartbeat(2, 2, 2)));
    // Node 3 is not known to hold it: a heartbeat has no `prev` to check that by.
    assert!(leader.wait(HEARTBEAT).to(3).contains(&&heartbeat(2, 0, 3)));
    let said = leader.propose(1);
    let told = said.to(2).into_iter().find_map(|message| match message {
        Message::AppendEntries { commit, .. } => Some(*commit),
        _ => None,
    });
    assert_eq!(told, Some(Index(2)));
}

/// Raft §5.3: "Once a follower learns that a log entry is committed, it applies the entry to its
/// local state machine (in log order)."
#[test]
fn a_follower_applies_what_it_learns_is_committed() {
    let mut server = Server::new(3, &[], 2);
    assert!(server.hear(2, append(2, at(1, 1), &[2, 2, 2], 0)).applied.is_empty());
    assert_eq!(server.hear(2, heartbeat(2, 3, 1)).applied, server.log[..3]);
    assert_eq!(server.hear(2, append(2, at(4, 2), &[], 4)).applied, server.log[3..]);
}

/// Raft §5.3: "When sending an AppendEntries RPC, the leader includes the index and term of the
/// entry in its log that immediately precedes the new entries. If the follower does not find an
/// entry in its log with the same index and term, then it refuses the new entries."
#[test]
fn an_append_names_the_entry_before_and_is_refused_without_it() {
    let mut leader = Server::new(3, &[1, 2, 2], 2);
    let said = leader.win();
    assert_eq!(said.appends(2), [(at(4, 2), vec![3])]);
    let message = append(3, at(4, 2), &[3], 0);
    for (terms, holds) in [(&[1, 2, 2][..], true), (&[1, 2], false), (&[1, 1, 1], false)] {
        let mut follower = Server::numbered(2, 3, terms, 2, 1);
        let outcome = follower.hear(1, message.clone()).outcome();
        assert_eq!(outcome == AppendOutcome::Accepted(Index(5)), holds, "{terms:?}");
        assert_eq!(follower.terms().len(), terms.len() + usize::from(holds));
    }
}

/// The logs of figure 7: the leader of term 8, and the followers (a) to (f).
const FIGURE_7: [&[u64]; 7] = [
    &[1, 1, 4, 4, 5, 5, 6, 6, 6],
    &[1, 1, 4, 4, 5, 5, 6, 6],
    &[1, 1, 4],
    &[1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    &[1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    &[1, 1, 4, 4, 4, 4],
    &[1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
];

/// Figure 7's servers, and the first as the leader of term 8, elected by (a), (b) and (e), and
/// (f), whose logs allow it. Nothing of the term has been delivered.
fn figure_7() -> (Group, Said) {
    let mut group = Group::new(&FIGURE_7);
    let leader = group.server(1);
    // Its term is 7, like that of follower (d).
    leader.hear(5, beaten(7, 1, 1));
    let said = leader.win();
    assert_eq!(group.server(1).term(), 8);
    (group, said)
}

/// Raft §5.3: "A follower may be missing entries that are present on the leader, it may have extra
/// entries that are not present on the leader, or both." "In Raft, the leader handles
/// inconsistencies by forcing the followers' logs to duplicate its own." All of figure 7.
#[test]
fn the_followers_of_figure_7_come_to_duplicate_the_leaders_log() {
    let (mut group, said) = figure_7();
    let all: Vec<u64> = (1..=7).collect();
    group.deliver(1, said, &all);
    let expected = [FIGURE_7[0], &[8]].concat();
    for id in all {
        assert_eq!(group.server(id).terms(), expected, "server {id}");
    }
}

/// Raft §5.3, of the optimization: "one AppendEntries RPC will be required for each term with
/// conflicting entries, rather than one RPC per entry." Here: at most; the hint skips terms on
/// both sides.
#[test]
fn a_round_trip_skips_a_term_of_conflicting_entries() {
    let (mut group, said) = figure_7();
    group.deliver(1, said, &[1, 2, 3, 4, 5, 6, 7]);
    // (c) and (d) hold all that the leader does; (a) and (b) are only short.
    for (id, most) in [(2, 1), (3, 1), (4, 0), (5, 0), (6, 1), (7, 2)] {
        let refused = group.rejections.iter().filter(|from| **from == id).count();
        assert!(refused <= most, "server {id} refused {refused} times");
    }
}

/// Raft §5.3: "Missing and extraneous entries in a log may span multiple terms." The bound of the
/// optimization holds for long tails too.
#[test]
fn long_tails_are_repaired_term_by_term() {
    let leader: Vec<u64> = [vec![1; 10], vec![4; 100], vec![6; 100]].concat();
    let follower: Vec<u64> = [vec![1; 20], vec![2; 200], vec![3; 200], vec![5; 200]].concat();
    let mut group = Group::new(&[&leader, &follower, &leader]);
    let said = group.server(1).win();
    group.deliver(1, said, &[1, 2]);
    assert_eq!(group.server(2).terms(), [leader, vec![7]].concat());
    assert!(group.rejections.len() <= 4, "{} refusals", group.rejections.len());
}

/// Raft §5.3: "When a leader first comes to power, it initializes all nextIndex values to the
/// index just after the last one in its log".
#[test]
fn the_first_append_of_a_leader_begins_behind_its_log() {
    let (_, said) = figure_7();
    for id in 2..=7 {
        assert_eq!(said.appends(id), [(at(10, 6), vec![8])]);
    }
}

/// Raft §5.3: "Eventually nextIndex will reach a point where the leader and follower logs match.
/// When this happens, AppendEntries will succeed, which removes any conflicting entries in the
/// follower's log and appends entries from the leader's log (if any)." For many pairs of logs: a
/// shared beginning, and then terms of which each saw only its own.
#[test]
fn any_two_logs_come_to_match() {
    let logs = |tails: [&[u64]; 5]| -> Vec<Vec<u64>> {
        let begun = |ones| tails.map(|tail| [&vec![1; ones], tail].concat());
        (0..4).flat_map(begun).collect()
    };
    for ours in &logs([&[], &[2], &[4], &[2, 2, 4], &[2, 4, 4, 4]]) {
        for theirs in &logs([&[], &[3], &[5], &[3, 3, 5], &[3, 5, 5, 5]]) {
            let mut group = Group::new(&[ours, theirs, ours]);
            let leader = group.server(1);
            leader.hear(3, beaten(5, 1, 1));
            let said = leader.win();
            group.deliver(1, said, &[1, 2]);
            let expected = [ours.as_slice(), &[6]].concat();
            assert_eq!(group.server(2).terms(), expected, "{theirs:?} under {ours:?}");
        }
    }
}

/// Raft §5.3: "A leader never overwrites or deletes entries in its own log".
#[test]
fn a_leader_only_appends() {
    let mut leader = Server::leader(3, &[1, 1, 2], 2);
    let before = leader.log.clone();
    let others = [
        append(2, at(1, 1), &[2, 2], 0),
        append(1, at(2, 1), &[], 0),
        rejected(3, 4, at(0, 0)),
        rejected(2, 4, at(1, 1)),
        request_vote(3, at(9, 2)),
        request_vote(9, at(9, 9)),
        heartbeat(2, 9, 9),
    ];
    for (ticket, message) in (0..).zip(others) {
        leader.hear(2, message);
        leader.propose(ticket);
        assert!(leader.log.starts_with(&before));
        assert_eq!(leader.node.status().leader, Some(NodeId(1)));
    }
    assert_eq!(leader.terms().len(), 4 + 7);
}

/// Raft §5.3: "a single slow follower will not impact performance".
#[test]
fn a_slow_follower_holds_nothing_up() {
    let mut leader = Server::leader(3, &[], 1);
    leader.hear(2, accepted(2, 1, 2));
    for ticket in 1..=100 {
        let said = leader.propose(ticket);
        assert_eq!(said.appends(2).len(), 1);
        let said = leader.hear(2, accepted(2, ticket + 1, ticket + 2));
        assert_eq!(said.answered, [(Index(ticket + 2), Ticket(ticket))]);
    }
    assert_eq!(leader.follower(3).match_index, Index(0));
}

/// Raft §5.5: "if the crashed server restarts, then the RPC will complete successfully."
#[test]
fn a_server_that_crashed_catches_up() {
    let mut group = Group::new(&[&[], &[], &[]]);
    assert!(group.elect(1, &[1, 2, 3]));
    for ticket in 1..=5 {
        let said = group.server(1).propose(ticket);
        group.deliver(1, said, &[1, 2]);
        group.beat(1, &[1, 2]);
    }
    group.server(3).restart();
    for _ in 0..10 {
        group.beat(1, &[1, 2, 3]);
    }
    let terms = group.server(1).terms();
    assert_eq!((group.server(3).terms(), group.server(3).commit()), (terms, 7));
}

/// Raft §5.5: "Raft RPCs are idempotent, so this causes no harm. For example, if a follower
/// receives an AppendEntries request that includes log entries already present in its log, it
/// ignores those entries in the new request."
#[test]
fn every_message_may_arrive_twice() {
    let requests = [
        request_vote(3, at(9, 2)),
        append(3, at(1, 1), &[2, 3], 2),
        append(3, at(2, 2), &[3, 3, 3], 4),
        heartbeat(3, 4, 1),
    ];
    let mut server = Server::new(3, &[1, 1], 1);
    for request in requests {
        let first = server.hear(2, request.clone());
        let state = (server.log.clone(), server.hard_state, server.commit());
        let again = server.hear(2, request);
        assert_eq!(again.sent, first.sent, "the same answer");
        assert!(again.applied.is_empty(), "applied once");
        assert_eq!((server.log.clone(), server.hard_state, server.commit()), state);
    }
    let mut leader = Server::leader(3, &[], 1);
    for answer in [granted(2), accepted(2, 1, 2), beaten(2, 1, 2)] {
        leader.hear(2, answer.clone());
        let state = leader.node.status();
        assert!(leader.hear(2, answer).sent.is_empty());
        assert_eq!(leader.node.status(), state);
    }
}

/// Raft §5.5: "If a server crashes after completing an RPC but before responding, then it will
/// receive the same RPC again after it restarts."
#[test]
fn an_rpc_that_was_completed_but_not_answered_is_answered_after_the_restart() {
    for request in [request_vote(2, at(1, 1)), append(2, at(1, 1), &[2, 2], 0)] {
        let mut server = Server::new(3, &[], 1);
        let lost = server.hear(2, request.clone());
        server.restart();
        assert_eq!(server.hear(2, request).sent, lost.sent);
    }
}

/// Dissertation §10.2.1: the leader can write to its disk in parallel with replicating to the
/// followers and with their writing to theirs.
#[test]
fn a_leader_replicates_before_its_own_sync() {
    let mut leader = Server::leader(3, &[], 1);
    leader.hear(2, accepted(2, 1, 2));
    let effects = leader.step([Input::Propose(vec![(Ticket(1), "x".into())])]);
    assert!(effects.persist.is_some_and(|persist| persist.entries.len() == 1));
    let append = |message: &Message| matches!(message, Message::AppendEntries { .. });
    assert!(effects.messages.iter().any(|(to, message)| *to == NodeId(2) && append(message)));
}

/// Dissertation §10.2.1: "Once an entry in the leader's current term is covered by a majority of
/// match indexes, the leader can advance its commit index." Its own match index is what its disk
/// holds.
#[test]
fn a_leader_counts_itself_by_what_its_disk_holds() {
    let mut leader = Server::leader(3, &[], 1);
    leader.hear(2, accepted(2, 1, 2));
    leader.step([Input::Propose(vec![(Ticket(1), "x".into())])]);
    leader.step([received(2, accepted(2, 2, 3))]);
    assert_eq!(leader.commit(), 2, "one follower, and its own disk does not hold it");
    assert_eq!(leader.sync().answered, [(Index(3), Ticket(1))]);
    assert_eq!(leader.commit(), 3);
}

/// Dissertation §10.2.1: "The leader may even commit an entry before it has been written to its
/// own disk, if a majority of followers have written it to their disks; this is still safe." Here:
/// it commits, and applies when its own disk holds it too.
#[test]
fn followers_may_commit_what_the_leaders_disk_does_not_hold() {
    let mut leader = Server::leader(3, &[], 1);
    leader.hear(2, accepted(2, 1, 2));
    leader.step([Input::Propose(vec![(Ticket(1), "x".into())])]);
    let effects = leader.step([received(2, accepted(2, 2, 3)), received(3, accepted(2, 1, 3))]);
    assert_eq!(leader.commit(), 3);
    assert!(effects.apply.is_none());
    assert_eq!(leader.sync().answered, [(Index(3), Ticket(1))]);
}

/// Dissertation §10.2.2: with pipelining, the leader does not wait for an answer before it sends
/// the next entries; where one is lost, it goes back.
#[test]
fn appends_are_pipelined_and_go_back_on_a_loss() {
    let mut leader = Server::leader(3, &[], 1);
    leader.hear(2, accepted(2, 1, 2));
    for ticket in 1..=5 {
        assert_eq!(leader.propose(ticket).appends(2), [(at(1 + ticket, 2), vec![2])]);
    }
    assert_eq!(leader.follower(2).next_index, Index(8));
    let said = leader.hear(2, rejected(2, 3, at(2, 2)));
    assert_eq!(said.appends(2), [(at(2, 2), vec![2; 5])]);
    assert_eq!(leader.follower(2).state, ProgressState::Probe);
}
