//! What a node does before any actor starts: opens its data directory, reads its log and its
//! checkpoint back, and judges them together. Recovery is a function.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quorate_actors::node::Start;
use quorate_core::kv::StateMachine;
use quorate_core::raft::Boot;
use quorate_core::store::{LogStore, StoreError};
use quorate_core::types::{Index, Membership, NodeId};
use quorate_core::wal::{Identity, Options, Recovered};

use super::open_files;
use super::output::{Failed, exit};
use super::settings::{cluster_id, membership, settings};
use crate::config::{Config, Node};
use crate::store::checkpoint::{CheckpointError, SledCheckpoints};
use crate::store::data_dir::{DataDir, DataDirError, Wanted};
use crate::store::logs;
use crate::store::space::FileSystem;

/// How long a node that joins goes on asking, and how often: the others may be starting, too.
const JOIN_TIME: Duration = Duration::from_secs(60);
const JOIN_PAUSE: Duration = Duration::from_millis(500);
/// How long one of them may take to answer: one that is stopped never does.
const ANSWER_TIME: Duration = Duration::from_secs(3);

/// Everything that a node starts from. `join`: the clients' addresses of a cluster to join, as
/// the command line names them.
///
/// # Errors
/// Why the node does not start.
pub fn prepare(config: &Config, node: &Node, join: &[String]) -> Result<Start, Failed> {
    let first = membership(config);
    let wanted = wanted(config, node, &first, join)?;
    let mut data = DataDir::open(&node.data_dir, &wanted).map_err(|error| not_opened(&error))?;
    let disk = Box::new(FileSystem::of(&node.data_dir));
    let mut settings = settings(config, node, &data);
    open_files::fit(&mut settings.queues);
    let (checkpoints, state) = open_checkpoints(config, node)?;
    let (log_store, boot) = recover(config, node, &mut data, first, &state)?;
    let (checkpoints, incarnations) =
        (Box::new(checkpoints.beside_other_work()), Box::new(Known(data)));
    Ok(Start { settings, boot, log_store, state, checkpoints, incarnations, disk })
}

/// Whose directory it must be; a new one of a node that joins is of the cluster that it joins.
fn wanted(
    config: &Config,
    node: &Node,
    first: &Membership,
    join: &[String],
) -> Result<Wanted, Failed> {
    let name = &config.cluster.name;
    let join = if join.is_empty() { &config.cluster.join } else { join };
    let joins = !join.is_empty() && DataDir::is_new(&node.data_dir);
    let cluster_id =
        if joins { ask_cluster_id(name, node.id, join)? } else { cluster_id(name, first) };
    Ok(Wanted { cluster_name: name.clone(), cluster_id, node: node.id, joins })
}

/// The id of the cluster that runs at these client addresses.
fn ask_cluster_id(name: &str, node: NodeId, join: &[String]) -> Result<u64, Failed> {
    let deadline = Instant::now() + JOIN_TIME;
    let mut told = false;
    loop {
        match ask_once(name, node, join)? {
            Ok(id) => return Ok(id),
            Err(failed) if Instant::now() >= deadline => return Err(failed),
            Err(failed) => {
                if !std::mem::replace(&mut told, true) {
                    log::warn!("node: {failed}; it goes on asking for {} s", JOIN_TIME.as_secs());
                }
                std::thread::sleep(JOIN_PAUSE);
            }
        }
    }
}

/// Asks each address once. A cluster of another name is no reason to go on.
fn ask_once(name: &str, node: NodeId, join: &[String]) -> Result<Result<u64, Failed>, Failed> {
    let mut said = Vec::new();
    for address in join {
        let request = ureq::get(format!("http://{address}/v1/status")).config();
        let answer = request.timeout_global(Some(ANSWER_TIME)).build().call();
        let answer = answer.and_then(|mut answer| answer.body_mut().read_to_string());
        let status: serde_json::Value = match answer.map(|text| serde_json::from_str(&text)) {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => {
                said.push(format!("{address}: no status: {error}"));
                continue;
            }
            Err(error) => {
                said.push(format!("{address}: {error}"));
                continue;
            }
        };
        let theirs = status.get("cluster").and_then(|value| value.as_str()).unwrap_or_default();
        if theirs != name {
            let text = format!(
                "{address} is of cluster \"{theirs}\", and node {node} is configured for \"{name}\": \
                 make cluster.name equal, or join another cluster"
            );
            return Err(Failed::new(exit::CONFIG, "wrong_cluster", text));
        }
        if let Some(id) = status.get("cluster_id").and_then(serde_json::Value::as_u64) {
            log::info!("node: joins cluster \"{name}\" at {address}");
            return Ok(Ok(id));
        }
        said.push(format!("{address}: it does not tell its cluster's id"));
    }
    let text = format!(
        "node {node} cannot join: none of the nodes in cluster.join answers ({})",
        said.join("; ")
    );
    Ok(Err(Failed::new(exit::UNREACHABLE, "unreachable", text)))
}

/// Opens the checkpoint and loads its state. One that cannot be used is moved aside: the other
/// nodes have what it had.
fn open_checkpoints(
    config: &Config,
    node: &Node,
) -> Result<(SledCheckpoints, StateMachine), Failed> {
    let started = Instant::now();
    let (path, cache) = (node.data_dir.join("state"), config.storage.sled_cache_bytes);
    let opened = match SledCheckpoints::open(&path, cache) {
        Err(CheckpointError::Damaged { what, .. }) => {
            let aside = move_aside(&path).map_err(|error| damaged(node, &error))?;
            log::warn!(
                "checkpoint: {what}. It was moved to {} for inspection, and this node gets the state from its leader",
                aside.display()
            );
            SledCheckpoints::open(&path, cache)
        }
        other => other,
    };
    let (store, state) = opened.map_err(|error| match error {
        CheckpointError::Store(error) => damaged(node, &error),
        CheckpointError::Damaged { .. } => {
            Failed::new(exit::DISK, "disk", format!("disk error: {error}"))
        }
    })?;
    let state = state.unwrap_or_default();
    if state.applied() > Index(0) {
        let (keys, position) = (state.summary().keys, state.position());
        let took = started.elapsed().as_millis();
        log::info!("checkpoint: {keys} keys as of {position}, loaded in {took} ms");
    }
    Ok((store, state))
}

fn move_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let name = |number: u32| path.with_file_name(format!("state.damaged-{number}"));
    let free = (1..).map(name).find(|aside| !aside.exists());
    let aside = free.unwrap_or_else(|| name(0));
    std::fs::rename(path, &aside).map(|()| aside).map_err(|error| StoreError::Io {
        action: "move aside",
        path: path.display().to_string(),
        error: error.to_string(),
        full: false,
    })
}

fn recover(
    config: &Config,
    node: &Node,
    data: &mut DataDir,
    first: Membership,
    state: &StateMachine,
) -> Result<(Box<dyn LogStore>, Boot), Failed> {
    let started = Instant::now();
    let identity =
        Identity { cluster: data.cluster_id(), node: node.id, incarnation: data.incarnation() };
    // A node that joined may have begun a log in vain; one that is gone was begun.
    let had_log = logs::kept_in(&node.data_dir).is_some();
    if is_lost(data, had_log, false) {
        return Err(lost(node));
    }
    let (mut log, recovered) = open_log(config, node, identity)?;
    tell_torn(&recovered);
    let nothing = recovered.entries.is_empty() && recovered.base.index == Index(0);
    let empty = nothing && state.applied() == Index(0);
    // A checkpoint does not replace the log: the vote and what was acknowledged since are lost.
    if is_lost(data, had_log, nothing) {
        return Err(lost(node));
    }
    let boot = if empty && !data.joined() {
        let boot = Boot::first(first);
        write_first(&mut *log, &boot).map_err(|error| damaged(node, &error))?;
        log::info!("log: new, the first entry holds the members of the configuration");
        boot
    } else {
        reconcile(node, &mut *log, recovered, state)?
    };
    if !data.initialized() {
        data.set_initialized().map_err(|error| not_opened(&error))?;
    }
    log::info!(
        "log: {} entries behind {}, term {}, recovered in {} ms",
        boot.entries.len(),
        boot.base,
        boot.hard_state.term,
        started.elapsed().as_millis()
    );
    Ok((log, boot))
}

/// Opens the log where `storage.log` says that it is.
fn open_log(
    config: &Config,
    node: &Node,
    identity: Identity,
) -> Result<(Box<dyn LogStore>, Recovered), Failed> {
    let wanted = config.storage.log.as_str();
    let there = logs::kept_in(&node.data_dir).unwrap_or(wanted);
    if there != wanted {
        let text = format!(
            "node {} keeps its log in {there}, and storage.log says {wanted}: set it back to \"{there}\". A log is not \
             moved from one to the other; replace the node to change it",
            node.id
        );
        return Err(Failed::new(exit::CONFIG, "config", text));
    }
    let options = Options {
        segment_bytes: config.storage.segment_bytes,
        preallocate_bytes: config.storage.preallocate_bytes,
        identity,
    };
    logs::open(&node.data_dir, wanted, options).map_err(|error| damaged(node, &error))
}

fn tell_torn(recovered: &Recovered) {
    if let Some(torn) = &recovered.torn {
        let (path, offset) = (&torn.path, torn.offset);
        log::warn!(
            "log: cut a torn tail of {path} at byte {offset}; nothing acknowledged was in it"
        );
    }
}

/// Judges the log and the checkpoint together.
fn reconcile(
    node: &Node,
    log: &mut dyn LogStore,
    recovered: Recovered,
    state: &StateMachine,
) -> Result<Boot, Failed> {
    let boot = Boot {
        hard_state: recovered.hard_state,
        base: recovered.base,
        entries: recovered.entries,
        state: state.position(),
        state_membership: state.membership().cloned(),
    };
    let found = recovered.hard_state;
    let (boot, begins_at) = boot.reconciled();
    if let Some(base) = begins_at {
        log::info!("log: it is older than the checkpoint, and begins anew behind {base}");
        log.reset(base).map_err(|error| damaged(node, &error))?;
    }
    if boot.hard_state != found {
        log.save_hard_state(boot.hard_state).map_err(|error| damaged(node, &error))?;
    }
    log.sync().map_err(|error| damaged(node, &error))?;
    if boot.state.index < boot.base.index {
        log::warn!(
            "checkpoint: it holds the state up to {}, and the log begins behind {}: this node votes, \
             and serves again when its leader has sent it a snapshot",
            boot.state,
            boot.base
        );
    }
    Ok(boot)
}

fn not_opened(error: &DataDirError) -> Failed {
    Failed::new(error.exit_code(), "data_directory", error.to_string())
}

/// Whether the log held something once, and there is nothing now. One that joined may have begun
/// its log in vain.
pub(super) fn is_lost(data: &DataDir, had_log: bool, nothing: bool) -> bool {
    data.initialized() && (!had_log || nothing && !data.joined())
}

/// The log held something once, and there is nothing now.
fn lost(node: &Node) -> Failed {
    let text = format!(
        "damaged data: the log in {} is empty, and it was not before. Node {} does not start, because it \
         would vote as if it had never voted. The other nodes have what it had: replace this node",
        node.data_dir.display(),
        node.id
    );
    Failed::new(exit::DAMAGED, "damaged", text)
}

fn write_first(log: &mut dyn LogStore, boot: &Boot) -> Result<(), StoreError> {
    log.save_hard_state(boot.hard_state)?;
    log.append(&boot.entries)?;
    log.sync()
}

fn damaged(node: &Node, error: &StoreError) -> Failed {
    let dir = node.data_dir.display();
    match error {
        StoreError::Io { .. } => Failed::new(
            exit::DISK,
            "disk",
            format!(
                "disk error: {error}. Node {} does not start; nothing was changed in {dir}",
                node.id
            ),
        ),
        StoreError::Damaged { .. } => Failed::new(
            exit::DAMAGED,
            "damaged",
            format!(
                "damaged data: {error}. Node {} does not start, because it could vote on a shortened log. \
                 The other nodes have what it had: keep {dir} for inspection and replace this node",
                node.id
            ),
        ),
        StoreError::Foreign { .. } => Failed::new(
            exit::WRONG_DATA_DIRECTORY,
            "data_directory",
            format!("{error}. Check `data_dir` in the configuration or --id"),
        ),
    }
}

/// The incarnations of the other nodes, in this node's data directory.
struct Known(DataDir);

impl quorate_actors::handshake::Incarnations for Known {
    fn known(&self, node: NodeId, added: Index) -> Option<u64> {
        self.0.known_incarnation(node, added)
    }

    fn met(&self, node: NodeId, incarnation: u64) -> bool {
        self.0.met(node, incarnation)
    }

    fn remember(&mut self, node: NodeId, added: Index, incarnation: u64) -> std::io::Result<()> {
        self.0.remember(node, added, incarnation)
    }
}
