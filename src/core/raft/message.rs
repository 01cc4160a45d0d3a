//! The messages between nodes. Every one is one-way; a reply is just another message.

use serde::{Deserialize, Serialize};

use crate::types::{Entry, Index, Position, Term};

/// A message from one node to another. The names are the paper's; the wire's are short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "search", derive(Hash))]
pub enum Message {
    /// Would you vote for me in `term`? Changes nothing on either side (dissertation §9.6).
    #[serde(rename = "pv")]
    PreVote {
        /// The term that the sender would campaign in: its own and one.
        term: Term,
        /// The sender's last entry.
        last: Position,
    },
    /// The answer to [`Message::PreVote`].
    #[serde(rename = "pr")]
    PreVoteReply {
        /// Granted: the term asked for. Refused: the sender's own term.
        term: Term,
        /// Whether the vote would be given.
        granted: bool,
    },
    /// Vote for me in `term` (Raft §5.2).
    #[serde(rename = "rv")]
    RequestVote {
        /// The candidate's term.
        term: Term,
        /// The candidate's last entry.
        last: Position,
        /// The leader asked it to: the vote may be given although that leader is heard
        /// (dissertation §3.10).
        #[serde(default)]
        transfer: bool,
    },
    /// The answer to [`Message::RequestVote`].
    #[serde(rename = "rr")]
    RequestVoteReply {
        /// The voter's term.
        term: Term,
        /// Whether it gave its vote.
        granted: bool,
    },
    /// Entries to store (Raft §5.3); without entries, a probe.
    #[serde(rename = "ae")]
    AppendEntries {
        /// The leader's term.
        term: Term,
        /// The entry before the first one.
        prev: Position,
        /// The leader's commit index.
        commit: Index,
        /// The entries, in order, without a gap.
        entries: Vec<Entry>,
    },
    /// The answer to [`Message::AppendEntries`].
    #[serde(rename = "ar")]
    AppendEntriesReply {
        /// The follower's term.
        term: Term,
        /// The index of the `prev` that is answered, so that stale answers are told apart; 0 where
        /// the append was of an older term.
        prev: Index,
        /// What became of it.
        outcome: AppendOutcome,
    },
    /// The leader lives. Also confirms leadership for reads (dissertation §6.4).
    #[serde(rename = "hb")]
    Heartbeat {
        /// The leader's term.
        term: Term,
        /// The leader's commit index, but no more than what is known to match there.
        commit: Index,
        /// The number of this round of heartbeats, rising within a term.
        round: u64,
        /// Every member holds the log up to here: whoever leads next needs none of it in memory. 0
        /// where that is not known.
        all_hold: Index,
    },
    /// The answer to [`Message::Heartbeat`]. Promises nothing about the disk.
    #[serde(rename = "hr")]
    HeartbeatReply {
        /// The follower's term.
        term: Term,
        /// The round that is answered; 0 where the heartbeat was of an older term.
        round: u64,
        /// The index of the follower's last entry, durable or not.
        last: Index,
    },
    /// Campaign at once: your log holds all of mine (dissertation §3.10).
    #[serde(rename = "tn")]
    TimeoutNow {
        /// The leader's term.
        term: Term,
    },
    /// A follower's question: at which index may I read? (dissertation §6.4)
    #[serde(rename = "ri")]
    ReadIndex {
        /// The follower's term.
        term: Term,
        /// Names the question. Never used twice.
        id: u64,
    },
    /// The answer to [`Message::ReadIndex`], once a round that started after it came is
    /// confirmed.
    #[serde(rename = "rx")]
    ReadIndexReply {
        /// The leader's term.
        term: Term,
        /// The question.
        id: u64,
        /// The index that must be applied before the read is answered.
        index: Index,
    },
    /// A follower has a log and no state under it: it cannot apply before it gets a snapshot.
    #[serde(rename = "ws")]
    WantSnapshot {
        /// The follower's term.
        term: Term,
    },
}

/// What became of an AppendEntries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "search", derive(Hash))]
pub enum AppendOutcome {
    /// Everything up to and including this index matches the leader and is durable.
    #[serde(rename = "a")]
    Accepted(Index),
    /// `prev` does not match. The hint is the follower's last entry that could: at or below
    /// `prev` in both index and term. The leader goes on from its own such entry, so that a
    /// round trip skips a whole term (Raft §5.3, end).
    #[serde(rename = "r")]
    Rejected(Position),
}

/// Terms, indexes and rounds stay below this: a million a second would take 146,000 years. So
/// none of them is ever near its type's end, whatever a peer sends.
const LARGEST: u64 = 1 << 62;

impl Message {
    /// The term it bears.
    #[must_use]
    pub fn term(&self) -> Term {
        match self {
            Message::PreVote { term, .. }
            | Message::PreVoteReply { term, .. }
            | Message::RequestVote { term, .. }
            | Message::RequestVoteReply { term, .. }
            | Message::AppendEntries { term, .. }
            | Message::AppendEntriesReply { term, .. }
            | Message::Heartbeat { term, .. }
            | Message::HeartbeatReply { term, .. }
            | Message::TimeoutNow { term }
            | Message::ReadIndex { term, .. }
            | Message::ReadIndexReply { term, .. }
            | Message::WantSnapshot { term } => *term,
        }
    }

    /// Whether its numbers are ones that a cluster can reach.
    pub(super) fn is_plausible(&self) -> bool {
        let (first, second) = match self {
            Message::PreVote { last, .. } | Message::RequestVote { last, .. } => {
                (last.index.0, last.term.0)
            }
            Message::AppendEntries { prev, commit, .. } => (prev.index.0, commit.0),
            Message::AppendEntriesReply { prev, outcome, .. } => match outcome {
                AppendOutcome::Accepted(index) => (prev.0, index.0),
                AppendOutcome::Rejected(hint) => (prev.0, hint.index.0),
            },
            Message::Heartbeat { commit, round, all_hold, .. } => {
                (commit.0.max(all_hold.0), *round)
            }
            Message::HeartbeatReply { round, last, .. } => (last.0, *round),
            Message::ReadIndex { id, .. } => (0, *id),
            Message::ReadIndexReply { id, index, .. } => (index.0, *id),
            Message::PreVoteReply { .. }
            | Message::RequestVoteReply { .. }
            | Message::TimeoutNow { .. }
            | Message::WantSnapshot { .. } => (0, 0),
        };
        self.term().0.max(first).max(second) < LARGEST
    }
}
