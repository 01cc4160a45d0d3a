//! What a node says of a peer that it cannot reach.

use std::time::{Duration, Instant};

use crate::dialler::Dial;
use crate::repeated::Repeated;

/// What was said about a peer that cannot be reached: each sentence once a minute.
#[derive(Default)]
pub(super) struct Complaints {
    said: Repeated,
    /// Since when it cannot be reached.
    since: Option<Instant>,
}

/// Nodes that are started together find each other within this time; until then, silence.
const PATIENCE: Duration = Duration::from_secs(1);

impl Complaints {
    pub(super) fn say(&mut self, dial: &Dial, error: &str) {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENCE && self.said.is_due(error) {
            log::warn!("peer: cannot reach node {} at {}: {error}", dial.peer, dial.address);
        }
    }
}
