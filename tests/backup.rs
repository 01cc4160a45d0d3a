//! Backups of a running cluster, of what is left of a lost one, and new clusters from them.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use quorate_harness::{Cluster, Setup, wait_for};

/// Checkpoints after a thousand entries, so that a directory holds one, and a log behind it.
const SMALL: &str = "
[raft]
snapshot_entries = 1_000
trailing_entries = 10
";

fn quorate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

/// Runs a command to its end: exit code, standard output, standard error.
fn run(config: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(quorate()).arg("--config").arg(config).args(words).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

async fn fill(cluster: &Cluster, count: u32) {
    let client = cluster.client().await;
    let writes = (0..count).map(|n| client.put(format!("key/{n}"), format!("value {n}")));
    for written in futures_util::future::join_all(writes).await {
        written.unwrap();
    }
}

async fn assert_filled(cluster: &Cluster, count: u32) -> u64 {
    let client = cluster.client().await;
    let mut revision = 0;
    for n in (0..count).step_by(7) {
        let read = client.get(format!("key/{n}")).await.unwrap();
        assert_eq!(read.entry.unwrap().value, format!("value {n}"));
        revision = read.revision;
    }
    revision
}

#[tokio::test]
async fn a_backup_is_saved_while_serving_checked_and_restored_into_a_new_cluster() {
    let cluster = Cluster::start(quorate(), 3, "");
    cluster.leader().await;
    fill(&cluster, 500).await;
    let file = cluster.dir.path().join("all.backup");
    let name = file.to_str().unwrap();
    let (code, out, err) = run(&cluster.config, &["backup", "save", name]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("500 keys"), "{out}");
    let (code, out, err) = run(&cluster.config, &["backup", "verify", name]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("whole"), "{out}");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let bad = cluster.dir.path().join("bad.backup");
    std::fs::write(&bad, &bytes).unwrap();
    let (code, _, err) = run(&cluster.config, &["backup", "verify", bad.to_str().unwrap()]);
    assert_eq!(code, Some(76), "{err}");
    bytes.truncate(middle);
    std::fs::write(&bad, &bytes).unwrap();
    let (code, _, err) = run(&cluster.config, &["backup", "verify", bad.to_str().unwrap()]);
    assert_eq!((code, err.contains("cut short")), (Some(76), true), "{err}");

    let mut new = Setup::new(quorate(), 3).prepare();
    let (code, out, err) = run(&new.config, &["restore", name]);
    assert_eq!(code, Some(0), "{out}{err}");
    let (code, _, err) = run(&new.config, &["restore", name]);
    assert_eq!((code, err.contains("is not empty")), (Some(65), true), "{err}");
    for id in 1..=3 {
        new.start_node(id);
    }
    new.leader().await;
    let revision = assert_filled(&new, 500).await;
    assert!(revision > 1_000_000, "{revision}");
    fill(&new, 10).await;
    new.settled().await;
}

#[tokio::test]
async fn a_lost_cluster_is_recovered_from_one_survivor() {
    recover_from_a_survivor(SMALL).await;
}

#[tokio::test]
async fn a_survivor_whose_log_is_in_sled_loses_nothing_of_it_either() {
    recover_from_a_survivor(&format!("log = \"sled\"\n{SMALL}")).await;
}

async fn recover_from_a_survivor(settings: &str) {
    let mut cluster = Cluster::start(quorate(), 3, settings);
    let leader = cluster.leader().await;
    fill(&cluster, 1_500).await;
    cluster.settled().await;
    for id in 1..=3 {
        cluster.kill(id);
    }
    let survivor = cluster.dir.path().join(format!("n{leader}"));
    let (code, out, err) = run(&cluster.config, &["doctor", survivor.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{out}{err}");
    let file = cluster.dir.path().join("rescued.backup");
    let (from, name) = (survivor.to_str().unwrap(), file.to_str().unwrap());
    let (code, out, err) = run(&cluster.config, &["recover", "--from", from, "--out", name]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("1500 keys"), "{out}");
    let mut new = Setup::new(quorate(), 1).prepare();
    assert_eq!(run(&new.config, &["restore", name]).0, Some(0));
    new.start_node(1);
    new.leader().await;
    assert_filled(&new, 1_500).await;
}

#[tokio::test]
async fn a_doctor_says_what_is_wrong_with_a_directory_and_with_a_cluster() {
    let mut cluster = Cluster::start(quorate(), 3, SMALL);
    cluster.leader().await;
    fill(&cluster, 1_200).await;
    let (code, out, err) = run(&cluster.config, &["doctor"]);
    assert_eq!((code, out.contains("nothing is wrong")), (Some(0), true), "{out}{err}");
    let used = cluster.dir.path().join("n1");
    assert_eq!(run(&cluster.config, &["doctor", used.to_str().unwrap()]).0, Some(73));
    cluster.kill(1);
    let (code, out, err) = run(&cluster.config, &["doctor"]);
    assert!(matches!(code, Some(1 | 69)), "{out}{err}");
    assert!(err.contains("quorate member replace"), "{err}");
    let log = used.join("log");
    let last = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let mut bytes = std::fs::read(&last).unwrap();
    bytes[5_000] ^= 1;
    std::fs::write(&last, bytes).unwrap();
    let (code, out, err) = run(&cluster.config, &["doctor", used.to_str().unwrap()]);
    assert_eq!(code, Some(76), "{out}{err}");
    assert!(out.contains("is damaged at byte"), "{out}");
}

/// Every file of a directory, with its bytes; but for the lock, whose holder changes.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if path.file_name() != Some("LOCK".as_ref()) {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

#[tokio::test]
async fn a_doctor_changes_nothing_and_knows_what_a_node_refuses() {
    for settings in [SMALL.to_owned(), format!("log = \"sled\"\n{SMALL}")] {
        let mut cluster = Cluster::start(quorate(), 1, &settings);
        fill(&cluster, 1_200).await;
        wait_for("checkpoint", Duration::from_secs(20), async || {
            cluster.statuses().await.first().filter(|status| status.snapshot_index > 0).map(drop)
        })
        .await;
        cluster.kill(1);
        let dir = cluster.dir.path().join("n1");
        let (name, before) = (dir.to_str().unwrap(), contents(&dir));
        let (code, out, err) = run(&cluster.config, &["doctor", name]);
        assert_eq!((code, out.contains("keys as of")), (Some(0), true), "{out}{err}");
        assert!(contents(&dir) == before, "files were changed");
        let beside = std::fs::read_dir(cluster.dir.path()).unwrap().flatten();
        assert!(beside.into_iter().all(|e| !e.path().to_string_lossy().contains("looked-at")));
        std::fs::remove_dir_all(dir.join("log")).unwrap();
        assert_eq!(run(&cluster.config, &["node", "--id", "1"]).0, Some(76));
        let (code, out, err) = run(&cluster.config, &["doctor", name]);
        assert_eq!((code, err.contains("the log is empty")), (Some(76), true), "{out}{err}");
    }
}

fn cluster_id(dir: &Path) -> String {
    let identity = std::fs::read_to_string(dir.join("identity.toml")).unwrap();
    identity.lines().find(|line| line.starts_with("cluster_id")).unwrap().to_owned()
}

#[tokio::test]
async fn a_restore_that_was_interrupted_does_not_start_as_an_empty_cluster() {
    let cluster = Cluster::start(quorate(), 1, "");
    fill(&cluster, 20).await;
    let file = cluster.dir.path().join("all.backup");
    let name = file.to_str().unwrap();
    assert_eq!(run(&cluster.config, &["backup", "save", name]).0, Some(0));
    let mut new = Setup::new(quorate(), 1).prepare();
    let dir = new.dir.path().join("n1");
    let unfinished = new.dir.path().join("n1.restoring");
    assert_eq!(run(&new.config, &["restore", name]).0, Some(0));
    let first = cluster_id(&dir);
    assert!(!unfinished.exists());
    // As if it had ended before its end.
    std::fs::rename(&dir, &unfinished).unwrap();
    std::fs::remove_dir_all(unfinished.join("log")).unwrap();
    let (code, _, err) = run(&new.config, &["node", "--id", "1"]);
    assert_eq!((code, err.contains("a restore was interrupted")), (Some(65), true), "{err}");
    let (code, _, err) = run(&new.config, &["restore", name, "--revision-jump", "7"]);
    assert_eq!(code, Some(0), "{err}");
    assert_ne!(cluster_id(&dir), first, "another state is another cluster");
    new.start_node(1);
    new.leader().await;
    assert_filled(&new, 20).await;
}

/// A process that stands still takes connections, and answers none.
#[tokio::test]
async fn a_node_that_stands_still_is_passed_over_by_a_backup_and_by_who_joins() {
    let cluster = Cluster::start(quorate(), 1, "");
    fill(&cluster, 20).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoints = format!("{},{}", silent.local_addr().unwrap(), cluster.addresses[&1]);
    let file = cluster.dir.path().join("all.backup");
    let words = ["--timeout-ms", "300", "--endpoints", &endpoints, "backup", "save"];
    let (code, out, err) = run(&cluster.config, &[&words[..], &[file.to_str().unwrap()]].concat());
    assert_eq!((code, out.contains("20 keys")), (Some(0), true), "{out}{err}");
    let config = cluster.dir.path().join("joins.toml");
    std::fs::write(
        &config,
        "[cluster]\nname = \"other\"\n[[node]]\nid = 2\nclient = \"127.0.0.1:1\"\npeer = \"127.0.0.1:2\"\ndata_dir = \"j\"\n",
    )
    .unwrap();
    let (code, _, err) = run(&config, &["node", "--id", "2", "--join", &endpoints]);
    assert_eq!((code, err.contains("is of cluster \"test\"")), (Some(78), true), "{err}");
}
