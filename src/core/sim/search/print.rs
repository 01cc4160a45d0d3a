//! Fingerprints of 128 bits. Two different states share one with a chance of about 10^-23 in a
//! search of 10^8 states, which is less than the chance that the machine errs.

use std::hash::{Hash, Hasher};

use xxhash_rust::xxh3::xxh3_128;

/// A fingerprint.
pub(super) type Print = u128;

/// The fingerprint of whatever `write` hashes.
pub(super) fn print_of(write: impl FnOnce(&mut Written)) -> Print {
    let mut written = Written(Vec::with_capacity(512));
    write(&mut written);
    xxh3_128(&written.0)
}

/// The fingerprint of one value.
pub(super) fn print(value: &impl Hash) -> Print {
    print_of(|into| value.hash(into))
}

/// The fingerprint of several, in their order.
pub(super) fn print_all(prints: impl IntoIterator<Item = Print>) -> Print {
    let mut bytes = Vec::with_capacity(512);
    for print in prints {
        bytes.extend_from_slice(&print.to_le_bytes());
    }
    xxh3_128(&bytes)
}

/// Collects what is hashed, so that it is hashed as a whole.
pub(super) struct Written(Vec<u8>);

impl Hasher for Written {
    fn finish(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.0)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}
