//! Writers that go on until they are told to stop, and what they saw.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_client::Client;
use quorate_core::wire::client::{Op, Put};
use tokio::task::JoinHandle;

/// Some clients, each with some writes outstanding, over a working set of keys.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) clients: u64,
    pub(crate) outstanding: u64,
    pub(crate) keys: u64,
    pub(crate) value_bytes: usize,
    /// Each writer waits so long between two writes.
    pub(crate) pause: Duration,
}

/// The writers.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    /// The slowest write since it was last asked for.
    slowest: Arc<Mutex<Duration>>,
    failed: Arc<Mutex<Vec<String>>>,
    running: Vec<JoinHandle<()>>,
}

impl Writers {
    pub(crate) async fn start(endpoints: &[String], shape: Shape) -> Self {
        let mut writers = Self {
            stop: Arc::default(),
            done: Arc::default(),
            slowest: Arc::default(),
            failed: Arc::default(),
            running: vec![],
        };
        for number in 0..shape.clients {
            let client = Arc::new(client(endpoints).await);
            for lane in 0..shape.outstanding {
                let first = (number * shape.outstanding + lane) * 7_919;
                writers.running.push(writers.spawn(Arc::clone(&client), first, shape));
            }
        }
        writers
    }

    fn spawn(&self, client: Arc<Client>, first: u64, shape: Shape) -> JoinHandle<()> {
        let (stop, done) = (Arc::clone(&self.stop), Arc::clone(&self.done));
        let (slowest, failed) = (Arc::clone(&self.slowest), Arc::clone(&self.failed));
        tokio::spawn(async move {
            let mut next = first;
            while !stop.load(Ordering::Relaxed) {
                let put = put(next % shape.keys, shape.value_bytes, next);
                next += 1;
                let started = Instant::now();
                match client.call(put, None).await {
                    Ok(_) => drop(done.fetch_add(1, Ordering::Relaxed)),
                    Err(error) => failed.lock().expect("not poisoned").push(error.to_string()),
                }
                note(&slowest, started.elapsed());
                if !shape.pause.is_zero() {
                    tokio::time::sleep(shape.pause).await;
                }
            }
        })
    }

    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// The slowest write that ended since this was last called.
    pub(crate) fn slowest(&self) -> Duration {
        std::mem::take(&mut *self.slowest.lock().expect("not poisoned"))
    }

    /// Writes a second, over so long.
    pub(crate) async fn rate(&self, time: Duration) -> f64 {
        let (started, before) = (Instant::now(), self.done());
        tokio::time::sleep(time).await;
        as_float(self.done() - before) / started.elapsed().as_secs_f64()
    }

    /// Waits for the next write that is acknowledged.
    pub(crate) async fn next(&self) -> Duration {
        let (started, before) = (Instant::now(), self.done());
        while self.done() == before {
            assert!(started.elapsed() < Duration::from_secs(60), "no write in a minute");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        started.elapsed()
    }

    /// Ends them; what failed.
    pub(crate) async fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.running {
            writer.await.expect("a writer ends by itself");
        }
        std::mem::take(&mut *self.failed.lock().expect("not poisoned"))
    }
}

fn note(slowest: &Mutex<Duration>, took: Duration) {
    let mut slowest = slowest.lock().expect("not poisoned");
    *slowest = took.max(*slowest);
}

pub(crate) async fn client(endpoints: &[String]) -> Client {
    let builder = Client::builder().endpoints(endpoints.to_vec());
    builder.deadline(Duration::from_secs(60)).connect().await.expect("a client")
}

pub(crate) fn put(key: u64, bytes: usize, seed: u64) -> Op {
    // Not all equal, so that nothing is gained by compressing it.
    let mut value = Vec::with_capacity(bytes + 8);
    let mut word = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while value.len() < bytes {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        value.extend_from_slice(&word.to_le_bytes());
    }
    value.truncate(bytes);
    let (key, value) = (Bytes::from(format!("key/{key:08}")), Bytes::from(value));
    Op::Put(Put { key, value, ..Put::default() })
}

/// Fills so many keys, once each.
pub(crate) async fn fill(endpoints: &[String], keys: u64, value_bytes: usize) {
    let client = client(endpoints).await;
    let mut waiting = std::collections::VecDeque::new();
    for key in 0..keys {
        if waiting.len() >= 512 {
            let oldest: quorate_client::Pending = waiting.pop_front().expect("not empty");
            oldest.await.expect("a write");
        }
        waiting.push_back(client.submit(put(key, value_bytes, key), None));
    }
    for pending in waiting {
        pending.await.expect("a write");
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a person")]
pub(crate) fn as_float(number: u64) -> f64 {
    number as f64
}
