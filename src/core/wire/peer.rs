//! The nodes' protocol: a handshake, then Raft's messages, one direction per connection.
//!
//! The node that dials sends; the node that accepts only answers the handshake. A websocket
//! message carries one or more sealed MessagePack values, compact (structs as arrays), because
//! both ends are of one version: the handshake compares [`PROTOCOL_VERSION`].
//!
//! The seal is the value's length and checksum, four bytes each. TCP's own checksum has 16 bits,
//! and proxies and network cards make it anew over what they spoiled: one wrong bit in an entry
//! would be another entry on one node, and in a vote another vote.
//!
//! ```text
//!   dialler                                   acceptor
//!     Hello { who, whom, cluster, nonce }  ─►
//!                                          ◄─  Challenge { nonce, incarnation, proof }
//!     Proof { proof }                      ─►
//!                                          ◄─  Welcome            (or Refused, at any point)
//!     messages of Raft                     ─►
//! ```
//!
//! With a shared secret each side proves that it knows it by an HMAC over both nonces and both
//! names; without one the proofs are empty.

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::append;
use crate::raft::Message;
use crate::types::{Index, NodeId, Position};

/// Where a node's peer address takes connections.
pub const RAFT_PATH: &str = "/v1/raft";

/// Where a node's peer address takes snapshots: a connection of their own, so that no heartbeat
/// waits behind one.
pub const SNAPSHOT_PATH: &str = "/v1/snapshot";

/// Raised with every change that an older node would not understand.
pub const PROTOCOL_VERSION: u32 = 5;

/// The longest websocket message during a handshake, in bytes.
pub const HANDSHAKE_BYTES: usize = 4_096;

/// The messages of a handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handshake {
    /// Dialler: who I am and whom I mean to reach.
    Hello(PeerHello),
    /// Acceptor: that is me; prove that you know the secret, as I do.
    Challenge(Challenge),
    /// Dialler: here is the proof; empty without a secret.
    Proof(Bytes),
    /// Acceptor: messages may flow.
    Welcome,
    /// Acceptor: no, and why.
    Refused(Refused),
}

/// A dialler's introduction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerHello {
    /// Its [`PROTOCOL_VERSION`].
    pub version: u32,
    /// Its cluster's name.
    pub cluster: String,
    /// Its cluster's id.
    pub cluster_id: u64,
    /// Its id.
    pub from: NodeId,
    /// The node it means to reach.
    pub to: NodeId,
    /// The incarnation of its disk.
    pub incarnation: u64,
    /// What it knows itself of the entry that added it: its index, 0 where it is no member or one
    /// of the first start, and nothing where it knows no members: on a new disk, or with its state
    /// lost. A removal counts only once it is known to be committed.
    pub added: Option<Index>,
    /// Its election timeout; it should be equal everywhere.
    pub election_timeout_ms: u64,
    /// Where it is reached itself: the acceptor may not know it as a member yet.
    pub address: String,
    /// Thirty-two random bytes.
    pub nonce: Bytes,
}

/// An acceptor's answer to a `Hello` that it does not refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The incarnation of its disk.
    pub incarnation: u64,
    /// What it knows itself of the entry that added it: its index, 0 where it is no member or one
    /// of the first start, and nothing where it knows no members: on a new disk, or with its state
    /// lost. A removal counts only once it is known to be committed.
    pub added: Option<Index>,
    /// Its election timeout.
    pub election_timeout_ms: u64,
    /// Thirty-two random bytes.
    pub nonce: Bytes,
    /// Its own proof; empty without a secret.
    pub proof: Bytes,
}

/// Why a dialler is turned away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The kind, for the program.
    pub why: RefusedWhy,
    /// A sentence, for the person.
    pub reason: String,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusedWhy {
    /// Another protocol version.
    Version,
    /// Another cluster's name or id.
    Cluster,
    /// The dialler meant to reach another node, or is this very one.
    Node,
    /// The dialler was a member, and was removed.
    Removed,
    /// The dialler's disk is not the one this node knows under its id.
    Incarnation,
    /// The proof is wrong.
    Secret,
    /// Not a handshake at all.
    Malformed,
}

/// What goes over a connection for snapshots, both ways. The dialler offers a state, the
/// acceptor says from where it wants it, and the dialler sends piece after piece, a few ahead of
/// the answers. A connection that breaks costs what was on its way: the next offer of the same
/// state goes on behind the last piece that was taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotMessage {
    /// Dialler: I have a state as of that entry, of so many records.
    #[serde(rename = "o")]
    Offer {
        /// The last entry that it holds.
        position: Position,
        /// The records in it.
        records: u64,
    },
    /// Dialler: the next piece.
    #[serde(rename = "p")]
    Piece(Bytes),
    /// Acceptor: go on behind the record of that name; empty: from the start.
    #[serde(rename = "n")]
    Next(Bytes),
    /// Acceptor: it is installed, or this node holds all of it anyway.
    #[serde(rename = "d")]
    Done,
    /// Acceptor: one is whole and being installed; ask again.
    #[serde(rename = "i")]
    Installing,
    /// Acceptor: not now, or not this one.
    #[serde(rename = "r")]
    Refused(String),
}

/// A message about a snapshot as a websocket message.
///
/// # Panics
/// Never: writing into memory cannot fail.
#[must_use]
pub fn encode_snapshot(message: &SnapshotMessage) -> Bytes {
    let mut out = BytesMut::new();
    seal_value(&mut out, message);
    out.freeze()
}

/// The message about a snapshot in a websocket message.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn decode_snapshot(bytes: &[u8]) -> Result<SnapshotMessage, String> {
    only(bytes)
}

/// Who proves its knowledge of the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prover {
    /// The side that dials.
    Dialler,
    /// The side that accepts.
    Acceptor,
}

/// A claim to have been added, as a number; one that knows no members makes none.
fn claim(added: Option<Index>) -> u64 {
    added.map_or(u64::MAX, |index| index.0)
}

/// What a proof is made over: the prover's side, both nonces, and everything that was said of
/// the two nodes, each with its length, so that no two handshakes share one.
#[must_use]
pub fn transcript(prover: Prover, hello: &PeerHello, challenge: &Challenge) -> Vec<u8> {
    let label: &[u8] = match prover {
        Prover::Dialler => b"quorate/4 dialler",
        Prover::Acceptor => b"quorate/4 acceptor",
    };
    let numbers = [
        u64::from(hello.version),
        hello.cluster_id,
        hello.from.0,
        hello.to.0,
        hello.incarnation,
        claim(hello.added),
        challenge.incarnation,
        claim(challenge.added),
    ];
    let nonce = &challenge.nonce;
    let mut out = Vec::with_capacity(256);
    for part in [label, hello.cluster.as_bytes(), hello.address.as_bytes(), &hello.nonce, nonce] {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    for number in numbers {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out
}

/// The bytes in front of each value: its length and its checksum, big-endian.
pub(crate) const SEAL_BYTES: usize = 8;

/// Adds a value and its seal.
fn seal_value<T: Serialize>(out: &mut BytesMut, value: &T) {
    seal(out, |out| {
        let mut writer = out.writer();
        rmp_serde::encode::write(&mut writer, value).expect("writing to memory cannot fail");
    });
}

/// Adds what is written, and its seal.
fn seal(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_bytes(0, SEAL_BYTES);
    write(out);
    let sealed = out.get_mut(start..).unwrap_or_default();
    let (seal, body) = sealed.split_at_mut(SEAL_BYTES);
    seal.copy_from_slice(&seal_of(body));
}

/// The seal of a value's bytes.
#[expect(clippy::cast_possible_truncation, reason = "the low half of the hash will do")]
pub(crate) fn seal_of(body: &[u8]) -> [u8; SEAL_BYTES] {
    let length = u32::try_from(body.len()).expect("a message is below 4 GiB");
    let sum = xxh3_64(body) as u32;
    ((u64::from(length) << 32) | u64::from(sum)).to_be_bytes()
}

/// The bytes of the first value behind its seal, and what follows it.
fn unseal(bytes: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let (seal, rest) =
        bytes.split_first_chunk::<SEAL_BYTES>().ok_or("a message that is cut short")?;
    let length = u64::from_be_bytes(*seal) >> 32;
    let length = usize::try_from(length).map_err(|error| error.to_string())?;
    let (body, rest) = rest.split_at_checked(length).ok_or("a message that is cut short")?;
    if seal_of(body) != *seal {
        return Err("a message was damaged on its way: its checksum is wrong".to_owned());
    }
    Ok((body, rest))
}

/// The one value in these bytes.
fn value<T: DeserializeOwned>(mut body: &[u8]) -> Result<T, String> {
    let mut deserializer = rmp_serde::Deserializer::new(&mut body);
    deserializer.set_max_depth(16);
    let value = T::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    if body.is_empty() { Ok(value) } else { Err("bytes behind a message".to_owned()) }
}

/// The one value that a websocket message holds.
fn only<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match unseal(bytes)? {
        (body, []) => value(body),
        (_, _) => Err("bytes behind a message".to_owned()),
    }
}

/// One handshake message as a websocket message.
///
/// # Panics
/// Never: writing into memory cannot fail.
#[must_use]
pub fn encode_handshake(message: &Handshake) -> Bytes {
    let mut out = BytesMut::new();
    seal_value(&mut out, message);
    out.freeze()
}

/// The handshake message in a websocket message.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn decode_handshake(bytes: &[u8]) -> Result<Handshake, String> {
    only(bytes)
}

/// Adds a message of Raft to a websocket message.
///
/// # Panics
/// When the message has 4 GiB, which no limit allows.
pub fn encode_message(out: &mut BytesMut, message: &Message) {
    seal(out, |out| {
        if !append::write(out, message) {
            let mut writer = out.writer();
            rmp_serde::encode::write(&mut writer, message).expect("writing to memory cannot fail");
        }
    });
}

/// The messages of Raft in a websocket message.
///
/// # Errors
/// What is wrong with the first one that does not decode; the connection is to be closed.
pub fn decode_messages(frame: &[u8]) -> Result<Vec<Message>, String> {
    let mut rest = frame;
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let (body, behind) = unseal(rest)?;
        messages.push(append::read(body).map_or_else(|| value(body), Ok)?);
        rest = behind;
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::AppendOutcome;
    use crate::types::{Entry, Index, Member, Membership, Payload, Position, Term};

    fn messages() -> Vec<Message> {
        let last = Position { term: Term(3), index: Index(9) };
        let member = Member::voter(NodeId(1), "a:1", "a:2");
        let entry = |index, payload| Entry { term: Term(3), index: Index(index), payload };
        let entries = vec![
            entry(10, Payload::Noop),
            entry(11, Payload::Command(Bytes::from_static(&[0, 255, 7]))),
            entry(12, Payload::Membership(Membership::of(vec![member]))),
        ];
        vec![
            Message::PreVote { term: Term(4), last },
            Message::RequestVoteReply { term: Term(4), granted: true },
            Message::AppendEntries { term: Term(4), prev: last, commit: Index(8), entries },
            Message::AppendEntriesReply {
                term: Term(4),
                prev: Index(9),
                outcome: AppendOutcome::Rejected(last),
            },
            Message::Heartbeat { term: Term(4), commit: Index(8), round: 77, all_hold: Index(0) },
        ]
    }

    #[test]
    fn messages_come_back_as_they_went_many_in_a_frame() {
        let mut frame = BytesMut::new();
        for message in messages() {
            encode_message(&mut frame, &message);
        }
        assert_eq!(decode_messages(&frame), Ok(messages()));
    }

    #[test]
    fn a_frame_cut_anywhere_is_an_error_or_holds_fewer_messages_and_never_panics() {
        let mut frame = BytesMut::new();
        for message in messages() {
            encode_message(&mut frame, &message);
        }
        for cut in 0..frame.len() {
            if let Ok(some) = decode_messages(&frame[..cut]) {
                assert!(messages().starts_with(&some) && some.len() < messages().len());
            }
        }
    }

    #[test]
    fn one_wrong_bit_anywhere_is_an_error() {
        let mut frame = BytesMut::new();
        for message in messages() {
            encode_message(&mut frame, &message);
        }
        let handshake = encode_handshake(&Handshake::Proof(Bytes::from_static(b"proof")));
        for bit in 0..8 * frame.len() {
            let mut wrong = frame.to_vec();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_messages(&wrong).is_err(), "bit {bit}");
        }
        for bit in 0..8 * handshake.len() {
            let mut wrong = handshake.to_vec();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_handshake(&wrong).is_err(), "bit {bit}");
        }
        let piece = encode_snapshot(&SnapshotMessage::Piece(Bytes::from_static(b"records")));
        for bit in 0..8 * piece.len() {
            let mut wrong = piece.to_vec();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_snapshot(&wrong).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_transcript_depends_on_each_of_its_parts() {
        let hello = PeerHello {
            version: 1,
            cluster: "demo".into(),
            cluster_id: 5,
            from: NodeId(1),
            to: NodeId(2),
            incarnation: 6,
            added: Some(Index(1)),
            election_timeout_ms: 500,
            address: "a:1".into(),
            nonce: Bytes::from_static(b"abc"),
        };
        let challenge = Challenge {
            incarnation: 7,
            added: None,
            election_timeout_ms: 500,
            nonce: Bytes::from_static(b"xyz"),
            proof: Bytes::new(),
        };
        let base = transcript(Prover::Dialler, &hello, &challenge);
        assert_ne!(base, transcript(Prover::Acceptor, &hello, &challenge));
        let other = |change: fn(&mut Challenge)| {
            let mut other = challenge.clone();
            change(&mut other);
            transcript(Prover::Dialler, &hello, &other)
        };
        assert_ne!(base, other(|it| it.nonce = Bytes::from_static(b"xyy")));
        assert_ne!(base, other(|it| it.incarnation = 8));
        assert_ne!(base, other(|it| it.added = Some(Index(5))));
        for changed in [
            PeerHello { from: NodeId(3), ..hello.clone() },
            PeerHello { added: Some(Index(2)), ..hello.clone() },
        ] {
            assert_ne!(base, transcript(Prover::Dialler, &changed, &challenge));
        }
    }
}
