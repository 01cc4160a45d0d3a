//! The two tasks at a client's socket: one reads while the session's gate is open, one writes
//! what the session hands it. All waiting is here, so that the actor never waits.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use actix::Addr;
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Session};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::client_session::ClientSessionActor;
use crate::guard::FrameLimit;
use crate::messages::{Frame, SocketClosed, Written};

/// Whether the socket is read: closed while the session's window or its replies are full, and
/// then the client's own sends wait (TCP's back-pressure).
#[derive(Clone, Debug, Default)]
pub struct Gate(Rc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    shut: Cell<bool>,
    changed: Notify,
}

impl Gate {
    /// Opens or shuts it.
    pub fn set(&self, open: bool) {
        self.0.shut.set(!open);
        if open {
            self.0.changed.notify_one();
        }
    }

    async fn open(&self) {
        while self.0.shut.get() {
            self.0.changed.notified().await;
        }
    }
}

/// What goes out on the socket.
#[derive(Debug)]
pub enum Outgoing {
    /// A binary message.
    Replies(Bytes),
    /// A ping of ours.
    Ping,
    /// The end, with its code and reason.
    Close(u16, String),
}

/// How many answers to pings may wait for the socket.
pub(crate) const PONGS: usize = 4;
/// A client that sends nothing at all, not even the answer to a ping, for this long is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// A client that does not take a reply for this long is gone.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// Reads until the socket ends, and tells the session why.
pub async fn read(
    mut stream: AggregatedMessageStream,
    gate: Gate,
    limit: FrameLimit,
    pongs: mpsc::Sender<Bytes>,
    session: Addr<ClientSessionActor>,
) {
    let refusal = loop {
        gate.open().await;
        let Ok(next) = timeout(SILENCE, stream.next()).await else {
            break Some((1001, "nothing was heard from you, not even a pong".to_owned()));
        };
        match next {
            Some(Ok(AggregatedMessage::Binary(frame))) => session.do_send(Frame(frame)),
            // A client that pings and does not read gets no more than a few answers.
            Some(Ok(AggregatedMessage::Ping(bytes))) => drop(pongs.try_send(bytes)),
            Some(Ok(AggregatedMessage::Pong(_))) => {}
            Some(Ok(AggregatedMessage::Text(_))) => {
                let text = "a text message: requests are MessagePack in binary messages";
                break Some((1003, text.to_owned()));
            }
            Some(Ok(AggregatedMessage::Close(_))) => break None,
            Some(Err(error)) => break Some((1002, error.to_string())),
            None => break oversized(&limit),
        }
    };
    session.do_send(SocketClosed { refusal });
}

fn oversized(limit: &FrameLimit) -> Option<(u16, String)> {
    if limit.crowded() {
        let text =
            "too many unfinished messages are arriving here (limits.arriving_bytes): try again";
        return Some((1013, text.to_owned()));
    }
    let bytes = limit.exceeded()?;
    let most = limit.bytes();
    Some((1009, format!("a message of {bytes} bytes; the limit is {most}")))
}

/// Writes until the session ends or the client no longer takes anything.
pub async fn write(
    mut socket: Session,
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
    mut pongs: mpsc::Receiver<Bytes>,
    session: Addr<ClientSessionActor>,
) {
    loop {
        let next = tokio::select! {
            next = outgoing.recv() => next,
            Some(bytes) = pongs.recv() => {
                if !matches!(timeout(WRITE_TIME, socket.pong(&bytes)).await, Ok(Ok(()))) {
                    session.do_send(SocketClosed { refusal: None });
                    return;
                }
                continue;
            }
        };
        let Some(next) = next else { return };
        let (bytes, sent) = match next {
            Outgoing::Replies(bytes) => {
                (bytes.len(), timeout(WRITE_TIME, socket.binary(bytes)).await)
            }
            Outgoing::Ping => (0, timeout(WRITE_TIME, socket.ping(b"")).await),
            Outgoing::Close(code, reason) => {
                let reason = CloseReason { code: CloseCode::from(code), description: Some(reason) };
                drop(timeout(WRITE_TIME, socket.close(Some(reason))).await);
                return;
            }
        };
        if !matches!(sent, Ok(Ok(()))) {
            session.do_send(SocketClosed { refusal: None });
            return;
        }
        session.do_send(Written(bytes));
    }
}
