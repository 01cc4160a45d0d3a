//! A snapshot that comes in: one at a time, piece by piece.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use quorate_core::kv::{Builder, StateMachine};
use quorate_core::types::{NodeId, Position};
use quorate_core::wire::peer::SnapshotMessage;
use tokio::sync::oneshot;

use super::SnapshotActor;
use crate::messages::SnapshotReceived;
use crate::view::NOT_RECEIVING;

pub(super) struct Receiving {
    from: NodeId,
    position: Position,
    records: u64,
    came: u64,
    builder: Builder,
}

pub(super) struct Whole {
    pub(super) state: StateMachine,
    /// Who waits until it is installed.
    pub(super) reply: oneshot::Sender<SnapshotMessage>,
}

impl SnapshotActor {
    pub(super) fn forget(&mut self) {
        self.receiving = None;
        self.view.receiving.store(NOT_RECEIVING, Ordering::Relaxed);
    }

    pub(super) fn answer_offer(
        &mut self,
        from: NodeId,
        position: Position,
        records: u64,
    ) -> SnapshotMessage {
        let floor = self.view.raft().snapshot_floor;
        if position.index < floor {
            return SnapshotMessage::Done;
        }
        if self.whole.is_some() {
            return SnapshotMessage::Refused("another snapshot is being installed".to_owned());
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
        let (last, came) = (builder.last().clone(), 0);
        self.receiving = Some(Receiving { from, position, records, came, builder });
        SnapshotMessage::Next(last)
    }

    /// Takes a piece in; `None` where the snapshot is whole, and to be judged.
    pub(super) fn take_piece(
        &mut self,
        from: NodeId,
        bytes: &Bytes,
    ) -> Result<Option<Bytes>, String> {
        let out_of_turn = || "a piece of a snapshot that was not offered".to_owned();
        let receiving = self.receiving.as_mut().filter(|receiving| receiving.from == from);
        let receiving = receiving.ok_or_else(out_of_turn)?;
        receiving.builder.add_chunk(bytes).map_err(|error| error.to_string())?;
        if receiving.builder.position() != Some(receiving.position) {
            return Err("another state than the one that was offered".to_owned());
        }
        receiving.came += 1;
        let (done, all) = (receiving.builder.count(), receiving.records);
        let percent = done * 100 / all.max(1);
        self.view.receiving.store(percent.min(100), Ordering::Relaxed);
        Ok((done < all).then(|| receiving.builder.last().clone()))
    }

    pub(super) fn whole(&mut self, reply: oneshot::Sender<SnapshotMessage>) {
        let Some(receiving) = self.receiving.take() else { return };
        self.forget();
        match receiving.builder.finish() {
            Ok(state) => {
                let position = state.position();
                let membership = state.membership().cloned().unwrap_or_default();
                self.whole = Some(Whole { state, reply });
                self.above.received.do_send(SnapshotReceived { position, membership });
            }
            Err(error) => {
                log::warn!("snapshot: from node {} is refused: {error}", receiving.from);
                drop(reply.send(SnapshotMessage::Refused(error.to_string())));
            }
        }
    }
}
