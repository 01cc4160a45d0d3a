//! This run beside an earlier one.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::args::BenchArgs;
use crate::cli::output::{Failed, exit};

/// The JSON of an earlier run.
pub(super) struct Before(Value);

/// What must be equal for two runs to be of one kind.
const SHAPE: [&str; 8] = [
    "operation",
    "clients",
    "outstanding",
    "rate_asked",
    "keys",
    "key_bytes",
    "value_bytes",
    "distribution",
];

/// What is compared: where it is, and whether more of it is better.
const FIGURES: [(&str, &str, bool); 7] = [
    ("rate", "/per_second", true),
    ("lowest rate", "/lowest_per_second", true),
    ("p50 ms", "/latency_ms/p50", false),
    ("p99 ms", "/latency_ms/p99", false),
    ("p99.9 ms", "/latency_ms/p999", false),
    ("max ms", "/latency_ms/max", false),
    ("servers us", "/servers_cpu_us", false),
];

impl Before {
    /// Reads it, and sees that it is of the kind that is about to be measured.
    pub(super) fn read(path: &Path, args: &BenchArgs) -> Result<Self, Failed> {
        let name = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failed::file(&name.to_string(), &error))?;
        let value: Value = serde_json::from_str(text.trim()).map_err(|error| {
            Failed::usage(format!("{name} is not the JSON output of a run: {error}"))
        })?;
        let before = Self(value);
        let differs = before.differences(&shape(args));
        if differs.is_empty() {
            return Ok(before);
        }
        let message = format!("{name} is of another kind of run: {}", differs.join(", "));
        Err(Failed::new(exit::USAGE, "usage", message))
    }

    fn differences(&self, now: &Value) -> Vec<String> {
        let differs = SHAPE.iter().filter(|name| self.0[**name] != now[**name]);
        differs.map(|name| format!("{name} was {} and is {}", self.0[*name], now[*name])).collect()
    }

    pub(super) fn against(&self, now: &Value) -> Compared {
        let number = |value: &Value, place: &str| value.pointer(place).and_then(Value::as_f64);
        let figure = |(name, place, more): &(&'static str, &str, bool)| {
            let (old, new) = (number(&self.0, place)?, number(now, place)?);
            Some(Figure { name, old, new, more_is_better: *more })
        };
        Compared(FIGURES.iter().filter_map(figure).collect())
    }
}

fn shape(args: &BenchArgs) -> Value {
    let distribution = format!("{:?}", args.distribution).to_lowercase();
    json!({
        "operation": args.what.name(), "clients": args.clients, "outstanding": args.outstanding,
        "rate_asked": args.rate, "keys": args.keys, "key_bytes": args.key_bytes,
        "value_bytes": args.value_bytes, "distribution": distribution,
    })
}

/// Two runs, figure by figure.
pub(super) struct Compared(Vec<Figure>);

struct Figure {
    name: &'static str,
    old: f64,
    new: f64,
    more_is_better: bool,
}

impl Figure {
    /// New by old; `None` where there was nothing.
    fn ratio(&self) -> Option<f64> {
        (self.old > 0.0).then(|| self.new / self.old)
    }

    fn verdict(&self) -> &'static str {
        let better = |ratio: f64| if self.more_is_better { ratio } else { 1.0 / ratio };
        match self.ratio().map(better) {
            Some(better) if better > 1.05 => "better",
            Some(better) if better < 0.95 => "worse",
            Some(_) => "",
            None => "unknown",
        }
    }
}

impl Compared {
    pub(super) fn lines(&self) -> Vec<String> {
        let head = format!("{:12}{:>12}{:>12}{:>9}", "compared", "before", "now", "ratio");
        let line = |figure: &Figure| {
            let ratio = figure.ratio().map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            let Figure { name, old, new, .. } = figure;
            let line = format!("{name:12}{old:>12.2}{new:>12.2}{ratio:>9}  {}", figure.verdict());
            line.trim_end().to_owned()
        };
        std::iter::once(head).chain(self.0.iter().map(line)).collect()
    }

    pub(super) fn json(&self) -> Value {
        let figure = |figure: &Figure| {
            json!({
                "figure": figure.name, "before": figure.old, "now": figure.new,
                "ratio": figure.ratio(),
            })
        };
        self.0.iter().map(figure).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate: f64, p99: f64, clients: u64) -> Value {
        json!({
            "operation": "put", "clients": clients, "outstanding": 8, "rate_asked": null,
            "keys": 1, "key_bytes": 8, "value_bytes": 1, "distribution": "uniform",
            "per_second": rate, "latency_ms": {"p99": p99},
        })
    }

    #[test]
    fn what_is_better_depends_on_the_figure() {
        let compared = Before(run(100.0, 4.0, 2)).against(&run(200.0, 6.0, 2));
        let verdicts: Vec<_> =
            compared.0.iter().map(|f| (f.name, f.ratio(), f.verdict())).collect();
        assert_eq!(verdicts, [("rate", Some(2.0), "better"), ("p99 ms", Some(1.5), "worse")]);
        assert_eq!(compared.lines()[1], "rate              100.00      200.00     2.00  better");
        let none = Before(run(0.0, 4.0, 2)).against(&run(1.0, 4.1, 2));
        assert_eq!((none.0[0].verdict(), none.0[1].verdict()), ("unknown", ""));
    }

    #[test]
    fn another_kind_of_run_is_named() {
        let before = Before(run(1.0, 1.0, 2));
        assert_eq!(before.differences(&run(1.0, 1.0, 2)), Vec::<String>::new());
        assert_eq!(before.differences(&run(1.0, 1.0, 3)), ["clients was 2 and is 3"]);
    }
}
