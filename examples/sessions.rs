//! What a session is good for: a request that is sent again, to another node after the leader
//! died, gives the first reply and does nothing twice; two clients do not disturb each other;
//! a session whose client is silent expires, by the log, the same everywhere.
//!
//! Speaks the protocol by hand, to show what `quorate-client` does by itself.
//!
//! `cargo run --release --example sessions`

use std::process::ExitCode;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use quorate_core::wire::client::{
    Append, ErrorCode, Failure, Get, Hello, Op, RawReply, Replies, Success, decode_success,
    encode_request,
};
use quorate_harness::{Cluster, wait_for};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

mod support;

fn main() -> ExitCode {
    if let Some(code) = support::be_a_node_if_asked() {
        return code;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(show());
    ExitCode::SUCCESS
}

/// Timeouts a fifth of the defaults, so that a session expires while one watches.
const QUICK: &str =
    "\n[raft]\nheartbeat_ms = 30\nelection_timeout_ms = 150\n\n[session]\nttl_ms = 1_500\n";

async fn show() {
    let mut cluster = Cluster::of_this_program(3, QUICK);
    let leader = cluster.leader().await;

    let mut alice = Connection::hello(&cluster, None).await;
    let first = alice.ask(1, append("ledger", "alice paid 5;")).await.expect("executed");
    println!("alice, session {}: request 1 executed: {first:?}", alice.session);

    let mut bob = Connection::hello(&cluster, None).await;
    let other = bob.ask(1, append("ledger", "bob paid 7;")).await.expect("executed");
    assert_ne!(first, other, "ids are each session's own");
    println!("bob, session {}: request 1 executed: {other:?}", bob.session);

    cluster.kill(leader);
    println!(
        "node {leader}, the leader, is killed; alice does not know whether to trust her reply"
    );
    let session = alice.session;
    let mut alice = Connection::hello(&cluster, Some(session)).await;
    let again = alice.ask(1, append("ledger", "alice paid 5;")).await.expect("answered");
    assert_eq!(again, first, "the first execution's reply");
    println!("alice, at another node, sends request 1 again: the same reply, nothing done twice");

    let ledger = alice.ask(2, get("ledger")).await.expect("read");
    let Success::Get { entry: Some(entry), .. } = ledger else { panic!("{ledger:?}") };
    assert_eq!(entry.value, "alice paid 5;bob paid 7;");
    println!("the ledger: {:?}", entry.value);

    // Bob says nothing more. Alice's pings keep hers.
    let bobs = bob.session;
    drop(bob);
    let mut id = 3;
    let mut pinging = alice;
    let expired = wait_for("expiry of bob's session", Duration::from_secs(30), async || {
        pinging.ask(id, Op::Ping).await.expect("alice's session lives");
        id += 1;
        let mut socket = Connection::open(pinging.address.clone()).await?;
        match socket.ask(0, hello(Some(bobs))).await {
            // Asking kept it alive: leave it alone for longer than it lives.
            Ok(_) => {
                for _ in 0..8 {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    pinging.ask(id, Op::Ping).await.expect("alice's session lives");
                    id += 1;
                }
                None
            }
            Err(failure) => Some(failure),
        }
    });
    let expired = expired.await;
    assert_eq!(expired.code, ErrorCode::SessionExpired);
    println!("bob's session after his silence: {expired}");
    println!("alice's session lives on");
}

fn append(key: &'static str, value: &'static str) -> Op {
    Op::Append(Append { key: key.into(), value: value.into() })
}

fn get(key: &'static str) -> Op {
    Op::Get(Get { key: key.into(), ..Get::default() })
}

fn hello(session: Option<u64>) -> Op {
    Op::Hello(Hello { session, client: Some("sessions-example/1".into()), ..Hello::default() })
}

/// A websocket and the session on it.
struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    address: String,
    session: u64,
}

impl Connection {
    async fn open(address: String) -> Option<Self> {
        let (socket, _) = connect_async(format!("ws://{address}/v1/session")).await.ok()?;
        Some(Self { socket, address, session: 0 })
    }

    /// Greets one node after the other until the leader answers.
    async fn hello(cluster: &Cluster, session: Option<u64>) -> Self {
        let opened = wait_for("a leader that greets", Duration::from_secs(20), async || {
            for address in cluster.endpoints() {
                let Some(mut connection) = Self::open(address).await else { continue };
                if let Ok(Success::Hello(welcome)) = connection.ask(0, hello(session)).await {
                    connection.session = welcome.session;
                    return Some(connection);
                }
            }
            None
        });
        opened.await
    }

    /// Sends one request and waits for its reply.
    async fn ask(&mut self, id: u64, op: Op) -> Result<Success, Failure> {
        let mut out = BytesMut::new();
        encode_request(&mut out, id, &op, 0);
        let sent = self.socket.send(Message::Binary(out.freeze())).await;
        sent.map_err(|error| Failure::new(ErrorCode::UnknownOutcome, error.to_string()))?;
        loop {
            let frame = match self.socket.next().await {
                Some(Ok(Message::Binary(frame))) => frame,
                Some(Ok(_)) => continue,
                other => return Err(Failure::new(ErrorCode::UnknownOutcome, format!("{other:?}"))),
            };
            for reply in Replies::new(&frame) {
                let RawReply { id: answered, result } = reply.expect("a node's replies decode");
                if answered == id {
                    let ok: Bytes = result?;
                    return Ok(decode_success(&op, &ok).expect("a node's replies decode"));
                }
            }
        }
    }
}
