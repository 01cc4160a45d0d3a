//! `restore`: a backup becomes the data directories of a new cluster.

use std::fs::File;
use std::io;
use std::path::Path;

use quorate_core::kv::StateMachine;
use quorate_core::kv::backup::Head;
use quorate_core::store::{CheckpointStore, StoreError};
use quorate_core::types::{HardState, NodeId};
use quorate_core::wal::{Identity, Options};

use super::args::{Common, RestoreArgs};
use super::backup::read;
use super::connect::load;
use super::output::{Failed, exit, print_line};
use super::settings::{cluster_id, membership};
use crate::config::{Config, Node};
use crate::store::checkpoint::SledCheckpoints;
use crate::store::data_dir::{DataDir, Wanted, restoring};
use crate::store::logs;

/// `restore`
///
/// # Errors
/// When the backup is damaged, a data directory is not empty, or the disk refuses.
pub fn restore(common: &Common, args: &RestoreArgs) -> Result<(), Failed> {
    let config = load(common)?;
    let nodes: Vec<&Node> = match args.id {
        None => config.nodes.iter().collect(),
        Some(id) => {
            let node = config.node(NodeId(id));
            vec![node.map_err(|text| Failed::new(exit::USAGE, "no_such_node", text))?]
        }
    };
    for node in &nodes {
        if node.data_dir.exists()
            && std::fs::read_dir(&node.data_dir).is_ok_and(|mut d| d.next().is_some())
        {
            let text = format!(
                "{} is not empty: a backup is restored into new directories only. Nothing was changed",
                node.data_dir.display()
            );
            return Err(Failed::new(exit::WRONG_DATA_DIRECTORY, "data_directory", text));
        }
    }
    let (head, state) = read(common, &args.file)?;
    let state = state.restored(membership(&config), args.revision_jump);
    // All are made before any is named: a part of them must not start as a cluster.
    for node in &nodes {
        fill(&config, node, &head, &state)?;
    }
    for node in nodes {
        let dir = &node.data_dir;
        take_into_use(dir).map_err(|error| Failed::file(&dir.to_string_lossy(), &error))?;
        print_line(format_args!(
            "n{}: {} keys in {}, revision {}",
            node.id,
            state.summary().keys,
            node.data_dir.display(),
            state.revision()
        ))?;
    }
    print_line("start the nodes: they are a new cluster, and the old one's sessions are gone")
}

/// A node's directory as if it had just installed this state as a snapshot; under the name of
/// one that is not finished, which no node starts beside.
fn fill(config: &Config, node: &Node, head: &Head, state: &StateMachine) -> Result<(), Failed> {
    let dir = restoring(&node.data_dir);
    if dir.exists() {
        let removed = std::fs::remove_dir_all(&dir);
        removed.map_err(|error| Failed::file(&dir.to_string_lossy(), &error))?;
    }
    let disk = |error: &StoreError| {
        Failed::new(
            exit::DISK,
            "disk",
            format!(
                "disk error: {error}. Nothing was restored: try again, or remove {}",
                dir.display()
            ),
        )
    };
    // Of another id than the cluster that the backup is of, and than any other restored from it.
    let first = membership(config);
    let summary = state.summary();
    let salt = format!("{} {:x} {:x} {}", head.position, head.hash, summary.hash, summary.revision);
    let salt = xxhash_rust::xxh3::xxh3_64(salt.as_bytes());
    let wanted = Wanted {
        cluster_name: config.cluster.name.clone(),
        cluster_id: cluster_id(&config.cluster.name, &first) ^ (salt >> 11),
        node: node.id,
        joins: false,
    };
    let mut data = DataDir::open(&dir, &wanted)
        .map_err(|error| Failed::new(error.exit_code(), "data_directory", error.to_string()))?;
    let (mut checkpoints, _) =
        SledCheckpoints::open(&dir.join("state"), config.storage.sled_cache_bytes)
            .map_err(|error| Failed::new(exit::DISK, "disk", format!("disk error: {error}")))?;
    checkpoints.save(state.point_in_time(), None).map_err(|error| disk(&error))?;
    let options = Options {
        segment_bytes: config.storage.segment_bytes,
        preallocate_bytes: config.storage.preallocate_bytes,
        identity: Identity {
            cluster: data.cluster_id(),
            node: node.id,
            incarnation: data.incarnation(),
        },
    };
    let begin = || {
        let (mut log, _) = logs::open(&dir, &config.storage.log, options)?;
        log.reset(state.position())?;
        log.save_hard_state(HardState { term: state.position().term, vote: None })?;
        log.sync()
    };
    begin().map_err(|error| disk(&error))?;
    data.set_initialized()
        .map_err(|error| Failed::new(error.exit_code(), "data_directory", error.to_string()))
}

/// Makes everything in a finished directory durable and gives it its name.
fn take_into_use(data_dir: &Path) -> io::Result<()> {
    let built = restoring(data_dir);
    sync_all(&built)?;
    std::fs::rename(&built, data_dir)?;
    let parent = data_dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_all(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()
}
