//! What this process has used, as the kernel tells it.

use quorate_actors::settings::ProcessUse;
use rustix::param::page_size;
use rustix::time::{ClockId, clock_gettime};

/// What the process has used since its start. What the kernel does not say is `None`.
#[must_use]
pub fn used() -> ProcessUse {
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| resident(&text));
    let files = std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64);
    ProcessUse {
        cpu_seconds: cpu_seconds(),
        resident_bytes: pages.map(|pages| pages * page_size() as u64),
        // The directory that is being read is one of them.
        open_files: files.map(|files| files.saturating_sub(1)),
    }
}

/// The processor time of all threads of this process, the kernel's on its behalf included.
#[must_use]
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
    let (seconds, nanos) = (time.tv_sec as f64, time.tv_nsec as f64);
    seconds + nanos / 1e9
}

/// The second field of proc(5)'s `statm`: pages that are resident.
fn resident(statm: &str) -> Option<u64> {
    statm.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statm_has_the_resident_pages_second() {
        assert_eq!(resident("5000 256 100 7 0 300 0\n"), Some(256));
        assert_eq!(resident(""), None);
    }

    #[test]
    fn this_process_uses_time_memory_and_files() {
        let (before, work) = (used(), (0..1_000_000u64).map(std::hint::black_box).sum::<u64>());
        assert!(used().cpu_seconds > before.cpu_seconds, "{work}");
        assert!(before.resident_bytes.is_none_or(|bytes| bytes > 1 << 20));
        assert!(before.open_files.is_none_or(|files| files > 2));
    }
}
