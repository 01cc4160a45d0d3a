//! What is asked: which operation, of which key, and what its answer tells the next one.

use std::collections::HashMap;

use bytes::Bytes;
use quorate_client::{Error, Success};
use quorate_core::wire::client::{Append, CompareAndSwap, Expect, Get, Op, Put};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

use super::keys::Keys;
use super::record::Ended;
use super::settings::Settings;
use crate::cli::args::BenchWhat;

/// Values do not grow beyond this by `append`: adding to a longer one costs more, and what is
/// measured is to stay the same from the first second to the last.
pub(super) const APPENDED_BYTES: u64 = 64 << 10;

/// A request, as its answer will be judged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    /// The key's number.
    key: u64,
    pub(super) is_read: bool,
}

/// The operations of a benchmark, one after the other.
#[derive(Debug)]
pub(super) struct Workload {
    settings: Settings,
    keys: Keys,
    value: Bytes,
    /// Of `cas`: each key's revision as it was seen last. Of `append`: keys that are full.
    revisions: HashMap<u64, u64>,
}

impl Workload {
    pub(super) fn new(settings: &Settings, seed: u64) -> Self {
        let mut value = vec![0; settings.value_bytes];
        SmallRng::seed_from_u64(seed).fill_bytes(&mut value);
        Self {
            settings: settings.clone(),
            keys: Keys::new(settings, seed),
            value: value.into(),
            revisions: HashMap::new(),
        }
    }

    /// The next operation.
    pub(super) fn next(&mut self) -> (Asked, Op) {
        let key = self.keys.next();
        let is_read = match self.settings.what {
            BenchWhat::Get => true,
            BenchWhat::Mixed => self.keys.random.random_range(0..100) < self.settings.reads,
            BenchWhat::Put | BenchWhat::Append | BenchWhat::Cas => false,
        };
        (Asked { key, is_read }, if is_read { self.get(key) } else { self.write(key) })
    }

    /// Sets a key.
    pub(super) fn put(&mut self, key: u64) -> Op {
        let (key, value) = (self.keys.bytes(key), self.value.clone());
        Op::Put(Put { key, value, ..Put::default() })
    }

    /// A key was written before the load began.
    pub(super) fn filled(&mut self, key: u64, written: &Success) {
        if let (BenchWhat::Cas, Success::Put { revision, .. }) = (self.settings.what, written) {
            self.revisions.insert(key, *revision);
        }
    }

    fn get(&mut self, key: u64) -> Op {
        let key = self.keys.bytes(key);
        Op::Get(Get { key, consistency: self.settings.consistency, ..Get::default() })
    }

    fn write(&mut self, number: u64) -> Op {
        match self.settings.what {
            BenchWhat::Put | BenchWhat::Mixed | BenchWhat::Get => self.put(number),
            BenchWhat::Append => {
                let (key, value) = (self.keys.bytes(number), self.value.clone());
                // The answer to the append that filled it asked for this.
                if self.revisions.remove(&number).is_some() {
                    return Op::Put(Put { key, value, ..Put::default() });
                }
                Op::Append(Append { key, value })
            }
            BenchWhat::Cas => {
                let expect = Expect::ModRevision(self.revision(number));
                let (key, value) = (self.keys.bytes(number), Some(self.value.clone()));
                Op::CompareAndSwap(CompareAndSwap { key, expect, value })
            }
        }
    }

    fn revision(&self, key: u64) -> u64 {
        self.revisions.get(&key).copied().unwrap_or(0)
    }

    /// Judges an answer, and learns from it.
    pub(super) fn answered(&mut self, asked: Asked, answer: Result<Success, Error>) -> Ended {
        match answer {
            Err(error) => Ended::Failed(error),
            Ok(Success::Get { entry: None, .. }) => Ended::NotFound,
            Ok(Success::CompareAndSwap { swapped, entry, .. }) => {
                let now = entry.map_or(0, |entry| entry.mod_revision);
                let known = self.revisions.entry(asked.key).or_default();
                // Answers may overtake each other.
                *known = now.max(*known);
                if swapped { Ended::Done } else { Ended::Conflict }
            }
            Ok(Success::Append { length, revision, .. }) => {
                if length >= APPENDED_BYTES {
                    self.revisions.insert(asked.key, revision);
                }
                Ended::Done
            }
            Ok(_) => Ended::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::wire::client::KeyValue;

    use super::super::settings::parsed;
    use super::*;

    fn workload(words: &str) -> Workload {
        Workload::new(&parsed(words).unwrap(), 1)
    }

    fn swap(swapped: bool, mod_revision: u64) -> Result<Success, Error> {
        let (key, value) = (Bytes::new(), Bytes::new());
        let entry = KeyValue { key, value, create_revision: 1, mod_revision, version: 1, lease: 0 };
        Ok(Success::CompareAndSwap { revision: 99, index: 1, swapped, entry: Some(entry) })
    }

    #[test]
    fn mixed_reads_as_often_as_asked() {
        for (percent, range) in [(0, 0..1), (70, 6_700..7_300), (100, 10_000..10_001)] {
            let mut workload = workload(&format!("mixed --reads {percent}"));
            let reads = (0..10_000).filter(|_| {
                let (asked, op) = workload.next();
                assert_eq!(asked.is_read, !op.is_write());
                asked.is_read
            });
            let reads = reads.count();
            assert!(range.contains(&reads), "{percent} %: {reads}");
        }
    }

    #[test]
    fn a_conditional_write_expects_what_was_seen_last() {
        let mut workload = workload("cas --keys 1");
        let mut expected = |answer| {
            let (asked, op) = workload.next();
            let Op::CompareAndSwap(swap) = op else { panic!("{op:?}") };
            (swap.expect, workload.answered(asked, answer))
        };
        assert!(matches!(expected(swap(false, 7)), (Expect::ModRevision(0), Ended::Conflict)));
        assert!(matches!(expected(swap(true, 9)), (Expect::ModRevision(7), Ended::Done)));
        assert!(matches!(expected(swap(false, 8)), (Expect::ModRevision(9), Ended::Conflict)));
        let gone = Error::Unreachable { reason: "gone".to_owned() };
        assert!(matches!(expected(Err(gone)), (Expect::ModRevision(9), Ended::Failed(_))));
    }

    #[test]
    fn a_value_that_has_grown_long_is_begun_anew() {
        let mut workload = workload("append --keys 1");
        let mut next = |length| {
            let (asked, op) = workload.next();
            workload.answered(asked, Ok(Success::Append { revision: 3, index: 1, length }));
            op.name()
        };
        let names = [256, APPENDED_BYTES, 256, 512].map(&mut next);
        assert_eq!(names, ["append", "append", "put", "append"]);
    }

    #[test]
    fn a_read_of_what_is_not_there_is_told_apart() {
        let mut workload = workload("get");
        let (asked, _) = workload.next();
        let nothing = Ok(Success::Get { revision: 1, index: 1, entry: None });
        assert!(matches!(workload.answered(asked, nothing), Ended::NotFound));
    }
}
