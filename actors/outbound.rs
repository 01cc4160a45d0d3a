//! What RaftActor says to others: frames for the peers, sentences for clients and for the log.

use std::collections::BTreeMap;

use actix::Addr;
use bytes::{Bytes, BytesMut};
use quorate_core::kv::Command;
use quorate_core::raft::{self, Note, Refusal};
use quorate_core::types::{Entry, NodeId, Payload};
use quorate_core::wire::client::{ErrorCode, Failure};
use quorate_core::wire::peer::encode_message;

use crate::messages::Transmit;
use crate::peer::PeerActor;
use crate::view::View;

/// Sends messages off. Followers that are level get the same bytes: a message is encoded once
/// where the next one says the same.
pub(crate) fn transmit(
    messages: Vec<(NodeId, raft::Message)>,
    peers: &BTreeMap<NodeId, (String, Addr<PeerActor>)>,
) {
    let mut frames: BTreeMap<NodeId, Vec<Bytes>> = BTreeMap::new();
    let mut encoded: Vec<(raft::Message, Bytes)> = Vec::new();
    for (to, message) in messages {
        let known = encoded.iter().find(|(other, _)| same_content(other, &message));
        let bytes = match known {
            Some((_, bytes)) => bytes.clone(),
            None => {
                let mut out = BytesMut::new();
                encode_message(&mut out, &message);
                let bytes = out.freeze();
                encoded.push((message, bytes.clone()));
                bytes
            }
        };
        frames.entry(to).or_default().push(bytes);
    }
    for (to, frames) in frames {
        if let Some((_, peer)) = peers.get(&to) {
            peer.do_send(Transmit(frames));
        }
    }
}

/// Whether two messages have one encoding, told without comparing entries: those of one
/// leader, between the same places, are the same.
fn same_content(a: &raft::Message, b: &raft::Message) -> bool {
    use raft::Message::AppendEntries;
    match (a, b) {
        (
            AppendEntries { term: t1, prev: p1, commit: c1, entries: e1 },
            AppendEntries { term: t2, prev: p2, commit: c2, entries: e2 },
        ) => t1 == t2 && p1 == p2 && c1 == c2 && e1.len() == e2.len(),
        _ => false,
    }
}

/// Why a request ends, for its client.
pub(crate) fn failure(refusal: Refusal, view: &View) -> Failure {
    let own = view.node();
    let (code, message) = match refusal {
        Refusal::NotLeader(leader) => (
            ErrorCode::NotLeader,
            format!("node {own} does not lead, node {leader} does: nothing was done, go there"),
        ),
        Refusal::NoLeader => (
            ErrorCode::NoLeader,
            format!("node {own} knows no leader: nothing was done, retry after a pause"),
        ),
        Refusal::Overloaded => (
            ErrorCode::Overloaded,
            format!(
                "node {own} has too much waiting to be committed: nothing was done, retry after a pause"
            ),
        ),
        Refusal::Unknown => (
            ErrorCode::UnknownOutcome,
            format!(
                "node {own} lost leadership before the write was settled: retry with the same session and id"
            ),
        ),
        Refusal::Transferring(to) => (
            ErrorCode::NoLeader,
            format!(
                "node {own} is handing leadership over to node {to}: nothing was done, retry in a moment"
            ),
        ),
        Refusal::Change(why) => (ErrorCode::BadRequest, format!("nothing was changed: {why}")),
        Refusal::NoTarget => (
            ErrorCode::BadRequest,
            "there is no voter to hand leadership to that is connected and up to date: see status"
                .to_owned(),
        ),
        Refusal::TransferFailed => (
            ErrorCode::Overloaded,
            format!("leadership was not taken over in time, node {own} leads on: try again"),
        ),
    };
    let leader = view.leader();
    Failure { code, message, leader, revision: None }
}

/// The answer to what only a leader answers.
pub(crate) fn not_leader(view: &View) -> Failure {
    let leader = view.leader().map(|leader| leader.id);
    failure(leader.map_or(Refusal::NoLeader, Refusal::NotLeader), view)
}

/// A note's line in the log.
pub(crate) fn tell(note: &Note) {
    match note {
        Note::Dropped { .. } | Note::NeedsSnapshot { .. } => log::warn!("raft: {note}"),
        Note::Voted { .. } | Note::AsksPreVotes { .. } => log::debug!("raft: {note}"),
        Note::Follows { .. }
        | Note::Campaigns { .. }
        | Note::Leads { .. }
        | Note::SteppedDown { .. }
        | Note::SnapshotSent { .. }
        | Note::Members { .. }
        | Note::Transfers { .. }
        | Note::TransferFailed { .. }
        | Note::Installed { .. }
        | Note::Truncated { .. } => log::info!("raft: {note}"),
    }
}

/// The answer to a request that comes while the node stops.
pub(crate) fn leaving() -> Failure {
    Failure::new(ErrorCode::NoLeader, "this node is stopping: nothing was done, go to another one")
}

/// One line at trace for an entry that bears a client's request, so that the request can be
/// followed through every node's log by its session and id.
pub(crate) fn trace(what: &str, entry: &Entry) {
    if log::log_enabled!(log::Level::Trace)
        && let Payload::Command(bytes) = &entry.payload
        && let Ok(Command::Write { session, id, .. }) = Command::decode(bytes)
    {
        log::trace!("request {session}:{id} {what} at index {}, term {}", entry.index, entry.term);
    }
}
