//! The state machine: applies the log's entries, in order.

use super::changes::Changes;
use super::command::{Command, CommandError, WriteOp};
use super::data::Data;
use super::digest::{self, Tally};
use super::sessions::Sessions;
use crate::types::{Entry, Index, Membership, Payload, Position};
use crate::wire::client::{OpResult, Success};

/// So many entries are read ahead of the one that is applied: what their keys bring into the
/// processor's nearest cache stays there until it is needed.
pub(super) const AHEAD: usize = 64;

/// With fewer keys than these the caches hold what is needed anyway.
pub(super) const MANY: usize = 1 << 15;

/// Everything that the log has decided. A clone is a point in time and costs a count of
/// references for each thousand keys; what changed since the last checkpoint is noted in the
/// original only.
#[derive(Debug)]
pub struct StateMachine {
    pub(super) applied: Position,
    /// The newest membership applied.
    pub(super) membership: Option<Membership>,
    pub(super) data: Data,
    pub(super) sessions: Sessions,
    /// What changed since the last checkpoint.
    pub(super) changes: Changes,
}

impl Clone for StateMachine {
    fn clone(&self) -> Self {
        self.point_in_time()
    }
}

impl Default for StateMachine {
    fn default() -> Self {
        Self::new()
    }
}

/// The command that an entry bears, if it bears one.
fn read(entry: &Entry) -> Option<Result<Command, CommandError>> {
    match &entry.payload {
        Payload::Command(bytes) => Some(Command::decode(bytes)),
        Payload::Noop | Payload::Membership(_) => None,
    }
}

impl StateMachine {
    /// The state before the log's first entry: no keys, no sessions, revision 1.
    #[must_use]
    pub fn new() -> Self {
        Self {
            applied: Position::default(),
            membership: None,
            data: Data::default(),
            sessions: Sessions::default(),
            changes: Changes::since(Data::default().revision()),
        }
    }

    /// Applies the next entry, and gives the result of its command; `None` for an entry that
    /// bears none. The session that an `OpenSession` made has the entry's index as its id.
    ///
    /// # Panics
    /// When the entry does not follow the applied one, and when the command cannot be read: a
    /// replica that does not understand a committed entry must stop, or it would diverge.
    pub fn apply(&mut self, entry: &Entry) -> Option<OpResult> {
        self.apply_read(entry, read(entry))
    }

    /// Applies the next entries, in less time than one after the other: their keys are looked up
    /// together, so that the processor waits for all of them at once. Each result is given away
    /// before the next entry is applied.
    ///
    /// # Panics
    /// As [`apply`](Self::apply).
    pub fn apply_all(&mut self, entries: &[Entry], mut done: impl FnMut(&Entry, Option<OpResult>)) {
        if self.data.map().len() < MANY {
            return entries.iter().for_each(|entry| done(entry, self.apply(entry)));
        }
        let mut commands = Vec::with_capacity(AHEAD.min(entries.len()));
        for entries in entries.chunks(AHEAD) {
            commands.extend(entries.iter().map(read));
            let read = commands.iter().filter_map(|read| read.as_ref()?.as_ref().ok());
            self.data.fetch(read.filter_map(Command::key));
            for (entry, command) in entries.iter().zip(commands.drain(..)) {
                done(entry, self.apply_read(entry, command));
            }
        }
    }

    fn apply_read(
        &mut self,
        entry: &Entry,
        command: Option<Result<Command, CommandError>>,
    ) -> Option<OpResult> {
        let (index, applied) = (entry.index, self.applied.index);
        assert!(index == applied.next(), "entry {index} is applied after entry {applied}");
        assert!(entry.term >= self.applied.term, "the terms of applied entries fall");
        self.applied = entry.position();
        if let Payload::Membership(membership) = &entry.payload {
            self.membership = Some(membership.clone());
        }
        match command? {
            Ok(command) => Some(self.execute(index, command)),
            Err(error) => panic!(
                "committed entry {index} cannot be applied, so this node must stop: {error} \
                 (was the entry written by a newer version?)"
            ),
        }
    }

    fn execute(&mut self, index: Index, command: Command) -> OpResult {
        match command {
            Command::OpenSession { ttl_ms, window, max_sessions } => {
                self.sessions.open(index, ttl_ms, window, max_sessions, &mut self.changes)
            }
            Command::KeepAlive { session } => self.sessions.keep_alive(session, &mut self.changes),
            Command::CloseSession { session } => {
                self.sessions.close(session, &mut self.changes);
                Ok(Success::Empty)
            }
            Command::Clock { advance_ms } => {
                self.sessions.advance(advance_ms, &mut self.changes);
                Ok(Success::Empty)
            }
            Command::Write { session: 0, value_bytes, op, .. } => {
                self.data.execute(op, value_bytes, index, &mut self.changes)
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
        let Self { data, sessions, changes, .. } = self;
        if mutant!(ExpiredSessionsExecute) && !sessions.contains(session) {
            return data.execute(op, value_bytes, index, changes);
        }
        sessions.once(session, id, acked, changes, |changes| {
            data.execute(op, value_bytes, index, changes)
        })
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
        let Position { term, index } = self.applied;
        let members = digest::membership(self.membership.as_ref());
        digest::state([tally.hash, index.0, term.0, members, revision, clock_ms])
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
