//! The search itself: level by level, each state once.

use std::collections::BTreeSet;
use std::rc::Rc;

use quorate_core::types::Term;

use super::checks::History;
use super::print::Print;
use super::reactions::Reactions;
use super::state::{Choice, State, Used};
use super::{Bounds, Explored, Start, Violation};

/// Looks at every state that can be reached from `start` within `bounds`, or up to the first
/// that breaks a rule; no shorter way breaks one.
///
/// A panic of the core is such a breach. It is caught, but the panic hook, which may print it,
/// is the caller's.
/// # Panics
/// When there are not 1 to 7 nodes, or more states than fit into 32 bits.
#[must_use]
pub fn explore(start: &Start, bounds: &Bounds) -> Explored {
    let mut search = Search::new(start, *bounds);
    search.run();
    let machines = search.reactions.machines();
    let complete = search.violation.is_none() && !search.cut_short;
    let (states, transitions, deepest) = (search.steps.len(), search.transitions, search.deepest);
    Explored { states, transitions, machines, deepest, complete, violation: search.violation }
}

/// How a state was reached first.
#[derive(Clone, Copy)]
struct Step {
    from: u32,
    choice: Choice,
}

struct Search {
    bounds: Bounds,
    last_term: Term,
    firsts: Vec<State>,
    seen: BTreeSet<Print>,
    /// By the number of a state, in the order in which they were found.
    steps: Vec<Step>,
    reactions: Reactions,
    transitions: usize,
    deepest: usize,
    cut_short: bool,
    violation: Option<Violation>,
}

impl Search {
    fn new(start: &Start, bounds: Bounds) -> Self {
        let touched = if bounds.reduced && start.is_symmetric() { 0 } else { u8::MAX };
        let mut reactions = Reactions::default();
        let machines = start.machines().into_iter().map(|machine| reactions.intern(machine));
        let first = State {
            machines: machines.collect(),
            packets: vec![],
            history: Rc::new(History::new()),
            used: Used { touched, ..Used::default() },
        };
        let firsts = first.with_victims(bounds.crashes);
        Self {
            bounds,
            last_term: Term(start.term().0 + bounds.terms),
            seen: firsts.iter().map(State::print).collect(),
            // A first state is its own predecessor.
            steps: (0u32..)
                .zip(&firsts)
                .map(|(from, _)| Step { from, choice: Choice::Sync(0) })
                .collect(),
            firsts,
            reactions,
            transitions: 0,
            deepest: 0,
            cut_short: false,
            violation: None,
        }
    }

    fn run(&mut self) {
        let mut level: Vec<_> = (0u32..).zip(self.firsts.clone()).collect();
        while !level.is_empty() {
            let mut next = vec![];
            for (number, state) in level {
                for choice in state.choices(&self.bounds, self.last_term) {
                    self.transitions += 1;
                    match self.reactions.take(&state, choice, &self.bounds) {
                        Ok(reached) => self.reach(number, choice, reached, &mut next),
                        Err(what) => return self.found(number, choice, what),
                    }
                    if self.steps.len() >= self.bounds.max_states {
                        self.cut_short = true;
                        return;
                    }
                }
            }
            self.deepest += usize::from(!next.is_empty());
            level = next;
        }
    }

    fn reach(&mut self, from: u32, choice: Choice, state: State, next: &mut Vec<(u32, State)>) {
        if self.seen.insert(state.print()) {
            let number = u32::try_from(self.steps.len()).expect("max_states fits into 32 bits");
            self.steps.push(Step { from, choice });
            next.push((number, state));
        }
    }

    /// Walks the way to the broken rule once more, for its words.
    fn found(&mut self, from: u32, choice: Choice, what: String) {
        let mut choices = vec![choice];
        let mut number = from;
        let mut state = loop {
            let place = usize::try_from(number).unwrap_or(0);
            if let Some(first) = self.firsts.get(place) {
                break first.clone();
            }
            choices.push(self.steps[place].choice);
            number = self.steps[place].from;
        };
        let mut path = vec![];
        for choice in choices.into_iter().rev() {
            path.push(self.reactions.words(&state, choice, &self.bounds));
            let Ok(next) = self.reactions.take(&state, choice, &self.bounds) else { break };
            state = next;
        }
        self.violation = Some(Violation { what, path });
    }
}
