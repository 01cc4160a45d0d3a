//! Bugs on purpose. A suite is worth what it finds when known bugs are put back, so the places
//! where others went wrong hold their bug behind a switch.
//!
//! Without the feature `mutants`, which no product has, [`mutant!`] is the constant `false` and
//! nothing of this is compiled. With it, [`arm`] puts one bug into this thread's cores.

#[cfg(feature = "mutants")]
use std::cell::Cell;

#[cfg(feature = "mutants")]
macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {
        /// The bugs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant { $($(#[doc = $doc])+ $name,)* }

        impl Mutant {
            /// Every one.
            pub const ALL: &[Mutant] = &[$(Mutant::$name,)*];

            /// Its name, as in the code.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Mutant::$name => stringify!($name),)* }
            }

            /// What is wrong, in a sentence.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Mutant::$name => concat!($($doc),+).trim_ascii(),)* }
            }
        }
    };
}

#[cfg(feature = "mutants")]
mutants! {
    // Elections.
    /// A vote is not part of what is made durable (C-13).
    VoteIsNotPersisted,
    /// A voter gives its vote to everyone who asks within a term (C-12).
    VotesTwiceInATerm,
    /// A candidate does not write down that it voted for itself (C-12).
    CandidateForgetsItsOwnVote,
    /// A node that becomes a follower without a new term forgets whom it voted for (C-12).
    VoteErasedOnStepDown,
    /// A vote is sent before it is durable (C-13).
    VoteLeavesBeforeItsSync,
    /// A candidate asks, and counts itself, before its term and vote are durable (C-11, C-13).
    CandidateDoesNotAwaitItsSync,
    /// Of two logs the one with the higher last index passes for newer (C-4).
    ComparesLastIndexOnly,
    /// Two logs pass for equally new when their last terms are equal (C-4).
    ComparesLastTermOnly,
    /// A vote that was given in an earlier term counts in this one (C-10).
    CountsVotesOfOlderTerms,
    /// A candidate counts a late pre-vote as a vote (C-31).
    PreVoteCountsAsVote,
    /// Half of the voters pass for a majority (C-2, C-6).
    HalfIsAQuorum,

    // Replication and commits.
    /// A leader commits entries of earlier terms by counting copies (C-1).
    CommitsOldTermsByCounting,
    /// A leader counts its own copy before its sync (C-14).
    LeaderCountsItselfUnsynced,
    /// A leader takes what it has sent for what the follower has acknowledged.
    MatchIsWhatWasSent,
    /// A leader takes a rejection's hint for a match.
    RejectionRaisesMatch,
    /// A leader counts acknowledgements of a term that it led before (C-10).
    AcksOfOlderTermsCount,
    /// A leader's heartbeats bear its commit index also where it exceeds what matches.
    HeartbeatCommitIsUnclamped,
    /// A follower commits up to its own last entry instead of the last one that matches.
    FollowerCommitIsUnclamped,
    /// A follower acknowledges its whole log instead of what matches.
    AcksItsLastIndex,
    /// A follower acknowledges entries before they are durable.
    AcksBeforeItsSync,
    /// A follower looks at the index of the entry before, not at its term.
    MatchesByIndexOnly,
    /// A follower cuts what lies behind an append, also where nothing conflicts (C-5).
    TruncatesAlways,
    /// A follower keeps its own entry where the leader's has another term.
    KeepsConflictingEntries,
    /// The log stays durable up to where it was when its tail is replaced.
    DurableSurvivesTruncation,
    /// A late sync makes durable what has since replaced the entries that were synced.
    LateSyncSpeaksForReplacedEntries,
    /// The end of one sync passes for the end of all that were asked for.
    AnySyncSpeaksForAll,
    /// The committed entries that did not fit into a batch are never applied.
    ApplySkipsWhatDidNotFit,

    // Reads, and who waits.
    /// A leader answers reads without asking anyone whether it still leads (C-30).
    ReadWithoutARound,
    /// A leader answers reads before an entry of its own term is committed (C-26).
    ReadBeforeTheNoop,
    /// A read is confirmed by a round of heartbeats that began before it arrived (C-27).
    ReadConfirmedByAnEarlierRound,
    /// A read is answered at the applied index although more is committed (C-26).
    ReadAtTheAppliedIndex,
    /// Answers to the heartbeats of an earlier leadership confirm this one's reads (C-27).
    RoundsOfOlderTermsConfirm,
    /// A follower confirms a heartbeat of an older term in that term.
    DeposedLeaderIsConfirmed,
    /// A node that does not lead answers reads from its own commit index (C-30).
    FollowerServesReads,
    /// Who waits for an index is answered by whatever entry is applied there (C-36).
    WaiterIsKnownByIndexOnly,
    /// A leader that loses its leadership says that the appended writes never happen (C-37).
    LostWritesAreRefused,

    // Progress: nothing false is said, but something that should happen does not.
    /// A leader that hears no quorum goes on to lead (C-32).
    NoCheckQuorum,
    /// A leader whose disk does not sync goes on to lead (C-29).
    LeadsWithAStalledDisk,
    /// A node says yes to pre-votes although it hears a live leader (C-31).
    PreVoteWhileTheLeaderLives,
    /// A higher term in an answer changes nothing (C-31).
    HigherTermInRepliesIsIgnored,
    /// A new leader appends no entry of its own (C-41).
    NoNoop,
    /// An append that was lost while probing is never sent again (C-41).
    LostProbeIsNotRepeated,
    /// An append that was lost while replicating is sent again only when a later one is rejected
    /// (C-41).
    LostAppendIsNotRepeated,
    /// A follower whose connection comes back is sent nothing more (C-41).
    ReturningPeerIsNotServed,
    /// The bytes in flight to a follower only grow (C-41).
    InflightIsNeverFreed,
    /// The bytes that are not committed only grow (C-33).
    UncommittedIsNeverReleased,
    /// The bytes that are handed out to be applied only grow.
    ApplyRoomIsNeverFreed,
    /// Who waits on a leader that steps down is never answered (C-36).
    WaitersAreForgotten,
}

#[cfg(feature = "mutants")]
thread_local! {
    static ARMED: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Puts one bug, or none, into the cores of this thread.
#[cfg(feature = "mutants")]
pub fn arm(mutant: Option<Mutant>) {
    ARMED.set(mutant);
}

/// Whether that bug is in.
#[cfg(feature = "mutants")]
#[must_use]
pub fn is_armed(mutant: Mutant) -> bool {
    ARMED.get() == Some(mutant)
}

/// Whether the bug of that name is in: `false`, and no code, without the feature `mutants`.
macro_rules! mutant {
    ($name:ident) => {{
        #[cfg(feature = "mutants")]
        let armed = $crate::mutant::is_armed($crate::mutant::Mutant::$name);
        #[cfg(not(feature = "mutants"))]
        let armed = false;
        armed
    }};
}
