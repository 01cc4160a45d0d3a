//! What was measured: times, counts, the rate over time.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use quorate_client::Error;
use serde_json::{Value, json};

/// The longest time that is told apart: an hour, in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;

/// What became of a request.
#[derive(Debug)]
pub(super) enum Ended {
    /// As asked.
    Done,
    /// A read, of a key that is not there.
    NotFound,
    /// A conditional write whose condition did not hold: an answer like others, and nothing written.
    Conflict,
    /// It failed, or its outcome is unknown.
    Failed(Error),
}

/// The part of the load that is measured, in nanoseconds since its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) until: u64,
}

impl Span {
    pub(super) fn holds(&self, at: u64) -> bool {
        (self.from..self.until).contains(&at)
    }
}

/// What became of the requests that were due in the span. Times are in nanoseconds.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) span: Span,
    /// How long reads took, from when they were due.
    pub(super) reads: Histogram<u64>,
    /// How long writes took, from when they were due.
    pub(super) writes: Histogram<u64>,
    /// How late requests of an open loop were sent.
    pub(super) lateness: Histogram<u64>,
    pub(super) not_found: u64,
    pub(super) conflicts: u64,
    /// By the word for it.
    pub(super) failures: BTreeMap<&'static str, u64>,
    pub(super) last_error: Option<String>,
    /// Due in the span, and not sent by its end.
    pub(super) unsent: u64,
    /// Under way when the time was up; they are waited for and counted.
    pub(super) unanswered: Option<u64>,
    /// How many were answered in each second of the span.
    pub(super) each_second: Vec<u64>,
    /// When the last one was answered, or when the span ended.
    pub(super) ended: u64,
}

/// An empty histogram of times.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("1 and an hour are bounds, 3 is a precision")
}

impl Record {
    pub(super) fn new(span: Span) -> Self {
        let seconds = span.until.saturating_sub(span.from).div_ceil(1_000_000_000);
        Self {
            span,
            reads: histogram(),
            writes: histogram(),
            lateness: histogram(),
            not_found: 0,
            conflicts: 0,
            failures: BTreeMap::new(),
            last_error: None,
            unsent: 0,
            unanswered: None,
            each_second: vec![0; usize::try_from(seconds).unwrap_or(0)],
            ended: span.until,
        }
    }

    /// A request that was due at `due` was sent at `now`.
    pub(super) fn sent(&mut self, due: u64, now: u64) {
        if self.span.holds(due) {
            self.lateness.saturating_record(now.saturating_sub(due));
        }
    }

    /// A request that was due at `due` has ended at `now`.
    pub(super) fn ended(&mut self, due: u64, now: u64, is_read: bool, ended: &Ended) {
        if !self.span.holds(due) {
            return;
        }
        match ended {
            Ended::Done => {}
            Ended::NotFound => self.not_found += 1,
            Ended::Conflict => self.conflicts += 1,
            Ended::Failed(error) => return self.failed(error),
        }
        let times = if is_read { &mut self.reads } else { &mut self.writes };
        times.saturating_record(now.saturating_sub(due));
        self.ended = self.ended.max(now);
        let second = now.saturating_sub(self.span.from) / 1_000_000_000;
        let second = usize::try_from(second).unwrap_or(usize::MAX);
        if let Some(count) = self.each_second.get_mut(second) {
            *count += 1;
        }
    }

    fn failed(&mut self, error: &Error) {
        let word = match error {
            Error::NotExecuted { code, .. } => code.as_str(),
            Error::Unknown { .. } => "unknown_outcome",
            Error::Unreachable { .. } => "unreachable",
        };
        *self.failures.entry(word).or_default() += 1;
        self.last_error = Some(error.to_string());
    }

    /// How many were answered, conflicts included.
    pub(super) fn completed(&self) -> u64 {
        self.reads.len() + self.writes.len()
    }

    /// How many failed, or are unknown.
    pub(super) fn failed_in_all(&self) -> u64 {
        self.failures.values().sum()
    }

    /// From the span's begin until the last answer to what was due in it.
    pub(super) fn took(&self) -> Duration {
        Duration::from_nanos(self.ended.saturating_sub(self.span.from))
    }

    pub(super) fn per_second(&self) -> f64 {
        float(self.completed()) / self.took().as_secs_f64().max(1e-9)
    }

    /// The times of reads and writes together.
    pub(super) fn all(&self) -> Histogram<u64> {
        let mut all = self.reads.clone();
        all.add(&self.writes).expect("both are of the same bounds");
        all
    }

    /// The second of the span in which the fewest were answered, from 1, and how many.
    pub(super) fn worst_second(&self) -> Option<(usize, u64)> {
        (1..).zip(self.each_second.iter().copied()).min_by_key(|(_, count)| *count)
    }
}

/// The percentiles that are told, by their names in JSON and for people.
pub(super) const PERCENTILES: [(&str, &str, f64); 5] = [
    ("p50", "p50", 0.5),
    ("p90", "p90", 0.9),
    ("p99", "p99", 0.99),
    ("p999", "p99.9", 0.999),
    ("max", "max", 1.0),
];

/// A number as a float, for rates and ratios.
#[expect(clippy::cast_precision_loss, reason = "numbers for people")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

/// Times in milliseconds, by the names of `PERCENTILES`, `min` and `mean`.
pub(super) fn latency_json(times: &Histogram<u64>) -> Value {
    let mut all = json!({"min": float(times.min()) / 1e6, "mean": times.mean() / 1e6});
    for (name, _, quantile) in PERCENTILES {
        all[name] = (float(times.value_at_quantile(quantile)) / 1e6).into();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn record() -> Record {
        Record::new(Span { from: SECOND, until: 3 * SECOND })
    }

    #[test]
    fn only_what_was_due_in_the_measured_part_counts() {
        let mut record = record();
        record.ended(SECOND / 2, SECOND, false, &Ended::Done);
        record.ended(3 * SECOND, 4 * SECOND, false, &Ended::Done);
        assert_eq!((record.completed(), record.took().as_secs()), (0, 2));
        record.ended(SECOND, SECOND + 1_000, false, &Ended::Done);
        record.ended(SECOND, 2 * SECOND, true, &Ended::NotFound);
        record.ended(2 * SECOND, 5 * SECOND, false, &Ended::Conflict);
        let error = Error::Unreachable { reason: "gone".to_owned() };
        record.ended(SECOND, SECOND, false, &Ended::Failed(error));
        assert_eq!((record.completed(), record.failed_in_all()), (3, 1));
        assert_eq!((record.not_found, record.conflicts), (1, 1));
        // The late answer is in no second, but its time counts, and the measurement took so long.
        assert_eq!((record.each_second.as_slice(), record.took().as_secs()), (&[1, 1][..], 4));
        assert!(record.writes.max() >= 3 * SECOND);
        assert_eq!(record.failures, BTreeMap::from([("unreachable", 1)]));
    }

    #[test]
    fn percentiles_are_true_to_a_thousandth_and_in_order() {
        let mut record = record();
        for micros in 1..=10_000 {
            record.ended(SECOND, SECOND + micros * 1_000, false, &Ended::Done);
        }
        for (quantile, expected) in [(0.5, 5_000), (0.99, 9_900), (0.999, 9_990)] {
            let found = record.all().value_at_quantile(quantile) / 1_000;
            assert!(found.abs_diff(expected) <= expected / 1_000 + 1, "{quantile}: {found}");
        }
        let json = latency_json(&record.all());
        let of = |name: &str| json[name].as_f64().unwrap();
        let all = ["min", "p50", "p90", "p99", "p999", "max"].map(of);
        assert!(all.is_sorted(), "{all:?}");
        assert!((4.9..5.1).contains(&of("mean")), "{json}");
    }

    #[test]
    fn the_worst_second_is_the_first_of_the_emptiest() {
        let mut record = record();
        record.each_second = vec![5, 2, 9, 2];
        assert_eq!(record.worst_second(), Some((2, 2)));
    }

    #[test]
    fn times_beyond_an_hour_count_as_the_longest() {
        let mut record = Record::new(Span { from: 0, until: SECOND });
        record.ended(1, u64::MAX, false, &Ended::Done);
        assert!(record.writes.max() >= LONGEST);
    }
}
