//! What this machine itself takes for what requests wait for: a sync of the disk, and the waking of a
//! thread that sleeps. Figures of two machines, or of a quiet and a busy hour, cannot be compared
//! without them.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::fsync::Times;
use crate::store::sync_time::{Space, is_in_memory};

/// So often is each measured, and no longer than `WITHIN`.
const TIMES: u32 = 200;
const WITHIN: Duration = Duration::from_millis(500);

/// What the machine takes.
#[derive(Debug)]
pub(super) struct Machine {
    directory: String,
    in_memory: bool,
    /// Or why it could not be measured.
    syncs: Result<Times, String>,
    /// The median, in microseconds.
    wake_micros: f64,
    cores: usize,
}

impl Machine {
    /// Measures it; to be done while the machine is otherwise idle.
    pub(super) fn measure(directory: Option<&Path>) -> Self {
        let temporary = std::env::temp_dir();
        let directory = directory.unwrap_or(&temporary);
        let syncs = Times::measure(directory, Space::ZeroFilled, TIMES, WITHIN);
        Self {
            directory: directory.display().to_string(),
            in_memory: is_in_memory(directory),
            syncs: syncs.map_err(|error| error.to_string()),
            wake_micros: median(wakes()).as_secs_f64() * 1e6,
            cores: thread::available_parallelism().map_or(0, usize::from),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "cores": self.cores,
            "fdatasync_ms": self.syncs.as_ref().ok().map(Times::json),
            "fdatasync_directory": self.directory, "fdatasync_in_memory": self.in_memory,
            "wake_us": self.wake_micros,
        })
    }

    pub(super) fn line(&self) -> String {
        let Self { directory, cores, wake_micros, .. } = self;
        let syncs = match &self.syncs {
            Err(why) => format!("of a sync nothing is known: {directory}: {why}"),
            Ok(times) => {
                let (p50, p99) = (times.millis(0.5), times.millis(0.99));
                let memory = if self.in_memory { ", which is memory and no disk" } else { "" };
                format!("sync of 4 KiB p50 {p50:.3} ms, p99 {p99:.2} ms in {directory}{memory}")
            }
        };
        format!("{cores} cores; {syncs}; waking an idle thread {wake_micros:.0} us")
    }
}

/// How long it takes from the call that wakes a sleeping thread until that runs.
fn wakes() -> Vec<Duration> {
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Instant>(1);
    let sleeper = thread::spawn(move || {
        let times = receiver.iter().map(|called| called.elapsed());
        times.collect::<Vec<_>>()
    });
    for _ in 0..TIMES {
        // It is asleep again by then.
        thread::sleep(Duration::from_millis(1));
        if sender.send(Instant::now()).is_err() {
            break;
        }
    }
    drop(sender);
    sleeper.join().unwrap_or_default()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_measured_and_a_missing_directory_said() {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine::measure(Some(directory.path()));
        assert!(machine.syncs.is_ok() && machine.wake_micros > 0.0, "{machine:?}");
        let none = directory.path().join("none");
        let machine = Machine::measure(Some(&none));
        assert!(machine.line().contains("nothing is known"), "{}", machine.line());
        assert_eq!(machine.json()["fdatasync_ms"], Value::Null);
    }
}
