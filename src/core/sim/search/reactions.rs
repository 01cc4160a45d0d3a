//! One step of the search: what a choice makes of a state, and how it reads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use quorate_core::raft::Message;

use super::Bounds;
use super::checks::{Happened, check};
use super::machine::{Event, Machine, Outcome};
use super::print::{Print, print_all};
use super::reduce::reduce;
use super::state::{Choice, Packet, State, Words, is_followed};

/// What a machine does when something happens to it: always the same, so it is asked once.
#[derive(Default)]
pub(super) struct Reactions {
    machines: BTreeMap<Print, Rc<Machine>>,
    known: BTreeMap<Print, Result<Rc<Reaction>, String>>,
}

/// What came of an event.
pub(super) struct Reaction {
    pub(super) after: Rc<Machine>,
    pub(super) outcome: Outcome,
    /// Whether there is anything to check.
    matters: bool,
    /// What left and is followed.
    pub(super) packets: Vec<Rc<Packet>>,
}

impl Reactions {
    /// How many different machines were met.
    pub(super) fn machines(&self) -> usize {
        self.machines.len()
    }

    /// The one copy of a machine that is kept.
    pub(super) fn intern(&mut self, machine: Machine) -> Rc<Machine> {
        Rc::clone(self.machines.entry(machine.print).or_insert_with(|| Rc::new(machine)))
    }

    /// What a machine makes of an event.
    ///
    /// # Errors
    /// The words with which the core panicked.
    pub(super) fn react(
        &mut self,
        machine: &Machine,
        event: &Event<'_>,
        syncs_at_once: bool,
    ) -> Result<Rc<Reaction>, String> {
        let key = print_all([machine.print, event.print(), Print::from(syncs_at_once)]);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let happened = catch_unwind(AssertUnwindSafe(|| machine.after(event, syncs_at_once)));
        let reaction = match happened {
            Ok((after, outcome)) => Ok(Rc::new(self.reaction(machine, after, outcome))),
            Err(panic) => Err(format!("n{} panics: {}", machine.id, said(&*panic))),
        };
        self.known.insert(key, reaction.clone());
        reaction
    }

    fn reaction(&mut self, before: &Machine, after: Machine, outcome: Outcome) -> Reaction {
        let after = self.intern(after);
        let followed = outcome.left.iter().filter(|(_, message)| is_followed(message));
        let packet = |(to, message): &(_, Message)| Packet::new(after.id, *to, message.clone());
        let packets = followed.map(packet).map(Rc::new).collect();
        let alone = Happened { before, after: &after, outcome: &outcome, machines: &[] };
        let matters = alone.matters();
        Reaction { after, outcome, matters, packets }
    }

    /// The state behind a choice, or the rule that it breaks.
    pub(super) fn take(
        &mut self,
        state: &State,
        choice: Choice,
        bounds: &Bounds,
    ) -> Result<State, String> {
        let place = state.place_of(choice);
        let before = &state.machines[place];
        let mut next = state.clone();
        next.pay(choice, bounds);
        let at_once = next.syncs_at_once(before.id, bounds);
        let reaction = self.react(before, &state.event(choice), at_once)?;
        next.machines[place] = Rc::clone(&reaction.after);
        if reaction.matters {
            let happened = Happened {
                before,
                after: &reaction.after,
                outcome: &reaction.outcome,
                machines: &next.machines,
            };
            check(&mut next.history, &happened)?;
        }
        for packet in &reaction.packets {
            next.send(packet);
        }
        next.forget_connections();
        if bounds.reduced {
            reduce(&mut next, self);
        }
        Ok(next)
    }

    /// A step, for people.
    pub(super) fn words(&mut self, state: &State, choice: Choice, bounds: &Bounds) -> String {
        let place = state.place_of(choice);
        let machine = &state.machines[place];
        let event = state.event(choice);
        let what = match (&event, choice) {
            (Event::Receive(packet), choice) => {
                let copy = matches!(choice, Choice::DeliverCopy(_));
                let copy = if copy { " (a copy)" } else { "" };
                format!(" <- n{} {}{copy}", packet.from, Words(&packet.message))
            }
            (Event::Elapse, _) => ": its timeout fires".to_owned(),
            (Event::Sync, _) => ": its oldest write reaches the disk".to_owned(),
            (Event::Crash, _) => format!(" crashes, losing {} writes", machine.writes.len()),
            (Event::Propose(number), _) => format!(": a client proposes command {number}"),
            (Event::Beat, _) => ": a heartbeat".to_owned(),
            (Event::Reconnect(peer), _) => format!(": its connection to n{peer} is back"),
        };
        let notes =
            self.react(machine, &event, state.syncs_at_once(machine.id, bounds)).map_or_else(
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
