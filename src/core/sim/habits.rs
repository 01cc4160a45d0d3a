//! What clients call, one call after another: for the simulator's clients and for those that
//! load real processes.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_core::client::Outcome;
use quorate_core::wire::client::{
    Append, CompareAndSwap, Delete, Expect, Get, Increment, KeyValue, Op, Put, Success,
};

use crate::chance::Chance;
use crate::plan::Workload;

/// A client's way to choose its calls.
#[derive(Debug)]
pub struct Habits {
    client: u64,
    chance: Chance,
    /// How many calls it has made.
    calls: u64,
    /// What it last saw of each key, for compare-and-swap.
    seen: BTreeMap<Bytes, Option<KeyValue>>,
}

impl Habits {
    /// The habits of one client. The seed decides every choice.
    #[must_use]
    pub fn new(seed: u64, client: u64) -> Self {
        let chance = Chance::stream(seed, "habits", client, 0);
        Self { client, chance, calls: 0, seen: BTreeMap::new() }
    }

    /// Remembers what a call told of its key.
    pub fn learn(&mut self, op: &Op, outcome: &Outcome) {
        let entry = match outcome {
            Outcome::Done(Success::Get { entry, .. } | Success::CompareAndSwap { entry, .. }) => {
                entry.clone()
            }
            _ => return,
        };
        if let Some(key) = op.key() {
            self.seen.insert(key.clone(), entry);
        }
    }

    /// How many microseconds pass before the next call.
    pub fn pause(&mut self, workload: &Workload) -> u64 {
        let pause = self.chance.around(workload.think_us);
        let quiet = self.chance.percent(workload.quiet_percent);
        if quiet { pause * 100 } else { pause }
    }

    /// The next call, on keys of this generation. Writes bear a token of their own, so that each
    /// can be found again.
    pub fn next(&mut self, workload: &Workload, generation: u64) -> Op {
        self.calls += 1;
        let chance = &mut self.chance;
        let number = chance.percent(20);
        // The lower a key's number, the more it is used.
        let keys = workload.keys.max(1);
        let place = chance.below(keys).min(chance.below(keys));
        let kind = if number { 'n' } else { 'k' };
        let key = Bytes::from(format!("{kind}{place}.{generation}"));
        let token = format!("{}.{};", self.client, self.calls);
        let padding = usize::try_from(chance.below(workload.padding_bytes + 1)).unwrap_or(0);
        let value = Bytes::from(format!("{token}{}", "x".repeat(padding)));
        if chance.percent(workload.read_percent) {
            return Op::Get(Get { key, ..Get::default() });
        }
        let choice = chance.below(100);
        let by = i64::try_from(self.calls).unwrap_or(1);
        match (choice, number) {
            (0..5, true) => Op::Delete(Delete { key, return_previous: true }),
            (0..99, true) | (99.., false) => Op::Increment(Increment { key, by }),
            (0..40, false) => Op::Append(Append { key, value }),
            (40..65, false) => {
                let return_previous = chance.percent(30);
                Op::Put(Put { key, value, lease: 0, return_previous })
            }
            (65..75, false) => Op::Delete(Delete { key, return_previous: chance.percent(30) }),
            (75.., _) => self.swap(key, value),
        }
    }

    fn swap(&mut self, key: Bytes, value: Bytes) -> Op {
        let expect = match self.seen.get(&key) {
            Some(Some(entry)) if self.chance.percent(50) => Expect::Value(entry.value.clone()),
            Some(Some(entry)) => Expect::ModRevision(entry.mod_revision),
            Some(None) | None => Expect::Absent,
        };
        Op::CompareAndSwap(CompareAndSwap { key, expect, value: Some(value) })
    }
}
