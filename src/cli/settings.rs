//! From the configuration to what the actors are told.

use std::time::Duration;

use quorate_actors::settings::{Queues, Settings, Web};
use quorate_core::raft;
use quorate_core::types::{Member, Membership, NodeId};
use quorate_core::wire::client::Limits;

use crate::config::{Config, Node};
use crate::store::data_dir::DataDir;

/// The members as the configuration lists them, in order of their ids.
#[must_use]
pub fn membership(config: &Config) -> Membership {
    let mut members: Vec<Member> = config
        .nodes
        .iter()
        .map(|node| Member::voter(node.id, &node.peer_advertise, &node.client_advertise))
        .collect();
    members.sort_by_key(|member| member.id);
    Membership::of(members)
}

/// A cluster's id: a hash of its name and its first members, so that nodes which were first
/// started with different lists never take each other for one cluster. Below 2^53.
#[must_use]
pub fn cluster_id(name: &str, membership: &Membership) -> u64 {
    let mut text = format!("{name}\n");
    for Member { id, peer, client, .. } in &membership.members {
        text.push_str(&format!("{id} {peer} {client}\n"));
    }
    xxhash_rust::xxh3::xxh3_64(text.as_bytes()) >> 11
}

/// Everything that a node's actors are told.
#[must_use]
pub fn settings(config: &Config, node: &Node, data: &DataDir) -> Settings {
    Settings {
        id: node.id,
        cluster: config.cluster.name.clone(),
        cluster_id: data.cluster_id(),
        incarnation: data.incarnation(),
        joined: data.joined(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        client_address: node.client.clone(),
        peer_address: node.peer.clone(),
        peer_advertise: node.peer_advertise.clone(),
        dial: node.dial.clone(),
        secret: config.secret.clone(),
        raft: raft(config, node.id),
        limits: limits(config),
        queues: queues(config),
        web: Web {
            http: config.http.enabled,
            allowed_hosts: hosts(config),
            allowed_origins: config.http.allowed_origins.clone(),
        },
        metrics: config.metrics.enabled,
        own_state_thread: config.runtime.state_machine == "own",
        transfer_on_stop: Duration::from_millis(config.raft.transfer_on_stop_ms),
        min_free_bytes: config.storage.min_free_bytes,
        slow_sync: Duration::from_millis(config.log.slow_sync_ms),
        process: crate::process::used,
    }
}

/// The hosts that may be named: also those of the clients' addresses in the file.
fn hosts(config: &Config) -> Vec<String> {
    let addresses = config.nodes.iter().flat_map(|node| [&node.client, &node.client_advertise]);
    let hosts = addresses.filter_map(|address| Some(address.rsplit_once(':')?.0.to_owned()));
    config.http.allowed_hosts.iter().cloned().chain(hosts).collect()
}

fn limits(config: &Config) -> Limits {
    let limits = &config.limits;
    Limits {
        key_bytes: limits.key_bytes,
        value_bytes: limits.value_bytes,
        request_bytes: limits.request_bytes,
        window: limits.window,
        session_ttl_ms: config.session.ttl_ms,
    }
}

fn queues(config: &Config) -> Queues {
    let limits = &config.limits;
    Queues {
        sessions: limits.sessions,
        connections: size(limits.connections),
        connections_per_address: size(limits.connections_per_address),
        arriving_bytes: limits.arriving_bytes.max(4 * limits.request_bytes),
        reply_bytes: size(limits.reply_bytes),
        batch: size(limits.batch),
        peer_queue_bytes: size(limits.peer_queue_bytes),
        http_requests: size(limits.http_requests),
        range_page_bytes: size(limits.range_page_bytes),
        ..Queues::default()
    }
}

fn raft(config: &Config, id: NodeId) -> raft::Config {
    let raft = &config.raft;
    let mut seed = [0; 8];
    // Only the spread of timeouts hangs on it; a fixed seed differs between nodes by the id.
    let _ = getrandom::fill(&mut seed);
    raft::Config {
        id,
        heartbeat: Duration::from_millis(raft.heartbeat_ms),
        election_timeout: Duration::from_millis(raft.election_timeout_ms),
        seed: u64::from_le_bytes(seed) ^ id.0,
        batch_entries: size(raft.batch_entries),
        batch_bytes: size(raft.batch_bytes),
        inflight_batches: size(raft.inflight_batches),
        inflight_bytes: size(raft.inflight_bytes),
        uncommitted_bytes: size(raft.uncommitted_bytes),
        apply_bytes: size(raft.apply_bytes),
        snapshot_entries: raft.snapshot_entries,
        snapshot_bytes: size(raft.snapshot_bytes),
        trailing_entries: raft.trailing_entries,
        promote_learners: raft.promote_learners,
        lease_reads: raft.lease_reads,
        lease_margin_percent: u32::try_from(raft.lease_margin_percent).unwrap_or(50),
        ..raft::Config::new(id, 0)
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_client_may_name_the_hosts_that_the_file_names() {
        let text = "
            [cluster]
            name = \"test\"
            [http]
            allowed_hosts = [\"db.example\"]
            [[node]]
            id = 1
            client = \"127.0.0.1:7101\"
            client_advertise = \"n1.db.internal:7101\"
            peer = \"127.0.0.1:7201\"
            data_dir = \"n1\"
        ";
        let none = Default::default();
        let parsed = Config::parse("config.toml", text, Path::new(""), &none, &[], None);
        let (config, _) = parsed.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(hosts(&config), ["db.example", "127.0.0.1", "n1.db.internal"]);
    }
}
