//! The rate over time, as a line of bars.

use super::record::float;

/// At most so many bars.
const COLUMNS: usize = 60;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A bar for each number, or for the mean of several where there are many. The highest is full, and
/// none is without a bar.
pub(super) fn sparkline(numbers: &[u64]) -> String {
    let together = numbers.len().div_ceil(COLUMNS).max(1);
    let mean = |some: &[u64]| float(some.iter().sum()) / float(some.len() as u64);
    let means: Vec<f64> = numbers.chunks(together).map(mean).collect();
    let highest = means.iter().copied().fold(0.0, f64::max);
    means.iter().map(|mean| bar(mean / highest)).collect()
}

fn bar(share: f64) -> char {
    let eighths = (1..BARS.len()).filter(|bar| share * 8.0 > float(*bar as u64));
    BARS.get(eighths.count()).copied().unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_is_full_and_nothing_is_without_a_bar() {
        assert_eq!(sparkline(&[0, 1, 2, 3, 4, 5, 6, 7, 8]), "▁▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[5, 5]), "██");
        assert_eq!(sparkline(&[0, 0]), "▁▁");
        assert_eq!(sparkline(&[]), "");
    }

    #[test]
    fn many_seconds_share_bars() {
        let line = sparkline(&vec![7; 3_601]);
        assert!(line.chars().count() <= COLUMNS && line.chars().all(|bar| bar == '█'), "{line}");
        assert_eq!(sparkline(&[1; 60]).chars().count(), 60);
    }
}
