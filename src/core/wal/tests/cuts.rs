//! The power goes at any operation on the disk: inside a sync, inside a roll, inside the start
//! after the last time. What is found then is a state that the log was in, no older than the one
//! that was synced last; and the log can be gone on with.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::fs::{File, Fs};

/// A disk whose power goes after so many more operations. Reads are free.
#[derive(Clone)]
struct Mains {
    disk: MemoryFs,
    left: Arc<AtomicUsize>,
}

impl Mains {
    fn spend(&self) -> io::Result<()> {
        let less = |left: usize| left.checked_sub(1);
        let spent = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        spent.map(drop).map_err(|_| io::Error::other("no power"))
    }
}

impl Fs for Mains {
    fn open(&self, path: &str, create: bool) -> io::Result<Box<dyn File>> {
        if create {
            self.spend()?;
        }
        let file = self.disk.open(path, create)?;
        Ok(Box::new(MainsFile { mains: self.clone(), file }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.spend()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.spend()?;
        self.disk.remove(path)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.spend()?;
        self.disk.sync_dir(dir)
    }
}

struct MainsFile {
    mains: Mains,
    file: Box<dyn File>,
}

impl File for MainsFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.mains.spend()?;
        self.file.write_at(offset, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.mains.spend()?;
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.mains.spend()?;
        self.file.set_len(len)
    }
}

/// A log, and what the next start may find of it.
pub(super) struct Tried {
    pub(super) disk: MemoryFs,
    left: Arc<AtomicUsize>,
    segment_bytes: u64,
    /// `None`: the power is gone.
    wal: Option<Wal>,
    pub(super) model: Model,
    /// The state that was synced last, and each since, record by record.
    possible: Vec<Model>,
    /// Synced up to here, and not removed since.
    synced: Index,
}

impl Tried {
    /// A log of segments of that size, on an empty disk whose power lasts for so many operations.
    pub(super) fn new(segment_bytes: u64, operations: usize) -> Self {
        let model = Model::default();
        let mut tried = Self {
            disk: MemoryFs::default(),
            left: Arc::default(),
            segment_bytes,
            wal: None,
            possible: vec![model.clone()],
            model,
            synced: Index(0),
        };
        tried.start(operations);
        tried
    }

    fn out_of_power(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// The power is back, for so many operations.
    fn start(&mut self, operations: usize) {
        self.left.store(operations, Ordering::Relaxed);
        let fs = Mains { disk: self.disk.clone(), left: self.left.clone() };
        match Wal::open(Arc::new(fs), options(self.segment_bytes)) {
            Ok((wal, found)) => {
                let which = self.possible.iter().rev().find(|state| state.allows(&found));
                let which = which.unwrap_or_else(|| panic!("{found:?} of {:?}", self.possible));
                let trimmed = which.trimmed;
                self.wal = Some(wal);
                self.model = Model { trimmed, ..found.into() };
                self.synced = self.model.last().index;
                self.possible = vec![self.model.clone()];
            }
            Err(error) => assert!(self.out_of_power(), "{error}"),
        }
    }

    fn lose_power(&mut self, crash: Crash) {
        self.wal = None;
        self.disk.crash(crash);
    }

    fn staged(&mut self) {
        self.possible.push(self.model.clone());
    }

    pub(super) fn step(&mut self, step: &Step) {
        let Some(wal) = &mut self.wal else { return };
        match *step {
            Step::Append(count, bytes) => {
                for _ in 0..count {
                    let index = self.model.last().index.0 + 1;
                    let new = entry(index, self.model.hard_state.term.0, bytes);
                    wal.append(std::slice::from_ref(&new)).unwrap();
                    self.model.entries.push(new);
                    self.possible.push(self.model.clone());
                }
            }
            Step::Truncate(from) => {
                // Nothing that a checkpoint holds is ever truncated.
                let from = from.max(self.model.base.index.0 + 1).max(self.model.trimmed + 1);
                wal.truncate_from(Index(from)).unwrap();
                self.synced = self.synced.min(Index(from - 1));
                self.model.entries.retain(|entry| entry.index.0 < from);
                self.staged();
            }
            Step::Term => {
                self.model.hard_state = hard(self.model.hard_state.term.0 + 1, 1);
                wal.save_hard_state(self.model.hard_state).unwrap();
                self.staged();
            }
            Step::Sync => match wal.sync() {
                Ok(()) => {
                    self.synced = self.model.last().index;
                    self.possible = vec![self.model.clone()];
                }
                Err(error) => {
                    assert!(self.out_of_power(), "{error}");
                    self.wal = None;
                }
            },
            Step::Trim(tenths) => {
                let through = self.synced.0 * tenths / 10;
                let states = self.possible.iter_mut().chain([&mut self.model]);
                states.for_each(|state| state.trimmed = state.trimmed.max(through));
                let mut trimmed = wal.trim(Index(through)).map(|()| true);
                while let Ok(true) = trimmed {
                    trimmed = wal.reclaim(2_000, false);
                }
                if let Err(error) = trimmed {
                    assert!(self.left.load(Ordering::Relaxed) == 0, "{error}");
                    self.wal = None;
                }
            }
            Step::Reset(further) => {
                let index = Index(self.model.last().index.0 + further);
                let base = Position { term: self.model.hard_state.term, index };
                wal.reset(base).unwrap();
                let trimmed = 0;
                self.model = Model { base, entries: vec![], trimmed, ..self.model };
                self.synced = Index(0);
                self.staged();
            }
            Step::Crash(crash) => {
                self.lose_power(crash);
                self.start(usize::MAX);
            }
        }
    }

    /// Writes and syncs once more, and finds exactly that after a loss of power.
    fn goes_on(&mut self) {
        for step in [Step::Term, Step::Append(2, 30), Step::Sync, Step::Crash(Crash::SyncedOnly)] {
            self.step(&step);
        }
    }
}

/// Terms, appends and truncations in segments of 4,700 bytes: three of them, and two starts.
pub(super) fn script() -> Vec<Step> {
    let mut steps = vec![];
    for (append, bytes, truncate) in
        [(2, 20, 0), (1, 0, 0), (3, 90, 4), (1, 200, 0), (0, 0, 6), (2, 150, 5), (1, 40, 0)]
    {
        steps.push(Step::Term);
        if truncate > 0 {
            steps.push(Step::Truncate(truncate));
        }
        steps.extend([Step::Append(append, bytes), Step::Append(1, 8), Step::Sync]);
        if append == 3 {
            steps.push(Step::Crash(Crash::SyncedOnly));
        }
    }
    steps
}

pub(super) const SEGMENT_BYTES: u64 = 4_700;

fn scripted(operations: usize) -> Tried {
    tried(script(), operations)
}

/// Appends in small segments, a trim, a snapshot behind them, appends, and another trim.
fn trimming() -> Vec<Step> {
    let some = [Step::Term, Step::Append(3, 120), Step::Sync];
    let mut steps = some.repeat(5);
    steps.push(Step::Trim(9));
    steps.extend(some);
    steps.extend([Step::Reset(7), Step::Append(2, 50), Step::Sync]);
    steps.extend(some.repeat(3));
    steps.push(Step::Trim(10));
    steps
}

#[test]
fn the_power_may_go_after_any_operation_of_a_trim_or_a_reset() {
    const PLENTY: usize = 1_000_000;
    let all = PLENTY - tried(trimming(), PLENTY).left.load(Ordering::Relaxed);
    assert!(all > 60, "{all}");
    for operations in 0..=all {
        let unsynced = tried(trimming(), operations).disk.unsynced().min(6);
        for subset in 0..1u64 << unsynced {
            let mut tried = tried(trimming(), operations);
            tried.lose_power(Crash::Subset(subset));
            tried.start(usize::MAX);
            tried.goes_on();
        }
    }
}

fn tried(steps: Vec<Step>, operations: usize) -> Tried {
    let mut tried = Tried::new(SEGMENT_BYTES, operations);
    for step in steps {
        // The start within the script has no more power than the rest.
        if let Step::Crash(crash) = step {
            if !tried.out_of_power() {
                let left = tried.left.load(Ordering::Relaxed);
                tried.lose_power(crash);
                tried.start(left);
            }
        } else {
            tried.step(&step);
        }
    }
    tried
}

/// How many operations the script takes.
fn operations() -> usize {
    const PLENTY: usize = 1_000_000;
    let tried = scripted(PLENTY);
    PLENTY - tried.left.load(Ordering::Relaxed)
}

#[test]
fn the_script_rolls_and_truncates() {
    let tried = scripted(usize::MAX);
    assert!(tried.disk.list("log").unwrap().len() >= 3);
    assert!(operations() > 60, "{}", operations());
    assert_eq!(tried.possible, [tried.model]);
}

#[test]
fn the_power_may_go_after_any_operation_and_any_prefix_of_the_rest_reach_the_disk() {
    for operations in 0..=operations() {
        for reached in 0..=scripted(operations).disk.unsynced() {
            let mut tried = scripted(operations);
            tried.lose_power(Crash::Prefix(reached));
            tried.start(usize::MAX);
            tried.goes_on();
        }
    }
}

#[test]
fn any_operation_may_reach_the_disk_or_not() {
    for operations in 0..=operations() {
        let unsynced = scripted(operations).disk.unsynced().min(7);
        for subset in 0..1u64 << unsynced {
            let mut tried = scripted(operations);
            tried.lose_power(Crash::Subset(subset));
            tried.start(usize::MAX);
            tried.goes_on();
        }
    }
}

#[test]
fn any_write_may_be_torn_anywhere() {
    for operations in 0..=operations() {
        for torn in 0..scripted(operations).disk.unsynced() {
            for bytes in (1..500).step_by(11).chain([4_000, 4_095, 4_097]) {
                let mut tried = scripted(operations);
                tried.lose_power(Crash::Torn(torn, bytes));
                tried.start(usize::MAX);
                tried.goes_on();
            }
        }
    }
}

#[test]
fn the_power_may_go_again_while_the_log_is_opened() {
    for operations in 0..=operations() {
        for reached in [0, 1, 2] {
            for again in 0..9 {
                let mut tried = scripted(operations);
                tried.lose_power(Crash::Prefix(reached));
                tried.start(again);
                tried.lose_power(Crash::Subset(again as u64));
                tried.start(usize::MAX);
                tried.goes_on();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random histories against the model, the power going anywhere, again and again.
    #[test]
    fn any_history_survives_any_number_of_power_cuts(
        lives in prop::collection::vec((steps(), 0usize..120, any::<u64>(), 0usize..3), 1..6),
        segment_bytes in 4_300u64..7_000,
    ) {
        let mut tried = Tried::new(segment_bytes, usize::MAX);
        for (steps, operations, chance, kind) in lives {
            if tried.wal.is_none() {
                tried.start(operations);
            }
            tried.left.store(operations, Ordering::Relaxed);
            for step in &steps {
                if !matches!(step, Step::Crash(_)) {
                    tried.step(step);
                }
            }
            let place = usize::try_from(chance % 5).unwrap();
            tried.lose_power(match kind {
                0 => Crash::Prefix(place),
                1 => Crash::Subset(chance),
                _ => Crash::Torn(place, usize::try_from(chance / 5 % 700).unwrap()),
            });
        }
        tried.start(usize::MAX);
        tried.goes_on();
    }
}

#[test]
fn what_was_cut_does_not_come_back_behind_what_is_written_in_its_place() {
    let fs = MemoryFs::default();
    let (mut wal, _) = open(&fs, 1 << 20).unwrap();
    wal.append(&[entry(1, 1, 64)]).unwrap();
    wal.sync().unwrap();
    let end = fs.contents("log/00000000000000000001.wal").unwrap();
    let end = end.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    wal.append(&[entry(2, 1, 64), entry(3, 1, 64)]).unwrap();
    wal.sync().unwrap();
    fs.crash(Crash::SyncedOnly);
    // Nothing vouches for the last batch, and its first record is torn.
    assert!(fs.flip("log/00000000000000000001.wal", end + 60, 1));
    let (mut wal, found) = open(&fs, 1 << 20).unwrap();
    assert_eq!(found.entries, [entry(1, 1, 64)]);
    // As long as the record it replaces: the old third one lies right behind it.
    wal.append(&[entry(2, 2, 64)]).unwrap();
    wal.sync().unwrap();
    fs.crash(Crash::SyncedOnly);
    let (_, found) = open(&fs, 1 << 20).unwrap();
    assert_eq!(found.entries, [entry(1, 1, 64), entry(2, 2, 64)]);
}
