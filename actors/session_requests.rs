//! What a client's session does with each request: which actor it goes to, and as what.

use std::time::Duration;

use actix::prelude::*;
use quorate_core::kv::{Command, WriteOp};
use quorate_core::types::{Change, Member, MemberRole, Moment};
use quorate_core::wire::client::{
    Admin, Consistency, ErrorCode, Failure, Get, Hello, Op, OpResult, Request, Success, Welcome,
};

use crate::age::Way;
use crate::client_session::{ClientSessionActor, Standing};
use crate::messages::{self, Operation, Question};
use crate::reply::{Outcome, Reply};
use crate::session_batch::Batch;
use crate::space;

impl ClientSessionActor {
    pub(crate) fn take(&mut self, request: Request, batch: &mut Batch, ctx: &mut Context<Self>) {
        let Request { id, op, acked } = request;
        self.shared.metrics.requested(op.name());
        if let Standing::Open(session) = self.standing {
            log::trace!(
                "request {session}:{id} {} came in on connection {}",
                op.name(),
                self.connection
            );
        }
        let session = match (self.standing, &op) {
            (Standing::New, Op::Hello(hello)) => return self.greet(hello, batch, ctx),
            (Standing::Open(session), op) if !matches!(op, Op::Hello(_)) => session,
            (Standing::Greeting(_) | Standing::New | Standing::Open(_) | Standing::Leaving, _) => {
                let text = "`hello` is the first request on a connection, and comes once";
                let failure = Failure::new(ErrorCode::BadRequest, text);
                let failure = self.unwelcome.clone().unwrap_or(failure);
                return self.answer(id, Err(failure), ctx);
            }
        };
        match op {
            Op::Ping => self.ping(id, session, batch, ctx),
            Op::Bye => self.bye(id, session, batch, ctx),
            Op::Get(get) => self.get(id, session, get, batch, ctx),
            Op::Status => batch.queries.push(Question::Status { reply: self.reply(id, ctx) }),
            Op::Members => self.answer(id, Ok(Success::Members(self.shared.view.members())), ctx),
            Op::Admin(admin) => {
                let reply = self.reply(id, ctx);
                self.shared.raft.do_send(messages::Command { what: operation(admin), reply });
            }
            Op::Hello(_) => {}
            Op::Put(_)
            | Op::Append(_)
            | Op::Delete(_)
            | Op::CompareAndSwap(_)
            | Op::Increment(_) => {
                let Some(op) = WriteOp::from_op(&op) else { return };
                if let Some(failure) = space::refusal(&self.shared.view) {
                    return self.answer(id, Err(failure), ctx);
                }
                let value_bytes = self.shared.limits.value_bytes;
                let command = Command::Write { session, id, acked, value_bytes, op };
                self.kept_alive = batch.now(&self.shared);
                let reply = self.reply(id, ctx);
                batch.propose(&command, reply);
            }
        }
    }

    fn greet(&mut self, hello: &Hello, batch: &mut Batch, ctx: &mut Context<Self>) {
        if let Some(client) = &hello.client {
            log::debug!("client: connection {} is {client}", self.connection);
        }
        let limits = &self.shared.limits;
        let command = match hello.session {
            Some(0) => {
                self.standing = Standing::Open(0);
                return self.answer(0, Ok(Success::Hello(self.welcome(0))), ctx);
            }
            None => Command::OpenSession {
                ttl_ms: limits.session_ttl_ms,
                window: limits.window,
                max_sessions: self.shared.max_sessions,
            },
            Some(session) => Command::KeepAlive { session },
        };
        self.standing = Standing::Greeting(hello.session.unwrap_or(0));
        let reply = self.reply(0, ctx);
        batch.propose(&command, reply);
    }

    fn welcome(&self, session: u64) -> Welcome {
        let view = &self.shared.view;
        Welcome {
            session,
            node: view.node(),
            leader: view.leader(),
            cluster: view.cluster().to_owned(),
            version: view.version().to_owned(),
            limits: self.shared.limits,
        }
    }

    /// The answer to the log's part of a `hello`.
    pub(crate) fn greeted(&mut self, session: u64, outcome: Outcome) -> OpResult {
        match outcome.result {
            Ok(_) => {
                let session = if session == 0 { outcome.index.0 } else { session };
                self.standing = Standing::Open(session);
                self.kept_alive = self.shared.view.clock.now();
                Ok(Success::Hello(self.welcome(session)))
            }
            Err(failure) => {
                self.standing = Standing::New;
                self.unwelcome = Some(failure.clone());
                Err(failure)
            }
        }
    }

    /// Reads and pings keep a session alive, but only now and then through the log.
    fn keep_alive(&mut self, session: u64, now: Moment) -> Option<Command> {
        let ttl = Duration::from_millis(self.shared.limits.session_ttl_ms);
        if session == 0 || now.since(self.kept_alive) < ttl / 4 {
            return None;
        }
        self.kept_alive = now;
        Some(Command::KeepAlive { session })
    }

    fn ping(&mut self, id: u64, session: u64, batch: &mut Batch, ctx: &mut Context<Self>) {
        match self.keep_alive(session, batch.now(&self.shared)) {
            Some(command) => {
                let reply = self.reply(id, ctx);
                batch.propose(&command, reply);
            }
            None if session != 0 && !self.shared.view.leads() => {
                let failure = self.not_leader();
                self.answer(id, Err(failure), ctx);
            }
            None => self.answer(id, Ok(Success::Empty), ctx),
        }
    }

    fn bye(&mut self, id: u64, session: u64, batch: &mut Batch, ctx: &mut Context<Self>) {
        self.bye = Some(id);
        if session == 0 {
            return self.answer(id, Ok(Success::Empty), ctx);
        }
        let command = Command::CloseSession { session };
        let reply = self.reply(id, ctx);
        batch.propose(&command, reply);
    }

    fn get(&mut self, id: u64, session: u64, get: Get, batch: &mut Batch, ctx: &mut Context<Self>) {
        let asked = batch.now(&self.shared);
        if let Some(command) = self.keep_alive(session, asked) {
            let reply = Reply::nobody();
            batch.propose(&command, reply);
        }
        if get.consistency != Consistency::Stale {
            // A follower can read for a connection, but cannot keep its session alive.
            if session != 0 && !self.shared.view.leads() {
                let failure = self.not_leader();
                return self.answer(id, Err(failure), ctx);
            }
            let lease = get.consistency == Consistency::Lease;
            let asked = (!lease).then_some(asked);
            let reply = self.reply(id, ctx);
            let reads = if lease { &mut batch.leased } else { &mut batch.reads };
            reads.push(Question::Get { get, asked, reply });
            return;
        }
        let (to, asked) = match self.shared.view.way(get.max_age_ms) {
            Way::Here => (&mut batch.queries, None),
            Way::Confirmed => (&mut batch.reads, Some(asked)),
            Way::Elsewhere => {
                let failure = self.not_leader();
                return self.answer(id, Err(failure), ctx);
            }
        };
        let reply = self.reply(id, ctx);
        to.push(Question::Get { get, asked, reply });
    }

    fn not_leader(&self) -> Failure {
        let leader = self.shared.view.leader();
        let node = self.shared.view.node();
        let (code, text) = match &leader {
            Some(leader) => (
                ErrorCode::NotLeader,
                format!("node {node} cannot answer this, node {} leads: go there", leader.id),
            ),
            None => {
                (ErrorCode::NoLeader, format!("node {node} knows no leader: retry after a pause"))
            }
        };
        Failure { code, message: text, leader, revision: None }
    }
}

/// What an operator's request means for raft.
fn operation(admin: Admin) -> Operation {
    let (changes, force) = match admin {
        Admin::TransferLeadership { to } => {
            return Operation::TransferLeadership { to: (to.0 != 0).then_some(to) };
        }
        Admin::Snapshot => return Operation::Checkpoint,
        Admin::AddMember { id, peer, client, standby } => {
            let role = if standby { MemberRole::Standby } else { MemberRole::Learner };
            (Change::Add(Member { role, ..Member::voter(id, peer, client) }), false)
        }
        Admin::PromoteMember { id, force } => (Change::Promote(id), force),
        Admin::RemoveMember { id, force } => (Change::Remove(id), force),
        Admin::MoveMember { id, peer, client } => (Change::Move { id, peer, client }, false),
    };
    Operation::ChangeMembers { changes: vec![changes], force }
}
