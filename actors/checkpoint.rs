//! CheckpointActor: the state on disk, alone on a thread that may block for seconds. What it is
//! given is a point in time, so nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use actix::prelude::*;
use quorate_core::store::CheckpointStore;
use quorate_core::types::Index;

use crate::fatal::{exit, fatal};
use crate::messages::{Captured, Save, Saved};
use crate::metrics::Metrics;
use crate::view::View;

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
}

impl Actor for CheckpointActor {
    type Context = Context<Self>;

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
        // Nothing hangs on one more checkpoint when the node stops.
        if self.view.stopping.load(Ordering::SeqCst) && !install {
            return;
        }
        if install {
            self.installed = self.installed.max(position.index);
        } else if position.index <= self.installed {
            // It was captured before the snapshot came, and would be written over it.
            return self.above.captured.do_send(Captured { position });
        }
        let started = Instant::now();
        let saved = self.store.save(&state, changes);
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
            self.above.captured.do_send(Captured { position });
        }
    }
}

#[cfg(test)]
mod tests;
