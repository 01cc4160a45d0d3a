//! The session driven by hand: a rig plays the socket, the clock and the nodes.

use std::time::Duration;

use bytes::BytesMut;

use super::*;
use crate::types::NodeId;
use crate::wire::client::{
    Decoded, ErrorCode, Get, Increment, Leader, OpResult, Put, Request, Requests, encode_reply,
    encode_result,
};

mod deadlines;
mod failover;
mod promises;
mod sessions;

const A: &str = "a:1";
const B: &str = "b:1";
const C: &str = "c:1";

/// A session and what it did last.
struct Rig {
    session: Session,
    now: Moment,
    sent: Vec<Request>,
    messages: usize,
    connects: Vec<String>,
    disconnects: usize,
    completed: Vec<(u64, Outcome)>,
}

impl Rig {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let endpoints = vec![A.to_owned(), B.to_owned(), C.to_owned()];
        let mut config = Config { endpoints, ..Config::default() };
        change(&mut config);
        let now = Moment(1_000_000);
        let mut rig = Self {
            session: Session::new(config, now),
            now,
            sent: Vec::new(),
            messages: 0,
            connects: Vec::new(),
            disconnects: 0,
            completed: Vec::new(),
        };
        rig.run();
        rig
    }

    /// Connected to A, in session 9, with nothing noted.
    fn greeted(change: impl FnOnce(&mut Config)) -> Self {
        let mut rig = Self::new(change);
        assert_eq!(rig.connects, [A]);
        rig.greet(9, 1);
        rig.clear();
        rig
    }

    /// Answers a connection attempt and its hello: node `node` leads.
    fn greet(&mut self, session: u64, node: u64) {
        self.session.connected(self.now);
        self.run();
        let hello = self.sent.pop().expect("hello");
        assert_eq!((hello.id, hello.op.name()), (0, "hello"));
        self.reply(0, &Ok(Success::Hello(welcome(session, node, node))));
    }

    fn run(&mut self) {
        let (mut actions, mut none) = (0, 0);
        while let Some(action) = self.session.poll() {
            actions += 1;
            assert!(actions < 10_000, "the session never rests");
            match action {
                Action::Connect { address } => self.connects.push(address),
                Action::Disconnect => self.disconnects += 1,
                Action::Complete { token, outcome } => self.completed.push((token, outcome)),
                Action::Send(frame) => {
                    self.messages += 1;
                    for request in Requests::new(&frame, &Limits::default()) {
                        match request.expect("well formed") {
                            Decoded::Request(request) => self.sent.push(request),
                            Decoded::Refused { .. } => none += 1,
                        }
                    }
                }
            }
        }
        assert_eq!(none, 0, "a request was malformed");
    }

    fn clear(&mut self) {
        self.sent.clear();
        self.connects.clear();
        self.completed.clear();
        (self.messages, self.disconnects) = (0, 0);
    }

    fn submit(&mut self, op: Op) -> u64 {
        let deadline = self.now + Duration::from_secs(10);
        self.session.submit(self.now, op, deadline)
    }

    fn call(&mut self, op: Op) -> u64 {
        let token = self.submit(op);
        self.run();
        token
    }

    fn reply(&mut self, id: u64, result: &OpResult) {
        let mut out = BytesMut::new();
        encode_reply(&mut out, id, &encode_result(result));
        self.session.frame(self.now, &out.freeze());
        self.run();
    }

    fn refuse(&mut self, id: u64, code: ErrorCode) {
        self.reply(id, &Err(Failure::new(code, "no")));
    }

    fn send_to(&mut self, id: u64, address: &str) {
        let leader = Some(Leader { id: NodeId(2), address: address.to_owned() });
        self.reply(id, &Err(Failure { leader, ..Failure::new(ErrorCode::NotLeader, "no") }));
    }

    fn lose(&mut self) {
        self.session.disconnected(self.now, "reset");
        self.run();
    }

    fn after(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.session.tick(self.now);
        self.run();
    }

    /// Ids and operations that were sent since the last call, in order.
    fn ids(&mut self) -> Vec<u64> {
        self.sent.drain(..).map(|request| request.id).collect()
    }

    /// The next completion.
    fn outcome(&mut self, token: u64) -> Outcome {
        let at = self.completed.iter().position(|(of, _)| *of == token).expect("completed");
        self.completed.remove(at).1
    }
}

fn welcome(session: u64, node: u64, leader: u64) -> Welcome {
    let address = [A, B, C][usize::try_from(leader).expect("1 to 3") - 1];
    Welcome {
        session,
        node: NodeId(node),
        leader: Some(Leader { id: NodeId(leader), address: address.into() }),
        cluster: "test".into(),
        version: "0".into(),
        limits: Limits::default(),
    }
}

fn put() -> Op {
    Op::Put(Put { key: "k".into(), value: "v".into(), ..Put::default() })
}

fn get() -> Op {
    Op::Get(Get { key: "k".into(), ..Get::default() })
}

fn put_ok() -> Success {
    Success::Put { revision: 2, index: 3, previous: None }
}

fn get_ok() -> Success {
    Success::Get { revision: 2, index: 3, entry: None }
}

#[test]
fn hello_comes_first_and_then_everything_in_one_message() {
    let mut rig = Rig::new(|_| {});
    let (first, second) = (rig.submit(put()), rig.submit(get()));
    rig.run();
    assert_eq!(rig.messages, 0, "nothing before hello is answered");
    rig.session.connected(rig.now);
    rig.run();
    assert_eq!(rig.ids(), [0]);
    rig.reply(0, &Ok(Success::Hello(welcome(9, 1, 1))));
    assert_eq!(rig.session.session(), Some(9));
    assert_eq!(rig.messages, 2, "hello, and one message with both");
    assert_eq!(rig.ids(), [1, 2]);
    rig.reply(2, &Ok(get_ok()));
    rig.reply(1, &Ok(put_ok()));
    assert_eq!(rig.outcome(first), Outcome::Done(put_ok()));
    assert_eq!(rig.outcome(second), Outcome::Done(get_ok()));
}

#[test]
fn acked_is_the_highest_id_up_to_which_all_is_answered() {
    let mut rig = Rig::greeted(|_| {});
    let acked = |rig: &mut Rig| rig.sent.pop().unwrap().acked;
    rig.call(put());
    assert_eq!(acked(&mut rig), 0);
    rig.call(put());
    rig.call(put());
    rig.reply(2, &Ok(put_ok()));
    rig.call(put());
    assert_eq!(acked(&mut rig), 0, "1 is not answered");
    rig.reply(1, &Ok(put_ok()));
    rig.call(put());
    assert_eq!(acked(&mut rig), 2);
    for id in 3..=5 {
        rig.reply(id, &Ok(put_ok()));
    }
    rig.call(put());
    assert_eq!(acked(&mut rig), 5);
}

#[test]
fn the_window_spans_from_the_oldest_unanswered_write() {
    let mut rig = Rig::greeted(|config| config.window = 3);
    for _ in 0..5 {
        rig.submit(put());
    }
    rig.run();
    assert_eq!(rig.ids(), [1, 2, 3]);
    rig.reply(2, &Ok(put_ok()));
    assert_eq!(rig.ids(), [], "1 is not answered, so 4 could push its reply out");
    rig.reply(1, &Ok(put_ok()));
    assert_eq!(rig.ids(), [4, 5]);
}

#[test]
fn the_nodes_limits_count_when_they_are_lower() {
    let mut rig = Rig::new(|_| {});
    for _ in 0..3 {
        rig.submit(put());
    }
    rig.session.connected(rig.now);
    rig.run();
    let mut told = welcome(9, 1, 1);
    told.limits.window = 2;
    told.limits.request_bytes = 300;
    rig.reply(0, &Ok(Success::Hello(told)));
    assert_eq!(rig.ids(), [0, 1, 2]);
    let large = Put { key: "k".into(), value: vec![0; 400].into(), ..Put::default() };
    let token = rig.call(Op::Put(large));
    let Outcome::NotExecuted(failure) = rig.outcome(token) else { panic!("sent") };
    assert_eq!(failure.code, ErrorCode::TooLarge);
}

#[test]
fn messages_stay_below_the_limit() {
    let mut rig = Rig::greeted(|config| config.request_bytes = 1_000);
    for _ in 0..9 {
        rig.submit(Op::Put(Put { key: "k".into(), value: vec![0; 330].into(), ..Put::default() }));
    }
    rig.run();
    assert_eq!(rig.messages, 5, "two in each fit, not three");
    assert_eq!(rig.ids(), (1..=9).collect::<Vec<_>>());
}

#[test]
fn the_queue_is_bounded() {
    let mut rig = Rig::new(|config| config.queue = 2);
    let tokens: Vec<u64> = (0..3).map(|_| rig.submit(put())).collect();
    rig.run();
    assert_eq!(rig.completed.len(), 1);
    let Outcome::NotExecuted(failure) = rig.outcome(tokens[2]) else { panic!("accepted") };
    assert_eq!(failure.code, ErrorCode::Overloaded);
}

#[test]
fn an_idle_session_pings_every_third_of_its_life() {
    let mut rig = Rig::greeted(|_| {});
    assert_eq!(rig.session.wake_at(), Some(rig.now + Duration::from_secs(20)));
    rig.after(19_999);
    assert!(rig.sent.is_empty());
    rig.after(1);
    assert_eq!(rig.sent.pop().unwrap().op, Op::Ping);
    rig.reply(1, &Ok(Success::Empty));
    rig.after(10_000);
    rig.call(get());
    rig.reply(2, &Ok(get_ok()));
    rig.call(put());
    assert_eq!(rig.ids(), [2, 3]);
    rig.reply(3, &Ok(put_ok()));
    rig.after(19_999);
    assert!(rig.sent.is_empty(), "the write was a sign of life");
    rig.after(1);
    assert_eq!(rig.sent.pop().unwrap().op, Op::Ping);
}

#[test]
fn refusals_of_what_the_request_is_are_final() {
    let mut rig = Rig::greeted(|_| {});
    let op = Op::Increment(Increment { key: "k".into(), by: 1 });
    for code in [ErrorCode::BadRequest, ErrorCode::TooLarge, ErrorCode::Unsupported] {
        let token = rig.call(op.clone());
        let id = rig.ids()[0];
        rig.refuse(id, code);
        assert_eq!(rig.outcome(token), Outcome::NotExecuted(Failure::new(code, "no")));
    }
    let token = rig.call(op);
    let id = rig.ids()[0];
    rig.refuse(id, ErrorCode::Internal);
    assert!(matches!(rig.outcome(token), Outcome::Unknown { session: 9, .. }));
}
