//! stand-in
#![allow(missing_docs)]
use quorate_core::types::NodeId;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
#[derive(Clone, Debug)]
pub struct Warning(String);
impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
macro_rules! sect { ($n:ident { $($f:ident : $t:ty = $d:expr),* $(,)? }) => {
 #[derive(Clone,Debug,Deserialize)] #[serde(default)] pub struct $n { $(pub $f:$t),* }
 impl Default for $n { fn default()->Self{ Self{ $($f:$d),* } } } } }
sect!(Cluster{ name:String = "demo".into(), secret_file:Option<PathBuf>=None });
sect!(Raft {
    heartbeat_ms: u64 = 100,
    election_timeout_ms: u64 = 500,
    batch_entries: u64 = 1024,
    batch_bytes: u64 = 1 << 20,
    inflight_batches: u64 = 64,
    inflight_bytes: u64 = 8 << 20,
    uncommitted_bytes: u64 = 16 << 20,
    apply_bytes: u64 = 16 << 20
});
sect!(Storage { segment_bytes: u64 = 64 << 20, preallocate_bytes: u64 = 4 << 20 });
sect!(Limits {
    key_bytes: u64 = 4096,
    value_bytes: u64 = 1 << 20,
    request_bytes: u64 = 2 << 20,
    window: u64 = 1024,
    sessions: u64 = 10000,
    connections: u64 = 2000,
    connections_per_address: u64 = 256,
    reply_bytes: u64 = 8 << 20,
    batch: u64 = 1024,
    peer_queue_bytes: u64 = 64 << 20,
    http_requests: u64 = 1024
});
sect!(Session { ttl_ms: u64 = 60000 });
sect!(Http{ enabled:bool=true, allowed_hosts:Vec<String>=vec![], allowed_origins:Vec<String>=vec![] });
sect!(Runtime { state_machine: String = "node".into() });
sect!(Log { level: String = "info".into(), slow_sync_ms: u64 = 100 });
sect!(Metrics { enabled: bool = true });
#[derive(Clone, Debug, Deserialize)]
struct RawNode {
    id: u64,
    client: String,
    peer: String,
    data_dir: PathBuf,
    #[serde(default)]
    dial: BTreeMap<String, String>,
}
#[derive(Clone, Debug)]
pub struct Node {
    pub id: NodeId,
    pub client: String,
    pub peer: String,
    pub client_advertise: String,
    pub peer_advertise: String,
    pub data_dir: PathBuf,
    pub dial: BTreeMap<NodeId, String>,
}
#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    cluster: Cluster,
    node: Vec<RawNode>,
    #[serde(default)]
    raft: Raft,
    #[serde(default)]
    storage: Storage,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    session: Session,
    #[serde(default)]
    http: Http,
    #[serde(default)]
    runtime: Runtime,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    metrics: Metrics,
}
#[derive(Clone, Debug)]
pub struct Config {
    pub cluster: Cluster,
    pub nodes: Vec<Node>,
    pub raft: Raft,
    pub storage: Storage,
    pub limits: Limits,
    pub session: Session,
    pub http: Http,
    pub runtime: Runtime,
    pub log: Log,
    pub metrics: Metrics,
}
impl Config {
    pub fn load(
        p: &Path,
        _: &BTreeMap<String, String>,
        _: &[(String, String)],
        _: Option<NodeId>,
    ) -> Result<(Config, Vec<Warning>), String> {
        let t = std::fs::read_to_string(p).map_err(|e| e.to_string())?;
        let r: Raw = toml::from_str(&t).map_err(|e| e.to_string())?;
        let base = p.parent().unwrap_or(Path::new(".")).to_owned();
        let nodes = r
            .node
            .into_iter()
            .map(|n| Node {
                id: NodeId(n.id),
                client_advertise: n.client.clone(),
                peer_advertise: n.peer.clone(),
                client: n.client,
                peer: n.peer,
                data_dir: base.join(n.data_dir),
                dial: n.dial.into_iter().map(|(k, v)| (NodeId(k.parse().unwrap()), v)).collect(),
            })
            .collect();
        Ok((
            Config {
                cluster: r.cluster,
                nodes,
                raft: r.raft,
                storage: r.storage,
                limits: r.limits,
                session: r.session,
                http: r.http,
                runtime: r.runtime,
                log: r.log,
                metrics: r.metrics,
            },
            vec![],
        ))
    }
    pub fn node(&self, id: NodeId) -> Result<&Node, String> {
        self.nodes.iter().find(|n| n.id == id).ok_or("no node".into())
    }
    pub fn secret(&self) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }
}
pub fn explain(_: &str) -> Option<String> {
    None
}
pub fn print(_: &Config, _: bool) -> String {
    String::new()
}
