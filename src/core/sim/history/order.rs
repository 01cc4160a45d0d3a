//! The operations of a history in the order of the servers' indexes, and the rules that this
//! order must keep by itself, whatever the answers are.

use std::collections::BTreeMap;

use quorate_core::wire::client::Success;

use super::violation::{Rule, Violation};
use super::{Fate, Operation, model};

/// An operation that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) operation: &'a Operation,
    pub(super) told: &'a Success,
    pub(super) index: u64,
    pub(super) revision: u64,
    /// How many writes without an answer took effect before, by the revision.
    pub(super) unanswered: u64,
}

impl Answer<'_> {
    fn is_read(&self) -> bool {
        !self.operation.op.is_write()
    }

    /// The highest index of another write that it sees.
    pub(super) fn sees(&self) -> u64 {
        if self.is_read() { self.index } else { self.index.saturating_sub(1) }
    }

    /// Whether, by the answer, it raised the revision.
    pub(super) fn has_written(&self) -> bool {
        model::has_written(&self.operation.op, self.told)
    }
}

/// A write that may have taken effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maybe<'a> {
    pub(super) operation: &'a Operation,
    /// Its index is above this one, because of what had ended before its call.
    pub(super) floor: u64,
    /// How many writes without an answer took effect up to there.
    pub(super) unanswered: u64,
}

/// A history in order.
#[derive(Debug, Default)]
pub(super) struct Order<'a> {
    /// By index, a write before the reads at its index.
    pub(super) answers: Vec<Answer<'a>>,
    pub(super) maybes: Vec<Maybe<'a>>,
    /// Writes that never took effect, as their clients know.
    pub(super) refused: Vec<&'a Operation>,
    /// How many operations of each name were answered.
    pub(super) done: BTreeMap<&'static str, u64>,
}

impl<'a> Order<'a> {
    /// Orders a history.
    ///
    /// # Errors
    /// When an answer is not one to its operation, two writes have one index, or the order
    /// contradicts real time.
    pub(super) fn of(history: &'a [Operation]) -> Result<Self, Violation> {
        let mut order = Self::default();
        for operation in history {
            order.add(operation)?;
        }
        order.answers.sort_by_key(|answer| (answer.index, answer.is_read()));
        order.check_indexes()?;
        let floors = Floors::of(&order.answers);
        order.check_real_time(&floors)?;
        for maybe in &mut order.maybes {
            maybe.floor = floors.at(maybe.operation.invoked).map_or(0, |floor| floor.index);
        }
        Ok(order)
    }

    fn add(&mut self, operation: &'a Operation) -> Result<(), Violation> {
        if operation.op.key().is_none() {
            return Ok(());
        }
        match operation.fate() {
            Fate::Maybe => self.maybes.push(Maybe { operation, floor: 0, unanswered: 0 }),
            Fate::Not if operation.op.is_write() => self.refused.push(operation),
            Fate::Not => {}
            Fate::Done(told) => {
                let Some((revision, index)) = model::numbers(&operation.op, told) else {
                    let message = "the answer is one to another kind of operation";
                    return Err(Violation::new(Rule::Index, [operation], message));
                };
                *self.done.entry(operation.op.name()).or_default() += 1;
                self.answers.push(Answer { operation, told, index, revision, unanswered: 0 });
            }
        }
        Ok(())
    }

    fn check_indexes(&self) -> Result<(), Violation> {
        for pair in self.answers.windows(2) {
            let [first, second] = pair else { continue };
            if first.index == second.index && !first.is_read() && !second.is_read() {
                let message = format!("two writes have the index {}", first.index);
                let both = [first.operation, second.operation];
                return Err(Violation::new(Rule::Index, both, message));
            }
        }
        Ok(())
    }

    fn check_real_time(&self, floors: &Floors<'_>) -> Result<(), Violation> {
        for answer in &self.answers {
            let Some(floor) = floors.at(answer.operation.invoked) else { continue };
            let is_late_enough = floor.index <= answer.sees();
            if is_late_enough || answer.operation.is_stale_read() {
                continue;
            }
            let message = format!(
                "the second was called after the end of the first, and has index {} after {}",
                answer.index, floor.index
            );
            let both = [floor.operation, answer.operation];
            return Err(Violation::new(Rule::RealTime, both, message));
        }
        Ok(())
    }

    /// Counts by the revisions how many writes without an answer took effect, and where.
    ///
    /// # Errors
    /// When a revision is too low for the writes before it, or too high for what was asked.
    pub(super) fn count_unanswered(&mut self) -> Result<(), Violation> {
        let mut written = 0;
        let mut before: Option<Answer<'_>> = None;
        for answer in &mut self.answers {
            written += u64::from(answer.has_written());
            let earlier = before.map_or(0, |before| before.unanswered);
            let room = answer.sees().saturating_sub(before.map_or(0, |before| before.index));
            // An empty store is at revision 1.
            let unanswered = answer.revision.checked_sub(1 + written);
            let risen = unanswered.and_then(|unanswered| unanswered.checked_sub(earlier));
            if risen.is_none_or(|risen| risen > room) {
                return Err(wrong_revision(before.as_ref(), answer, 1 + written + earlier));
            }
            answer.unanswered = unanswered.unwrap_or(earlier);
            before = Some(*answer);
        }
        self.check_supply()?;
        self.place_maybes();
        Ok(())
    }

    /// Up to each answer there are at least as many writes that may have taken effect as did.
    fn check_supply(&mut self) -> Result<(), Violation> {
        self.maybes.sort_by_key(|maybe| maybe.floor);
        for answer in &self.answers {
            let supply = self.maybes.partition_point(|maybe| maybe.floor < answer.sees());
            if answer.unanswered > supply as u64 {
                let message = format!(
                    "revision {} shows {} writes without an answer, there are {supply}",
                    answer.revision, answer.unanswered
                );
                return Err(Violation::new(Rule::Revision, [answer.operation], message));
            }
        }
        Ok(())
    }

    fn place_maybes(&mut self) {
        for maybe in &mut self.maybes {
            let above = self.answers.partition_point(|answer| answer.index <= maybe.floor);
            let last = above.checked_sub(1).and_then(|last| self.answers.get(last));
            maybe.unanswered = last.map_or(0, |answer| answer.unanswered);
        }
    }
}

fn wrong_revision(before: Option<&Answer<'_>>, answer: &Answer<'_>, least: u64) -> Violation {
    let message = format!(
        "index {} has revision {}, where {least} is the one that follows from the operations \
         before it",
        answer.index, answer.revision
    );
    let both = before.map(|before| before.operation).into_iter().chain([answer.operation]);
    Violation::new(Rule::Revision, both, message)
}

/// For each moment, the operation of the largest index among those that have ended.
struct Floors<'a> {
    by_end: Vec<Floor<'a>>,
}

#[derive(Clone, Copy)]
struct Floor<'a> {
    ended: u64,
    index: u64,
    operation: &'a Operation,
}

impl<'a> Floors<'a> {
    fn of(answers: &[Answer<'a>]) -> Self {
        let floor = |answer: &Answer<'a>| {
            let Answer { operation, index, .. } = *answer;
            operation.ended.map(|ended| Floor { ended, index, operation })
        };
        let mut by_end: Vec<Floor<'a>> = answers.iter().filter_map(floor).collect();
        by_end.sort_by_key(|floor| floor.ended);
        let mut highest: Option<Floor<'a>> = None;
        for floor in &mut by_end {
            if let Some(highest) = highest.filter(|highest| highest.index > floor.index) {
                (floor.index, floor.operation) = (highest.index, highest.operation);
            }
            highest = Some(*floor);
        }
        Self { by_end }
    }

    /// What had ended before `moment`. Of an end and a call in the same microsecond nobody
    /// knows which came first, so they count as concurrent.
    fn at(&self, moment: u64) -> Option<&Floor<'a>> {
        let ended = self.by_end.partition_point(|floor| floor.ended < moment);
        ended.checked_sub(1).and_then(|last| self.by_end.get(last))
    }
}
