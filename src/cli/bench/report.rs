//! What is printed.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::compare::Earlier;
use super::machine::Machine;
use super::record::{PERCENTILES, Record, float, latency_json};
use super::servers::Servers;
use super::settings::Settings;
use super::sparkline::sparkline;
use crate::cli::args::{BenchWhat, Common, word};
use crate::cli::output::{Failed, exit, print_line};

/// A generator that uses more of its one core than this is what was measured.
const BUSY_PERCENT: f64 = 90.0;

/// What this process used in the measured part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Generator {
    pub(super) cpu_seconds: f64,
    /// How long that part was.
    pub(super) seconds: f64,
    /// How many requests were answered meanwhile.
    pub(super) requests: u64,
}

impl Generator {
    fn micros(&self) -> Option<f64> {
        Some(self.cpu_seconds * 1e6 / float(self.requests)).filter(|micros| micros.is_finite())
    }

    fn percent(&self) -> f64 {
        self.cpu_seconds * 100.0 / self.seconds.max(1e-9)
    }
}

/// A finished measurement.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) settings: &'a Settings,
    pub(super) record: Record,
    pub(super) machine: Machine,
    pub(super) servers: Servers,
    pub(super) generator: Generator,
}

impl Report<'_> {
    /// Prints it.
    ///
    /// # Errors
    /// Where no request succeeded: 69.
    pub(super) fn print(&self, common: &Common, earlier: Option<&Earlier>) -> Result<(), Failed> {
        let mut json = self.json();
        let compared = earlier.map(|earlier| earlier.beside(&json));
        if common.json() {
            if let Some(compared) = &compared {
                json["compared"] = compared.json();
            }
            print_line(json)?;
        } else {
            self.lines().into_iter().try_for_each(print_line)?;
            let lines = compared.iter().flat_map(super::compare::Compared::lines);
            lines.into_iter().try_for_each(print_line)?;
        }
        if self.record.completed() > 0 {
            return Ok(());
        }
        let why = self.record.last_error.as_deref().unwrap_or("none was due");
        let text = format!("no request succeeded: {why}");
        Err(Failed::new(exit::UNREACHABLE, "unreachable", text))
    }

    fn json(&self) -> Value {
        let (settings, record) = (self.settings, &self.record);
        let mut out = json!({
            "operation": word(settings.what), "clients": settings.clients,
            "outstanding": settings.outstanding, "value_bytes": settings.value_bytes,
            "seconds": record.took().as_secs_f64(), "completed": record.completed(),
            "failed": record.failed_in_all(), "per_second": record.per_second(),
            "latency_ms": latency_json(&record.all()),
            "settings": settings.json(), "version": env!("CARGO_PKG_VERSION"),
            "per_second_over_time": record.each_second,
            "worst_second": record.worst_second().map(|(second, count)| {
                json!({"second": second, "completed": count})
            }),
            "failures": record.failures, "last_error": record.last_error,
            "not_found": record.not_found, "conflicts": record.conflicts,
            "unfinished": {
                "unsent": record.unsent, "unanswered": record.unanswered.unwrap_or(0),
            },
            "machine": self.machine.json(), "servers": self.servers.json(),
            "generator": {
                "cpu_seconds": self.generator.cpu_seconds,
                "cpu_us_per_operation": self.generator.micros(),
                "percent_of_a_core": self.generator.percent(),
            },
        });
        if settings.what == BenchWhat::Mixed {
            out["read_latency_ms"] = latency_json(&record.reads);
            out["write_latency_ms"] = latency_json(&record.writes);
        }
        if settings.rate.is_some() {
            out["send_delay_ms"] = latency_json(&record.lateness);
        }
        out
    }

    fn lines(&self) -> Vec<String> {
        let (settings, record) = (self.settings, &self.record);
        let mut lines = vec![format!(
            "{}  {:.0}/s   {} in {:.1} s, {}",
            word(settings.what),
            record.per_second(),
            record.completed(),
            record.took().as_secs_f64(),
            settings.words()
        )];
        lines.push(times("latency", &record.all()));
        if settings.what == BenchWhat::Mixed {
            lines.push(times("  reads", &record.reads));
            lines.push(times("  writes", &record.writes));
        }
        let (second, worst) = record.worst_second().unwrap_or((0, 0));
        let bars = sparkline(&record.each_second);
        lines.push(format!("over time  {bars}  worst second {second}: {worst}/s"));
        self.add_what_went_wrong(&mut lines);
        lines.push(format!("machine    {}", self.machine.line()));
        lines.push(format!("servers    {}", self.servers.line()));
        lines.push(self.generator_line());
        lines
    }

    fn add_what_went_wrong(&self, lines: &mut Vec<String>) {
        let record = &self.record;
        if self.settings.what == BenchWhat::Cas {
            let share = 100.0 * float(record.conflicts) / float(record.completed().max(1));
            lines.push(format!("conflicts  {} ({share:.1} %)", record.conflicts));
        }
        if record.not_found > 0 {
            lines.push(format!(
                "not found  {} of {} reads found no key: --prefill writes all keys first",
                record.not_found,
                record.reads.len()
            ));
        }
        if self.settings.rate.is_some() {
            lines.push(format!(
                "unfinished {} were due and not sent, {} sent and not answered when the time was up; \
                 sent late by p50 {:.3} ms, p99 {:.2} ms",
                record.unsent,
                record.unanswered.unwrap_or(0),
                float(record.lateness.value_at_quantile(0.5)) / 1e6,
                float(record.lateness.value_at_quantile(0.99)) / 1e6
            ));
        }
        if let Some(last) = &record.last_error {
            let kinds: Vec<String> =
                record.failures.iter().map(|(code, count)| format!("{count} {code}")).collect();
            lines.push(format!("failed     {}   last: {last}", kinds.join(", ")));
        }
    }

    fn generator_line(&self) -> String {
        let percent = self.generator.percent();
        let each = self
            .generator
            .micros()
            .map_or(String::new(), |micros| format!(" ({micros:.1} us each)"));
        let note = if percent > BUSY_PERCENT { ": it is what limits, not the cluster" } else { "" };
        format!(
            "generator  {:.2} s CPU{each}, {percent:.0} % of its one core{note}",
            self.generator.cpu_seconds
        )
    }
}

/// A line of percentiles, in milliseconds.
fn times(what: &str, times: &Histogram<u64>) -> String {
    let mut line = format!("{what:11}min {:.2}", float(times.min()) / 1e6);
    for (_, name, quantile) in PERCENTILES {
        line.push_str(&format!("   {name} {:.2}", float(times.value_at_quantile(quantile)) / 1e6));
    }
    line.push_str(&format!("   mean {:.2} ms", times.mean() / 1e6));
    line
}
