//! Loads by `quorate bench`, as users measure, and what it says of them.

use std::process::Stdio;

use quorate_harness::Cluster;
use serde_json::Value;
use tokio::process::Command;

use crate::quorate;

/// What a load came to.
pub(crate) struct Measured(Value);

impl Measured {
    fn number(&self, place: &str) -> f64 {
        self.0
            .pointer(place)
            .and_then(Value::as_f64)
            .unwrap_or_else(|| panic!("{place}: {}", self.0))
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.number("/per_second")
    }

    /// The time that so many percent of the requests took no longer than, in milliseconds.
    pub(crate) fn latency(&self, percentile: &str) -> f64 {
        self.number(&format!("/latency_ms/{percentile}"))
    }

    /// Memory of the largest node at the end, in MiB.
    pub(crate) fn memory(&self) -> f64 {
        let servers = self.0["servers"].as_array().into_iter().flatten();
        let bytes = servers.filter_map(|server| server["resident_bytes"].as_f64());
        bytes.fold(0.0, f64::max) / f64::from(1 << 20)
    }

    /// Processor time of all nodes for a request, in microseconds.
    pub(crate) fn micros(&self) -> f64 {
        let servers = self.0["servers"].as_array().into_iter().flatten();
        servers.filter_map(|server| server["cpu_us_per_operation"].as_f64()).sum()
    }

    /// Requests a second in each second of the load.
    pub(crate) fn each_second(&self) -> Vec<u64> {
        let all = self.0["per_second_over_time"].as_array().into_iter().flatten();
        all.filter_map(Value::as_u64).collect()
    }
}

/// Runs `quorate bench WORDS` against a cluster.
///
/// # Panics
/// When a request fails.
pub(crate) async fn bench(cluster: &Cluster, words: &str) -> Measured {
    let mut command = Command::new(quorate());
    command.args(["bench", "--json", "--endpoints", &cluster.endpoints().join(",")]);
    let output = command.args(words.split(' ')).stdin(Stdio::null()).output().await;
    let output = output.expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["failed"], 0, "{found}");
    Measured(found)
}
