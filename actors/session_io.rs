//! The two tasks at a client's socket: one reads while the session's gate is open, one writes
//! what the session hands it. All waiting is here, so that the actor never waits.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use actix::Addr;
use actix_ws::{
    AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Closed, Session,
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::client_session::ClientSessionActor;
use crate::guard::FrameLimit;
use crate::messages::{Frame, SocketClosed, Written};
use crate::outbox::Outbox;

/// Whether the socket is read: closed while the session's window or its replies are full, and
/// then the client's own sends wait (TCP's back-pressure). Open for good once the session has
/// ended, so that nothing waits at it any more.
#[derive(Clone, Debug, Default)]
pub struct Gate(Rc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    shut: Cell<bool>,
    ended: Cell<bool>,
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

    /// The session has ended.
    pub fn end(&self) {
        self.0.ended.set(true);
        self.set(true);
    }

    async fn open(&self) {
        while self.0.shut.get() {
            self.0.changed.notified().await;
        }
    }

    async fn ended(&self) {
        while !self.0.ended.get() {
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
    /// The answer to a ping.
    Pong(Bytes),
    /// The end, with its code and reason.
    Close(u16, String),
}

/// How many answers to pings may wait for the socket.
pub(crate) const PONGS: usize = 4;
/// A client that sends nothing at all, not even the answer to a ping, for this long is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// How long a client whose session has ended may still send, and read the close frame.
const LINGER: Duration = Duration::from_secs(3);

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
        let next = tokio::select! {
            next = timeout(SILENCE, stream.next()) => next,
            () = gate.ended() => return linger(stream).await,
        };
        let Ok(next) = next else {
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

/// Reads on for a moment and drops what comes: a socket that is closed over unread bytes takes
/// the close frame back.
async fn linger(mut stream: AggregatedMessageStream) {
    let rest = async { while let Some(Ok(_)) = stream.next().await {} };
    drop(timeout(LINGER, rest).await);
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

/// Writes until the session ends, or the client takes nothing for `patience`.
pub async fn write(
    mut socket: Session,
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
    mut pongs: mpsc::Receiver<Bytes>,
    outbox: Outbox,
    patience: Duration,
    session: Addr<ClientSessionActor>,
) {
    loop {
        let next = tokio::select! {
            next = outgoing.recv() => next,
            Some(bytes) = pongs.recv() => Some(Outgoing::Pong(bytes)),
            () = outbox.stalled(patience) => break,
        };
        let Some(next) = next else { return };
        match timeout(patience, hand_over(&mut socket, next, &outbox)).await {
            Ok(Ok(bytes)) => session.do_send(Written(bytes)),
            Ok(Err(Closed)) | Err(_) => break,
        }
    }
    session.do_send(SocketClosed { refusal: None });
}

/// Hands something to the socket once what went before is on its way; how many bytes of replies
/// it was.
async fn hand_over(socket: &mut Session, next: Outgoing, outbox: &Outbox) -> Result<usize, Closed> {
    outbox.room().await;
    let bytes = match next {
        Outgoing::Replies(replies) => {
            let bytes = replies.len();
            socket.binary(replies).await?;
            bytes
        }
        Outgoing::Ping => socket.ping(b"").await.map(|()| 0)?,
        Outgoing::Pong(bytes) => socket.pong(&bytes).await.map(|()| 0)?,
        Outgoing::Close(code, reason) => {
            let reason = CloseReason { code: CloseCode::from(code), description: Some(reason) };
            socket.clone().close(Some(reason)).await.map(|()| 0)?
        }
    };
    outbox.put(bytes.max(1));
    Ok(bytes)
}
