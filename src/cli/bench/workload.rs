//! What is asked: which operation, of which key, with which value.

use bytes::Bytes;
use quorate_core::wire::client::{Append, CompareAndSwap, Consistency, Expect, Get, Op, Put};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use rand_distr::{Distribution as _, Zipf};

use crate::cli::args::{BenchArgs, BenchConsistency, BenchWhat, Distribution};
use crate::cli::output::Failed;

/// The exponent of a zipf distribution, as in YCSB.
const ZIPF: f64 = 0.99;

/// The operations of a benchmark.
#[derive(Debug)]
pub(super) struct Workload {
    what: BenchWhat,
    keys: u64,
    key_bytes: usize,
    name: &'static str,
    value: Bytes,
    reads: u32,
    consistency: Consistency,
    distribution: Distribution,
    zipf: Option<Zipf<f64>>,
}

/// What one client draws from.
pub(super) struct Draw {
    random: SmallRng,
    next: u64,
    step: u64,
}

impl Draw {
    /// The source of client `number` of so many.
    pub(super) fn of(number: u64, clients: u64) -> Self {
        Self { random: SmallRng::seed_from_u64(number + 1), next: number, step: clients.max(1) }
    }
}

impl Workload {
    pub(super) fn of(args: &BenchArgs) -> Result<Self, Failed> {
        let digits = (args.keys - 1).max(1).to_string().len();
        if args.key_bytes < digits {
            return Err(Failed::usage(format!(
                "keys of {} bytes cannot number {} keys: --key-bytes is at least {digits}",
                args.key_bytes, args.keys
            )));
        }
        let mut value = vec![0; args.value_bytes];
        SmallRng::seed_from_u64(7).fill_bytes(&mut value);
        #[expect(clippy::cast_precision_loss, reason = "a number of keys")]
        let zipf = Zipf::new(args.keys as f64, ZIPF).ok();
        let consistency = match args.consistency {
            BenchConsistency::Linearizable => Consistency::Linearizable,
            BenchConsistency::Lease => Consistency::Lease,
            BenchConsistency::Stale => Consistency::Stale,
        };
        Ok(Self {
            what: args.what,
            keys: args.keys,
            key_bytes: args.key_bytes,
            name: name(args.key_bytes, digits),
            value: value.into(),
            reads: args.reads,
            consistency,
            distribution: args.distribution,
            zipf,
        })
    }

    /// Whether it reads, or changes what must be there.
    pub(super) fn needs_keys(&self) -> bool {
        matches!(self.what, BenchWhat::Get | BenchWhat::Mixed | BenchWhat::Cas)
    }

    /// The next operation of a client.
    pub(super) fn op(&self, draw: &mut Draw) -> Op {
        let key = self.key(self.number(draw));
        let reads = match self.what {
            BenchWhat::Get => true,
            BenchWhat::Mixed => draw.random.random_range(0..100) < self.reads,
            BenchWhat::Put | BenchWhat::Append | BenchWhat::Cas => false,
        };
        if reads {
            return Op::Get(Get { key, consistency: self.consistency, ..Get::default() });
        }
        match self.what {
            BenchWhat::Append => Op::Append(Append { key, value: self.value.clone() }),
            BenchWhat::Cas => Op::CompareAndSwap(CompareAndSwap {
                key,
                expect: Expect::Value(self.value.clone()),
                value: Some(self.value.clone()),
            }),
            BenchWhat::Put | BenchWhat::Get | BenchWhat::Mixed => self.put(key),
        }
    }

    /// Sets a key.
    pub(super) fn put_numbered(&self, number: u64) -> Op {
        self.put(self.key(number))
    }

    fn put(&self, key: Bytes) -> Op {
        Op::Put(Put { key, value: self.value.clone(), ..Put::default() })
    }

    fn number(&self, draw: &mut Draw) -> u64 {
        match (self.distribution, &self.zipf) {
            (Distribution::Sequential, _) => {
                let number = draw.next % self.keys;
                draw.next = draw.next.wrapping_add(draw.step);
                number
            }
            (Distribution::Zipf, Some(zipf)) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a whole number from 1"
                )]
                let rank = zipf.sample(&mut draw.random) as u64;
                rank.saturating_sub(1).min(self.keys - 1)
            }
            (Distribution::Uniform | Distribution::Zipf, _) => {
                draw.random.random_range(0..self.keys)
            }
        }
    }

    /// The key of a number, all of one length.
    fn key(&self, number: u64) -> Bytes {
        let digits = self.key_bytes - self.name.len();
        format!("{}{number:0digits$}", self.name).into()
    }
}

/// What keys begin with, where there is room: so nobody's own keys are written over.
fn name(key_bytes: usize, digits: usize) -> &'static str {
    ["bench/", "b/", "b"].into_iter().find(|name| name.len() + digits <= key_bytes).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn args(words: &str) -> BenchArgs {
        let words = ["quorate", "bench"].into_iter().chain(words.split_whitespace());
        match Cli::parse_from(words).command {
            Command::Bench(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn keys(words: &str, count: usize) -> BTreeMap<Bytes, usize> {
        let workload = Workload::of(&args(words)).unwrap();
        let (mut draw, mut found) = (Draw::of(0, 1), BTreeMap::new());
        for _ in 0..count {
            let key = workload.op(&mut draw).key().unwrap().clone();
            *found.entry(key).or_default() += 1;
        }
        found
    }

    #[test]
    fn keys_are_of_the_length_asked_for_and_named_where_there_is_room() {
        for (bytes, first) in
            [(16, "bench/0000000000"), (8, "b/000000"), (6, "b/0000"), (5, "b0000"), (4, "0000")]
        {
            let found =
                keys(&format!("put --keys 10000 --key-bytes {bytes} --distribution sequential"), 1);
            assert_eq!(found.keys().next().unwrap(), first);
        }
        let error = Workload::of(&args("put --keys 10001 --key-bytes 4")).unwrap_err();
        assert!(error.message.contains("at least 5"), "{error}");
    }

    #[test]
    fn each_distribution_draws_what_its_name_says() {
        let sequential = keys("put --keys 100 --distribution sequential", 200);
        assert!(sequential.len() == 100 && sequential.values().all(|count| *count == 2));
        let uniform = keys("put --keys 100", 20_000);
        assert!(uniform.values().all(|count| (100..300).contains(count)), "{uniform:?}");
        let zipf = keys("put --keys 100 --distribution zipf", 20_000);
        let first = zipf.values().next().unwrap();
        // Of 100 keys the first has 1 in 5.2, the second about half of that.
        assert!((3_000..4_700).contains(first), "{zipf:?}");
    }

    #[test]
    fn mixed_reads_as_often_as_asked() {
        let workload = Workload::of(&args("mixed --reads 70")).unwrap();
        let mut draw = Draw::of(0, 1);
        let reads = (0..10_000).filter(|_| !workload.op(&mut draw).is_write()).count();
        assert!((6_700..7_300).contains(&reads), "{reads}");
    }

    #[test]
    fn clients_share_a_sequence() {
        let workload = Workload::of(&args("put --keys 10 --distribution sequential")).unwrap();
        let mut all: Vec<Bytes> = (0..2)
            .flat_map(|client| {
                let mut draw = Draw::of(client, 2);
                let workload = &workload;
                (0..5).map(move |_| workload.op(&mut draw).key().unwrap().clone())
            })
            .collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 10);
    }
}
