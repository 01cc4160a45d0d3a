//! Entries applied together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use proptest::prelude::*;

use super::hash::any_command;
use super::*;
use crate::kv::Change;
use crate::kv::state::{AHEAD, MANY};

/// Sessions 1 to 4, and so many keys that entries are read ahead.
static LARGE: LazyLock<StateMachine> = LazyLock::new(|| {
    let mut replica = Replica::default();
    for _ in 0..4 {
        replica.open(1_000_000, 4);
    }
    for key in 0..MANY {
        replica.write(put(&format!("key/{key}"), "1")).unwrap();
    }
    replica.state
});

static FIRST: LazyLock<Command> = LazyLock::new(|| Command::Write {
    session: 0,
    id: 0,
    acked: 0,
    value_bytes: VALUE_BYTES,
    op: put("a", "1"),
});

/// What a checkpoint would write.
fn changed(state: &mut StateMachine) -> Vec<Change> {
    let changes = state.take_changes();
    let mut changes: Vec<_> = changes.records(state).into_iter().collect();
    changes.sort_by(|one, other| name(one).cmp(name(other)));
    changes
}

fn name(change: &Change) -> &Bytes {
    match change {
        Change::Now(record) => &record.name,
        Change::Gone(name) => name,
    }
}

/// The log's entries behind those of a state.
fn entries(state: &StateMachine, commands: &[Command]) -> Vec<Entry> {
    let payloads = commands.iter().map(|command| Payload::Command(command.encode()));
    let first = state.applied().next().0;
    (first..).zip(payloads).map(|(index, payload)| at(index, payload)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_batch_does_what_its_entries_do_one_by_one(
        few in any::<bool>(),
        log in prop::collection::vec(any_command(), 1..3 * AHEAD),
    ) {
        let mut together = if few { StateMachine::new() } else { LARGE.point_in_time() };
        let mut one_by_one = together.point_in_time();
        // A copy makes its index with the first write.
        for copy in [&mut together, &mut one_by_one] {
            let first = entries(copy, std::slice::from_ref(&FIRST));
            copy.apply(&first[0]);
        }
        let entries = entries(&together, &log);
        let mut results = vec![];
        together.apply_all(&entries, |entry, result| results.push((entry.index, result)));
        let each = entries.iter().map(|entry| (entry.index, one_by_one.apply(entry)));
        prop_assert_eq!(results, each.collect::<Vec<_>>());
        prop_assert_eq!(together.hash(), one_by_one.hash());
        prop_assert_eq!(together.hash(), together.recompute_hash());
        prop_assert_eq!(changed(&mut together), changed(&mut one_by_one));
    }
}

#[test]
fn what_is_before_a_command_that_cannot_be_read_is_applied_and_answered() {
    let mut state = LARGE.point_in_time();
    let first = entries(&state, std::slice::from_ref(&FIRST));
    state.apply(&first[0]);
    let mut batch = entries(&state, &[Command::Clock { advance_ms: 1 }]);
    let before = state.applied();
    let next = state.applied().next().next();
    batch.push(at(next.0, Payload::Command(Bytes::from_static(&[9, 9, 9]))));
    let mut results = vec![];
    let batch = || state.apply_all(&batch, |entry, result| results.push((entry.index, result)));
    let panic = catch_unwind(AssertUnwindSafe(batch)).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains(&format!("committed entry {next} cannot be applied")), "{text}");
    assert_eq!(results, [(before.next(), Some(Ok(Success::Empty)))]);
}

#[test]
fn what_is_looked_up_ahead_is_there() {
    let mut keyed = crate::kv::keyed::Keyed::default();
    for key in 0..1_000_u64 {
        keyed.insert(&key.to_be_bytes(), key);
    }
    let read = std::cell::RefCell::new(vec![]);
    let keys: Vec<_> = (0..2_000_u64).map(u64::to_be_bytes).collect();
    keyed.fetch(keys.iter().map(|key| &key[..]), |value| {
        read.borrow_mut().push(*value);
        0
    });
    // By a part of the hash only, so that a few are others; and a few of those that are not there.
    let read = read.into_inner();
    let found = (0..1_000).filter(|key| read.contains(key)).count();
    assert!(found > 900 && (1_000..1_200).contains(&read.len()), "{found} of {}", read.len());
}
