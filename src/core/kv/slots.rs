//! Numbered places, with points in time that cost a count of references for each thousand.
//!
//! Two steps lead to a place: the group's pages, then the page. What a point in time shares is
//! copied a page at a time, when it is changed first.

use std::sync::Arc;

/// The places of a page: short, because a whole page is copied where a point in time has it too.
const PAGE: usize = 16;

/// The pages of a group.
const GROUP: usize = 64;

type Page<T> = [Option<T>; PAGE];
type Group<T> = [Option<Arc<Page<T>>>; GROUP];

/// Places from 0, each empty or not.
#[derive(Debug)]
pub(super) struct Slots<T> {
    groups: Vec<Arc<Group<T>>>,
    len: usize,
}

impl<T> Clone for Slots<T> {
    /// A point in time.
    fn clone(&self) -> Self {
        Self { groups: self.groups.clone(), len: self.len }
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { groups: Vec::new(), len: 0 }
    }
}

impl<T> Slots<T> {
    /// How many places there are, empty ones among them.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, place: usize) -> Option<&T> {
        let group = self.groups.get(place / PAGE / GROUP)?;
        let page = group.get(place / PAGE % GROUP)?.as_deref()?;
        page.get(place % PAGE)?.as_ref()
    }

    /// All places, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Option<&T>> {
        (0..self.len).map(|place| self.get(place))
    }
}

impl<T: Clone> Slots<T> {
    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        let group = Arc::make_mut(self.groups.get_mut(place / PAGE / GROUP)?);
        let page = Arc::make_mut(group.get_mut(place / PAGE % GROUP)?.as_mut()?);
        page.get_mut(place % PAGE)?.as_mut()
    }

    /// Fills a place, or empties it; what was in it. Places up to that one come to be.
    pub(super) fn set(&mut self, place: usize, value: Option<T>) -> Option<T> {
        self.len = self.len.max(place + 1);
        while self.groups.len() <= place / PAGE / GROUP {
            self.groups.push(Arc::new([const { None }; GROUP]));
        }
        let group = Arc::make_mut(self.groups.get_mut(place / PAGE / GROUP)?);
        let page = group.get_mut(place / PAGE % GROUP)?;
        let page = page.get_or_insert_with(|| Arc::new([const { None }; PAGE]));
        std::mem::replace(Arc::make_mut(page).get_mut(place % PAGE)?, value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behave_as_a_vector_and_so_do_their_points_in_time(
            ops in prop::collection::vec((0..4u8, 0..3 * PAGE * GROUP), 0..100),
        ) {
            let (mut slots, mut model) = (Slots::default(), Vec::new());
            let mut before = (slots.clone(), model.clone());
            for (step, (what, place)) in ops.into_iter().enumerate() {
                match what {
                    0 => before = (slots.clone(), model.clone()),
                    1 => {
                        let there = model.get_mut(place).and_then(Option::as_mut);
                        prop_assert_eq!(slots.get_mut(place).map(|value| *value = step), there.map(|value| *value = step));
                    }
                    _ => {
                        let value = (what == 2).then_some(step);
                        model.resize(model.len().max(place + 1), None);
                        prop_assert_eq!(slots.set(place, value), std::mem::replace(&mut model[place], value));
                    }
                }
                prop_assert_eq!(slots.get(place), model.get(place).and_then(Option::as_ref));
            }
            for (slots, model) in [before, (slots, model)] {
                prop_assert_eq!(slots.len(), model.len());
                prop_assert!(slots.iter().eq(model.iter().map(Option::as_ref)));
            }
        }
    }
}
