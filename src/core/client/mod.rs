//! A client's session without I/O: ids, retries, failover.
//!
//! Called by `quorate-client`'s driver task, and by the simulator. It is told what happened
//! ([`Session::connected`], [`Session::frame`], [`Session::disconnected`], [`Session::tick`]) and
//! what the caller wants ([`Session::submit`]), and says through [`Session::poll`] what to do.
//! **After each event, carry out actions until `poll` gives `None`, then wait until
//! [`Session::wake_at`] at the latest.** Between events submit as much as there is: what is ready
//! when `poll` is called travels in one message.
//!
//! ```text
//!            submit ──► fresh ──── id given, sent ───► waiting ──── answered ───► Complete
//!                         ▲                              │ │ │
//!                         └── read, lost or refused ─────┘ │ └── deadline ─────► Complete: Unknown
//!                       resend ◄─ write, lost or refused ──┘
//!                         └──────── same id ───────────► waiting
//! ```
//!
//! # What it promises
//! * Ids rise strictly. A write keeps its id until it has an answer, on whichever node, so it is
//!   executed at most once; a retried read is a new read and takes a new id.
//! * Each call is completed exactly once, at its deadline at the latest.
//! * [`Outcome::NotExecuted`] and [`Outcome::Unreachable`] are certain for all time.
//!   A write that was sent and for which there is no certain answer is [`Outcome::Unknown`].
//! * A lost write of a sessionless connection is never sent again.
//!
//! # Decisions
//! * A write that is given up at its deadline is not sent again, but its id is held back from
//!   `acked` so that its fate stays known to the cluster, until it is answered late or the window
//!   needs its place.
//! * A write that was refused, and so certainly not executed, is not sent again when little time is
//!   left: an answer that came too late would make its outcome unknown.
//! * The window spans from the oldest unanswered write to the newest one, answered or not. So a
//!   node that keeps the replies of the last `window` writes has those of all that may be retried.
//! * A client that must leave a node, for another or for a new session, first waits shortly for
//!   the answers that are under way, so that fewer writes are in doubt.
//! * One pause for all: a node that is overloaded or without a leader is left alone by everything.
//!
//! It leaves out the socket, the clock and true randomness: jitter comes from a seed.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::types::Moment;
use crate::wire::client::{ErrorCode, Failure, Limits, Op, Success, Welcome};
use book::Book;
use link::{Link, Route};

mod book;
mod link;
mod replies;
#[cfg(test)]
mod tests;

/// How a session behaves. All durations are measured on the caller's clock.
#[derive(Clone, Debug)]
pub struct Config {
    /// Client addresses of nodes, `host:port`, tried in turn. At least one.
    pub endpoints: Vec<String>,
    /// Stay with the endpoints as given: follow no hint, and let `not_leader` be the answer.
    pub pinned: bool,
    /// Without a session: no write is sent twice once it may have been executed.
    pub sessionless: bool,
    /// A session to resume instead of making one.
    pub resume: Option<Resume>,
    /// How many writes, and how many calls in all, may be unanswered; the node's own limit counts
    /// if it is lower.
    pub window: u64,
    /// How many calls may wait to be sent; more are refused as overloaded.
    pub queue: usize,
    /// The longest message, in bytes; the node's own limit counts if it is lower.
    pub request_bytes: u64,
    /// A bearer token for `hello`.
    pub token: Option<String>,
    /// The client's `name/version`, for the node's log.
    pub client_name: Option<String>,
    /// A connection that owes an answer and is silent for this long is abandoned.
    pub silence: Duration,
    /// How long answers are awaited before a node is left.
    pub drain: Duration,
    /// The first pause after a refusal; it doubles with each further one.
    pub backoff_min: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// Decides the jitter of pauses.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            endpoints: Vec::new(),
            pinned: false,
            sessionless: false,
            resume: None,
            window: limits.window,
            queue: 65_536,
            request_bytes: limits.request_bytes,
            token: None,
            client_name: None,
            silence: Duration::from_secs(2),
            drain: Duration::from_millis(300),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_millis(500),
            seed: 0,
        }
    }
}

/// A session that an earlier process made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Its number.
    pub session: u64,
    /// An id above every one that was used in it.
    pub next_id: u64,
}

/// What a call ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was executed, once.
    Done(Success),
    /// It was not and never will be; the failure says why. A read that failed is one, too.
    NotExecuted(Failure),
    /// It was not and never will be, because no node could be reached in time.
    Unreachable {
        /// What stood in the way.
        reason: String,
    },
    /// A write that was sent and may have been executed, or not.
    Unknown {
        /// The session it was sent in; 0 where sessionless.
        session: u64,
        /// Its id there.
        id: u64,
        /// What stood in the way of an answer.
        reason: String,
    },
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a connection, then say [`Session::connected`] or [`Session::disconnected`].
    Connect {
        /// The node's client address.
        address: String,
    },
    /// Close the connection, or stop opening it. Nothing more of it may be reported.
    Disconnect,
    /// Send a binary message.
    Send(Bytes),
    /// A call has ended.
    Complete {
        /// What [`Session::submit`] gave.
        token: u64,
        /// How it ended.
        outcome: Outcome,
    },
}

/// A client's session.
#[derive(Debug)]
pub struct Session {
    config: Config,
    now: Moment,
    book: Book,
    link: Link,
    route: Route,
    /// The session's number, once made; 0 where sessionless.
    session: Option<u64>,
    /// What the newest `hello` was answered with.
    welcome: Option<Welcome>,
    /// Nothing is sent before.
    pause_until: Moment,
    /// When the node was last heard, or last began to owe an answer.
    heard: Moment,
    /// When the session last gave a sign of life.
    alive: Moment,
    /// Said goodbye or cannot be greeted: no connection until something is submitted.
    ended: bool,
    /// The newest refusal or loss, to explain a deadline that passes.
    trouble: Option<Trouble>,
    actions: VecDeque<Action>,
}

/// What stands in the way.
#[derive(Clone, Debug)]
enum Trouble {
    /// A node refused.
    Refused(Failure),
    /// A connection was lost, or could not be made.
    Lost(String),
}

impl Session {
    /// A session that begins at `now` and connects at once.
    ///
    /// # Panics
    /// When there is no endpoint.
    #[must_use]
    pub fn new(config: Config, now: Moment) -> Self {
        assert!(!config.endpoints.is_empty(), "a client needs an endpoint");
        let session =
            if config.sessionless { Some(0) } else { config.resume.map(|old| old.session) };
        let next_id = config.resume.map_or(1, |old| old.next_id.max(1));
        Self {
            book: Book::new(next_id),
            link: Link::Idle { until: now },
            route: Route::new(&config),
            session,
            welcome: None,
            pause_until: now,
            heard: now,
            alive: now,
            ended: false,
            trouble: None,
            actions: VecDeque::new(),
            config,
            now,
        }
    }

    /// Takes a call that must end by `deadline`, and gives the token that its completion bears.
    pub fn submit(&mut self, now: Moment, op: Op, deadline: Moment) -> u64 {
        self.advance(now);
        self.ended = false;
        let refusal = self.refusal(&op);
        let token = self.book.add(op, self.now, deadline);
        if let Some(failure) = refusal {
            self.finish(token, Outcome::NotExecuted(failure));
        }
        token
    }

    /// The connection stands.
    pub fn connected(&mut self, now: Moment) {
        self.advance(now);
        self.greet();
    }

    /// A binary message has come.
    pub fn frame(&mut self, now: Moment, frame: &Bytes) {
        self.now = self.now.max(now);
        self.heard = self.now;
        self.receive(frame);
        self.advance(now);
    }

    /// The connection is gone, or could not be made.
    pub fn disconnected(&mut self, now: Moment, reason: &str) {
        self.now = self.now.max(now);
        self.lose(reason);
        self.advance(now);
    }

    /// Time has passed; due at [`Session::wake_at`], and harmless at any time.
    pub fn tick(&mut self, now: Moment) {
        self.advance(now);
    }

    /// The next thing to do; `None` until the next event.
    pub fn poll(&mut self) -> Option<Action> {
        if self.actions.is_empty() {
            self.open();
            self.flush();
        }
        self.actions.pop_front()
    }

    /// When [`Session::tick`] is due, if nothing else happens before.
    #[must_use]
    pub fn wake_at(&self) -> Option<Moment> {
        let by_link = match &self.link {
            Link::Idle { until } => self.is_wanted().then_some(*until),
            Link::Connecting { .. } | Link::Greeting { .. } => {
                Some(self.heard + self.config.silence)
            }
            Link::Open { leaving: Some(leaving), .. } => Some(leaving.until),
            Link::Open { leaving: None, .. } => {
                let paused = self.book.has_unsent() && self.pause_until > self.now;
                let resume = paused.then_some(self.pause_until);
                let silent = self.book.owes().then(|| self.heard + self.config.silence);
                let ping = self.ping_at();
                [resume, silent, ping].into_iter().flatten().min()
            }
        };
        [by_link, self.book.first_deadline()].into_iter().flatten().min()
    }

    /// The session's number, once there is one; 0 where sessionless.
    #[must_use]
    pub fn session(&self) -> Option<u64> {
        self.session
    }

    /// An id above every one that was used; what [`Resume`] needs.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.book.next_id()
    }

    /// What the newest `hello` was answered with.
    #[must_use]
    pub fn welcome(&self) -> Option<&Welcome> {
        self.welcome.as_ref()
    }

    /// The address that is connected, or being connected to.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        self.link.address()
    }

    fn limits(&self) -> Limits {
        self.welcome.as_ref().map(|welcome| welcome.limits).unwrap_or_default()
    }

    fn finish(&mut self, token: u64, outcome: Outcome) {
        self.book.remove(token);
        self.actions.push_back(Action::Complete { token, outcome });
    }

    /// Ends a call as unknown; its id is held back from `acked`.
    fn give_up(&mut self, token: u64, reason: &str) {
        let Some(id) = self.book.give_up(token) else { return };
        let session = self.session.unwrap_or(0);
        let outcome = Outcome::Unknown { session, id, reason: reason.to_owned() };
        self.actions.push_back(Action::Complete { token, outcome });
    }

    /// What has fallen due by `now`.
    fn advance(&mut self, now: Moment) {
        self.now = self.now.max(now);
        while let Some(token) = self.book.due(self.now) {
            self.expire_call(token);
        }
        self.check_link();
        self.keep_alive();
    }

    fn expire_call(&mut self, token: u64) {
        let reason = match &self.trouble {
            Some(Trouble::Refused(failure)) => format!("the deadline has passed; {failure}"),
            Some(Trouble::Lost(reason)) => format!("the deadline has passed; {reason}"),
            None => "the deadline has passed without an answer".to_owned(),
        };
        if self.book.in_doubt(token) && !mutant!(DeadlineSaysNotExecuted) {
            return self.give_up(token, &reason);
        }
        let outcome = match &self.trouble {
            Some(Trouble::Refused(failure)) if failure.code.is_refusal() => {
                Outcome::NotExecuted(Failure { message: reason, ..failure.clone() })
            }
            _ if self.book.awaits(token) => {
                Outcome::NotExecuted(Failure::new(ErrorCode::Timeout, reason))
            }
            _ => Outcome::Unreachable { reason },
        };
        self.finish(token, outcome);
    }
}
