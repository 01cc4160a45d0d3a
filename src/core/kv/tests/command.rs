use proptest::prelude::*;

use super::hash::any_command;
use super::*;
use crate::kv::CommandError;
use crate::wire::client::{Op, Put};

fn all_commands() -> Vec<Command> {
    let mut commands = vec![
        Command::OpenSession { ttl_ms: 60_000, window: 1_024, max_sessions: u64::MAX },
        Command::KeepAlive { session: 7 },
        Command::CloseSession { session: 7 },
        Command::Clock { advance_ms: 1_000 },
    ];
    let ops = [
        put("k", "v"),
        append("k", ""),
        WriteOp::Delete { key: bytes("k"), return_previous: true },
        swap("k", Expect::Absent, Some("v")),
        swap("k", Expect::Value(bytes("old")), None),
        swap("k", Expect::ModRevision(9), Some("")),
        increment("k", i64::MIN),
    ];
    commands.extend(ops.map(|op| Command::Write {
        session: u64::MAX,
        id: 1,
        acked: 0,
        value_bytes: 1,
        op,
    }));
    commands
}

#[test]
fn every_command_survives_the_log() {
    for command in all_commands() {
        assert_eq!(Command::decode(&command.encode()), Ok(command));
    }
}

#[test]
fn the_format_of_the_log_does_not_change_unnoticed() {
    let command = Command::Write { session: 5, id: 2, acked: 1, value_bytes: 9, op: put("k", "v") };
    let golden = b"\x01\x81\xa1w\x95\x05\x02\x01\x09\x81\xa1p\x93\xc4\x01k\xc4\x01v\xc2";
    assert_eq!(command.encode(), &golden[..]);
}

proptest! {
    #[test]
    fn a_command_written_by_hand_is_what_serde_writes(command in any_command()) {
        let derived = [&[1], rmp_serde::to_vec(&command).unwrap().as_slice()].concat();
        prop_assert_eq!(command.encode(), derived);
    }

    #[test]
    fn a_damaged_command_read_by_hand_is_what_serde_reads(
        command in any_command(), place in any::<usize>(), byte in any::<u8>(), cut in 0..4usize,
    ) {
        let mut bytes = rmp_serde::to_vec(&command).unwrap();
        let place = place % bytes.len();
        bytes[place] = byte;
        bytes.truncate(bytes.len() - cut.min(bytes.len() - 1));
        let mut rest = bytes.as_slice();
        let mut reader = rmp_serde::Deserializer::new(&mut rest);
        let expected: Option<Command> = serde::Deserialize::deserialize(&mut reader).ok();
        let expected = expected.filter(|_| rest.is_empty());
        let read = Command::decode(&Bytes::from([&[1], bytes.as_slice()].concat()));
        prop_assert_eq!(read.ok(), expected);
    }
}

#[test]
fn a_cut_command_is_refused_at_every_length() {
    for command in all_commands() {
        let whole = command.encode();
        for length in 0..whole.len() {
            assert!(Command::decode(&whole.slice(..length)).is_err(), "{command:?} at {length}");
        }
    }
}

#[test]
fn bytes_behind_a_command_are_refused() {
    // The second one is the head of a map whose rest is missing.
    for byte in [0, 0x81] {
        let mut buffer = Command::KeepAlive { session: 7 }.encode().to_vec();
        buffer.push(byte);
        assert!(matches!(Command::decode(&Bytes::from(buffer)), Err(CommandError::Malformed(_))));
    }
}

#[test]
fn a_format_from_the_future_is_named() {
    let mut buffer = Command::KeepAlive { session: 7 }.encode().to_vec();
    buffer[0] = 2;
    assert_eq!(Command::decode(&Bytes::from(buffer)), Err(CommandError::Format(2)));
    assert_eq!(Command::decode(&Bytes::new()), Err(CommandError::Empty));
}

#[test]
fn only_operations_that_write_become_commands() {
    let op = Op::Put(Put { key: bytes("k"), value: bytes("v"), ..Put::default() });
    assert_eq!(WriteOp::from_op(&op), Some(put("k", "v")));
    for op in [Op::Ping, Op::Bye, Op::Get(Default::default()), Op::Status, Op::Members] {
        assert_eq!(WriteOp::from_op(&op), None);
    }
}

proptest! {
    #[test]
    fn any_command_survives_the_log(command in any_command()) {
        prop_assert_eq!(Command::decode(&command.encode()), Ok(command));
    }

    #[test]
    fn any_bytes_are_a_command_or_an_error(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Command::decode(&Bytes::from(noise));
    }

    /// What a damaged command still holds is no more than its bytes.
    #[test]
    fn a_damaged_command_is_a_command_or_an_error(
        command in any_command(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut buffer = command.encode().to_vec();
        for (at, byte) in changes {
            let at = at.index(buffer.len());
            buffer[at] = byte;
        }
        let length = buffer.len();
        if let Ok(command) = Command::decode(&Bytes::from(buffer)) {
            prop_assert!(command.encode().len() <= length + 64);
        }
    }
}
