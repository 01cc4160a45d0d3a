//! The configuration: built-in default < file < environment < flag.
//!
//! The file is the same on all nodes; `--id` picks one. Everything that is wrong with it is said
//! at once, each with its place, its reason and a way out. One table ([`keys`]) holds every key
//! with its type, default, range and reason.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quorate_core::types::NodeId;

mod check;
pub mod keys;
mod print;
mod read;
mod report;
#[cfg(test)]
mod tests;

use check::Check;
use keys::{Kind, find};
pub use print::{explain, print, shipped};
use read::{Read, Set, Value};
use report::Source;
pub use report::{ConfigErrors, Warning};

macro_rules! section {
    ($(#[$doc:meta])* $name:ident, $prefix:literal { $($field:ident : $kind:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $(#[doc = concat!("`", $prefix, ".", stringify!($field), "`; see [`keys::KEYS`].")]
            pub $field: section!(@type $kind),)*
        }

        impl $name {
            fn of(values: &Values<'_>) -> Self {
                Self { $($field: values.$kind(concat!($prefix, ".", stringify!($field))),)* }
            }
        }
    };
    (@type integer) => { u64 };
    (@type bool) => { bool };
    (@type text) => { String };
    (@type list) => { Vec<String> };
}

section!(
    /// The `[cluster]` section.
    Cluster, "cluster" { name: text, join: list }
);
section!(
    /// The `[raft]` section.
    Raft, "raft" {
        heartbeat_ms: integer, election_timeout_ms: integer, batch_entries: integer,
        batch_bytes: integer, inflight_batches: integer, inflight_bytes: integer,
        uncommitted_bytes: integer, apply_bytes: integer, snapshot_entries: integer,
        snapshot_bytes: integer, trailing_entries: integer, promote_learners: bool,
        lease_reads: bool, lease_margin_percent: integer, transfer_on_stop_ms: integer,
    }
);
section!(
    /// The `[storage]` section.
    Storage, "storage" {
        log: text, segment_bytes: integer, preallocate_bytes: integer, sled_cache_bytes: integer,
        min_free_bytes: integer,
    }
);
section!(
    /// The `[limits]` section.
    Limits, "limits" {
        key_bytes: integer, value_bytes: integer, request_bytes: integer, window: integer,
        sessions: integer, connections: integer, connections_per_address: integer,
        arriving_bytes: integer, reply_bytes: integer, batch: integer, peer_queue_bytes: integer,
        http_requests: integer, range_page_bytes: integer,
    }
);
section!(
    /// The `[session]` section.
    Session, "session" { ttl_ms: integer }
);
section!(
    /// The `[http]` section.
    Http, "http" { enabled: bool, allowed_hosts: list, allowed_origins: list }
);
section!(
    /// The `[runtime]` section.
    Runtime, "runtime" { state_machine: text }
);
section!(
    /// The `[log]` section.
    Log, "log" { level: text, slow_sync_ms: integer }
);
section!(
    /// The `[metrics]` section.
    Metrics, "metrics" { enabled: bool }
);

/// One `[[node]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Where it serves clients.
    pub client: String,
    /// Where it serves the other nodes.
    pub peer: String,
    /// What clients dial.
    pub client_advertise: String,
    /// What the other nodes dial.
    pub peer_advertise: String,
    /// Where it keeps its log.
    pub data_dir: PathBuf,
    /// Where this node dials another one instead of its own address.
    pub dial: BTreeMap<NodeId, String>,
}

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[cluster]`.
    pub cluster: Cluster,
    /// `[[node]]`, in the order of the file.
    pub nodes: Vec<Node>,
    /// `[raft]`.
    pub raft: Raft,
    /// `[storage]`.
    pub storage: Storage,
    /// `[limits]`.
    pub limits: Limits,
    /// `[session]`.
    pub session: Session,
    /// `[http]`.
    pub http: Http,
    /// `[runtime]`.
    pub runtime: Runtime,
    /// `[log]`.
    pub log: Log,
    /// `[metrics]`.
    pub metrics: Metrics,
    /// The secret that the nodes share, where one is configured.
    pub secret: Option<Vec<u8>>,
    file: String,
    values: BTreeMap<&'static str, Set>,
}

impl Config {
    /// Reads a file, then the environment (`QUORATE__SECTION__KEY`, and `QUORATE_NODE_*` for
    /// the node that runs), then flags.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(
        path: &Path,
        env: &BTreeMap<String, String>,
        flags: &[(String, String)],
        node: Option<NodeId>,
    ) -> Result<(Self, Vec<Warning>), ConfigErrors> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| no_file(&name, &error))?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Self::parse(&name, &text, &folder, env, flags, node)
    }

    /// As [`load`](Self::load), with the file's text.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn parse(
        name: &str,
        text: &str,
        folder: &Path,
        env: &BTreeMap<String, String>,
        flags: &[(String, String)],
        node: Option<NodeId>,
    ) -> Result<(Self, Vec<Warning>), ConfigErrors> {
        let source = Source { name, text };
        let mut read = Read::default();
        read.file(&source);
        read.environment(env);
        read.node_environment(env, node);
        read.flags(flags);
        let mut check = Check { source: &source, folder, read: &read, problems: vec![] };
        check.keys();
        let secret = check.secret().map(|(_, secret)| secret);
        let nodes = check.nodes();
        let mut problems = read.problems.clone();
        problems.append(&mut check.problems);
        if problems.iter().any(|problem| !problem.warning) {
            problems.sort_by_key(|problem| (problem.warning, problem.offset));
            return Err(ConfigErrors { file: name.to_owned(), problems });
        }
        let config = Self::of(nodes, read.values, secret, name);
        Ok((config, problems.into_iter().map(Warning).collect()))
    }

    fn of(
        nodes: Vec<Node>,
        set: BTreeMap<&'static str, Set>,
        secret: Option<Vec<u8>>,
        file: &str,
    ) -> Self {
        let values = Values(&set);
        Self {
            cluster: Cluster::of(&values),
            nodes,
            raft: Raft::of(&values),
            storage: Storage::of(&values),
            limits: Limits::of(&values),
            session: Session::of(&values),
            http: Http::of(&values),
            runtime: Runtime::of(&values),
            log: Log::of(&values),
            metrics: Metrics::of(&values),
            secret,
            file: file.to_owned(),
            values: set,
        }
    }

    /// The node of that id.
    ///
    /// # Errors
    /// A sentence that says which there are.
    pub fn node(&self, id: NodeId) -> Result<&Node, String> {
        self.nodes.iter().find(|node| node.id == id).ok_or_else(|| {
            let ids: Vec<String> = self.nodes.iter().map(|node| node.id.to_string()).collect();
            format!("{} has no node {id} (it has {})", self.file, ids.join(", "))
        })
    }
}

/// The values that were set, and the defaults of the others.
struct Values<'a>(&'a BTreeMap<&'static str, Set>);

impl Values<'_> {
    fn integer(&self, name: &str) -> u64 {
        match self.0.get(name).map(|set| &set.value) {
            Some(Value::Integer(number)) => *number,
            _ => default_integer(name),
        }
    }

    fn bool(&self, name: &str) -> bool {
        match (self.0.get(name).map(|set| &set.value), find(name).map(|key| key.kind)) {
            (Some(Value::Bool(flag)), _) => *flag,
            (_, Some(Kind::Bool(default))) => default,
            _ => false,
        }
    }

    fn text(&self, name: &str) -> String {
        match (self.0.get(name).map(|set| &set.value), find(name).map(|key| key.kind)) {
            (Some(Value::Text(text)), _) => text.clone(),
            (_, Some(Kind::Choice(words))) => (*words.first().unwrap_or(&"")).to_owned(),
            _ => String::new(),
        }
    }

    fn list(&self, name: &str) -> Vec<String> {
        match self.0.get(name).map(|set| &set.value) {
            Some(Value::List(items)) => items.clone(),
            _ => vec![],
        }
    }
}

/// The default of an integer's key.
fn default_integer(name: &str) -> u64 {
    match find(name).map(|key| key.kind) {
        Some(Kind::Integer { default, .. }) => default,
        _ => 0,
    }
}

fn no_file(name: &str, error: &std::io::Error) -> ConfigErrors {
    let problem = report::Problem {
        warning: false,
        offset: 0,
        place: name.to_owned(),
        what: format!("cannot be read: {error}"),
        excerpt: None,
        help: Some("run where config.toml is, or name another file with --config FILE".to_owned()),
    };
    ConfigErrors { file: name.to_owned(), problems: vec![problem] }
}
