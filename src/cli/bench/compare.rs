//! `--compare`: this run beside an earlier one of the same kind.

use std::path::Path;

use serde_json::{Value, json};

use super::settings::Settings;
use crate::cli::args::word;
use crate::cli::output::{Failed, exit};

/// What must be equal for two runs to be of one kind: where it is in the JSON, and its name. How long
/// they ran may differ.
const SHAPE: [(&str, &str); 11] = [
    ("/operation", "operation"),
    ("/clients", "clients"),
    ("/outstanding", "outstanding"),
    ("/value_bytes", "value_bytes"),
    ("/settings/keys", "keys"),
    ("/settings/key_bytes", "key_bytes"),
    ("/settings/distribution", "distribution"),
    ("/settings/reads_percent", "reads_percent"),
    ("/settings/consistency", "consistency"),
    ("/settings/rate", "rate"),
    ("/settings/arrivals", "arrivals"),
];

/// What is compared: where it is in the JSON, its name there, and its name for people.
const FIGURES: [(&str, &str, &str); 7] = [
    ("/per_second", "per_second", "per second"),
    ("/latency_ms/mean", "mean_ms", "mean, ms"),
    ("/latency_ms/p50", "p50_ms", "p50, ms"),
    ("/latency_ms/p90", "p90_ms", "p90, ms"),
    ("/latency_ms/p99", "p99_ms", "p99, ms"),
    ("/latency_ms/p999", "p999_ms", "p99.9, ms"),
    ("/latency_ms/max", "max_ms", "max, ms"),
];

/// What an earlier run printed.
#[derive(Debug)]
pub(super) struct Earlier(Value);

impl Earlier {
    /// Reads it before anything is measured.
    ///
    /// # Errors
    /// Where it cannot be read, is no such output, or is of another kind of run.
    pub(super) fn read(path: &Path, settings: &Settings) -> Result<Self, Failed> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Failed::file(&name, &error))?;
        let value: Value = serde_json::from_str(&text).map_err(|error| {
            Failed::usage(format!("{name} is not what `bench --json` prints: {error}"))
        })?;
        if value["operation"].as_str().is_none() || value["per_second"].as_f64().is_none() {
            let text = format!("{name} is not what `bench --json` prints: it has no rate");
            return Err(Failed::usage(text));
        }
        let differences = differences(&value, &shape(settings));
        if differences.is_empty() {
            return Ok(Self(value));
        }
        let text = format!(
            "{name} is of another kind of run, and their figures cannot be compared: {}",
            differences.join(", ")
        );
        Err(Failed::new(exit::USAGE, "different_run", text))
    }

    /// The figures of both runs.
    pub(super) fn beside(&self, now: &Value) -> Compared {
        let figure = |(place, key, name): &(&str, &'static str, &'static str)| {
            let number = |run: &Value| run.pointer(place).and_then(Value::as_f64);
            Some(Figure { key, name, old: number(&self.0)?, new: number(now)? })
        };
        Compared(FIGURES.iter().filter_map(figure).collect())
    }
}

fn shape(settings: &Settings) -> Value {
    json!({
        "operation": word(settings.what), "clients": settings.clients,
        "outstanding": settings.outstanding, "value_bytes": settings.value_bytes,
        "settings": settings.json(),
    })
}

/// What differs. What the earlier run does not tell, as those of older builds, is taken as equal.
fn differences(old: &Value, new: &Value) -> Vec<String> {
    let differs = |(place, name): &(&str, &str)| {
        let (old, new) = (old.pointer(place)?, new.pointer(place)?);
        let plain = |value: &Value| match value {
            Value::Null => "none".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (old != new).then(|| format!("{name} was {} and is {}", plain(old), plain(new)))
    };
    SHAPE.iter().filter_map(differs).collect()
}

/// Two runs, figure by figure.
#[derive(Debug)]
pub(super) struct Compared(Vec<Figure>);

#[derive(Debug)]
struct Figure {
    key: &'static str,
    name: &'static str,
    old: f64,
    new: f64,
}

impl Figure {
    /// New by old; `None` where there was nothing.
    fn ratio(&self) -> Option<f64> {
        (self.old > 0.0).then(|| self.new / self.old)
    }
}

impl Compared {
    pub(super) fn lines(&self) -> Vec<String> {
        let head = format!("{:12}{:>12}{:>12}{:>9}", "compared", "old", "new", "ratio");
        let line = |figure: &Figure| {
            let ratio = figure.ratio().map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
            let Figure { name, old, new, .. } = figure;
            format!("{name:12}{old:>12.3}{new:>12.3}{ratio:>9}")
        };
        std::iter::once(head).chain(self.0.iter().map(line)).collect()
    }

    pub(super) fn json(&self) -> Value {
        let figure = |figure: &Figure| {
            let value = json!({"old": figure.old, "new": figure.new, "ratio": figure.ratio()});
            (figure.key.to_owned(), value)
        };
        Value::Object(self.0.iter().map(figure).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::parsed;
    use super::*;

    fn of(words: &str) -> Value {
        shape(&parsed(words).unwrap())
    }

    #[test]
    fn what_differs_is_named() {
        assert_eq!(differences(&of("put"), &of("put --seconds 3 --warm-up 0")), [""; 0]);
        assert_eq!(
            differences(&of("put"), &of("put --clients 5 --rate 9")),
            [
                "clients was 4 and is 5",
                "rate was none and is 9",
                "arrivals was none and is constant"
            ]
        );
        assert_eq!(
            differences(&of("mixed --reads 9"), &of("put")),
            [
                "operation was mixed and is put",
                "reads_percent was 9 and is none",
                "consistency was linearizable and is none"
            ]
        );
    }

    #[test]
    fn an_older_builds_output_is_compared_by_what_it_tells() {
        let mut old = of("put");
        old["settings"] = Value::Null;
        assert_eq!(differences(&old, &of("put --keys 7")), [""; 0]);
    }

    #[test]
    fn figures_have_ratios_where_there_was_something() {
        let run = |rate: f64, p99: f64| json!({"per_second": rate, "latency_ms": {"p99": p99}});
        let compared = Earlier(run(100.0, 4.0)).beside(&run(150.0, 2.0));
        assert_eq!(
            compared.lines(),
            [
                "compared             old         new    ratio",
                "per second       100.000     150.000    1.500",
                "p99, ms            4.000       2.000    0.500"
            ]
        );
        assert_eq!(compared.json()["p99_ms"]["ratio"], 0.5);
        let nothing = Earlier(run(0.0, 4.0)).beside(&run(1.0, 4.0));
        assert_eq!(nothing.json()["per_second"]["ratio"], Value::Null);
    }
}
