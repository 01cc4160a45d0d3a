//! The command line as scripts see it: outputs, exit codes, bytes that are no text, and a
//! catalogue imported through failovers.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use quorate_harness::Cluster;
use serde_json::Value;

fn quorate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

fn start(config: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(quorate());
    command.arg("--config").arg(config).args(words).stdin(Stdio::null());
    command
}

fn run(cluster: &Cluster, words: &[&str]) -> Output {
    start(&cluster.config, words).output().unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn each_verb_prints_its_result_and_sets_its_code() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    let put = run(&cluster, &["put", "config/limit", "10", "--json"]);
    assert_eq!(code(&put), Some(0), "{}", stderr(&put));
    let put: Value = serde_json::from_slice(&put.stdout).unwrap();
    assert_eq!(put["revision"], 2);
    let get = run(&cluster, &["get", "config/limit"]);
    assert_eq!((code(&get), stdout(&get).as_str()), (Some(0), "10"));
    let get = run(&cluster, &["get", "config/limit", "-o", "json"]);
    let get: Value = serde_json::from_slice(&get.stdout).unwrap();
    assert_eq!(
        (&get["key"], &get["value"], &get["version"]),
        (&"config/limit".into(), &"10".into(), &1.into())
    );
    let missing = run(&cluster, &["get", "nothing"]);
    assert_eq!(code(&missing), Some(1));
    assert_eq!(stderr(&missing), "quorate: no key \"nothing\" (revision 2)\n");
    assert_eq!(code(&run(&cluster, &["get", "--exists", "nothing"])), Some(1));
    assert_eq!(stdout(&run(&cluster, &["append", "config/limit", "0"])), "3\n");
    assert_eq!(stdout(&run(&cluster, &["incr", "config/limit", "-99"])), "1\n");
    let lost = run(&cluster, &["cas", "config/limit", "--expect", "9", "11"]);
    assert_eq!(code(&lost), Some(1));
    assert!(
        stderr(&lost).contains("not swapped: config/limit is \"1\" (mod_revision 4)"),
        "{}",
        stderr(&lost)
    );
    assert_eq!(code(&run(&cluster, &["cas", "config/limit", "--expect", "1", "11"])), Some(0));
    let number = run(&cluster, &["put", "word", "abc"]);
    assert_eq!(code(&number), Some(0));
    let wrong = run(&cluster, &["incr", "word", "--json"]);
    assert_eq!(code(&wrong), Some(2));
    let wrong: Value = serde_json::from_slice(&wrong.stderr).unwrap();
    assert_eq!(wrong["error"]["code"], "bad_request");
    assert_eq!(stdout(&run(&cluster, &["del", "word", "config/limit"])), "2\n");
    assert_eq!(code(&run(&cluster, &["del", "word"])), Some(1));
}

#[tokio::test]
async fn bytes_that_are_no_text_go_in_and_out_unharmed() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    let bytes: Vec<u8> = (0..=255).collect();
    let mut put = start(&cluster.config, &["put", r"\x00\xff", "-", "--escaped"]);
    let mut put = put.stdin(Stdio::piped()).spawn().unwrap();
    put.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(put.wait().unwrap().success());
    let get = run(&cluster, &["get", "--escaped", r"\x00\xff"]);
    assert_eq!(get.stdout, bytes);
    let get = run(&cluster, &["get", "--escaped", r"\x00\xff", "--json"]);
    let get: Value = serde_json::from_slice(&get.stdout).unwrap();
    assert_eq!(get["key_base64"], "AP8=");
    assert!(get.get("value").is_none() && get.get("value_base64").is_some());
}

#[tokio::test]
async fn wrong_usage_is_two_lines_and_2_and_nobody_there_is_69() {
    let cluster = Cluster::start(quorate(), 1, "");
    let wrong = run(&cluster, &["pot", "a", "b"]);
    assert_eq!(code(&wrong), Some(2));
    assert_eq!(stderr(&wrong).lines().count(), 2, "{}", stderr(&wrong));
    assert!(stderr(&wrong).contains("put"), "{}", stderr(&wrong));
    let away =
        run(&cluster, &["--endpoints", "127.0.0.1:1", "--timeout-ms", "300", "put", "a", "b"]);
    assert_eq!(code(&away), Some(69), "{}", stderr(&away));
    assert!(stderr(&away).contains("Nothing was done"), "{}", stderr(&away));
    let status = run(&cluster, &["--endpoints", "127.0.0.1:1", "status"]);
    assert_eq!(code(&status), Some(69));
}

/// A catalogue much like a distribution's: names, descriptions of all lengths, some not ASCII.
fn catalogue(records: usize) -> String {
    let mut text = String::new();
    for number in 0..records {
        let words = "a package that does what packages do, ü, ".repeat(number % 40);
        let value = format!("Package: p{number}\nDescription: {words}");
        let line = serde_json::json!({"key": format!("pkg/p{number:06}"), "value": value});
        text.push_str(&line.to_string());
        text.push('\n');
    }
    text
}

#[tokio::test]
async fn an_import_through_two_killed_leaders_is_complete_and_exactly_once() {
    let mut cluster = Cluster::start(quorate(), 3, "");
    cluster.leader().await;
    let file = cluster.dir.path().join("catalogue.jsonl");
    std::fs::write(&file, catalogue(12_000)).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let import = start(&cluster.config, &["import", &file, "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut before = 0;
    for _ in 0..2 {
        let leader = cluster.leader().await;
        quorate_harness::wait_for("progress", std::time::Duration::from_secs(30), async || {
            let revision = cluster.status(leader).await?.revision;
            (revision > before + 800).then(|| before = revision)
        })
        .await;
        cluster.kill(leader);
        cluster.leader().await;
        cluster.start_node(leader);
    }
    let output = import.wait_with_output().unwrap();
    assert!(output.status.success());
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["records"], 12_000);
    let verify = run(&cluster, &["verify", &file, "--exactly-once", "--json"]);
    assert_eq!(code(&verify), Some(0), "{}{}", stdout(&verify), stderr(&verify));
    let (_, hash) = cluster.settled().await;
    assert!(!hash.is_empty());
    let export = run(&cluster, &["export", "pkg/"]);
    assert_eq!(stdout(&export).lines().count(), 12_000);
    let copy = cluster.dir.path().join("copy.jsonl");
    std::fs::write(&copy, &export.stdout).unwrap();
    let again = run(&cluster, &["verify", copy.to_str().unwrap()]);
    assert_eq!(code(&again), Some(0), "{}", stderr(&again));
}

#[tokio::test]
async fn verify_finds_what_is_missing_different_or_written_twice() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    let file = cluster.dir.path().join("records.tsv");
    std::fs::write(&file, "a\t1\nb\t2\nc\t3\n").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(code(&run(&cluster, &["import", file])), Some(0));
    assert_eq!(code(&run(&cluster, &["verify", file, "--exactly-once"])), Some(0));
    run(&cluster, &["put", "a", "other"]);
    run(&cluster, &["del", "b"]);
    run(&cluster, &["put", "c", "3"]);
    let verify = run(&cluster, &["verify", file, "--exactly-once"]);
    assert_eq!(code(&verify), Some(1));
    let text = stderr(&verify);
    assert!(text.contains("1 missing, 1 different, 2 not written as often"), "{text}");
}
