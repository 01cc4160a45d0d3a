//! The sessions: the cluster clock, deadlines, and each session's replies (dissertation §6.3).
//!
//! Of each session the state keeps the replies of its newest writes, by id, and a mark: every
//! id at or below it is forgotten.
//!
//! ```text
//!      forgotten          cached replies: 6 8 9          never seen: 7, and all above 9
//!  ──────────────┤5├────────────────────────────────────────────────────────────────► id
//!  stale_request      the reply of the first execution    executed, then cached
//! ```
//!
//! The mark rises when the client acknowledges (`acked`) and when more than `window` replies
//! are kept. An id below the mark that never arrived is refused as well, so it will never be
//! executed; a client that keeps its ids within `window` of its oldest unanswered one never
//! meets this.

use std::ops::Bound;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};

use super::changes::Changes;
use super::digest::{self, Tally};
use super::record::{self, Record, RecordError, SessionRecord};
use super::replies::{Replies, Reply};
use crate::types::Index;
use crate::wire::client::{ErrorCode, Failure, KeyValue, OpResult, Success};

/// What a session is counted with: its numbers, its deadline and its share of the maps.
const SESSION_OVERHEAD_BYTES: u64 = 256;

/// What a cached reply is counted with beside the bytes that it bears.
const REPLY_OVERHEAD_BYTES: u64 = 192;

/// All sessions, and the clock that ends them.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    clock_ms: u64,
    map: OrdMap<u64, Session>,
    /// Every session as (deadline, id): the order of expiry.
    deadlines: OrdSet<(u64, u64)>,
    /// How many replies are kept in all.
    replies: u64,
    tally: Tally,
}

/// One client's identity.
#[derive(Clone, Debug)]
struct Session {
    id: u64,
    ttl_ms: u64,
    window: u64,
    deadline_ms: u64,
    /// Every id up to this one is forgotten.
    forgotten: u64,
    /// In which period it last changed ([`Changes`]); 0 where that was before a checkpoint.
    period: u64,
    replies: Replies,
    /// Of the session's own numbers.
    own: Tally,
    /// Of its replies.
    cached: Tally,
}

impl Sessions {
    pub(super) fn clock_ms(&self) -> u64 {
        self.clock_ms
    }

    pub(super) fn len(&self) -> u64 {
        self.map.len() as u64
    }

    pub(super) fn contains(&self, session: u64) -> bool {
        self.map.contains_key(&session)
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// The tally, counted anew from every session and reply.
    pub(super) fn recount(&self) -> Tally {
        let mut tally = Tally::default();
        for (id, session) in &self.map {
            tally.add(session.own_tally());
            for reply in session.replies.iter() {
                tally.add(reply_tally(*id, reply.id, &reply.result));
            }
        }
        tally
    }

    pub(super) fn replies_len(&self) -> u64 {
        self.replies
    }

    /// The records of the sessions from there on, in order.
    pub(super) fn records(&self, from: Bound<u64>) -> impl Iterator<Item = Record> + '_ {
        self.map.range((from, Bound::Unbounded)).map(|(id, session)| Record {
            name: record::session_name(*id),
            value: session.encode(),
        })
    }

    /// The records of all replies behind that one, in order.
    pub(super) fn replies(&self, after: (u64, u64)) -> impl Iterator<Item = Record> + '_ {
        let (session, id) = after;
        self.map.range(session..).flat_map(move |(of, session)| {
            let replies = session.replies.after(if *of == after.0 { id } else { 0 });
            replies.map(|reply| Record {
                name: record::reply_name(*of, reply.id),
                value: record::encode_reply(&reply.result),
            })
        })
    }

    /// The value of a session's record, if it is there.
    pub(super) fn record(&self, session: u64) -> Option<Bytes> {
        self.map.get(&session).map(Session::encode)
    }

    /// A reply, if it is kept.
    pub(super) fn reply(&self, session: u64, id: u64) -> Option<&OpResult> {
        let reply = self.map.get(&session)?.replies.get(id)?;
        Some(&reply.result)
    }

    /// The replies of a session that were kept in that period, as (session, id).
    pub(super) fn replies_of_period(
        &self,
        session: u64,
        period: u64,
    ) -> impl Iterator<Item = (u64, u64)> + '_ {
        let replies = self.map.get(&session).into_iter().flat_map(|of| of.replies.iter());
        let kept = replies.filter(move |reply| reply.period == period);
        kept.map(move |reply| (session, reply.id))
    }

    /// Sets the cluster clock, of a state that is put together.
    pub(super) fn set_clock(&mut self, clock_ms: u64) {
        self.clock_ms = clock_ms;
    }

    /// Puts a session in as its record says.
    pub(super) fn insert(&mut self, id: u64, record: &SessionRecord) {
        let SessionRecord { ttl_ms, window, deadline_ms, forgotten } = *record;
        let mut session = Session::new(id, ttl_ms, window, deadline_ms);
        session.forgotten = forgotten;
        session.own = session.own_tally();
        self.tally.add(session.tally());
        self.deadlines.insert((deadline_ms, id));
        self.map.insert(id, session);
    }

    /// Puts a reply in; its session is there.
    pub(super) fn insert_reply(
        &mut self,
        session: u64,
        id: u64,
        result: OpResult,
    ) -> Result<(), RecordError> {
        let missing = || RecordError(format!("a reply of session {session}, which is not there"));
        let of = self.map.get_mut(&session).ok_or_else(missing)?;
        self.tally.remove(of.tally());
        of.cache(id, result, 0);
        self.tally.add(of.tally());
        self.replies += 1;
        Ok(())
    }

    /// Makes the session whose id is `index`.
    pub(super) fn open(
        &mut self,
        index: Index,
        ttl_ms: u64,
        window: u64,
        max_sessions: u64,
        changes: &mut Changes,
    ) -> OpResult {
        if self.len() >= max_sessions {
            return Err(too_many_sessions(max_sessions));
        }
        let deadline_ms = self.clock_ms.saturating_add(ttl_ms);
        let mut session = Session::new(index.0, ttl_ms, window.max(1), deadline_ms);
        session.period = changes.session(session.id, session.period);
        self.tally.add(session.tally());
        self.deadlines.insert((deadline_ms, session.id));
        self.map.insert(session.id, session);
        Ok(Success::Empty)
    }

    /// Moves a session's deadline.
    pub(super) fn keep_alive(&mut self, session: u64, changes: &mut Changes) -> OpResult {
        let touched = self.with(session, changes, |_, _| Success::Empty);
        touched.ok_or_else(|| session_expired(session))
    }

    /// Ends a session. One that is gone already is no error: what was asked for is so.
    pub(super) fn close(&mut self, session: u64, changes: &mut Changes) {
        if let Some(session) = self.map.remove(&session) {
            self.deadlines.remove(&(session.deadline_ms, session.id));
            self.gone(&session, changes);
        }
    }

    fn gone(&mut self, session: &Session, changes: &mut Changes) {
        self.tally.remove(session.tally());
        self.replies -= session.replies.len();
        changes.session(session.id, session.period);
        for reply in session.replies.iter() {
            changes.reply_gone(session.id, reply.id, reply.period);
        }
    }

    /// Advances the clock and ends the sessions whose deadline it reaches, in order of
    /// (deadline, id).
    pub(super) fn advance(&mut self, advance_ms: u64, changes: &mut Changes) {
        self.clock_ms = self.clock_ms.saturating_add(advance_ms);
        while let Some((deadline_ms, id)) = self.deadlines.get_min().copied()
            && deadline_ms <= self.clock_ms
            && !mutant!(SessionsNeverExpire)
        {
            self.deadlines.remove(&(deadline_ms, id));
            let session = self.map.remove(&id).expect("every deadline has its session");
            self.gone(&session, changes);
        }
    }

    /// Gives the reply of the session's write `id`, and runs `execute` to make it if this id
    /// never ran: the rule of at most once.
    pub(super) fn once(
        &mut self,
        session: u64,
        id: u64,
        acked: u64,
        changes: &mut Changes,
        execute: impl FnOnce(&mut Changes) -> OpResult,
    ) -> OpResult {
        let answered = self
            .with(session, changes, |session, changes| session.once(id, acked, changes, execute));
        answered.unwrap_or_else(|| Err(session_expired(session)))
    }

    /// Lets `act` change a session, moves its deadline, and keeps the tally true.
    fn with<R>(
        &mut self,
        id: u64,
        changes: &mut Changes,
        act: impl FnOnce(&mut Session, &mut Changes) -> R,
    ) -> Option<R> {
        let session = self.map.get_mut(&id)?;
        session.period = changes.session(id, session.period);
        self.tally.remove(session.tally());
        let replies = session.replies.len();
        let deadline_ms = self.clock_ms.saturating_add(session.ttl_ms);
        if deadline_ms != session.deadline_ms && !mutant!(SessionsAreNotRenewed) {
            self.deadlines.remove(&(session.deadline_ms, id));
            self.deadlines.insert((deadline_ms, id));
            session.deadline_ms = deadline_ms;
        }
        let result = act(session, changes);
        session.own = session.own_tally();
        self.tally.add(session.tally());
        self.replies = self.replies + session.replies.len() - replies;
        Some(result)
    }
}

impl Session {
    fn new(id: u64, ttl_ms: u64, window: u64, deadline_ms: u64) -> Self {
        let (replies, own, cached) = (Replies::default(), Tally::default(), Tally::default());
        let (forgotten, period) = (0, 0);
        let mut session =
            Self { id, ttl_ms, window, deadline_ms, forgotten, period, replies, own, cached };
        session.own = session.own_tally();
        session
    }

    fn encode(&self) -> Bytes {
        record::encode(&SessionRecord {
            ttl_ms: self.ttl_ms,
            window: self.window,
            deadline_ms: self.deadline_ms,
            forgotten: self.forgotten,
        })
    }

    fn own_tally(&self) -> Tally {
        let numbers = [self.id, self.ttl_ms, self.window, self.deadline_ms, self.forgotten];
        Tally { hash: digest::session(numbers), bytes: SESSION_OVERHEAD_BYTES }
    }

    /// The tally of the session and its replies.
    fn tally(&self) -> Tally {
        let mut tally = self.own;
        tally.add(self.cached);
        tally
    }

    /// The acknowledgement is heeded last: what it lets go must not change what this very
    /// request is answered.
    fn once(
        &mut self,
        id: u64,
        acked: u64,
        changes: &mut Changes,
        execute: impl FnOnce(&mut Changes) -> OpResult,
    ) -> OpResult {
        if id == 0 {
            return Err(id_zero());
        }
        if id <= self.forgotten && !mutant!(ForgottenIdsRunAgain) {
            return Err(stale(id, self.forgotten));
        }
        let result = match self.replies.get(id) {
            Some(_) if mutant!(DedupIsIgnored) => execute(changes),
            #[cfg(feature = "mutants")]
            Some(reply) if mutant!(RetryGetsAnothersReply) => {
                self.replies.last().unwrap_or(reply).result.clone()
            }
            Some(reply) => reply.result.clone(),
            None => {
                let result = execute(changes);
                self.cache(id, result.clone(), changes.reply());
                result
            }
        };
        let acked = if mutant!(EachIdAcknowledgesThoseBelow) { id } else { acked };
        self.forget(acked.min(id - 1), changes);
        self.keep_to_window(changes);
        result
    }

    fn cache(&mut self, id: u64, result: OpResult, period: u64) {
        let tally = reply_tally(self.id, id, &result);
        self.cached.add(tally);
        self.replies.insert(Reply { id, result, tally, period });
    }

    /// Forgets every reply up to and including `mark`.
    fn forget(&mut self, mark: u64, changes: &mut Changes) {
        if mark <= self.forgotten {
            return;
        }
        self.forgotten = mark;
        while self.replies.first().is_some_and(|reply| reply.id <= mark) {
            self.forget_smallest(changes);
        }
    }

    fn keep_to_window(&mut self, changes: &mut Changes) {
        while self.replies.len() > self.window {
            self.forget_smallest(changes);
        }
    }

    fn forget_smallest(&mut self, changes: &mut Changes) {
        let Some(reply) = self.replies.pop_first() else { return };
        changes.reply_gone(self.id, reply.id, reply.period);
        self.cached.remove(reply.tally);
        self.forgotten = self.forgotten.max(reply.id);
    }
}

fn reply_tally(session: u64, id: u64, result: &OpResult) -> Tally {
    let bytes = REPLY_OVERHEAD_BYTES + reply_bytes(result);
    Tally { hash: digest::reply(session, id, result), bytes }
}

/// The bytes that a reply bears. A value that the data bears as well is counted twice: when it
/// leaves the data, the reply still holds it. A failure's message counts as nothing, because
/// its wording may differ between versions.
fn reply_bytes(result: &OpResult) -> u64 {
    match result {
        Ok(Success::Put { previous, .. } | Success::Delete { previous, .. }) => {
            previous.iter().flatten().map(entry_bytes).sum()
        }
        Ok(Success::CompareAndSwap { entry, .. }) => entry.iter().map(entry_bytes).sum(),
        Ok(_) | Err(_) => 0,
    }
}

fn entry_bytes(entry: &KeyValue) -> u64 {
    entry.key.len() as u64 + entry.value.len() as u64
}

fn session_expired(session: u64) -> Failure {
    let message = format!(
        "session {session} does not exist or has expired: open a new one, and take what was in \
         flight as unknown"
    );
    Failure::new(ErrorCode::SessionExpired, message)
}

fn id_zero() -> Failure {
    let message = "the request's `id` is 0: the ids of a session's writes start at 1";
    Failure::new(ErrorCode::BadRequest, message)
}

fn stale(id: u64, forgotten: u64) -> Failure {
    let message = format!(
        "request {id} is not executed again: this session's replies up to {forgotten} are \
         acknowledged or beyond its window, and forgotten"
    );
    Failure::new(ErrorCode::StaleRequest, message)
}

fn too_many_sessions(max_sessions: u64) -> Failure {
    let message = format!(
        "the cluster has its {max_sessions} sessions already: retry when some have ended or \
         expired"
    );
    Failure::new(ErrorCode::Overloaded, message)
}
