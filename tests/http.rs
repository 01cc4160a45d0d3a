//! The HTTP interface as curl sees it.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use quorate_harness::Cluster;
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

fn quorate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

/// Every status is an answer; redirects are followed only where asked.
fn agent(redirects: u32) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(redirects)
        .max_redirects_will_error(false)
        .timeout_global(Some(Duration::from_secs(10)));
    config.build().into()
}

fn json(mut response: Response<Body>) -> Value {
    serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap()
}

fn header(response: &Response<Body>, name: &str) -> String {
    response.headers().get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn keys_are_written_and_read_with_their_numbers() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    let base = format!("http://{}/v1/kv", cluster.addresses[&1]);
    let http = agent(0);
    let missing = http.get(format!("{base}/a")).call().unwrap();
    assert_eq!(missing.status(), 404);
    assert_eq!(json(missing)["code"], "not_found");
    let put = http.put(format!("{base}/a")).send("one").unwrap();
    assert_eq!((put.status().as_u16(), json(put)["revision"].clone()), (200, 2.into()));
    let mut get = http.get(format!("{base}/a")).call().unwrap();
    assert_eq!(
        (header(&get, "X-Mod-Revision"), header(&get, "X-Version")),
        ("2".into(), "1".into())
    );
    assert_eq!(get.body_mut().read_to_string().unwrap(), "one");
    let append = http.post(format!("{base}/a?op=append")).send(" two").unwrap();
    assert_eq!(json(append)["length"], 7);
    // The condition holds, and then it does not.
    let swap = http.put(format!("{base}/a?if_mod_revision=3")).send("three").unwrap();
    assert_eq!(swap.status(), 200);
    let lost = http.put(format!("{base}/a?if_mod_revision=3")).send("four").unwrap();
    assert_eq!(lost.status(), 412);
    assert_eq!(http.put(format!("{base}/new?if_mod_revision=0")).send("x").unwrap().status(), 200);
    assert_eq!(http.put(format!("{base}/new?if_mod_revision=0")).send("x").unwrap().status(), 412);
    // A key of any bytes.
    assert_eq!(http.put(format!("{base}/%00%ff%2F")).send("raw").unwrap().status(), 200);
    let mut raw = http.get(format!("{base}/%00%ff%2f")).call().unwrap();
    assert_eq!(raw.body_mut().read_to_string().unwrap(), "raw");
    let delete = http.delete(format!("{base}/a")).call().unwrap();
    assert_eq!(json(delete)["deleted"], 1);
    let wrong = http.put(format!("{base}/a?if_mod_revision=x")).send("").unwrap();
    assert_eq!((wrong.status().as_u16(), json(wrong)["code"].clone()), (400, "bad_request".into()));
    let large = http.put(format!("{base}/a")).send(&vec![0u8; (1 << 20) + 1][..]).unwrap();
    assert_eq!((large.status().as_u16(), json(large)["code"].clone()), (413, "too_large".into()));
}

#[tokio::test]
async fn an_idempotency_key_makes_a_write_happen_once() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    let base = format!("http://{}", cluster.addresses[&1]);
    let http = agent(0);
    let session = json(http.post(format!("{base}/v1/session")).send_empty().unwrap());
    let session = session["session"].as_u64().unwrap();
    let append = |id: u64| {
        let request = http.post(format!("{base}/v1/kv/log?op=append"));
        json(request.header("Idempotency-Key", format!("{session}/{id}")).send("x").unwrap())
    };
    let first = append(1);
    assert_eq!(append(1), first, "a retry gives the first reply");
    assert_eq!(append(2)["length"], 2);
    let wrong = http.put(format!("{base}/v1/kv/a")).header("Idempotency-Key", "nonsense");
    assert_eq!(wrong.send("x").unwrap().status(), 400);
    let gone = http.put(format!("{base}/v1/kv/a")).header("Idempotency-Key", "999999/1");
    assert_eq!(gone.send("x").unwrap().status(), 410);
}

#[tokio::test]
async fn a_follower_redirects_and_pages_follow_each_other() {
    let cluster = Cluster::start(quorate(), 3, "");
    let leader = cluster.leader().await;
    let follower = *cluster.addresses.keys().find(|id| **id != leader).unwrap();
    let base = format!("http://{}/v1/kv", cluster.addresses[&follower]);
    quorate_harness::wait_for(
        "a leader known to the follower",
        Duration::from_secs(5),
        async || cluster.status(follower).await?.leader.map(|_| ()),
    )
    .await;
    let away = agent(0).put(format!("{base}/a%2Fb?x=1")).send("x").unwrap();
    assert_eq!(away.status(), 307);
    let there = format!("http://{}/v1/kv/a%2Fb?x=1", cluster.addresses[&leader]);
    assert_eq!(header(&away, "Location"), there);
    let direct = format!("http://{}/v1/kv", cluster.addresses[&leader]);
    for number in 0..25 {
        let put = agent(0).put(format!("{direct}/page%2F{number:02}")).send("v").unwrap();
        assert_eq!(put.status(), 200);
    }
    let (mut keys, mut after) = (Vec::new(), String::new());
    loop {
        let url = format!("{base}?prefix=page%2F&limit=10{after}");
        let page = json(agent(3).get(url).call().unwrap());
        for entry in page["entries"].as_array().unwrap() {
            keys.push(entry["key"].as_str().unwrap().to_owned());
        }
        if page["more"] != true {
            break;
        }
        after = format!("&after={}", keys.last().unwrap().replace('/', "%2F"));
    }
    assert_eq!(keys.len(), 25);
    assert!(keys.is_sorted());
}

#[tokio::test]
async fn health_readiness_status_and_metrics_answer() {
    let mut cluster = Cluster::start(quorate(), 3, "");
    let leader = cluster.leader().await;
    let base = format!("http://{}", cluster.addresses[&leader]);
    let http = agent(0);
    assert_eq!(http.get(format!("{base}/healthz")).call().unwrap().status(), 200);
    // A leader is ready once it has committed in its term.
    quorate_harness::wait_for("ready", Duration::from_secs(10), async || {
        let ready = http.get(format!("{base}/readyz")).call().unwrap();
        (ready.status() == 200).then_some(())
    })
    .await;
    let status = json(http.get(format!("{base}/v1/status")).call().unwrap());
    assert_eq!(
        (status["role"].clone(), status["peers"].as_array().unwrap().len()),
        ("leader".into(), 2)
    );
    let mut metrics = http.get(format!("{base}/metrics")).call().unwrap();
    let text = metrics.body_mut().read_to_string().unwrap();
    for name in [
        "quorate_raft_is_leader 1",
        "quorate_log_syncs_total",
        "quorate_log_sync_duration_seconds_bucket",
        "\nprocess_cpu_seconds_total 0.",
        "\nprocess_resident_memory_bytes ",
        "\nprocess_open_fds ",
    ] {
        assert!(text.contains(name), "{name} in {text}");
    }
    // Without a quorum it is alive, and not ready.
    for other in (1..=3).filter(|id| *id != leader) {
        cluster.kill(other);
    }
    quorate_harness::wait_for("not ready", Duration::from_secs(10), async || {
        let ready = http.get(format!("{base}/readyz")).call().unwrap();
        (ready.status() == 503).then_some(())
    })
    .await;
    assert_eq!(http.get(format!("{base}/healthz")).call().unwrap().status(), 200);
    let refused = http.put(format!("{base}/v1/kv/a")).send("x").unwrap();
    assert_eq!((refused.status().as_u16(), header(&refused, "Retry-After")), (503, "1".into()));
    assert_eq!(json(refused)["code"], "no_leader");
}

#[tokio::test]
async fn an_export_of_large_values_comes_in_pages_that_a_node_can_bear() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    let base = format!("http://{}/v1/kv", cluster.addresses[&1]);
    let value = vec![b'v'; 1 << 20];
    for number in 0..30 {
        let put = agent(0).put(format!("{base}/large%2F{number:02}")).send(&value[..]).unwrap();
        assert_eq!(put.status(), 200);
    }
    let page = json(agent(0).get(format!("{base}?prefix=large%2F")).call().unwrap());
    assert_eq!((page["entries"].as_array().map(Vec::len), &page["more"]), (Some(1), &true.into()));
    let export = std::process::Command::new(quorate())
        .args(["--endpoints", &cluster.addresses[&1], "export", "large/"])
        .output()
        .unwrap();
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    assert_eq!(
        export.stdout.split(|byte| *byte == b'\n').filter(|l| l.len() > 1 << 20).count(),
        30
    );
}
