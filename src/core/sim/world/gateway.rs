//! Clients' connections as the node has them. It stands in for ClientSessionActor: what becomes
//! of each request, and how an answer gets back.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quorate_core::kv::{Command, WriteOp};
use quorate_core::raft::{Input, Refusal};
use quorate_core::types::{ChangeRefusal, Index, NodeId, Ticket};
use quorate_core::wire::client::{
    Decoded, ErrorCode, Failure, Hello, Leader, Limits, Op, OpResult, Request, Requests, Success,
    Welcome, encode_reply, encode_result,
};

use super::World;
use super::machine::{Question, Waiting};
use super::queue::Event;
use crate::coverage::Sometimes;
use crate::facts::{Fact, Lease};

/// Where a connection stands, at the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// No `hello` yet.
    New,
    /// `hello` is being answered; 0 asks for a new session.
    Greeting(u64),
    /// In a session.
    Open(u64),
}

/// One connection.
pub(super) struct Conn {
    pub(super) client: u64,
    pub(super) node: NodeId,
    /// The node's start that accepted it.
    pub(super) epoch: u64,
    pub(super) standing: Standing,
    /// When the session was last kept alive through the log.
    pub(super) kept_alive: u64,
    /// Nothing of it reaches the node any more.
    pub(super) mute: bool,
    /// Nothing of it reaches the client any more.
    pub(super) deaf: bool,
    /// Bytes arrive in order, each way.
    pub(super) last_to_node: u64,
    pub(super) last_to_client: u64,
}

impl World {
    fn limits(&self) -> Limits {
        let (window, session_ttl_ms) = (self.plan.knobs.window, self.plan.knobs.session_ttl_ms);
        Limits { window, session_ttl_ms, ..Limits::default() }
    }

    /// Bytes have reached the node.
    pub(super) fn at_node(&mut self, conn: u64, frame: &Bytes) {
        let Some(known) = self.conns.get(&conn).filter(|known| !known.mute) else { return };
        let (node, epoch) = (known.node, known.epoch);
        if self.requeue_if_paused(node, || Event::ToNode { conn, frame: frame.clone() }) {
            return;
        }
        if self.machine(node).epoch != epoch || !self.machine(node).is_up() {
            return;
        }
        let limits = self.limits();
        for decoded in Requests::new(frame, &limits) {
            match decoded.expect("clients send requests") {
                Decoded::Request(request) => self.take(conn, node, request),
                Decoded::Refused { id, failure } => self.answer(conn, id, &Err(failure)),
            }
        }
    }

    fn take(&mut self, conn: u64, node: NodeId, request: Request) {
        let now = self.now;
        let Some(known) = self.conns.get_mut(&conn) else { return };
        let Request { id, op, acked } = request;
        let session = match (known.standing, &op) {
            (Standing::New, Op::Hello(hello)) => return self.greet(conn, node, hello),
            (Standing::Open(session), _) => session,
            (Standing::New | Standing::Greeting(_), _) => {
                let failure = Failure::new(ErrorCode::BadRequest, "`hello` comes first, and once");
                return self.answer(conn, id, &Err(failure));
            }
        };
        if let Some(op) = WriteOp::from_op(&op) {
            known.kept_alive = now;
            let value_bytes = self.plan.knobs.value_bytes;
            let command = Command::Write { session, id, acked, value_bytes, op };
            return self.propose(node, &command, Waiting::Write { conn, id });
        }
        match op {
            Op::Ping => match self.keep_alive(conn, session) {
                Some(command) => self.propose(node, &command, Waiting::Write { conn, id }),
                None if self.machine(node).leads() => self.answer(conn, id, &Ok(Success::Empty)),
                None => {
                    let failure = self.failure(node, self.not_leader(node));
                    self.answer(conn, id, &Err(failure));
                }
            },
            Op::Bye => {
                let command = Command::CloseSession { session };
                self.propose(node, &command, Waiting::Write { conn, id });
            }
            Op::Get(get) => {
                if let Some(command) = self.keep_alive(conn, session) {
                    self.propose(node, &command, Waiting::Nobody);
                }
                self.read(node, Question { conn, id, get });
            }
            Op::Hello(_)
            | Op::Put(_)
            | Op::Append(_)
            | Op::Delete(_)
            | Op::CompareAndSwap(_)
            | Op::Increment(_)
            | Op::Status
            | Op::Members
            | Op::Admin(_) => {
                let failure = Failure::new(ErrorCode::Unsupported, "not in the simulation");
                self.answer(conn, id, &Err(failure));
            }
        }
    }

    fn greet(&mut self, conn: u64, node: NodeId, hello: &Hello) {
        let knobs = &self.plan.knobs;
        let command = match hello.session {
            None | Some(0) => Command::OpenSession {
                ttl_ms: knobs.session_ttl_ms,
                window: knobs.window,
                max_sessions: knobs.max_sessions,
            },
            Some(session) => Command::KeepAlive { session },
        };
        if let Some(known) = self.conns.get_mut(&conn) {
            known.standing = Standing::Greeting(hello.session.unwrap_or(0));
        }
        self.propose(node, &command, Waiting::Write { conn, id: 0 });
    }

    /// Reads and pings keep a session alive, but only now and then through the log.
    fn keep_alive(&mut self, conn: u64, session: u64) -> Option<Command> {
        let quarter = Duration::from_millis(self.plan.knobs.session_ttl_ms / 4);
        let now = self.now;
        let known = self.conns.get_mut(&conn)?;
        let quarter = u64::try_from(quarter.as_micros()).unwrap_or(u64::MAX);
        if now - known.kept_alive < quarter {
            return None;
        }
        known.kept_alive = now;
        Some(Command::KeepAlive { session })
    }

    fn propose(&mut self, node: NodeId, command: &Command, waiting: Waiting) {
        let now = self.now;
        let bytes = command.encode();
        let Some(process) = &mut self.machine_mut(node).process else { return };
        let ticket = process.ticket(waiting);
        let (command, lease) = (Some(&bytes), None);
        self.watch.tell(now, &Fact::Asked { node, ticket, command, lease });
        self.feed(node, Input::Propose(vec![(ticket, bytes)]));
    }

    fn read(&mut self, node: NodeId, question: Question) {
        let now = self.now;
        let knobs = &self.plan.knobs;
        // A fifth less than the shortest time for which nobody is elected.
        let length = Duration::from_millis(knobs.election_timeout_ms) * 4 / 5;
        let leased = knobs.lease_reads;
        let machine = self.machine_mut(node);
        let lease = leased.then_some(Lease { now: machine.clock.at(now), length });
        let Some(process) = &mut machine.process else { return };
        let ticket = process.ticket(Waiting::Read(question));
        if leased {
            process.leased.push(ticket);
        }
        self.watch.tell(now, &Fact::Asked { node, ticket, command: None, lease });
        let input = if leased { Input::LeaseRead } else { Input::Read };
        self.feed(node, input(vec![ticket]));
    }

    // ---- answers ----

    /// A read may be answered once that index is applied.
    pub(super) fn read_at(&mut self, node: NodeId, ticket: Ticket, index: Index) {
        let Some(process) = &mut self.machine_mut(node).process else { return };
        let Some(Waiting::Read(question)) = process.tickets.remove(&ticket) else { return };
        if index <= process.state.applied() {
            self.answer_read(node, &question);
        } else {
            process.reads.entry(index).or_default().push(question);
        }
    }

    pub(super) fn answer_read(&mut self, node: NodeId, question: &Question) {
        let Some(process) = &self.machine(node).process else { return };
        let result = process.state.get(&question.get);
        if !self.machine(node).leads() {
            self.watch.sometimes(Sometimes::FollowerRead);
        }
        self.answer(question.conn, question.id, &result);
    }

    pub(super) fn answer_write(
        &mut self,
        node: NodeId,
        ticket: Ticket,
        index: Index,
        result: OpResult,
    ) {
        let Some(process) = &mut self.machine_mut(node).process else { return };
        let waiting = process.tickets.remove(&ticket);
        if matches!(waiting, Some(Waiting::Change)) {
            return self.watch.sometimes(Sometimes::ChangeDone);
        }
        let Some(Waiting::Write { conn, id }) = waiting else { return };
        let standing = self.conns.get(&conn).map(|known| known.standing);
        let result = match standing {
            Some(Standing::Greeting(session)) if id == 0 => {
                self.greeted(conn, node, session, index, result)
            }
            Some(Standing::New | Standing::Greeting(_) | Standing::Open(_)) | None => result,
        };
        self.answer(conn, id, &result);
    }

    fn greeted(
        &mut self,
        conn: u64,
        node: NodeId,
        session: u64,
        index: Index,
        result: OpResult,
    ) -> OpResult {
        let (now, limits, leader) = (self.now, self.limits(), self.leader_of(node));
        let Some(known) = self.conns.get_mut(&conn) else { return result };
        if let Err(failure) = result {
            known.standing = Standing::New;
            return Err(failure);
        }
        let session = if session == 0 { index.0 } else { session };
        known.standing = Standing::Open(session);
        known.kept_alive = now;
        let (cluster, version) = ("simulated".to_owned(), String::new());
        Ok(Success::Hello(Welcome { session, node, leader, cluster, version, limits }))
    }

    pub(super) fn refuse(&mut self, node: NodeId, ticket: Ticket, why: Refusal) {
        let failure = self.failure(node, why);
        let Some(process) = &mut self.machine_mut(node).process else { return };
        match process.tickets.remove(&ticket) {
            Some(Waiting::Write { conn, id }) => {
                if let Some(known) = self.conns.get_mut(&conn)
                    && id == 0
                {
                    known.standing = Standing::New;
                }
                self.answer(conn, id, &Err(failure));
            }
            Some(Waiting::Read(Question { conn, id, .. })) => {
                if why == Refusal::NoLeader && self.machine(node).leads() {
                    self.watch.sometimes(Sometimes::ReadRefusedOnStepDown);
                }
                self.answer(conn, id, &Err(failure));
            }
            Some(Waiting::Change) if why == Refusal::Unknown => {
                self.watch.sometimes(Sometimes::ChangeEndedUnknown);
            }
            Some(Waiting::Change) if why == Refusal::Change(ChangeRefusal::UnderWay) => {
                self.watch.sometimes(Sometimes::ChangeUnderWay);
            }
            Some(Waiting::Change | Waiting::Nobody) | None => {}
        }
    }

    fn leader_of(&self, node: NodeId) -> Option<Leader> {
        let id = self.machine(node).status()?.leader?;
        Some(Leader { id, address: format!("n{id}") })
    }

    fn not_leader(&self, node: NodeId) -> Refusal {
        self.leader_of(node).map_or(Refusal::NoLeader, |leader| Refusal::NotLeader(leader.id))
    }

    fn failure(&mut self, node: NodeId, refusal: Refusal) -> Failure {
        let code = match refusal {
            Refusal::NotLeader(_) => ErrorCode::NotLeader,
            Refusal::NoLeader | Refusal::Transferring(_) => ErrorCode::NoLeader,
            Refusal::Overloaded => ErrorCode::Overloaded,
            Refusal::Unknown => ErrorCode::UnknownOutcome,
            Refusal::Change(_) | Refusal::NoTarget | Refusal::TransferFailed => {
                ErrorCode::BadRequest
            }
        };
        if code == ErrorCode::NotLeader {
            self.watch.sometimes(Sometimes::SentToLeader);
        }
        let leader = self.leader_of(node);
        Failure { code, message: format!("node {node}: {refusal:?}"), leader, revision: None }
    }

    fn answer(&mut self, conn: u64, id: u64, result: &OpResult) {
        let mut frame = BytesMut::new();
        encode_reply(&mut frame, id, &encode_result(result));
        let latency = self.latency(conn);
        let now = self.now;
        let Some(known) = self.conns.get_mut(&conn) else { return };
        known.last_to_client = known.last_to_client.max(now + latency);
        let at = known.last_to_client;
        self.queue.push(at, Event::ToClient { conn, frame: frame.freeze() });
    }

    /// A node has ended: its connections have, too. Whether the clients notice is another
    /// matter.
    pub(super) fn close_connections(&mut self, node: NodeId, noticed: bool) {
        let conns = self.conns.iter().filter(|(_, known)| known.node == node);
        let conns: Vec<u64> = conns.map(|(conn, _)| *conn).collect();
        for conn in conns {
            let latency = self.latency(conn);
            if let Some(known) = self.conns.get_mut(&conn) {
                known.mute = true;
            }
            if noticed {
                self.queue.push(self.now + latency, Event::Lost { conn });
            }
        }
    }
}
