//! Snapshots on their way from a leader to a follower, piece by piece. It stands in for the lane of
//! their own that they have between nodes: pieces are lost, doubled and late like any message, and
//! each is answered with how far the receiver has come.

use bytes::Bytes;
use quorate_core::kv::{Builder, StateMachine};
use quorate_core::raft::Input;
use quorate_core::types::{NodeId, Position};

use super::World;
use super::queue::Event;
use crate::coverage::Sometimes;

/// A snapshot on its way out.
pub(super) struct Sending {
    state: StateMachine,
    /// The name of the last record that is known to have arrived.
    after: Bytes,
    /// Counts the pieces that were sent.
    number: u64,
}

/// A snapshot that is coming in.
pub(super) struct Incoming {
    position: Position,
    builder: Builder,
    from: NodeId,
}

/// What goes over the lane.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// Records behind that name.
    Records { position: Position, after: Bytes, bytes: Bytes, done: bool },
    /// The receiver has the records up to that name.
    Has { position: Position, last: Bytes },
    /// The receiver holds all of it, or more.
    Holds { position: Position },
    /// The receiver needs a newer one.
    TooOld { position: Position },
}

/// A piece between two nodes.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    connection: u64,
    disks: (u64, u64),
    piece: Piece,
}

impl World {
    /// Begins to send to everyone who needs a snapshot, and ends where nobody needs one any more.
    pub(super) fn send_snapshots(&mut self, id: NodeId) {
        let Some(process) = &mut self.machine_mut(id).process else { return };
        let targets = process.targets.clone();
        process.sending.retain(|peer, _| targets.contains(peer));
        let position = process.state.position();
        for peer in targets {
            let Some(process) = &mut self.machine_mut(id).process else { return };
            if process.sending.contains_key(&peer) || position.index.0 == 0 {
                continue;
            }
            let state = process.state.point_in_time();
            let sending = Sending { state, after: Bytes::new(), number: 0 };
            process.sending.insert(peer, sending);
            self.feed(id, Input::SnapshotStarted { peer, index: position.index });
            self.send_piece(id, peer);
        }
    }

    fn send_piece(&mut self, id: NodeId, peer: NodeId) {
        let upkeep = self.plan.upkeep.clone();
        let machine = self.machine_mut(id);
        let epoch = machine.epoch;
        let Some(process) = &mut machine.process else { return };
        let Some(sending) = process.sending.get_mut(&peer) else { return };
        sending.number += 1;
        let number = sending.number;
        let chunk = sending.state.chunk(&sending.after, upkeep.piece_bytes);
        let (position, after) = (sending.state.position(), sending.after.clone());
        let piece = Piece::Records { position, after, bytes: chunk.bytes, done: chunk.done };
        self.transmit(id, peer, &piece);
        let again = self.now + upkeep.resend_ms * 1_000;
        self.queue.push(again, Event::Resend { node: id, epoch, peer, number });
    }

    /// A piece was not answered in time.
    pub(super) fn resend(&mut self, id: NodeId, epoch: u64, peer: NodeId, number: u64) {
        if !self.runs(id, epoch, || Event::Resend { node: id, epoch, peer, number }) {
            return;
        }
        let Some(process) = &self.machine(id).process else { return };
        if process.sending.get(&peer).is_some_and(|sending| sending.number == number) {
            self.watch.sometimes(Sometimes::PieceRepeated);
            self.send_piece(id, peer);
        }
    }

    fn transmit(&mut self, from: NodeId, to: NodeId, piece: &Piece) {
        let (arrivals, connection) = self.arrivals(from, to);
        let disks = self.disks(from, to);
        for at in arrivals {
            let parcel = Parcel { from, to, connection, disks, piece: piece.clone() };
            self.queue.push(at, Event::Parcel(parcel));
        }
    }

    /// A piece arrives.
    pub(super) fn parcel(&mut self, parcel: &Parcel) {
        let (from, to, connection) = (parcel.from, parcel.to, parcel.connection);
        if self.network.is_cut(from, to) || !self.is_way(from, to, connection, parcel.disks) {
            return;
        }
        if self.requeue_if_paused(to, || Event::Parcel(parcel.clone())) {
            return;
        }
        match parcel.piece.clone() {
            Piece::Records { position, after, bytes, done } => {
                let answer = self.take_records(to, from, position, &after, &bytes, done);
                if let Some(answer) = answer {
                    self.transmit(to, from, &answer);
                }
            }
            Piece::Has { position, last } => self.has(to, from, position, last),
            Piece::Holds { position } => {
                if self.was_sending(to, from, position) {
                    let index = position.index;
                    self.feed(to, Input::SnapshotSent { peer: from, index });
                }
            }
            Piece::TooOld { position } => {
                if self.was_sending(to, from, position) {
                    self.watch.sometimes(Sometimes::SnapshotTooOld);
                }
            }
        }
    }

    /// Ends the sending of that snapshot; whether there was one.
    fn was_sending(&mut self, id: NodeId, peer: NodeId, position: Position) -> bool {
        let Some(process) = &mut self.machine_mut(id).process else { return false };
        let same = process.sending.get(&peer).is_some_and(|it| it.state.position() == position);
        if same {
            process.sending.remove(&peer);
        }
        same
    }

    fn has(&mut self, id: NodeId, peer: NodeId, position: Position, last: Bytes) {
        let Self { machines, watch, .. } = self;
        let process = machines.get_mut(&id).and_then(|machine| machine.process.as_mut());
        let Some(sending) = process.and_then(|it| it.sending.get_mut(&peer)) else { return };
        // An answer that says nothing new is of a piece that came twice.
        if sending.state.position() == position && sending.after != last {
            if last.is_empty() {
                watch.sometimes(Sometimes::SnapshotRestarted);
            }
            sending.after = last;
            self.send_piece(id, peer);
        }
    }

    fn take_records(
        &mut self,
        id: NodeId,
        from: NodeId,
        position: Position,
        after: &Bytes,
        bytes: &Bytes,
        done: bool,
    ) -> Option<Piece> {
        let Self { machines, watch, .. } = self;
        let process = machines.get_mut(&id)?.process.as_mut()?;
        if process.received.is_some() || process.installs {
            return None;
        }
        let status = process.node.status();
        if position.index < status.snapshot_floor {
            let holds = !status.lacks_state;
            return Some(if holds {
                Piece::Holds { position }
            } else {
                Piece::TooOld { position }
            });
        }
        if process.incoming.as_ref().is_none_or(|incoming| incoming.position != position) {
            process.incoming = Some(Incoming { position, builder: Builder::new(), from });
        }
        let incoming = process.incoming.as_mut()?;
        if incoming.builder.last() != after {
            let last = Bytes::copy_from_slice(incoming.builder.last());
            let resumes = !last.is_empty() && incoming.from != from;
            incoming.from = from;
            if resumes {
                watch.sometimes(Sometimes::SnapshotResumed);
            }
            return Some(Piece::Has { position, last });
        }
        incoming.builder.add_chunk(bytes).expect("pieces arrive as they were sent");
        let last = Bytes::copy_from_slice(incoming.builder.last());
        if !done {
            return Some(Piece::Has { position, last });
        }
        let state = process.incoming.take()?.builder.finish();
        let state = state.expect("a snapshot that came in whole is whole");
        assert!(state.position() == position, "the snapshot is another than was said");
        let membership = state.membership().cloned().unwrap_or_default();
        process.received = Some(state);
        self.feed(id, Input::SnapshotReceived { position, membership });
        None
    }
}
