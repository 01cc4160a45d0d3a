//! What must happen now and then, or the proof proves little. A campaign in which one of these
//! never happened fails.

macro_rules! sometimes {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {
        /// Something that a campaign must have seen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Sometimes { $($(#[doc = $doc])+ $name,)* }

        impl Sometimes {
            /// All of them.
            pub const ALL: &'static [Sometimes] = &[$(Sometimes::$name,)*];

            /// What it is, in words.
            #[must_use]
            pub fn words(self) -> &'static str {
                match self { $(Sometimes::$name => concat!($($doc),+).trim_ascii(),)* }
            }
        }
    };
}

sometimes! {
    /// a leader was elected
    LeaderElected,
    /// a leader followed another that had committed something
    LeaderChanged,
    /// two leaders of different terms were alive at once
    TwoLeadersAlive,
    /// a candidate campaigned again without having won
    ElectionRepeated,
    /// a pre-vote was refused
    PreVoteRefused,
    /// a vote was refused
    VoteRefused,
    /// a leader stepped down because it heard no quorum
    NoQuorumStepDown,
    /// a leader stepped down because its disk hung
    DiskStalledStepDown,
    /// a leader stepped down because it saw a higher term
    HigherTermStepDown,
    /// a leader stepped down because it was told to
    AskedStepDown,
    /// leadership was handed over
    LeadershipTransferred,
    /// leadership was not handed over in time
    TransferFailed,
    /// writes ended as unknown at a leader that stepped down
    WritesEndedUnknown,
    /// an append was rejected
    AppendRejected,
    /// a conflicting tail was removed
    ConflictTruncated,
    /// a conflicting tail of several terms was removed
    SeveralTermsTruncated,
    /// a tail that was durable was removed
    DurableTailTruncated,
    /// an append carried as many entries as one may
    BatchFull,
    /// a message of long ago arrived again
    OldMessageReplayed,
    /// a message of long ago arrived in a later term
    OldMessageOfAnOlderTerm,
    /// a torn tail was cut at a start
    TornTailCut,
    /// more than was known to be durable was found at a start
    UnsyncedSurvived,
    /// something that was handed to the log was lost with a crash
    UnsyncedLost,
    /// a log of several segments was recovered
    SegmentsRecovered,
    /// damage of what was synced was noticed at a start
    DamageNoticed,
    /// a failed sync ended a node
    SyncErrorEnded,
    /// a failed write ended a node
    WriteErrorEnded,
    /// a full disk ended a node
    FullDiskEnded,
    /// a node ended after a drain, before anything of it was done
    EndedDrained,
    /// a node ended between two messages
    EndedBetweenMessages,
    /// a node ended before anything handed to the log was written
    EndedHanded,
    /// a node ended in the middle of a sync
    EndedInSync,
    /// a node ended after a sync, before anyone knew
    EndedSynced,
    /// a node ended between two messages that had waited for a sync
    EndedBetweenPromises,
    /// a node ended before its core heard of a sync
    EndedPromised,
    /// a node ended in the middle of applying
    EndedBetweenApplies,
    /// a node ended before anyone heard what was applied
    EndedApplied,
    /// a node ended right after its start
    EndedStarted,
    /// a node ended before a checkpoint was durable
    EndedCapturing,
    /// a node ended when a checkpoint was durable, before its core heard of it
    EndedCaptured,
    /// a node ended when a snapshot was accepted, before anything of it was durable
    EndedAccepted,
    /// a node ended when a snapshot was its durable checkpoint, and nothing else had changed
    EndedInstalled,
    /// a node ended when a snapshot was its state, before its core heard of it
    EndedReplaced,
    /// a node ended right after its log was trimmed
    EndedTrimmed,
    /// a node started from a checkpoint
    StartedFromACheckpoint,
    /// a node started from a checkpoint that made its log obsolete
    StartedBehindItsLog,
    /// a node started without the state under its log
    StartedWithoutState,
    /// segments of a log were removed
    SegmentsTrimmed,
    /// a follower held all of a snapshot
    SnapshotSent,
    /// a snapshot was installed, and the log went on
    InstallKeptTheLog,
    /// a snapshot was installed, and the log replaced
    InstallReplacedTheLog,
    /// a snapshot that had come in whole was not accepted
    SnapshotRefused,
    /// a piece of a snapshot was sent again
    PieceRepeated,
    /// the sending of a snapshot went on where another node had left off
    SnapshotResumed,
    /// a snapshot was begun again from the start
    SnapshotRestarted,
    /// a snapshot was of no use to a node without its state
    SnapshotTooOld,
    /// a follower answered a read
    FollowerRead,
    /// a read was answered under a lease
    LeaseRead,
    /// a read could have been answered under a lease, and there was none
    LeaseNotHeld,
    /// a joint membership was committed
    JointCommitted,
    /// a joint membership was completed by another leader than began it
    ChangeCompletedByAnother,
    /// a membership that was not committed was removed again
    MembershipOverwritten,
    /// a learner became a voter
    LearnerPromoted,
    /// a voter became a standby
    VoterDemoted,
    /// a leader that was removed stepped down
    LeaderRemovedItself,
    /// a node came with another disk
    NodeReplaced,
    /// a node that was added got everything in a snapshot
    AddedNodeGotASnapshot,
    /// a change of the members was refused
    ChangeRefused,
    /// a change of the members was refused because another was under way
    ChangeUnderWay,
    /// a change of the members ended as unknown
    ChangeEndedUnknown,
    /// an operator's change of the members was answered as done
    ChangeDone,
    /// a removed node was turned away
    RemovedTurnedAway,
    /// a disk that is not the member's was turned away
    OtherDiskTurnedAway,
    /// the disk that a member had before it was added again was turned away
    FormerDiskTurnedAway,
    /// a message of a removed node reached a member
    RemovedNodeSpoke,
    /// a call was answered while a node was down
    ServedWithoutAll,
    /// a read was refused by a leader that stepped down
    ReadRefusedOnStepDown,
    /// a write was refused because too much was uncommitted
    Overloaded,
    /// a client was sent to the leader
    SentToLeader,
    /// a client resumed its session on another connection
    SessionResumed,
    /// a retried write was answered from its session
    RetryAnswered,
    /// a retried write was answered from its session in a later term
    RetryAnsweredInALaterTerm,
    /// a session expired
    SessionExpired,
    /// a session was refused because there were too many
    SessionsFull,
    /// a write whose outcome was unknown had happened
    UnknownHappened,
    /// a write whose outcome was unknown had not happened
    UnknownDidNotHappen,
    /// a compare-and-swap found something else
    SwapRefused,
    /// an append would have made a value too large
    AppendTooLarge,
    /// an increment met what is no number
    NotANumber,
    /// the cluster was whole again after all had healed
    WholeAgain,
    /// a quorum served alone in the end
    QuorumServedAlone,
}

/// How often each of them happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage(Vec<u64>);

impl Default for Coverage {
    fn default() -> Self {
        Self(vec![0; Sometimes::ALL.len()])
    }
}

impl Coverage {
    /// It happened.
    pub fn hit(&mut self, what: Sometimes) {
        if let Some(count) = self.0.get_mut(what as usize) {
            *count += 1;
        }
    }

    /// How often it happened.
    #[must_use]
    pub fn count(&self, what: Sometimes) -> u64 {
        self.0.get(what as usize).copied().unwrap_or(0)
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Coverage) {
        for (count, more) in self.0.iter_mut().zip(&other.0) {
            *count += more;
        }
    }

    /// What never happened.
    #[must_use]
    pub fn missing(&self) -> Vec<Sometimes> {
        Sometimes::ALL.iter().copied().filter(|what| self.count(*what) == 0).collect()
    }
}
