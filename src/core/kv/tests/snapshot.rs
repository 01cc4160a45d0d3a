//! The state taken apart and put together again.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::hash::any_log;
use super::*;
use crate::kv::{Builder, Change, Changes, Record};
use crate::types::{Member, Membership, NodeId};

/// A store of records as a checkpoint keeps them.
type Stored = std::collections::BTreeMap<Bytes, Bytes>;

fn stored(state: &StateMachine) -> Stored {
    state.records(&Bytes::new()).map(|Record { name, value }| (name, value)).collect()
}

fn built(stored: &Stored) -> StateMachine {
    let mut builder = Builder::new();
    stored.iter().for_each(|(name, value)| builder.add(name, value).unwrap());
    builder.finish().unwrap()
}

/// What a checkpoint does with changes.
fn update(stored: &mut Stored, state: &StateMachine, changes: Changes) {
    let mut seen = BTreeSet::new();
    for change in changes.records(state) {
        let (Change::Now(Record { name, .. }) | Change::Gone(name)) = &change;
        assert!(seen.insert(name.clone()), "{name:?} changed twice");
        match change {
            Change::Now(Record { name, value }) => drop(stored.insert(name, value)),
            Change::Gone(name) => drop(stored.remove(&name)),
        }
    }
}

fn chunks(state: &StateMachine, bytes: usize) -> Vec<Bytes> {
    let mut after = Bytes::new();
    let mut all = vec![];
    loop {
        let chunk = state.chunk(&after, bytes);
        all.push(chunk.bytes);
        after = chunk.last;
        if chunk.done {
            return all;
        }
    }
}

proptest! {
    #[test]
    fn a_state_comes_back_from_its_records_and_goes_on_alike(log in any_log(), rest in any_log()) {
        let mut replica = Replica::default();
        log.iter().for_each(|command| drop(replica.apply(command)));
        let mut copy = Replica { state: built(&stored(&replica.state)) };
        prop_assert_eq!(copy.state.hash(), replica.state.hash());
        prop_assert_eq!(copy.state.recompute_hash(), replica.state.recompute_hash());
        prop_assert_eq!(copy.state.summary(), replica.state.summary());
        for command in &rest {
            prop_assert_eq!(copy.apply(command), replica.apply(command));
        }
        prop_assert_eq!(copy.state.hash(), replica.state.hash());
    }

    #[test]
    fn changes_are_all_that_changed(
        logs in prop::collection::vec((any_log(), 0..3u8), 1..5),
    ) {
        let mut replica = Replica::default();
        let mut kept = Stored::new();
        for (log, goes_on_as) in logs {
            log.iter().for_each(|command| drop(replica.apply(command)));
            let changes = replica.state.take_changes();
            update(&mut kept, &replica.state.point_in_time(), changes);
            prop_assert_eq!(&kept, &stored(&replica.state));
            match goes_on_as {
                0 => replica = Replica { state: built(&kept) },
                1 => replica = Replica { state: replica.state.point_in_time() },
                _ => {}
            }
        }
        prop_assert_eq!(built(&kept).hash(), replica.state.hash());
    }

    #[test]
    fn chunks_of_any_size_make_the_state(log in any_log(), bytes in 1usize..2_000) {
        let mut replica = Replica::default();
        log.iter().for_each(|command| drop(replica.apply(command)));
        let mut builder = Builder::new();
        for chunk in chunks(&replica.state, bytes) {
            builder.add_chunk(&chunk).unwrap();
        }
        prop_assert_eq!(builder.finish().unwrap().hash(), replica.state.hash());
    }

    #[test]
    fn any_flipped_bit_of_a_chunk_is_found(log in any_log(), place in any::<usize>(), bit in 0..8u8) {
        let mut replica = Replica::default();
        log.iter().for_each(|command| drop(replica.apply(command)));
        let mut chunk = chunks(&replica.state, 1 << 20).remove(0).to_vec();
        let place = place % chunk.len();
        chunk[place] ^= 1 << bit;
        prop_assert!(Builder::new().add_chunk(&chunk).is_err());
    }

    #[test]
    fn random_bytes_are_no_state(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut builder = Builder::new();
        prop_assert!(builder.add_chunk(&bytes).is_err());
        prop_assert!(builder.add(&Bytes::from_static(&[1]), &bytes).is_err() || builder.finish().is_err());
    }
}

#[test]
fn a_missing_a_doubled_and_a_changed_record_are_found() {
    let mut replica = Replica::default();
    let session = replica.open(1_000, 4);
    for id in 1..4 {
        replica.write_as(session, id, 0, put(&format!("k{id}"), "v")).unwrap();
    }
    let all = stored(&replica.state);
    assert_eq!(all.len(), 1 + 3 + 1 + 3);
    for name in all.keys() {
        let mut builder = Builder::new();
        let rest = all.iter().filter(|(other, _)| *other != name);
        let added = rest.clone().try_for_each(|(name, value)| builder.add(name, value));
        assert!(added.is_err() || builder.finish().is_err(), "without {name:?}");
    }
    let mut builder = Builder::new();
    let (name, value) = all.iter().next().unwrap();
    builder.add(name, value).unwrap();
    assert!(builder.add(name, value).is_err());
    let mut other = all.clone();
    let (name, value) = other.iter_mut().nth(1).unwrap();
    assert_eq!(name.as_ref(), [2, b'k', b'1']);
    *value = stored(&{
        let mut replica = Replica::default();
        replica.write(put("k1", "w")).unwrap();
        replica.state
    })
    .remove(&Bytes::from_static(&[2, b'k', b'1']))
    .unwrap();
    let mut builder = Builder::new();
    other.iter().for_each(|(name, value)| builder.add(name, value).unwrap());
    assert!(builder.finish().unwrap_err().to_string().contains("hash"));
}

#[test]
fn no_byte_may_follow_a_record() {
    let mut replica = Replica::default();
    replica.write(put("k1", "v")).unwrap();
    for (name, value) in stored(&replica.state) {
        for byte in 0..=u8::MAX {
            let longer = [&value[..], &[byte]].concat();
            let all = stored(&replica.state).into_iter().take_while(|(other, _)| *other < name);
            let mut builder = Builder::new();
            all.for_each(|(name, value)| builder.add(&name, &value).unwrap());
            let error = builder.add(&name, &longer).unwrap_err();
            assert!(error.to_string().contains("behind a record"), "{name:?}, {byte}: {error}");
        }
    }
}

#[test]
fn the_applied_entry_and_the_membership_are_part_of_the_state_and_of_its_hash() {
    let mut state = StateMachine::new();
    let member = Member::voter(NodeId(1), "p", "c");
    state.apply(&at(1, Payload::Membership(Membership::of(vec![member.clone()]))));
    let one = state.hash();
    let copy = built(&stored(&state));
    assert_eq!((copy.position(), copy.membership()), (state.position(), state.membership()));
    let mut other = StateMachine::new();
    other.apply(&at(1, Payload::Membership(Membership::default())));
    assert_ne!(other.hash(), one);
    let mut later = StateMachine::new();
    let membership = Payload::Membership(Membership::of(vec![member]));
    later.apply(&Entry { term: Term(2), index: Index(1), payload: membership });
    assert_ne!(later.hash(), one);
}
