//! The connections that snapshots go over: one for each transfer, dialled by the sender. A few
//! pieces are ahead of the answers, so that the wire is never idle and little is in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use actix::{Addr, Message, Recipient};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, Session};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use quorate_core::kv::StateMachine;
use quorate_core::types::NodeId;
use quorate_core::wire::peer::{SnapshotMessage, decode_snapshot, encode_snapshot};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite;

use crate::dial::{LONGEST_HANDSHAKE, Socket, connect};
use crate::dialler::Dial;
use crate::messages::{Offered, PieceCame, SnapshotSent, SnapshotStarted};
use crate::snapshot::SnapshotActor;
use crate::view::View;

/// About the size of a piece.
pub const PIECE_BYTES: usize = 256 << 10;
/// So many pieces may be on their way, unanswered.
const AHEAD: usize = 4;
/// An answer that takes longer does not come: it is asked for over another connection, which goes
/// on where this one ended. Twice as long after each attempt but the first in which nothing came,
/// for slow links.
const ANSWER_TIME: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(200);
/// After so many attempts without a piece taken, a newer state is sent.
const ATTEMPTS: u32 = 8;

/// Whom a sending task tells.
pub struct Told {
    /// That it has begun.
    pub started: Recipient<SnapshotStarted>,
    /// That the follower has it.
    pub sent: Recipient<SnapshotSent>,
    /// That it has ended.
    pub ended: Recipient<Ended>,
    /// Where its progress shows.
    pub view: Arc<View>,
}

impl Told {
    fn show(&self, peer: NodeId, percent: u64) {
        let mut shown = self.view.sending.lock().unwrap_or_else(PoisonError::into_inner);
        shown.insert(peer, percent.min(100));
    }
}

/// The sending of a snapshot has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Ended {
    /// To whom it went.
    pub peer: NodeId,
    /// Whether it arrived; else it is given up.
    pub sent: bool,
}

/// Sends a state to a follower, over as many connections as it takes.
pub async fn send(mut dial: Dial, state: Arc<StateMachine>, told: Told) {
    let (peer, index) = (dial.peer, state.applied());
    told.started.do_send(SnapshotStarted { peer, index });
    let (mut failed, mut said) = (0_u32, String::new());
    while failed < ATTEMPTS {
        dial.follow_address();
        let patience = ANSWER_TIME * (1 << failed.saturating_sub(1));
        match attempt(&mut dial, &state, &told, patience).await {
            Ok(()) => {
                // First here, so that raft can ask for the next one.
                told.ended.do_send(Ended { peer, sent: true });
                return told.sent.do_send(SnapshotSent { peer, index });
            }
            Err(Broken { why, progressed }) => {
                // Once: while it is installed there, five times a second.
                if why != said {
                    log::info!("snapshot: to node {peer} is interrupted: {why}");
                    said = why;
                }
                failed = if progressed { 0 } else { failed + 1 };
            }
        }
        sleep(PAUSE).await;
    }
    told.ended.do_send(Ended { peer, sent: false });
}

/// Why an attempt ended, and whether pieces were taken in it.
struct Broken {
    why: String,
    progressed: bool,
}

async fn attempt(
    dial: &mut Dial,
    state: &StateMachine,
    told: &Told,
    patience: Duration,
) -> Result<(), Broken> {
    let broken = |why| Broken { why, progressed: false };
    let socket = connect(dial, patience.min(LONGEST_HANDSHAKE)).await;
    let socket = socket.map_err(|error| broken(error.why))?;
    let mut lane = Lane { socket, patience, progressed: false };
    let sent = transfer(&mut lane, dial.peer, state, told).await;
    sent.map_err(|why| Broken { why, progressed: lane.progressed })
}

/// A connection, and whether the other end takes what is sent over it.
struct Lane {
    socket: Socket,
    patience: Duration,
    progressed: bool,
}

async fn transfer(
    lane: &mut Lane,
    peer: NodeId,
    state: &StateMachine,
    told: &Told,
) -> Result<(), String> {
    let (position, records) = (state.position(), state.record_count());
    lane.say(&SnapshotMessage::Offer { position, records }).await?;
    let mut after = match lane.hear().await? {
        SnapshotMessage::Next(after) => after,
        SnapshotMessage::Done => return Ok(()),
        other => {
            // Its end may take longer than any attempts.
            lane.progressed = other == SnapshotMessage::Installing;
            return Err(refusal(other));
        }
    };
    let (mut ahead, mut done) = (0_usize, false);
    let mut sent_records = if after.is_empty() { 0 } else { state.records_until(&after) };
    loop {
        while ahead < AHEAD && !done {
            let chunk = state.chunk(&after, PIECE_BYTES);
            after = chunk.last;
            done = chunk.done;
            sent_records += chunk.records;
            lane.say(&SnapshotMessage::Piece(chunk.bytes)).await?;
            ahead += 1;
        }
        told.show(peer, sent_records * 100 / records.max(1));
        match lane.hear().await? {
            SnapshotMessage::Next(_) => {
                lane.progressed = true;
                ahead = ahead.checked_sub(1).ok_or("an answer out of turn")?;
            }
            SnapshotMessage::Done => return Ok(()),
            other => return Err(refusal(other)),
        }
    }
}

fn refusal(message: SnapshotMessage) -> String {
    match message {
        SnapshotMessage::Refused(why) => why,
        SnapshotMessage::Installing => "one is being installed there".to_owned(),
        other => format!("an answer out of turn: {other:?}"),
    }
}

impl Lane {
    async fn say(&mut self, message: &SnapshotMessage) -> Result<(), String> {
        let sent = self.socket.send(tungstenite::Message::Binary(encode_snapshot(message)));
        match timeout(self.patience, sent).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_) => Err("the connection takes nothing any more".to_owned()),
        }
    }

    async fn hear(&mut self) -> Result<SnapshotMessage, String> {
        loop {
            let heard = timeout(self.patience, self.socket.next()).await;
            match heard.map_err(|_| "no answer".to_owned())? {
                Some(Ok(tungstenite::Message::Binary(bytes))) => return decode_snapshot(&bytes),
                Some(Ok(tungstenite::Message::Close(frame))) => {
                    return Err(frame.map_or("closed".to_owned(), |frame| frame.reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("closed".to_owned()),
            }
        }
    }
}

/// The accepting side, once the handshake is done: hands over what comes in, and sends back
/// what is answered. Says why it ended.
pub(crate) async fn receive(
    from: NodeId,
    snapshots: &Addr<SnapshotActor>,
    session: &mut Session,
    stream: &mut AggregatedMessageStream,
) -> String {
    let lane = LANES.fetch_add(1, Ordering::Relaxed);
    while let Some(message) = stream.next().await {
        let bytes = match message {
            Ok(AggregatedMessage::Binary(bytes)) => bytes,
            Ok(AggregatedMessage::Ping(bytes)) => {
                drop(session.pong(&bytes).await);
                continue;
            }
            Ok(AggregatedMessage::Pong(_)) => continue,
            Ok(AggregatedMessage::Close(_)) => return "closed".to_owned(),
            Ok(AggregatedMessage::Text(_)) => return "a text frame".to_owned(),
            Err(error) => return error.to_string(),
        };
        let answer = match decode_snapshot(&bytes) {
            Ok(message) => hand_over(from, lane, snapshots, message),
            Err(error) => return format!("a frame that does not decode: {error}"),
        };
        let Some(answer) = answer else { return "a message out of turn".to_owned() };
        let Ok(answer) = answer.await else { return "the node stops".to_owned() };
        if session.binary(encode_snapshot(&answer)).await.is_err() {
            return "closed".to_owned();
        }
    }
    "connection lost".to_owned()
}

/// Numbers the connections that come in, so that a piece of one is not taken for another's.
static LANES: AtomicU64 = AtomicU64::new(1);

fn hand_over(
    from: NodeId,
    lane: u64,
    snapshots: &Addr<SnapshotActor>,
    message: SnapshotMessage,
) -> Option<oneshot::Receiver<SnapshotMessage>> {
    let (reply, answer) = oneshot::channel();
    match message {
        SnapshotMessage::Offer { position, records } => {
            snapshots.do_send(Offered { from, position, records, lane, reply });
        }
        SnapshotMessage::Piece(bytes) => {
            let bytes: Bytes = bytes;
            snapshots.do_send(PieceCame { from, lane, bytes, reply });
        }
        SnapshotMessage::Next(_)
        | SnapshotMessage::Done
        | SnapshotMessage::Installing
        | SnapshotMessage::Refused(_) => return None,
    }
    Some(answer)
}
