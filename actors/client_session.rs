//! ClientSessionActor: one connection of a client. Decodes its requests, hands them on in
//! batches, and packs the answers into as few messages as there are moments to send.
//!
//! Its bounds: at most `window` requests are unanswered, and no more than `reply_bytes` of
//! replies wait for the socket; beyond either, the rest of what has arrived stays undecoded
//! and the socket is not read.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::prelude::*;
use bytes::BytesMut;
use quorate_core::types::Moment;
use quorate_core::wire::client::{
    Decoded, Failure, Limits, Malformed, OpResult, Requests, encode_answer,
};
use tokio::sync::mpsc;

use crate::messages::Drain;
use crate::metrics::Metrics;
use crate::raft::RaftActor;
use crate::reply::{Connection, Reply};
use crate::session_batch::Batch;
use crate::session_io::{Gate, Outgoing};
use crate::state_machine::StateMachineActor;
use crate::view::View;

mod handlers;

/// What every session of a node shares.
#[derive(Clone)]
pub struct Shared {
    /// Who takes writes and linearizable reads.
    pub raft: Addr<RaftActor>,
    /// Who takes stale reads and status.
    pub state_machine: Addr<StateMachineActor>,
    /// The node's newest state.
    pub view: Arc<View>,
    /// The counters.
    pub metrics: Metrics,
    /// The clients' limits.
    pub limits: Limits,
    /// How many sessions the state may have.
    pub max_sessions: u64,
    /// How many bytes of replies may wait for a socket.
    pub reply_bytes: usize,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No `hello` yet.
    New,
    /// `hello` is being answered; 0 asks for a new session.
    Greeting(u64),
    /// In a session; 0 is sessionless.
    Open(u64),
    /// `bye` is being answered, or the socket is to be closed.
    Leaving,
}

/// The actor of one connection.
pub struct ClientSessionActor {
    pub(crate) connection: u64,
    pub(crate) shared: Shared,
    gate: Gate,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    pub(crate) standing: Standing,
    /// Arrived, and not decoded yet.
    frames: VecDeque<Requests>,
    unanswered: u64,
    answers: VecDeque<(u64, OpResult)>,
    draining: bool,
    /// Bytes handed to the socket's task and not yet written.
    unsent: usize,
    /// The length of the last message, which the next one will be of as a rule.
    usual: usize,
    /// When the session was last kept alive through the log.
    pub(crate) kept_alive: Moment,
    pub(crate) bye: Option<u64>,
    /// Why `hello` failed: the answer to what was sent behind it.
    pub(crate) unwelcome: Option<Failure>,
    /// Why the connection is to be closed, once everyone is answered.
    closing: Option<(u16, String)>,
    /// What its requests carry to be answered.
    replies_to: Option<Arc<Connection>>,
}

/// Replies are handed to the socket in messages of about this size.
const MESSAGE_BYTES: usize = 64 << 10;

impl ClientSessionActor {
    /// An actor for a connection of that number.
    pub fn new(
        connection: u64,
        shared: Shared,
        gate: Gate,
        outgoing: mpsc::UnboundedSender<Outgoing>,
    ) -> Self {
        let kept_alive = shared.view.clock.now();
        Self {
            connection,
            shared,
            gate,
            outgoing,
            standing: Standing::New,
            frames: VecDeque::new(),
            unanswered: 0,
            answers: VecDeque::new(),
            draining: false,
            unsent: 0,
            usual: 0,
            kept_alive,
            bye: None,
            unwelcome: None,
            closing: None,
            replies_to: None,
        }
    }

    fn full(&self) -> bool {
        let window = self.shared.limits.window;
        self.unanswered >= window
            || self.answers.len() as u64 >= window
            || self.unsent >= self.shared.reply_bytes
    }

    /// Whether further requests are looked at: not while `hello` is being answered, and not once
    /// the connection is to end.
    fn listens(&self) -> bool {
        self.closing.is_none()
            && !matches!(self.standing, Standing::Greeting(_) | Standing::Leaving)
    }

    /// Decodes and hands on as much as the bounds allow.
    fn take_requests(&mut self, ctx: &mut Context<Self>) {
        let mut batch = Batch::default();
        while !self.full() && self.listens() {
            let Some(requests) = self.frames.front_mut() else { break };
            match requests.next() {
                None => drop(self.frames.pop_front()),
                Some(Ok(Decoded::Request(request))) => self.take(request, &mut batch, ctx),
                Some(Ok(Decoded::Refused { id, failure })) => self.answer(id, Err(failure), ctx),
                Some(Err(Malformed { close_code, reason })) => self.end(close_code, reason),
            }
        }
        batch.send(&self.shared);
        self.gate.set(self.frames.is_empty() && !self.full());
        self.close_when_answered(ctx);
    }

    /// No further request is looked at; what was asked before is answered, then the connection
    /// is closed.
    fn end(&mut self, code: u16, reason: String) {
        self.frames.clear();
        self.closing.get_or_insert((code, reason));
    }

    fn close_when_answered(&mut self, ctx: &mut Context<Self>) {
        if self.unanswered == 0
            && self.answers.is_empty()
            && let Some((code, reason)) = self.closing.take()
        {
            self.close(code, &reason);
            ctx.stop();
        }
    }

    pub(crate) fn reply(&mut self, id: u64, ctx: &mut Context<Self>) -> Reply {
        self.unanswered += 1;
        let connection = self.replies_to.get_or_insert_with(|| {
            let answers = ctx.address().recipient();
            Arc::new(Connection { number: self.connection, answers })
        });
        Reply::session(connection, id)
    }

    pub(crate) fn answer(&mut self, id: u64, result: OpResult, ctx: &mut Context<Self>) {
        if let Err(failure) = &result {
            self.shared.metrics.failed(failure.code.as_str());
        }
        self.answers.push_back((id, result));
        if !self.draining {
            self.draining = true;
            ctx.notify(Drain);
        }
    }

    /// Packs answers while the socket keeps up.
    fn flush(&mut self) {
        while self.unsent < self.shared.reply_bytes && !self.answers.is_empty() {
            let mut message = BytesMut::with_capacity(self.usual.min(512 * self.answers.len()));
            while message.len() < MESSAGE_BYTES
                && let Some((id, result)) = self.answers.pop_front()
            {
                if let Standing::Open(session) = self.standing {
                    log::trace!("request {session}:{id} answered, ok: {}", result.is_ok());
                }
                encode_answer(&mut message, id, &result);
                if self.bye == Some(id) && result.is_ok() {
                    self.standing = Standing::Leaving;
                }
            }
            self.unsent += message.len();
            self.usual = message.len();
            drop(self.outgoing.send(Outgoing::Replies(message.freeze())));
        }
        if self.standing == Standing::Leaving && self.bye.take().is_some() {
            self.end(1000, "bye".to_owned());
        }
    }

    fn close(&mut self, code: u16, reason: &str) {
        if code != 1000 {
            log::debug!("client: connection {} closed: {code} {reason}", self.connection);
        }
        self.standing = Standing::Leaving;
        self.frames.clear();
        // A close frame's reason has at most 123 bytes (RFC 6455 §5.5).
        let end = (0..=reason.len().min(123)).rev().find(|end| reason.is_char_boundary(*end));
        let reason = reason.get(..end.unwrap_or(0)).unwrap_or_default().to_owned();
        drop(self.outgoing.send(Outgoing::Close(code, reason)));
    }
}
