//! When a client's requests are due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::cli::args::BenchArgs;

/// When a client's requests are due, as times since the start.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// As soon as there is room for one.
    Closed,
    /// One every so often, the first at `next`.
    Open { next: f64, every: f64 },
}

impl Pace {
    /// That of client `number`. The clients of an open loop take turns.
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    pub(super) fn of(args: &BenchArgs, number: usize) -> Self {
        match args.rate {
            None => Pace::Closed,
            Some(rate) => {
                let every = args.clients as f64 / rate as f64;
                Pace::Open { next: number as f64 / rate as f64, every }
            }
        }
    }

    /// When the next request was due, if it is due by now. In a closed loop that is now.
    pub(super) fn due(&mut self, now: Duration) -> Option<Duration> {
        match self {
            Pace::Closed => Some(now),
            Pace::Open { next, every } => {
                let due = Duration::from_secs_f64(*next);
                if due > now {
                    return None;
                }
                *next += *every;
                Some(due)
            }
        }
    }
}

/// Wakes all clients of an open loop, a thousand times a second. The runtime's own timer has steps of
/// a millisecond and is late by up to one, which would be measured as the cluster's.
#[derive(Debug)]
pub(super) struct Ticker {
    tick: Arc<Notify>,
    ended: Arc<AtomicBool>,
}

/// How often.
const TICK: Duration = Duration::from_millis(1);

impl Ticker {
    /// Ticks for so long.
    pub(super) fn start(time: Duration) -> Self {
        let (tick, ended) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (ticks, end) = (Arc::clone(&tick), Arc::clone(&ended));
        std::thread::spawn(move || {
            let started = Instant::now();
            while started.elapsed() < time && !end.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                ticks.notify_waiters();
            }
            end.store(true, Ordering::Relaxed);
            ticks.notify_waiters();
        });
        Self { tick, ended }
    }

    /// Waits for the next tick; at once where there is none any more.
    pub(super) async fn next(&self) {
        let notified = self.tick.notified();
        if !self.ended.load(Ordering::Relaxed) {
            notified.await;
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_loop_is_due_at_its_rate_however_late_it_is_asked() {
        let mut pace = Pace::Open { next: 0.5, every: 0.25 };
        assert_eq!(pace.due(Duration::from_millis(499)), None);
        let late = Duration::from_secs(2);
        let due: Vec<f64> =
            std::iter::from_fn(|| pace.due(late)).map(|at| at.as_secs_f64()).collect();
        assert_eq!(due, [0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]);
    }

    #[test]
    fn a_closed_loop_is_always_due() {
        let now = Duration::from_secs(3);
        assert_eq!(Pace::Closed.due(now), Some(now));
    }

    #[tokio::test]
    async fn a_ticker_that_has_ended_holds_nobody_up() {
        let ticker = Ticker::start(Duration::ZERO);
        tokio::time::timeout(Duration::from_secs(10), async {
            for _ in 0..3 {
                ticker.next().await;
            }
        })
        .await
        .unwrap();
    }
}
