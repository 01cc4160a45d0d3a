//! When the leader proposes that the cluster clock advance.
//!
//! Sessions expire by the log and never by a node's own clock (dissertation §6.3): replicas
//! whose clocks differ would expire a session at different places of the log, one would execute
//! a retried write as new and another would not, and their states would part for ever. So time
//! itself is a command: the leader measures how long it was, proposes `Clock { advance_ms }`,
//! and every replica moves the cluster clock, and expires the same sessions, at that entry.
//!
//! The cluster clock may lag behind time; it must not run ahead of the clients' chance to keep
//! their sessions alive. Hence three rules, each of which errs towards a longer life:
//!
//! * An advance is at most two intervals, however long ago the last one
//!   was. An outage, a pause of the process or a change of leader thus counts as little time.
//! * One proposal is in flight at a time. While entries do not commit, none pile up that would
//!   all expire sessions at the moment they do. One that was not applied for
//!   eight intervals is taken for lost.
//! * While there are no sessions no time passes, so that a first session does not inherit it.

use std::time::Duration;

use bytes::Bytes;

use super::command::Command;
use crate::types::Moment;

/// How often the cluster clock advances unless set otherwise. It bounds how much later than
/// its time to live a session may expire, and costs one small entry each.
pub const DEFAULT_CLOCK_INTERVAL: Duration = Duration::from_millis(1_000);

/// The longest advance, in intervals.
const MAX_ADVANCE_INTERVALS: u32 = 2;

/// How long a proposal may go without being applied, in intervals.
const PATIENCE_INTERVALS: u32 = 8;

/// Decides when this node proposes a `Clock` command. Owned beside the state machine; pure.
#[derive(Clone, Debug)]
pub struct Pacemaker {
    interval: Duration,
    /// From when the next advance counts: the last `Clock` applied here, or the moment at which
    /// this node first saw a reason to count.
    since: Option<Moment>,
    /// When this node, leading, proposed a `Clock` that it has not applied yet.
    proposed: Option<Moment>,
}

impl Default for Pacemaker {
    fn default() -> Self {
        Self::new(DEFAULT_CLOCK_INTERVAL)
    }
}

impl Pacemaker {
    /// A pacemaker that advances the clock once in `interval`, of at least a millisecond.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        let interval = interval.max(Duration::from_millis(1));
        Self { interval, since: None, proposed: None }
    }

    /// Notes that this node applied a `Clock` entry, whoever proposed it.
    pub fn applied_clock(&mut self, now: Moment) {
        self.since = Some(now);
        self.proposed = None;
    }

    /// The command to propose now, if one is due. Called at every tick on every node, also
    /// while it does not lead, with the number of sessions in its state.
    pub fn due(&mut self, now: Moment, leading: bool, sessions: usize) -> Option<Bytes> {
        if !leading {
            self.proposed = None;
        }
        if sessions == 0 {
            self.since = None;
        }
        if !leading || sessions == 0 {
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let elapsed = now.since(since);
        if elapsed < self.interval || self.awaits_proposal(now) {
            return None;
        }
        self.proposed = Some(now);
        let advance = elapsed.min(self.interval * MAX_ADVANCE_INTERVALS);
        let advance = if mutant!(OutageAgesSessions) { elapsed } else { advance };
        let advance_ms = u64::try_from(advance.as_millis()).unwrap_or(u64::MAX);
        Some(Command::Clock { advance_ms }.encode())
    }

    /// Whether a proposal is in flight that may still be applied.
    fn awaits_proposal(&self, now: Moment) -> bool {
        let patience = self.interval * PATIENCE_INTERVALS;
        self.proposed.is_some_and(|proposed| now.since(proposed) < patience)
    }
}
