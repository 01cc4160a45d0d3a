//! The one quorum function. Commits, votes, reads and check-quorum all come here.

/// The largest value that a majority of the voters has reached: `values` holds one value for
/// each voter, this node's own included. No voters: the default, so that nothing is reached.
///
/// * commit: the voters' match indexes (Raft §5.4.2)
/// * votes: 1 for a yes, 0 otherwise; a quorum is for it when the result is 1
/// * reads: the rounds that were confirmed
/// * check-quorum: the moments at which each was last heard of
pub(crate) fn reached<T: Ord + Copy + Default>(values: &mut [T]) -> T {
    if values.is_empty() {
        return T::default();
    }
    // With n voters sorted downwards, place n/2 (from 0) is reached by n/2 + 1 of them.
    let middle = (values.len() - usize::from(mutant!(HalfIsAQuorum))) / 2;
    *values.select_nth_unstable_by(middle, |a, b| b.cmp(a)).1
}

#[cfg(test)]
mod tests {
    use super::reached;
    use proptest::prelude::*;

    /// By the definition: the largest value that more than half have reached.
    fn naive(values: &[u64]) -> u64 {
        let reached_by =
            |limit: u64| values.iter().filter(|value| **value >= limit).count() * 2 > values.len();
        values.iter().copied().filter(|value| reached_by(*value)).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(mut values in prop::collection::vec(0u64..12, 0..9)) {
            let expected = naive(&values);
            prop_assert_eq!(reached(&mut values), expected);
        }
    }

    #[test]
    fn two_of_three_and_three_of_four() {
        assert_eq!(reached(&mut [5u64, 3, 9]), 5);
        assert_eq!(reached(&mut [9u64, 9, 3, 3]), 3);
        assert_eq!(reached(&mut [9u64, 9, 9, 3]), 9);
        assert_eq!(reached(&mut [7u64]), 7);
    }
}
