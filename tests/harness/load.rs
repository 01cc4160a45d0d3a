//! Appends of unique tokens from several sessions, and the check that each acknowledged one is
//! there exactly once and in order: the small load of examples and failover tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_client::{Client, Error};
use quorate_core::wire::client::{Append, Get, Op, Success};
use tokio::task::JoinHandle;

/// Sessions that append until they are told to stop.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    /// Writes acknowledged so far.
    pub acked: Arc<AtomicU64>,
    sessions: Vec<JoinHandle<Session>>,
}

/// What one session sent, and what became of it.
#[derive(Debug)]
struct Session {
    key: Bytes,
    sent: u64,
    /// Tokens that the cluster acknowledged.
    acked: Vec<u64>,
    /// Tokens whose outcome is unknown.
    unknown: Vec<u64>,
}

impl Load {
    /// Starts that many sessions, each on a key and a connection of its own.
    pub async fn start(sessions: u64, endpoints: &[String]) -> Self {
        let (stop, acked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut running = Vec::new();
        for number in 0..sessions {
            let client = Client::builder()
                .endpoints(endpoints.to_vec())
                .deadline(Duration::from_secs(30))
                .connect()
                .await
                .expect("a client within 30 s");
            let (stop, acked) = (Arc::clone(&stop), Arc::clone(&acked));
            running.push(tokio::spawn(append_tokens(number, client, stop, acked)));
        }
        Self { stop, acked, sessions: running }
    }

    /// The time until another write is acknowledged.
    pub async fn next_ack(&self) -> Duration {
        let (started, before) = (Instant::now(), self.acked.load(Ordering::SeqCst));
        while self.acked.load(Ordering::SeqCst) == before {
            assert!(started.elapsed() < Duration::from_secs(30), "no write acknowledged in 30 s");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        started.elapsed()
    }

    /// Ends the load and checks every token. How many were acknowledged, and how many unknown.
    pub async fn finish(self, client: &Client) -> (u64, u64) {
        self.stop.store(true, Ordering::SeqCst);
        let (mut acked, mut unknown) = (0, 0);
        for session in self.sessions {
            let session = session.await.expect("a session ends by itself");
            acked += session.acked.len() as u64;
            unknown += session.unknown.len() as u64;
            session.check(client).await;
        }
        (acked, unknown)
    }
}

async fn append_tokens(
    number: u64,
    client: Client,
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
) -> Session {
    let key = Bytes::from(format!("ledger/{number}"));
    let mut session = Session { key: key.clone(), sent: 0, acked: vec![], unknown: vec![] };
    while !stop.load(Ordering::SeqCst) {
        let token = session.sent;
        session.sent += 1;
        let value = Bytes::from(format!("{token},"));
        match client.call(Op::Append(Append { key: key.clone(), value }), None).await {
            Ok(_) => {
                acked.fetch_add(1, Ordering::SeqCst);
                session.acked.push(token);
            }
            Err(Error::Unknown { .. }) => session.unknown.push(token),
            Err(Error::NotExecuted { .. } | Error::Unreachable { .. }) => {}
        }
    }
    let _ = client.close().await;
    session
}

impl Session {
    /// Every acknowledged token once, none twice, all in order, nothing that was not sent.
    async fn check(&self, client: &Client) {
        let get = Get { key: self.key.clone(), ..Get::default() };
        let Ok(Success::Get { entry, .. }) = client.call(Op::Get(get), None).await else {
            panic!("{:?} cannot be read", self.key);
        };
        let value = entry.map(|entry| entry.value).unwrap_or_default();
        let text = std::str::from_utf8(&value).expect("tokens are text");
        let tokens: Vec<u64> =
            text.split_terminator(',').map(|token| token.parse().expect("a number")).collect();
        assert!(tokens.is_sorted(), "{:?}: out of order", self.key);
        let mut count: BTreeMap<u64, u64> = BTreeMap::new();
        for token in &tokens {
            *count.entry(*token).or_default() += 1;
        }
        for (token, times) in &count {
            assert!(*times == 1, "{:?}: token {token} is there {times} times", self.key);
            let known = self.acked.binary_search(token).is_ok() || self.unknown.contains(token);
            assert!(known, "{:?}: token {token} was reported as not executed", self.key);
        }
        for token in &self.acked {
            assert!(
                count.contains_key(token),
                "{:?}: acknowledged token {token} is lost",
                self.key
            );
        }
    }
}
