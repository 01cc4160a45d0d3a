//! The accepting side of a peer's connection: proves who dials, then hands its messages to
//! raft. One task for each connection; it ends with its socket.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::Addr;
use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Session};
use bytes::Bytes;
use futures_util::StreamExt;
use quorate_core::wire::peer::{
    Challenge, HANDSHAKE_BYTES, Handshake, PeerHello, Prover, Refused, RefusedWhy, decode_messages,
    encode_handshake,
};

use crate::dial::LONGEST_HANDSHAKE;
use crate::guard::{FrameLimit, guarded};
use crate::handshake::{
    Disk, Incarnations, judge_hello, judge_member, nonce, proof_holds, prove, refused,
};
use crate::messages::{Introduced, Received, Silenced};
use crate::raft::RaftActor;
use crate::repeated::Repeated;
use crate::settings::{Settings, peer_frame_bytes};
use crate::snapshot::SnapshotActor;
use crate::snapshot_lane;
use crate::view::View;

mod shaking;

use shaking::{hear, say};

/// What the accepting side shares.
#[derive(Clone)]
pub struct Acceptor {
    /// The node's settings.
    pub settings: Arc<Settings>,
    /// Who the members are.
    pub view: Arc<View>,
    /// Whose disks are known.
    pub incarnations: Arc<Mutex<dyn Incarnations>>,
    /// Who gets the messages.
    pub raft: Addr<RaftActor>,
    /// Who gets the snapshots.
    pub snapshots: Addr<SnapshotActor>,
    /// What was last said about a refusal.
    pub complained: Arc<Mutex<Repeated>>,
}

/// How often a silent peer's membership is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What comes in over a connection.
#[derive(Clone, Copy)]
enum Lane {
    Raft,
    Snapshot,
}

/// `GET /v1/raft`, the peers' websocket.
///
/// # Errors
/// When the request is no websocket upgrade.
pub async fn upgrade(
    request: HttpRequest,
    body: web::Payload,
    acceptor: web::Data<Acceptor>,
) -> Result<HttpResponse, actix_web::Error> {
    open(request, body, &acceptor, Lane::Raft).await
}

/// `GET /v1/snapshot`, the peers' websocket for snapshots.
///
/// # Errors
/// When the request is no websocket upgrade.
pub async fn upgrade_snapshot(
    request: HttpRequest,
    body: web::Payload,
    acceptor: web::Data<Acceptor>,
) -> Result<HttpResponse, actix_web::Error> {
    open(request, body, &acceptor, Lane::Snapshot).await
}

async fn open(
    request: HttpRequest,
    body: web::Payload,
    acceptor: &Acceptor,
    lane: Lane,
) -> Result<HttpResponse, actix_web::Error> {
    let limit = FrameLimit::new(HANDSHAKE_BYTES);
    let body = guarded(&request, body, limit.clone()).await?;
    let (response, session, stream) = actix_ws::handle(&request, body)?;
    let most = peer_frame_bytes(&acceptor.settings);
    let stream = stream.max_frame_size(most).aggregate_continuations().max_continuation_size(most);
    let from = request.peer_addr().map(|address| address.to_string()).unwrap_or_default();
    actix_rt::spawn(serve(acceptor.clone(), session, stream, limit, from, lane));
    Ok(response)
}

async fn serve(
    acceptor: Acceptor,
    mut session: Session,
    mut stream: AggregatedMessageStream,
    limit: FrameLimit,
    address: String,
    lane: Lane,
) {
    let shaken =
        tokio::time::timeout(LONGEST_HANDSHAKE, acceptor.shake_hands(&mut session, &mut stream));
    let hello = match shaken.await {
        Ok(Ok(hello)) => hello,
        Ok(Err(refusal)) => {
            acceptor.complain(&address, &refusal.reason);
            let bytes = encode_handshake(&Handshake::Refused(refusal));
            drop(session.binary(bytes).await);
            drop(session.close(Some(CloseCode::Policy.into())).await);
            return;
        }
        Err(_) => return drop(session.close(Some(CloseCode::Policy.into())).await),
    };
    limit.set(peer_frame_bytes(&acceptor.settings));
    let peer = hello.from;
    let ended = match lane {
        Lane::Raft => {
            log::info!("peer: node {peer} connected from {address}");
            acceptor.raft.do_send(Introduced { peer, address: hello.address.clone() });
            let ended = acceptor.receive(&hello, &mut session, &mut stream).await;
            acceptor.raft.do_send(Silenced { peer });
            ended
        }
        Lane::Snapshot => {
            snapshot_lane::receive(peer, &acceptor.snapshots, &mut session, &mut stream).await
        }
    };
    let ended = limit.exceeded().map_or(ended, |bytes| format!("a frame of {bytes} bytes"));
    log::info!("peer: node {peer} disconnected: {ended}");
    let reason = CloseReason { code: CloseCode::Normal, description: Some(ended) };
    drop(session.close(Some(reason)).await);
}

impl Acceptor {
    async fn shake_hands(
        &self,
        session: &mut Session,
        stream: &mut AggregatedMessageStream,
    ) -> Result<PeerHello, Refused> {
        let Handshake::Hello(hello) = hear(stream).await? else {
            return Err(refused(RefusedWhy::Malformed, "the handshake begins with Hello".into()));
        };
        judge_hello(&self.settings, &hello)?;
        let challenge = self.challenge(&hello);
        say(session, &Handshake::Challenge(challenge.clone())).await?;
        let Handshake::Proof(proof) = hear(stream).await? else {
            return Err(refused(RefusedWhy::Malformed, "a proof was to follow".into()));
        };
        self.judge_proof(&hello, &challenge, &proof)?;
        self.judge_disk(&hello)?;
        say(session, &Handshake::Welcome).await?;
        Ok(hello)
    }

    fn challenge(&self, hello: &PeerHello) -> Challenge {
        let settings = &self.settings;
        let election_timeout_ms = crate::view::millis(settings.raft.election_timeout);
        let (nonce, added) = (nonce(), self.view.added());
        let incarnation = settings.incarnation;
        let proof = Bytes::new();
        let mut challenge = Challenge { incarnation, added, election_timeout_ms, nonce, proof };
        challenge.proof = prove(settings.secret.as_deref(), Prover::Acceptor, hello, &challenge);
        challenge
    }

    fn judge_proof(
        &self,
        hello: &PeerHello,
        challenge: &Challenge,
        proof: &[u8],
    ) -> Result<(), Refused> {
        let secret = self.settings.secret.as_deref();
        let expected = prove(secret, Prover::Dialler, hello, challenge);
        if proof_holds(&expected, proof) {
            return Ok(());
        }
        let text = format!(
            "node {} does not prove the shared secret: cluster.secret_file must be the same everywhere",
            hello.from
        );
        Err(refused(RefusedWhy::Secret, text))
    }

    fn judge_disk(&self, hello: &PeerHello) -> Result<(), Refused> {
        let (committed, membership) = self.view.membership();
        let mut known = self.incarnations.lock().unwrap_or_else(PoisonError::into_inner);
        judge_member(&mut *known, committed, &membership, Disk::of(hello))
    }

    /// Hands over what comes in until the connection ends; says why it ended.
    async fn receive(
        &self,
        hello: &PeerHello,
        session: &mut Session,
        stream: &mut AggregatedMessageStream,
    ) -> String {
        let peer = hello.from;
        let mut judged = self.view.members_changed();
        loop {
            let next = tokio::time::timeout(LOOK_AGAIN, stream.next()).await;
            // Who was removed meanwhile, and may have nothing to say, is told so when it dials
            // again. Nothing of it is heard any more: it may have been added again since then.
            let changed = self.view.members_changed();
            if changed != judged && self.judge_disk(hello).is_err() {
                return "it was removed, or came back with another disk".to_owned();
            }
            judged = changed;
            let Ok(next) = next else { continue };
            let Some(message) = next else { return "connection lost".to_owned() };
            match message {
                Ok(AggregatedMessage::Binary(frame)) => match decode_messages(&frame) {
                    Ok(messages) => self.raft.do_send(Received { from: peer, messages }),
                    Err(error) => return format!("a frame that does not decode: {error}"),
                },
                Ok(AggregatedMessage::Ping(bytes)) => drop(session.pong(&bytes).await),
                Ok(AggregatedMessage::Pong(_)) => {}
                Ok(AggregatedMessage::Text(_)) => return "a text frame".to_owned(),
                Ok(AggregatedMessage::Close(_)) => return "closed".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    }

    /// One line a minute for each reason.
    fn complain(&self, address: &str, reason: &str) {
        let mut said = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_due(reason) {
            log::warn!("peer: refused a connection from {address}: {reason}");
        }
    }
}
