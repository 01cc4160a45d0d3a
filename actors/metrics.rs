//! The numbers that `GET /metrics` shows, named as Prometheus asks: base units, `_total` for
//! counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text::encode};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use quorate_core::raft::Note;
use quorate_core::wire::client::{Op, Status};

use crate::settings::ProcessUse;

/// Labels and their values.
type Labels = Vec<(&'static str, &'static str)>;

/// Handles to a node's counters. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Syncs of the log.
    pub log_syncs: Counter,
    /// How long they took.
    pub log_sync_seconds: Histogram,
    /// Checkpoints saved.
    pub checkpoints: Counter,
    /// How long they took.
    pub checkpoint_seconds: Histogram,
    /// Entries applied.
    pub applied_entries: Counter,
    /// Elections this node has won.
    pub elections_won: Counter,
    /// Times this node stopped leading.
    pub step_downs: Counter,
    /// Connections of clients that stand.
    pub connections: Gauge<i64, AtomicI64>,
    /// Requests of clients, by operation, in the order of `Op::NAMES`.
    requests: Arc<[(&'static str, Counter)]>,
    /// Requests that ended in an error, by code.
    pub errors: Family<Labels, Counter>,
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("quorate");
        let mut metrics = Self {
            log_syncs: Counter::default(),
            log_sync_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            checkpoints: Counter::default(),
            checkpoint_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            applied_entries: Counter::default(),
            elections_won: Counter::default(),
            step_downs: Counter::default(),
            connections: Gauge::default(),
            requests: Arc::default(),
            errors: Family::default(),
            registry: Arc::default(),
        };
        metrics.register(&mut registry);
        let requests = Family::<Labels, Counter>::default();
        let help = "Requests of clients, by operation";
        registry.register("client_requests", help, requests.clone());
        let counter = |name: &&'static str| {
            (*name, requests.get_or_create_owned(&vec![("operation", *name)]))
        };
        metrics.requests = Op::NAMES.iter().map(counter).collect();
        metrics.registry = Arc::new(registry);
        metrics
    }
}

impl Metrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("log_syncs", "Syncs of the log", self.log_syncs.clone());
        registry.register_with_unit(
            "log_sync_duration",
            "How long a sync of the log took",
            Unit::Seconds,
            self.log_sync_seconds.clone(),
        );
        registry.register("checkpoints", "Checkpoints saved", self.checkpoints.clone());
        registry.register_with_unit(
            "checkpoint_duration",
            "How long saving a checkpoint took",
            Unit::Seconds,
            self.checkpoint_seconds.clone(),
        );
        registry.register("applied_entries", "Entries applied", self.applied_entries.clone());
        let won = self.elections_won.clone();
        registry.register("raft_elections_won", "Elections this node has won", won);
        let downs = self.step_downs.clone();
        registry.register("raft_step_downs", "Times this node stopped leading", downs);
        let connections = self.connections.clone();
        registry.register("client_connections", "Connections of clients", connections);
        let errors = self.errors.clone();
        registry.register("client_errors", "Requests that failed, by code", errors);
    }

    /// Counts what a note tells.
    pub fn noted(&self, note: &Note) {
        match note {
            Note::Leads { .. } => drop(self.elections_won.inc()),
            Note::SteppedDown { .. } => drop(self.step_downs.inc()),
            Note::Follows { .. }
            | Note::AsksPreVotes { .. }
            | Note::Campaigns { .. }
            | Note::Voted { .. }
            | Note::Truncated { .. }
            | Note::Dropped { .. }
            | Note::NeedsSnapshot { .. }
            | Note::SnapshotSent { .. }
            | Note::Members { .. }
            | Note::Transfers { .. }
            | Note::TransferFailed { .. }
            | Note::Installed { .. } => {}
        }
    }

    /// Counts a request.
    pub fn requested(&self, op: &'static str) {
        if let Some((_, counter)) = self.requests.iter().find(|(name, _)| *name == op) {
            counter.inc();
        }
    }

    /// Counts a failure.
    pub fn failed(&self, code: &'static str) {
        self.errors.get_or_create(&vec![("code", code)]).inc();
    }

    /// Everything as Prometheus text.
    ///
    /// # Panics
    /// Never: writing into memory cannot fail.
    #[must_use]
    pub fn text(&self, status: &Status, process: ProcessUse) -> String {
        let mut out = String::new();
        encode(&mut out, &self.registry).expect("writes into memory cannot fail");
        let end = out.rfind("# EOF").unwrap_or(out.len());
        out.truncate(end);
        let mut now = Registry::default();
        now.sub_registry_with_prefix("quorate").register_collector(Box::new(Now(status.clone())));
        now.register_collector(Box::new(process));
        encode(&mut out, &now).expect("writes into memory cannot fail");
        out
    }

    /// How many connections of clients stand.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        usize::try_from(self.connections.inner().load(Ordering::Relaxed)).unwrap_or(0)
    }
}

/// Named as Prometheus asks of every process.
impl Collector for ProcessUse {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let cpu = ConstCounter::new(self.cpu_seconds);
        let (name, help) = ("process_cpu", "Processor time used");
        let kind = cpu.metric_type();
        cpu.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), kind)?)?;
        let memory = "process_resident_memory_bytes";
        let gauges = [
            (memory, "Memory that is resident", self.resident_bytes),
            ("process_open_fds", "Files and sockets that are open", self.open_files),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            let kind = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        Ok(())
    }
}

/// The gauges that are read off the node's status when they are asked for.
#[derive(Debug)]
struct Now(Status);

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let status = &self.0;
        let leads = u64::from(status.role == "leader");
        let known = u64::from(status.leader.is_some());
        let connected = status.peers.iter().filter(|peer| peer.connected).count() as u64;
        let gauges = [
            ("raft_term", "The term", status.term),
            ("raft_is_leader", "1 on the leader", leads),
            ("raft_has_leader", "1 where a leader is known", known),
            ("raft_commit_index", "The commit index", status.commit_index),
            ("raft_applied_index", "The applied index", status.applied_index),
            ("raft_last_index", "The index of the last entry", status.last_index),
            ("raft_connected_followers", "Followers connected, on the leader", connected),
            ("log_size_bytes", "Bytes of the log on disk", status.log_bytes),
            ("disk_free_bytes", "Bytes left on the disk of the data", status.free_bytes),
            ("alarms", "What is wrong, 0 where nothing is", status.alarms.len() as u64),
            ("state_size_bytes", "Bytes of the state in memory", status.state_bytes),
            ("store_revision", "The store's revision", status.revision),
            ("store_keys", "Keys", status.keys),
            ("client_sessions", "Sessions in the state", status.sessions),
            ("process_uptime_seconds", "How long the process has run", status.uptime_ms / 1_000),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            let kind = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        Ok(())
    }
}
