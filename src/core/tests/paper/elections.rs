//! §5.1, §5.2 and §5.4.1: terms, leader election, and who may win one.

use std::collections::BTreeSet;

use quorate_core::raft::{AppendOutcome, Message, Refusal, RoleKind};
use quorate_core::types::{NodeId, Ticket};

use super::server::*;

/// Raft §5.1: "if one server's current term is smaller than the other's, then it updates its
/// current term to the larger value".
#[test]
fn the_smaller_term_gives_way_to_the_larger() {
    let (mut behind, mut ahead) =
        (Server::numbered(1, 3, &[], 2, 1), Server::numbered(2, 3, &[], 6, 2));
    let said = ahead.hear(1, heartbeat(2, 0, 1));
    assert_eq!(ahead.term(), 6);
    behind.hear(2, said.only().clone());
    assert_eq!(behind.term(), 6);
}

/// Raft §5.1: "If a candidate or leader discovers that its term is out of date, it immediately
/// reverts to follower state."
#[test]
fn a_candidate_or_leader_of_an_old_term_reverts_at_once() {
    let mut candidate = Server::new(3, &[], 1);
    candidate.campaign();
    let mut leader = Server::leader(3, &[], 1);
    for server in [&mut candidate, &mut leader] {
        server.step([received(2, denied(3))]);
        assert_eq!(server.role(), RoleKind::Follower);
    }
}

/// Raft §5.1: "If a server receives a request with a stale term number, it rejects the request."
#[test]
fn requests_of_a_stale_term_are_rejected() {
    let server = || Server::new(3, &[], 5);
    assert!(!server().hear(2, request_vote(4, at(9, 4))).vote());
    let outcome = server().hear(2, append(4, at(1, 1), &[4], 0)).outcome();
    assert!(matches!(outcome, AppendOutcome::Rejected(_)));
    for request in [heartbeat(4, 0, 1), pre_vote(4, at(9, 4))] {
        let mut server = server();
        let said = server.hear(2, request);
        assert_eq!(said.only().term().0, 5, "the answer is of the newer term");
        let refused = match said.only() {
            Message::PreVoteReply { granted, .. } => !granted,
            Message::HeartbeatReply { .. } => server.node.status().leader.is_none(),
            _ => false,
        };
        assert!(refused);
    }
}

/// Raft §5.1: "Followers are passive: they issue no requests on their own but simply respond to
/// requests from leaders and candidates."
#[test]
fn followers_issue_no_requests() {
    let mut server = Server::new(3, &[1], 1);
    for _ in 0..20 {
        assert!(server.wait(T - 1).sent.is_empty());
        assert_eq!(server.hear(2, heartbeat(1, 2, 1)).sent.len(), 1);
    }
}

/// Raft §5.1: "if a client contacts a follower, the follower redirects it to the leader".
#[test]
fn a_follower_redirects_to_the_leader() {
    let mut server = Server::new(3, &[], 1);
    assert_eq!(server.propose(1).refused, [(Ticket(1), Refusal::NoLeader)]);
    server.hear(3, heartbeat(1, 0, 1));
    let leader = Refusal::NotLeader(NodeId(3));
    assert_eq!(server.propose(2).refused, [(Ticket(2), leader)]);
    // A read it answers itself, at the index that the leader names (dissertation §6.4).
    let asked = server.read(3).sent;
    assert!(matches!(asked[..], [(3, Message::ReadIndex { .. })]), "{asked:?}");
}

/// Raft §5.2: "When servers start up, they begin as followers."
#[test]
fn servers_begin_as_followers() {
    assert_eq!(Server::new(3, &[], 1).role(), RoleKind::Follower);
    let mut leader = Server::leader(3, &[], 1);
    leader.restart();
    assert_eq!((leader.role(), leader.term()), (RoleKind::Follower, 2));
    assert_eq!(leader.hard_state.vote, Some(NodeId(1)), "and remember their vote");
}

/// Raft §5.2: "A server remains in follower state as long as it receives valid RPCs from a leader
/// or candidate."
#[test]
fn a_follower_that_is_spoken_to_stays_one() {
    let mut server = Server::new(3, &[], 1);
    for term in 2..20 {
        server.wait(T - 1);
        server.hear(2 + term % 2, request_vote(term, at(1, 1)));
        server.wait(T - 1);
        server.hear(2 + term % 2, append(term, at(1, 1), &[], 0));
        assert_eq!((server.role(), server.term()), (RoleKind::Follower, term));
    }
}

/// Raft §5.2: "It then votes for itself and issues RequestVote RPCs in parallel to each of the
/// other servers in the cluster." Its own vote counts when its disk holds it.
#[test]
fn a_candidate_votes_for_itself_and_asks_all_at_once() {
    let mut server = Server::new(5, &[], 1);
    server.time_out();
    let yes = Message::PreVoteReply { term: quorate_core::types::Term(2), granted: true };
    server.step([received(2, yes.clone()), received(3, yes)]);
    let asked: BTreeSet<u64> = server.sync().sent.into_iter().map(|(to, _)| to).collect();
    assert_eq!(asked, BTreeSet::from([2, 3, 4, 5]));
    server.hear(4, granted(2));
    server.hear(5, granted(2));
    assert_eq!(server.role(), RoleKind::Leader, "two votes and its own");
}

/// Raft §5.2: "A candidate wins an election if it receives votes from a majority of the servers in
/// the full cluster for the same term." Neither doubles, nor strangers, nor votes of another term.
#[test]
fn only_votes_of_members_for_the_term_count_and_each_once() {
    let mut server = Server::new(5, &[], 1);
    server.campaign();
    server.campaign();
    for (from, term) in [(2, 3), (2, 3), (2, 3), (3, 2), (4, 1), (9, 3), (1, 3)] {
        server.hear(from, granted(term));
        assert_eq!(server.role(), RoleKind::Candidate, "{from} in {term}");
    }
    server.hear(5, granted(3));
    assert_eq!(server.role(), RoleKind::Leader);
}

/// Raft §5.2: "Each server will vote for at most one candidate in a given term, on a
/// first-come-first-served basis". Also across a crash.
#[test]
fn votes_are_given_first_come_first_served() {
    for first in 2..=5 {
        let mut server = Server::new(5, &[], 1);
        assert!(server.hear(first, request_vote(2, at(1, 1))).vote());
        for restarted in [false, true] {
            if restarted {
                server.restart();
            }
            for candidate in 2..=5 {
                let said = server.hear(candidate, request_vote(2, at(9, 1)));
                assert_eq!(said.vote(), candidate == first);
            }
        }
    }
}

/// Raft §5.2: "The majority rule ensures that at most one candidate can win the election for a
/// particular term". Every way in which five servers can divide their votes between two.
#[test]
fn at_most_one_of_two_candidates_wins() {
    for division in 0..8u64 {
        let leads = |id: u64, own: u64| {
            let mut candidate = Server::numbered(id, 5, &[], 1, id);
            candidate.campaign();
            for voter in 3..=5 {
                let chosen = division >> (voter - 3) & 1 == own;
                candidate.hear(voter, if chosen { granted(2) } else { denied(2) });
            }
            candidate.hear(3 - id, denied(2));
            candidate.role() == RoleKind::Leader
        };
        let won = [leads(1, 0), leads(2, 1)];
        assert!(won[0] != won[1], "five votes have one majority: {won:?}");
    }
}

/// Raft §5.2: "Once a candidate wins an election, it becomes leader. It then sends heartbeat
/// messages to all of the other servers to establish its authority and prevent new elections."
#[test]
fn the_winner_makes_itself_known_to_all() {
    let mut winner = Server::numbered(1, 3, &[], 1, 1);
    let mut loser = Server::numbered(2, 3, &[], 1, 2);
    loser.campaign();
    let said = winner.win();
    for message in said.to(2) {
        loser.hear(1, message.clone());
    }
    assert_eq!(loser.role(), RoleKind::Follower);
    assert_eq!(loser.node.status().leader, Some(NodeId(1)));
    assert!(!said.to(3).is_empty());
}

/// Raft §5.2: "If the leader's term (included in its RPC) is at least as large as the candidate's
/// current term, then the candidate recognizes the leader as legitimate and returns to follower
/// state. If the term in the RPC is smaller than the candidate's current term, then the candidate
/// rejects the RPC and continues in candidate state."
#[test]
fn a_candidate_recognizes_a_leader_by_its_term() {
    for (term, legitimate) in [(1, false), (2, false), (3, true), (4, true)] {
        for message in [append(term, at(1, 1), &[], 0), heartbeat(term, 0, 1)] {
            let mut server = Server::new(3, &[], 2);
            server.campaign();
            let said = server.hear(2, message);
            let role = if legitimate { RoleKind::Follower } else { RoleKind::Candidate };
            assert_eq!(server.role(), role, "a leader of term {term}, a candidate of term 3");
            assert_eq!(said.only().term().0, term.max(3));
        }
    }
}

/// Raft §5.2: "When this happens, each candidate will time out and start a new election by
/// incrementing its term and initiating another round of RequestVote RPCs." After a split vote.
#[test]
fn a_split_vote_ends_in_a_new_election() {
    let mut candidates = [1, 2, 3, 4].map(|id| Server::numbered(id, 4, &[], 1, id));
    for candidate in &mut candidates {
        candidate.campaign();
        for other in candidate.others() {
            candidate.hear(other, denied(2));
        }
        assert_eq!(candidate.role(), RoleKind::Candidate);
        let (term, said) = candidate.campaign();
        assert_eq!(term, 3);
        for other in candidate.others() {
            assert!(said.to(other).contains(&&request_vote(3, at(1, 1))));
        }
    }
}

/// Raft §5.2: "election timeouts are chosen randomly from a fixed interval (e.g., 150–300ms)".
#[test]
fn election_timeouts_are_spread_over_their_interval() {
    let timeouts: Vec<u64> = (0..200)
        .map(|seed| {
            let mut server = Server::numbered(1, 3, &[], 1, seed);
            server.time_out();
            server.now
        })
        .collect();
    assert!(timeouts.iter().all(|timeout| (T..=2 * T).contains(timeout)));
    // Each fifth of the interval gets about its share.
    for fifth in 0..5 {
        let from = T + fifth * T / 5;
        let count = timeouts.iter().filter(|timeout| (from..from + T / 5).contains(timeout));
        assert!((20..=60).contains(&count.count()), "{timeouts:?}");
    }
}

/// Raft §5.2: "Each candidate restarts its randomized election timeout at the start of an
/// election, and it waits for that timeout to elapse before starting the next election".
#[test]
fn a_candidate_waits_a_new_random_timeout_for_each_election() {
    let mut server = Server::new(3, &[], 1);
    let mut waits = BTreeSet::new();
    server.campaign();
    for _ in 0..10 {
        let before = server.now;
        server.campaign();
        let waited = server.now - before;
        assert!((T..=2 * T).contains(&waited));
        waits.insert(waited);
    }
    assert!(waits.len() > 5, "{waits:?}");
}

/// Raft §5.4.1: "the voter denies its vote if its own log is more up-to-date than that of the
/// candidate". "If the logs have last entries with different terms, then the log with the later
/// term is more up-to-date. If the logs end with the same term, then whichever log is longer is
/// more up-to-date."
#[test]
fn the_more_up_to_date_log_denies_its_vote() {
    let mine = at(4, 3);
    for (theirs, up_to_date) in [
        (at(4, 3), true),
        (at(5, 3), true),
        (at(3, 3), false),
        (at(1, 4), true),
        (at(9, 4), true),
        (at(9, 2), false),
        (at(4, 2), false),
        (at(4, 4), true),
    ] {
        let mut server = Server::new(3, &[1, 2, 3], 6);
        assert_eq!(server.node.status().last_index, mine.index);
        assert_eq!(server.hear(2, request_vote(7, theirs)).vote(), up_to_date, "{theirs}");
        let mut server = Server::new(3, &[1, 2, 3], 6);
        let said = server.hear(2, pre_vote(7, theirs));
        let Message::PreVoteReply { granted, .. } = said.only() else { panic!("{said:?}") };
        assert_eq!(*granted, up_to_date, "and its pre-vote: {theirs}");
    }
}

/// Raft §5.4.1: "the RPC includes information about the candidate's log".
#[test]
fn a_vote_request_tells_of_the_candidates_last_entry() {
    let mut server = Server::new(3, &[1, 2, 2, 5], 6);
    let (term, said) = server.campaign();
    for id in [2, 3] {
        assert_eq!(said.to(id), [&pre_vote(term, at(5, 5)), &request_vote(term, at(5, 5))]);
    }
}
