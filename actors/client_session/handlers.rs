//! The session's mailbox: frames in, answers back, the socket's news.

use std::time::Duration;

use actix::prelude::*;
use quorate_core::wire::client::Requests;

use super::{ClientSessionActor, Standing};
use crate::messages::{Answered, Close, Drain, Frame, SocketClosed, Written};
use crate::session_io::Outgoing;

/// How often a silent client is pinged.
const PING_EVERY: Duration = Duration::from_secs(15);

impl Actor for ClientSessionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.shared.metrics.connections.inc();
        ctx.run_interval(PING_EVERY, |session, _| drop(session.outgoing.send(Outgoing::Ping)));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        // It may be shut, and the task that waits at it holds the socket.
        self.gate.end();
        self.shared.metrics.connections.dec();
    }
}

impl Handler<Frame> for ClientSessionActor {
    type Result = ();
    fn handle(&mut self, Frame(frame): Frame, ctx: &mut Self::Context) {
        self.frames.push_back(Requests::new(&frame, &self.shared.limits));
        self.take_requests(ctx);
    }
}

impl Handler<Answered> for ClientSessionActor {
    type Result = ();
    fn handle(&mut self, Answered(outcomes): Answered, ctx: &mut Self::Context) {
        for (id, outcome) in outcomes {
            self.unanswered -= 1;
            let result = match self.standing {
                Standing::Greeting(session) if id == 0 => self.greeted(session, outcome),
                Standing::New | Standing::Greeting(_) | Standing::Open(_) | Standing::Leaving => {
                    outcome.result
                }
            };
            self.answer(id, result, ctx);
        }
        self.take_requests(ctx);
    }
}

impl Handler<Drain> for ClientSessionActor {
    type Result = ();
    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.draining = false;
        self.flush();
        self.take_requests(ctx);
    }
}

impl Handler<Written> for ClientSessionActor {
    type Result = ();
    fn handle(&mut self, Written(bytes): Written, ctx: &mut Self::Context) {
        self.unsent = self.unsent.saturating_sub(bytes);
        self.flush();
        self.take_requests(ctx);
    }
}

impl Handler<SocketClosed> for ClientSessionActor {
    type Result = ();
    fn handle(&mut self, SocketClosed { refusal }: SocketClosed, ctx: &mut Self::Context) {
        match refusal {
            Some((code, reason)) => {
                self.end(code, reason);
                self.close_when_answered(ctx);
            }
            None => ctx.stop(),
        }
    }
}

impl Handler<Close> for ClientSessionActor {
    type Result = ();
    fn handle(&mut self, _: Close, ctx: &mut Self::Context) {
        self.flush();
        self.close(1001, "the node stops: go to another one");
        ctx.stop();
    }
}
