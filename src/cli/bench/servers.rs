//! What the nodes used while they were measured, as their `/metrics` tell. A node that does not say is
//! unknown, and no failure.

use std::time::Duration;

use quorate_client::MemberInfo;
use serde_json::{Value, json};

use super::record::float;

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a node said at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Reading {
    cpu_seconds: f64,
    resident_bytes: Option<f64>,
}

/// What all nodes said at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Readings(Vec<(u64, String, Option<Reading>)>);

impl Readings {
    /// Asks all members, at once.
    pub(super) async fn take(members: &[MemberInfo]) -> Self {
        let ask = |member: &MemberInfo| {
            let address = member.client.clone();
            tokio::task::spawn_blocking(move || ask(&address))
        };
        let asked: Vec<_> = members.iter().map(ask).collect();
        let mut readings = Vec::new();
        for (member, answer) in members.iter().zip(asked) {
            let reading = answer.await.ok().flatten();
            readings.push((member.id.0, member.client.clone(), reading));
        }
        Self(readings)
    }
}

fn ask(address: &str) -> Option<Reading> {
    let request = ureq::get(format!("http://{address}/metrics")).config();
    let mut answer = request.timeout_global(Some(PATIENCE)).build().call().ok()?;
    read(&answer.body_mut().read_to_string().ok()?)
}

fn read(text: &str) -> Option<Reading> {
    let value = |name: &str| -> Option<f64> {
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse().ok()
    };
    let cpu_seconds = value("process_cpu_seconds_total")?;
    Some(Reading { cpu_seconds, resident_bytes: value("process_resident_memory_bytes") })
}

/// What one node used, if it is known.
#[derive(Clone, Debug)]
struct Used {
    node: u64,
    address: String,
    cpu_seconds: Option<f64>,
    /// At the end.
    resident_bytes: Option<f64>,
}

/// What the nodes used between two moments.
#[derive(Clone, Debug)]
pub(super) struct Servers {
    nodes: Vec<Used>,
    /// How many requests were answered meanwhile.
    requests: u64,
}

impl Servers {
    pub(super) fn between(before: &Readings, after: &Readings, requests: u64) -> Self {
        let cpu_before = |node: u64| {
            let found = before.0.iter().find(|(other, _, _)| *other == node);
            Some(found?.2?.cpu_seconds)
        };
        let used = |(node, address, now): &(u64, String, Option<Reading>)| {
            let cpu = cpu_before(*node).zip(*now).map(|(before, now)| now.cpu_seconds - before);
            Used {
                node: *node,
                address: address.clone(),
                // One that was started anew meanwhile has counted from zero.
                cpu_seconds: cpu.filter(|seconds| *seconds >= 0.0),
                resident_bytes: now.and_then(|now| now.resident_bytes),
            }
        };
        Self { nodes: after.0.iter().map(used).collect(), requests }
    }

    fn micros(&self, cpu_seconds: Option<f64>) -> Option<f64> {
        Some(cpu_seconds? * 1e6 / float(self.requests)).filter(|micros| micros.is_finite())
    }

    pub(super) fn json(&self) -> Value {
        let node = |used: &Used| {
            json!({
                "node": used.node, "address": used.address, "cpu_seconds": used.cpu_seconds,
                "cpu_us_per_operation": self.micros(used.cpu_seconds),
                "resident_bytes": used.resident_bytes,
            })
        };
        self.nodes.iter().map(node).collect()
    }

    pub(super) fn line(&self) -> String {
        if self.nodes.is_empty() {
            return "unknown".to_owned();
        }
        let node = |used: &Used| {
            let Some(cpu) = used.cpu_seconds else { return format!("n{} unknown", used.node) };
            let each =
                self.micros(Some(cpu)).map_or(String::new(), |us| format!(" ({us:.1} us each)"));
            let memory = used
                .resident_bytes
                .map_or(String::new(), |bytes| format!(", {:.0} MiB", bytes / 1_048_576.0));
            format!("n{} {cpu:.2} s CPU{each}{memory}", used.node)
        };
        self.nodes.iter().map(node).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE process_cpu_seconds counter\n# HELP process_cpu_seconds x.\n\
                        process_cpu_seconds_total 1.5\nprocess_resident_memory_bytes 4096\n# EOF\n";

    fn readings(cpu: &[Option<f64>]) -> Readings {
        let reading = |cpu_seconds| Reading { cpu_seconds, resident_bytes: Some(1_048_576.0) };
        let node = |(id, cpu): (u64, &Option<f64>)| (id, format!("h:{id}"), cpu.map(reading));
        Readings((1..).zip(cpu).map(node).collect())
    }

    #[test]
    fn metrics_are_read() {
        let expected = Reading { cpu_seconds: 1.5, resident_bytes: Some(4_096.0) };
        assert_eq!(read(TEXT), Some(expected));
        assert_eq!(read("quorate_store_keys 1\n"), None);
    }

    #[test]
    fn a_node_is_unknown_that_did_not_say_or_began_anew() {
        let before = readings(&[Some(1.0), Some(2.0), None, Some(9.0)]);
        let after = readings(&[Some(4.0), None, Some(1.0), Some(0.5)]);
        let servers = Servers::between(&before, &after, 1_000_000);
        assert_eq!(
            servers.line(),
            "n1 3.00 s CPU (3.0 us each), 1 MiB; n2 unknown; n3 unknown; n4 unknown"
        );
        let json = servers.json();
        assert_eq!(
            (&json[0]["cpu_us_per_operation"], &json[1]["cpu_seconds"]),
            (&3.0.into(), &Value::Null)
        );
        let none = Servers::between(&before, &after, 0);
        assert_eq!(none.json()[0]["cpu_us_per_operation"], Value::Null);
    }
}
