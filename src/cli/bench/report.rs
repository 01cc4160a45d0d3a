//! What is printed.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::compare::Before;
use super::machine::Machine;
use super::record::{Recorder, STEP};
use super::servers::Servers;
use crate::cli::args::{BenchArgs, BenchConsistency, BenchWhat, Common, Distribution};
use crate::cli::output::{Failed, exit, print_line};

/// The bars of the rate over time, at most.
const BARS: usize = 60;

/// A finished measurement.
pub(super) struct Report<'a> {
    pub(super) args: &'a BenchArgs,
    pub(super) machine: Machine,
    pub(super) servers: Servers,
    pub(super) measured: Recorder,
    /// This process's own processor time, over all of its life.
    pub(super) own_cpu_seconds: Option<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "numbers for people")]
fn float(number: u64) -> f64 {
    number as f64
}

/// The percentiles that are told.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)];

fn latency(times: &Histogram<u64>) -> Value {
    let mut all = json!({"mean": times.mean() / 1e3, "min": float(times.min()) / 1e3});
    for (name, quantile) in PERCENTILES {
        all[name] = (float(times.value_at_quantile(quantile)) / 1e3).into();
    }
    all
}

fn words(times: &Histogram<u64>) -> String {
    let one = |(name, quantile): &(&str, f64)| {
        format!("{name} {:.2}", float(times.value_at_quantile(*quantile)) / 1e3)
    };
    PERCENTILES.iter().map(one).collect::<Vec<_>>().join("  ")
}

impl Report<'_> {
    fn all(&self) -> Histogram<u64> {
        let mut all = self.measured.reads.clone();
        all.add(&self.measured.writes).expect("of the same bounds");
        all
    }

    fn per_second(&self) -> f64 {
        float(self.measured.completed()) / float(self.args.seconds)
    }

    /// The rate in each step of the measured part, in requests a second.
    fn rates(&self) -> Vec<f64> {
        self.measured.steps.iter().map(|count| float(*count) / STEP.as_secs_f64()).collect()
    }

    /// The nodes' processor time for each request, in microseconds.
    fn cpu_micros(&self) -> Option<f64> {
        let completed = self.measured.completed();
        self.servers.cpu_seconds().filter(|_| completed > 0).map(|all| all * 1e6 / float(completed))
    }

    fn json(&self) -> Value {
        let (args, measured) = (self.args, &self.measured);
        let lowest = self.rates().into_iter().fold(f64::MAX, f64::min);
        let mut out = json!({
            "operation": args.what.name(), "clients": args.clients,
            "outstanding": args.outstanding, "rate_asked": args.rate, "keys": args.keys,
            "key_bytes": args.key_bytes, "value_bytes": args.value_bytes,
            "distribution": distribution(args.distribution), "warm_up_seconds": args.warm_up,
            "seconds": args.seconds, "completed": measured.completed(),
            "failed": measured.failed, "unsent": measured.unsent,
            "per_second": self.per_second(), "lowest_per_second": lowest,
            "latency_ms": latency(&self.all()), "rates": self.rates(),
            "rates_every_ms": u64::try_from(STEP.as_millis()).unwrap_or(0),
            "machine": self.machine.json(), "servers": self.servers.json(),
            "servers_cpu_us": self.cpu_micros(), "own_cpu_seconds": self.own_cpu_seconds,
        });
        if args.what == BenchWhat::Mixed {
            out["reads_percent"] = args.reads.into();
            out["reads_latency_ms"] = latency(&measured.reads);
            out["writes_latency_ms"] = latency(&measured.writes);
        }
        if matches!(args.what, BenchWhat::Mixed | BenchWhat::Get) {
            out["consistency"] = consistency(args.consistency).into();
        }
        if args.what == BenchWhat::Cas {
            out["conflicts"] = measured.conflicts.into();
        }
        if let Some(error) = &measured.last_error {
            out["last_error"] = error.as_str().into();
        }
        out
    }

    /// Prints it. Ends with the failure's exit code where no request succeeded.
    pub(super) fn print(&self, common: &Common, before: Option<&Before>) -> Result<(), Failed> {
        let found = self.json();
        let compared = before.map(|before| before.against(&found));
        if common.json() {
            let mut found = found;
            if let Some(compared) = &compared {
                found["compared"] = compared.json();
            }
            print_line(found)?;
        } else {
            self.text().into_iter().try_for_each(print_line)?;
            compared.into_iter().flat_map(|compared| compared.lines()).try_for_each(print_line)?;
        }
        if self.measured.completed() == 0 {
            return Err(Failed::silent(exit::UNREACHABLE));
        }
        Ok(())
    }

    fn text(&self) -> Vec<String> {
        let (args, measured) = (self.args, &self.measured);
        let mut lines = vec![format!(
            "{}  {:.0}/s   {} in {} s, {}, {} B values",
            args.what.name(),
            self.per_second(),
            measured.completed(),
            args.seconds,
            loop_words(args),
            args.value_bytes,
        )];
        lines.push(format!("latency ms  {}", words(&self.all())));
        if args.what == BenchWhat::Mixed {
            lines.push(format!("     reads  {}", words(&measured.reads)));
            lines.push(format!("    writes  {}", words(&measured.writes)));
        }
        let rates = self.rates();
        let lowest = rates.iter().copied().fold(f64::MAX, f64::min);
        lines.push(format!(
            "rate        {}  lowest {lowest:.0}/s in {} ms",
            sparkline(&rates),
            STEP.as_millis()
        ));
        lines.push(self.costs());
        lines.push(self.machine_words());
        if measured.conflicts > 0 {
            lines.push(format!("conflicts   {}", measured.conflicts));
        }
        if measured.unsent > 0 {
            lines.push(format!(
                "unsent      {}: due, and no room for them until the end; the cluster does not keep up with this rate, \
                 or --outstanding is too small",
                measured.unsent
            ));
        }
        if let Some(error) = &measured.last_error {
            lines.push(format!("failed      {}, the last one: {error}", measured.failed));
        }
        lines
    }

    fn costs(&self) -> String {
        let node = |(address, used): &(String, Option<super::servers::Used>)| match used {
            None => format!("{address} unknown"),
            Some(used) => format!(
                "{address} {:.2} cores, {:.0} MiB",
                used.cpu_seconds / float(self.args.seconds),
                used.resident_bytes / f64::from(1 << 20)
            ),
        };
        let nodes: Vec<String> = self.servers.0.iter().map(node).collect();
        let each =
            self.cpu_micros().map_or(String::new(), |micros| format!("{micros:.1} us a request: "));
        format!("servers     {each}{}", nodes.join("; "))
    }

    fn machine_words(&self) -> String {
        let sync = self
            .machine
            .sync
            .map_or("unknown".to_owned(), |sync| format!("{:.2} ms", sync.as_secs_f64() * 1e3));
        let own = self.own_cpu_seconds.map_or("unknown".to_owned(), |own| format!("{own:.1} s"));
        format!(
            "machine     fdatasync of 4 KiB {sync}, waking a thread {:.0} us; this program's own processor time {own}",
            self.machine.wake.as_secs_f64() * 1e6
        )
    }
}

fn loop_words(args: &BenchArgs) -> String {
    let (clients, outstanding) = (args.clients, args.outstanding);
    match args.rate {
        None => format!("closed loop, {clients} clients, {outstanding} outstanding"),
        Some(rate) => format!("open loop at {rate}/s, {clients} clients"),
    }
}

fn distribution(of: Distribution) -> &'static str {
    match of {
        Distribution::Uniform => "uniform",
        Distribution::Zipf => "zipf",
        Distribution::Sequential => "sequential",
    }
}

fn consistency(of: BenchConsistency) -> &'static str {
    match of {
        BenchConsistency::Linearizable => "linearizable",
        BenchConsistency::Lease => "lease",
        BenchConsistency::Stale => "stale",
    }
}

/// A bar for each value, from nothing to the highest; of too many, one for several.
fn sparkline(values: &[f64]) -> String {
    const SHAPES: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let group = values.len().div_ceil(BARS).max(1);
    let bars: Vec<f64> = values
        .chunks(group)
        .map(|chunk| chunk.iter().sum::<f64>() / float(chunk.len() as u64))
        .collect();
    let highest = bars.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let shape = |bar: &f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 7")]
        let place = (bar / highest * 7.0).round() as usize;
        SHAPES.get(place).copied().unwrap_or('█')
    };
    bars.iter().map(shape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_is_as_high_as_its_values() {
        assert_eq!(sparkline(&[0.0, 50.0, 100.0]), "▁▅█");
        assert_eq!(sparkline(&[0.0, 0.0]), "▁▁");
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[1.0; 601]).chars().count(), 55);
    }
}
