//! Every bit of a log with several segments, truncations and terms, flipped; every cut of each of
//! its files. What was synced comes back whole, or the damage is named.

use super::cuts::{SEGMENT_BYTES, Tried, script};
use super::*;
use crate::fs::Fs;
use crate::wal::format::{HEADER, decode_entry, encode_entry};

/// The script's log, everything synced and the last mark written.
fn written() -> Tried {
    let mut tried = Tried::new(SEGMENT_BYTES, usize::MAX);
    for step in script() {
        tried.step(&step);
    }
    tried
}

fn paths(fs: &MemoryFs) -> Vec<String> {
    fs.list("log").unwrap().into_iter().map(|name| format!("log/{name}")).collect()
}

fn found(fs: &MemoryFs) -> Result<Model, StoreError> {
    let (_, found) = open(fs, SEGMENT_BYTES)?;
    Ok(found.into())
}

/// Opens a copy of the disk with one byte changed.
fn flipped(fs: &MemoryFs, path: &str, offset: usize, mask: u8) -> Result<Model, StoreError> {
    let copy = fs.copy();
    assert!(copy.flip(path, offset, mask));
    found(&copy)
}

fn is_named(error: &StoreError) -> bool {
    matches!(error, StoreError::Damaged { .. } | StoreError::Foreign { .. })
}

/// Every bit of the records, and of what a header says; a few of its filling.
#[test]
fn any_flipped_bit_is_named_or_of_no_consequence() {
    let log = written();
    for path in paths(&log.disk) {
        let length = log.disk.contents(&path).unwrap().len();
        for offset in 0..length {
            let filling = (80..HEADER - 8).contains(&offset);
            if filling && offset % 16 > 0 {
                continue;
            }
            for bit in 0..8 {
                match flipped(&log.disk, &path, offset, 1 << bit) {
                    Ok(found) => assert_eq!(found, log.model, "{path}, bit {bit} of {offset}"),
                    Err(error) => assert!(is_named(&error), "{path} at {offset}: {error}"),
                }
            }
        }
    }
}

/// The one exception that the module names: a batch that was synced, whose mark was not, when the
/// power went. It may be taken for a torn tail; nothing older may.
#[test]
fn only_a_last_batch_without_its_mark_may_be_given_up() {
    let mut log = Tried::new(1 << 20, usize::MAX);
    for step in [Step::Term, Step::Append(3, 40), Step::Sync] {
        log.step(&step);
    }
    let vouched = log.model.clone();
    for step in [Step::Term, Step::Append(2, 25), Step::Sync] {
        log.step(&step);
    }
    let all = log.model.clone();
    log.disk.crash(Crash::SyncedOnly);
    let path = &paths(&log.disk)[0];
    let length = log.disk.contents(path).unwrap().len();
    let mut given_up = 0;
    for offset in 0..length {
        for bit in 0..8 {
            match flipped(&log.disk, path, offset, 1 << bit) {
                Ok(found) if found == all => {}
                Ok(found) => {
                    assert!(all.entries.starts_with(&found.entries), "bit {bit} of {offset}");
                    assert!(found.entries.starts_with(&vouched.entries), "bit {bit} of {offset}");
                    given_up += 1;
                }
                Err(error) => assert!(is_named(&error), "{error}"),
            }
        }
    }
    assert!(given_up > 0, "the exception is real");
}

/// A file cut short: all but the last are named; the last gives a state that the log was in.
#[test]
fn any_file_cut_anywhere_is_named_or_gives_a_state_the_log_was_in() {
    let log = written();
    let states = states();
    let paths = paths(&log.disk);
    for path in &paths {
        let bytes = log.disk.contents(path).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for cut in 0..bytes.len() {
            let copy = log.disk.copy();
            copy.cut(path, cut);
            match found(&copy) {
                Ok(found) if cut >= used => assert_eq!(found, log.model, "{path} at {cut}"),
                Ok(found) => {
                    assert_eq!(Some(path), paths.last(), "cut at {cut}");
                    assert!(states.contains(&found), "{path} at {cut}: {found:?}");
                }
                Err(error) => assert!(is_named(&error), "{path} at {cut}: {error}"),
            }
        }
    }
}

/// Every state that the script passes through, record by record.
fn states() -> Vec<Model> {
    let mut log = Tried::new(1 << 20, usize::MAX);
    let mut states = vec![];
    for step in script() {
        let single = match step {
            Step::Append(count, bytes) => vec![Step::Append(1, bytes); count],
            step => vec![step],
        };
        for step in single {
            log.step(&step);
            states.push(log.model.clone());
        }
    }
    states
}

/// A file that is gone, unless it is the last, or two that changed places, are damage.
#[test]
fn a_missing_or_exchanged_segment_is_named() {
    let log = written();
    let paths = paths(&log.disk);
    for (place, path) in paths.iter().enumerate() {
        let copy = log.disk.copy();
        copy.remove(path).unwrap();
        // Without the last one the log ends with a seal, as if the next had not been made.
        if place + 1 < paths.len() {
            assert!(found(&copy).is_err_and(|error| is_named(&error)), "{path} is missing");
        }
        let next = &paths[(place + 1) % paths.len()];
        let copy = log.disk.copy();
        copy.rename(path, "log/aside").unwrap();
        copy.rename(next, path).unwrap();
        copy.rename("log/aside", next).unwrap();
        assert!(found(&copy).is_err_and(|error| is_named(&error)), "{path} and {next} exchanged");
    }
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let member = (any::<u64>(), ".{0,12}", ".{0,12}")
        .prop_map(|(id, peer, client)| Member::voter(NodeId(id), peer, client));
    let payload = prop_oneof![
        Just(Payload::Noop),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Payload::Command(bytes.into())),
        prop::collection::vec(member, 0..4)
            .prop_map(|members| Payload::Membership(Membership::of(members))),
    ];
    (any::<u64>(), any::<u64>(), payload).prop_map(|(term, index, payload)| Entry {
        term: Term(term),
        index: Index(index),
        payload,
    })
}

proptest! {
    #[test]
    fn entries_come_back(entry in any_entry()) {
        let mut out = vec![];
        encode_entry(&mut out, &entry);
        prop_assert_eq!(decode_entry(&out.into()), Some(entry));
    }

    #[test]
    fn bytes_that_are_nearly_an_entry_are_one_or_none(
        entry in any_entry(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut out = vec![];
        encode_entry(&mut out, &entry);
        for (at, byte) in changes {
            let at = at.index(out.len());
            out[at] = byte;
        }
        out.truncate(cut.index(out.len() + 1));
        let length = out.len();
        if let Some(Entry { payload: Payload::Membership(membership), .. }) =
            decode_entry(&out.into())
        {
            prop_assert!(membership.members.len() <= length / 24);
        }
    }
}
