//! `bench` and `fsync` against a real cluster: what they claim is what happened.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use quorate_harness::Cluster;
use serde_json::Value;

fn run(cluster: &Cluster, words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.arg("--config").arg(&cluster.config).stdin(Stdio::null());
    command.args(words.split_whitespace()).output().unwrap()
}

/// What a benchmark of a second printed as JSON.
fn measured(cluster: &Cluster, words: &str) -> Value {
    let done = run(cluster, &format!("bench {words} --seconds 1 --json"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{words}: {said}");
    let found: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&found["failed"], &found["seconds"]), (&0.into(), &1.into()), "{words}");
    let of = |name: &str| found["latency_ms"][name].as_f64().unwrap();
    let times = ["min", "p50", "p90", "p99", "p999", "max"].map(of);
    assert!(times.is_sorted() && times[0] > 0.0, "{words}: {times:?}");
    found
}

fn count(found: &Value, name: &str) -> u64 {
    found[name].as_u64().unwrap()
}

async fn revision(cluster: &Cluster) -> u64 {
    cluster.statuses().await.iter().map(|status| status.revision).max().unwrap()
}

#[tokio::test]
async fn what_a_benchmark_counts_is_what_the_cluster_did() {
    let cluster = Cluster::start(Path::new(env!("CARGO_BIN_EXE_quorate")), 3, "");
    cluster.leader().await;
    let before = revision(&cluster).await;
    let put = measured(&cluster, "put --warm-up 0 --clients 3 --outstanding 10 --keys 100");
    assert_eq!(revision(&cluster).await - before, count(&put, "completed"));
    assert_eq!(put["operation"], "put");
    let sum: f64 = put["rates"].as_array().unwrap().iter().map(|rate| rate.as_f64().unwrap()).sum();
    let counted = sum * put["rates_every_ms"].as_f64().unwrap() / 1e3;
    assert!(counted <= put["completed"].as_f64().unwrap() && counted > 0.0, "{put}");
    // Each node says what it used.
    let servers = put["servers"].as_array().unwrap();
    assert!(
        servers.len() == 3
            && servers.iter().all(|node| node["resident_bytes"].as_f64() > Some(1e6)),
        "{put}"
    );
    assert!(put["servers_cpu_us"].as_f64() > Some(0.0), "{put}");

    // Reads find what was written first, and write nothing themselves.
    let before = revision(&cluster).await;
    let get = measured(&cluster, "get --keys 50 --key-bytes 8 --distribution zipf");
    assert_eq!(
        (revision(&cluster).await - before, &get["consistency"]),
        (50, &"linearizable".into())
    );
    let found = run(&cluster, "get bench/49");
    assert_eq!((found.status.code(), found.stdout.len()), (Some(0), 256));
    measured(&cluster, "get --keys 50 --consistency stale --no-fill");

    let mixed = measured(&cluster, "mixed --reads 50 --keys 50");
    assert!(mixed["reads_latency_ms"]["p50"].as_f64() > Some(0.0), "{mixed}");
    assert!(mixed["writes_latency_ms"]["p50"].as_f64() > Some(0.0), "{mixed}");
    measured(&cluster, "append --keys 50 --value-bytes 3");
    assert_eq!(count(&measured(&cluster, "cas --keys 500 --value-bytes 9"), "conflicts"), 0);
}

#[tokio::test]
async fn an_open_loop_asks_at_its_rate_and_says_what_found_no_room() {
    let cluster = Cluster::start(Path::new(env!("CARGO_BIN_EXE_quorate")), 1, "");
    cluster.leader().await;
    let open = measured(&cluster, "put --rate 200 --warm-up 1");
    assert_eq!(count(&open, "completed") + count(&open, "unsent"), 200, "{open}");
    // No cluster on this machine takes a billion a second.
    let much = measured(&cluster, "put --rate 100000000 --clients 1 --outstanding 1 --warm-up 0");
    assert!(count(&much, "unsent") > 1_000_000, "{much}");
    // A request counts from when it was due, so the last ones waited for nearly the whole second.
    assert!(much["latency_ms"]["max"].as_f64() > Some(500.0), "{much}");
}

#[tokio::test]
async fn two_runs_are_compared_only_where_they_are_alike() {
    let cluster = Cluster::start(Path::new(env!("CARGO_BIN_EXE_quorate")), 1, "");
    cluster.leader().await;
    let old = measured(&cluster, "put --warm-up 0");
    let file = cluster.dir.path().join("old.json");
    std::fs::write(&file, old.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let again = measured(&cluster, &format!("put --warm-up 0 --compare {file}"));
    let first = &again["compared"][0];
    assert_eq!((&first["figure"], &first["before"]), (&"rate".into(), &old["per_second"]));
    let text = run(&cluster, &format!("bench put --warm-up 0 --seconds 1 --compare {file}"));
    let text = String::from_utf8(text.stdout).unwrap();
    for word in ["put  ", "latency ms", "rate  ", "servers", "machine", "compared"] {
        assert!(text.contains(word), "no {word:?}: {text}");
    }
    let other = run(&cluster, &format!("bench put --clients 2 --seconds 1 --compare {file}"));
    let said = String::from_utf8(other.stderr).unwrap();
    assert_eq!(other.status.code(), Some(2), "{said}");
    assert!(said.contains("clients was 4 and is 2"), "{said}");
    let none = run(&cluster, "bench put --compare /nonexistent.json");
    assert_eq!(none.status.code(), Some(74));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_what_would() {
    let cluster = Cluster::start(Path::new(env!("CARGO_BIN_EXE_quorate")), 1, "");
    for (words, says) in [
        ("put --clients 0", "at least 1"),
        ("put --outstanding 3", "less than --clients"),
        ("put --rate 0", "at least 1 a second"),
        ("mixed --reads 101", "0 to 100"),
        ("put --keys 1000 --key-bytes 2", "at least 3"),
        ("put --seconds 100000", "a day"),
    ] {
        let refused = run(&cluster, &format!("bench {words}"));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{words}: {said}");
        assert!(said.contains(says), "{words}: {said}");
    }
}

#[tokio::test]
async fn a_disk_is_measured_without_a_cluster() {
    let cluster = Cluster::start(Path::new(env!("CARGO_BIN_EXE_quorate")), 1, "");
    let dir = cluster.dir.path().to_str().unwrap();
    let found = run(&cluster, &format!("fsync {dir} --writes 20 --json"));
    let said: Value = serde_json::from_slice(&found.stdout).unwrap();
    let suitable = said["suitable"].as_bool().unwrap();
    assert_eq!(found.status.code(), Some(i32::from(!suitable)), "{said}");
    assert_eq!(suitable, said["zeros_ms"]["p99"].as_f64().unwrap() <= 10.0, "{said}");
    let text =
        String::from_utf8(run(&cluster, &format!("fsync {dir} --writes 20")).stdout).unwrap();
    assert!(text.contains("PASS") || text.contains("FAIL"), "{text}");
    let nowhere = run(&cluster, "fsync /nonexistent");
    assert_eq!(nowhere.status.code(), Some(74));
}
