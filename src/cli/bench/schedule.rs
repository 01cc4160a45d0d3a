//! When the requests of an open loop are due. It does not ask what became of those before: that is
//! what makes the loop open.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution as _, Exp1};

use super::record::float;
use super::settings::Settings;
use crate::cli::args::Arrivals;

/// In nanoseconds.
const SECOND: u128 = 1_000_000_000;

/// Times at which requests are due, in nanoseconds since the start of the load, rising.
#[derive(Debug)]
pub(super) struct Schedule {
    rate: u64,
    next: u64,
    times: Times,
}

#[derive(Debug)]
enum Times {
    /// So many were due before the next one.
    Constant(u64),
    /// The next one is due then, to parts of a nanosecond.
    Random(f64, SmallRng),
}

impl Schedule {
    /// `None` for a closed loop.
    pub(super) fn of(settings: &Settings, seed: u64) -> Option<Self> {
        let times = match settings.arrivals {
            Arrivals::Constant => Times::Constant(0),
            Arrivals::Poisson => Times::Random(0.0, SmallRng::seed_from_u64(seed)),
        };
        Some(Self { rate: settings.rate?, next: 0, times })
    }

    /// When the next request is due.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Goes on to the one after it.
    pub(super) fn advance(&mut self) {
        match &mut self.times {
            Times::Constant(count) => {
                *count += 1;
                let nanos = u128::from(*count) * SECOND / u128::from(self.rate);
                self.next = u64::try_from(nanos).unwrap_or(u64::MAX);
            }
            Times::Random(next, random) => {
                let gaps: f64 = Exp1.sample(random);
                *next += gaps * 1e9 / float(self.rate);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "it is positive, and saturates"
                )]
                let nanos = *next as u64;
                self.next = nanos;
            }
        }
    }

    /// How many more are due from `from` on and before `until`; random ones as many as are expected.
    pub(super) fn left(&self, from: u64, until: u64) -> u64 {
        let before = |time: u64| (u128::from(time) * u128::from(self.rate)).div_ceil(SECOND);
        let left = before(until).saturating_sub(before(from.max(self.next)));
        u64::try_from(left).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::parsed;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn times(words: &str, until: u64) -> Vec<u64> {
        let mut schedule = Schedule::of(&parsed(words).unwrap(), 7).unwrap();
        let mut times = Vec::new();
        while schedule.next() < until {
            times.push(schedule.next());
            schedule.advance();
        }
        times
    }

    #[test]
    fn constant_requests_are_due_at_even_distances() {
        assert_eq!(times("put --rate 4", SECOND), [0, SECOND / 4, SECOND / 2, SECOND / 4 * 3]);
        assert_eq!(times("put --rate 30000", 10 * SECOND).len(), 300_000);
    }

    #[test]
    fn random_requests_are_as_many_and_their_distances_vary_as_their_mean() {
        let times = times("put --rate 1000 --arrivals poisson", 100 * SECOND);
        assert!((99_000..101_000).contains(&times.len()), "{}", times.len());
        let gaps: Vec<f64> = times
            .windows(2)
            .map(|pair| f64::from(u32::try_from(pair[1] - pair[0]).unwrap()))
            .collect();
        let count = f64::from(u32::try_from(gaps.len()).unwrap());
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        assert!((0.98..1.02).contains(&(variance.sqrt() / mean)), "{mean} {variance}");
    }

    #[test]
    fn what_is_left_can_be_told_without_going_there() {
        let mut schedule = Schedule::of(&parsed("put --rate 100").unwrap(), 7).unwrap();
        assert_eq!(schedule.left(0, SECOND), 100);
        for _ in 0..40 {
            schedule.advance();
        }
        assert_eq!(schedule.left(0, SECOND), 60);
        assert_eq!(schedule.left(SECOND / 2, SECOND), 50, "those before do not count");
        assert_eq!(schedule.left(0, SECOND / 4), 0);
        let words = "put --rate 100000000 --seconds 86400";
        let fast = Schedule::of(&parsed(words).unwrap(), 7).unwrap();
        assert_eq!(fast.left(0, 86_400 * SECOND), 8_640_000_000_000);
    }

    #[test]
    fn a_closed_loop_has_none() {
        assert!(Schedule::of(&parsed("put").unwrap(), 7).is_none());
    }
}
