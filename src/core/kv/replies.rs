//! The replies that a session keeps, by request id.
//!
//! A queue and no map: ids come nearly in order and go in order, so that keeping one is a push
//! at the back and forgetting one a pop at the front. A clone shares the queue; the first change
//! behind it copies it, which the session's window bounds.

use std::collections::VecDeque;
use std::sync::Arc;

use super::digest::Tally;
use crate::wire::client::OpResult;

/// A reply, and what is kept beside it.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) id: u64,
    pub(super) result: OpResult,
    pub(super) tally: Tally,
    /// In which period it was kept ([`Changes`](super::Changes)); 0 where a checkpoint held it.
    pub(super) period: u64,
}

/// Replies in order of their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Replies(Arc<VecDeque<Reply>>);

impl Replies {
    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    pub(super) fn get(&self, id: u64) -> Option<&Reply> {
        let place = self.place(id).ok()?;
        self.0.get(place)
    }

    pub(super) fn first(&self) -> Option<&Reply> {
        self.0.front()
    }

    #[cfg(feature = "mutants")]
    pub(super) fn last(&self) -> Option<&Reply> {
        self.0.back()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Reply> {
        self.0.iter()
    }

    /// Those behind that id.
    pub(super) fn after(&self, id: u64) -> impl Iterator<Item = &Reply> {
        let start = self.place(id).map_or_else(|place| place, |found| found + 1);
        self.0.range(start..)
    }

    /// Keeps a reply, in the place of one with its id.
    pub(super) fn insert(&mut self, reply: Reply) {
        let place = self.place(reply.id);
        let replies = Arc::make_mut(&mut self.0);
        match place {
            Err(place) if place == replies.len() => replies.push_back(reply),
            Err(place) => replies.insert(place, reply),
            Ok(place) => drop(replies.get_mut(place).map(|there| *there = reply)),
        }
    }

    /// Forgets the reply with the smallest id.
    pub(super) fn pop_first(&mut self) -> Option<Reply> {
        Arc::make_mut(&mut self.0).pop_front()
    }

    /// Where the reply of that id is, or belongs; the newest one is asked for first.
    fn place(&self, id: u64) -> Result<usize, usize> {
        match self.0.back() {
            Some(last) if last.id >= id => self.0.binary_search_by_key(&id, |reply| reply.id),
            Some(_) | None => Err(self.0.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::client::Success;

    fn reply(id: u64, period: u64) -> Reply {
        Reply { id, result: Ok(Success::Empty), tally: Tally::default(), period }
    }

    proptest! {
        #[test]
        fn behave_as_a_map(ops in prop::collection::vec((0..20u64, 0..9u64), 0..200)) {
            let (mut replies, mut model) = (Replies::default(), BTreeMap::new());
            let mut before = (replies.clone(), model.clone());
            for (id, period) in ops {
                match period {
                    0 => {
                        let popped = replies.pop_first().map(|reply| (reply.id, reply.period));
                        prop_assert_eq!(popped, model.pop_first());
                    }
                    1 => before = (replies.clone(), model.clone()),
                    _ => {
                        replies.insert(reply(id, period));
                        model.insert(id, period);
                    }
                }
                prop_assert_eq!(replies.get(id).map(|reply| reply.period), model.get(&id).copied());
                prop_assert_eq!(replies.first().map(|reply| reply.id), model.keys().next().copied());
                let after: Vec<u64> = replies.after(id).map(|reply| reply.id).collect();
                let expected: Vec<u64> = model.range(id + 1..).map(|(id, _)| *id).collect();
                prop_assert_eq!(after, expected);
            }
            for (replies, model) in [before, (replies, model)] {
                prop_assert_eq!(replies.len(), model.len() as u64);
                let all: Vec<_> = replies.iter().map(|reply| (reply.id, reply.period)).collect();
                prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
