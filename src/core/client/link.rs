//! The connection: where to, when, for how long, and what is sent over it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{Action, Config, Outcome, Session, Trouble};
use crate::types::Moment;
use crate::wire::client::{ErrorCode, Expect, Failure, Hello, Limits, Op, Success, encode_request};

/// Addresses are learned up to this many.
const MAX_ENDPOINTS: usize = 64;
/// What a request's frame and id add to its operation at most, in bytes.
const ENVELOPE_BYTES: u64 = 64;

/// However short the life of a session, it is not pinged more often.
const MIN_PING_INTERVAL: Duration = Duration::from_millis(50);

/// How far the connection is.
#[derive(Debug)]
pub(super) enum Link {
    /// None; the next one is not opened before `until`.
    Idle { until: Moment },
    /// Being opened.
    Connecting { address: String },
    /// `hello` is sent.
    Greeting { address: String },
    /// In use, or about to be left.
    Open { address: String, leaving: Option<Leaving> },
}

/// A node is left once what is under way has been answered.
#[derive(Debug)]
pub(super) struct Leaving {
    /// When it is left at the latest.
    pub(super) until: Moment,
    /// Where to go.
    pub(super) next: Option<String>,
    /// Whether the session is to be made anew.
    pub(super) expired: bool,
}

impl Link {
    pub(super) fn address(&self) -> Option<&str> {
        match self {
            Link::Idle { .. } => None,
            Link::Connecting { address }
            | Link::Greeting { address }
            | Link::Open { address, .. } => Some(address),
        }
    }
}

/// Where to connect next, and when.
#[derive(Debug)]
pub(super) struct Route {
    endpoints: Vec<String>,
    /// The endpoint to try next.
    cursor: usize,
    /// A leader that was hinted at; tried before the endpoints.
    hint: Option<String>,
    /// Pauses since something last succeeded.
    pauses: u32,
    /// The state of the generator of jitter (splitmix64).
    chance: u64,
}

impl Route {
    pub(super) fn new(config: &Config) -> Self {
        let (endpoints, chance) = (config.endpoints.clone(), config.seed);
        Self { endpoints, cursor: 0, hint: None, pauses: 0, chance }
    }

    pub(super) fn learn(&mut self, address: &str) {
        let known = self.endpoints.iter().any(|endpoint| endpoint == address);
        if !known && !address.is_empty() && self.endpoints.len() < MAX_ENDPOINTS {
            self.endpoints.push(address.to_owned());
        }
    }

    pub(super) fn has_others(&self) -> bool {
        self.endpoints.len() > 1
    }

    pub(super) fn succeeded(&mut self) {
        self.pauses = 0;
    }

    fn next(&mut self) -> String {
        if let Some(hint) = self.hint.take() {
            return hint;
        }
        let at = self.cursor % self.endpoints.len();
        self.cursor = at + 1;
        self.endpoints.get(at).cloned().unwrap_or_default()
    }

    /// A pause between half and the whole of what doubles each time.
    fn pause(&mut self, config: &Config) -> Duration {
        let full = config.backoff_min * (1 << self.pauses.min(16));
        let full = full.min(config.backoff_max);
        self.pauses = self.pauses.saturating_add(1);
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = u32::try_from((mixed ^ (mixed >> 31)) % 512).unwrap_or(0);
        full * (512 + share) / 1024
    }
}

impl Session {
    pub(super) fn is_wanted(&self) -> bool {
        !self.ended || !self.book.is_empty()
    }

    /// Opens a connection where one is due.
    pub(super) fn open(&mut self) {
        let Link::Idle { until } = self.link else { return };
        if until > self.now || !self.is_wanted() {
            return;
        }
        let address = self.route.next();
        self.heard = self.now;
        self.link = Link::Connecting { address: address.clone() };
        self.actions.push_back(Action::Connect { address });
    }

    /// Says `hello` over the connection that stands now.
    pub(super) fn greet(&mut self) {
        let Link::Connecting { address } = &self.link else { return };
        self.link = Link::Greeting { address: address.clone() };
        self.heard = self.now;
        let (token, client) = (self.config.token.clone(), self.config.client_name.clone());
        let hello = Op::Hello(Hello { session: self.session, token, client });
        let mut out = BytesMut::new();
        encode_request(&mut out, 0, &hello, 0);
        self.actions.push_back(Action::Send(out.freeze()));
    }

    /// Sends all that is ready, in as few messages as the limit allows.
    pub(super) fn flush(&mut self) {
        if !matches!(self.link, Link::Open { leaving: None, .. }) || self.pause_until > self.now {
            return;
        }
        let limits = self.limits();
        let window = self.config.window.min(limits.window);
        let largest = usize::try_from(self.largest(&limits)).unwrap_or(usize::MAX);
        let acked = if self.session == Some(0) { 0 } else { self.book.acked() };
        let mut out = BytesMut::new();
        let owed = self.book.owes();
        while let Some((id, token)) = self.book.next(window) {
            if let Some(failure) = self.book.too_late(token, self.now) {
                let message = format!("too little time is left to try again; {failure}");
                let failure = Failure { message, ..failure.clone() };
                self.finish(token, Outcome::NotExecuted(failure));
                continue;
            }
            let Some(call) = self.book.call(token) else { continue };
            let before = out.len();
            encode_request(&mut out, id, &call.op, acked);
            if call.op.is_write() {
                self.alive = self.now;
            }
            let len = out.len() - before;
            if len > largest {
                out.truncate(before);
                self.not_executed(token, too_large(len, largest));
            } else if out.len() > largest {
                let rest = out.split_off(before);
                self.send(std::mem::replace(&mut out, rest).freeze(), owed);
            }
        }
        if !out.is_empty() {
            self.send(out.freeze(), owed);
        }
    }

    fn send(&mut self, message: Bytes, owed: bool) {
        if !owed {
            self.heard = self.now;
        }
        self.actions.push_back(Action::Send(message));
    }

    fn largest(&self, limits: &Limits) -> u64 {
        self.config.request_bytes.min(limits.request_bytes)
    }

    /// Why a call is refused at once.
    pub(super) fn refusal(&self, op: &Op) -> Option<Failure> {
        if matches!(op, Op::Hello(_)) {
            let message = "hello: the session says it by itself";
            return Some(Failure::new(ErrorCode::BadRequest, message));
        }
        let queue = self.config.queue;
        if self.book.queued() >= queue {
            let message = format!("{queue} requests are waiting to be sent, the limit is {queue}");
            return Some(Failure::new(ErrorCode::Overloaded, message));
        }
        let (largest, bytes) = (self.largest(&self.limits()), payload_bytes(op));
        (bytes.saturating_add(ENVELOPE_BYTES) > largest).then(|| {
            let message = format!("{}: {bytes} bytes, a request may have {largest}", op.name());
            Failure::new(ErrorCode::TooLarge, message)
        })
    }

    /// No call is sent for a while, which grows with each refusal.
    pub(super) fn pause(&mut self) {
        if self.pause_until <= self.now {
            self.pause_until = self.now + self.route.pause(&self.config);
        }
    }

    /// The node is to be left for `next`, or for the next endpoint.
    pub(super) fn leave(&mut self, next: Option<String>, expired: bool) {
        let until = self.now + self.config.drain;
        let Link::Open { leaving, .. } = &mut self.link else { return };
        let leaving = leaving.get_or_insert(Leaving { until, next: None, expired: false });
        leaving.expired |= expired;
        if next.is_some() {
            leaving.next = next;
        }
    }

    /// Goes to `next`: at once the first time, then after pauses that grow.
    pub(super) fn depart(&mut self, next: Option<String>) {
        if self.link.address().is_some() {
            self.actions.push_back(Action::Disconnect);
        }
        if let Some(address) = &next {
            self.route.learn(address);
        }
        let first = next.is_some() && self.route.pauses == 0;
        let pause = self.route.pause(&self.config);
        let until = if first { self.now } else { self.now + pause };
        self.route.hint = next;
        self.link = Link::Idle { until: until.max(self.pause_until) };
        for token in self.book.lose() {
            if self.session == Some(0) {
                self.give_up(token, "the connection was lost before the answer");
            }
        }
    }

    /// The connection is gone by itself.
    pub(super) fn lose(&mut self, reason: &str) {
        let (next, expired) = match &mut self.link {
            Link::Idle { .. } => return,
            Link::Open { leaving: Some(leaving), .. } => (leaving.next.take(), leaving.expired),
            Link::Connecting { .. } | Link::Greeting { .. } | Link::Open { .. } => (None, false),
        };
        let address = self.link.address().unwrap_or_default();
        self.trouble = Some(Trouble::Lost(format!("{address}: {reason}")));
        self.link = Link::Idle { until: self.now };
        self.part(next, expired);
    }

    /// Leaves; where only the session has expired, for the same node.
    pub(super) fn part(&mut self, next: Option<String>, expired: bool) {
        let here = if expired { self.link.address().map(str::to_owned) } else { None };
        self.depart(next.or(here));
        if expired {
            self.renew("the session has expired");
        }
    }

    /// Leaves a node that is silent, or that has answered all it will.
    pub(super) fn check_link(&mut self) {
        let silent = self.heard + self.config.silence <= self.now;
        match &mut self.link {
            Link::Idle { .. } => {}
            Link::Connecting { .. } | Link::Greeting { .. } => {
                if silent {
                    self.abandon();
                }
            }
            Link::Open { leaving: Some(leaving), .. } => {
                if leaving.until <= self.now || !self.book.is_waiting() {
                    let (next, expired) = (leaving.next.take(), leaving.expired);
                    self.part(next, expired);
                }
            }
            Link::Open { leaving: None, .. } => {
                if silent && self.book.owes() && !mutant!(HungNodeIsNeverLeft) {
                    self.abandon();
                }
            }
        }
    }

    fn abandon(&mut self) {
        let address = self.link.address().unwrap_or_default();
        let silence = self.config.silence.as_millis();
        self.trouble = Some(Trouble::Lost(format!("{address}: no answer for {silence} ms")));
        self.depart(None);
    }

    /// Forgets a session that is no more. What may have been executed in it stays unknown.
    pub(super) fn renew(&mut self, reason: &str) {
        for token in self.book.tokens() {
            if self.book.in_doubt(token) && !mutant!(NewSessionRepeatsDoubtfulWrites) {
                self.give_up(token, reason);
            } else if self.book.call(token).is_some_and(|call| call.op == Op::Bye) {
                self.ended = true;
                let outcome = Outcome::Done(Success::Empty);
                self.finish(token, outcome);
            }
        }
        self.book.renew();
        if !self.config.sessionless {
            self.session = None;
        }
    }

    /// When the session needs a sign of life.
    pub(super) fn ping_at(&self) -> Option<Moment> {
        let pings = self.session.is_some_and(|session| session != 0) && !self.book.is_pinging();
        let third = Duration::from_millis(self.limits().session_ttl_ms / 3).max(MIN_PING_INTERVAL);
        pings.then(|| (self.alive + third).max(self.pause_until))
    }

    pub(super) fn keep_alive(&mut self) {
        if !matches!(self.link, Link::Open { leaving: None, .. })
            || self.ping_at().is_none_or(|at| at > self.now)
        {
            return;
        }
        let (owed, acked) = (self.book.owes(), self.book.acked());
        if let Some(id) = self.book.ping() {
            let mut out = BytesMut::new();
            encode_request(&mut out, id, &Op::Ping, acked);
            self.alive = self.now;
            self.send(out.freeze(), owed);
        }
    }
}

/// The bytes of an operation's keys and values, which are all that can be long.
fn payload_bytes(op: &Op) -> u64 {
    let key = op.key().map_or(0, |key| key.len() as u64);
    let value = |bytes: &Bytes| bytes.len() as u64;
    key + match op {
        Op::Put(put) => value(&put.value),
        Op::Append(append) => value(&append.value),
        Op::CompareAndSwap(swap) => {
            let expected = if let Expect::Value(bytes) = &swap.expect { value(bytes) } else { 0 };
            expected + swap.value.as_ref().map_or(0, value)
        }
        Op::Hello(_) | Op::Ping | Op::Bye | Op::Get(_) | Op::Delete(_) | Op::Increment(_) => 0,
        Op::Status | Op::Members | Op::Admin(_) => 0,
    }
}

fn too_large(len: usize, largest: usize) -> Failure {
    let message = format!("the request is {len} bytes, the limit is {largest}");
    Failure::new(ErrorCode::TooLarge, message)
}
