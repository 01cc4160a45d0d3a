//! `bench` and `fsync` against real clusters: what they claim is what happened. No figure is judged.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use quorate_harness::Cluster;
use serde_json::Value;

fn quorate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

fn run(cluster: &Cluster, words: &str) -> Output {
    let mut command = Command::new(quorate());
    command.arg("--config").arg(&cluster.config).stdin(Stdio::null());
    command.args(words.split_whitespace()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a benchmark of a second prints as JSON, after looking at what must hold for each.
fn bench(cluster: &Cluster, words: &str) -> Value {
    let output = run(cluster, &format!("bench {words} --seconds 1 --warm-up 0 --json"));
    assert_eq!(output.status.code(), Some(0), "{words}: {}", stderr(&output));
    assert_eq!(stderr(&output), "", "{words}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((count(&found, "/failed"), &found["last_error"]), (0, &Value::Null), "{found}");
    assert!(count(&found, "/completed") > 0, "{found}");
    let of = |name: &str| found["latency_ms"][name].as_f64().unwrap();
    let times = ["min", "p50", "p90", "p99", "p999", "max"].map(of);
    assert!(times.is_sorted() && times[0] > 0.0, "{words}: {times:?}");
    let seconds = found["seconds"].as_f64().unwrap();
    let rate = found["per_second"].as_f64().unwrap();
    let completed = found["completed"].as_f64().unwrap();
    assert!(seconds >= 1.0 && (rate * seconds / completed - 1.0).abs() < 1e-6, "{found}");
    let answered: u64 = numbers(&found["per_second_over_time"]).iter().sum();
    assert!(answered <= count(&found, "/completed"), "late answers are in no second: {found}");
    found
}

fn numbers(list: &Value) -> Vec<u64> {
    list.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}

fn count(found: &Value, place: &str) -> u64 {
    found.pointer(place).and_then(Value::as_u64).unwrap_or_else(|| panic!("{place}: {found}"))
}

/// The store's revision once all nodes have applied what there is.
async fn revision(cluster: &Cluster) -> u64 {
    cluster.settled().await;
    cluster.statuses().await.iter().map(|status| status.revision).max().unwrap()
}

#[tokio::test]
async fn what_is_counted_is_what_the_cluster_did() {
    let cluster = Cluster::start(quorate(), 3, "");
    cluster.leader().await;
    let before = revision(&cluster).await;
    let put = bench(&cluster, "put --clients 3 --outstanding 10 --keys 100");
    assert_eq!(revision(&cluster).await - before, count(&put, "/completed"));
    assert_eq!((&put["operation"], count(&put, "/outstanding")), (&"put".into(), 10));
    assert_eq!((count(&put, "/clients"), count(&put, "/value_bytes")), (3, 256));
    // Every node says what it used.
    let servers = put["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 3);
    for server in servers {
        assert!(server["cpu_us_per_operation"].as_f64() > Some(0.0), "{server}");
        assert!(server["resident_bytes"].as_f64() > Some(1e6), "{server}");
    }
    assert!(put["generator"]["cpu_us_per_operation"].as_f64() > Some(0.0), "{put}");
    assert!(put["machine"]["wake_us"].as_f64() > Some(0.0), "{put}");

    let before = revision(&cluster).await;
    let mixed = bench(&cluster, "mixed --reads 30 --prefill --keys 100 --distribution zipf");
    let (reads, writes) = (&mixed["read_latency_ms"], &mixed["write_latency_ms"]);
    assert!(reads["p50"].as_f64() > Some(0.0) && writes["p50"].as_f64() > Some(0.0), "{mixed}");
    let written = revision(&cluster).await - before;
    assert!(written > 100 && written < 100 + count(&mixed, "/completed"), "{written}: {mixed}");
    assert_eq!(count(&mixed, "/not_found"), 0);

    let before = revision(&cluster).await;
    bench(&cluster, "append --value-bytes 3000 --keys 3 --distribution sequential");
    let cas = bench(&cluster, "cas --keys 3");
    assert!(count(&cas, "/conflicts") > 0, "256 at once on three keys: {cas}");
    assert!(revision(&cluster).await > before + 3);
}

#[tokio::test]
async fn reads_change_nothing_and_say_when_they_find_nothing() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    let before = revision(&cluster).await;
    let empty = bench(&cluster, "get --keys 50");
    assert_eq!(count(&empty, "/not_found"), count(&empty, "/completed"));
    let text = stdout(&run(&cluster, "bench get --keys 50 --seconds 1 --warm-up 0"));
    assert!(text.contains("found no key: --prefill writes all keys first"), "{text}");
    assert_eq!(revision(&cluster).await, before);
    for consistency in ["linearizable", "lease", "stale"] {
        let words = format!("get --keys 50 --key-bytes 20 --prefill --consistency {consistency}");
        let full = bench(&cluster, &words);
        assert_eq!((count(&full, "/not_found"), count(&full, "/conflicts")), (0, 0));
        assert_eq!(full["settings"]["consistency"], consistency);
    }
    assert_eq!(revision(&cluster).await, before + 150);
    let last = run(&cluster, "get bench/00000000000049");
    assert_eq!((last.status.code(), last.stdout.len()), (Some(0), 256));
}

#[tokio::test]
async fn an_open_loop_asks_at_its_rate_and_tells_what_it_could_not() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    let before = revision(&cluster).await;
    let open = bench(&cluster, "put --rate 200");
    let unsent = count(&open, "/unfinished/unsent");
    assert_eq!(count(&open, "/completed") + unsent, 200, "{open}");
    assert_eq!(revision(&cluster).await - before, count(&open, "/completed"));
    assert!(open["send_delay_ms"]["p50"].as_f64().is_some(), "{open}");
    let random = bench(&cluster, "get --rate 1000 --arrivals poisson");
    assert!(
        (800..1_200)
            .contains(&(count(&random, "/completed") + count(&random, "/unfinished/unsent"))),
        "{random}"
    );
    // More than any cluster answers, one at a time: the queue grows, and so do the times.
    let much = bench(&cluster, "put --rate 10000000 --clients 1 --outstanding 1");
    assert_eq!(
        count(&much, "/completed") + count(&much, "/unfinished/unsent"),
        10_000_000,
        "{much}"
    );
    assert!(much["latency_ms"]["max"].as_f64() > Some(900.0), "counted from when due: {much}");
}

#[tokio::test]
async fn runs_are_compared_where_they_are_of_one_kind() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    let file = cluster.dir.path().join("old.json");
    let old = bench(&cluster, "put --keys 100");
    std::fs::write(&file, old.to_string()).unwrap();
    let compare = format!("--keys 100 --compare {}", file.display());
    let new = bench(&cluster, &format!("put {compare}"));
    let rate = &new["compared"]["per_second"];
    assert_eq!((&rate["old"], &rate["new"]), (&old["per_second"], &new["per_second"]));
    let text = stdout(&run(&cluster, &format!("bench put --seconds 1 {compare}")));
    for word in ["put  ", "latency", "over time", "machine", "servers", "generator", "compared"] {
        assert!(text.lines().any(|line| line.starts_with(word)), "no {word}: {text}");
    }
    let other = run(&cluster, &format!("bench get {compare}"));
    assert_eq!(other.status.code(), Some(2));
    assert!(stderr(&other).contains("operation was put and is get"), "{}", stderr(&other));
    std::fs::write(&file, "{}").unwrap();
    let wrong = run(&cluster, &format!("bench put {compare}"));
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("is not what `bench --json` prints"), "{}", stderr(&wrong));
    let missing = run(&cluster, "bench put --compare nowhere.json");
    assert_eq!(missing.status.code(), Some(74), "{}", stderr(&missing));
}

#[tokio::test]
async fn what_cannot_be_measured_is_said_in_a_sentence() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    for words in [
        "put --clients 0",
        "put --clients 9 --outstanding 8",
        "put --rate 0",
        "mixed --reads 101",
        "put --seconds 18446744073709551615",
        "put --keys 18446744073709551615",
        "put --value-bytes 18446744073709551615",
        "put --value-bytes 1048577",
        "put --key-bytes 18446744073709551615",
    ] {
        let output = run(&cluster, &format!("bench {words}"));
        assert_eq!(output.status.code(), Some(2), "{words}: {}", stderr(&output));
        let said = stderr(&output);
        let flag = words.split_whitespace().find(|word| word.starts_with("--")).unwrap();
        assert!(said.starts_with("quorate: --") && said.lines().count() == 1, "{words}: {said}");
        assert!(flag == "--clients" || said.contains(flag), "{words}: {said}");
    }
    let away = run(&cluster, "--endpoints 127.0.0.1:1 --timeout-ms 300 bench put --seconds 1");
    assert_eq!(away.status.code(), Some(69), "{}", stderr(&away));
}

#[tokio::test]
async fn nodes_without_metrics_are_unknown() {
    let cluster = Cluster::start(quorate(), 1, "[metrics]\nenabled = false\n");
    cluster.leader().await;
    let put = bench(&cluster, "put");
    assert_eq!(put["servers"][0]["cpu_seconds"], Value::Null, "{put}");
    let text = stdout(&run(&cluster, "bench put --seconds 1 --warm-up 0 --fsync-in nowhere"));
    assert!(text.contains("n1 unknown") && text.contains("nothing is known: nowhere"), "{text}");
}

#[test]
fn a_disk_is_judged_and_a_directory_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let fsync = |words: &[&str]| {
        Command::new(quorate()).arg("fsync").arg(dir.path()).args(words).output().unwrap()
    };
    let output = fsync(&["--count", "100", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (zeros, fresh) = (&found["zero_filled_ms"], &found["fresh_ms"]);
    assert!(count(zeros, "/syncs") > 0 && count(fresh, "/syncs") > 0, "{found}");
    let suitable = found["suitable"].as_bool().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!suitable)), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let text = fsync(&["--count", "100"]);
    assert!(format!("{}{}", stdout(&text), stderr(&text)).contains("suitable: "));
    assert_eq!(fsync(&["--count", "0"]).status.code(), Some(2));
    let nowhere = Command::new(quorate()).args(["fsync", "nowhere"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(74), "{}", stderr(&nowhere));
    assert!(stderr(&nowhere).contains("nowhere"), "{}", stderr(&nowhere));
}
