//! The nodes' protocol: what is sent comes back, and what is damaged or hostile costs no more than
//! its bytes.

use super::*;
use crate::raft::{AppendOutcome, Message};
use crate::types::{Entry, Index, Member, Membership, Payload, Position, Term};
use crate::wire::peer::{
    Challenge, Handshake, PeerHello, Refused, RefusedWhy, SEAL_BYTES, decode_handshake,
    decode_messages, encode_handshake, encode_message, seal_of,
};

fn blob() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn position() -> impl Strategy<Value = Position> {
    any::<(u64, u64)>().prop_map(|(term, index)| Position { term: Term(term), index: Index(index) })
}

fn entry() -> impl Strategy<Value = Entry> {
    let member = (any::<u64>(), ".{0,20}", ".{0,20}")
        .prop_map(|(id, peer, client)| Member::voter(NodeId(id), peer, client));
    let members = prop::collection::vec(member, 0..4);
    let payload = prop_oneof![
        Just(Payload::Noop),
        blob().prop_map(Payload::Command),
        members.prop_map(|members| Payload::Membership(Membership::of(members))),
    ];
    (position(), payload).prop_map(|(Position { term, index }, payload)| Entry {
        term,
        index,
        payload,
    })
}

/// Every message there is.
fn message() -> impl Strategy<Value = Message> {
    let append = (any::<[u64; 2]>(), position(), prop::collection::vec(entry(), 0..6)).prop_map(
        |([term, commit], prev, entries)| Message::AppendEntries {
            term: Term(term),
            prev,
            commit: Index(commit),
            entries,
        },
    );
    let small = (any::<[u64; 3]>(), position(), any::<bool>(), 0..13).prop_map(
        |([term, index, round], last, granted, kind)| {
            let (term, prev, commit) = (Term(term), Index(index), Index(index));
            let accepted = AppendOutcome::Accepted(last.index);
            let rejected = AppendOutcome::Rejected(last);
            match kind {
                0 => Message::PreVote { term, last },
                1 => Message::PreVoteReply { term, granted },
                2 => Message::RequestVote { term, last, transfer: granted },
                3 => Message::RequestVoteReply { term, granted },
                4 => Message::AppendEntriesReply { term, prev, outcome: accepted },
                5 => Message::AppendEntriesReply { term, prev, outcome: rejected },
                6 => Message::Heartbeat { term, commit, round, all_hold: prev },
                7 => Message::HeartbeatReply { term, round, last: prev },
                8 => Message::TimeoutNow { term },
                9 => Message::ReadIndex { term, id: round },
                10 => Message::ReadIndexReply { term, id: round, index: prev },
                11 => Message::WantSnapshot { term },
                _ => Message::AppendEntries { term, prev: last, commit, entries: vec![] },
            }
        },
    );
    prop_oneof![append, small]
}

fn handshake() -> impl Strategy<Value = Handshake> {
    let refused = prop::sample::select(vec![
        RefusedWhy::Version,
        RefusedWhy::Cluster,
        RefusedWhy::Node,
        RefusedWhy::Incarnation,
        RefusedWhy::Removed,
        RefusedWhy::Secret,
        RefusedWhy::Malformed,
    ]);
    let hello =
        (any::<u32>(), ".{0,30}", ".{0,30}", any::<[u64; 5]>(), any::<Option<u64>>(), blob())
            .prop_map(
                |(
                    version,
                    cluster,
                    address,
                    [cluster_id, from, to, incarnation, election_timeout_ms],
                    added,
                    nonce,
                )| {
                    let (from, to) = (NodeId(from), NodeId(to));
                    Handshake::Hello(PeerHello {
                        version,
                        cluster,
                        cluster_id,
                        from,
                        to,
                        incarnation,
                        added: added.map(Index),
                        election_timeout_ms,
                        address,
                        nonce,
                    })
                },
            );
    let challenge = (any::<[u64; 2]>(), any::<Option<u64>>(), blob(), blob()).prop_map(
        |([incarnation, timeout], added, nonce, proof)| {
            Handshake::Challenge(Challenge {
                incarnation,
                added: added.map(Index),
                election_timeout_ms: timeout,
                nonce,
                proof,
            })
        },
    );
    prop_oneof![
        hello,
        challenge,
        blob().prop_map(Handshake::Proof),
        Just(Handshake::Welcome),
        (refused, ".{0,60}").prop_map(|(why, reason)| Handshake::Refused(Refused { why, reason })),
    ]
}

/// The bytes of a message as serde derives them, which is what the wire bears.
fn derived(message: &Message) -> Vec<u8> {
    rmp_serde::to_vec(message).unwrap()
}

proptest! {
    #[test]
    fn what_is_written_by_hand_is_what_serde_writes(message in message()) {
        prop_assert_eq!(&frame_of(std::slice::from_ref(&message))[SEAL_BYTES..], derived(&message));
    }

    /// Whatever is done to it, a message is what serde takes it for, or refused as serde does.
    #[test]
    fn what_is_read_by_hand_is_what_serde_reads(
        bytes in damaged(message().prop_map(|message| derived(&message))),
    ) {
        let expected: Option<Message> = {
            let mut rest = bytes.as_slice();
            let mut reader = rmp_serde::Deserializer::new(&mut rest);
            reader.set_max_depth(16);
            let read = serde::Deserialize::deserialize(&mut reader).ok();
            read.filter(|_| rest.is_empty())
        };
        let read = decode_messages(&sealed(&bytes)).ok();
        prop_assert_eq!(read, expected.map(|message| vec![message]));
    }
}

fn frame_of(messages: &[Message]) -> Vec<u8> {
    let mut frame = BytesMut::new();
    for message in messages {
        encode_message(&mut frame, message);
    }
    frame.to_vec()
}

/// A body that was tampered with by somebody who can make a seal.
fn sealed(body: &[u8]) -> Vec<u8> {
    [&seal_of(body), body].concat()
}

/// Changes some bytes and cuts the end off.
fn damaged(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (bytes, changes, any::<prop::sample::Index>()).prop_map(|(mut bytes, changes, cut)| {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(2 * bytes.len()).max(1));
        bytes
    })
}

/// The bytes that decoded messages hold, each thing counted as at least one.
fn held(messages: &[Message]) -> usize {
    let entry = |entry: &Entry| match &entry.payload {
        Payload::Noop => 1,
        Payload::Command(bytes) => 1 + bytes.len(),
        Payload::Membership(membership) => {
            let texts = membership.members.iter().map(|m| 1 + m.peer.len() + m.client.len());
            1 + texts.sum::<usize>()
        }
    };
    let message = |message: &Message| match message {
        Message::AppendEntries { entries, .. } => 1 + entries.iter().map(entry).sum::<usize>(),
        _ => 1,
    };
    messages.iter().map(message).sum()
}

proptest! {
    #[test]
    fn messages_come_back(messages in prop::collection::vec(message(), 0..8)) {
        prop_assert_eq!(decode_messages(&frame_of(&messages)), Ok(messages));
    }

    #[test]
    fn handshakes_come_back(handshake in handshake()) {
        prop_assert_eq!(decode_handshake(&encode_handshake(&handshake)), Ok(handshake));
    }

    #[test]
    fn any_bytes_are_messages_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(messages) = decode_messages(&bytes) {
            prop_assert!(held(&messages) <= bytes.len());
        }
        let _ = decode_handshake(&bytes);
    }

    #[test]
    fn damaged_messages_hold_no_more_than_their_bytes(
        frames in prop::collection::vec(
            damaged(message().prop_map(|m| frame_of(&[m])[SEAL_BYTES..].to_vec())), 1..6),
    ) {
        let frame: Vec<u8> = frames.iter().flat_map(|body| sealed(body)).collect();
        if let Ok(messages) = decode_messages(&frame) {
            prop_assert!(held(&messages) <= frame.len());
        }
    }

    #[test]
    fn damaged_handshakes_never_panic(
        body in damaged(handshake().prop_map(|h| encode_handshake(&h)[SEAL_BYTES..].to_vec())),
    ) {
        let _ = decode_handshake(&sealed(&body));
    }
}

/// A length of four gigabytes at every place of a message that bears one.
#[test]
fn lengths_that_lie_are_errors() {
    let members = vec![Member::voter(NodeId(1), "p", "c")];
    let (term, index) = (Term(1), Index(1));
    let entry = |payload| Entry { term, index, payload };
    let entries = vec![
        entry(Payload::Command(Bytes::from_static(b"x"))),
        entry(Payload::Membership(Membership::of(members))),
    ];
    let prev = Position::default();
    let message = Message::AppendEntries { term, prev, commit: Index(0), entries };
    let frame = frame_of(&[message]);
    assert!(decode_messages(&frame).is_ok());
    let frame = &frame[SEAL_BYTES..];
    for place in 0..frame.len() {
        for tag in [0xc6, 0xdb, 0xdd, 0xdf] {
            let hostile = [&frame[..place], &[tag, 0xff, 0xff, 0xff, 0xff]].concat();
            assert!(decode_messages(&sealed(&hostile)).is_err(), "{tag:x} at {place}");
            let hostile = [&hostile, &frame[place..]].concat();
            assert!(decode_messages(&sealed(&hostile)).is_err(), "{tag:x} before {place}");
        }
    }
}

/// Deeper than any message: an error, not a stack that overflows.
#[test]
fn nesting_that_never_ends_is_an_error() {
    for tag in [0x91, 0x81] {
        let nested = vec![tag; 1_000_000];
        assert!(decode_messages(&sealed(&nested)).is_err());
        assert!(decode_handshake(&sealed(&nested)).is_err());
    }
}
