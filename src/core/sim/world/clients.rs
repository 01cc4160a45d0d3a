//! Clients: the real session over simulated connections.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::client::{Action, Config, Outcome, Session};
use quorate_core::types::{Moment, NodeId};
use quorate_core::wire::client::{Decoded, ErrorCode, Limits, Op, Requests, Success};

use super::World;
use super::gateway::{Conn, Standing};
use super::queue::Event;
use crate::chance::Chance;
use crate::coverage::Sometimes;
use crate::facts::Fact;
use crate::habits::Habits;
use crate::history::Operation;

/// A client that wants to be woken at once, so many times on end, does nothing but that.
const MOST_SPINS: u64 = 10_000;

/// One client.
pub(super) struct Client {
    pub(super) session: Session,
    /// Its newest connection.
    conn: Option<u64>,
    /// Its open calls, by the session's token: the call's number and what it asks.
    pub(super) open: BTreeMap<u64, (u64, Op)>,
    /// Calls whose request was sent in a session: by session and id.
    pub(super) posted: BTreeMap<(u64, u64), u64>,
    pub(super) habits: Habits,
    chance: Chance,
    wake_at: u64,
    /// How often it has asked to be woken at a time that has passed.
    spins: u64,
    /// How many messages it has sent.
    messages: u64,
    /// Makes no further calls.
    pub(super) done: bool,
    /// What its newest calls ended with; for those who wait for one.
    pub(super) newest: Option<Outcome>,
}

/// The node behind an address such as `n2`.
fn node_of(address: &str) -> NodeId {
    let number = address.strip_prefix('n').and_then(|number| number.parse().ok());
    NodeId(number.expect("addresses of the simulation"))
}

impl World {
    pub(super) fn add_client(&mut self, id: u64) {
        let plan = &self.plan;
        let mut chance = Chance::stream(plan.seed, "client", id, 0);
        let mut endpoints: VecDeque<String> =
            (1..=plan.machines()).map(|id| format!("n{id}")).collect();
        endpoints.rotate_left(usize::try_from(chance.below(plan.machines())).unwrap_or(0));
        if chance.percent(plan.workload.stuck_percent) {
            endpoints.truncate(1);
        }
        self.add_client_of(id, endpoints.into(), chance);
        self.queue.push(self.now + 1, Event::Call { client: id });
    }

    /// A client that knows these addresses.
    pub(super) fn add_client_of(&mut self, id: u64, endpoints: Vec<String>, mut chance: Chance) {
        let (plan, now) = (&self.plan, self.now);
        let pinned = endpoints.len() == 1 && chance.percent(50);
        let config = Config {
            endpoints,
            pinned,
            silence: Duration::from_millis(plan.workload.silence_ms),
            seed: chance.draw(),
            ..Config::default()
        };
        let client = Client {
            session: Session::new(config, Moment(now)),
            conn: None,
            open: BTreeMap::new(),
            posted: BTreeMap::new(),
            habits: Habits::new(plan.seed, id),
            chance,
            wake_at: u64::MAX,
            spins: 0,
            messages: 0,
            done: false,
            newest: None,
        };
        self.clients.insert(id, client);
        self.queue.push(now, Event::Wake { client: id });
    }

    /// The time that bytes take between a client and a node.
    pub(super) fn latency(&mut self, conn: u64) -> u64 {
        let mean = self.plan.workload.latency_us;
        let client = self.conns.get(&conn).map(|known| known.client);
        let late = self.plan.workload.late_millionths;
        match client.and_then(|client| self.clients.get_mut(&client)) {
            Some(client) => {
                let usual = 1 + client.chance.around(mean);
                let late = client.chance.millionths(late) && !self.calm;
                if late { usual + client.chance.below(3_000_000) } else { usual }
            }
            None => 1,
        }
    }

    pub(super) fn wake(&mut self, id: u64) {
        let now = Moment(self.now);
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.wake_at <= self.now {
            client.wake_at = u64::MAX;
        }
        if self.silent {
            return;
        }
        client.session.tick(now);
        self.pump(id);
    }

    /// Does what the session wants done, and sees that it is woken in time.
    pub(super) fn pump(&mut self, id: u64) {
        while let Some(action) = self.clients.get_mut(&id).and_then(|c| c.session.poll()) {
            match action {
                Action::Connect { address } => self.connect(id, &address),
                Action::Disconnect => self.hang_up(id),
                Action::Send(frame) => self.post(id, frame),
                Action::Complete { token, outcome } => self.complete(id, token, outcome),
            }
        }
        let now = self.now;
        let Some(client) = self.clients.get_mut(&id) else { return };
        if let Some(Moment(at)) = client.session.wake_at()
            && at < client.wake_at
        {
            client.spins = if at <= now { client.spins + 1 } else { 0 };
            if client.spins > MOST_SPINS {
                let text =
                    format!("client {id} wants to be woken at a time that has passed, for ever");
                return self.watch.violated("L1", text);
            }
            client.wake_at = at.max(now + 1);
            self.queue.push(client.wake_at, Event::Wake { client: id });
        }
    }

    // ---- connections ----

    fn connect(&mut self, id: u64, address: &str) {
        let conn = self.next_conn;
        self.next_conn += 1;
        let known = Conn {
            client: id,
            node: node_of(address),
            epoch: 0,
            standing: Standing::New,
            kept_alive: self.now,
            mute: false,
            deaf: false,
            last_to_node: 0,
            last_to_client: 0,
        };
        self.conns.insert(conn, known);
        if let Some(client) = self.clients.get_mut(&id) {
            client.conn = Some(conn);
        }
        let latency = self.latency(conn);
        self.queue.push(self.now + latency, Event::Open { conn });
    }

    /// The attempt has reached the node, or the place where it was.
    pub(super) fn open(&mut self, conn: u64) {
        let latency = self.latency(conn);
        let Some(known) = self.conns.get_mut(&conn) else { return };
        let node = known.node;
        if self.requeue_if_paused(node, || Event::Open { conn }) {
            return;
        }
        let machine = self.machine(node);
        let (stands, epoch) = (machine.is_up(), machine.epoch);
        if let Some(known) = self.conns.get_mut(&conn) {
            known.epoch = epoch;
            self.queue.push(self.now + latency, Event::Opened { conn, stands });
        }
    }

    pub(super) fn opened(&mut self, conn: u64, stands: bool) {
        if !stands {
            return self.lost(conn);
        }
        let Some(client) = self.on(conn) else { return };
        let now = Moment(self.now);
        if let Some(client) = self.clients.get_mut(&client) {
            client.session.connected(now);
        }
        self.pump(client);
    }

    /// The client whose newest connection this is.
    fn on(&self, conn: u64) -> Option<u64> {
        let known = self.conns.get(&conn).filter(|known| !known.deaf)?;
        let client = self.clients.get(&known.client)?;
        (client.conn == Some(conn)).then_some(known.client)
    }

    /// The client notices that its connection is gone.
    pub(super) fn lost(&mut self, conn: u64) {
        let client = self.on(conn);
        self.conns.remove(&conn);
        let Some(client) = client else { return };
        let now = Moment(self.now);
        if let Some(client) = self.clients.get_mut(&client) {
            client.conn = None;
            client.session.disconnected(now, "the connection was lost");
        }
        self.pump(client);
    }

    /// The client leaves; the node notices later, after what was sent before.
    fn hang_up(&mut self, id: u64) {
        let Some(conn) = self.clients.get_mut(&id).and_then(|client| client.conn.take()) else {
            return;
        };
        let latency = self.latency(conn);
        if let Some(known) = self.conns.get_mut(&conn) {
            known.deaf = true;
            let at = known.last_to_node.max(self.now + latency) + 1;
            self.queue.push(at, Event::Closed { conn });
        }
    }

    pub(super) fn closed(&mut self, conn: u64) {
        self.conns.remove(&conn);
    }

    /// A client's connection breaks; or nobody is told, and its requests may still arrive.
    pub(super) fn cut_client(&mut self, client: u64, unheard: Option<bool>) {
        let client = (client - 1) % self.plan.workload.clients.max(1) + 1;
        let Some(conn) = self.clients.get(&client).and_then(|client| client.conn) else { return };
        match unheard {
            None => {
                self.lost(conn);
            }
            Some(requests_arrive) => {
                if let Some(known) = self.conns.get_mut(&conn) {
                    known.deaf = true;
                    known.mute |= !requests_arrive;
                }
            }
        }
    }

    // ---- requests and answers ----

    fn post(&mut self, id: u64, frame: Bytes) {
        self.tell_posted(id, &frame);
        let Some(conn) = self.clients.get(&id).and_then(|client| client.conn) else { return };
        let latency = self.latency(conn);
        let now = self.now;
        if let Some(known) = self.conns.get_mut(&conn) {
            known.last_to_node = known.last_to_node.max(now + latency);
            self.queue.push(known.last_to_node, Event::ToNode { conn, frame });
        }
    }

    /// Which call each write belongs to: told by what it asks, which no two open calls of a
    /// client share.
    fn tell_posted(&mut self, id: u64, frame: &Bytes) {
        let now = self.now;
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.messages += 1;
        let (session, message) = (client.session.session(), client.messages);
        for decoded in Requests::new(frame, &Limits::default()) {
            let Ok(Decoded::Request(request)) = decoded else { continue };
            if matches!(&request.op, Op::Hello(hello) if hello.session.is_some()) {
                self.watch.sometimes(Sometimes::SessionResumed);
            }
            let Some(session) = session.filter(|_| request.op.is_write()) else { continue };
            let key = (session, request.id);
            let known = client.posted.get(&key).copied();
            let open = client.open.values().find(|(_, op)| *op == request.op);
            let Some(call) = known.or(open.map(|(call, _)| *call)) else { continue };
            client.posted.insert(key, call);
            let (client, id, acked) = (id, request.id, request.acked);
            self.watch.tell(now, &Fact::Posted { client, call, session, id, acked, message });
        }
    }

    pub(super) fn at_client(&mut self, conn: u64, frame: &Bytes) {
        // In a cluster whose entries take longer to commit than sessions may go without a sign of
        // life, each answer is followed by the next sign, for ever.
        if self.silent {
            return;
        }
        let Some(client) = self.on(conn) else { return };
        let now = Moment(self.now);
        if let Some(client) = self.clients.get_mut(&client) {
            client.session.frame(now, frame);
        }
        self.pump(client);
    }

    /// A client calls.
    pub(super) fn submit(&mut self, id: u64, op: Op, deadline_ms: u64) {
        let now = self.now;
        let call = self.history.len() as u64;
        let deadline = Moment(now + deadline_ms * 1_000);
        self.watch.tell(now, &Fact::Invoked { client: id, call, op: &op });
        let operation =
            Operation { client: id, invoked: now, ended: None, op: op.clone(), outcome: None };
        self.history.push(operation);
        let Some(client) = self.clients.get_mut(&id) else { return };
        let token = client.session.submit(Moment(now), op.clone(), deadline);
        client.open.insert(token, (call, op));
        self.pump(id);
    }

    fn complete(&mut self, id: u64, token: u64, outcome: Outcome) {
        let now = self.now;
        let Some(client) = self.clients.get_mut(&id) else { return };
        let Some((call, op)) = client.open.remove(&token) else { return };
        client.habits.learn(&op, &outcome);
        client.newest = Some(outcome.clone());
        self.watch.tell(now, &Fact::Completed { client: id, call, outcome: &outcome });
        self.cover(&outcome);
        let place = usize::try_from(call).unwrap_or(usize::MAX);
        if let Some(operation) = self.history.get_mut(place) {
            operation.ended = Some(now);
            operation.outcome = Some(outcome);
        }
    }

    fn cover(&mut self, outcome: &Outcome) {
        let all_up = self.machines.values().all(|machine| machine.is_up() || machine.absent);
        match outcome {
            Outcome::Done(success) => {
                self.watch.tally.done += 1;
                if !all_up {
                    self.watch.sometimes(Sometimes::ServedWithoutAll);
                }
                if matches!(success, Success::CompareAndSwap { swapped: false, .. }) {
                    self.watch.sometimes(Sometimes::SwapRefused);
                }
            }
            Outcome::NotExecuted(failure) => {
                self.watch.tally.not_done += 1;
                match failure.code {
                    ErrorCode::TooLarge => self.watch.sometimes(Sometimes::AppendTooLarge),
                    ErrorCode::BadRequest => self.watch.sometimes(Sometimes::NotANumber),
                    _ => {}
                }
            }
            Outcome::Unreachable { .. } | Outcome::Unknown { .. } => {
                self.watch.tally.not_done += 1;
            }
        }
    }
}
