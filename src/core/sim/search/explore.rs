//! The search itself: level by level, each state once.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use quorate_core::raft::{Message, RoleKind};
use quorate_core::types::{HardState, Term};

use super::checks::{Happened, History, check};
use super::machine::{Event, Machine, Outcome};
use super::print::{BuildAsIs, Print, print};
use super::state::{Choice, Packet, State, Used, Words, is_followed};
use super::{Bounds, Explored, Start, Violation};

/// Looks at every state that can be reached from `start` within `bounds`, or up to the first
/// that breaks a rule; no shorter way breaks one.
///
/// A panic of the core is such a breach. It is caught, but the panic hook, which may print it,
/// is the caller's.
#[must_use]
pub fn explore(start: &Start, bounds: &Bounds) -> Explored {
    let mut search = Search::new(start, *bounds);
    search.run();
    let machines = search.reactions.machines.len();
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
    seen: HashSet<Print, BuildAsIs>,
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
        let touched = if start.is_symmetric() { 0 } else { u8::MAX };
        let mut reactions = Reactions::default();
        let machines = start.machines().into_iter().map(|machine| reactions.intern(machine));
        let first = State {
            machines: machines.collect(),
            packets: vec![],
            history: Rc::new(History::default()),
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
            path.push(self.reactions.words(&state, choice));
            let Ok(next) = self.reactions.take(&state, choice, &self.bounds) else { break };
            state = next;
        }
        self.violation = Some(Violation { what, path });
    }
}

/// What a machine does when something happens to it: always the same, so it is asked once.
#[derive(Default)]
struct Reactions {
    machines: HashMap<Print, Rc<Machine>, BuildAsIs>,
    known: HashMap<Print, Result<Rc<Reaction>, String>, BuildAsIs>,
}

struct Reaction {
    after: Rc<Machine>,
    outcome: Outcome,
    /// What left and is followed.
    packets: Vec<Rc<Packet>>,
}

impl Reactions {
    fn intern(&mut self, machine: Machine) -> Rc<Machine> {
        Rc::clone(self.machines.entry(machine.print).or_insert_with(|| Rc::new(machine)))
    }

    fn react(
        &mut self,
        machine: &Machine,
        event: &Event<'_>,
        syncs_at_once: bool,
    ) -> Result<Rc<Reaction>, String> {
        let key = print(&(machine.print, event, syncs_at_once));
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let happened = catch_unwind(AssertUnwindSafe(|| machine.after(event, syncs_at_once)));
        let reaction = match happened {
            Ok((after, outcome)) => Ok(Rc::new(self.reaction(after, outcome))),
            Err(panic) => Err(format!("n{} panics: {}", machine.id, said(&*panic))),
        };
        self.known.insert(key, reaction.clone());
        reaction
    }

    fn reaction(&mut self, after: Machine, outcome: Outcome) -> Reaction {
        let after = self.intern(after);
        let followed = outcome.left.iter().filter(|(_, message)| is_followed(message));
        let packet = |(to, message): &(_, Message)| Packet::new(after.id, *to, message.clone());
        let packets = followed.map(packet).map(Rc::new).collect();
        Reaction { after, outcome, packets }
    }

    /// The state behind a choice, or the rule that it breaks.
    fn take(&mut self, state: &State, choice: Choice, bounds: &Bounds) -> Result<State, String> {
        let place = state.place_of(choice);
        let before = &state.machines[place];
        let mut next = state.clone();
        next.pay(choice, bounds);
        let at_once = next.syncs_at_once(before.id);
        let reaction = self.react(before, &state.event(choice), at_once)?;
        next.machines[place] = Rc::clone(&reaction.after);
        let happened = Happened {
            before,
            after: &reaction.after,
            outcome: &reaction.outcome,
            machines: &next.machines,
        };
        check(&mut next.history, &happened)?;
        for packet in &reaction.packets {
            next.send(packet);
        }
        next.forget_connections();
        self.forget_dead(&mut next);
        Ok(next)
    }

    /// Takes what can no longer change anything off the network.
    fn forget_dead(&mut self, state: &mut State) {
        let State { machines, packets, .. } = state;
        packets.retain(|packet| {
            let receiver = machines.iter().find(|machine| machine.id == packet.to);
            !receiver.is_some_and(|receiver| self.is_dead(packet, receiver))
        });
    }

    /// An answer that its receiver no longer waits for, and never will again, since the term on
    /// its disk never falls. That is the rule; whether the core keeps to it is tried.
    fn is_dead(&mut self, packet: &Packet, receiver: &Machine) -> bool {
        let awaited = match packet.message {
            Message::RequestVoteReply { .. } => RoleKind::Candidate,
            Message::AppendEntriesReply { .. } => RoleKind::Leader,
            Message::RequestVote { .. } => return self.is_refused_for_good(packet, receiver),
            _ => return false,
        };
        let (theirs, ours) = (packet.message.term(), receiver.disk.hard_state.term);
        let waits = receiver.term == theirs && receiver.role == awaited;
        if theirs > ours || waits {
            return false;
        }
        let event = Event::Receive(packet.from, &packet.message);
        self.react(receiver, &event, true).is_ok_and(|reaction| {
            reaction.after.print == receiver.print && reaction.packets.is_empty()
        })
    }

    /// A request for a vote that the receiver's disk will not let it give: its answer could only
    /// tell the candidate of a newer term.
    fn is_refused_for_good(&mut self, packet: &Packet, receiver: &Machine) -> bool {
        let HardState { term, vote } = receiver.disk.hard_state;
        let theirs = packet.message.term();
        if theirs > term || (theirs == term && vote.is_none_or(|vote| vote == packet.from)) {
            return false;
        }
        let event = Event::Receive(packet.from, &packet.message);
        let refused = |packet: &Rc<Packet>| {
            matches!(packet.message, Message::RequestVoteReply { granted: false, .. })
        };
        self.react(receiver, &event, true).is_ok_and(|reaction| {
            reaction.after.print == receiver.print && reaction.packets.iter().all(refused)
        })
    }

    /// A step, for people.
    fn words(&mut self, state: &State, choice: Choice) -> String {
        let place = state.place_of(choice);
        let machine = &state.machines[place];
        let event = state.event(choice);
        let what = match (&event, choice) {
            (Event::Receive(from, message), Choice::DeliverCopy(_)) => {
                format!(" <- n{from} {} (a copy)", Words(message))
            }
            (Event::Receive(from, message), _) => format!(" <- n{from} {}", Words(message)),
            (Event::Elapse, _) => ": its timeout fires".to_owned(),
            (Event::Sync, _) => ": its oldest write reaches the disk".to_owned(),
            (Event::Crash, _) => format!(" crashes, losing {} writes", machine.writes.len()),
            (Event::Propose(number), _) => format!(": a client proposes command {number}"),
            (Event::Beat, _) => ": a heartbeat".to_owned(),
            (Event::Reconnect(peer), _) => format!(": its connection to n{peer} is back"),
        };
        let notes = self.react(machine, &event, state.syncs_at_once(machine.id)).map_or_else(
            |_| vec![],
            |reaction| reaction.outcome.notes.iter().map(ToString::to_string).collect(),
        );
        let notes =
            if notes.is_empty() { String::new() } else { format!("  [{}]", notes.join("; ")) };
        format!("n{}{what}{notes}", machine.id)
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}
