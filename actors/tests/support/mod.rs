//! Nodes in threads of this process, over a log in memory, and a client as bare as a socket.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use quorate_actors::node::{self, Start};
use quorate_actors::settings::{Queues, Settings, Web};
use quorate_core::kv::StateMachine;
use quorate_core::raft::{self, Boot};
use quorate_core::types::{Member, Membership, NodeId};
use quorate_core::wire::client::{
    Hello, Limits, Op, RawReply, Replies, Success, decode_success, encode_request,
};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

mod stores;

use stores::{Forgetful, Known, Left, Memory, Platter};

/// What the peers share.
pub(crate) const SECRET: &[u8] = b"a secret of the peers";

/// A node that runs until it is dropped.
pub(crate) struct Node {
    pub(crate) client: String,
    pub(crate) peer: String,
    pub(crate) disk: Arc<Platter>,
    /// Bytes left on its disk.
    pub(crate) free: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Starts a cluster of that many nodes.
pub(crate) fn cluster(size: u64) -> Vec<Node> {
    cluster_with(size, |_| {})
}

/// Starts a cluster of that many nodes, whose queues have these bounds.
pub(crate) fn cluster_with(size: u64, bounds: fn(&mut Queues)) -> Vec<Node> {
    let members: Vec<Member> =
        (1..=size).map(|id| Member::voter(NodeId(id), free_port(), free_port())).collect();
    let membership = Membership::of(members);
    membership.members.iter().map(|member| start(member, &membership, bounds)).collect()
}

fn start(member: &Member, membership: &Membership, bounds: fn(&mut Queues)) -> Node {
    let mut queues = Queues::default();
    bounds(&mut queues);
    let settings = Settings {
        id: member.id,
        cluster: "test".into(),
        cluster_id: 7,
        incarnation: member.id.0,
        joined: false,
        version: "0".into(),
        client_address: member.client.clone(),
        peer_address: member.peer.clone(),
        peer_advertise: member.peer.clone(),
        transfer_on_stop: Duration::from_millis(500),
        dial: BTreeMap::new(),
        secret: Some(SECRET.to_vec()),
        raft: raft::Config::new(member.id, member.id.0),
        limits: Limits::default(),
        queues,
        web: Web { http: true, ..Web::default() },
        metrics: true,
        own_state_thread: member.id.0 == 2,
        min_free_bytes: 1 << 20,
        slow_sync: Duration::from_secs(1),
        process: Default::default,
    };
    let log_store = Memory::default();
    let disk = Arc::clone(&log_store.disk);
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let start = Start {
        settings,
        boot: Boot::first(membership.clone()),
        log_store: Box::new(log_store),
        state: StateMachine::new(),
        checkpoints: Box::new(Forgetful),
        incarnations: Box::new(Known::default()),
        disk: Box::new(Left(Arc::clone(&free))),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let stopped = async { drop(stopped.await) };
        actix_rt::System::new().block_on(node::run(start, stopped)).unwrap();
    });
    Node {
        client: member.client.clone(),
        peer: member.peer.clone(),
        disk,
        free,
        stop: Some(stop),
        thread: Some(thread),
    }
}

/// A websocket and nothing else.
pub(crate) struct Socket {
    pub(crate) inner: WebSocketStream<MaybeTlsStream<TcpStream>>,
    replies: Vec<RawReply>,
}

impl Socket {
    /// Connects as soon as someone listens.
    pub(crate) async fn connect(address: &str) -> Self {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match tokio_tungstenite::connect_async(format!("ws://{address}/v1/session")).await {
                Ok((inner, _)) => return Self { inner, replies: vec![] },
                Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Sends requests in one message.
    pub(crate) async fn send(&mut self, requests: &[(u64, Op)]) {
        let mut out = BytesMut::new();
        for (id, op) in requests {
            encode_request(&mut out, *id, op, 0);
        }
        self.inner.send(Message::Binary(out.freeze())).await.unwrap();
    }

    /// The reply to that id, whenever it comes.
    pub(crate) async fn reply(&mut self, id: u64) -> RawReply {
        loop {
            if let Some(place) = self.replies.iter().position(|reply| reply.id == id) {
                return self.replies.remove(place);
            }
            let next = tokio::time::timeout(Duration::from_secs(10), self.inner.next()).await;
            match next.expect("an answer within 10 s").unwrap().unwrap() {
                Message::Binary(frame) => {
                    self.replies.extend(Replies::new(&frame).map(Result::unwrap));
                }
                other => assert!(!other.is_close(), "closed: {other:?}"),
            }
        }
    }

    /// One request and its success.
    pub(crate) async fn ask(&mut self, id: u64, op: Op) -> Result<Success, String> {
        self.send(&[(id, op.clone())]).await;
        let reply = self.reply(id).await;
        let ok: Bytes = reply.result.map_err(|failure| failure.to_string())?;
        decode_success(&op, &ok)
    }

    /// `hello`; the session.
    pub(crate) async fn hello(&mut self, session: Option<u64>) -> Result<u64, String> {
        let hello = Hello { session, ..Hello::default() };
        match self.ask(0, Op::Hello(hello)).await? {
            Success::Hello(welcome) => Ok(welcome.session),
            other => Err(format!("{other:?}")),
        }
    }
}

/// A socket with a new session at whichever node leads.
pub(crate) async fn at_leader(nodes: &[Node]) -> (Socket, u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        for node in nodes {
            let mut socket = Socket::connect(&node.client).await;
            if let Ok(session) = socket.hello(None).await {
                return (socket, session);
            }
        }
        assert!(Instant::now() < deadline, "a leader within 20 s");
    }
}
