//! The promises, against a cluster that loses connections, delays, refuses and forgets sessions by
//! chance. The cluster is honest: it says "not executed" only of a sending that was not.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const WINDOW: u64 = 4;

/// Chance from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// The replicated side of a cluster: what was executed, within which session.
#[derive(Default)]
struct Cluster {
    sessions: u64,
    /// The sessions that live, with the mark of what is forgotten and the ids above it that were
    /// executed.
    living: BTreeMap<u64, (u64, BTreeSet<u64>)>,
    /// How often each value was written.
    executed: BTreeMap<Bytes, u32>,
}

impl Cluster {
    /// Executes a write unless it was before, and answers, or does neither.
    fn write(&mut self, session: u64, request: &Request, chance: &mut Chance) -> OpResult {
        let Op::Put(put) = &request.op else { return Ok(get_ok()) };
        let refusal = Failure::new(
            [ErrorCode::NoLeader, ErrorCode::Overloaded, ErrorCode::NotLeader]
                [usize::try_from(chance.below(3)).unwrap()],
            "no",
        );
        if session == 0 {
            if chance.one_in(4) {
                return Err(refusal);
            }
            *self.executed.entry(put.value.clone()).or_default() += 1;
            return self.answer(chance);
        }
        let Some((mark, ids)) = self.living.get_mut(&session) else {
            return Err(Failure::new(ErrorCode::SessionExpired, "expired"));
        };
        assert!(request.id > *mark, "{} is sent again, but forgotten", request.id);
        if ids.contains(&request.id) {
            return self.answer(chance);
        }
        if chance.one_in(4) {
            return Err(refusal);
        }
        *mark = (*mark).max(request.acked);
        ids.retain(|id| *id > request.acked);
        ids.insert(request.id);
        while ids.len() as u64 > WINDOW {
            *mark = (*mark).max(ids.pop_first().expect("more than the window"));
        }
        *self.executed.entry(put.value.clone()).or_default() += 1;
        self.answer(chance)
    }

    fn answer(&self, chance: &mut Chance) -> OpResult {
        match chance.below(8) {
            0 => Err(Failure::new(ErrorCode::UnknownOutcome, "perhaps")),
            1 => Err(Failure::new(ErrorCode::Timeout, "perhaps")),
            _ => Ok(put_ok()),
        }
    }

    fn hello(&mut self, asked: Option<u64>, chance: &mut Chance) -> OpResult {
        if chance.one_in(4) {
            return Err(Failure::new(ErrorCode::NoLeader, "no"));
        }
        let session = match asked {
            Some(0) => 0,
            Some(old) if self.living.contains_key(&old) => old,
            Some(_) => return Err(Failure::new(ErrorCode::SessionExpired, "expired")),
            None => {
                self.sessions += 1;
                self.living.insert(self.sessions, Default::default());
                self.sessions
            }
        };
        let mut welcome = welcome(session, 1, 1);
        welcome.limits.window = WINDOW;
        Ok(Success::Hello(welcome))
    }
}

struct World {
    session: Session,
    now: Moment,
    chance: Chance,
    cluster: Cluster,
    connecting: bool,
    connected: bool,
    /// The session that the connection's hello resumed.
    greeted: u64,
    /// Replies under way on the connection.
    replies: Vec<(u64, OpResult)>,
    tokens: BTreeMap<u64, Bytes>,
    completed: BTreeMap<u64, Outcome>,
}

impl World {
    fn new(seed: u64, sessionless: bool) -> Self {
        let endpoints = vec![A.to_owned(), B.to_owned()];
        let config =
            Config { endpoints, sessionless, seed, window: WINDOW, queue: 20, ..Config::default() };
        Self {
            session: Session::new(config, Moment(0)),
            now: Moment(0),
            chance: Chance(seed),
            cluster: Cluster::default(),
            connecting: false,
            connected: false,
            greeted: 0,
            replies: Vec::new(),
            tokens: BTreeMap::new(),
            completed: BTreeMap::new(),
        }
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.session.poll() {
            match action {
                Action::Connect { .. } => {
                    assert!(!self.connecting && !self.connected);
                    self.connecting = true;
                }
                Action::Disconnect => {
                    assert!(self.connecting || self.connected);
                    self.cut();
                }
                Action::Send(frame) => {
                    assert!(self.connected);
                    for request in Requests::new(&frame, &Limits::default()) {
                        let Ok(Decoded::Request(request)) = request else { panic!() };
                        self.arrive(&request);
                    }
                }
                Action::Complete { token, outcome } => {
                    assert!(self.completed.insert(token, outcome).is_none(), "completed twice");
                }
            }
        }
    }

    fn cut(&mut self) {
        (self.connecting, self.connected) = (false, false);
        self.replies.clear();
    }

    /// A request arrives, or is lost on its way; its reply will come some time, or never.
    fn arrive(&mut self, request: &Request) {
        if self.chance.one_in(10) {
            return;
        }
        let result = match &request.op {
            Op::Hello(hello) => {
                let result = self.cluster.hello(hello.session, &mut self.chance);
                if let Ok(Success::Hello(welcome)) = &result {
                    self.greeted = welcome.session;
                }
                result
            }
            Op::Ping => Ok(Success::Empty),
            Op::Put(_) | Op::Get(_) => self.cluster.write(self.greeted, request, &mut self.chance),
            Op::Bye
            | Op::Append(_)
            | Op::Delete(_)
            | Op::CompareAndSwap(_)
            | Op::Increment(_)
            | Op::Status
            | Op::Members
            | Op::Admin(_) => panic!("never asked"),
        };
        self.replies.push((request.id, result));
    }

    fn step(&mut self) {
        match self.chance.below(10) {
            0..=2 => {
                let value = Bytes::from(format!("{}", self.tokens.len()));
                let op = if self.chance.one_in(4) {
                    get()
                } else {
                    Op::Put(Put { key: "k".into(), value: value.clone(), ..Put::default() })
                };
                let within = Duration::from_millis(50 + self.chance.below(4_000));
                let token = self.session.submit(self.now, op, self.now + within);
                self.tokens.insert(token, value);
            }
            3 if self.connecting => {
                (self.connecting, self.connected) = (false, true);
                self.session.connected(self.now);
            }
            4 if (self.connecting || self.connected) && self.chance.one_in(4) => {
                self.cut();
                self.session.disconnected(self.now, "reset");
            }
            5 => {
                self.now = self.now + Duration::from_millis(self.chance.below(100));
                self.session.tick(self.now);
            }
            6 if self.chance.one_in(10) => {
                self.cluster.living.clear();
            }
            _ if !self.replies.is_empty() => {
                let at = self.chance.below(self.replies.len() as u64);
                let (id, result) = self.replies.swap_remove(usize::try_from(at).unwrap());
                let mut out = BytesMut::new();
                encode_reply(&mut out, id, &encode_result(&result));
                self.session.frame(self.now, &out.freeze());
            }
            _ => {}
        }
        self.carry_out();
    }

    fn check(&self) {
        let known: BTreeSet<u64> = self.tokens.keys().copied().collect();
        assert_eq!(known, self.completed.keys().copied().collect(), "each ends once");
        for (token, outcome) in &self.completed {
            let times = self.cluster.executed.get(&self.tokens[token]).copied().unwrap_or(0);
            match outcome {
                Outcome::Done(Success::Put { .. }) => assert_eq!(times, 1, "{token}"),
                Outcome::Done(_) | Outcome::NotExecuted(_) | Outcome::Unreachable { .. } => {
                    assert_eq!(times, 0, "{token}: {outcome:?}");
                }
                Outcome::Unknown { .. } => assert!(times <= 1, "{token}"),
            }
        }
    }
}

fn run(seed: u64, sessionless: bool) -> BTreeMap<u64, Outcome> {
    let mut world = World::new(seed, sessionless);
    for _ in 0..400 {
        world.step();
    }
    // Whatever happens, deadlines pass.
    world.now = world.now + Duration::from_secs(10);
    world.session.tick(world.now);
    world.carry_out();
    world.check();
    world.completed
}

proptest! {
    #[test]
    fn each_write_is_executed_at_most_once_and_no_outcome_lies(seed: u64) {
        run(seed, false);
    }

    #[test]
    fn without_a_session_no_outcome_lies_either(seed: u64) {
        run(seed, true);
    }
}

#[test]
fn chance_meets_every_outcome() {
    let (mut done, mut certain, mut unknown) = (0, 0, 0);
    for seed in 0..50 {
        for outcome in run(seed, false).values() {
            match outcome {
                Outcome::Done(_) => done += 1,
                Outcome::NotExecuted(_) | Outcome::Unreachable { .. } => certain += 1,
                Outcome::Unknown { .. } => unknown += 1,
            }
        }
    }
    assert!(done > 500 && certain > 50 && unknown > 50, "{done} {certain} {unknown}");
}
