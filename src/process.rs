//! What this process has used, as the kernel tells it.

use quorate_actors::settings::ProcessUse;
use rustix::param::{clock_ticks_per_second, page_size};

/// What the process has used since its start; `None` where the kernel does not say.
#[must_use]
pub fn used() -> Option<ProcessUse> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    parse(&stat, clock_ticks_per_second(), page_size() as u64)
}

/// Reads a line of proc(5)'s `stat`. The command's name comes second, in brackets, and may hold
/// anything.
fn parse(stat: &str, ticks_per_second: u64, page_bytes: u64) -> Option<ProcessUse> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let own: u64 = fields.next()?.parse().ok()?;
    let kernels: u64 = fields.next()?.parse().ok()?;
    let pages: u64 = fields.nth(8)?.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
    let cpu_seconds = (own + kernels) as f64 / ticks_per_second as f64;
    Some(ProcessUse { cpu_seconds, resident_bytes: pages * page_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_mislead() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 4 0 99 1000000 256 \
                    18446744073709551615 1 1 0";
        let found = parse(stat, 100, 4_096).unwrap();
        assert_eq!(found, ProcessUse { cpu_seconds: 2.0, resident_bytes: 1 << 20 });
        assert_eq!(parse("7 (a) S 1", 100, 4_096), None);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(used().unwrap().resident_bytes > 1 << 20);
    }
}
