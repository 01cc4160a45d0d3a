//! The bytes that the state keeps: keys and values.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Deref;

use bytes::Bytes;

/// Bytes that are kept. Short ones lie in place: nothing is allocated for them, they are compared
/// without going elsewhere, and a page of a million keys that is copied because a point in time
/// shares it costs no count of references for each, which are anywhere in memory.
#[derive(Clone, Debug)]
pub(super) enum Held {
    Short(u8, [u8; SHORT]),
    Long(Bytes),
}

/// What fits in beside the two lengths: the [`Bytes`] of a long one and its mark take 40 bytes.
const SHORT: usize = 38;

impl Held {
    /// Keeps these very bytes where they are long. They must be no part of something larger,
    /// which would be kept as well.
    pub(super) fn of(bytes: Bytes) -> Self {
        Self::short(&bytes).unwrap_or(Held::Long(bytes))
    }

    /// Keeps a copy.
    pub(super) fn copied(bytes: &[u8]) -> Self {
        Self::short(bytes).unwrap_or_else(|| Held::Long(Bytes::copy_from_slice(bytes)))
    }

    fn short(bytes: &[u8]) -> Option<Self> {
        let mut short = [0; SHORT];
        short.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Held::Short(u8::try_from(bytes.len()).ok()?, short))
    }

    /// The bytes, to be given away; long ones are shared.
    pub(super) fn bytes(&self) -> Bytes {
        match self {
            Held::Short(..) => Bytes::copy_from_slice(self),
            Held::Long(bytes) => bytes.clone(),
        }
    }
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Held::Short(length, short) => short.get(..usize::from(*length)).unwrap_or_default(),
            Held::Long(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for Held {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_what_was_given_and_all_room_is_used() {
        assert_eq!(size_of::<Held>(), SHORT + 2);
        let whole = Bytes::from((0..100).collect::<Vec<u8>>());
        for length in 0..100 {
            let part = whole.slice(..length);
            for held in [Held::of(part.clone()), Held::copied(&part)] {
                assert_eq!((&*held, held.bytes()), (&part[..], part.clone()));
                assert_eq!(matches!(held, Held::Short(..)), length <= SHORT);
            }
        }
    }

    #[test]
    fn a_copy_keeps_nothing_else_alive() {
        let whole = Bytes::from(vec![7; 1_000]);
        let held = Held::copied(&whole.slice(..500));
        assert!(whole.is_unique());
        assert_eq!(held.len(), 500);
    }

    #[test]
    fn they_are_in_the_order_of_their_bytes() {
        let long = Held::copied(&[1; 40]);
        let short = Held::copied(&[2]);
        assert!(long < short && Held::copied(&[]) < long);
    }
}
