//! §5.4.2, figure 8, and the five properties of figure 3, on a few servers.

use quorate_core::raft::RoleKind;
use quorate_core::types::Index;

use super::server::*;

/// Raft §5.4.2: "Only log entries from the leader's current term are committed by counting
/// replicas; once an entry from the current term has been committed in this way, then all prior
/// entries are committed indirectly".
#[test]
fn an_old_entry_is_committed_only_with_one_of_the_current_term() {
    let mut leader = Server::leader(5, &[1, 2], 3);
    for id in 2..=5 {
        leader.hear(id, accepted(4, 1, 3));
        assert_eq!(leader.commit(), 0, "entry 3 is on {id} servers, and of term 2");
    }
    leader.hear(2, accepted(4, 3, 4));
    let said = leader.hear(3, accepted(4, 3, 4));
    assert_eq!((leader.commit(), said.applied.len()), (4, 4));
}

/// Raft §5.4.2: "log entries retain their original term numbers when a leader replicates entries
/// from previous terms".
#[test]
fn entries_keep_their_terms_when_a_later_leader_sends_them() {
    let mut leader = Server::leader(3, &[1, 2, 3], 6);
    let said = leader.hear(2, rejected(7, 4, at(1, 1)));
    assert_eq!(said.appends(2), [(at(1, 1), vec![1, 2, 3, 7])]);
}

/// Figure 8 up to (c). S1 led term 2 and wrote entry 2 to itself and S2; S5 led term 3 and wrote
/// another entry 2 to itself; S1 leads term 4 and has brought entry 2, and no more, to S3. What S1
/// said on winning is lost.
fn figure_8_c() -> Group {
    let mut group = Group::new(&[&[2], &[2], &[], &[], &[3]]);
    let s1 = group.server(1);
    s1.hear(4, beaten(3, 1, 1));
    s1.win();
    assert_eq!((group.server(1).term(), group.server(1).terms()), (4, vec![2, 4]));
    for id in [2, 3] {
        group.server(id).hear(1, append(4, at(1, 1), &[2], 0));
        assert_eq!(group.server(id).terms(), [2]);
        group.server(1).hear(id, accepted(4, 1, 2));
    }
    group
}

/// Raft §5.4.2: "Raft never commits log entries from previous terms by counting replicas." Figure
/// 8: in (c) entry 2 is on three of five servers and not committed; in (d) it is overwritten.
#[test]
fn figure_8_c_is_not_committed_and_d_may_overwrite_it() {
    let mut group = figure_8_c();
    assert_eq!(group.server(1).commit(), 0, "(c)");
    // (d): S1 is gone; S5 wins with the votes of S2, S3 and S4.
    let others = [2, 3, 4, 5];
    group.server(5).hear(4, beaten(4, 1, 1));
    assert!(group.elect(5, &others));
    for _ in 0..5 {
        group.beat(5, &others);
    }
    for id in others {
        assert_eq!(group.server(id).terms().first(), Some(&3), "server {id}");
        assert!(group.server(id).commit() > 1);
    }
}

/// Figure 8 (e): once an entry of term 4 is on a majority, S5 cannot win any more, and entry 2 is
/// committed with it.
#[test]
fn figure_8_e_is_committed_and_stays() {
    let mut group = figure_8_c();
    for _ in 0..3 {
        group.beat(1, &[1, 2, 3]);
    }
    assert_eq!(group.server(1).commit(), 3, "(e)");
    group.server(5).hear(4, beaten(4, 1, 1));
    assert!(!group.elect(5, &[2, 3, 4, 5]));
    assert!(group.elect(3, &[2, 3, 4, 5]));
    for _ in 0..5 {
        group.beat(3, &[2, 3, 4, 5]);
    }
    assert_eq!(group.server(5).terms()[..2], [2, 4]);
}

/// Raft figure 3, Election Safety: "at most one leader can be elected in a given term." A node
/// that hears of a second one stops.
#[test]
#[should_panic(expected = "two leaders in term 2")]
fn a_second_leader_of_a_term_stops_the_server() {
    let mut server = Server::new(3, &[], 1);
    server.hear(2, heartbeat(2, 0, 1));
    server.hear(3, heartbeat(2, 0, 1));
}

/// Raft figure 3, Log Matching: "if two logs contain an entry with the same index and term, then
/// the logs are identical in all entries up through the given index." And State Machine Safety:
/// "if a server has applied a log entry at a given index to its state machine, no other server
/// will ever apply a different log entry for the same index." After a change of leaders in which
/// each leaves entries that nobody else has.
#[test]
fn logs_match_and_state_machines_agree_through_changes_of_leaders() {
    let mut group = Group::new(&[&[], &[], &[]]);
    let all = [1, 2, 3];
    let mut ticket = 0;
    for turn in 0..12u64 {
        let leader = 1 + turn % 3;
        assert!(group.elect(leader, &all), "turn {turn}");
        let minority = [leader];
        let majority = [leader, 1 + leader % 3];
        for among in [&majority[..], &majority, &minority] {
            ticket += 1;
            let said = group.server(leader).propose(ticket);
            group.deliver(leader, said, among);
        }
        for one in all {
            for other in all {
                logs_match(&group, one, other);
            }
        }
    }
    assert!(group.applied.values().all(|applied| applied.len() > 20));
}

fn logs_match(group: &Group, one: u64, other: u64) {
    let (left, right) = (&group.servers[&one].log, &group.servers[&other].log);
    let same = |place: &usize| left[*place].term == right[*place].term;
    let last = (0..left.len().min(right.len())).rev().find(same);
    let until = last.expect("the first entry is the same everywhere");
    assert_eq!(left[..=until], right[..=until], "servers {one} and {other}");
    let applied = group.applied[&one].iter().zip(&group.applied[&other]);
    for (place, (left, right)) in (1..).zip(applied) {
        assert_eq!(left, right, "applied at {place}");
        assert_eq!(left.index, Index(place));
    }
}

/// Raft figure 3, Leader Completeness: "if a log entry is committed in a given term, then that
/// entry will be present in the logs of the leaders for all higher-numbered terms." Whoever lacks
/// it loses.
#[test]
fn who_lacks_a_committed_entry_cannot_lead() {
    let mut group = Group::new(&[&[], &[], &[], &[], &[]]);
    assert!(group.elect(1, &[1, 2, 3, 4, 5]));
    let said = group.server(1).propose(1);
    group.deliver(1, said, &[1, 2, 3]);
    assert!(group.server(1).commit() >= 3);
    for behind in [4, 5] {
        // Any majority has one that holds it; it denies its vote.
        for among in [[2, 4, 5], [3, 4, 5]] {
            assert!(!group.elect(behind, &among), "{behind} among {among:?}");
        }
    }
    assert!(group.elect(2, &[2, 4, 5]));
    assert_eq!(group.server(2).role(), RoleKind::Leader);
}

/// Raft §5.6: "safety must not depend on timing: the system must not produce incorrect results
/// just because some event happens more quickly or slowly than expected." Every message of two
/// elections and a write arrives as late as it can, when all is over.
#[test]
fn messages_of_another_age_do_no_harm() {
    let mut group = Group::new(&[&[], &[], &[]]);
    assert!(group.elect(1, &[1, 2, 3]));
    let late = group.server(1).propose(1);
    let votes = [granted(2), granted(3), accepted(2, 1, 2), accepted(2, 2, 3), beaten(2, 9, 9)];
    assert!(group.elect(2, &[2, 3]));
    let said = group.server(2).propose(2);
    group.deliver(2, said, &[2, 3]);
    let before: Vec<_> = [2, 3].map(|id| group.server(id).log.clone()).into();
    // The old leader's write reaches its followers, and old answers reach everyone.
    for (to, message) in late.sent {
        group.server(to).hear(1, message);
    }
    for message in votes {
        group.server(2).hear(3, message.clone());
        group.server(3).hear(2, message);
    }
    let after: Vec<_> = [2, 3].map(|id| group.server(id).log.clone()).into();
    assert_eq!(after, before);
    assert_eq!(group.server(2).role(), RoleKind::Leader);
    let said = group.server(2).propose(3);
    group.deliver(2, said, &[2, 3]);
    assert_eq!(
        group.applied[&2].last().map(|entry| entry.index),
        Some(Index(group.server(2).last()))
    );
}
