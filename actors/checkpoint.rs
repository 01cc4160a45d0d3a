//! CheckpointActor: the state on disk, alone on a thread that may block for seconds. What it is
//! given is a point in time, so nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::prelude::*;
use quorate_core::store::CheckpointStore;
use quorate_core::types::Index;

use crate::background;
use crate::fatal::{exit, fatal};
use crate::messages::{Captured, Discard, Save, Saved};
use crate::metrics::Metrics;
use crate::view::View;

/// How often the disk's space is looked at, while there is too little for a checkpoint.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// After a checkpoint the next one waits so many times as long as it took, so that at most a
/// twentieth of the time goes into them where they take long.
const RESTS: u32 = 19;

/// The actor of the checkpoint.
pub struct CheckpointActor {
    store: Box<dyn CheckpointStore>,
    above: Above,
    view: Arc<View>,
    metrics: Metrics,
    /// The newest snapshot that was installed holds everything up to here.
    installed: Index,
}

/// Whom a CheckpointActor tells.
pub struct Above {
    /// Who hears that a checkpoint is durable.
    pub captured: Recipient<Captured>,
    /// Who hears that a snapshot that came in is durable.
    pub saved: Recipient<Saved>,
}

impl CheckpointActor {
    /// An actor around an opened store.
    pub fn new(
        store: Box<dyn CheckpointStore>,
        above: Above,
        view: Arc<View>,
        metrics: Metrics,
    ) -> Self {
        view.checkpoint_bytes.store(store.bytes(), Ordering::Relaxed);
        Self { store, above, view, metrics, installed: Index(0) }
    }

    /// Waits until the disk has room for it: better a long log than a disk that is full. What
    /// comes behind it waits, too: a follower that needs a snapshot cannot store that, either.
    fn await_room(&self, needed: u64) {
        let mut told = false;
        while !self.is_ending() && !self.has_room_for(needed) {
            if !std::mem::replace(&mut told, true) {
                log::warn!(
                    "checkpoint: put off until there is more space on the disk, it needs about {} MiB",
                    needed >> 20
                );
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// How long the next checkpoint may wait after one that took so long, and so much room. None
    /// where space is short, as the log grows and the next checkpoint with it.
    fn rest(&self, took: Duration, room: u64) -> Duration {
        let log_bytes = self.view.log_bytes.load(Ordering::Relaxed);
        self.view.look_at_disk();
        let growth = room.saturating_add(log_bytes).saturating_mul(4);
        if self.view.space.has_plenty_for(growth) { took * RESTS } else { Duration::ZERO }
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        self.view.look_at_disk();
        self.view.space.has_room_for(bytes)
    }

    fn is_ending(&self) -> bool {
        self.view.stopping.load(Ordering::SeqCst)
    }
}

impl Actor for CheckpointActor {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        background::give_way(background::CHECKPOINTS);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if !self.view.stopping.load(Ordering::SeqCst) {
            fatal(exit::INTERNAL, "CheckpointActor ended, so this node stops");
        }
    }
}

impl Handler<Save> for CheckpointActor {
    type Result = ();
    fn handle(&mut self, Save { state, changes, install }: Save, _: &mut Self::Context) {
        let position = state.position();
        let room = self.store.room(&state, changes.as_ref());
        self.await_room(room);
        // Nothing hangs on one more checkpoint when the node stops.
        if self.is_ending() && !install {
            return;
        }
        if install {
            self.installed = self.installed.max(position.index);
        } else if position.index <= self.installed {
            // It was captured before the snapshot came, and would be written over it.
            return self.above.captured.do_send(Captured { position, rest: Duration::ZERO });
        }
        let started = Instant::now();
        let saved = self.store.save(state, changes);
        if let Err(error) = saved {
            fatal(
                exit::DISK,
                format_args!(
                    "disk error: {error}. The log holds everything that was acknowledged; this node stops. \
                     Check the disk and its free space, then start it again"
                ),
            );
        }
        let took = started.elapsed();
        self.metrics.checkpoints.inc();
        self.metrics.checkpoint_seconds.observe(took.as_secs_f64());
        self.view.checkpoint_bytes.store(self.store.bytes(), Ordering::Relaxed);
        log::debug!("checkpoint: durable up to {position} in {} ms", took.as_millis());
        if install {
            self.above.saved.do_send(Saved);
        } else {
            let rest = self.rest(took, room);
            self.above.captured.do_send(Captured { position, rest });
        }
    }
}

impl Handler<Discard> for CheckpointActor {
    type Result = ();
    fn handle(&mut self, Discard(state): Discard, _: &mut Self::Context) {
        drop(state);
    }
}

#[cfg(test)]
mod tests;
