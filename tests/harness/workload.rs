//! Concurrent clients with sessions, on few keys, and the record of what they asked and were
//! told, on one monotonic clock.
//!
//! What they call is chosen by the simulator's own [`Habits`]; besides, each client appends
//! unique tokens to keys that only it writes and that nobody overwrites, so that what is lost or
//! doubled can be counted at the end.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_client::{Client, Error};
use quorate_core::client::Outcome;
use quorate_core::wire::client::{Append, Failure, Get, Op};
use quorate_sim::chance::Chance;
use quorate_sim::habits::Habits;
use quorate_sim::history::Operation;
use quorate_sim::plan::Workload;
use tokio::task::JoinHandle;

use crate::wait::wait_for;

/// The keys of tokens begin with this.
pub const TOKENS: &str = "t";

/// A key of tokens is left for a new one after so many, so that values stay short.
const TOKENS_PER_KEY: u64 = 300;

/// The client of the final reads.
const READER: u64 = 1_000_000;

/// Of a hundred calls, so many append a token.
const TOKEN_PERCENT: u64 = 15;

/// What clients asked and were told.
#[derive(Debug)]
pub struct Recorder {
    started: Instant,
    history: Mutex<Vec<Operation>>,
    acked: AtomicU64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { started: Instant::now(), history: Mutex::default(), acked: AtomicU64::new(0) }
    }
}

impl Recorder {
    /// Calls, waits for the end, and notes both.
    ///
    /// # Errors
    /// As the client's.
    pub async fn call(&self, number: u64, client: &Client, op: Op) -> Outcome {
        self.call_within(number, client, op, None).await
    }

    /// As [`Recorder::call`], within a time of its own.
    pub async fn call_within(
        &self,
        number: u64,
        client: &Client,
        op: Op,
        deadline: Option<Duration>,
    ) -> Outcome {
        let invoked = self.now();
        let outcome = outcome(client.call(op.clone(), deadline).await);
        let ended = Some(self.now());
        if matches!(outcome, Outcome::Done(_)) {
            self.acked.fetch_add(1, Ordering::SeqCst);
        }
        let noted = Some(outcome.clone());
        self.history.lock().unwrap_or_else(PoisonError::into_inner).push(Operation {
            client: number,
            invoked,
            ended,
            op,
            outcome: noted,
        });
        outcome
    }

    /// Reads every key that was ever named.
    ///
    /// # Panics
    /// When one cannot be read within the client's deadline.
    pub async fn read_all(&self, client: &Client) {
        let keys: BTreeSet<Bytes> =
            self.history().iter().filter_map(|operation| operation.op.key().cloned()).collect();
        for key in keys {
            let get = Op::Get(Get { key, ..Get::default() });
            let outcome = self.call(READER, client, get.clone()).await;
            assert!(matches!(outcome, Outcome::Done(_)), "{get:?} ended with {outcome:?}");
        }
    }

    /// What was noted so far.
    #[must_use]
    pub fn history(&self) -> Vec<Operation> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many calls were answered.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::SeqCst)
    }

    /// Waits until another call is answered; how long that took.
    pub async fn next_ack(&self, within: Duration) -> Duration {
        let (started, before) = (Instant::now(), self.acked());
        wait_for("answered call", within, async || (self.acked() != before).then_some(())).await;
        started.elapsed()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// What a client's result says, as the session said it.
fn outcome(result: Result<quorate_client::Success, Error>) -> Outcome {
    match result {
        Ok(success) => Outcome::Done(success),
        Err(Error::NotExecuted { code, message, .. }) => {
            Outcome::NotExecuted(Failure::new(code, message))
        }
        Err(Error::Unreachable { reason }) => Outcome::Unreachable { reason },
        Err(Error::Unknown { session, id, reason }) => Outcome::Unknown { session, id, reason },
    }
}

/// Clients that work until they are told to stop.
#[derive(Debug)]
pub struct Load {
    /// What they note.
    pub recorder: Arc<Recorder>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the clients of a plan.
    #[must_use]
    pub fn start(endpoints: &[String], workload: &Workload, seed: u64) -> Self {
        let recorder = Arc::new(Recorder::default());
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for number in 1..=workload.clients {
            let is_stuck = number * 100 <= workload.clients * workload.stuck_percent;
            let (known, workload) = if is_stuck {
                stuck(endpoints, workload, number)
            } else {
                (endpoints.to_vec(), workload.clone())
            };
            let client = Client::builder()
                .endpoints(known)
                .pinned(is_stuck)
                .deadline(Duration::from_millis(workload.deadline_ms))
                .silence(Duration::from_millis(workload.silence_ms))
                .seed(seed.wrapping_add(number))
                .start()
                .expect("there are endpoints");
            let worker = Arc::new(Worker {
                number,
                client,
                workload,
                is_stuck,
                recorder: Arc::clone(&recorder),
                chooser: Mutex::new(Chooser::new(seed, number)),
            });
            for _ in 0..worker.workload.outstanding {
                let (worker, stop) = (Arc::clone(&worker), Arc::clone(&stop));
                tasks.push(tokio::spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        worker.work().await;
                    }
                }));
            }
        }
        Self { recorder, stop, tasks }
    }

    /// Ends the load and waits for what is under way.
    pub async fn stop(self) -> Arc<Recorder> {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.expect("a client's task ends by itself");
        }
        self.recorder
    }
}

/// What a client knows that knows one node only and follows no hint, and what it does: it reads,
/// so that followers have something to answer, too.
fn stuck(endpoints: &[String], workload: &Workload, number: u64) -> (Vec<String>, Workload) {
    let place = usize::try_from(number).unwrap_or(0) % endpoints.len().max(1);
    let known = endpoints.get(place).cloned().into_iter().collect();
    (known, Workload { read_percent: 100, ..workload.clone() })
}

/// One client.
struct Worker {
    number: u64,
    is_stuck: bool,
    client: Client,
    workload: Workload,
    recorder: Arc<Recorder>,
    chooser: Mutex<Chooser>,
}

impl Worker {
    async fn work(&self) {
        let generation =
            self.recorder.acked() / (self.workload.calls_per_key * self.workload.keys).max(1);
        let (op, pause) = self.choose(generation);
        tokio::time::sleep(Duration::from_micros(pause)).await;
        let outcome = self.recorder.call(self.number, &self.client, op.clone()).await;
        let mut chooser = self.chooser.lock().unwrap_or_else(PoisonError::into_inner);
        chooser.habits.learn(&op, &outcome);
    }

    fn choose(&self, generation: u64) -> (Op, u64) {
        let mut chooser = self.chooser.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = chooser.habits.pause(&self.workload);
        if !self.is_stuck && chooser.chance.percent(TOKEN_PERCENT) {
            return (chooser.token(self.number), pause);
        }
        (chooser.habits.next(&self.workload, generation), pause)
    }
}

/// Chooses one client's calls.
struct Chooser {
    habits: Habits,
    chance: Chance,
    tokens: u64,
}

impl Chooser {
    fn new(seed: u64, number: u64) -> Self {
        let chance = Chance::stream(seed, "tokens", number, 0);
        Self { habits: Habits::new(seed, number), chance, tokens: 0 }
    }

    fn token(&mut self, number: u64) -> Op {
        let key = Bytes::from(format!("{TOKENS}{number}.{}", self.tokens / TOKENS_PER_KEY));
        self.tokens += 1;
        Op::Append(Append { key, value: Bytes::from(format!("{number}.{};", self.tokens)) })
    }
}
