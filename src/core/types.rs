//! The nouns of the dissertation, as types. Two bare `u64` never meet in one signature.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use crate::membership::{Change, ChangeRefusal, Member, MemberRole, Membership};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A period of at most one leader; 0 before the first election (Raft §5.1).
    Term(u64)
}
number! {
    /// A place in the log. Counted from 1; 0 means "none", the place before the first entry.
    Index(u64)
}
number! {
    /// The number of a node, 1 to 65,535, as written in config.toml.
    NodeId(u64)
}
number! {
    /// Names one request that waits inside a node. Never reused within a process.
    Ticket(u64)
}
number! {
    /// A point on a node's monotonic clock, in microseconds since an origin of its own.
    /// Moments of two nodes are never compared.
    Moment(u64)
}

impl Term {
    /// The term after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Index {
    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The place before this one; 0 stays 0.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Moment {
    /// The time from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, rhs: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    fn sub(self, rhs: Duration) -> Moment {
        Moment(self.0.saturating_sub(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// An entry's term and index. The derived order (term first, then index) is the paper's
/// "at least as up-to-date" (Raft §5.4.1); it is never compared by hand.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    /// The term in which the entry was made.
    pub term: Term,
    /// The entry's place in the log.
    pub index: Index,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

/// What a node must remember for ever, as one record (Raft figure 2, "persistent state").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "search", derive(Hash))]
pub struct HardState {
    /// The latest term this node has seen.
    pub term: Term,
    /// Whom it voted for in that term. Changes only from `None` to someone within a term.
    pub vote: Option<NodeId>,
}

/// One record of the log. Cloning shares the command's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "search", derive(Hash))]
pub struct Entry {
    /// The term of the leader that made it.
    pub term: Term,
    /// Its place in the log.
    pub index: Index,
    /// What it says.
    pub payload: Payload,
}

impl Entry {
    /// What an entry is counted with beside its command.
    pub const OVERHEAD: usize = 32;

    /// Its term and index.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { term: self.term, index: self.index }
    }

    /// The bytes it is counted with against every bound: the command's and 32 of overhead.
    #[must_use]
    pub fn weight(&self) -> usize {
        Self::OVERHEAD
            + match &self.payload {
                Payload::Noop => 0,
                Payload::Command(bytes) => bytes.len(),
                Payload::Membership(membership) => membership.members.len() * 64,
            }
    }
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "search", derive(Hash))]
pub enum Payload {
    /// Nothing: a new leader's first entry (Raft §8).
    #[serde(rename = "n")]
    Noop,
    /// An opaque command of the state machine, encoded once by whoever proposed it.
    #[serde(rename = "c")]
    Command(Bytes),
    /// The members from here on; the newest such entry in the log is in effect.
    #[serde(rename = "m")]
    Membership(Membership),
}
