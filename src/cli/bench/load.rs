//! The load: one loop that gives the requests of all clients to their connections and takes all
//! their outcomes from one queue.
//!
//! Closed: each answer lets its client's next request go, so that a fixed number is under way. Open:
//! requests are due by a schedule; one that is due and finds no room waits, and its time counts all
//! the same.
//!
//! It takes no more than a look at the clock for a batch of outcomes, and a place in a table for a
//! request: at some 100,000 requests a second the generator is what costs most.

use std::io;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use quorate_client::{Client, Outcomes, Tagged};

use super::alarm::Alarm;
use super::record::{Record, Span};
use super::schedule::Schedule;
use super::settings::Settings;
use super::workload::{Asked, Workload};
use crate::cli::output::Failed;

/// An alarm sooner than this, in nanoseconds, costs more than it tells.
const TICK: u64 = 50_000;
/// Outcomes that are taken at once.
const BATCH: usize = 4_096;

/// A request that is under way.
#[derive(Clone, Copy, Debug, Default)]
struct Request {
    due: u64,
    client: usize,
    asked: Asked,
}

/// Who may send, what is under way, what was measured. Times are nanoseconds since `origin`.
pub(super) struct Load<'a> {
    clients: &'a [Client],
    workload: Workload,
    outcomes: Outcomes,
    requests: Vec<Request>,
    /// Places in `requests` that are free.
    free: Vec<usize>,
    /// How many more each client may send.
    room: Vec<usize>,
    /// The client whose turn it is in an open loop.
    turn: usize,
    origin: Instant,
    record: Record,
}

impl<'a> Load<'a> {
    pub(super) fn new(
        settings: &Settings,
        clients: &'a [Client],
        workload: Workload,
        origin: Instant,
    ) -> Self {
        let from = nanos(settings.warm_up);
        let span = Span { from, until: from + nanos(settings.time) };
        Self {
            clients,
            workload,
            outcomes: Outcomes::new(),
            requests: vec![Request::default(); settings.outstanding],
            free: (0..settings.outstanding).rev().collect(),
            room: (0..clients.len()).map(|number| settings.share(number)).collect(),
            turn: 0,
            origin,
            record: Record::new(span),
        }
    }

    /// Runs until the time is up and what is under way has ended.
    ///
    /// # Errors
    /// Where the system gives no timer.
    pub(super) async fn run(mut self, schedule: Option<Schedule>) -> io::Result<Record> {
        match schedule {
            None => self.closed().await,
            Some(schedule) => self.open(schedule).await?,
        }
        Ok(self.record)
    }

    async fn closed(&mut self) {
        for client in 0..self.clients.len() {
            let now = self.now();
            while self.room.get(client).is_some_and(|room| *room > 0) {
                self.send(client, now);
            }
        }
        let mut taken = Vec::with_capacity(BATCH);
        while self.under_way() > 0 {
            self.outcomes.take(&mut taken, BATCH).await;
            let now = self.now();
            for outcome in taken.drain(..) {
                let client = self.ended(outcome, now);
                if now < self.record.span.until {
                    self.send(client, now);
                }
            }
            self.note_the_end(now);
        }
    }

    async fn open(&mut self, mut schedule: Schedule) -> io::Result<()> {
        let (mut alarm, mut set_to) = (Alarm::new()?, None);
        let mut taken = Vec::with_capacity(BATCH);
        let until = self.record.span.until;
        loop {
            let now = self.now();
            // What is late when the time is up is told, and not sent any more.
            while now < until && schedule.next() <= now && !self.free.is_empty() {
                let due = schedule.next();
                self.send_in_turn(due);
                self.record.sent(due, now);
                schedule.advance();
            }
            self.note_the_end(now);
            if now >= until && self.under_way() == 0 {
                break;
            }
            // Without room the next one waits for an answer, not for its time.
            let next = schedule.next().max(now + TICK).min(until);
            let wakes = now < until && !self.free.is_empty();
            if wakes && set_to != Some(schedule.next()) {
                alarm.set(Duration::from_nanos(next.saturating_sub(self.now())))?;
                set_to = Some(schedule.next());
            }
            tokio::select! {
                _ = self.outcomes.take(&mut taken, BATCH) => {}
                rung = alarm.rung(), if wakes => {
                    rung?;
                    set_to = None;
                }
            }
            let now = self.now();
            for outcome in taken.drain(..) {
                self.ended(outcome, now);
            }
        }
        self.record.unsent = schedule.left(self.record.span.from, until);
        Ok(())
    }

    fn now(&self) -> u64 {
        nanos(self.origin.elapsed())
    }

    fn under_way(&self) -> usize {
        self.requests.len() - self.free.len()
    }

    /// What was under way when the time was up.
    fn note_the_end(&mut self, now: u64) {
        if now >= self.record.span.until && self.record.unanswered.is_none() {
            self.record.unanswered = Some(self.under_way() as u64);
        }
    }

    /// Sends from the next client that has room. There is one: room is shared out in full.
    fn send_in_turn(&mut self, due: u64) {
        while self.room.get(self.turn).is_none_or(|room| *room == 0) {
            self.turn = (self.turn + 1) % self.clients.len();
        }
        self.send(self.turn, due);
        self.turn = (self.turn + 1) % self.clients.len();
    }

    fn send(&mut self, client: usize, due: u64) {
        let Some(place) = self.free.pop() else { return };
        let (asked, op) = self.workload.next();
        self.requests[place] = Request { due, client, asked };
        self.room[client] -= 1;
        self.clients[client].submit_to(&self.outcomes, place as u64, op, None);
    }

    /// Counts an outcome; whose it was.
    fn ended(&mut self, (tag, result): Tagged, now: u64) -> usize {
        let place = usize::try_from(tag).expect("tags are places in memory");
        let Request { due, client, asked } = self.requests[place];
        self.free.push(place);
        self.room[client] += 1;
        let ended = self.workload.answered(asked, result);
        self.record.ended(due, now, asked.is_read, &ended);
        client
    }
}

/// Writes every key once.
///
/// # Errors
/// The first write's that failed.
pub(super) async fn fill(
    settings: &Settings,
    clients: &[Client],
    workload: &mut Workload,
    bar: &ProgressBar,
) -> Result<(), Failed> {
    let (mut outcomes, mut taken) = (Outcomes::new(), Vec::new());
    let mut under_way = 0;
    let mut keys = (0..settings.keys).zip(clients.iter().cycle());
    loop {
        while under_way < settings.outstanding
            && let Some((key, client)) = keys.next()
        {
            client.submit_to(&outcomes, key, workload.put(key), None);
            under_way += 1;
        }
        if under_way == 0 {
            return Ok(());
        }
        under_way -= outcomes.take(&mut taken, BATCH).await;
        bar.inc(taken.len() as u64);
        for (key, result) in taken.drain(..) {
            workload.filled(key, &result?);
        }
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
