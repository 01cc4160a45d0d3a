//! The state machine: applies the log's entries, in order.

use super::command::{Command, WriteOp};
use super::data::Data;
use super::digest::{self, Tally};
use super::sessions::Sessions;
use crate::types::{Index, Payload};
use crate::wire::client::{OpResult, Success};

/// Everything that the log has decided. A clone is a point in time and costs a handful of
/// reference counts, whatever the size of the state.
#[derive(Clone, Debug)]
pub struct StateMachine {
    pub(super) applied: Index,
    pub(super) data: Data,
    pub(super) sessions: Sessions,
}

impl Default for StateMachine {
    fn default() -> Self {
        Self::new()
    }
}

impl StateMachine {
    /// The state before the log's first entry: no keys, no sessions, revision 1.
    #[must_use]
    pub fn new() -> Self {
        Self { applied: Index(0), data: Data::new(), sessions: Sessions::default() }
    }

    /// Applies the next entry, and gives the result of its command; `None` for an entry that
    /// bears none. The session that an `OpenSession` made has the entry's index as its id.
    ///
    /// # Panics
    /// When `index` does not follow the applied index, and when the command cannot be read: a
    /// replica that does not understand a committed entry must stop, or it would diverge.
    pub fn apply(&mut self, index: Index, payload: &Payload) -> Option<OpResult> {
        let applied = self.applied;
        assert!(index == applied.next(), "entry {index} is applied after entry {applied}");
        self.applied = index;
        match payload {
            Payload::Noop | Payload::Membership(_) => None,
            Payload::Command(bytes) => match Command::decode(bytes) {
                Ok(command) => Some(self.execute(index, command)),
                Err(error) => panic!(
                    "committed entry {index} cannot be applied, so this node must stop: {error} \
                     (was the entry written by a newer version?)"
                ),
            },
        }
    }

    fn execute(&mut self, index: Index, command: Command) -> OpResult {
        match command {
            Command::OpenSession { ttl_ms, window, max_sessions } => {
                self.sessions.open(index, ttl_ms, window, max_sessions)
            }
            Command::KeepAlive { session } => self.sessions.keep_alive(session),
            Command::CloseSession { session } => self.sessions.close(session),
            Command::Clock { advance_ms } => {
                self.sessions.advance(advance_ms);
                Ok(Success::Empty)
            }
            Command::Write { session: 0, value_bytes, op, .. } => {
                self.data.execute(op, value_bytes, index)
            }
            Command::Write { session, id, acked, value_bytes, op } => {
                self.write_once(index, session, id, acked, value_bytes, op)
            }
        }
    }

    fn write_once(
        &mut self,
        index: Index,
        session: u64,
        id: u64,
        acked: u64,
        value_bytes: u64,
        op: WriteOp,
    ) -> OpResult {
        let Self { data, sessions, .. } = self;
        if mutant!(ExpiredSessionsExecute) && !sessions.contains(session) {
            return data.execute(op, value_bytes, index);
        }
        sessions.once(session, id, acked, || data.execute(op, value_bytes, index))
    }

    /// The hash of the state: equal on replicas at equal applied index.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.mixed(self.tally())
    }

    /// The hash, made anew from every entry, session and reply instead of kept. It equals
    /// [`hash`](Self::hash) unless memory or this code is at fault; costs a walk of the state.
    #[must_use]
    pub fn recompute_hash(&self) -> u64 {
        self.mixed(self.recount())
    }

    fn mixed(&self, tally: Tally) -> u64 {
        let (revision, clock_ms) = (self.data.revision(), self.sessions.clock_ms());
        digest::state(tally.hash, self.applied.0, revision, clock_ms)
    }

    /// The hash and bytes of all items, as kept.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = self.data.tally();
        tally.add(self.sessions.tally());
        tally
    }

    /// The hash and bytes of all items, counted anew.
    pub(super) fn recount(&self) -> Tally {
        let mut tally = self.data.recount();
        tally.add(self.sessions.recount());
        tally
    }
}
