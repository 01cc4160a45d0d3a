//! `fsync`: whether a disk is fit for a node. Each write of a cluster waits for a quorum's syncs, and
//! a leader whose syncs hold up its heartbeats is voted out.

use std::io;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::args::{Common, FsyncArgs};
use super::output::{Failed, exit, print_line};
use crate::store::sync_time::{Space, is_in_memory, sync_times};

/// Of a hundred syncs 99 are to be faster: the advice of etcd's documentation, whose heartbeats are as
/// long as ours.
const SUITABLE: Duration = Duration::from_millis(10);
/// A disk that is slower than this for each kind has shown what it is.
const WITHIN: Duration = Duration::from_secs(20);

/// The percentiles that are told.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)];

/// Times of syncs.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Times {
    /// Measures in a directory.
    ///
    /// # Errors
    /// The operating system's.
    ///
    /// # Panics
    /// Never: an hour and three digits are bounds that a histogram takes.
    pub fn measure(
        directory: &Path,
        space: Space,
        count: u32,
        within: Duration,
    ) -> io::Result<Self> {
        let mut times = Histogram::new_with_bounds(1, 3_600_000_000_000, 3)
            .expect("an hour and three digits are bounds");
        for time in sync_times(directory, space, count, within)? {
            times.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
        Ok(Self(times))
    }

    fn at(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(quantile))
    }

    /// A percentile in milliseconds.
    #[must_use]
    pub fn millis(&self, quantile: f64) -> f64 {
        self.at(quantile).as_secs_f64() * 1e3
    }

    /// In milliseconds, with how many there are.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut all = json!({ "syncs": self.0.len() });
        for (name, quantile) in PERCENTILES {
            all[name] = self.millis(quantile).into();
        }
        all
    }

    fn row(&self, what: &str) -> String {
        let mut row = format!("{what:28}");
        for (_, quantile) in PERCENTILES {
            row.push_str(&format!("{:>9.3}", self.millis(quantile)));
        }
        row
    }
}

/// `fsync`
///
/// # Errors
/// 74 where the directory cannot be written, 1 where its disk is not fit.
pub fn fsync(common: &Common, args: &FsyncArgs) -> Result<(), Failed> {
    if !(100..=1_000_000).contains(&args.count) {
        let text = format!("--count {} is not between 100 and 1000000", args.count);
        return Err(Failed::usage(text));
    }
    let directory = args.directory.display().to_string();
    let measure = |space| {
        Times::measure(&args.directory, space, args.count, WITHIN)
            .map_err(|error| Failed::file(&directory, &error))
    };
    let (zeros, fresh) = (measure(Space::ZeroFilled)?, measure(Space::Fresh)?);
    let unfit = unfit(&zeros, &directory, is_in_memory(&args.directory));
    if common.json() {
        print_line(json!({
            "directory": directory, "suitable": unfit.is_none(),
            "zero_filled_ms": zeros.json(), "fresh_ms": fresh.json(),
        }))?;
    } else {
        print_line(format_args!(
            "{:28}{:>9}{:>9}{:>9}{:>9}{:>9}",
            "fdatasync of 4 KiB, in ms", "p50", "p90", "p99", "p99.9", "max"
        ))?;
        print_line(zeros.row("over zeros, as the log does"))?;
        print_line(fresh.row("into fresh space"))?;
        if unfit.is_none() {
            let (p99, most) = (zeros.millis(0.99), SUITABLE.as_millis());
            print_line(format_args!("suitable: p99 is {p99:.2} ms, and below {most} ms is asked"))?;
        }
    }
    unfit.map_or(Ok(()), |why| Err(Failed::new(exit::NO, "not_suitable", why)))
}

/// Why a disk is not fit, if it is not.
fn unfit(zeros: &Times, directory: &str, in_memory: bool) -> Option<String> {
    if in_memory {
        return Some(format!(
            "not suitable: {directory} is in memory: what is synced there is gone after a restart"
        ));
    }
    (zeros.at(0.99) >= SUITABLE).then(|| {
        format!(
            "not suitable: p99 is {:.1} ms, and below {} ms is asked: each write waits for a sync, and \
             heartbeats behind slow ones come late. Give {directory} a faster disk, or one of its own",
            zeros.millis(0.99),
            SUITABLE.as_millis()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(millis: &[u64]) -> Times {
        let mut times = Times(Histogram::new_with_bounds(1, 3_600_000_000_000, 3).unwrap());
        millis.iter().for_each(|millis| times.0.saturating_record(millis * 1_000_000));
        times
    }

    #[test]
    fn what_counts_is_the_slowest_but_one_in_a_hundred() {
        let mut millis = vec![1; 199];
        millis.push(500);
        assert_eq!(unfit(&times(&millis), "d", false), None);
        millis.extend([11, 11]);
        let why = unfit(&times(&millis), "d", false).unwrap();
        assert!(why.starts_with("not suitable: p99 is 11.0 ms, and below 10 ms is asked"), "{why}");
    }

    #[test]
    fn memory_is_no_disk_however_fast() {
        assert!(unfit(&times(&[0]), "/dev/shm", true).unwrap().contains("in memory"));
    }
}
