//! `backup`, `restore`, `recover`: the state in a file, out of a running cluster, out of what is
//! left of a lost one, and into a new one.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget};
use quorate_core::kv::StateMachine;
use quorate_core::kv::backup::{Head, Reader, Writer};
use quorate_core::store::{CheckpointStore, StoreError};
use quorate_core::types::{HardState, Index, NodeId};
use quorate_core::wal::{Identity, Options};
use serde_json::json;

use super::args::{BackupCommand, Common, RecoverArgs, RestoreArgs};
use super::connect::{endpoints, load};
use super::output::{Failed, exit, print_line};
use super::settings::{cluster_id, membership};
use crate::config::{Config, Node};
use crate::store::checkpoint::SledCheckpoints;
use crate::store::data_dir::{DataDir, Wanted};
use crate::store::logs;

/// `backup ...`
///
/// # Errors
/// When no node answers, or the file cannot be read or written, or is damaged (76).
pub fn backup(common: &Common, command: &BackupCommand) -> Result<(), Failed> {
    match command {
        BackupCommand::Save { file } => save(common, file),
        BackupCommand::Verify { file } => {
            let (head, _) = read(common, file)?;
            tell(common, &head, "whole: every checksum and the state's hash are right")
        }
        BackupCommand::Show { file } => tell(common, &open(file)?.head, ""),
    }
}

fn tell(common: &Common, head: &Head, verdict: &str) -> Result<(), Failed> {
    if common.json() {
        return print_line(json!({
            "cluster": head.cluster, "cluster_id": head.cluster_id, "version": head.version,
            "index": head.position.index.0, "term": head.position.term.0,
            "revision": head.revision, "keys": head.keys, "hash": format!("{:016x}", head.hash),
            "verified": !verdict.is_empty(),
        }));
    }
    let (cluster, position) = (&head.cluster, head.position);
    print_line(format_args!(
        "cluster {cluster}, as of {position}: {} keys, revision {}, state hash {:016x}, written by {}",
        head.keys, head.revision, head.hash, head.version
    ))?;
    if verdict.is_empty() { Ok(()) } else { print_line(verdict) }
}

fn bar(common: &Common, records: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(records).with_message(what);
    if common.json() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

/// Fills buffers from a reader, for the backup's own reader.
fn filled(mut from: impl Read) -> impl FnMut(&mut [u8]) -> Result<(), String> {
    move |buffer| {
        from.read_exact(buffer).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "it is cut short".to_owned(),
            _ => error.to_string(),
        })
    }
}

fn damaged(file: &Path, what: &str) -> Failed {
    let text = format!("damaged backup: {}: {what}", file.display());
    Failed::new(exit::DAMAGED, "damaged", text)
}

/// What fills a buffer to its end.
type Filling = Box<dyn FnMut(&mut [u8]) -> Result<(), String>>;

fn open(file: &Path) -> Result<Reader<Filling>, Failed> {
    let from = File::open(file).map_err(|error| Failed::file(&file.to_string_lossy(), &error))?;
    let filling: Filling = Box::new(filled(BufReader::new(from)));
    Reader::new(filling).map_err(|what| damaged(file, &what))
}

fn read(common: &Common, file: &Path) -> Result<(Head, StateMachine), Failed> {
    let reader = open(file)?;
    let head = reader.head.clone();
    let bar = bar(common, head.records, "reading");
    let state = reader.state(|done| bar.set_position(done));
    bar.finish_and_clear();
    state.map(|state| (head, state)).map_err(|what| damaged(file, &what))
}

/// Takes the state from whichever node answers, checks it on the way, and gives the file its
/// name only when it is whole and durable.
fn save(common: &Common, file: &Path) -> Result<(), Failed> {
    let mut said = Vec::new();
    for address in endpoints(common)? {
        let answer = ureq::get(format!("http://{address}/v1/backup"))
            .config()
            .timeout_connect(Some(Duration::from_millis(common.timeout_ms)))
            .build()
            .call();
        match answer {
            Ok(mut answer) => {
                let from = answer.body_mut().with_config().limit(u64::MAX).reader();
                let (head, state) = receive(common, file, from)?;
                write(file, state, &head)?;
                return tell(common, &head, &format!("saved to {}", file.display()));
            }
            Err(error) => said.push(format!("{address}: {error}")),
        }
    }
    let text = format!("no backup: no node answers ({})", said.join("; "));
    Err(Failed::new(exit::UNREACHABLE, "unreachable", text))
}

fn receive(common: &Common, file: &Path, from: impl Read) -> Result<(Head, StateMachine), Failed> {
    let reader = Reader::new(filled(from)).map_err(|what| damaged(file, &what))?;
    let head = reader.head.clone();
    let bar = bar(common, head.records, "receiving");
    let state = reader.state(|done| bar.set_position(done));
    bar.finish_and_clear();
    let text = |what: String| format!("the backup did not arrive whole: {what}; nothing was saved");
    let state = state.map_err(|what| Failed::new(exit::UNREACHABLE, "interrupted", text(what)))?;
    Ok((head, state))
}

fn write(file: &Path, state: StateMachine, head: &Head) -> Result<(), Failed> {
    let new = file.with_extension("partial");
    let failed = |error: std::io::Error| Failed::file(&file.to_string_lossy(), &error);
    let mut out = BufWriter::new(File::create(&new).map_err(failed)?);
    for piece in Writer::new(state, &head.cluster, head.cluster_id, &head.version) {
        out.write_all(&piece).map_err(failed)?;
    }
    let out = out.into_inner().map_err(|error| failed(error.into_error()))?;
    out.sync_all().map_err(failed)?;
    std::fs::rename(&new, file).map_err(failed)?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all()).map_err(failed)
}

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
    for node in nodes {
        fill(&config, node, &head, &state)?;
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

/// A node's directory as if it had just installed this state as a snapshot.
fn fill(config: &Config, node: &Node, head: &Head, state: &StateMachine) -> Result<(), Failed> {
    let disk = |error: &StoreError| {
        Failed::new(
            exit::DISK,
            "disk",
            format!("disk error: {error}. Remove {} and try again", node.data_dir.display()),
        )
    };
    // Of another id than the cluster that the backup is of, and than any other restored from it.
    let first = membership(config);
    let salt = head.position.index.0 ^ head.hash.rotate_left(17);
    let wanted = Wanted {
        cluster_name: config.cluster.name.clone(),
        cluster_id: cluster_id(&config.cluster.name, &first) ^ (salt >> 11),
        node: node.id,
        joins: false,
    };
    let mut data = DataDir::open(&node.data_dir, &wanted)
        .map_err(|error| Failed::new(error.exit_code(), "data_directory", error.to_string()))?;
    let (mut checkpoints, _) =
        SledCheckpoints::open(&node.data_dir.join("state"), config.storage.sled_cache_bytes)
            .map_err(|error| Failed::new(exit::DISK, "disk", format!("disk error: {error}")))?;
    checkpoints.save(state, None).map_err(|error| disk(&error))?;
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
        let (mut log, _) = logs::open(&node.data_dir, &config.storage.log, options)?;
        log.reset(state.position())?;
        log.save_hard_state(HardState { term: state.position().term, vote: None })?;
        log.sync()
    };
    begin().map_err(|error| disk(&error))?;
    data.set_initialized()
        .map_err(|error| Failed::new(error.exit_code(), "data_directory", error.to_string()))
}

/// `recover`: the checkpoint of a survivor and all of its log, also what was never committed: of
/// two evils, to lose an acknowledged write is the greater.
///
/// # Errors
/// When the directory is in use, damaged, or holds no state.
pub fn recover(common: &Common, args: &RecoverArgs) -> Result<(), Failed> {
    let data = DataDir::look(&args.from)
        .map_err(|error| Failed::new(error.exit_code(), "data_directory", error.to_string()))?;
    let checkpoint = SledCheckpoints::open(&args.from.join("state"), 64 << 20);
    let (_, state) = checkpoint
        .map_err(|error| Failed::new(exit::DAMAGED, "damaged", format!("damaged data: {error}")))?;
    let mut state = state.unwrap_or_default();
    let options = Options {
        segment_bytes: 64 << 20,
        preallocate_bytes: 1 << 20,
        identity: Identity {
            cluster: data.cluster_id(),
            node: data.node(),
            incarnation: data.incarnation(),
        },
    };
    let found = logs::inspect(&args.from, options);
    let found = found.map_err(|error| {
        Failed::new(exit::DAMAGED, "damaged", format!("damaged data: {error}. Nothing was written"))
    })?;
    if found.base.index > state.applied() {
        let text = format!(
            "{} cannot be recovered: its checkpoint holds the state up to {}, and its log begins behind {}. \
             Try another node's directory, or restore a backup",
            args.from.display(),
            state.position(),
            found.base
        );
        return Err(Failed::new(exit::DAMAGED, "damaged", text));
    }
    let from = state.applied();
    for entry in found.entries.iter().filter(|entry| entry.index > from) {
        state.apply(entry);
    }
    if state.applied() == Index(0) {
        return Err(Failed::new(exit::NO, "not_found", "there is no state in that directory"));
    }
    let entries = state.applied().0 - from.0;
    let summary = state.summary();
    let head = Head {
        format: 1,
        cluster: data.cluster().to_owned(),
        cluster_id: data.cluster_id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        position: state.position(),
        revision: summary.revision,
        keys: summary.keys,
        records: state.record_count(),
        hash: summary.hash,
    };
    write(&args.out, state, &head)?;
    tell(common, &head, &format!("saved to {}", args.out.display()))?;
    print_line(format_args!(
        "from node {}'s checkpoint and {entries} entries of its log. What other nodes acknowledged and this one \
         never had is not in it; what it had and no quorum stored is",
        data.node()
    ))?;
    print_line(format_args!("next: quorate restore {} --config NEW.toml", args.out.display()))
}
