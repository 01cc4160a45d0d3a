//! Every key of the configuration, once: its type, default, range and reason. Parsing, range
//! errors, suggestions, `config explain`, `config print` and the shipped file come from here.

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its full name, section and key.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is for, and why the default is what it is.
    pub doc: &'static str,
    /// Whether it may never change once the cluster runs; else a restart takes it in.
    pub fixed: bool,
}

/// What a key takes, and its default.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// An integer with its unit, least and most.
    Integer {
        /// The default.
        default: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// `true` or `false`.
    Bool(bool),
    /// One of some words; the first is the default.
    Choice(&'static [&'static str]),
    /// A list of strings, empty by default.
    List,
    /// A string without a default: `Some` says that it may be left out.
    Text {
        /// Whether it may be left out.
        optional: bool,
    },
}

const fn int(default: u64, min: u64, max: u64, unit: &'static str) -> Kind {
    Kind::Integer { default, min, max, unit }
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, doc, fixed: false }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// All keys outside `[[node]]`, in the order of the shipped file.
pub const KEYS: &[Key] = &[
    Key {
        name: "cluster.name",
        kind: Kind::Text { optional: false },
        doc: "1 to 64 of a-z, 0-9 and -. Nodes of differently named clusters refuse each other.",
        fixed: true,
    },
    key(
        "cluster.secret_file",
        Kind::Text { optional: true },
        "A file with a secret of at least 32 bytes that all nodes share, readable by its owner only. With it, nodes prove themselves to each other; without it, whoever reaches a peer address can claim to be a node.",
    ),
    key(
        "cluster.join",
        Kind::List,
        "Client addresses, host:port, of nodes of a running cluster. A node whose data directory is empty joins that cluster instead of beginning a new one; it takes part once it is added: quorate member add.",
    ),
    key(
        "raft.heartbeat_ms",
        int(100, 10, 5_000, "milliseconds"),
        "How often the leader shows that it lives. Shorter finds a dead leader sooner and costs more messages.",
    ),
    key(
        "raft.election_timeout_ms",
        int(500, 30, 50_000, "milliseconds"),
        "A follower that hears no leader for a time drawn from [x, 2x) calls an election; at least three heartbeats. 500 rides out a loaded machine's pauses and serves again within about a second. Equal on all nodes.",
    ),
    key(
        "raft.snapshot_entries",
        int(100_000, 1_000, u64::MAX, "entries"),
        "A checkpoint of the state is made and the log trimmed after this many entries since the last one, or after raft.snapshot_bytes, whichever is first. Where that takes long, the next one waits nineteen times as long as it took, but for four times as many at most. Lower: shorter restarts, more disk work. Higher: a follower may be away longer without needing a snapshot.",
    ),
    key(
        "raft.snapshot_bytes",
        int(64 * MIB, MIB, u64::MAX, "bytes"),
        "A checkpoint is made and the log trimmed after this many bytes of entries, or after raft.snapshot_entries, whichever is first. Also the most bytes of entries that are kept in memory and behind a checkpoint.",
    ),
    key(
        "raft.trailing_entries",
        int(10_000, 0, u64::MAX, "entries"),
        "How many entries are kept in memory, and on disk behind a checkpoint, so that a follower that was away for a moment needs no snapshot, whoever leads; of at most raft.snapshot_bytes in all. What a member lacks is kept in memory, too, as far as there is room and until a checkpoint has it.",
    ),
    key(
        "raft.promote_learners",
        Kind::Bool(true),
        "Whether a learner becomes a voter by itself once it has been no more than 1,000 entries behind for 5 s.",
    ),
    key(
        "raft.lease_reads",
        Kind::Bool(false),
        "Whether reads that ask for consistency \"lease\" are answered without asking a quorum, as long as a quorum has lately promised to elect nobody. Saves them a round trip, and trusts that clocks run at about the same speed. Equal on all nodes, as is raft.election_timeout_ms.",
    ),
    key(
        "raft.lease_margin_percent",
        int(20, 10, 50, "percent"),
        "By how much a lease is shorter than the election timeout: the difference in speed of two clocks that it can bear.",
    ),
    key(
        "raft.transfer_on_stop_ms",
        int(2_000, 0, 60_000, "milliseconds"),
        "How long a leader that is told to stop tries to hand leadership over first, so that nobody waits for an election; 0 does not try.",
    ),
    key(
        "raft.batch_entries",
        int(1_024, 1, 65_536, "entries"),
        "The most entries of one message to a follower.",
    ),
    key(
        "raft.batch_bytes",
        int(MIB, 4 * KIB, 64 * MIB, "bytes"),
        "The most bytes of one message to a follower; a single larger entry still goes, alone.",
    ),
    key(
        "raft.inflight_batches",
        int(64, 1, 4_096, "batches"),
        "How many messages with entries may be on their way to a follower.",
    ),
    key(
        "raft.inflight_bytes",
        int(8 * MIB, 64 * KIB, GIB, "bytes"),
        "How many bytes of entries may be on their way to a follower.",
    ),
    key(
        "raft.uncommitted_bytes",
        int(16 * MIB, 64 * KIB, GIB, "bytes"),
        "How much may wait to be stored by a quorum; beyond it writes are answered `overloaded`, before anything is done.",
    ),
    key(
        "raft.apply_bytes",
        int(256 * KIB, 64 * KIB, GIB, "bytes"),
        "How much may be committed and handed to the state machine and not be applied yet. What is applied at once holds up a node's one thread: 256 KiB of small entries take two or three milliseconds, also while a long log is replayed.",
    ),
    key(
        "storage.log",
        Kind::Choice(&["segments", "sled"]),
        "Where a node's log lives: in segments of our own, which is faster, or in sled. Only an empty node can change it.",
    ),
    key(
        "storage.segment_bytes",
        int(64 * MIB, MIB, GIB, "bytes"),
        "The log's files are ended at about this size.",
    ),
    key(
        "storage.preallocate_bytes",
        int(MIB, 64 * KIB, 64 * MIB, "bytes"),
        "The log's files grow by this much at a time, so that most syncs change no metadata.",
    ),
    key(
        "storage.sled_cache_bytes",
        int(64 * MIB, MIB, 64 * GIB, "bytes"),
        "How much memory sled, which keeps the checkpoints, may use for its cache.",
    ),
    key(
        "storage.min_free_bytes",
        int(256 * MIB, 0, u64::MAX, "bytes"),
        "A leader whose data directory has less space left than this refuses writes, as `overloaded`, before the disk is full; reads go on, and writes come back by themselves once there is an eighth more. It has to hold what was accepted and not stored yet (raft.uncommitted_bytes), and twice a checkpoint's changes. 0 never refuses: then a full disk ends the node.",
    ),
    key("limits.key_bytes", int(4_096, 1, 64 * KIB, "bytes"), "The longest key."),
    key(
        "limits.value_bytes",
        int(MIB, 1, 64 * MIB, "bytes"),
        "The longest value, also after an append.",
    ),
    key(
        "limits.request_bytes",
        int(2 * MIB, 64 * KIB, 256 * MIB, "bytes"),
        "The longest request; at least a key, a value and 64 KiB.",
    ),
    key(
        "limits.window",
        int(1_024, 1, 65_536, "requests"),
        "How many requests of a connection may be unanswered, and how many replies a session keeps for retries.",
    ),
    key(
        "limits.sessions",
        int(10_000, 1, 1_000_000, "sessions"),
        "How many sessions the cluster keeps; beyond it a new one is answered `overloaded`.",
    ),
    key(
        "limits.connections",
        int(2_000, 1, 100_000, "connections"),
        "How many connections of clients a node takes, for sessions or plain HTTP; beyond it requests are answered 503. Peers have their own.",
    ),
    key(
        "limits.connections_per_address",
        int(256, 1, 100_000, "connections"),
        "How many connections with a session may come from one address.",
    ),
    key(
        "limits.arriving_bytes",
        int(256 * MIB, MIB, 64 * GIB, "bytes"),
        "How many bytes of clients' messages may be arriving and not be whole yet, on all connections together; beyond it a connection that begins a message of more than 64 KiB is ended (close code 1013). At least four requests.",
    ),
    key(
        "limits.reply_bytes",
        int(8 * MIB, 64 * KIB, GIB, "bytes"),
        "How many bytes of replies may wait for a client's socket before its requests are no longer read.",
    ),
    key(
        "limits.batch",
        int(1_024, 1, 65_536, "messages"),
        "How many messages an actor absorbs before it acts on them although more are waiting.",
    ),
    key(
        "limits.peer_queue_bytes",
        int(64 * MIB, MIB, GIB, "bytes"),
        "How many bytes may wait for another node's socket before that connection is given up and made anew.",
    ),
    key(
        "limits.http_requests",
        int(1_024, 1, 65_536, "requests"),
        "How many HTTP requests may wait for an answer; beyond it they are answered 503.",
    ),
    key(
        "limits.range_page_bytes",
        int(MIB, 4 * KIB, 64 * MIB, "bytes"),
        "How many bytes of keys and values a page of a list holds; it has at least one entry, however long.",
    ),
    key(
        "session.ttl_ms",
        int(60_000, 300, 86_400_000, "milliseconds"),
        "How long a session lives without a sign of its client; at least ten election timeouts, so that no failover ends one.",
    ),
    key(
        "http.enabled",
        Kind::Bool(true),
        "Whether keys can be read and written over plain HTTP. /healthz, /readyz, /metrics and /v1/status answer in any case.",
    ),
    key(
        "http.allowed_hosts",
        Kind::List,
        "Host names by which clients may address this node, beside loopback names and IP addresses. Keeps web pages of elsewhere from reaching it by a rebound name.",
    ),
    key(
        "http.allowed_origins",
        Kind::List,
        "Origins, such as \"https://ui.example\", whose web pages may talk to this node, beside its own.",
    ),
    key(
        "runtime.state_machine",
        Kind::Choice(&["node", "own"]),
        "Which thread applies: the node's one thread, or one of its own. Sharing is faster where cores are few.",
    ),
    key(
        "log.level",
        Kind::Choice(&["info", "error", "warn", "debug", "trace"]),
        "How much a node tells. RUST_LOG overrides it, also for single modules.",
    ),
    key(
        "log.slow_sync_ms",
        int(100, 1, 60_000, "milliseconds"),
        "A sync of the log that takes longer is worth a line.",
    ),
    key(
        "metrics.enabled",
        Kind::Bool(true),
        "Whether GET /metrics answers, on the client address.",
    ),
];

/// The keys of a `[[node]]`.
pub const NODE_KEYS: &[(&str, &str)] = &[
    ("id", "1 to 65_535, unique. Never changes."),
    ("client", "host:port where clients are served: websocket sessions and HTTP."),
    ("peer", "host:port where the other nodes are served."),
    ("data_dir", "Where this node keeps its log; relative to this file. Never changes."),
    ("client_advertise", "What clients dial, where it differs from `client`."),
    ("peer_advertise", "What the other nodes dial, where it differs from `peer`."),
    (
        "dial",
        "{ 2 = \"host:port\" }: this node reaches node 2 through another address, such as a proxy.",
    ),
    (
        "insecure_listen",
        "true allows to listen on all addresses although connections are not encrypted.",
    ),
];

/// Sections and keys of later versions: they are refused by name, not taken for mistakes.
pub const LATER: &[&str] = &[
    "tls",
    "auth",
    "gateway",
    "grpc",
    "resp",
    "ui",
    "backup",
    "lease",
    "storage.quota_bytes",
    "storage.quota_warn_percent",
    "storage.history_ms",
    "storage.history_bytes",
    "limits.txn_ops",
    "limits.range_page_entries",
    "limits.watches_per_session",
    "limits.watches",
    "limits.watch_lag_events",
    "limits.watch_lag_bytes",
    "limits.message_depth",
    "log.format",
    "log.slow_request_ms",
    "metrics.listen",
    "node.priority",
    "node.labels",
];

/// The key of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The name nearest to a wrong one, among some, if one is near.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Sections are long and alike: what is compared is the key's own name.
    let own = |name: &'a str| name.rsplit('.').next().unwrap_or(name);
    let wrong = wrong.rsplit('.').next().unwrap_or(wrong).to_owned();
    names
        .map(|name| (strsim::jaro_winkler(&wrong, own(name)), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

impl Kind {
    /// What it takes, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Kind::Integer { unit, min, max, .. } if *max == u64::MAX => {
                format!("an integer, {unit}, at least {min}")
            }
            Kind::Integer { unit, min, max, .. } => format!("an integer, {unit}, {min} to {max}"),
            Kind::Bool(_) => "true or false".to_owned(),
            Kind::Choice(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                words.join(", ")
            }
            Kind::List => "a list of strings".to_owned(),
            Kind::Text { .. } => "a string".to_owned(),
        }
    }

    /// The default as TOML, where there is one.
    #[must_use]
    pub fn default_text(&self) -> Option<String> {
        match self {
            Kind::Integer { default, .. } => Some(underscored(*default)),
            Kind::Bool(default) => Some(default.to_string()),
            Kind::Choice(words) => words.first().map(|word| format!("\"{word}\"")),
            Kind::List => Some("[]".to_owned()),
            Kind::Text { .. } => None,
        }
    }
}

/// 1048576 as 1_048_576.
#[must_use]
pub fn underscored(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('_');
        }
        out.push(digit);
    }
    out
}
