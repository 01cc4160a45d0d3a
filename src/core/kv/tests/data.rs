use super::*;

#[test]
fn a_put_creates_and_then_rewrites() {
    let mut replica = Replica::default();
    let first = replica.write(put("a", "1"));
    assert_eq!(first, Ok(Success::Put { revision: 2, index: 1, previous: None }));
    let second = replica.write(put("a", "2"));
    assert_eq!(second, Ok(Success::Put { revision: 3, index: 2, previous: None }));
    let entry = replica.entry("a").unwrap();
    assert_eq!((entry.create_revision, entry.mod_revision, entry.version), (2, 3, 2));
    assert_eq!((&entry.value[..], entry.lease), (&b"2"[..], 0));
}

#[test]
fn a_put_of_the_same_value_is_a_write() {
    let mut replica = Replica::default();
    replica.write(put("a", "1")).unwrap();
    replica.write(put("a", "1")).unwrap();
    assert_eq!((replica.revision(), replica.entry("a").unwrap().version), (3, 2));
}

#[test]
fn a_put_returns_the_previous_entry_only_where_asked() {
    let mut replica = Replica::default();
    let ask = |value| WriteOp::Put { key: bytes("a"), value: bytes(value), return_previous: true };
    let first = replica.write(ask("1"));
    assert_eq!(first, Ok(Success::Put { revision: 2, index: 1, previous: Some(None) }));
    let before = replica.entry("a");
    let second = replica.write(ask("2"));
    assert_eq!(second, Ok(Success::Put { revision: 3, index: 2, previous: Some(before) }));
}

#[test]
fn deletion_forgets_the_version() {
    let mut replica = Replica::default();
    replica.write(put("a", "1")).unwrap();
    replica.write(put("a", "2")).unwrap();
    let deleted = replica.write(delete("a"));
    let expected = Success::Delete { revision: 4, index: 3, deleted: 1, previous: None };
    assert_eq!(deleted, Ok(expected));
    assert_eq!(replica.entry("a"), None);
    replica.write(put("a", "3")).unwrap();
    let entry = replica.entry("a").unwrap();
    assert_eq!((entry.create_revision, entry.mod_revision, entry.version), (5, 5, 1));
}

#[test]
fn deleting_a_missing_key_changes_nothing() {
    let mut replica = Replica::default();
    let op = WriteOp::Delete { key: bytes("a"), return_previous: true };
    let deleted = replica.write(op);
    let expected = Success::Delete { revision: 1, index: 1, deleted: 0, previous: Some(None) };
    assert_eq!(deleted, Ok(expected));
}

#[test]
fn a_delete_returns_the_previous_entry_where_asked() {
    let mut replica = Replica::default();
    replica.write(put("a", "1")).unwrap();
    let before = replica.entry("a");
    let deleted = replica.write(WriteOp::Delete { key: bytes("a"), return_previous: true });
    let expected = Success::Delete { revision: 3, index: 2, deleted: 1, previous: Some(before) };
    assert_eq!(deleted, Ok(expected));
}

#[test]
fn an_append_adds_at_the_end_and_a_missing_key_counts_as_empty() {
    let mut replica = Replica::default();
    let first = replica.write(append("a", "ab"));
    assert_eq!(first, Ok(Success::Append { revision: 2, index: 1, length: 2 }));
    let second = replica.write(append("a", "c"));
    assert_eq!(second, Ok(Success::Append { revision: 3, index: 2, length: 3 }));
    assert_eq!(replica.value("a").as_deref(), Some("abc"));
    replica.write(append("b", "")).unwrap();
    assert_eq!(replica.value("b").as_deref(), Some(""));
}

#[test]
fn an_append_beyond_the_limit_names_size_and_limit_and_changes_nothing() {
    let mut replica = Replica::default();
    replica.write(put("a", &"x".repeat(64))).unwrap();
    let (before, bytes_before) = (replica.entry("a"), replica.state.summary().state_bytes);
    let refused = replica.write(append("a", "y"));
    assert_eq!(code(&refused), Some(ErrorCode::TooLarge));
    let message = refused.unwrap_err().message;
    assert!(message.contains("65") && message.contains("64"), "{message}");
    assert_eq!((replica.entry("a"), replica.revision()), (before, 2));
    assert_eq!(replica.state.summary().state_bytes, bytes_before);
    assert_eq!(code(&replica.write(append("b", &"y".repeat(65)))), Some(ErrorCode::TooLarge));
    assert_eq!(replica.entry("b"), None);
}

#[test]
fn a_swap_that_finds_what_it_expects_writes() {
    let mut replica = Replica::default();
    let cases = [
        (Expect::Absent, Some("1")),
        (Expect::Value(bytes("1")), Some("2")),
        (Expect::ModRevision(3), Some("3")),
    ];
    for (version, (expect, value)) in (1..).zip(cases) {
        let swapped = replica.write(swap("a", expect, value));
        let entry = replica.entry("a");
        assert_eq!(entry.as_ref().map(|entry| entry.version), Some(version));
        let (revision, index) = (version + 1, version);
        let expected = Success::CompareAndSwap { revision, index, swapped: true, entry };
        assert_eq!(swapped, Ok(expected));
    }
    assert_eq!(replica.value("a").as_deref(), Some("3"));
}

#[test]
fn a_swap_that_finds_something_else_gives_it_and_changes_nothing() {
    let mut replica = Replica::default();
    replica.write(put("a", "1")).unwrap();
    let expects = [
        Expect::Absent,
        Expect::ModRevision(0),
        Expect::ModRevision(3),
        Expect::Value(bytes("2")),
        Expect::Value(bytes("")),
    ];
    for (index, expect) in (2..).step_by(2).zip(expects) {
        let entry = replica.entry("a");
        let expected = Success::CompareAndSwap { revision: 2, index, swapped: false, entry };
        assert_eq!(replica.write(swap("a", expect.clone(), Some("3"))), Ok(expected));
        let removal = replica.write(swap("a", expect, None));
        assert!(matches!(removal, Ok(Success::CompareAndSwap { swapped: false, .. })));
    }
    assert_eq!((replica.value("a").as_deref(), replica.revision()), (Some("1"), 2));
}

#[test]
fn a_swap_on_a_missing_key_fails_unless_absence_is_expected() {
    for expect in [Expect::Value(bytes("")), Expect::ModRevision(1)] {
        let mut replica = Replica::default();
        let failed = replica.write(swap("a", expect, Some("1")));
        let expected =
            Success::CompareAndSwap { revision: 1, index: 1, swapped: false, entry: None };
        assert_eq!(failed, Ok(expected));
        assert_eq!(replica.entry("a"), None);
    }
    let mut replica = Replica::default();
    replica.write(swap("a", Expect::ModRevision(0), Some("1"))).unwrap();
    assert_eq!(replica.value("a").as_deref(), Some("1"));
}

#[test]
fn a_swap_to_nothing_deletes() {
    let mut replica = Replica::default();
    replica.write(put("a", "1")).unwrap();
    let removed = replica.write(swap("a", Expect::Value(bytes("1")), None));
    let expected = Success::CompareAndSwap { revision: 3, index: 2, swapped: true, entry: None };
    assert_eq!(removed, Ok(expected));
    assert_eq!(replica.entry("a"), None);
}

#[test]
fn a_swap_from_nothing_to_nothing_succeeds_and_changes_nothing() {
    let mut replica = Replica::default();
    let swapped = replica.write(swap("a", Expect::Absent, None));
    let expected = Success::CompareAndSwap { revision: 1, index: 1, swapped: true, entry: None };
    assert_eq!(swapped, Ok(expected));
}

#[test]
fn the_bytes_of_the_state_follow_what_is_in_it() {
    let mut replica = Replica::default();
    assert_eq!(replica.state.summary().state_bytes, 0);
    replica.write(put("key", "12345")).unwrap();
    let one = replica.state.summary().state_bytes;
    replica.write(append("key", "678")).unwrap();
    assert_eq!(replica.state.summary().state_bytes, one + 3);
    replica.write(put("key", "1")).unwrap();
    assert_eq!(replica.state.summary().state_bytes, one - 4);
    replica.write(delete("key")).unwrap();
    assert_eq!(replica.state.summary().state_bytes, 0);
}

/// An entry is a part of the batch that it came in: whoever keeps a part of it keeps the batch.
#[test]
fn nothing_that_is_kept_keeps_an_entry_alive() {
    let mut replica = Replica::default();
    let session = replica.open(1_000, 100);
    let long = |letter: &str| bytes(&letter.repeat(60));
    let (key, value) = (long("k"), long("v"));
    let rewrite = WriteOp::Put { key: key.clone(), value: value.clone(), return_previous: true };
    let append = |key| WriteOp::Append { key, value: bytes("x") };
    let expect = Expect::Value(value.clone());
    let swap = WriteOp::CompareAndSwap { key: key.clone(), expect, value: Some(long("w")) };
    let remove = WriteOp::Delete { key: key.clone(), return_previous: true };
    let ops = [rewrite.clone(), rewrite, swap, append(key), append(long("n")), remove];
    let mut state = replica.state;
    for (id, op) in (1..).zip(ops) {
        let command = Command::Write { session, id, acked: 0, value_bytes: 1_000, op };
        let payload = command.encode();
        let entry = at(state.applied().0 + 1, Payload::Command(payload.clone()));
        assert!(matches!(state.apply(&entry), Some(Ok(_))), "{command:?}");
        drop(entry);
        assert!(payload.is_unique(), "{command:?}");
    }
}
