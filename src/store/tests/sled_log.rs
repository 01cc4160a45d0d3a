//! The log in sled: it and the log in segments are one log, whatever is done to them, and it says
//! so when something of it is gone.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use quorate_core::store::{LogStore, StoreError};
use quorate_core::types::{Entry, HardState, Index, NodeId, Payload, Position, Term};
use quorate_core::wal::{Identity, Options, Recovered, Wal};
use tempfile::TempDir;

use crate::store::disk::Disk;
use crate::store::sled_log::SledLog;

const IDENTITY: Identity = Identity { cluster: 9, node: NodeId(2), incarnation: 77 };

/// Opens the log; a sled that was just closed lets go of its lock from a thread of its own.
fn open(dir: &Path) -> Result<(SledLog, Recovered), StoreError> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match SledLog::open(dir, IDENTITY) {
            Err(StoreError::Io { error, .. })
                if error.contains("lock") && Instant::now() < deadline =>
            {
                std::thread::yield_now();
            }
            other => return other,
        }
    }
}

fn entry(index: u64, term: u64, bytes: usize) -> Entry {
    let command = Bytes::from(vec![u8::try_from(index % 251).unwrap(); bytes]);
    Entry { term: Term(term), index: Index(index), payload: Payload::Command(command) }
}

fn hard(term: u64, vote: u64) -> HardState {
    HardState { term: Term(term), vote: (vote > 0).then_some(NodeId(vote)) }
}

/// A log of so many batches of an entry each, closed.
fn written(dir: &Path, batches: u64) -> Vec<Entry> {
    let (mut log, _) = open(dir).unwrap();
    let entries: Vec<Entry> = (1..=batches).map(|index| entry(index, index, 300)).collect();
    for entry in &entries {
        log.save_hard_state(hard(entry.term.0, 1)).unwrap();
        log.append(std::slice::from_ref(entry)).unwrap();
        log.sync().unwrap();
    }
    assert_eq!(log.syncs(), batches);
    entries
}

/// All files below a directory, with their contents.
fn files(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let content = std::fs::read(&path).unwrap();
            found.push((path, content));
        }
    }
    found
}

fn copied(from: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for (path, content) in files(from) {
        let to = copy.path().join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, content).unwrap();
    }
    copy
}

#[test]
fn a_log_in_sled_comes_back_and_large_entries_with_it() {
    let dir = TempDir::new().unwrap();
    let (mut log, new) = open(dir.path()).unwrap();
    assert_eq!(new, Recovered::default());
    let entries = vec![entry(1, 1, 0), entry(2, 3, 3 << 20), entry(3, 3, 70_000)];
    log.save_hard_state(hard(3, 2)).unwrap();
    log.append(&entries).unwrap();
    log.sync().unwrap();
    log.sync().unwrap();
    assert_eq!((log.syncs(), log.last_index()), (1, Index(3)));
    drop(log);
    let (_, found) = open(dir.path()).unwrap();
    assert_eq!((found.hard_state, found.entries), (hard(3, 2), entries));
    let blobs = std::fs::read_dir(dir.path().join("sled/blobs")).map_or(0, Iterator::count);
    assert_eq!(blobs, 0, "sled never syncs those");
}

#[test]
fn the_log_of_another_is_refused_and_so_is_one_without_its_watermark() {
    let dir = TempDir::new().unwrap();
    written(dir.path(), 2);
    let other = Identity { incarnation: 78, ..IDENTITY };
    let refused = SledLog::open(dir.path(), other).map(drop);
    assert!(matches!(refused, Err(StoreError::Foreign { .. })), "{refused:?}");
    std::fs::remove_file(dir.path().join("watermark")).unwrap();
    let refused = open(dir.path()).map(drop);
    assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
}

#[test]
fn a_log_that_has_lost_its_end_or_everything_is_refused() {
    let dir = TempDir::new().unwrap();
    written(dir.path(), 5);
    let old = copied(&dir.path().join("sled"));
    let (mut log, _) = open(dir.path()).unwrap();
    log.append(&[entry(6, 6, 10)]).unwrap();
    log.sync().unwrap();
    drop(log);
    // sled as it was a batch ago: whole in itself.
    std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
    std::fs::rename(old.path(), dir.path().join("sled")).unwrap();
    let refused = open(dir.path()).map(drop).unwrap_err();
    assert!(refused.to_string().contains("was durable once"), "{refused}");
    std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
    let refused = open(dir.path()).map(drop).unwrap_err();
    assert!(refused.to_string().contains("lost everything"), "{refused}");
}

#[test]
fn a_log_that_went_on_from_an_older_copy_is_refused() {
    let dir = TempDir::new().unwrap();
    written(dir.path(), 3);
    let other = copied(dir.path());
    let went_on = |dir: &Path, bytes: usize, last: u64| {
        let (mut log, _) = open(dir).unwrap();
        for index in 4..=last {
            log.append(&[entry(index, 9, bytes)]).unwrap();
            log.sync().unwrap();
        }
    };
    went_on(dir.path(), 10, 4);
    went_on(other.path(), 20, 6);
    std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
    std::fs::rename(other.path().join("sled"), dir.path().join("sled")).unwrap();
    let refused = open(dir.path()).map(drop).unwrap_err();
    assert!(refused.to_string().contains("is another than was durable"), "{refused}");
}

#[test]
fn a_record_stays_while_a_later_one_reaches_back_before_its_own_beginning() {
    let dir = TempDir::new().unwrap();
    let (mut log, _) = open(dir.path()).unwrap();
    let batch = |log: &mut SledLog, from: u64, to: u64, term: u64| {
        let entries: Vec<Entry> = (from..=to).map(|index| entry(index, term, 10)).collect();
        log.append(&entries).unwrap();
        log.sync().unwrap();
    };
    batch(&mut log, 1, 8, 1);
    batch(&mut log, 9, 9, 1);
    // The record that begins behind 9, and changes what is from 5 on.
    log.truncate_from(Index(5)).unwrap();
    batch(&mut log, 5, 30, 2);
    log.trim(Index(15)).unwrap();
    drop(log);
    let (mut log, found) = open(dir.path()).unwrap();
    assert_eq!((found.base.index, found.entries.len()), (Index(0), 30));
    batch(&mut log, 31, 40, 2);
    batch(&mut log, 41, 41, 2);
    log.trim(Index(41)).unwrap();
    drop(log);
    let (_, found) = open(dir.path()).unwrap();
    assert_eq!(found.base, Position { term: Term(2), index: Index(40) });
}

#[test]
fn a_damaged_log_is_whole_or_refused_and_no_panic_escapes() {
    let dir = TempDir::new().unwrap();
    let entries = written(dir.path(), 40);
    let mut refused = 0;
    let lengths: Vec<_> =
        files(dir.path()).into_iter().map(|(path, content)| (path, content.len())).collect();
    for (path, length) in lengths {
        let used = std::fs::read(&path).unwrap().iter().rposition(|byte| *byte != 0).unwrap_or(0);
        for part in 0..8 {
            let copy = copied(dir.path());
            let at = copy.path().join(path.strip_prefix(dir.path()).unwrap());
            let place = used * part / 8;
            let mut content = std::fs::read(&at).unwrap();
            if part % 2 == 0 {
                content.iter_mut().skip(place).take(4).for_each(|byte| *byte ^= 0x5a);
            } else {
                content.truncate(place);
            }
            assert!(length == 0 || content.len() <= length);
            std::fs::write(&at, content).unwrap();
            match open(copy.path()) {
                Ok((_, found)) => {
                    assert_eq!((found.hard_state, &found.entries), (hard(40, 1), &entries));
                }
                Err(StoreError::Damaged { .. } | StoreError::Io { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(refused > 5, "only {refused}");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Append(usize, usize),
    Truncate(u64),
    Term(u64),
    Sync,
    Reopen,
    /// The log may let go of so many tenths of what is synced.
    Trim(u64),
    /// A snapshot is installed so far behind the last entry.
    Reset(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1usize..4, 0usize..300).prop_map(|(count, bytes)| Step::Append(count, bytes)),
        1 => (1u64..6).prop_map(Step::Truncate),
        1 => (0u64..4).prop_map(Step::Term),
        4 => Just(Step::Sync),
        1 => Just(Step::Reopen),
        2 => (0u64..11).prop_map(Step::Trim),
        1 => (1u64..5).prop_map(Step::Reset),
    ];
    prop::collection::vec(step, 1..60)
}

/// What both logs must hold.
#[derive(Clone, Default)]
struct Model {
    base: Position,
    entries: Vec<Entry>,
    hard_state: HardState,
    trimmed: u64,
}

impl Model {
    fn last(&self) -> Position {
        self.entries.last().map_or(self.base, Entry::position)
    }

    /// What was found is this, but for what may have been let go.
    fn check(&self, which: &str, found: &Recovered) {
        let gone = found.base.index.0 - self.base.index.0;
        assert!(gone == 0 || found.base.index.0 <= self.trimmed, "{which} trimmed too much");
        let (before, rest) = self.entries.split_at(usize::try_from(gone).unwrap());
        assert_eq!(before.last().map_or(self.base, Entry::position), found.base, "{which}");
        assert_eq!(rest, found.entries, "{which}");
        assert_eq!(self.hard_state, found.hard_state, "{which}");
    }
}

/// Both logs, and what they must hold: with everything staged, and what is synced.
struct Mirror {
    dir: TempDir,
    logs: Option<(Wal, SledLog)>,
    now: Model,
    synced: Model,
}

impl Mirror {
    fn new() -> Self {
        let mut mirror = Self {
            dir: TempDir::new().unwrap(),
            logs: None,
            now: Model::default(),
            synced: Model::default(),
        };
        mirror.reopen();
        mirror
    }

    /// What was staged and not synced is gone, as after a kill.
    fn reopen(&mut self) {
        self.logs = None;
        let options = Options { segment_bytes: 5_000, preallocate_bytes: 512, identity: IDENTITY };
        let disk = Arc::new(Disk::new(self.dir.path()));
        let (wal, in_segments) = Wal::open(disk, options).unwrap();
        let (sled, in_sled) = open(&self.dir.path().join("sled-log")).unwrap();
        self.synced.check("segments", &in_segments);
        self.synced.check("sled", &in_sled);
        self.now = self.synced.clone();
        self.logs = Some((wal, sled));
    }

    fn both(&mut self, act: impl Fn(&mut dyn LogStore) -> Result<(), StoreError>) {
        let (wal, sled) = self.logs.as_mut().unwrap();
        act(wal).unwrap();
        act(sled).unwrap();
        assert_eq!(wal.last_index(), sled.last_index());
    }

    fn step(&mut self, step: Step) {
        let last = self.now.last();
        match step {
            Step::Append(count, bytes) => {
                let term = self.now.hard_state.term.max(last.term).0.max(1);
                let from = last.index.0 + 1;
                let entries: Vec<Entry> =
                    (from..from + count as u64).map(|index| entry(index, term, bytes)).collect();
                self.both(|log| log.append(&entries));
                self.now.entries.extend(entries);
            }
            Step::Truncate(back) => {
                // Never at or below what is in a checkpoint.
                let floor = self.now.trimmed.max(self.now.base.index.0) + 1;
                let from = last.index.0.saturating_sub(back).max(floor);
                self.both(|log| log.truncate_from(Index(from)));
                self.now.entries.retain(|entry| entry.index.0 < from);
            }
            Step::Term(vote) => {
                let term = self.now.hard_state.term.max(last.term).next();
                let hard_state = hard(term.0, vote);
                self.both(|log| log.save_hard_state(hard_state));
                self.now.hard_state = hard_state;
            }
            Step::Sync => {
                self.both(|log| log.sync());
                self.synced = self.now.clone();
            }
            Step::Reopen => self.reopen(),
            Step::Trim(tenths) => {
                if self.now.base != self.synced.base {
                    return;
                }
                // What is committed is durable here, and is not truncated any more.
                let kept = self.synced.entries.iter().zip(&self.now.entries);
                let kept = kept.take_while(|(a, b)| a == b).count() as u64;
                let through = self.synced.base.index.0 + kept * tenths / 10;
                self.both(|log| log.trim(Index(through)));
                self.now.trimmed = self.now.trimmed.max(through);
                self.synced.trimmed = self.now.trimmed;
            }
            Step::Reset(ahead) => {
                let term = self.now.hard_state.term.max(last.term);
                let base = Position { term, index: Index(last.index.0 + ahead) };
                self.both(|log| log.reset(base));
                self.now = Model { base, hard_state: self.now.hard_state, ..Model::default() };
                self.now.trimmed = base.index.0;
            }
        }
    }
}

proptest! {
    // Each opening of sled takes milliseconds.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_in_sled_and_the_log_in_segments_are_one_log(steps in steps()) {
        let mut mirror = Mirror::new();
        steps.into_iter().for_each(|step| mirror.step(step));
        mirror.reopen();
    }
}
