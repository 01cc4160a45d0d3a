//! What the machine itself takes for what a write waits for: a sync, and the waking of a thread.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::cli::args::{Common, FsyncArgs};
use crate::cli::output::{Failed, exit, print_line};

const PAGE: usize = 4_096;
/// A sync that takes longer than this now and then holds up heartbeats: etcd's advice, too.
const SUITABLE: Duration = Duration::from_millis(10);

/// What this machine takes, where the benchmark runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    /// The median of syncing 4 KiB in the directory for temporary files; `None` where it cannot be
    /// written.
    pub(super) sync: Option<Duration>,
    /// The median of waking a thread that sleeps.
    pub(super) wake: Duration,
}

impl Machine {
    pub(super) fn measure() -> Self {
        let sync = syncs(&std::env::temp_dir(), Space::Zeros, 50).ok();
        Self { sync: sync.map(|times| at(&times, 0.5)), wake: wake() }
    }

    pub(super) fn json(&self) -> Value {
        json!({"sync_ms": self.sync.map(millis), "wake_us": self.wake.as_secs_f64() * 1e6})
    }
}

/// The median of handing a message to a thread that sleeps, and back, halved.
fn wake() -> Duration {
    let ((ask, asked), (answer, answered)) = (channel::<()>(), channel());
    let thread =
        std::thread::spawn(move || while asked.recv().is_ok() && answer.send(()).is_ok() {});
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            let started = Instant::now();
            let _ = ask.send(());
            let _ = answered.recv();
            started.elapsed() / 2
        })
        .collect();
    drop(ask);
    drop(thread.join());
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Where the writes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Space {
    /// To the end of a file that grows.
    Fresh,
    /// Over zeros that are there already, as the log does.
    Zeros,
}

/// The times of so many writes of 4 KiB, each synced, in microseconds.
fn syncs(directory: &Path, space: Space, writes: u32) -> io::Result<Histogram<u64>> {
    let path = directory.join(format!(".quorate-fsync-{}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    // Without a name it goes away by itself, however this ends.
    std::fs::remove_file(&path)?;
    if space == Space::Zeros {
        let zeros = vec![0; PAGE * 64];
        for chunk in 0..u64::from(writes).div_ceil(64) {
            file.write_all_at(&zeros, chunk * zeros.len() as u64)?;
        }
        file.sync_all()?;
    }
    measure(&file, writes)
}

fn measure(file: &File, writes: u32) -> io::Result<Histogram<u64>> {
    let mut times = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are right");
    let page = [7; PAGE];
    for number in 0..u64::from(writes) {
        let started = Instant::now();
        file.write_all_at(&page, number * PAGE as u64)?;
        file.sync_data()?;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        times.saturating_record(micros.max(1));
    }
    Ok(times)
}

fn at(times: &Histogram<u64>, quantile: f64) -> Duration {
    Duration::from_micros(times.value_at_quantile(quantile))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// `fsync`: whether a disk is fit for a node.
///
/// # Errors
/// When the directory cannot be written, and when the disk is too slow.
pub fn fsync(common: &Common, args: &FsyncArgs) -> Result<(), Failed> {
    if args.writes == 0 || args.writes > 1_000_000 {
        return Err(Failed::usage("--writes is 1 to 1,000,000"));
    }
    let directory = args.directory.display().to_string();
    let failed = |error: io::Error| Failed::file(&directory, &error);
    let fresh = syncs(&args.directory, Space::Fresh, args.writes).map_err(failed)?;
    let zeros = syncs(&args.directory, Space::Zeros, args.writes).map_err(failed)?;
    let suitable = at(&zeros, 0.99) <= SUITABLE;
    if common.json() {
        let found = json!({
            "directory": directory, "writes": args.writes, "suitable": suitable,
            "zeros_ms": percentiles(&zeros), "fresh_ms": percentiles(&fresh),
        });
        print_line(found)?;
    } else {
        print_line(format_args!(
            "{:24}{:>9}{:>9}{:>9}{:>9}",
            "4 KiB and fdatasync, ms", "p50", "p90", "p99", "max"
        ))?;
        print_line(row("over zeros, as the log", &zeros))?;
        print_line(row("into fresh space", &fresh))?;
        let (word, p99) = (if suitable { "PASS" } else { "FAIL" }, millis(at(&zeros, 0.99)));
        print_line(format_args!(
            "{word}  99 of 100 syncs take up to {p99:.2} ms; up to {} ms is fit for a node",
            SUITABLE.as_millis()
        ))?;
    }
    if suitable { Ok(()) } else { Err(Failed::silent(exit::NO)) }
}

fn percentiles(times: &Histogram<u64>) -> Value {
    let of = |quantile| millis(at(times, quantile));
    json!({"p50": of(0.5), "p90": of(0.9), "p99": of(0.99), "max": of(1.0)})
}

fn row(what: &str, times: &Histogram<u64>) -> String {
    let of = |quantile| millis(at(times, quantile));
    format!("{what:24}{:>9.3}{:>9.3}{:>9.3}{:>9.3}", of(0.5), of(0.9), of(0.99), of(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_write_is_measured_and_nothing_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        for space in [Space::Fresh, Space::Zeros] {
            let times = syncs(directory.path(), space, 70).unwrap();
            assert_eq!(times.len(), 70);
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(syncs(&directory.path().join("none"), Space::Fresh, 1).is_err());
    }
}
