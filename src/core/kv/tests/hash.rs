use proptest::prelude::*;

use super::*;

/// Any command over few keys, sessions and ids, so that they meet. Sessions are the first
/// entries of the log, or not there.
pub(super) fn any_command() -> impl Strategy<Value = Command> {
    let write =
        (0..5_u64, 0..12_u64, 0..12_u64, any_write()).prop_map(|(session, id, acked, op)| {
            Command::Write { session, id, acked, value_bytes: VALUE_BYTES, op }
        });
    prop_oneof![
        20 => write,
        2 => (0..500_u64, 0..6_u64).prop_map(|(ttl_ms, window)| Command::OpenSession {
            ttl_ms, window, max_sessions: 4
        }),
        1 => (1..5_u64).prop_map(|session| Command::KeepAlive { session }),
        1 => (1..5_u64).prop_map(|session| Command::CloseSession { session }),
        2 => (0..200_u64).prop_map(|advance_ms| Command::Clock { advance_ms }),
    ]
}

fn any_write() -> impl Strategy<Value = WriteOp> {
    let key = || "[a-d]".prop_map(|key| bytes(&key));
    let value = || prop_oneof!["[0-9]{0,3}", "-?[0-9]{1,20}", "x{0,40}"].prop_map(|v| bytes(&v));
    let expect = prop_oneof![
        Just(Expect::Absent),
        value().prop_map(Expect::Value),
        (0..20_u64).prop_map(Expect::ModRevision)
    ];
    prop_oneof![
        (key(), value(), any::<bool>()).prop_map(|(key, value, return_previous)| WriteOp::Put {
            key,
            value,
            return_previous
        }),
        (key(), value()).prop_map(|(key, value)| WriteOp::Append { key, value }),
        (key(), any::<bool>())
            .prop_map(|(key, return_previous)| WriteOp::Delete { key, return_previous }),
        (key(), expect, prop::option::of(value()))
            .prop_map(|(key, expect, value)| WriteOp::CompareAndSwap { key, expect, value }),
        (key(), prop_oneof![-9..9_i64, any::<i64>()])
            .prop_map(|(key, by)| WriteOp::Increment { key, by }),
    ]
}

/// A log that opens sessions first and then does anything.
pub(super) fn any_log() -> impl Strategy<Value = Vec<Command>> {
    let open = (100..2_000_u64, 1..6_u64).prop_map(|(ttl_ms, window)| Command::OpenSession {
        ttl_ms,
        window,
        max_sessions: 4,
    });
    let opens = prop::collection::vec(open, 0..4);
    (opens, prop::collection::vec(any_command(), 0..120))
        .prop_map(|(opens, rest)| opens.into_iter().chain(rest).collect())
}

fn replay(log: &[Command]) -> Replica {
    let mut replica = Replica::default();
    for command in log {
        let _ = replica.apply(command);
    }
    replica
}

proptest! {
    #[test]
    fn the_kept_hash_and_bytes_equal_those_counted_anew(log in any_log()) {
        let mut replica = Replica::default();
        for command in &log {
            let _ = replica.apply(command);
            prop_assert_eq!(replica.state.hash(), replica.state.recompute_hash());
            prop_assert_eq!(replica.state.tally(), replica.state.recount());
        }
    }

    #[test]
    fn replicas_of_one_log_agree(log in any_log()) {
        let (left, right) = (replay(&log), replay(&log));
        prop_assert_eq!(left.state.summary(), right.state.summary());
    }

    #[test]
    fn replicas_whose_logs_differ_in_one_write_disagree(
        log in prop::collection::vec(any_command(), 1..60),
        at in any::<prop::sample::Index>(),
    ) {
        let mut other = log.clone();
        let at = at.index(log.len() + 1);
        let (mut left, mut right) = (log, std::mem::take(&mut other));
        left.insert(at, Command::Write {
            session: 0, id: 0, acked: 0, value_bytes: 9, op: put("z", "left"),
        });
        right.insert(at, Command::Write {
            session: 0, id: 0, acked: 0, value_bytes: 9, op: put("z", "right"),
        });
        prop_assert_ne!(replay(&left).state.hash(), replay(&right).state.hash());
    }
}

/// Two replicas after a common beginning and one different last command.
fn differ(common: &[Command], left: Command, right: Command) -> bool {
    let hash_after = |last: Command| {
        let mut replica = replay(common);
        let _ = replica.apply(&last);
        replica.state.hash()
    };
    hash_after(left) != hash_after(right)
}

fn sessionless(op: WriteOp) -> Command {
    Command::Write { session: 0, id: 0, acked: 0, value_bytes: VALUE_BYTES, op }
}

#[test]
fn the_hash_tells_keys_values_and_their_border_apart() {
    assert!(differ(&[], sessionless(put("a", "1")), sessionless(put("a", "2"))));
    assert!(differ(&[], sessionless(put("a", "1")), sessionless(put("b", "1"))));
    assert!(differ(&[], sessionless(put("ab", "c")), sessionless(put("a", "bc"))));
    assert!(differ(&[], sessionless(put("a", "")), sessionless(put("", "a"))));
}

#[test]
fn the_hash_sees_numbers_that_no_value_shows() {
    let written = [sessionless(put("a", "1"))];
    assert!(differ(&written, sessionless(put("a", "1")), sessionless(delete("b"))));
    assert!(differ(&[], Command::Clock { advance_ms: 1 }, Command::Clock { advance_ms: 2 }));
}

#[test]
fn the_hash_sees_sessions_marks_and_cached_replies() {
    let open = |ttl_ms, window| Command::OpenSession { ttl_ms, window, max_sessions: 9 };
    assert!(differ(&[], open(100, 4), open(101, 4)));
    assert!(differ(&[], open(100, 4), open(100, 5)));
    let write = |id, acked, op| Command::Write { session: 1, id, acked, value_bytes: 64, op };
    let opened = [open(100, 4)];
    assert!(differ(&opened, write(1, 0, put("a", "1")), sessionless(put("a", "1"))));
    assert!(differ(&opened, write(1, 0, put("a", "1")), write(2, 0, put("a", "1"))));
    assert!(differ(&opened, write(9, 0, put("a", "1")), write(9, 8, put("a", "1"))));
    let ask = |return_previous| WriteOp::Delete { key: bytes("a"), return_previous };
    assert!(differ(&opened, write(1, 0, ask(false)), write(1, 0, ask(true))));
    let moved = [open(100, 4), Command::Clock { advance_ms: 1 }];
    assert!(differ(&moved, Command::KeepAlive { session: 1 }, Command::KeepAlive { session: 2 }));
}

#[test]
fn the_hash_does_not_depend_on_the_wording_of_failures() {
    use crate::kv::digest::reply;
    use crate::wire::client::Failure;
    let failed = |text: &str| Err(Failure::new(ErrorCode::BadRequest, text));
    assert_eq!(reply(1, 1, &failed("a")), reply(1, 1, &failed("b")));
    let other = Err(Failure::new(ErrorCode::TooLarge, "a"));
    assert_ne!(reply(1, 1, &failed("a")), reply(1, 1, &other));
}

#[test]
fn the_hash_of_a_state_does_not_change_between_versions() {
    let mut replica = Replica::default();
    let session = replica.open(1_000, 4);
    replica.write_as(session, 1, 0, put("a", "1")).unwrap();
    replica.write_as(session, 2, 0, swap("a", Expect::Absent, Some("2"))).unwrap();
    replica.advance(10);
    assert_eq!(format!("{:016x}", replica.state.hash()), "53daaaf21f5e0d1e");
}
