//! `cluster`: new nodes, with the settings and disks that its options say.

use std::time::Duration;

use quorate_core::raft::{Boot, Config};
use quorate_core::types::{Entry, HardState, Index, NodeId, Term};

use super::args::Args;
use super::cluster::Cluster;
use super::machine::{Disk, Machine, Snapshot};
use super::notation::{membership, name, old_entry, parse_name, parse_number};

/// The cluster that a script begins with.
pub(crate) fn new_cluster(args: &mut Args<'_>) -> Result<Cluster, String> {
    let size = args.number("nodes")?.unwrap_or(3);
    let mut cluster = Cluster::default();
    cluster.applies_at_once = match args.options.remove("apply") {
        None => true,
        Some("by-hand") => false,
        Some(other) => return Err(format!("apply={other}")),
    };
    let mut settings = Config::new(NodeId(0), 0);
    tune(&mut settings, args)?;
    let common_term = args.number("term")?;
    let mut disks: Vec<(NodeId, Disk, Option<u64>)> = vec![];
    for id in (1..=size).map(NodeId) {
        let term = args.number(&format!("{}.term", name(id)))?;
        disks.push((id, new_disk(id, size, args)?, term));
    }
    // A term's entries mean that a quorum knows of the term.
    let newest = disks.iter().map(|(_, disk, _)| disk.last().term.0).max().unwrap_or(1).max(1);
    for (id, mut disk, term) in disks {
        disk.hard_state.term = Term(term.or(common_term).unwrap_or(newest));
        let config = Config { id, seed: id.0, ..settings.clone() };
        cluster.machines.insert(id, Machine::new(config, disk));
        cluster.restart(id)?;
    }
    Ok(cluster)
}

fn tune(config: &mut Config, args: &mut Args<'_>) -> Result<(), String> {
    if let Some(ms) = args.number("heartbeat-ms")? {
        config.heartbeat = Duration::from_millis(ms);
    }
    if let Some(ms) = args.number("election-ms")? {
        config.election_timeout = Duration::from_millis(ms);
    }
    for (key, setting) in [
        ("batch", &mut config.batch_entries),
        ("inflight", &mut config.inflight_batches),
        ("uncommitted-bytes", &mut config.uncommitted_bytes),
        ("apply-bytes", &mut config.apply_bytes),
        ("snapshot-bytes", &mut config.snapshot_bytes),
    ] {
        *setting = args.count(key)?.unwrap_or(*setting);
    }
    for (key, setting) in [
        ("snapshot-entries", &mut config.snapshot_entries),
        ("trailing", &mut config.trailing_entries),
    ] {
        *setting = args.number(key)?.unwrap_or(*setting);
    }
    Ok(())
}

fn new_disk(id: NodeId, size: u64, args: &mut Args<'_>) -> Result<Disk, String> {
    let members = membership((1..=size).map(NodeId));
    let Boot { mut entries, .. } = Boot::first(members.clone());
    let terms = args.options.remove(format!("{}.log", name(id)).as_str()).unwrap_or("");
    for (index, term) in (2..).zip(terms.split(',').filter(|term| !term.is_empty())) {
        entries.push(old_entry(Index(index), Term(parse_number(term)?)));
    }
    let vote = args.options.remove(format!("{}.vote", name(id)).as_str());
    let vote = vote.map(parse_name).transpose()?;
    let base = args.count(&format!("{}.base", name(id)))?.unwrap_or(0);
    let behind = entries.split_off(base.min(entries.len()));
    let base = entries.last().map(Entry::position);
    Ok(Disk {
        hard_state: HardState { term: Term(0), vote },
        base: base.unwrap_or_default(),
        checkpoint: base.map(|position| Snapshot { position, membership: members }),
        entries: behind,
    })
}
