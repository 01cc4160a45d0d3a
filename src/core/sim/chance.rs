//! Chance from one seed, in independent streams: what one part draws never changes what
//! another part sees, so a plan with one fault less is the same run without that fault.
//!
//! Integers only: floating point may differ in its last bit from machine to machine.

use quorate_core::raft::Random;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// One stream.
#[derive(Clone, Debug)]
pub struct Chance(Random);

impl Chance {
    /// The stream of that name, for the part that `a` and `b` tell from its like.
    #[must_use]
    pub fn stream(seed: u64, name: &str, a: u64, b: u64) -> Self {
        let named = xxh3_64_with_seed(name.as_bytes(), seed);
        let mut bytes = [0; 16];
        for (place, byte) in
            bytes.iter_mut().zip(a.to_le_bytes().into_iter().chain(b.to_le_bytes()))
        {
            *place = byte;
        }
        Self(Random::new(xxh3_64_with_seed(&bytes, named)))
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0.draw()
    }

    /// A number in `[0, bound)`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// A number in `[from, to]`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.0.below(to.saturating_sub(from) + 1)
    }

    /// Whether one of so many in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.0.below(100) < percent
    }

    /// Whether one of so many in a million.
    pub fn millionths(&mut self, millionths: u64) -> bool {
        millionths > 0 && self.0.below(1_000_000) < millionths
    }

    /// About exponentially distributed: half as likely for each further 0.7 of the mean.
    pub fn around(&mut self, mean: u64) -> u64 {
        let step = mean * 7 / 10;
        u64::from(self.0.draw().leading_zeros()) * step + self.0.below(step + 1)
    }

    /// One of several.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let place = usize::try_from(self.below(of.len() as u64)).unwrap_or(0);
        *of.get(place).expect("something to pick from")
    }
}
