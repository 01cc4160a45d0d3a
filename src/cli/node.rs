//! `node`: one node in the foreground, until it is told to stop.
//!
//! Everything that can be wrong is found before any actor starts: the configuration, the data
//! directory, the log. Recovery is a function; there is no node that is half started.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use quorate_actors::node::{NodeError, Start};
use quorate_core::raft::Boot;
use quorate_core::store::{LogStore, StoreError};
use quorate_core::types::{Membership, NodeId};
use quorate_core::wal::{Identity, Options, Wal};

use super::args::{Common, NodeArgs};
use super::output::{Failed, exit};
use super::settings::{cluster_id, membership, settings};
use crate::config::{Config, Node};
use crate::store::data_dir::{DataDir, DataDirError, Wanted};
use crate::store::disk::Disk;

/// `node`
///
/// # Errors
/// Why it does not start; once it runs, it ends with 0 or ends the process itself.
pub fn node(common: &Common, args: &NodeArgs) -> Result<(), Failed> {
    let id = NodeId(args.id);
    let (config, warnings) = load(common, id)?;
    init_log(&config, common.verbose);
    for warning in warnings {
        log::warn!("config: {}", warning.to_string().trim());
    }
    quorate_actors::fatal::abort_on_panic();
    if args.with_parent {
        let death = rustix::process::set_parent_process_death_signal;
        let _ = death(Some(rustix::process::Signal::TERM));
    }
    let node = config.node(id).map_err(|text| Failed::new(exit::USAGE, "no_such_node", text))?;
    let start = prepare(&config, node)?;
    let system = actix_rt::System::new();
    let ran = system.block_on(quorate_actors::node::run(start, crate::signals::stop()));
    ran.map_err(|error| not_running(&error))
}

fn load(common: &Common, id: NodeId) -> Result<(Config, Vec<crate::config::Warning>), Failed> {
    let env: BTreeMap<String, String> = std::env::vars().collect();
    Config::load(&common.config, &env, &common.set, Some(id))
        .map_err(|errors| Failed::new(exit::CONFIG, "config", errors.to_string()))
}

fn init_log(config: &Config, verbose: bool) {
    let level = if verbose { "debug" } else { config.log.level.as_str() };
    let quiet = "actix_server=warn,actix_web=warn,actix_http=warn,tungstenite=warn";
    let env = std::env::var("RUST_LOG").unwrap_or_else(|_| format!("{quiet},{level}"));
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(&env).format_timestamp_millis().format_target(false);
    builder.init();
}

/// Opens the data directory and recovers the log; writes the first entry where both are new.
fn prepare(config: &Config, node: &Node) -> Result<Start, Failed> {
    let first = membership(config);
    let wanted = Wanted {
        cluster_name: config.cluster.name.clone(),
        cluster_id: cluster_id(&config.cluster.name, &first),
        node: node.id,
    };
    let mut data = DataDir::open(&node.data_dir, &wanted).map_err(|error| not_opened(&error))?;
    let settings = settings(config, node, &data);
    let (log_store, boot) = recover(config, node, &mut data, first)?;
    Ok(Start { settings, boot, log_store, incarnations: Box::new(Known(data)) })
}

fn recover(
    config: &Config,
    node: &Node,
    data: &mut DataDir,
    first: Membership,
) -> Result<(Box<dyn LogStore>, Boot), Failed> {
    let started = Instant::now();
    let identity =
        Identity { cluster: data.cluster_id(), node: node.id, incarnation: data.incarnation() };
    let options = Options {
        segment_bytes: config.storage.segment_bytes,
        preallocate_bytes: config.storage.preallocate_bytes,
        identity,
    };
    let disk = Arc::new(Disk::new(&node.data_dir));
    let (mut wal, recovered) = Wal::open(disk, options).map_err(|error| damaged(node, &error))?;
    if let Some(torn) = &recovered.torn {
        let (path, offset) = (&torn.path, torn.offset);
        log::warn!(
            "log: cut a torn tail of {path} at byte {offset}; nothing acknowledged was in it"
        );
    }
    let empty = recovered.entries.is_empty() && recovered.base.index.0 == 0;
    let boot = if empty && data.initialized() {
        return Err(lost(node));
    } else if empty {
        let boot = Boot::first(first);
        write_first(&mut wal, &boot).map_err(|error| damaged(node, &error))?;
        data.set_initialized().map_err(|error| not_opened(&error))?;
        log::info!("log: new, the first entry holds the members of the configuration");
        boot
    } else {
        Boot {
            hard_state: recovered.hard_state,
            base: recovered.base,
            entries: recovered.entries,
            ..Boot::default()
        }
    };
    log::info!(
        "log: {} entries, term {}, recovered in {} ms",
        boot.entries.len(),
        boot.hard_state.term,
        started.elapsed().as_millis()
    );
    Ok((Box::new(wal), boot))
}

fn not_opened(error: &DataDirError) -> Failed {
    Failed::new(error.exit_code(), "data_directory", error.to_string())
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

fn write_first(wal: &mut Wal, boot: &Boot) -> Result<(), StoreError> {
    wal.save_hard_state(boot.hard_state)?;
    wal.append(&boot.entries)?;
    wal.sync()
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

fn not_running(error: &NodeError) -> Failed {
    match error {
        NodeError::Bind { what, address, error }
            if error.kind() == std::io::ErrorKind::AddrInUse =>
        {
            let text = format!(
                "{address} ({what}) is taken by another process. Is this node running already? \
                 `ss -ltnp` shows who listens"
            );
            Failed::new(exit::CONFIG, "address_in_use", text)
        }
        NodeError::Bind { .. } => Failed::new(exit::CONFIG, "address", error.to_string()),
        NodeError::Server(_) => Failed::new(exit::INTERNAL, "server", error.to_string()),
    }
}

/// The incarnations of the other nodes, in this node's data directory.
struct Known(DataDir);

impl quorate_actors::handshake::Incarnations for Known {
    fn known(&self, node: NodeId) -> Option<u64> {
        self.0.known_incarnation(node)
    }

    fn remember(&mut self, node: NodeId, incarnation: u64) -> std::io::Result<()> {
        self.0.remember(node, incarnation)
    }
}
