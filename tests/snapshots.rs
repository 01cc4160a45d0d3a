//! Bounded logs on real processes: checkpoints, trimming, snapshots for those who are far behind,
//! and what comes back from them.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use quorate_client::Client;
use quorate_core::wire::client::Status;
use quorate_harness::{Cluster, wait_for};

/// Checkpoints after a thousand entries, with a short tail, in small files.
const SMALL: &str = "
segment_bytes = 1_048_576
[raft]
snapshot_entries = 1_000
trailing_entries = 100
";

fn quorate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

/// Writes `count` values of a kilobyte over a hundred keys.
async fn write(client: &Client, count: u32) {
    let value = vec![b'v'; 1_000];
    for from in (0..count).step_by(200) {
        let writes = (from..count.min(from + 200))
            .map(|number| client.put(format!("key/{}", number % 100), value.clone()));
        for written in join_all(writes).await {
            written.unwrap();
        }
    }
}

async fn all_trimmed(cluster: &Cluster) -> Vec<Status> {
    wait_for("trimmed logs", Duration::from_secs(20), async || {
        let statuses = cluster.statuses().await;
        let trimmed = statuses.iter().all(|status| status.first_index > 1_000);
        (trimmed && statuses.len() == cluster.addresses.len()).then_some(statuses)
    })
    .await
}

#[tokio::test]
async fn a_log_is_trimmed_behind_checkpoints_and_a_restart_has_everything() {
    let mut cluster = Cluster::start(quorate(), 3, SMALL);
    cluster.leader().await;
    let client = cluster.client().await;
    write(&client, 6_000).await;
    for status in all_trimmed(&cluster).await {
        assert!(status.snapshot_index >= status.first_index - 1, "{status:?}");
        assert!(status.log_bytes < 6 << 20, "{} bytes of log", status.log_bytes);
        assert!(status.snapshot_bytes > 0);
    }
    let (_, before) = cluster.settled().await;
    for id in 1..=3 {
        cluster.kill(id);
    }
    for id in 1..=3 {
        cluster.start_node(id);
    }
    cluster.leader().await;
    let (_, after) = cluster.settled().await;
    assert_ne!(before, after, "a new term's entry counts");
    let again = cluster.client().await;
    for key in 0..100 {
        assert_eq!(again.get(format!("key/{key}")).await.unwrap().entry.unwrap().version, 60);
    }
    let log = std::fs::read_to_string(cluster.log_of(1)).unwrap();
    assert!(log.contains("checkpoint: 100 keys"), "it did not load the checkpoint");
}

#[tokio::test]
async fn a_follower_that_was_away_too_long_gets_a_snapshot_and_is_level_again() {
    let mut cluster = Cluster::start(quorate(), 3, SMALL);
    let leader = cluster.leader().await;
    let away = (1..=3).find(|id| *id != leader).unwrap();
    let client = cluster.client().await;
    write(&client, 200).await;
    cluster.kill(away);
    write(&client, 5_000).await;
    cluster.start_node(away);
    cluster.settled().await;
    let status = cluster.status(away).await.unwrap();
    assert!(status.first_index > 1_000, "its log begins behind the snapshot: {status:?}");
    // And it survives the next start.
    cluster.kill(away);
    write(&client, 50).await;
    cluster.start_node(away);
    cluster.settled().await;
}

#[tokio::test]
async fn a_damaged_checkpoint_is_moved_aside_and_the_state_comes_from_the_leader() {
    let mut cluster = Cluster::start(quorate(), 3, SMALL);
    let leader = cluster.leader().await;
    let victim = (1..=3).find(|id| *id != leader).unwrap();
    let client = cluster.client().await;
    write(&client, 4_000).await;
    all_trimmed(&cluster).await;
    cluster.kill(victim);
    let state = cluster.dir.path().join(format!("n{victim}/state"));
    let db = state.join("db");
    let mut bytes = std::fs::read(&db).unwrap();
    bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x5a);
    std::fs::write(&db, bytes).unwrap();
    cluster.start_node(victim);
    cluster.settled().await;
    // sled says that it is damaged, or opens it as if it were empty: both are noticed.
    let log = std::fs::read_to_string(cluster.log_of(victim)).unwrap();
    let aside = log.contains("gets the state from its leader");
    assert_eq!(aside, state.with_file_name("state.damaged-1").exists());
    assert!(aside || log.contains("when its leader has sent it a snapshot"), "{log}");
    let installed = log.contains("installed the snapshot");
    assert!(installed, "{log}");
}

#[tokio::test]
async fn a_node_whose_log_is_gone_does_not_start_from_its_checkpoint() {
    let mut cluster = Cluster::start(quorate(), 1, SMALL);
    cluster.leader().await;
    let client = cluster.client().await;
    write(&client, 3_000).await;
    all_trimmed(&cluster).await;
    cluster.kill(1);
    let log = cluster.dir.path().join("n1/log");
    // Its vote was in the log: it could vote a second time in the same term.
    let refused = |what: &str| {
        let node = std::process::Command::new(quorate())
            .args(["node", "--id", "1", "--config"])
            .arg(&cluster.config)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&node.stderr);
        assert_eq!(node.status.code(), Some(76), "{what}: {text}");
        assert!(text.contains("replace this node"), "{what}: {text}");
    };
    // One that joined a cluster has begun its log with nothing in it; the files were there.
    let identity = cluster.dir.path().join("n1/identity.toml");
    let began = std::fs::read_to_string(&identity).unwrap();
    let joined = began.replace("joined = false", "joined = true");
    assert_ne!(began, joined);
    std::fs::write(&identity, joined).unwrap();
    for file in std::fs::read_dir(&log).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    refused("a node that joined, without its log's files");
    std::fs::write(&identity, began).unwrap();
    refused("a node of the first start, without its log's files");
    std::fs::remove_dir_all(&log).unwrap();
    refused("without its log's directory");
}

#[tokio::test]
async fn a_cluster_with_its_logs_in_sled_trims_them_and_survives_kills() {
    let mut cluster = Cluster::start(quorate(), 3, &format!("log = \"sled\"\n{SMALL}"));
    cluster.leader().await;
    let client = cluster.client().await;
    write(&client, 3_000).await;
    all_trimmed(&cluster).await;
    cluster.settled().await;
    (1..=3).for_each(|id| cluster.kill(id));
    (1..=3).for_each(|id| cluster.start_node(id));
    cluster.leader().await;
    let again = cluster.client().await;
    for key in 0..100 {
        assert_eq!(again.get(format!("key/{key}")).await.unwrap().entry.unwrap().version, 30);
    }
    // Where it is, is not changed under a log that is there.
    cluster.kill(1);
    let node = std::process::Command::new(quorate())
        .args(["node", "--id", "1", "--set", "storage.log=segments", "--config"])
        .arg(&cluster.config)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&node.stderr);
    assert_eq!(node.status.code(), Some(78), "{text}");
    assert!(text.contains("set it back to \"sled\""), "{text}");
}
