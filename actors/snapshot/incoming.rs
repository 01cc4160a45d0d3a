//! A snapshot that comes in: one at a time, piece by piece.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_core::kv::{Builder, StateMachine};
use quorate_core::types::{NodeId, Position};
use quorate_core::wire::peer::SnapshotMessage;
use tokio::sync::oneshot;

use super::SnapshotActor;
use crate::messages::{Offered, SnapshotReceived};
use crate::view::NOT_RECEIVING;

pub(super) struct Receiving {
    from: NodeId,
    lane: u64,
    /// When something of it came last.
    touched: Instant,
    position: Position,
    records: u64,
    builder: Builder,
}

/// A snapshot of which nothing more came for so long does not come any more.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) struct Whole {
    /// Until it becomes the node's own: itself and not a point in time, which would have to make
    /// its index anew while the node stands still.
    pub(super) state: Option<StateMachine>,
    /// Who waits until it is installed.
    pub(super) reply: oneshot::Sender<SnapshotMessage>,
}

impl SnapshotActor {
    pub(super) fn forget(&mut self) {
        self.receiving = None;
        self.view.receiving.store(NOT_RECEIVING, Ordering::Relaxed);
    }

    /// Lets go of what has come of a snapshot that is of no use any more, or does not go on.
    pub(super) fn forget_the_late(&mut self) {
        let floor = self.view.raft().snapshot_floor;
        let late = |it: &Receiving| it.position.index < floor || it.touched.elapsed() > PATIENCE;
        if self.receiving.as_ref().is_some_and(late) {
            self.forget();
        }
    }

    pub(super) fn answer_offer(&mut self, offer: &Offered) -> SnapshotMessage {
        let Offered { from, position, records, lane, .. } = *offer;
        let floor = self.view.raft().snapshot_floor;
        if position.index < floor {
            return SnapshotMessage::Done;
        }
        if self.whole.is_some() {
            return SnapshotMessage::Installing;
        }
        let builder = match self.receiving.take() {
            Some(known) if known.position == position && known.from == from => {
                log::info!("snapshot: {position} from node {from} goes on");
                known.builder
            }
            _ => {
                log::info!("snapshot: {position} with {records} records comes from node {from}");
                Builder::new()
            }
        };
        let (last, touched) = (Bytes::copy_from_slice(builder.last()), Instant::now());
        self.receiving = Some(Receiving { from, lane, touched, position, records, builder });
        SnapshotMessage::Next(last)
    }

    /// Whether the snapshot that is coming in comes over that connection. A piece of another one
    /// is late, and must not spoil it.
    pub(super) fn comes_over(&self, from: NodeId, lane: u64) -> bool {
        self.receiving.as_ref().is_some_and(|it| it.from == from && it.lane == lane)
    }

    /// Takes a piece in; `None` where the snapshot is whole, and to be judged.
    pub(super) fn take_piece(&mut self, bytes: &Bytes) -> Result<Option<Bytes>, String> {
        let out_of_turn = || "a piece of a snapshot that was not offered".to_owned();
        let receiving = self.receiving.as_mut().ok_or_else(out_of_turn)?;
        receiving.builder.add_chunk(bytes).map_err(|error| error.to_string())?;
        if receiving.builder.position() != Some(receiving.position) {
            return Err("another state than the one that was offered".to_owned());
        }
        receiving.touched = Instant::now();
        let (done, all) = (receiving.builder.count(), receiving.records);
        let percent = done * 100 / all.max(1);
        self.view.receiving.store(percent.min(100), Ordering::Relaxed);
        Ok((done < all).then(|| Bytes::copy_from_slice(receiving.builder.last())))
    }

    pub(super) fn whole(&mut self, reply: oneshot::Sender<SnapshotMessage>) {
        let Some(receiving) = self.receiving.take() else { return };
        self.forget();
        match receiving.builder.finish() {
            Ok(state) => {
                let position = state.position();
                let membership = state.membership().cloned().unwrap_or_default();
                self.whole = Some(Whole { state: Some(state), reply });
                self.above.received.do_send(SnapshotReceived { position, membership });
            }
            Err(error) => {
                log::warn!("snapshot: from node {} is refused: {error}", receiving.from);
                drop(reply.send(SnapshotMessage::Refused(error.to_string())));
            }
        }
    }
}
