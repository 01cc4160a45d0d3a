//! Explains the answers of one key in the order of their indexes, where writes without an
//! answer may have taken effect in between.
//!
//! ```text
//!   answers   put "a" ───────────── get -> "c" ───────────── get -> "c"
//!                       ▲                          ▲
//!   maybes              └── put "b"? put "c"?      └── none: the revision has not risen
//! ```
//!
//! A search over the subsets that fit into the gaps, depth first over gaps and breadth first
//! within one: few writes explain what is seen, or none does. Revisions tell how many writes of
//! all keys a gap hides, so that most gaps have no choice at all.

use std::collections::VecDeque;

use super::memo::Memo;
use super::model::{self, Span, State};
use super::order::{Answer, Maybe};

/// The operations of one key.
#[derive(Debug, Default)]
pub(super) struct KeyHistory<'a> {
    /// By index, a write before the reads at its index.
    pub(super) answers: Vec<Answer<'a>>,
    pub(super) maybes: Vec<Maybe<'a>>,
}

/// Why the answers of a key cannot be explained.
#[derive(Debug)]
pub(super) enum Misfit {
    /// No choice explains the answer at this place; without any, the key would be so.
    Answer(usize, State),
    /// The budget is used up.
    Undecided,
}

/// A choice: which maybes took effect before the answer at `at`.
#[derive(Clone)]
struct Node {
    state: State,
    used: Vec<u64>,
    /// How many of them in this gap.
    inserted: u64,
}

/// The choices before an answer that are still to be tried.
struct Gap {
    at: usize,
    choices: VecDeque<Node>,
}

impl KeyHistory<'_> {
    /// Finds a choice that explains all answers, and gives how many maybes it needs. Each node
    /// of the search costs one of `budget`.
    ///
    /// # Errors
    /// When there is none, or the budget does not suffice.
    pub(super) fn fit(&self, budget: &mut u64) -> Result<u64, Misfit> {
        let words = self.maybes.len().div_ceil(64);
        let first = Node { state: None, used: vec![0; words], inserted: 0 };
        let mut memo = Memo::default();
        let mut furthest = Misfit::Answer(0, None);
        let mut reached = 0;
        let mut gaps = vec![Gap { at: 0, choices: VecDeque::from([first]) }];
        while let Some(gap) = gaps.last_mut() {
            let at = gap.at;
            let Some(node) = gap.choices.pop_front() else {
                gaps.pop();
                continue;
            };
            let Some(answer) = self.answers.get(at) else { return Ok(count(&node.used)) };
            // Without any maybe there is one way to get here.
            let is_choice = node.used.iter().any(|word| *word != 0);
            if is_choice && !memo.insert(&words_of(at, &node), &node.state) {
                continue;
            }
            let Some(left) = budget.checked_sub(1) else { return Err(Misfit::Undecided) };
            *budget = left;
            self.insert_one(at, &node, &mut gap.choices);
            if gap.choices.is_empty() {
                gaps.pop();
            }
            match advance(answer, &node.state) {
                Some(state) => {
                    let next = Node { state, used: node.used, inserted: 0 };
                    gaps.push(Gap { at: at + 1, choices: VecDeque::from([next]) });
                }
                None if at >= reached => {
                    // The first misfit at a place is the one with the fewest maybes.
                    furthest = Misfit::Answer(at, node.state);
                    reached = at + 1;
                }
                None => {}
            }
        }
        Err(furthest)
    }

    /// The choices with one more maybe in this gap.
    fn insert_one(&self, at: usize, node: &Node, choices: &mut VecDeque<Node>) {
        let Some(answer) = self.answers.get(at) else { return };
        let before = at.checked_sub(1).and_then(|before| self.answers.get(before));
        let hidden = answer.unanswered - before.map_or(0, |before| before.unanswered);
        if node.inserted >= hidden {
            return;
        }
        let low = before.map_or(1, |before| before.revision) + 1 + node.inserted;
        let high = answer.revision - u64::from(answer.has_written());
        for (number, maybe) in self.maybes.iter().enumerate() {
            let is_used = node.used[number / 64] & (1 << (number % 64)) != 0;
            // Something is hidden between what had ended before its call and this answer.
            let fits = maybe.unanswered < answer.unanswered;
            let effect = model::effect(&maybe.operation.op, None, &node.state);
            if is_used || !fits || !effect.writes(&node.state) {
                continue;
            }
            let state = effect.apply(&node.state, Span::between(low, high));
            let mut next = Node { state, used: node.used.clone(), inserted: node.inserted + 1 };
            next.used[number / 64] |= 1 << (number % 64);
            choices.push_back(next);
        }
    }
}

/// What the key is after an answer; `None` if the answer is not one to a key that is so.
fn advance(answer: &Answer<'_>, before: &State) -> Option<State> {
    let mut before = before.clone();
    model::learn_before(answer.told, &mut before);
    let revision = Span::exact(answer.revision);
    let mut after = model::step(&answer.operation.op, answer.told, &before, revision)?;
    model::learn_after(answer.told, &mut after);
    Some(after)
}

/// A node's identity in the memo.
fn words_of(at: usize, node: &Node) -> Vec<u64> {
    let mut words = node.used.clone();
    words.extend([at as u64, node.inserted]);
    words
}

fn count(used: &[u64]) -> u64 {
    used.iter().map(|word| u64::from(word.count_ones())).sum()
}
