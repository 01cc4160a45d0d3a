//! LogStoreActor: the log on disk, alone on a thread that may block.
//!
//! Handlers stage; the drain makes everything staged durable with one sync, and only then
//! sends what waited for it: acknowledgements and votes to the peers, `Persisted` to raft. So
//! many proposals share one sync, and nothing is promised before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::{Bytes, BytesMut};
use quorate_core::raft;
use quorate_core::store::{LogStore, StoreError};
use quorate_core::types::NodeId;
use quorate_core::wire::peer::encode_message;

use crate::fatal::{exit, fatal};
use crate::messages::{Drain, Flush, Peers, Persist, Persisted, Transmit, Trim};
use crate::metrics::Metrics;
use crate::outbound::trace;
use crate::view::View;

/// The actor of the disk.
pub struct LogStoreActor {
    store: Box<dyn LogStore>,
    raft: Recipient<Persisted>,
    peers: BTreeMap<NodeId, Recipient<Transmit>>,
    view: Arc<View>,
    metrics: Metrics,
    batch: usize,
    slow_sync: Duration,
    /// Staged, and not yet synced: the newest number, and what may leave afterwards.
    staged: usize,
    seq: u64,
    then: Vec<(NodeId, raft::Message)>,
    /// The space of what was trimmed is being freed.
    reclaims: bool,
}

/// So much of what was trimmed is freed at a time, which takes about a millisecond, and then
/// whatever waits to be synced has its turn.
const RECLAIM_BYTES: u64 = 4 << 20;
const RECLAIM_PAUSE: Duration = Duration::from_millis(10);
/// How often it is asked whether the disk is short of space.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The next step of freeing what was trimmed.
#[derive(Message)]
#[rtype(result = "()")]
struct Reclaim;

/// Whom a LogStoreActor tells.
pub struct Above {
    /// Who hears that something is durable.
    pub raft: Recipient<Persisted>,
    /// Who carries messages to the peers.
    pub peers: BTreeMap<NodeId, Recipient<Transmit>>,
}

impl LogStoreActor {
    /// An actor around an opened log.
    pub fn new(
        store: Box<dyn LogStore>,
        above: Above,
        view: Arc<View>,
        metrics: Metrics,
        batch: usize,
        slow_sync: Duration,
    ) -> Self {
        view.log_bytes.store(store.bytes(), Ordering::Relaxed);
        let Above { raft, peers } = above;
        let (then, staged, seq, reclaims) = (Vec::new(), 0, 0, false);
        Self { store, raft, peers, view, metrics, batch, slow_sync, staged, seq, then, reclaims }
    }

    fn stage(&mut self, persist: raft::Persist) -> Result<(), StoreError> {
        persist.entries.iter().for_each(|entry| trace("staged", entry));
        persist.stage(&mut *self.store)?;
        assert!(persist.seq > self.seq, "writes are staged in order");
        self.seq = persist.seq;
        self.then.extend(persist.then);
        self.staged += 1;
        Ok(())
    }

    /// One sync for everything staged, then everything that waited for it.
    fn sync(&mut self) {
        if self.staged == 0 {
            return;
        }
        self.staged = 0;
        let (started, syncs) = (Instant::now(), self.store.syncs());
        self.store.sync().unwrap_or_else(|error| fail(&error));
        if self.store.syncs() > syncs {
            self.measure(started.elapsed());
        }
        self.raft.do_send(Persisted { seq: self.seq });
        let mut frames: BTreeMap<NodeId, Vec<Bytes>> = BTreeMap::new();
        for (to, message) in self.then.drain(..) {
            let mut out = BytesMut::new();
            encode_message(&mut out, &message);
            frames.entry(to).or_default().push(out.freeze());
        }
        for (to, frames) in frames {
            if let Some(peer) = self.peers.get(&to) {
                peer.do_send(Transmit(frames));
            }
        }
    }

    fn begin_to_reclaim(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.reclaims, true) {
            ctx.notify(Reclaim);
        }
    }

    fn measure(&self, took: Duration) {
        self.metrics.log_syncs.inc();
        self.metrics.log_sync_seconds.observe(took.as_secs_f64());
        self.view.log_bytes.store(self.store.bytes(), Ordering::Relaxed);
        if took >= self.slow_sync {
            log::warn!("log: a sync took {} ms", took.as_millis());
        }
    }
}

/// The disk failed: the process ends. A second sync could succeed without the data (rule 12).
fn fail(error: &StoreError) -> ! {
    fatal(
        exit::DISK,
        format_args!(
            "disk error: {error}. Nothing that was not synced has been acknowledged; this node stops. \
             Check the disk and its free space, then start it again"
        ),
    )
}

impl Actor for LogStoreActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Trimmed segments that are kept to be used again are better let go of then.
        ctx.run_interval(LOOK_EVERY, |actor, ctx| {
            if actor.view.space.is_low(actor.store.bytes()) {
                actor.begin_to_reclaim(ctx);
            }
        });
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if !self.view.stopping.load(Ordering::SeqCst) {
            fatal(70, "LogStoreActor ended, so this node stops");
        }
    }
}

impl Handler<Persist> for LogStoreActor {
    type Result = ();
    fn handle(&mut self, Persist(persist): Persist, ctx: &mut Self::Context) {
        self.stage(persist).unwrap_or_else(|error| fail(&error));
        if self.staged == 1 {
            ctx.notify(Drain);
        } else if self.staged >= self.batch {
            self.sync();
        }
    }
}

impl Handler<Drain> for LogStoreActor {
    type Result = ();
    fn handle(&mut self, _: Drain, _: &mut Self::Context) {
        self.sync();
    }
}

impl Handler<Peers> for LogStoreActor {
    type Result = ();
    fn handle(&mut self, Peers(peers): Peers, _: &mut Self::Context) {
        self.peers = peers;
    }
}

impl Handler<Trim> for LogStoreActor {
    type Result = ();
    fn handle(&mut self, Trim(through): Trim, ctx: &mut Self::Context) {
        self.store.trim(through).unwrap_or_else(|error| fail(&error));
        self.begin_to_reclaim(ctx);
    }
}

impl Handler<Reclaim> for LogStoreActor {
    type Result = ();
    fn handle(&mut self, _: Reclaim, ctx: &mut Self::Context) {
        let low = self.view.space.is_low(self.store.bytes());
        let more = self.store.reclaim(RECLAIM_BYTES, low).unwrap_or_else(|error| fail(&error));
        self.view.log_bytes.store(self.store.bytes(), Ordering::Relaxed);
        self.reclaims = more;
        if more {
            ctx.notify_later(Reclaim, RECLAIM_PAUSE);
        }
    }
}

impl Handler<Flush> for LogStoreActor {
    type Result = ();
    fn handle(&mut self, _: Flush, _: &mut Self::Context) {
        self.sync();
    }
}
