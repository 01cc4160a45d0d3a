//! What a node is told at its start: config.toml, checked and resolved by its reader.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_core::raft;
use quorate_core::types::NodeId;
use quorate_core::wire::client::Limits;

/// A node's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node.
    pub id: NodeId,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's id, from its first membership.
    pub cluster_id: u64,
    /// The incarnation of this node's disk.
    pub incarnation: u64,
    /// Whether it joined a cluster that was there.
    pub joined: bool,
    /// The version of the binary.
    pub version: String,
    /// Where clients are served, `host:port`.
    pub client_address: String,
    /// Where peers are served, `host:port`.
    pub peer_address: String,
    /// What peers dial to reach this node.
    pub peer_advertise: String,
    /// Where this node dials a peer, where that differs from the peer's own address.
    pub dial: BTreeMap<NodeId, String>,
    /// The secret that peers share.
    pub secret: Option<Vec<u8>>,
    /// Raft's own settings.
    pub raft: raft::Config,
    /// The clients' limits.
    pub limits: Limits,
    /// The bounds of the queues.
    pub queues: Queues,
    /// Which browsers may come in.
    pub web: Web,
    /// Whether `GET /metrics` answers.
    pub metrics: bool,
    /// Whether the state machine has a thread of its own.
    pub own_state_thread: bool,
    /// How long a leader that is told to stop tries to hand leadership over; zero: it does not.
    pub transfer_on_stop: Duration,
    /// A leader with less space left than this on its disk refuses writes; 0: never.
    pub min_free_bytes: u64,
    /// A sync that takes longer is worth a line.
    pub slow_sync: Duration,
    /// Tells what the process has used, for the metrics.
    pub process: fn() -> ProcessUse,
}

/// What a process has used since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUse {
    /// Seconds of processor time, its own and the kernel's on its behalf.
    pub cpu_seconds: f64,
    /// Bytes of memory that are resident now, where the system says.
    pub resident_bytes: Option<u64>,
    /// Files and sockets that are open now, where the system says.
    pub open_files: Option<u64>,
}

/// The bounds of a node's queues.
#[derive(Clone, Copy, Debug)]
pub struct Queues {
    /// Sessions in the state.
    pub sessions: u64,
    /// Sockets in all, whoever has them; beyond it none is accepted until one closes.
    pub sockets: usize,
    /// Connections of clients.
    pub connections: usize,
    /// Connections of clients from one address.
    pub connections_per_address: usize,
    /// Bytes of clients' messages that have not arrived whole, on all connections together.
    pub arriving_bytes: u64,
    /// Bytes of replies that wait for a client's socket before its requests are no longer read.
    pub reply_bytes: usize,
    /// How long a client may take nothing of what is sent to it.
    pub client_patience: Duration,
    /// Messages absorbed before a busy mailbox acts anyway.
    pub batch: usize,
    /// Bytes that wait for a peer's socket before the connection is given up.
    pub peer_queue_bytes: usize,
    /// HTTP requests that wait for an answer.
    pub http_requests: usize,
    /// Bytes of keys and values of a page of a list.
    pub range_page_bytes: usize,
}

impl Default for Queues {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            sockets: 25_000,
            connections: 2_000,
            connections_per_address: 256,
            arriving_bytes: 256 << 20,
            reply_bytes: 8 << 20,
            client_patience: Duration::from_secs(30),
            batch: 1_024,
            peer_queue_bytes: 64 << 20,
            http_requests: 1_024,
            range_page_bytes: 1 << 20,
        }
    }
}

/// Which browsers may come in.
#[derive(Clone, Debug, Default)]
pub struct Web {
    /// Whether the HTTP interface for keys is served.
    pub http: bool,
    /// Host names, beside loopback names and IP addresses, that a request may name.
    pub allowed_hosts: Vec<String>,
    /// Origins, beside the same one, that a browser's page may have.
    pub allowed_origins: Vec<String>,
}

/// The longest websocket message of a peer: one batch and what it is wrapped in, several
/// times over, because messages that wait are sent together.
#[must_use]
pub fn peer_frame_bytes(settings: &Settings) -> usize {
    let entry = usize::try_from(settings.limits.request_bytes).unwrap_or(usize::MAX / 4);
    4 * (settings.raft.batch_bytes.max(entry) + (64 << 10))
}
