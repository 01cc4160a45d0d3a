//! What was measured.

use std::time::Duration;

use hdrhistogram::Histogram;
use quorate_client::{Error, Success};

use super::load::Plan;

/// The longest time that is told apart, in microseconds: an hour.
const LONGEST_MICROS: u64 = 3_600_000_000;
/// The length of a step of the rate over time.
pub(super) const STEP: Duration = Duration::from_millis(250);

/// What became of requests.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    /// Of each read and each write that succeeded, in microseconds.
    pub(super) reads: Histogram<u64>,
    pub(super) writes: Histogram<u64>,
    pub(super) failed: u64,
    /// Conditional writes whose condition did not hold.
    pub(super) conflicts: u64,
    /// Due in the measured part, and never sent.
    pub(super) unsent: u64,
    pub(super) last_error: Option<String>,
    /// How many succeeded in each step of the measured part.
    pub(super) steps: Vec<u64>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_MICROS, 3).expect("the bounds are right")
}

impl Recorder {
    pub(super) fn new(plan: &Plan) -> Self {
        let steps = (plan.until - plan.from).as_millis().div_ceil(STEP.as_millis());
        Self {
            reads: histogram(),
            writes: histogram(),
            failed: 0,
            conflicts: 0,
            unsent: 0,
            last_error: None,
            steps: vec![0; usize::try_from(steps).unwrap_or(0)],
        }
    }

    /// A request that was due at `due` has ended at `now`.
    pub(super) fn ended(
        &mut self,
        plan: &Plan,
        due: Duration,
        now: Duration,
        result: Result<Success, Error>,
    ) {
        if due < plan.from || due >= plan.until {
            return;
        }
        let took = u64::try_from((now - due).as_micros()).unwrap_or(LONGEST_MICROS);
        let kind = match result {
            Ok(Success::Get { .. }) => &mut self.reads,
            Ok(success) => {
                let swapped = !matches!(success, Success::CompareAndSwap { swapped: false, .. });
                self.conflicts += u64::from(!swapped);
                &mut self.writes
            }
            Err(error) => {
                self.failed += 1;
                self.last_error = Some(error.to_string());
                return;
            }
        };
        kind.saturating_record(took.max(1));
        let step = now.saturating_sub(plan.from).as_millis() / STEP.as_millis();
        if let Some(count) = self.steps.get_mut(usize::try_from(step).unwrap_or(usize::MAX)) {
            *count += 1;
        }
    }

    /// Adds what another client measured.
    pub(super) fn add(&mut self, other: &Recorder) {
        self.reads.add(&other.reads).expect("of the same bounds");
        self.writes.add(&other.writes).expect("of the same bounds");
        self.failed += other.failed;
        self.conflicts += other.conflicts;
        self.unsent += other.unsent;
        self.last_error = other.last_error.clone().or(self.last_error.take());
        self.steps.iter_mut().zip(&other.steps).for_each(|(sum, count)| *sum += count);
    }

    /// How many succeeded.
    pub(super) fn completed(&self) -> u64 {
        self.reads.len() + self.writes.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn only_what_was_due_in_the_measured_part_counts() {
        let second = Duration::from_secs(1);
        let plan = Plan { origin: Instant::now(), from: second, until: 2 * second };
        let mut recorder = Recorder::new(&plan);
        let done = || Ok(Success::Get { revision: 1, index: 1, entry: None });
        recorder.ended(&plan, second / 2, second, done());
        recorder.ended(&plan, second, 2 * second, done());
        recorder.ended(&plan, second, second + second / 10, done());
        recorder.ended(&plan, 2 * second, 3 * second, done());
        let error = Error::Unreachable { reason: "gone".to_owned() };
        recorder.ended(&plan, second, second, Err(error));
        assert_eq!((recorder.completed(), recorder.failed), (2, 1));
        // Long after: it counts with its time, and in no step.
        assert_eq!(recorder.steps, [1, 0, 0, 0]);
        let mut all = recorder.clone();
        all.add(&recorder);
        assert_eq!((all.completed(), all.failed, all.steps), (4, 2, vec![2, 0, 0, 0]));
    }

    #[test]
    fn percentiles_are_true_to_a_thousandth() {
        let second = Duration::from_secs(1);
        let plan = Plan { origin: Instant::now(), from: Duration::ZERO, until: second };
        let mut recorder = Recorder::new(&plan);
        for micros in 1..=10_000 {
            let done = Ok(Success::Get { revision: 1, index: 1, entry: None });
            recorder.ended(&plan, Duration::ZERO, Duration::from_micros(micros), done);
        }
        for (quantile, expected) in [(0.5, 5_000), (0.99, 9_900), (0.999, 9_990)] {
            let found = recorder.reads.value_at_quantile(quantile);
            assert!(found.abs_diff(expected) <= expected / 1_000, "{quantile}: {found}");
        }
    }
}
