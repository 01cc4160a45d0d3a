//! Which key comes next, and its bytes.

use bytes::{Bytes, BytesMut};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution as _, Zipf};

use super::settings::Settings;
use crate::cli::args::Distribution;

/// The exponent of the zipf distribution, as in YCSB.
const EXPONENT: f64 = 0.99;
/// So many bytes of keys are allocated at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// A sequence of keys. Two of the same settings are equal.
#[derive(Debug)]
pub(super) struct Keys {
    count: u64,
    prefix: &'static str,
    length: usize,
    choice: Choice,
    pub(super) random: SmallRng,
    chunk: BytesMut,
}

#[derive(Debug)]
enum Choice {
    Uniform,
    Zipf(Zipf<f64>),
    Sequential { next: u64 },
}

impl Keys {
    pub(super) fn new(settings: &Settings, seed: u64) -> Self {
        let choice = match settings.distribution {
            Distribution::Uniform => Choice::Uniform,
            Distribution::Sequential => Choice::Sequential { next: 0 },
            Distribution::Zipf => {
                #[expect(clippy::cast_precision_loss, reason = "at most 10^9")]
                let count = settings.keys as f64;
                // It refuses counts below 1 only, and the settings do so before.
                Zipf::new(count, EXPONENT).map_or(Choice::Uniform, Choice::Zipf)
            }
        };
        Self {
            count: settings.keys,
            prefix: settings.prefix,
            length: settings.key_bytes,
            choice,
            random: SmallRng::seed_from_u64(seed),
            chunk: BytesMut::new(),
        }
    }

    /// The next key's number, below the count of keys.
    pub(super) fn next(&mut self) -> u64 {
        match &mut self.choice {
            Choice::Uniform => self.random.random_range(0..self.count),
            Choice::Zipf(zipf) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a whole number of 1 to the count"
                )]
                let rank = zipf.sample(&mut self.random) as u64;
                rank.clamp(1, self.count) - 1
            }
            Choice::Sequential { next } => {
                let number = *next;
                *next = (number + 1) % self.count;
                number
            }
        }
    }

    /// The bytes of a key, all of one length. Many share an allocation.
    pub(super) fn bytes(&mut self, mut number: u64) -> Bytes {
        let length = self.length;
        if self.chunk.capacity() < length {
            self.chunk = BytesMut::with_capacity(CHUNK_BYTES.max(length));
        }
        self.chunk.extend_from_slice(self.prefix.as_bytes());
        self.chunk.resize(length, b'0');
        for digit in self.chunk.iter_mut().skip(self.prefix.len()).rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.chunk.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::parsed;
    use super::*;

    fn counts(words: &str, draws: u64) -> Vec<u64> {
        let settings = parsed(words).unwrap();
        let mut keys = Keys::new(&settings, 1);
        let mut counts = vec![0; usize::try_from(settings.keys).unwrap()];
        for _ in 0..draws {
            counts[usize::try_from(keys.next()).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn uniform_keys_come_about_equally_often() {
        let counts = counts("put --keys 100", 100_000);
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }

    #[test]
    fn zipf_keys_come_the_less_often_the_later() {
        let counts = counts("put --keys 1000 --distribution zipf", 100_000);
        // The harmonic number of 1,000 at 0.99 is 7.73: the first key has 12.9 %, the second 6.5 %.
        assert!((12_000..14_000).contains(&counts[0]), "{}", counts[0]);
        assert!((6_000..7_100).contains(&counts[1]), "{}", counts[1]);
        let last: u64 = counts[900..].iter().sum();
        assert!(last > 0 && last < 3_000, "the rarest are asked for too: {last}");
        assert_eq!(self::counts("put --keys 1 --distribution zipf", 10), [10]);
    }

    #[test]
    fn sequential_keys_come_in_turn_and_again() {
        assert_eq!(counts("put --keys 3 --distribution sequential", 7), [3, 2, 2]);
    }

    #[test]
    fn all_keys_are_of_the_length_asked_for() {
        let mut keys = Keys::new(&parsed("put").unwrap(), 1);
        assert_eq!(keys.bytes(0), "bench/0000000000");
        assert_eq!(keys.bytes(1_234_567_890), "bench/1234567890");
        for (bytes, key) in [(7, "bench/9"), (6, "b/0009"), (3, "b/9"), (2, "b9"), (1, "9")] {
            let words = format!("put --keys 10 --key-bytes {bytes}");
            assert_eq!(Keys::new(&parsed(&words).unwrap(), 1).bytes(9), key);
        }
        let mut keys = Keys::new(&parsed("put --key-bytes 70000").unwrap(), 1);
        let all: Vec<Bytes> = (0..3).map(|number| keys.bytes(number)).collect();
        assert!(all.iter().all(|key| key.len() == 70_000) && all[1].ends_with(b"01"));
    }
}
