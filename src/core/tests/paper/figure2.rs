//! Figure 2: the state, and the rules for all servers, followers, candidates and leaders.

use quorate_core::raft::{Input, Message, RoleKind};
use quorate_core::types::{HardState, Index, NodeId, Payload, Term, Ticket};

use super::server::*;

/// Raft figure 2, persistent state: "Updated on stable storage before responding to RPCs".
#[test]
fn persistent_state_is_stable_before_the_response() {
    let mut server = Server::new(3, &[], 1);
    let requests = [request_vote(2, at(1, 1)), append(2, at(1, 1), &[2], 0)];
    for request in requests {
        let effects = server.step([received(2, request)]);
        assert!(effects.messages.is_empty(), "nothing leaves before the sync");
        assert_eq!(server.sync().to(2).len(), 1);
    }
    assert_eq!(server.hard_state, HardState { term: Term(2), vote: Some(NodeId(2)) });
    assert_eq!(server.terms(), [2]);
}

/// Raft figure 2, currentTerm: "latest term server has seen (initialized to 0 on first boot,
/// increases monotonically)". Here: 1 on first boot, the term of the entry with the members.
#[test]
fn the_current_term_only_rises() {
    let mut server = Server::new(3, &[], 1);
    assert_eq!(server.term(), 1);
    let mut seen = 1;
    for term in [5, 3, 9, 2, 9, 4, 12] {
        server.hear(2, heartbeat(term, 0, 1));
        seen = term.max(seen);
        assert_eq!((server.term(), server.hard_state.term), (seen, Term(seen)));
    }
}

/// Raft figure 2, commitIndex: "index of highest log entry known to be committed (initialized to
/// 0, increases monotonically)".
#[test]
fn the_commit_index_begins_at_0_and_only_rises() {
    let mut server = Server::new(3, &[1, 1, 1], 1);
    assert_eq!(server.commit(), 0);
    for (told, known) in [(2, 2), (1, 2), (4, 4), (0, 4), (3, 4)] {
        server.hear(2, heartbeat(1, told, 1));
        assert_eq!(server.commit(), known);
    }
    server.restart();
    assert_eq!(server.commit(), 0);
}

/// Raft figure 2, lastApplied: "index of highest log entry applied to state machine (initialized
/// to 0, increases monotonically)"; and matchIndex: "index of highest log entry known to be
/// replicated on server (initialized to 0, increases monotonically)".
#[test]
fn the_applied_index_and_the_match_indexes_begin_at_0_and_only_rise() {
    let mut leader = Server::leader(3, &[1, 1], 1);
    assert_eq!(leader.node.status().applied, Index(0));
    assert_eq!(leader.follower(2).match_index, Index(0));
    for (told, known) in [(2, 2), (1, 2), (4, 4), (3, 4)] {
        leader.hear(2, accepted(2, told - 1, told));
        assert_eq!(leader.follower(2).match_index, Index(known));
    }
    assert_eq!(leader.node.status().applied, Index(4));
}

/// Raft figure 2, nextIndex: "for each server, index of the next log entry to send to that server
/// (initialized to leader last log index + 1)".
#[test]
fn the_next_index_begins_behind_the_leaders_last_entry() {
    let leader = Server::leader(5, &[1, 1], 1);
    assert_eq!(leader.last(), 4, "the three it had, and its no-op");
    for id in 2..=5 {
        assert_eq!(leader.follower(id).next_index, Index(4));
    }
}

/// Raft figure 2, volatile state on leaders: "Reinitialized after election".
#[test]
fn a_leaders_state_is_made_anew_after_each_election() {
    let mut leader = Server::leader(3, &[1, 1], 1);
    leader.hear(2, accepted(2, 3, 4));
    assert_eq!(leader.follower(2).match_index, Index(4));
    leader.feed([Input::StepDown]);
    leader.win();
    assert_eq!(leader.follower(2).match_index, Index(0));
    assert_eq!(leader.follower(2).next_index, Index(5));
}

/// Raft figure 2, all servers: "If commitIndex > lastApplied: increment lastApplied, apply
/// log[lastApplied] to state machine". Here: only what is also on the own disk is applied.
#[test]
fn what_is_committed_is_applied_in_order() {
    let mut server = Server::new(3, &[1, 1, 1], 1);
    let mut applied = vec![];
    for commit in [1, 3, 3, 4] {
        applied.extend(server.hear(2, heartbeat(1, commit, 1)).applied);
        assert_eq!(server.node.status().applied, Index(commit));
    }
    assert_eq!(applied, server.log);
}

/// Server 1 of three in each of the roles, in term 2 where it leads or campaigns.
fn in_every_role() -> [Server; 4] {
    let mut pre_candidate = Server::new(3, &[], 2);
    pre_candidate.time_out();
    let mut candidate = Server::new(3, &[], 1);
    candidate.campaign();
    [Server::new(3, &[], 2), pre_candidate, candidate, Server::leader(3, &[], 1)]
}

/// Raft figure 2, all servers: "If RPC request or response contains term T > currentTerm: set
/// currentTerm = T, convert to follower". Here: not for a granted pre-vote, whose term is only
/// the one asked about, nor for a vote request while a leader lives (see `liveness`).
#[test]
fn a_higher_term_is_adopted_and_makes_a_follower() {
    let term = Term(7);
    let messages = [
        append(7, at(1, 1), &[], 0),
        heartbeat(7, 0, 1),
        rejected(7, 1, at(0, 0)),
        accepted(7, 1, 1),
        beaten(7, 1, 1),
        granted(7),
        denied(7),
        Message::PreVoteReply { term, granted: false },
        request_vote(7, at(1, 1)),
    ];
    for message in messages {
        for mut server in in_every_role() {
            let leads = server.role() == RoleKind::Leader;
            if leads && matches!(message, Message::RequestVote { .. }) {
                continue;
            }
            server.hear(2, message.clone());
            assert_eq!((server.role(), server.term()), (RoleKind::Follower, 7), "{message:?}");
        }
    }
}

/// Raft figure 2, followers: "Respond to RPCs from candidates and leaders".
#[test]
fn followers_respond_to_candidates_and_leaders() {
    let requests = [
        pre_vote(3, at(1, 1)),
        request_vote(3, at(1, 1)),
        append(3, at(1, 1), &[3], 0),
        append(3, at(9, 3), &[3], 0),
        heartbeat(3, 0, 1),
    ];
    for request in requests {
        let said = Server::new(3, &[], 1).hear(2, request);
        assert_eq!((said.to(2).len(), said.to(3).len()), (1, 0));
    }
}

/// Raft figure 2, followers: "If election timeout elapses without receiving AppendEntries RPC
/// from current leader or granting vote to candidate: convert to candidate". Here: by way of
/// pre-votes, and a heartbeat counts as an AppendEntries.
#[test]
fn a_silent_election_timeout_makes_a_candidate() {
    let mut server = Server::new(3, &[], 1);
    server.wait(T - 1);
    assert_eq!(server.role(), RoleKind::Follower);
    server.campaign();
    assert!((T..=2 * T).contains(&server.now), "after {} ms", server.now);
    assert_eq!((server.role(), server.term()), (RoleKind::Candidate, 2));
}

/// The same sentence: what the timeout starts over at, and what not.
#[test]
fn only_the_current_leader_and_a_vote_given_put_the_timeout_off() {
    let patience = {
        let mut server = Server::new(3, &[1, 1], 4);
        server.time_out();
        server.now
    };
    let timed_out_at = |message: Message| {
        let mut server = Server::new(3, &[1, 1], 4);
        server.wait(patience - 1);
        server.hear(2, message);
        server.time_out();
        server.now
    };
    for putting_off in [append(4, at(3, 1), &[], 0), heartbeat(4, 0, 1), request_vote(4, at(3, 1))]
    {
        assert!(timed_out_at(putting_off) >= patience - 1 + T);
    }
    let stale = [append(3, at(3, 1), &[], 0), heartbeat(3, 0, 1), request_vote(3, at(9, 3))];
    for futile in stale.into_iter().chain([request_vote(4, at(2, 1)), pre_vote(5, at(3, 1))]) {
        assert_eq!(timed_out_at(futile), patience);
    }
}

/// Raft figure 2, candidates: "On conversion to candidate, start election: Increment currentTerm,
/// Vote for self, Reset election timer, Send RequestVote RPCs to all other servers".
#[test]
fn a_candidate_starts_an_election() {
    let mut server = Server::new(5, &[1, 2], 2);
    let (term, said) = server.campaign();
    assert_eq!(term, 3);
    assert_eq!(server.hard_state, HardState { term: Term(3), vote: Some(NodeId(1)) });
    for id in 2..=5 {
        assert!(said.to(id).contains(&&request_vote(3, at(3, 2))));
    }
    server.wait(T - 1);
    assert_eq!(server.role(), RoleKind::Candidate, "its timer runs anew");
}

/// Raft figure 2, candidates: "If votes received from majority of servers: become leader".
#[test]
fn a_majority_of_votes_makes_a_leader() {
    for size in 2..=7 {
        let mut server = Server::new(size, &[], 1);
        server.campaign();
        let needed = size / 2;
        for voter in 2..2 + needed {
            assert_eq!(server.role(), RoleKind::Candidate, "{size} servers");
            server.hear(voter, granted(2));
        }
        assert_eq!(server.role(), RoleKind::Leader, "{size} servers");
    }
}

/// Raft figure 2, candidates: "If AppendEntries RPC received from new leader: convert to
/// follower".
#[test]
fn a_candidate_that_hears_the_new_leader_follows() {
    for message in [append(2, at(1, 1), &[2], 0), heartbeat(2, 0, 1)] {
        let mut server = Server::new(3, &[], 1);
        server.campaign();
        server.hear(3, message);
        let status = server.node.status();
        assert_eq!((status.role, status.term), (RoleKind::Follower, Term(2)));
        assert_eq!(status.leader, Some(NodeId(3)));
    }
}

/// Raft figure 2, candidates: "If election timeout elapses: start new election".
#[test]
fn a_candidate_without_a_winner_starts_a_new_election() {
    let mut server = Server::new(3, &[], 1);
    for term in 2..6 {
        assert_eq!(server.campaign().0, term);
    }
}

/// Raft figure 2, leaders: "Upon election: send initial empty AppendEntries RPCs (heartbeat) to
/// each server; repeat during idle periods to prevent election timeouts". Here: a heartbeat is a
/// message of its own.
#[test]
fn a_leader_beats_upon_election_and_while_idle() {
    let mut leader = Server::new(3, &[], 1);
    let mut said = leader.win();
    for round in 1..=20 {
        for id in [2, 3] {
            assert!(said.to(id).contains(&&heartbeat(2, 0, round)), "round {round} to {id}");
        }
        assert_eq!(leader.role(), RoleKind::Leader);
        leader.hear(2, beaten(2, round, 1));
        said = leader.wait(HEARTBEAT);
    }
}

/// Raft figure 2, leaders: "If command received from client: append entry to local log, respond
/// after entry applied to state machine".
#[test]
fn a_command_is_appended_and_answered_when_applied() {
    let mut leader = Server::leader(3, &[], 1);
    leader.hear(2, accepted(2, 1, 2));
    let said = leader.propose(42);
    assert_eq!(leader.last(), 3);
    assert!(said.answered.is_empty() && said.refused.is_empty());
    let said = leader.hear(3, accepted(2, 1, 3));
    assert_eq!(said.answered, [(Index(3), Ticket(42))]);
    let last = said.applied.last().expect("it is applied");
    assert_eq!(last.payload, Payload::Command("command 42".into()));
}

/// Raft figure 2, leaders: "If last log index ≥ nextIndex for a follower: send AppendEntries RPC
/// with log entries starting at nextIndex".
#[test]
fn a_follower_is_sent_what_begins_at_its_next_index() {
    let mut leader = Server::leader(3, &[1, 1], 1);
    let said = leader.hear(2, accepted(2, 3, 4));
    assert!(said.appends(2).is_empty(), "nothing is at its next index");
    assert_eq!(leader.follower(2).next_index, Index(5));
    let said = leader.propose(1);
    assert_eq!(said.appends(2), [(at(4, 2), vec![2])]);
    assert!(said.appends(3).is_empty(), "one probe at a time, and one is out");
    let said = leader.hear(3, rejected(2, 3, at(1, 1)));
    assert_eq!(said.appends(3), [(at(1, 1), vec![1, 1, 2, 2])]);
}

/// Raft figure 2, leaders: "If successful: update nextIndex and matchIndex for follower".
#[test]
fn a_success_moves_both_indexes() {
    let mut leader = Server::leader(3, &[1, 1], 1);
    leader.hear(2, accepted(2, 3, 4));
    let follower = leader.follower(2);
    assert_eq!((follower.match_index, follower.next_index), (Index(4), Index(5)));
}

/// Raft figure 2, leaders: "If AppendEntries fails because of log inconsistency: decrement
/// nextIndex and retry". Here: by as much as the follower's hint allows.
#[test]
fn an_inconsistency_moves_the_next_index_back_and_is_tried_again() {
    let mut leader = Server::leader(3, &[1, 1, 1], 1);
    assert_eq!(leader.follower(2).next_index, Index(5));
    let said = leader.hear(2, rejected(2, 4, at(3, 1)));
    assert_eq!(said.appends(2), [(at(3, 1), vec![1, 2])]);
    let said = leader.hear(2, rejected(2, 3, at(1, 1)));
    assert_eq!(said.appends(2), [(at(1, 1), vec![1, 1, 1, 2])]);
    assert_eq!(leader.follower(2).match_index, Index(0));
}

/// Raft figure 2, leaders: "If there exists an N such that N > commitIndex, a majority of
/// matchIndex[i] ≥ N, and log[N].term == currentTerm: set commitIndex = N". All that two, three
/// and four followers can hold, with the leader's own log as one more copy.
#[test]
fn the_commit_index_is_the_largest_that_a_majority_holds() {
    // Entries 1 to 3 are of term 1, the leader's own term begins with entry 4.
    let (last, own_from) = (6, 4);
    for followers in 2..=4 {
        for case in 0..(last + 1u64).pow(followers) {
            let mut leader = Server::leader(u64::from(followers) + 1, &[1, 1], 1);
            leader.propose(1);
            leader.propose(2);
            let held = (0..followers).map(|place| case / (last + 1).pow(place) % (last + 1));
            let mut copies = vec![last];
            let mut inputs = vec![];
            for (id, index) in (2..).zip(held) {
                copies.push(index);
                inputs.push(received(id, accepted(2, 0, index)));
            }
            leader.feed(inputs);
            let majority =
                |n: &u64| copies.iter().filter(|copy| *copy >= n).count() * 2 > copies.len();
            let expected = (own_from..=last).filter(majority).max().unwrap_or(0);
            assert_eq!(leader.commit(), expected, "{copies:?}");
        }
    }
}
