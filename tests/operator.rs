//! The mistakes and accidents that operators meet: each with its exit code and its sentence.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use quorate_harness::{Cluster, wait_for};

fn quorate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

/// Runs a command to its end; its exit code and what it said on stderr.
fn run(config: &Path, words: &[&str]) -> (Option<i32>, String) {
    let output: Output =
        Command::new(quorate()).arg("--config").arg(config).args(words).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_second_process_on_a_directory_ends_with_73_and_names_the_first() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    let (code, text) = run(&cluster.config, &["node", "--id", "1"]);
    assert_eq!(code, Some(73), "{text}");
    assert!(text.contains(&cluster.pid(1).as_raw_nonzero().to_string()), "{text}");
}

#[tokio::test]
async fn the_directory_of_another_node_or_cluster_ends_with_65() {
    let mut cluster = Cluster::start(quorate(), 3, "");
    cluster.leader().await;
    for id in 1..=3 {
        assert_eq!(cluster.stop(id), Some(0));
    }
    let text = std::fs::read_to_string(&cluster.config).unwrap();
    let swapped = text.replace("\"n1\"", "\"x\"").replace("\"n2\"", "\"n1\"");
    std::fs::write(&cluster.config, swapped.replace("\"x\"", "\"n2\"")).unwrap();
    let (code, said) = run(&cluster.config, &["node", "--id", "1"]);
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("belongs to node 2 of cluster \"test\""), "{said}");
    std::fs::write(&cluster.config, text.replace("\"test\"", "\"other\"")).unwrap();
    let (code, said) = run(&cluster.config, &["node", "--id", "1"]);
    assert_eq!(code, Some(65), "{said}");
}

#[tokio::test]
async fn an_empty_disk_under_an_old_id_ends_with_65_and_does_not_vote() {
    let mut cluster = Cluster::start(quorate(), 3, "");
    let leader = cluster.leader().await;
    // Everyone has met everyone.
    wait_for("acquaintance", Duration::from_secs(10), async || {
        let met = |id: u64| {
            let peers = cluster.dir.path().join(format!("n{id}/peers.toml"));
            std::fs::read_to_string(peers).is_ok_and(|text| text.lines().count() == 2)
        };
        (1..=3).all(met).then_some(())
    })
    .await;
    let wiped = (1..=3).find(|id| *id != leader).unwrap();
    cluster.kill(wiped);
    std::fs::remove_dir_all(cluster.dir.path().join(format!("n{wiped}"))).unwrap();
    cluster.start_node(wiped);
    assert_eq!(cluster.wait(wiped), Some(65));
    let log = std::fs::read_to_string(cluster.log_of(wiped)).unwrap();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("comes with another disk"), "{last}");
    assert!(last.contains("quorate member replace"), "{last}");
}

#[tokio::test]
async fn a_log_damaged_in_its_middle_ends_with_76_and_says_where() {
    let mut cluster = Cluster::start(quorate(), 1, "");
    let client = cluster.client().await;
    for number in 0..20u32 {
        client.put(format!("key/{number}"), vec![b'v'; 500]).await.unwrap();
    }
    cluster.kill(1);
    let path = cluster.dir.path().join("n1/log/00000000000000000001.wal");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[7_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (code, text) = run(&cluster.config, &["node", "--id", "1"]);
    assert_eq!(code, Some(76), "{text}");
    assert!(text.contains("is damaged at byte"), "{text}");
    // A log that is gone altogether is no new node, either.
    std::fs::remove_file(&path).unwrap();
    let (code, text) = run(&cluster.config, &["node", "--id", "1"]);
    assert_eq!(code, Some(76), "{text}");
}

#[tokio::test]
async fn a_taken_port_and_a_wrong_file_end_with_78() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    let text = std::fs::read_to_string(&cluster.config).unwrap();
    let other = cluster.dir.path().join("other.toml");
    std::fs::write(&other, text.replace("\"n1\"", "\"elsewhere\"")).unwrap();
    let (code, said) = run(&other, &["node", "--id", "1"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("is taken by another process"), "{said}");
    std::fs::write(&other, text.replace("data_dir", "data_dri")).unwrap();
    let (code, said) = run(&other, &["node", "--id", "1"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("did you mean `data_dir`?"), "{said}");
    let (code, said) = run(&cluster.config, &["node", "--id", "9"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("has no node 9 (it has 1)"), "{said}");
}

#[tokio::test]
async fn a_full_disk_ends_the_node_with_74_and_loses_nothing() {
    // A file-size limit stands in for a full disk: the write fails, the process must end.
    let mut cluster = Cluster::start(quorate(), 1, "");
    cluster.client().await.put("key", "kept").await.unwrap();
    assert_eq!(cluster.stop(1), Some(0));
    let script = format!(
        "trap '' XFSZ; ulimit -f 18600; exec {} --config {} node --id 1",
        quorate().display(),
        cluster.config.display()
    );
    let log = std::fs::File::create(cluster.dir.path().join("limited.log")).unwrap();
    let mut child = Command::new("sh").args(["-c", &script]).stderr(log).spawn().unwrap();
    let client = cluster.client().await;
    let value = vec![b'v'; 500_000];
    let mut failed = false;
    for number in 0..40u32 {
        let op = quorate_core::wire::client::Op::Put(quorate_core::wire::client::Put {
            key: format!("big/{number}").into(),
            value: value.clone().into(),
            ..Default::default()
        });
        if client.call(op, Some(Duration::from_secs(2))).await.is_err() {
            failed = true;
            break;
        }
    }
    assert!(failed, "the limit was not met");
    assert_eq!(child.wait().unwrap().code(), Some(74));
    let log = std::fs::read_to_string(cluster.dir.path().join("limited.log")).unwrap();
    assert!(log.lines().last().is_some_and(|last| last.contains("disk error")), "{log}");
    cluster.start_node(1);
    let read = cluster.client().await.get("key").await.unwrap();
    assert_eq!(read.entry.unwrap().value, "kept");
}

#[tokio::test]
async fn a_replacement_that_was_interrupted_says_how_to_go_on() {
    let cluster = Cluster::start(quorate(), 3, "");
    let leader = cluster.leader().await;
    let id = (1..=3).find(|id| *id != leader).unwrap().to_string();
    wait_for("removal", Duration::from_secs(20), async || {
        let (code, _) = run(&cluster.config, &["member", "remove", &id, "--yes"]);
        (code == Some(0)).then_some(())
    })
    .await;
    let (code, text) = run(&cluster.config, &["member", "replace", &id, "--yes"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("its removal is done"), "{text}");
    let client = &cluster.addresses[&id.parse().unwrap()];
    let line = text.split("quorate member add").nth(1).unwrap_or_default();
    assert!(line.contains(&format!(" {id} --peer ")) && line.contains(client), "{text}");
}
