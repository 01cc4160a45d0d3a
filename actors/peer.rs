//! PeerActor: the way to one other member. It owns the outgoing connection, which a task of
//! its own dials, and keeps the bytes that wait for it within a bound; it holds no messages
//! while there is no connection, because Raft sends again what matters.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::prelude::*;
use bytes::Bytes;
use quorate_core::types::NodeId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::dial;
use crate::dialler::Dial;
use crate::messages::{Connected, Disconnected, LinkDown, LinkUp, Retire, Transmit};

/// The actor of one follower.
pub struct PeerActor {
    peer: NodeId,
    above: Above,
    dial: Option<Dial>,
    link: Option<mpsc::UnboundedSender<Bytes>>,
    /// Bytes handed to the link and not yet written.
    queued: Arc<AtomicUsize>,
    queue_bytes: usize,
    /// The task that dials.
    dialling: Option<JoinHandle<()>>,
}

/// Whom a PeerActor tells.
pub struct Above {
    /// Who hears that the connection stands.
    pub connected: Recipient<Connected>,
    /// Who hears that it is gone.
    pub disconnected: Recipient<Disconnected>,
}

impl PeerActor {
    /// An actor that dials as `dial` says once it starts.
    pub fn new(peer: NodeId, above: Above, dial: Dial, queue_bytes: usize) -> Self {
        let queued = Arc::clone(&dial.queued);
        Self { peer, above, dial: Some(dial), link: None, queued, queue_bytes, dialling: None }
    }
}

impl Actor for PeerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(dial) = self.dial.take() {
            let address = ctx.address();
            self.dialling = Some(actix_rt::spawn(dial::keep_connected(
                dial,
                address.clone().recipient(),
                address.recipient(),
            )));
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.dialling.take().inspect(JoinHandle::abort);
    }
}

impl Handler<Transmit> for PeerActor {
    type Result = ();
    fn handle(&mut self, Transmit(frames): Transmit, _: &mut Self::Context) {
        let Some(link) = &self.link else { return };
        for frame in frames {
            let bytes = frame.len();
            let queued = self.queued.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if queued > self.queue_bytes || link.send(frame).is_err() {
                // The task sees its channel closed and dials anew.
                self.link = None;
                return;
            }
        }
    }
}

impl Handler<Retire> for PeerActor {
    type Result = ();
    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<LinkUp> for PeerActor {
    type Result = ();
    fn handle(&mut self, LinkUp(link): LinkUp, _: &mut Self::Context) {
        self.link = Some(link);
        self.above.connected.do_send(Connected { peer: self.peer });
    }
}

impl Handler<LinkDown> for PeerActor {
    type Result = ();
    fn handle(&mut self, _: LinkDown, _: &mut Self::Context) {
        self.link = None;
        self.above.disconnected.do_send(Disconnected { peer: self.peer });
    }
}
