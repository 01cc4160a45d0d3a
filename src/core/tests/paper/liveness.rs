//! Who disturbs whom: Raft §5.6 and §6 (disruptive servers), dissertation §4.2.3, §6.2 (a leader
//! without its cluster) and §9.6 (pre-vote).

use quorate_core::raft::{Message, Refusal, RoleKind};
use quorate_core::types::{HardState, NodeId, Term, Ticket};

use super::server::*;

fn pre_vote_answer(said: &Said) -> (u64, bool) {
    let Message::PreVoteReply { term, granted } = said.only() else { panic!("{said:?}") };
    (term.0, *granted)
}

/// Raft §5.6: "Raft will be able to elect and maintain a steady leader as long as the system
/// satisfies" broadcast time ≪ election timeout ≪ mean time between failures. A minute of it.
#[test]
fn a_leader_is_steady_while_broadcasts_are_quick() {
    let mut group = Group::new(&[&[], &[], &[]]);
    let all = [1, 2, 3];
    assert!(group.elect(1, &all));
    for _ in 0..60_000 / HEARTBEAT {
        group.beat(1, &all);
        for follower in [2, 3] {
            let said = group.server(follower).wait(HEARTBEAT);
            group.deliver(follower, said, &all);
        }
    }
    let status = group.server(1).node.status();
    assert_eq!((status.role, status.term), (RoleKind::Leader, Term(2)));
}

/// Raft §6: "if a server receives a RequestVote RPC within the minimum election timeout of hearing
/// from a current leader, it does not update its term or grant its vote." (Dissertation §4.2.3.)
#[test]
fn a_vote_request_beside_a_living_leader_changes_nothing() {
    let mut server = Server::new(3, &[], 2);
    server.hear(2, heartbeat(2, 0, 1));
    server.wait(T - 1);
    let said = server.hear(3, request_vote(9, at(9, 8)));
    assert!(said.sent.is_empty());
    assert_eq!(server.hard_state, HardState { term: Term(2), vote: None });
    server.wait(1);
    assert!(server.hear(3, request_vote(9, at(9, 8))).vote(), "the minimum timeout has passed");
}

/// The same section: "This does not affect normal elections, where each server waits at least a
/// minimum election timeout before starting an election."
#[test]
fn a_normal_election_is_not_affected() {
    let mut group = Group::new(&[&[], &[], &[]]);
    assert!(group.elect(1, &[1, 2, 3]));
    group.beat(1, &[1, 2, 3]);
    // The leader dies; its followers' clocks go on alike.
    for _ in 0..4 * T {
        for id in [2, 3] {
            let said = group.server(id).wait(1);
            group.deliver(id, said, &[2, 3]);
        }
    }
    let roles = [2, 3].map(|id| group.server(id).role());
    assert_eq!(roles.iter().filter(|role| **role == RoleKind::Leader).count(), 1, "{roles:?}");
}

/// Dissertation §4.2.3: a leader that can get heartbeats to its cluster is not deposed by larger
/// term numbers of disruptive servers. Here: a leader ignores vote requests; it steps down for the
/// term in any other message, which frees a server that is stuck with a larger term.
#[test]
fn a_leader_is_not_voted_away() {
    let mut leader = Server::leader(3, &[], 1);
    assert!(leader.hear(3, request_vote(9, at(9, 8))).sent.is_empty());
    assert_eq!((leader.role(), leader.term()), (RoleKind::Leader, 2));
    leader.hear(3, beaten(9, 1, 1));
    assert_eq!((leader.role(), leader.term()), (RoleKind::Follower, 9));
}

/// Dissertation §6.2: "a leader in Raft steps down if an election timeout elapses without a
/// successful round of heartbeats to a majority of its cluster; this allows clients to retry their
/// requests with another server." A write that waited is unknown, a read did not happen.
#[test]
fn a_leader_without_its_cluster_steps_down() {
    let mut leader = Server::leader(5, &[], 1);
    leader.propose(1);
    leader.read(2);
    // One follower of four is not a majority.
    let mut refused = vec![];
    for _ in 0..T / HEARTBEAT {
        assert_eq!(leader.role(), RoleKind::Leader);
        let said = leader.wait(HEARTBEAT);
        let round = said.round();
        refused.extend(said.refused);
        if let Some(round) = round {
            leader.hear(2, beaten(2, round, 1));
        }
    }
    assert_eq!((leader.role(), leader.term()), (RoleKind::Follower, 2));
    assert_eq!(refused, [(Ticket(1), Refusal::Unknown), (Ticket(2), Refusal::NoLeader)]);
}

/// The same sentence: with a majority it stays, whoever the majority is.
#[test]
fn a_leader_with_a_majority_stays() {
    let mut leader = Server::leader(5, &[], 1);
    for turn in 0..50 {
        let said = leader.wait(HEARTBEAT);
        let round = said.round().expect("a heartbeat is due");
        for follower in [2 + turn % 4, 2 + (turn + 1) % 4] {
            leader.hear(follower, beaten(2, round, 1));
        }
    }
    assert_eq!(leader.role(), RoleKind::Leader);
}

/// Dissertation §6.2, of the leader's identity: "They must discard this information when starting
/// a new election or when the term changes."
#[test]
fn the_leaders_identity_is_discarded_with_an_election_or_a_term() {
    let follower = || {
        let mut server = Server::new(3, &[], 1);
        server.hear(3, heartbeat(1, 0, 1));
        assert_eq!(server.node.status().leader, Some(NodeId(3)));
        server
    };
    let mut starting = follower();
    starting.time_out();
    assert_eq!(starting.propose(1).refused, [(Ticket(1), Refusal::NoLeader)]);
    let mut later = follower();
    later.hear(2, denied(2));
    assert_eq!(later.propose(1).refused, [(Ticket(1), Refusal::NoLeader)]);
}

/// Dissertation §9.6: "In the Pre-Vote algorithm, a candidate only increments its term if it first
/// learns from a majority of the cluster that they would be willing to grant the candidate their
/// votes".
#[test]
fn a_term_is_raised_only_with_a_majority_of_pre_votes() {
    let mut server = Server::new(5, &[], 1);
    let said = server.time_out();
    for id in 2..=5 {
        assert_eq!(said.to(id), [&pre_vote(2, at(1, 1))], "and no RequestVote");
    }
    let answer = |granted| Message::PreVoteReply { term: Term(2), granted };
    server.hear(2, answer(true));
    server.hear(2, answer(true));
    server.hear(9, answer(true));
    server.hear(3, Message::PreVoteReply { term: Term(1), granted: false });
    server.hear(4, Message::PreVoteReply { term: Term(3), granted: true });
    assert_eq!((server.role(), server.term()), (RoleKind::PreCandidate, 1));
    assert_eq!(server.hard_state, HardState { term: Term(1), vote: None });
    server.hear(5, answer(true));
    assert_eq!((server.role(), server.term()), (RoleKind::Candidate, 2));
}

/// The same sentence, its parenthesis: "(if the candidate's log is sufficiently up-to-date, and
/// the voters have not received heartbeats from a valid leader for at least a baseline election
/// timeout)". And the voter itself changes nothing.
#[test]
fn a_pre_vote_needs_an_up_to_date_log_and_the_leaders_silence() {
    let mut server = Server::new(3, &[2], 2);
    assert_eq!(pre_vote_answer(&server.hear(3, pre_vote(3, at(9, 1)))), (2, false));
    assert_eq!(pre_vote_answer(&server.hear(3, pre_vote(3, at(2, 2)))), (3, true));
    server.hear(2, heartbeat(2, 0, 1));
    server.wait(T - 1);
    assert_eq!(pre_vote_answer(&server.hear(3, pre_vote(3, at(2, 2)))), (2, false));
    server.wait(1);
    assert_eq!(pre_vote_answer(&server.hear(3, pre_vote(3, at(2, 2)))), (3, true));
    assert_eq!(server.hard_state, HardState { term: Term(2), vote: None });
    assert_eq!(server.role(), RoleKind::Follower);
}

/// Dissertation §9.6: while a server is partitioned, it cannot increment its term; "Once the server
/// receives a heartbeat from the leader itself, it will return to the follower state (in the same
/// term)."
#[test]
fn a_partitioned_server_comes_back_in_the_same_term() {
    let mut server = Server::new(3, &[], 2);
    server.hear(2, heartbeat(2, 0, 1));
    server.wait(60_000);
    assert_eq!((server.role(), server.term()), (RoleKind::PreCandidate, 2));
    server.hear(2, heartbeat(2, 0, 601));
    assert_eq!((server.role(), server.term()), (RoleKind::Follower, 2));
}

/// Dissertation §9.6: when it rejoins, the others have been receiving heartbeats from the leader,
/// so it does not get their pre-votes, and the leader stays.
#[test]
fn a_server_that_rejoins_disturbs_nobody() {
    let mut group = Group::new(&[&[], &[], &[]]);
    let all = [1, 2, 3];
    assert!(group.elect(1, &all));
    for _ in 0..50 {
        group.beat(1, &[1, 2]);
        group.server(2).wait(HEARTBEAT);
        group.server(3).wait(HEARTBEAT);
    }
    // Its question comes first, then the leader's heartbeat.
    let said = group.server(3).time_out();
    group.deliver(3, said, &all);
    assert_eq!(group.server(3).role(), RoleKind::PreCandidate);
    group.beat(1, &all);
    let ends = all.map(|id| (group.server(id).role(), group.server(id).term()));
    let follows = (RoleKind::Follower, 2);
    assert_eq!(ends, [(RoleKind::Leader, 2), follows, follows]);
}
