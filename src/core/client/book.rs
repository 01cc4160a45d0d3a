//! The book of calls: which wait to be sent, which are unanswered, and in what order.
//!
//! A call is named by its token for the caller and by its id on the wire. It is in exactly one of
//! three places: `fresh` (no id), `resend` (a write with an id, to be sent again), or waiting for an
//! answer. `unanswered` has every id that may not be acknowledged yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::types::Moment;
use crate::wire::client::{Failure, Op};

/// A write that was refused is not sent again with less time left than this, or than a quarter of
/// what it had: an answer that came too late would make unknown what is certain.
const LAST_CHANCE: Duration = Duration::from_millis(100);

/// A call that has not ended.
#[derive(Debug)]
pub(super) struct Call {
    /// What is asked.
    pub(super) op: Op,
    /// When it must end.
    deadline: Moment,
    /// From when on it is not risked again what a refusal has made certain.
    last_chance: Moment,
    /// The newest refusal.
    refusal: Option<Box<Failure>>,
    /// Its id on the wire; a write keeps it.
    id: Option<u64>,
    /// Sent on this connection and not answered.
    waiting: bool,
    /// A write of which an earlier sending may have been executed.
    doubt: bool,
}

/// To whom an id belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The call with this token.
    Call(u64),
    /// A ping that keeps the session alive.
    Ping,
    /// A write whose caller has been told that its outcome is unknown.
    GivenUp,
}

/// All calls of a session.
#[derive(Debug)]
pub(super) struct Book {
    calls: BTreeMap<u64, Call>,
    /// Tokens, in the order in which they were submitted.
    fresh: BTreeSet<u64>,
    /// Ids and tokens of writes to be sent again, in the order of their ids.
    resend: BTreeMap<u64, u64>,
    unanswered: BTreeMap<u64, Owner>,
    /// Of each unanswered or given up write: how many writes had ids before it.
    ordinals: BTreeMap<u64, u64>,
    deadlines: BTreeSet<(Moment, u64)>,
    /// How many calls wait for an answer on this connection.
    waiting: usize,
    /// The ping on this connection that has no answer.
    ping: Option<u64>,
    /// How many writes have been given ids.
    writes: u64,
    next_token: u64,
    next_id: u64,
}

impl Book {
    pub(super) fn new(next_id: u64) -> Self {
        Self {
            calls: BTreeMap::new(),
            fresh: BTreeSet::new(),
            resend: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            ordinals: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            waiting: 0,
            ping: None,
            writes: 0,
            next_token: 1,
            next_id,
        }
    }

    pub(super) fn add(&mut self, op: Op, now: Moment, deadline: Moment) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        let margin = (deadline.since(now) / 4).min(LAST_CHANCE);
        let last_chance = now + (deadline.since(now) - margin);
        let (refusal, id, waiting, doubt) = (None, None, false, false);
        self.calls.insert(token, Call { op, deadline, last_chance, refusal, id, waiting, doubt });
        self.deadlines.insert((deadline, token));
        self.fresh.insert(token);
        token
    }

    pub(super) fn call(&self, token: u64) -> Option<&Call> {
        self.calls.get(&token)
    }

    /// Forgets a call; its id counts as answered.
    pub(super) fn remove(&mut self, token: u64) -> Option<Call> {
        let call = self.calls.remove(&token)?;
        self.deadlines.remove(&(call.deadline, token));
        self.fresh.remove(&token);
        self.waiting -= usize::from(call.waiting);
        if let Some(id) = call.id {
            self.settle(id);
            self.resend.remove(&id);
        }
        Some(call)
    }

    /// Forgets a write, but not its id, which is given back.
    pub(super) fn give_up(&mut self, token: u64) -> Option<u64> {
        let id = self.calls.get(&token)?.id?;
        let ordinal = self.ordinals.get(&id).copied();
        self.remove(token);
        if let Some(ordinal) = ordinal {
            self.unanswered.insert(id, Owner::GivenUp);
            self.ordinals.insert(id, ordinal);
        }
        Some(id)
    }

    /// The id needs no more answer.
    pub(super) fn settle(&mut self, id: u64) {
        self.unanswered.remove(&id);
        self.ordinals.remove(&id);
        if self.ping == Some(id) {
            self.ping = None;
        }
    }

    pub(super) fn owner(&self, id: u64) -> Option<Owner> {
        self.unanswered.get(&id).copied()
    }

    /// Every id up to this one needs no more answer.
    pub(super) fn acked(&self) -> u64 {
        let first = self.unanswered.keys().next().filter(|_| !mutant!(AckedRunsAhead));
        first.map_or(self.next_id, |id| *id) - 1
    }

    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// The next call to be sent, with its id. Writes to be sent again come first.
    pub(super) fn next(&mut self, window: u64) -> Option<(u64, u64)> {
        let backwards = if mutant!(ResendsBackwards) { self.resend.pop_last() } else { None };
        if let Some((id, token)) = backwards.or_else(|| self.resend.pop_first()) {
            self.wait(token);
            return Some((id, token));
        }
        let token = *self.fresh.first()?;
        let is_write = self.calls.get(&token)?.op.is_write();
        let waiting = u64::try_from(self.waiting).unwrap_or(u64::MAX);
        if waiting >= window.max(1) || (is_write && !self.has_room(window)) {
            return None;
        }
        self.fresh.remove(&token);
        let id = self.take_id(Owner::Call(token));
        if is_write {
            self.ordinals.insert(id, self.writes);
            self.writes += 1;
        }
        self.calls.get_mut(&token)?.id = Some(id);
        self.wait(token);
        Some((id, token))
    }

    fn wait(&mut self, token: u64) {
        if let Some(call) = self.calls.get_mut(&token) {
            call.waiting = true;
            self.waiting += 1;
        }
    }

    fn take_id(&mut self, owner: Owner) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.unanswered.insert(id, owner);
        id
    }

    /// Whether another write fits in the window; those given up make place where they must.
    fn has_room(&mut self, window: u64) -> bool {
        while let Some((id, ordinal)) = self.ordinals.first_key_value() {
            if self.writes - ordinal < window.max(1) {
                return true;
            }
            let id = *id;
            if self.owner(id) != Some(Owner::GivenUp) || mutant!(GivenUpWritesHoldTheWindow) {
                return false;
            }
            self.settle(id);
        }
        true
    }

    /// A ping's id; nothing while one is unanswered.
    pub(super) fn ping(&mut self) -> Option<u64> {
        if self.ping.is_some() {
            return None;
        }
        self.ping = Some(self.take_id(Owner::Ping));
        self.ping
    }

    pub(super) fn is_pinging(&self) -> bool {
        self.ping.is_some()
    }

    /// The call is to be sent again: a write under its id, anything else as if never sent.
    /// `doubt`: this sending may have been executed.
    pub(super) fn retry(&mut self, token: u64, doubt: bool) {
        let Some(call) = self.calls.get_mut(&token) else { return };
        self.waiting -= usize::from(std::mem::take(&mut call.waiting));
        let Some(id) = call.id else { return };
        if call.op.is_write() && !mutant!(RetryTakesANewId) {
            call.doubt |= doubt;
            if mutant!(RefusalClearsTheDoubt) {
                call.doubt = doubt;
            }
            self.resend.insert(id, token);
        } else {
            call.id = None;
            self.fresh.insert(token);
            self.settle(id);
        }
    }

    /// The call was refused: as [`Book::retry`], without new doubt.
    pub(super) fn refuse(&mut self, token: u64, failure: &Failure) {
        if let Some(call) = self.calls.get_mut(&token) {
            call.refusal = Some(Box::new(failure.clone()));
        }
        self.retry(token, false);
    }

    /// Why a write is better not sent again, as it was certainly not executed and there is little
    /// time left for another answer.
    pub(super) fn too_late(&self, token: u64, now: Moment) -> Option<&Failure> {
        let call = self.calls.get(&token)?;
        let risked = call.op.is_write() && !call.doubt && now >= call.last_chance;
        call.refusal.as_deref().filter(|_| risked)
    }

    /// The connection is gone: what waits is to be sent again, in doubt. Gives the writes.
    pub(super) fn lose(&mut self) -> Vec<u64> {
        if let Some(id) = self.ping.take() {
            self.settle(id);
        }
        let waiting: Vec<u64> =
            self.calls.iter().filter(|(_, call)| call.waiting).map(|(token, _)| *token).collect();
        for token in &waiting {
            self.retry(*token, !mutant!(LossIsNoDoubt));
        }
        waiting.into_iter().filter(|token| self.in_doubt(*token)).collect()
    }

    /// The session is gone: what is certainly not executed is as if never sent, the ids of the
    /// rest mean nothing any more. Call it when nothing waits or is in doubt.
    pub(super) fn renew(&mut self) {
        for token in std::mem::take(&mut self.resend).into_values() {
            if let Some(call) = self.calls.get_mut(&token) {
                call.id = None;
                call.doubt &= !mutant!(NewSessionRepeatsDoubtfulWrites);
                self.fresh.insert(token);
            }
        }
        self.unanswered.clear();
        self.ordinals.clear();
    }

    /// All calls that have not ended.
    pub(super) fn tokens(&self) -> Vec<u64> {
        self.calls.keys().copied().collect()
    }

    /// Whether a call is a write that may have been executed.
    pub(super) fn in_doubt(&self, token: u64) -> bool {
        self.calls
            .get(&token)
            .is_some_and(|call| call.op.is_write() && (call.waiting || call.doubt))
    }

    /// Whether a call was sent on this connection and is not answered.
    pub(super) fn awaits(&self, token: u64) -> bool {
        self.calls.get(&token).is_some_and(|call| call.waiting)
    }

    /// Whether an earlier sending of the call, which has an answer now, may have been executed.
    pub(super) fn was_in_doubt(&self, token: u64) -> bool {
        self.calls.get(&token).is_some_and(|call| call.doubt)
    }

    /// The call of which the deadline has passed.
    pub(super) fn due(&self, now: Moment) -> Option<u64> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, token)| *token)
    }

    pub(super) fn first_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Whether the node owes an answer.
    pub(super) fn owes(&self) -> bool {
        self.waiting > 0 || self.ping.is_some()
    }

    /// Whether calls wait for an answer.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.fresh.is_empty() || !self.resend.is_empty()
    }

    /// How many calls have never been sent.
    pub(super) fn queued(&self) -> usize {
        self.fresh.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}
