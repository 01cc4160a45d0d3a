//! What a leader knows of one follower, and what it may send there.
//!
//! ```text
//!              accepted                       rejected, lost, disconnected
//!   Probe ───────────────────► Replicate ───────────────────────────────► Probe
//!   one append, then wait      many appends in flight, bounded
//!     │  ▲
//!     │  └── installed, or accepted after all
//!     ▼ its next entry is compacted
//!   Snapshot: no appends; a snapshot is on its way
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use crate::types::{Index, Moment};

/// How appends go to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressState {
    /// Where its log matches is not known: one append at a time.
    Probe,
    /// It matches: appends are pipelined.
    Replicate,
    /// Its next entry is compacted: it needs a snapshot.
    Snapshot,
}

impl ProgressState {
    /// The state's name in status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ProgressState::Probe => "probe",
            ProgressState::Replicate => "replicate",
            ProgressState::Snapshot => "snapshot",
        }
    }
}

/// An append on its way.
#[derive(Debug)]
#[cfg_attr(feature = "search", derive(Clone))]
pub(super) struct Flight {
    pub(super) last: Index,
    bytes: usize,
    /// The newest round of heartbeats when it was sent: an answer to a later round that does
    /// not show its entries means that it was lost.
    pub(super) round: u64,
    sent: Moment,
}

/// One follower.
#[derive(Debug)]
#[cfg_attr(feature = "search", derive(Clone))]
pub(crate) struct Progress {
    pub(crate) state: ProgressState,
    /// The highest index known to be durable there. Never falls.
    pub(crate) match_index: Index,
    /// The next entry to send.
    pub(crate) next_index: Index,
    pub(crate) connected: bool,
    pub(crate) last_contact: Moment,
    /// The newest round of heartbeats that it answered in this term.
    pub(crate) acked_round: u64,
    pub(super) flights: VecDeque<Flight>,
    flight_bytes: usize,
    /// In `Probe`: the append that is out, if one is.
    pub(super) probe: Option<Flight>,
    /// It said that it has no state under its log.
    pub(super) wants_snapshot: bool,
    /// The index of the snapshot that is on its way there: the log behind it is kept.
    pub(super) snapshot: Option<Index>,
    /// Since when a learner has been caught up.
    pub(super) caught_up: Option<Moment>,
    /// When the newest round that it answered was sent.
    pub(super) acked_sent: Moment,
    /// When an append last went out.
    appended_at: Moment,
}

impl Progress {
    /// A follower of a new leader whose last entry is `last`.
    pub(crate) fn new(last: Index, now: Moment, connected: bool) -> Self {
        Self {
            state: ProgressState::Probe,
            match_index: Index(0),
            next_index: last.next(),
            connected,
            last_contact: now,
            acked_round: 0,
            flights: VecDeque::new(),
            flight_bytes: 0,
            probe: None,
            wants_snapshot: false,
            snapshot: None,
            caught_up: None,
            acked_sent: Moment(0),
            appended_at: Moment(0),
        }
    }

    /// Whether a snapshot is to be sent there.
    pub(crate) fn needs_snapshot(&self) -> bool {
        self.wants_snapshot || self.state == ProgressState::Snapshot
    }

    /// Up to where the leader's memory need hold nothing for it: what it has, but all of it while it
    /// is to get a snapshot, so that it finds what follows that.
    pub(crate) fn holds(&self) -> Index {
        match self.snapshot {
            Some(snapshot) => snapshot,
            None if self.needs_snapshot() => Index(0),
            None => self.match_index,
        }
    }

    /// It holds a snapshot up to `index` now: what follows is in the log again.
    pub(crate) fn snapshot_installed(&mut self, index: Index) {
        self.wants_snapshot = false;
        self.snapshot = None;
        if self.state == ProgressState::Snapshot {
            self.probe_from(index.next());
        }
    }

    /// Whether an append may go out now.
    pub(crate) fn may_send(&self, max_flights: usize, max_bytes: usize) -> bool {
        let open = match self.state {
            ProgressState::Probe => self.probe.is_none(),
            ProgressState::Replicate => {
                self.flights.len() < max_flights && self.flight_bytes < max_bytes
            }
            ProgressState::Snapshot => false,
        };
        self.connected && open
    }

    /// Whether the next append may wait for more to come, until `pause` after the last one. `most`
    /// entries are a batch, which waits no longer.
    pub(crate) fn may_wait(&self, now: Moment, pause: Duration, last: Index, most: usize) -> bool {
        let waiting = last.0.saturating_sub(self.next_index.previous().0);
        self.state == ProgressState::Replicate
            && waiting < most as u64
            && now.since(self.appended_at) < pause
    }

    /// An append up to `last` went out.
    pub(crate) fn sent(&mut self, last: Index, bytes: usize, round: u64, now: Moment) {
        let flight = Flight { last, bytes, round, sent: now };
        self.appended_at = now;
        match self.state {
            ProgressState::Probe => self.probe = Some(flight),
            ProgressState::Replicate => {
                self.next_index = last.next();
                self.flight_bytes += bytes;
                self.flights.push_back(flight);
            }
            ProgressState::Snapshot => {}
        }
    }

    /// It holds everything up to `index`.
    pub(crate) fn accepted(&mut self, index: Index) {
        self.match_index = self.match_index.max(index);
        self.next_index = self.next_index.max(self.match_index.next());
        while self.flights.front().is_some_and(|flight| flight.last <= self.match_index) {
            let flight = self.flights.pop_front().expect("the front was just looked at");
            self.flight_bytes -= if mutant!(InflightIsNeverFreed) { 0 } else { flight.bytes };
        }
        self.probe = None;
        if self.state == ProgressState::Probe {
            self.state = ProgressState::Replicate;
            self.next_index = self.match_index.next();
        }
    }

    /// Back to probing from `next`, but never at or below what is known to match.
    pub(crate) fn probe_from(&mut self, next: Index) {
        self.state = ProgressState::Probe;
        self.next_index = next.max(self.match_index.next());
        self.flights.clear();
        self.flight_bytes = 0;
        self.probe = None;
    }

    /// Whether a rejection of the append behind `prev` says something new (C-10: a late one
    /// must not move anything). Index 0 matches everywhere: a rejection there is of an append of
    /// an older term.
    pub(crate) fn is_current_rejection(&self, prev: Index) -> bool {
        match self.state {
            _ if prev == Index(0) => false,
            ProgressState::Probe => self.probe.is_some() && prev == self.next_index.previous(),
            ProgressState::Replicate => prev > self.match_index,
            ProgressState::Snapshot => false,
        }
    }

    /// It answered `round`, and its log ends at `last`: what was sent before that round and
    /// does not show was lost. So was an acknowledgement that is missing since `overdue`; a
    /// younger one may still wait for the follower's sync.
    pub(crate) fn answered_round(&mut self, round: u64, last: Index, overdue: Moment) {
        self.acked_round = self.acked_round.max(round);
        let lost =
            |flight: &Flight| flight.round < round && (last < flight.last || flight.sent < overdue);
        match self.state {
            ProgressState::Probe if mutant!(LostProbeIsNotRepeated) => {}
            ProgressState::Replicate if mutant!(LostAppendIsNotRepeated) => {}
            ProgressState::Probe if self.probe.as_ref().is_some_and(lost) => self.probe = None,
            ProgressState::Replicate if self.flights.front().is_some_and(lost) => {
                self.probe_from(self.match_index.next());
            }
            ProgressState::Probe | ProgressState::Replicate | ProgressState::Snapshot => {}
        }
    }
}
