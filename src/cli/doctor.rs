//! `doctor`: what is wrong, and what to run. A data directory is inspected offline and not
//! changed; a cluster is asked.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use quorate_core::kv::StateMachine;
use quorate_core::raft::Boot;
use quorate_core::store::StoreError;
use quorate_core::types::Position;
use quorate_core::wal::{Identity, Options, Recovered};

use super::args::Common;
use super::connect::endpoints;
use super::output::{Failed, exit, print_line};
use super::recover::is_lost;
use super::status::{Answer, ask_all, leader, low_space};
use crate::store::checkpoint::{CheckpointError, SledCheckpoints};
use crate::store::copy::Copied;
use crate::store::data_dir::DataDir;
use crate::store::logs;

/// `doctor DIRECTORY`
///
/// # Errors
/// 76 where the directory is damaged, 73 where a node uses it, and what else keeps a node from
/// starting on it.
pub fn directory(_: &Common, path: &Path) -> Result<(), Failed> {
    let data = DataDir::look(path)
        .map_err(|error| Failed::new(error.exit_code(), "data_directory", error.to_string()))?;
    let (node, incarnation) = (data.node(), data.incarnation());
    print_line(format_args!(
        "directory   node {node} of cluster \"{}\" ({:x}), incarnation {incarnation:x}: ok",
        data.cluster(),
        data.cluster_id()
    ))?;
    let mut bad = Vec::new();
    let identity = Identity { cluster: data.cluster_id(), node, incarnation };
    let options = Options { segment_bytes: 64 << 20, preallocate_bytes: 1 << 20, identity };
    let had_log = logs::kept_in(path).is_some();
    let mut boot = Boot::default();
    match look_at_log(path, options)? {
        Ok(found) => {
            let torn = found.torn.map_or(String::new(), |torn| {
                format!(
                    "; a torn tail at byte {} of {}, which the next start cuts",
                    torn.offset, torn.path
                )
            });
            boot.hard_state = found.hard_state;
            (boot.base, boot.entries) = (found.base, found.entries);
            print_line(format_args!(
                "log         {} entries behind {}, to {}; term {}: ok{torn}",
                boot.entries.len(),
                boot.base,
                boot.last(),
                boot.hard_state.term
            ))?;
            if is_lost(&data, had_log, boot.last() == Position::default()) {
                bad.push(format!(
                    "the log is empty, and it was not before: this node does not start, it would vote as if it had never voted. Keep {} for inspection and run: quorate member replace {node}",
                    path.display()
                ));
            }
        }
        Err(error) => {
            print_line(format_args!("log         {error}"))?;
            bad.push(format!(
                "the log is damaged: this node must not start, it could vote on a shortened log. Keep {} for inspection and run: quorate member replace {node}",
                path.display()
            ));
        }
    }
    let known = match look_at_checkpoint(path)? {
        Looked::At(Ok(Some(state))) => {
            boot.state = state.position();
            let summary = state.summary();
            print_line(format_args!(
                "checkpoint  {} keys as of {}, revision {}, state hash {:016x}: ok",
                summary.keys, boot.state, summary.revision, summary.hash
            ))?;
            true
        }
        Looked::At(Ok(None)) => print_line("checkpoint  none yet").map(|()| true)?,
        Looked::At(Err(what)) => {
            print_line(format_args!("checkpoint  {what}"))?;
            bad.push("the checkpoint is damaged: start the node, it moves it aside and gets the state from its leader".to_owned());
            true
        }
        Looked::Not(why) => {
            print_line(format_args!("checkpoint  not looked at: {why}")).map(|()| false)?
        }
    };
    if known && bad.is_empty() && boot.state.index < boot.base.index {
        bad.push(format!(
            "the checkpoint ends at {} and the log begins behind {}: start the node, it gets the state from its leader. In a cluster of one: quorate restore a backup",
            boot.state, boot.base
        ));
    }
    verdict(&bad, "nothing is wrong with it", exit::DAMAGED)
}

/// What the disk refuses is no damage of what is on it.
fn refused(error: &dyn std::fmt::Display) -> Failed {
    Failed::new(exit::DISK, "disk", format!("disk error: {error}. Nothing is known of the rest"))
}

/// The log, or how it is damaged. One in sled is looked at in a copy.
fn look_at_log(path: &Path, options: Options) -> Result<Result<Recovered, StoreError>, Failed> {
    let home = logs::kept_in(path);
    let found = match home {
        None => Ok(Recovered::default()),
        Some("sled") => {
            let copied = Copied::of(path, "log").map_err(|error| refused(&error))?;
            logs::inspect(copied.path(), options)
        }
        Some(_) => logs::inspect(path, options),
    };
    match found {
        Err(error @ StoreError::Io { .. }) => Err(refused(&error)),
        found => Ok(found),
    }
}

/// What became of looking at a checkpoint.
enum Looked {
    At(Result<Option<Box<StateMachine>>, String>),
    /// Why not.
    Not(String),
}

/// Opens a copy of the checkpoint.
fn look_at_checkpoint(path: &Path) -> Result<Looked, Failed> {
    if !path.join("state").exists() {
        return Ok(Looked::At(Ok(None)));
    }
    let copied = match Copied::of(path, "state") {
        Ok(copied) => copied,
        Err(error) if error.kind() == ErrorKind::StorageFull => {
            return Ok(Looked::Not(error.to_string()));
        }
        Err(error) => return Err(refused(&error)),
    };
    match SledCheckpoints::open(&copied.path().join("state"), 64 << 20) {
        Ok((_, state)) => Ok(Looked::At(Ok(state.map(Box::new)))),
        Err(CheckpointError::Damaged { what, .. }) => {
            let text = format!(
                "the checkpoint in {} cannot be used: {what}",
                path.join("state").display()
            );
            Ok(Looked::At(Err(text)))
        }
        Err(CheckpointError::Store(error @ StoreError::Io { .. })) => Err(refused(&error)),
        Err(CheckpointError::Store(error)) => Ok(Looked::At(Err(error.to_string()))),
    }
}

fn verdict(bad: &[String], fine: &str, code: i32) -> Result<(), Failed> {
    if bad.is_empty() {
        return print_line(fine);
    }
    Err(Failed::new(code, "unhealthy", bad.join("; ")))
}

/// `doctor`
///
/// # Errors
/// 69 where there is no leader, 1 where something else is wrong.
pub async fn cluster(common: &Common) -> Result<(), Failed> {
    let timeout = Duration::from_millis(common.timeout_ms.min(2_000));
    let answers = ask_all(&endpoints(common)?, timeout).await;
    let mut bad = Vec::new();
    for Answer { address, status, .. } in &answers {
        match status {
            Ok(status) => print_line(format_args!(
                "n{} at {address}: {}, term {}, applied {}",
                status.node, status.role, status.term, status.applied_index
            ))?,
            Err(error) => {
                print_line(format_args!("{address}: {error}"))?;
                bad.push(format!(
                    "{address} does not answer: start it (quorate node --id N); if its disk is lost: quorate member replace N"
                ));
            }
        }
    }
    let Some(leads) = leader(&answers) else {
        bad.push(
            "no node leads: a quorum of the voters must run and reach each other's peer addresses"
                .to_owned(),
        );
        return verdict(&bad, "", exit::UNREACHABLE);
    };
    for peer in leads.peers.iter().filter(|peer| !peer.connected) {
        bad.push(format!(
            "the leader cannot reach n{} at {}: check that address and its network",
            peer.id, peer.address
        ));
    }
    bad.extend(answers.iter().filter_map(|answer| low_space(answer.status.as_deref().ok()?)));
    for peer in leads.peers.iter().filter(|peer| peer.state.starts_with("snapshot")) {
        print_line(format_args!("n{} is getting a snapshot ({})", peer.id, peer.state))?;
    }
    let statuses: Vec<_> =
        answers.iter().filter_map(|answer| answer.status.as_ref().ok()).collect();
    for (place, one) in statuses.iter().enumerate() {
        for other in statuses.iter().skip(place + 1) {
            let (a, b) = (&one.state_hash, &other.state_hash);
            if a.index == b.index && a.hash != b.hash {
                bad.push(format!(
                    "n{} and n{} have different states at index {}: stop both, keep their directories, and report it",
                    one.node, other.node, a.index
                ));
            }
        }
    }
    verdict(&bad, "nothing is wrong", exit::NO)
}
