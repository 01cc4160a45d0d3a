//! The core through the search: clean within the bounds, and with bugs put back in, not.

use std::time::Instant;

use super::*;

/// One further term and nothing else; the tests say what more.
const BOUNDS: Bounds = Bounds {
    terms: 1,
    proposals: 0,
    duplicates: 0,
    crashes: 0,
    heartbeats: false,
    reduced: true,
    max_states: 4_000_000_000,
};

/// Figure 8 of the paper at moment (c), but for the entry that S3 lacks.
fn figure_8() -> Start {
    Start::seeded(3, &[&[1, 2], &[1], &[1, 3]])
}

/// Logs that leaders of terms 2 and 3 can leave behind, with the term they are in.
fn left_behind() -> Vec<Start> {
    let logs: [(u64, [&[u64]; 3]); 4] = [
        (3, [&[1, 2], &[1], &[1, 3]]),
        (2, [&[2], &[2], &[]]),
        (3, [&[2], &[], &[3]]),
        (3, [&[2, 2], &[2, 3], &[2]]),
    ];
    logs.iter().map(|(term, logs)| Start::seeded(*term, logs)).collect()
}

/// Searches, says how it went, and expects nothing to be found and nothing to be left.
fn clean(start: &Start, bounds: &Bounds) {
    let began = Instant::now();
    let explored = explore(start, bounds);
    println!("{start:?}\n{bounds:?}\n  {:.2?}: {explored}", began.elapsed());
    assert!(explored.violation.is_none(), "{start:?}, {bounds:?}: {explored}");
    assert!(explored.complete, "{start:?}, {bounds:?}: {explored}");
}

#[test]
fn a_fresh_cluster_keeps_the_rules() {
    clean(&Start::fresh(3), &Bounds { proposals: 2, ..BOUNDS });
    clean(&Start::fresh(3), &Bounds { proposals: 1, heartbeats: true, ..BOUNDS });
    clean(&Start::fresh(3), &Bounds { proposals: 1, crashes: 1, ..BOUNDS });
    clean(&Start::fresh(3), &Bounds { terms: 2, duplicates: 1, ..BOUNDS });
    clean(&Start::fresh(3), &Bounds { terms: 2, proposals: 1, ..BOUNDS });
}

#[test]
fn logs_that_leaders_left_behind_keep_the_rules() {
    for start in left_behind() {
        clean(&start, &Bounds { crashes: 1, ..BOUNDS });
        clean(&start, &Bounds { terms: 2, ..BOUNDS });
    }
}

#[test]
fn nothing_is_found_without_reductions() {
    let whole = Bounds { reduced: false, ..BOUNDS };
    clean(&Start::fresh(3), &whole);
    clean(&Start::fresh(3), &Bounds { proposals: 1, ..whole });
}

#[test]
fn a_bound_that_cuts_the_search_short_is_told() {
    let explored = explore(&Start::fresh(3), &Bounds { max_states: 10, ..BOUNDS });
    assert!(!explored.complete);
    assert!(explored.violation.is_none());
    assert_eq!(explored.states, 10);
}

#[test]
fn the_same_search_sees_the_same() {
    let bounds = Bounds { terms: 2, ..BOUNDS };
    let [one, two] = [(); 2].map(|()| explore(&figure_8(), &bounds));
    assert_eq!((one.states, one.transitions), (two.states, two.transitions));
}

/// Minutes in a release build; `QUORATE_SEARCH=full` asks for it.
#[test]
fn larger_bounds_keep_the_rules() {
    if std::env::var("QUORATE_SEARCH").as_deref() != Ok("full") {
        return;
    }
    let two = Bounds { terms: 2, ..BOUNDS };
    let fresh = Start::fresh(3);
    clean(&fresh, &Bounds { crashes: 1, ..two });
    clean(&fresh, &Bounds { proposals: 1, duplicates: 1, ..two });
    clean(&fresh, &Bounds { proposals: 1, heartbeats: true, ..two });
    clean(&fresh, &Bounds { proposals: 1, crashes: 1, heartbeats: true, ..BOUNDS });
    clean(&fresh, &Bounds { crashes: 1, reduced: false, ..BOUNDS });
    for start in left_behind() {
        clean(&start, &Bounds { crashes: 1, ..two });
        clean(&start, &Bounds { duplicates: 1, ..two });
    }
    clean(&fresh, &Bounds { proposals: 2, ..two });
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;
    use quorate_core::mutant::{Mutant, arm};

    const TWO: Bounds = Bounds { terms: 2, ..BOUNDS };
    const CRASH: Bounds = Bounds { crashes: 1, ..BOUNDS };
    const CRASH_OF_TWO: Bounds = Bounds { crashes: 1, ..TWO };

    /// The shortest way to what the bug breaks.
    fn found(mutant: Mutant, start: &Start, bounds: &Bounds) -> Violation {
        arm(Some(mutant));
        let explored = explore(start, bounds);
        arm(None);
        println!("{}: {}\n{explored}\n", mutant.name(), mutant.sentence());
        explored.violation.unwrap_or_else(|| panic!("{} is not found", mutant.name()))
    }

    #[test]
    fn figure_8_is_rediscovered() {
        let bug = Mutant::CommitsOldTermsByCounting;
        for bounds in [TWO, Bounds { reduced: false, ..TWO }] {
            let violation = found(bug, &figure_8(), &bounds);
            assert!(violation.what.starts_with("leader completeness"), "{violation}");
        }
    }

    #[test]
    fn the_double_vote_is_rediscovered() {
        for bounds in [CRASH, Bounds { reduced: false, ..CRASH }] {
            let violation = found(Mutant::VoteIsNotPersisted, &Start::fresh(3), &bounds);
            assert!(violation.what.starts_with("one vote"), "{violation}");
        }
    }

    #[test]
    fn bugs_of_elections_are_found() {
        let fresh = Start::fresh(3);
        found(Mutant::VotesTwiceInATerm, &fresh, &BOUNDS);
        found(Mutant::CandidateForgetsItsOwnVote, &fresh, &BOUNDS);
        found(Mutant::VoteLeavesBeforeItsSync, &fresh, &BOUNDS);
        found(Mutant::CandidateDoesNotAwaitItsSync, &fresh, &BOUNDS);
        found(Mutant::PreVoteCountsAsVote, &fresh, &BOUNDS);
        found(Mutant::CountsVotesOfOlderTerms, &fresh, &Bounds { duplicates: 1, ..TWO });
        found(Mutant::VoteErasedOnStepDown, &figure_8(), &CRASH_OF_TWO);
        found(Mutant::ComparesLastTermOnly, &fresh, &Bounds { proposals: 1, ..TWO });
        found(Mutant::ComparesLastIndexOnly, &Start::seeded(2, &[&[2, 2, 2], &[], &[]]), &TWO);
        found(Mutant::HalfIsAQuorum, &Start::fresh(4), &BOUNDS);
    }

    #[test]
    fn bugs_of_replication_are_found() {
        let fresh = Start::fresh(3);
        found(Mutant::LeaderCountsItselfUnsynced, &fresh, &CRASH);
        found(Mutant::AcksBeforeItsSync, &fresh, &CRASH);
        found(Mutant::TruncatesAlways, &fresh, &CRASH);
        found(Mutant::AnySyncSpeaksForAll, &fresh, &Bounds { proposals: 1, ..CRASH });
        found(Mutant::MatchIsWhatWasSent, &fresh, &Bounds { duplicates: 1, ..TWO });
        found(Mutant::KeepsConflictingEntries, &fresh, &TWO);
        found(
            Mutant::HeartbeatCommitIsUnclamped,
            &fresh,
            &Bounds { proposals: 1, heartbeats: true, ..TWO },
        );
        found(Mutant::MatchesByIndexOnly, &figure_8(), &TWO);
        found(Mutant::AcksOfOlderTermsCount, &figure_8(), &CRASH_OF_TWO);
        found(Mutant::FollowerCommitIsUnclamped, &figure_8(), &CRASH_OF_TWO);
        found(Mutant::AcksItsLastIndex, &figure_8(), &CRASH_OF_TWO);
        found(Mutant::DurableSurvivesTruncation, &figure_8(), &CRASH_OF_TWO);
    }
}
