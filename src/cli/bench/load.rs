//! One client of a benchmark.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use quorate_client::{Outcomes, Tagged};

use super::pace::{Pace, Ticker};
use super::record::Recorder;
use super::workload::{Draw, Workload};
use crate::cli::output::Failed;

/// As many outcomes are taken at once.
const AT_ONCE: usize = 1_024;

/// When the measured part is, from a common start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) origin: Instant,
    pub(super) from: Duration,
    pub(super) until: Duration,
}

/// A client, and what it asks.
pub(super) struct Client {
    pub(super) client: quorate_client::Client,
    pub(super) workload: Arc<Workload>,
    /// How many of its requests may be under way.
    pub(super) window: usize,
    pub(super) number: u64,
    /// How many clients there are.
    pub(super) of: u64,
}

/// Loads the cluster until the plan ends, and waits for what is under way then. A request's tag is
/// the time when it was due.
pub(super) async fn run(
    client: Client,
    plan: Plan,
    mut pace: Pace,
    ticker: Option<Arc<Ticker>>,
) -> Recorder {
    let Client { client, workload, window, number, of } = client;
    let mut recorder = Recorder::new(&plan);
    let (mut outcomes, mut taken) = (Outcomes::new(), Vec::new());
    let mut draw = Draw::of(number, of);
    let mut under_way = 0;
    loop {
        let now = plan.origin.elapsed();
        while under_way < window
            && now < plan.until
            && let Some(due) = pace.due(now)
        {
            let tag = u64::try_from(due.as_nanos()).unwrap_or(u64::MAX);
            client.submit_to(&outcomes, tag, workload.op(&mut draw), None);
            under_way += 1;
        }
        if under_way == 0 && now >= plan.until {
            break;
        }
        match &ticker {
            Some(ticker) if now < plan.until => tokio::select! {
                _ = outcomes.take(&mut taken, AT_ONCE), if under_way > 0 => {}
                () = ticker.next() => {}
            },
            Some(_) | None => drop(outcomes.take(&mut taken, AT_ONCE).await),
        }
        under_way -= taken.len();
        let now = plan.origin.elapsed();
        for (tag, result) in taken.drain(..) {
            recorder.ended(&plan, Duration::from_nanos(tag), now, result);
        }
    }
    recorder.unsent = unsent(&mut pace, &plan);
    recorder
}

/// How many requests were due in the measured part and found no room until its end.
fn unsent(pace: &mut Pace, plan: &Plan) -> u64 {
    if matches!(pace, Pace::Closed) {
        return 0;
    }
    let last = plan.until - Duration::from_nanos(1);
    let due = std::iter::from_fn(|| pace.due(last));
    due.filter(|due| *due >= plan.from).count() as u64
}

/// Writes the keys of a range, once each.
pub(super) async fn fill(
    client: quorate_client::Client,
    workload: Arc<Workload>,
    keys: Range<u64>,
    bar: ProgressBar,
) -> Result<(), Failed> {
    let (mut outcomes, mut taken) = (Outcomes::new(), Vec::<Tagged>::new());
    let (mut keys, mut under_way) = (keys, 0);
    loop {
        while under_way < 64
            && let Some(number) = keys.next()
        {
            client.submit_to(&outcomes, number, workload.put_numbered(number), None);
            under_way += 1;
        }
        if under_way == 0 {
            return Ok(());
        }
        outcomes.take(&mut taken, AT_ONCE).await;
        under_way -= taken.len();
        for (_, result) in taken.drain(..) {
            result?;
            bar.inc(1);
        }
    }
}
