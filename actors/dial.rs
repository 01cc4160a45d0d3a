//! The task behind a PeerActor: dials the peer, proves who it is, and carries frames; for
//! ever, with a pause between attempts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix::Recipient;
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use quorate_core::raft::Random;
use quorate_core::wire::peer::{
    Challenge, HANDSHAKE_BYTES, Handshake, Prover, RefusedWhy, decode_handshake, encode_handshake,
};
use tokio::io::BufWriter;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::dialler::Dial;
use crate::fatal::{exit, fatal};
use crate::handshake::{Disk, hello, judge_challenge, prove};
use crate::keepalive;
use crate::messages::{LinkDown, LinkUp};

mod complaints;

use complaints::Complaints;

pub(crate) type Socket = WebSocketStream<BufWriter<TcpStream>>;

/// So much is read at a time: what comes back is short. All of it is filled with zeros before each
/// look at whether something has come, and there is one after each frame that is sent.
const READ_BYTES: usize = 1 << 10;
/// A frame that is not longer is on its way once it is in here. The websocket moves all that is
/// left of a frame for each part of it that the connection takes: of a megabyte, many.
const WRITE_BYTES: usize = 2 << 20;

/// No message is packed together with others beyond this size.
const PACK_BYTES: usize = 256 << 10;
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A handshake that takes longer is begun anew: a message may be lost for good on a path through
/// others. The next ones may take longer, on slow paths.
const SHORTEST_HANDSHAKE: Duration = Duration::from_secs(1);
pub(crate) const LONGEST_HANDSHAKE: Duration = Duration::from_secs(4);

/// Dials, carries, pauses, and dials again.
pub(crate) async fn keep_connected(
    mut dial: Dial,
    up: Recipient<LinkUp>,
    down: Recipient<LinkDown>,
) {
    let mut random = Random::new(dial.seed);
    let (mut pause, mut patience) = (SHORTEST_PAUSE, SHORTEST_HANDSHAKE);
    let mut said = Complaints::default();
    loop {
        let started = Instant::now();
        let ended = match connect(&mut dial, patience).await {
            Ok(socket) => {
                log::info!("peer: connected to node {} at {}", dial.peer, dial.address);
                (pause, patience) = (SHORTEST_PAUSE, SHORTEST_HANDSHAKE);
                said = Complaints::default();
                dial.queued.store(0, Ordering::Relaxed);
                let (sender, frames) = mpsc::unbounded_channel();
                up.do_send(LinkUp(sender));
                let ended = carry(socket, frames, &dial.queued).await;
                log::info!("peer: lost the connection to node {}: {ended}", dial.peer);
                ended
            }
            Err(error) => {
                said.say(&dial, &error.why);
                if error.is_late {
                    patience = (patience * 2).min(LONGEST_HANDSHAKE);
                }
                error.why
            }
        };
        log::trace!("peer: node {}: {ended} after {:?}", dial.peer, started.elapsed());
        down.do_send(LinkDown);
        let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        sleep(pause / 2 + Duration::from_millis(random.below(millis))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why there is no connection.
pub(crate) struct NoConnection {
    pub(crate) why: String,
    /// Nothing came in time; more of it might have helped.
    is_late: bool,
}

/// A connection whose handshake is done in time; or why there is none.
pub(crate) async fn connect(dial: &mut Dial, patience: Duration) -> Result<Socket, NoConnection> {
    match timeout(patience, connect_now(dial)).await {
        Ok(result) => result.map_err(|why| NoConnection { why, is_late: false }),
        Err(_) => {
            let why = format!("no answer within {patience:?}");
            Err(NoConnection { why, is_late: true })
        }
    }
}

async fn connect_now(dial: &mut Dial) -> Result<Socket, String> {
    let tcp = TcpStream::connect(&dial.address).await.map_err(plain)?;
    tcp.set_nodelay(true).map_err(plain)?;
    keepalive::watch(&tcp, None);
    // The answers to a snapshot's pieces name records, by keys as long as they may be.
    let keys = usize::try_from(dial.settings.limits.key_bytes).unwrap_or(usize::MAX / 2);
    let most = 4 * HANDSHAKE_BYTES + keys;
    let config = WebSocketConfig::default()
        .max_message_size(Some(most))
        .max_frame_size(Some(most))
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(usize::MAX);
    let url = format!("ws://{}{}", dial.address, dial.path);
    let stream = BufWriter::with_capacity(WRITE_BYTES, tcp);
    let upgraded = client_async_with_config(url, stream, Some(config)).await;
    let (mut socket, _) = upgraded.map_err(|error| format!("not a peer address: {error}"))?;
    shake_hands(dial, &mut socket).await?;
    Ok(socket)
}

async fn shake_hands(dial: &mut Dial, socket: &mut Socket) -> Result<(), String> {
    let settings = Arc::clone(&dial.settings);
    let hello = hello(&settings, dial.peer, dial.view.added());
    say(socket, &Handshake::Hello(hello.clone())).await?;
    let challenge = match hear(socket).await? {
        Handshake::Challenge(challenge) => challenge,
        other => return Err(turned_away(dial, other)),
    };
    judge_challenge(&settings, &hello, &challenge)?;
    let Challenge { incarnation, added, .. } = challenge;
    (dial.disk_known)(Disk { node: dial.peer, incarnation, added })?;
    let proof = prove(settings.secret.as_deref(), Prover::Dialler, &hello, &challenge);
    say(socket, &Handshake::Proof(proof)).await?;
    match hear(socket).await? {
        Handshake::Welcome => Ok(()),
        other => Err(turned_away(dial, other)),
    }
}

/// A peer that knows this node under another disk has the last word: with its log and votes
/// lost, this node must not take part (rule 11). So has one that knows it as removed. But who
/// hears a leader is a member, and refused by one that has not heard of that yet.
fn turned_away(dial: &Dial, answer: Handshake) -> String {
    let refused = match answer {
        Handshake::Refused(refused) => refused,
        Handshake::Hello(_)
        | Handshake::Challenge(_)
        | Handshake::Proof(_)
        | Handshake::Welcome => return "an answer out of turn".to_owned(),
    };
    let code = match refused.why {
        RefusedWhy::Incarnation => Some(exit::WRONG_DATA_DIRECTORY),
        RefusedWhy::Removed => Some(exit::REMOVED),
        RefusedWhy::Version
        | RefusedWhy::Cluster
        | RefusedWhy::Node
        | RefusedWhy::Secret
        | RefusedWhy::Malformed => None,
    };
    if let Some(code) = code
        && dial.stands_alone()
    {
        fatal(code, format_args!("node {} refuses this node: {}", dial.peer, refused.reason))
    }
    format!("refused: {}", refused.reason)
}

async fn say(socket: &mut Socket, message: &Handshake) -> Result<(), String> {
    let sent = socket.send(Message::Binary(encode_handshake(message))).await;
    sent.map_err(|error| error.to_string())
}

async fn hear(socket: &mut Socket) -> Result<Handshake, String> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => return decode_handshake(&bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(frame))) => {
                let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                return Err(format!("closed during the handshake: {reason}"));
            }
            Some(Ok(_)) => return Err("not a handshake".to_owned()),
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("closed during the handshake".to_owned()),
        }
    }
}

/// Writes frames until either side ends; says why it ended.
async fn carry(
    mut socket: Socket,
    mut frames: mpsc::UnboundedReceiver<Bytes>,
    queued: &AtomicUsize,
) -> String {
    loop {
        tokio::select! {
            biased;
            frame = frames.recv() => {
                let Some(first) = frame else {
                    return "too much waits to be sent, or the node stops".to_owned();
                };
                let packed = pack(first, &mut frames);
                let bytes = packed.len();
                let sent = socket.send(Message::Binary(packed)).await;
                let _ = queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                    Some(now.saturating_sub(bytes))
                });
                if let Err(error) = sent {
                    return error.to_string();
                }
            }
            heard = socket.next() => match heard {
                Some(Ok(Message::Close(frame))) => {
                    return frame.map_or("closed".to_owned(), |frame| frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return error.to_string(),
                None => return "closed".to_owned(),
            },
        }
    }
}

/// Everything that waits, as one websocket message, up to a size.
fn pack(first: Bytes, frames: &mut mpsc::UnboundedReceiver<Bytes>) -> Bytes {
    if first.len() >= PACK_BYTES {
        return first;
    }
    let Ok(second) = frames.try_recv() else { return first };
    let mut packed = BytesMut::with_capacity(first.len() + second.len());
    packed.extend_from_slice(&first);
    packed.extend_from_slice(&second);
    while packed.len() < PACK_BYTES
        && let Ok(next) = frames.try_recv()
    {
        packed.extend_from_slice(&next);
    }
    packed.freeze()
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn plain(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}
