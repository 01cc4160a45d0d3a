//! SnapshotActor: snapshots on their way, out and in, on a thread of its own. It decides
//! nothing: whom to serve and what to install, raft says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use quorate_core::raft;
use quorate_core::types::NodeId;
use quorate_core::wire::peer::SnapshotMessage;
use tokio::task::JoinHandle;

use crate::background;
use crate::checkpoint::CheckpointActor;
use crate::dialler::Dialler;
use crate::messages::{
    Capture, Install, Installed, Offered, PieceCame, Purpose, Replace, Save, Saved, Serve,
    SnapshotReceived, SnapshotSent, SnapshotStarted, Taken,
};
use crate::snapshot_lane;
use crate::state_machine::StateMachineActor;
use crate::view::View;

mod incoming;

use incoming::{Receiving, Whole};

/// How often a snapshot that comes in is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The actor of snapshots.
pub struct SnapshotActor {
    above: Above,
    below: Option<Below>,
    dialler: Dialler,
    view: Arc<View>,
    /// Followers to be served, with their addresses; a task for each once there is a state.
    serving: BTreeMap<NodeId, (String, Option<JoinHandle<()>>)>,
    receiving: Option<Receiving>,
    /// Whole, and being judged or installed.
    whole: Option<Whole>,
}

/// Whom a SnapshotActor tells.
#[derive(Clone)]
pub struct Above {
    /// Who hears that a snapshot has begun to be sent.
    pub started: Recipient<SnapshotStarted>,
    /// Who hears that a follower has one.
    pub sent: Recipient<SnapshotSent>,
    /// Who hears that one has come in.
    pub received: Recipient<SnapshotReceived>,
}

/// Whom a SnapshotActor commands.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Below {
    /// The state.
    pub state_machine: Addr<StateMachineActor>,
    /// The checkpoint.
    pub checkpoint: Addr<CheckpointActor>,
}

impl SnapshotActor {
    /// An actor that dials as `dialler` does.
    pub fn new(above: Above, dialler: Dialler, view: Arc<View>) -> Self {
        let serving = BTreeMap::new();
        Self { above, below: None, dialler, view, serving, receiving: None, whole: None }
    }

    fn sending(&self) -> MutexGuard<'_, BTreeMap<NodeId, u64>> {
        self.view.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Actor for SnapshotActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        background::give_way(background::SNAPSHOTS);
        ctx.run_interval(LOOK_AGAIN, |actor, _| actor.forget_the_late());
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if !self.view.stopping.load(Ordering::SeqCst) {
            crate::fatal::fatal(70, "SnapshotActor ended, so this node stops");
        }
    }
}

impl Handler<Below> for SnapshotActor {
    type Result = ();
    fn handle(&mut self, below: Below, _: &mut Self::Context) {
        self.below = Some(below);
    }
}

impl Handler<Serve> for SnapshotActor {
    type Result = ();
    fn handle(&mut self, Serve(followers): Serve, _: &mut Self::Context) {
        let wanted: BTreeMap<NodeId, String> = followers.into_iter().collect();
        let gone = self.serving.keys().filter(|id| !wanted.contains_key(id)).copied();
        for id in gone.collect::<Vec<_>>() {
            if let Some((_, Some(task))) = self.serving.remove(&id) {
                task.abort();
            }
            self.sending().remove(&id);
        }
        let mut fresh = false;
        for (id, address) in wanted {
            self.serving.entry(id).or_insert_with(|| {
                fresh = true;
                (address, None)
            });
        }
        if fresh && let Some(below) = &self.below {
            below.state_machine.do_send(Capture { purpose: Purpose::Snapshot });
        }
    }
}

impl Handler<Taken> for SnapshotActor {
    type Result = ();
    fn handle(&mut self, Taken(state): Taken, ctx: &mut Self::Context) {
        let state = Arc::new(state);
        let waiting = self.serving.iter_mut().filter(|(_, (_, task))| task.is_none());
        for (id, (address, task)) in waiting {
            let dial = self.dialler.snapshot(*id, address.clone());
            let told = snapshot_lane::Told {
                started: self.above.started.clone(),
                sent: self.above.sent.clone(),
                ended: ctx.address().recipient(),
                view: Arc::clone(&self.view),
            };
            let sending = snapshot_lane::send(dial, Arc::clone(&state), told);
            *task = Some(actix_rt::spawn(sending));
        }
    }
}

/// A task that gave up is followed by another, with a newer state.
impl Handler<snapshot_lane::Ended> for SnapshotActor {
    type Result = ();
    fn handle(&mut self, ended: snapshot_lane::Ended, _: &mut Self::Context) {
        let snapshot_lane::Ended { peer, sent } = ended;
        self.sending().remove(&peer);
        if sent {
            self.serving.remove(&peer);
        }
        let Some((_, task)) = self.serving.get_mut(&peer) else { return };
        *task = None;
        if let Some(below) = &self.below {
            below.state_machine.do_send(Capture { purpose: Purpose::Snapshot });
        }
    }
}

impl Handler<Offered> for SnapshotActor {
    type Result = ();
    fn handle(&mut self, offer: Offered, _: &mut Self::Context) {
        let answer = self.answer_offer(&offer);
        drop(offer.reply.send(answer));
    }
}

impl Handler<PieceCame> for SnapshotActor {
    type Result = ();
    fn handle(&mut self, piece: PieceCame, _: &mut Self::Context) {
        let PieceCame { from, lane, bytes, reply } = piece;
        if !self.comes_over(from, lane) {
            let why = "a piece of a snapshot that was not offered".to_owned();
            return drop(reply.send(SnapshotMessage::Refused(why)));
        }
        match self.take_piece(&bytes) {
            Ok(Some(last)) => drop(reply.send(SnapshotMessage::Next(last))),
            Ok(None) => self.whole(reply),
            Err(error) => {
                self.forget();
                drop(reply.send(SnapshotMessage::Refused(error)));
            }
        }
    }
}

impl Handler<Install> for SnapshotActor {
    type Result = ();
    fn handle(&mut self, Install(verdict): Install, _: &mut Self::Context) {
        let raft::Install { position, accept } = verdict;
        let Some(Whole { state: Some(state), .. }) = &self.whole else { return };
        assert!(state.position() == position, "the verdict is on another snapshot");
        if accept && let Some(below) = &self.below {
            let state = state.point_in_time();
            below.checkpoint.do_send(Save { state, changes: None, install: true });
        } else if let Some(whole) = self.whole.take() {
            // Either this node holds all of it, or it campaigns now and needs it later.
            let has = position.index < self.view.raft().snapshot_floor;
            let why = || SnapshotMessage::Refused("not now: this node campaigns".to_owned());
            drop(whole.reply.send(if has { SnapshotMessage::Done } else { why() }));
        }
    }
}

impl Handler<Saved> for SnapshotActor {
    type Result = ();
    fn handle(&mut self, _: Saved, _: &mut Self::Context) {
        let state = self.whole.as_mut().and_then(|whole| whole.state.take());
        if let (Some(state), Some(below)) = (state, &self.below) {
            below.state_machine.do_send(Replace(state));
        }
    }
}

impl Handler<Installed> for SnapshotActor {
    type Result = ();
    fn handle(&mut self, _: Installed, _: &mut Self::Context) {
        if let Some(whole) = self.whole.take() {
            drop(whole.reply.send(SnapshotMessage::Done));
        }
    }
}
