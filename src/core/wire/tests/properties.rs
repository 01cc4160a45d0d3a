//! What holds for every request, every reply and any bytes at all.

use super::*;

fn blob(min: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), min..300).prop_map(Bytes::from)
}

fn option<T: Clone + std::fmt::Debug + 'static>(
    inner: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<T>> {
    prop::option::of(inner)
}

fn op() -> impl Strategy<Value = Op> {
    let hello = (option(any::<u64>()), option(".{0,40}"), option("[a-z]{0,40}"))
        .prop_map(|(session, token, client)| Op::Hello(Hello { session, token, client }));
    let put = (blob(1), blob(0), any::<bool>()).prop_map(|(key, value, return_previous)| {
        Op::Put(Put { key, value, lease: 0, return_previous })
    });
    let append = (blob(1), blob(0)).prop_map(|(key, value)| Op::Append(Append { key, value }));
    let get = (blob(1), any::<u64>(), option(any::<u64>()), 0..3).prop_map(
        |(key, min_revision, max_age_ms, kind)| {
            let consistency = [Consistency::Linearizable, Consistency::Lease, Consistency::Stale]
                [usize::try_from(kind).unwrap()];
            let mut get = Get { key, consistency, ..Get::default() };
            if consistency == Consistency::Stale {
                get = Get { min_revision, max_age_ms, ..get };
            }
            Op::Get(get)
        },
    );
    let delete = (blob(1), any::<bool>())
        .prop_map(|(key, return_previous)| Op::Delete(Delete { key, return_previous }));
    let expect = prop_oneof![
        Just(Expect::Absent),
        blob(0).prop_map(Expect::Value),
        any::<u64>().prop_map(Expect::ModRevision)
    ];
    let swap = (blob(1), expect, option(blob(0)))
        .prop_map(|(key, expect, value)| Op::CompareAndSwap(CompareAndSwap { key, expect, value }));
    let increment =
        (blob(1), any::<i64>()).prop_map(|(key, by)| Op::Increment(Increment { key, by }));
    let node = || (1..=65_535u64).prop_map(NodeId);
    let address = || "[a-z]{1,9}:[1-9][0-9]{0,3}";
    let admin = prop_oneof![
        (node(), address(), address(), any::<bool>()).prop_map(|(id, peer, client, standby)| {
            Admin::AddMember { id, peer, client, standby }
        }),
        (node(), any::<bool>()).prop_map(|(id, force)| Admin::PromoteMember { id, force }),
        (node(), any::<bool>()).prop_map(|(id, force)| Admin::RemoveMember { id, force }),
        (node(), option(address()), option(address()))
            .prop_map(|(id, peer, client)| Admin::MoveMember { id, peer, client }),
        (0..9u64).prop_map(|to| Admin::TransferLeadership { to: NodeId(to) }),
        Just(Admin::Snapshot),
    ];
    let plain = prop::sample::select(vec![Op::Ping, Op::Bye, Op::Status, Op::Members]);
    let plain = prop_oneof![plain, admin.prop_map(Op::Admin)];
    prop_oneof![hello, put, append, get, delete, swap, increment, plain]
}

fn entry() -> impl Strategy<Value = KeyValue> {
    (blob(1), blob(0), any::<[u64; 4]>()).prop_map(|(key, value, numbers)| {
        let [create_revision, mod_revision, version, lease] = numbers;
        KeyValue { key, value, create_revision, mod_revision, version, lease }
    })
}

fn leader() -> impl Strategy<Value = Leader> {
    (any::<u64>(), ".{0,30}").prop_map(|(id, address)| Leader { id: NodeId(id), address })
}

fn welcome() -> impl Strategy<Value = Welcome> {
    (any::<[u64; 7]>(), option(leader()), ".{0,20}", ".{0,20}").prop_map(
        |(numbers, leader, cluster, version)| {
            let [session, node, key_bytes, value_bytes, request_bytes, window, session_ttl_ms] =
                numbers;
            let limits = Limits { key_bytes, value_bytes, request_bytes, window, session_ttl_ms };
            Welcome { session, node: NodeId(node), leader, cluster, version, limits }
        },
    )
}

fn status() -> impl Strategy<Value = Success> {
    (any::<[u64; 4]>(), option(leader()), ".{0,20}", 0..3usize).prop_map(
        |(numbers, leader, text, peers)| {
            let [node, term, revision, last_contact_ms] = numbers;
            let peer =
                PeerStatus { id: node, state: text.clone(), last_contact_ms, ..Default::default() };
            let state_hash = StateHash { index: term, hash: text.clone() };
            let peers = vec![peer; peers];
            let cluster = text;
            let numbers = Status { node, term, revision, ..Status::default() };
            Success::Status(Box::new(Status { cluster, leader, state_hash, peers, ..numbers }))
        },
    )
}

/// An operation and a success that it may have.
fn outcome() -> impl Strategy<Value = (Op, Success)> {
    let place = any::<[u64; 3]>();
    (op(), place, option(entry()), any::<(bool, bool, i64)>(), welcome(), status()).prop_map(
        |(op, [revision, index, count], entry, (swapped, with, number), welcome, status)| {
            let previous = if with { Some(entry.clone()) } else { None };
            let success = match &op {
                Op::Hello(_) => Success::Hello(welcome),
                Op::Ping | Op::Bye => Success::Empty,
                Op::Put(_) => Success::Put { revision, index, previous },
                Op::Append(_) => Success::Append { revision, index, length: count },
                Op::Get(_) => Success::Get { revision, index, entry },
                Op::Delete(_) => Success::Delete { revision, index, deleted: count, previous },
                Op::CompareAndSwap(_) => {
                    Success::CompareAndSwap { revision, index, swapped, entry }
                }
                Op::Increment(_) => Success::Increment { revision, index, number },
                Op::Status => status,
                Op::Admin(Admin::TransferLeadership { .. } | Admin::Snapshot) => Success::Empty,
                Op::Members | Op::Admin(_) => {
                    let text = number.to_string();
                    let (peer, client, role) = (text.clone(), text.clone(), text);
                    Success::Members(vec![MemberInfo { id: NodeId(index), peer, client, role }])
                }
            };
            (op, success)
        },
    )
}

fn failure() -> impl Strategy<Value = Failure> {
    let code = prop::sample::select(ErrorCode::ALL.to_vec());
    (code, ".{0,300}", option(leader()), option(any::<u64>()))
        .prop_map(|(code, message, leader, revision)| Failure { code, message, leader, revision })
}

/// Bytes that are often nearly MessagePack: a request, somewhere changed.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    (op(), any::<u64>(), prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4))
        .prop_map(|(op, id, changes)| {
            let mut out = BytesMut::new();
            encode_request(&mut out, id, &op, id);
            for (at, byte) in changes {
                let at = at.index(out.len());
                out[at] = byte;
            }
            out.to_vec()
        })
}

proptest! {
    #[test]
    fn requests_come_back(asked in prop::collection::vec((op(), 1u64.., any::<u64>()), 1..6)) {
        let mut out = BytesMut::new();
        let mut expected = Vec::new();
        for (op, id, acked) in asked {
            let id = if matches!(op, Op::Hello(_)) { 0 } else { id };
            encode_request(&mut out, id, &op, acked);
            expected.push(Ok(Decoded::Request(Request { id, op, acked })));
        }
        let got: Vec<_> = Requests::new(&out.freeze(), &Limits::default()).collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn successes_come_back(answered in prop::collection::vec((outcome(), any::<u64>()), 1..6)) {
        let mut out = BytesMut::new();
        for ((_, success), id) in &answered {
            encode_reply(&mut out, *id, &encode_result(&Ok(success.clone())));
        }
        let replies: Vec<_> = Replies::new(&out.freeze()).collect();
        prop_assert_eq!(replies.len(), answered.len());
        for (reply, ((op, success), id)) in replies.into_iter().zip(answered) {
            let reply = reply.unwrap();
            prop_assert_eq!(reply.id, id);
            prop_assert_eq!(decode_success(&op, &reply.result.unwrap()), Ok(success));
        }
    }

    #[test]
    fn failures_come_back(failure in failure(), id: u64) {
        let mut out = BytesMut::new();
        encode_reply(&mut out, id, &encode_result(&Err(failure.clone())));
        let replies: Vec<_> = Replies::new(&out.freeze()).collect();
        prop_assert_eq!(replies, vec![Ok(RawReply { id, result: Err(failure) })]);
    }

    #[test]
    fn any_bytes_end_in_a_value_or_an_error(
        noise in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), nearly()],
        op in op(),
    ) {
        let len = noise.len();
        let frame = Bytes::from(noise);
        let requests: Vec<_> = Requests::new(&frame, &Limits::default()).collect();
        prop_assert!(requests.len() <= len);
        prop_assert!(Replies::new(&frame).count() <= len);
        let _ = decode_success(&op, &frame);
    }

    /// A reply, somewhere changed, for the operation it was for or for another.
    #[test]
    fn damaged_replies_end_in_a_value_or_an_error(
        (own, success) in outcome(),
        other in op(),
        failure in failure(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for result in [Ok(success), Err(failure)] {
            let mut out = BytesMut::new();
            encode_reply(&mut out, 7, &encode_result(&result));
            let mut straight = BytesMut::new();
            encode_answer(&mut straight, 7, &result);
            prop_assert_eq!(&straight, &out);
            for (at, byte) in &changes {
                let at = at.index(out.len());
                out[at] = *byte;
            }
            let frame = out.freeze();
            for reply in Replies::new(&frame) {
                if let Ok(RawReply { result: Ok(bytes), .. }) = reply {
                    prop_assert!(bytes.len() <= frame.len());
                    let _ = decode_success(&own, &bytes);
                    let _ = decode_success(&other, &bytes);
                }
            }
        }
    }
}
