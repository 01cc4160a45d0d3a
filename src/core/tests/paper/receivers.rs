//! Figure 2: what the receivers of RequestVote and of AppendEntries do, step by step.

use quorate_core::raft::AppendOutcome;
use quorate_core::types::{Index, NodeId};

use super::server::*;

/// Raft figure 2, RequestVote, 1: "Reply false if term < currentTerm".
#[test]
fn a_vote_request_of_an_old_term_is_denied() {
    let mut server = Server::new(3, &[1], 5);
    for term in 1..5 {
        let said = server.hear(2, request_vote(term, at(9, 4)));
        assert_eq!(*said.only(), denied(5), "and the sender learns the term");
    }
    assert_eq!(server.hard_state.vote, None);
}

/// Raft figure 2, RequestVote, 2: "If votedFor is null or candidateId, and candidate's log is at
/// least as up-to-date as receiver's log, grant vote".
#[test]
fn a_vote_needs_a_free_vote_and_an_up_to_date_log() {
    for voted in [None, Some(2), Some(3)] {
        for last in [at(2, 2), at(9, 1), at(1, 1), at(3, 2), at(1, 3)] {
            let mut server = Server::new(3, &[2], 4);
            if let Some(other) = voted {
                assert!(server.hear(other, request_vote(4, at(9, 3))).vote());
            }
            let free = voted != Some(3);
            let said = server.hear(2, request_vote(4, last));
            assert_eq!(said.vote(), free && last >= at(2, 2), "voted {voted:?}, asked for {last}");
            let granted = said.vote().then_some(2).or(voted);
            assert_eq!(server.hard_state.vote, granted.map(NodeId));
        }
    }
}

/// Raft figure 2, votedFor: "candidateId that received vote in current term (or null if none)".
#[test]
fn a_new_term_frees_the_vote() {
    let mut server = Server::new(3, &[], 1);
    assert!(server.hear(2, request_vote(2, at(1, 1))).vote());
    assert!(!server.hear(3, request_vote(2, at(1, 1))).vote());
    assert!(server.hear(3, request_vote(3, at(1, 1))).vote());
    server.hear(2, beaten(4, 1, 1));
    assert_eq!(server.hard_state.vote, None);
}

/// Raft figure 2, AppendEntries, 1: "Reply false if term < currentTerm".
#[test]
fn an_append_of_an_old_term_is_refused() {
    let mut server = Server::new(3, &[1], 5);
    let said = server.hear(2, append(4, at(2, 1), &[4, 4], 2));
    assert_eq!(*said.only(), rejected(5, 0, at(0, 0)), "the sender learns the term");
    assert_eq!((server.terms(), server.commit()), (vec![1], 0));
    assert_eq!(server.node.status().leader, None);
}

/// Raft figure 2, AppendEntries, 2: "Reply false if log doesn't contain an entry at prevLogIndex
/// whose term matches prevLogTerm". Here: the answer also hints at where the logs may match.
#[test]
fn an_append_behind_what_does_not_match_is_refused() {
    for (prev, hint) in [
        (at(5, 2), at(4, 2)),
        (at(9, 4), at(4, 2)),
        (at(4, 3), at(3, 2)),
        (at(3, 1), at(2, 1)),
        (at(2, 4), at(1, 1)),
    ] {
        let mut server = Server::new(3, &[1, 2, 2], 5);
        let said = server.hear(2, append(5, prev, &[5], 9));
        assert_eq!(said.outcome(), AppendOutcome::Rejected(hint), "behind {prev}");
        assert_eq!((server.terms(), server.commit()), (vec![1, 2, 2], 0));
    }
}

/// Raft figure 2, AppendEntries, 3: "If an existing entry conflicts with a new one (same index
/// but different terms), delete the existing entry and all that follow it".
#[test]
fn a_conflict_deletes_the_entry_and_all_behind_it() {
    let mut server = Server::new(3, &[1, 2, 2, 2, 2], 5);
    let said = server.hear(2, append(5, at(2, 1), &[2, 4], 0));
    assert_eq!(said.outcome(), AppendOutcome::Accepted(Index(4)));
    assert_eq!(server.terms(), [1, 2, 4]);
}

/// The same sentence, read the other way: without a conflict nothing is deleted, so a short
/// append that arrives late does not cut what came after it.
#[test]
fn without_a_conflict_nothing_is_deleted() {
    let mut server = Server::new(3, &[1, 2, 2, 2, 2], 5);
    for terms in [&[][..], &[2], &[2, 2]] {
        server.hear(2, append(5, at(2, 1), terms, 0));
        assert_eq!(server.terms(), [1, 2, 2, 2, 2]);
    }
}

/// Raft figure 2, AppendEntries, 4: "Append any new entries not already in the log".
#[test]
fn what_is_not_in_the_log_is_appended() {
    let mut server = Server::new(3, &[1, 2], 5);
    let said = server.hear(2, append(5, at(1, 1), &[1, 2, 2, 5], 0));
    assert_eq!(said.outcome(), AppendOutcome::Accepted(Index(5)));
    assert_eq!(server.terms(), [1, 2, 2, 5]);
    server.hear(2, append(5, at(5, 5), &[5], 0));
    assert_eq!(server.terms(), [1, 2, 2, 5, 5]);
}

/// Raft figure 2, AppendEntries, 5: "If leaderCommit > commitIndex, set commitIndex =
/// min(leaderCommit, index of last new entry)".
#[test]
fn the_commit_index_goes_no_further_than_the_last_new_entry() {
    for (prev, terms, told, expected) in [
        (at(1, 1), &[1][..], 1, 1),
        (at(1, 1), &[1], 2, 2),
        (at(1, 1), &[1], 4, 2),
        (at(1, 1), &[], 4, 1),
        (at(3, 2), &[2, 5, 5], 4, 4),
        (at(3, 2), &[2, 5, 5], 9, 6),
    ] {
        // Its entries 3 and 4 may be another leader's, until an append says otherwise.
        let mut server = Server::new(3, &[1, 2, 2], 5);
        server.hear(2, append(5, prev, terms, told));
        assert_eq!(server.commit(), expected, "behind {prev} {terms:?}, commit {told}");
    }
}
