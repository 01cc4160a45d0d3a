//! What the servers used meanwhile, as their metrics tell.

use std::time::Duration;

use serde_json::{Value, json};

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a node said at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Reading {
    cpu_seconds: f64,
    resident_bytes: f64,
}

/// What all nodes said at a moment; `None` for one that said nothing.
#[derive(Clone, Debug)]
pub(super) struct Readings(Vec<(String, Option<Reading>)>);

impl Readings {
    /// Asks all of them.
    pub(super) async fn take(nodes: &[String]) -> Self {
        let mut readings = Vec::new();
        for node in nodes {
            let address = node.clone();
            let asked = tokio::task::spawn_blocking(move || ask(&address)).await;
            readings.push((node.clone(), asked.ok().flatten()));
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
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line?.trim().parse().ok()
    };
    let cpu_seconds = value("process_cpu_seconds_total")?;
    Some(Reading { cpu_seconds, resident_bytes: value("process_resident_memory_bytes")? })
}

/// What the nodes used between two moments.
#[derive(Clone, Debug, Default)]
pub(super) struct Servers(pub(super) Vec<(String, Option<Used>)>);

/// What one node used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Used {
    pub(super) cpu_seconds: f64,
    /// At the end.
    pub(super) resident_bytes: f64,
}

impl Servers {
    pub(super) fn between(before: Option<&Readings>, after: &Readings) -> Self {
        let at = |node: &str| before?.0.iter().find(|(other, _)| other == node)?.1;
        let used = |(node, after): &(String, Option<Reading>)| {
            let used = at(node).zip(*after).map(|(before, after)| Used {
                cpu_seconds: after.cpu_seconds - before.cpu_seconds,
                resident_bytes: after.resident_bytes,
            });
            // One that was started anew meanwhile has counted from zero.
            (node.clone(), used.filter(|used| used.cpu_seconds >= 0.0))
        };
        Self(after.0.iter().map(used).collect())
    }

    /// The processor time of all nodes; `None` where one of them did not say.
    pub(super) fn cpu_seconds(&self) -> Option<f64> {
        let all = self.0.iter().map(|(_, used)| used.map(|used| used.cpu_seconds));
        all.sum::<Option<f64>>().filter(|_| !self.0.is_empty())
    }

    pub(super) fn json(&self) -> Value {
        let node = |(address, used): &(String, Option<Used>)| {
            json!({
                "address": address,
                "cpu_seconds": used.map(|used| used.cpu_seconds),
                "resident_bytes": used.map(|used| used.resident_bytes),
            })
        };
        self.0.iter().map(node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE process_cpu_seconds counter\n# HELP process_cpu_seconds x.\n\
                        process_cpu_seconds_total 1.5\nprocess_resident_memory_bytes 4096\n# EOF\n";

    #[test]
    fn metrics_are_read() {
        let expected = Reading { cpu_seconds: 1.5, resident_bytes: 4_096.0 };
        assert_eq!(read(TEXT), Some(expected));
        assert_eq!(read("process_cpu_seconds_total 1.5\n"), None);
    }

    #[test]
    fn a_node_that_says_nothing_leaves_the_sum_open() {
        let one = |cpu_seconds| Some(Reading { cpu_seconds, resident_bytes: 1.0 });
        let before = Readings(vec![("a".into(), one(1.0)), ("b".into(), one(2.0))]);
        let after = Readings(vec![("a".into(), one(4.0)), ("b".into(), one(2.5))]);
        assert_eq!(Servers::between(Some(&before), &after).cpu_seconds(), Some(3.5));
        let silent = Readings(vec![("a".into(), one(4.0)), ("b".into(), None)]);
        assert_eq!(Servers::between(Some(&before), &silent).cpu_seconds(), None);
        let again = Readings(vec![("a".into(), one(0.1)), ("b".into(), one(2.5))]);
        assert_eq!(Servers::between(Some(&before), &again).cpu_seconds(), None);
        assert_eq!(Servers::between(None, &after).cpu_seconds(), None);
    }
}
