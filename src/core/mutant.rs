//! Bugs on purpose. A suite is worth what it finds when known bugs are put back, so the places
//! where others went wrong hold their bug behind a switch.
//!
//! Without the feature `mutants`, which no product has, `mutant!` is the constant `false` and
//! nothing of this is compiled. With it, `arm` puts one bug into this thread's cores.

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
    // Members.
    /// Learners count in quorums (B6.8, C-6).
    LearnersCount,
    /// While the members change, a quorum of the new voters is enough (B10.5).
    JointNeedsOneQuorum,
    /// Members are changed before the leader has committed an entry of its term (C-42).
    ChangeBeforeTheNoop,
    /// A change may follow one that is not complete (B10.3).
    ChangesOverlap,
    /// Whoever was removed is heard like a member (B10.8).
    RemovedNodesAreHeard,
    /// A member gets the log from before it was added, in which its id may be another's.
    ReplaysFromBeforeItWasAdded,
    /// A node whose removal is in its log only does not campaign, though nobody else may win.
    RemovedNodesNeverCampaign,
    /// A node whose removal is pending says that nothing added it: it is taken for a former disk.
    RemovedNodesForgetTheyWereAdded,
    /// A leader that was removed goes before those who wait on it are answered.
    RemovedLeaderForgetsWhoWaits,
    // Leases.
    /// A voter that learns of a later term forgets what it promised to the leader before.
    PromiseEndsWithTheTerm,
    // Transfer.
    /// The target is told to campaign while writes still wait on the old leader.
    TransferForgetsWhoWaits,
    /// The target is told to campaign before it holds the leader's log (B11.2).
    TransferDoesNotWait,
    // Memberships in the log.
    /// A membership counts only once it is committed (B10.4).
    MembershipTakesEffectOnCommit,
    /// A membership that a new leader removes from the log stays in effect (C-44).
    RemovedMembershipStays,
    /// After a snapshot the members are those of the log that it replaced (C-44).
    SnapshotKeepsTheOldMembers,
    /// A change is completed before its joint membership is committed (B10.5).
    JointIsLeftUncommitted,
    /// A leader that was removed leads on (B10.7).
    RemovedLeaderStays,
    /// What a leader knows of a member's log outlives the member's removal (C-23).
    ProgressOutlivesItsIncarnation,
    // Leases.
    /// A leader answers under its lease while and after it hands leadership over (B6.10).
    LeaseSurvivesATransfer,
    /// A lease is as long as nobody is elected by the leader's own clock (B6.9).
    LeaseIgnoresItsMargin,
    /// A lease counts from when its round was answered (C-28).
    LeaseCountsFromTheAnswer,
    /// A voter that starts again has forgotten that it promised to elect nobody (C-28).
    PromiseEndsWithTheProcess,
    /// A voter that loses its leader's connection forgets what it promised (C-28).
    PromiseEndsWithTheConnection,
    // Trimming the log.
    /// A log that began anew behind a snapshot is read as if it had not.
    WalResetIsNotReplayed,
    /// A segment goes although a later one removes entries from before its own beginning.
    WalTrimIgnoresTruncations,
    // Checkpoints and snapshots.
    /// The log lets go of what is applied, though no checkpoint holds it yet (C-21).
    TrimsBeyondTheCheckpoint,
    /// Memory lets go of what is committed and not applied yet.
    ForgetsWhatIsNotApplied,
    /// Memory lets go of what a member still lacks, and no snapshot is on its way.
    ForgetsWhatAMemberLacks,
    /// A snapshot from before the commit index is installed (B7.5).
    InstallsOldSnapshots,
    /// The log is kept although it does not hold the snapshot's last entry (B7.4).
    InstallKeepsTheLog,
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

    // The log on disk.
    /// A sync says that it is done, and does nothing (C-16).
    WalDoesNotSync,
    /// A new term and vote are staged but not synced until an entry comes (C-13).
    WalTermAloneIsNotSynced,
    /// The disk's error is swallowed and the log goes on.
    WalSwallowsAnError,
    /// A new segment's name is not made durable.
    WalSegmentNameIsNotSynced,
    /// A segment's seal is not made durable before the next segment is.
    WalSealIsNotSynced,
    /// A new segment's header does not bear the vote, and the header is believed (C-13).
    WalHeaderForgetsTheVote,
    /// A new segment's header tells of what is only staged.
    WalHeaderTellsWhatIsStaged,
    /// Recovery passes over truncations.
    WalTruncationIsNotReplayed,
    /// A torn tail is left in the file, and its records are not tied to the ones before.
    WalOldTailComesBack,
    /// A torn tail passes for damage, so that the node does not start (C-20).
    WalTornTailIsRefused,
    /// Damage passes for a torn tail, so that what was synced is cut (C-16).
    WalDamageIsCut,
    /// A record's checksum does not cover its payload (C-16).
    WalPayloadIsNotChecked,
    /// What was read back passes for durable although it may be only in memory (C-15).
    WalTrustsWhatItReads,

    // The state machine and its sessions.
    /// A write that comes twice is executed twice (C-34).
    DedupIsIgnored,
    /// A retry is answered with the session's newest reply instead of its own.
    RetryGetsAnothersReply,
    /// A write that was acknowledged long ago is executed again when it comes again (C-34).
    ForgottenIdsRunAgain,
    /// A write of an expired session is executed (C-34).
    ExpiredSessionsExecute,
    /// A write lets all replies go, and refuses all writes, with ids below its own.
    EachIdAcknowledgesThoseBelow,
    /// A compare-and-swap writes although something else was expected.
    FailedSwapWrites,
    /// The delete of a missing key raises the revision.
    DeleteOfNothingIsAWrite,
    /// The state's hash and bytes keep what was deleted.
    HashKeepsWhatIsDeleted,

    // The client.
    /// A write is tried again under a new id (C-34).
    RetryTakesANewId,
    /// A write that waited when its connection broke passes for one that was never sent (C-37).
    LossIsNoDoubt,
    /// A refusal makes forget that an earlier sending may have been executed (C-37).
    RefusalClearsTheDoubt,
    /// A refusal for good is believed although an earlier sending may have been executed (C-37).
    RefusalSettlesEarlierSendings,
    /// A write without an answer ends at its deadline as not executed (C-37).
    DeadlineSaysNotExecuted,
    /// A new session sends what may have been executed in the old one (C-34).
    NewSessionRepeatsDoubtfulWrites,
    /// A write without a session is sent again after an unknown outcome (C-38).
    SessionlessWritesAreRepeated,
    /// Ids that have no answer are acknowledged.
    AckedRunsAhead,
    /// Writes are sent again in the opposite order of their ids.
    ResendsBackwards,

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
    /// Nothing that a session's client does moves its deadline.
    SessionsAreNotRenewed,
    /// Sessions stay for ever, until no further one is let in (C-33).
    SessionsNeverExpire,
    /// The time of an outage counts against sessions that could not be kept alive in it.
    OutageAgesSessions,
    /// A client waits for ever for a node that does not answer.
    HungNodeIsNeverLeft,
    /// A heartbeat of an older term is answered with its round, and confirms reads of this one.
    AnswersOldRounds,
    /// Writes that were given up hold their places in the client's window (C-33).
    GivenUpWritesHoldTheWindow,
}

#[cfg(feature = "mutants")]
thread_local! {
    static ARMED: Cell<Option<Mutant>> = Cell::new(named());
}

/// The bug that `QUORATE_MUTANT` names, for tests that know nothing of bugs on purpose.
#[cfg(feature = "mutants")]
fn named() -> Option<Mutant> {
    let name = std::env::var("QUORATE_MUTANT").ok()?;
    Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name)
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
