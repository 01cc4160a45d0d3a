//! I14: everyone who asks a node is answered once, and the answer is his (RAFT: C-36, a waiter of an
//! entry that was removed).
//!
//! A ticket ends by its entry being applied, which must be the entry it asked for, by its read, by a
//! refusal, or with the process. A refusal that says "never appended" is never of an entry in a log.
//! In the end nobody waits.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::raft::Refusal;
use quorate_core::types::{Entry, NodeId, Payload, Ticket};
use xxhash_rust::xxh3::xxh3_64;

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;

/// What a ticket is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// A command's bytes, hashed.
    Command(u64),
    /// A read, or the handing over of leadership.
    NoEntry,
    /// A change of the members.
    Change,
}

/// Who waits is answered, once, with his own answer.
#[derive(Default)]
pub(super) struct NoWaiterLeft {
    open: BTreeMap<(NodeId, Ticket), Waiting>,
    /// How often each command was asked for and not refused for certain, by its hash.
    wanted: BTreeMap<u64, i64>,
    calls: BTreeSet<u64>,
}

impl NoWaiterLeft {
    fn end(&mut self, node: NodeId, ticket: Ticket) -> Result<Waiting, String> {
        self.open.remove(&(node, ticket)).ok_or_else(|| {
            let Ticket(number) = ticket;
            format!("node {node} answers ticket {number}, for which nobody waits any more")
        })
    }

    fn applied(&mut self, node: NodeId, entry: &Entry, ticket: Ticket) -> Result<(), String> {
        let waiting = self.end(node, ticket)?;
        let own = match &entry.payload {
            Payload::Command(bytes) => waiting == Waiting::Command(xxh3_64(bytes)),
            Payload::Membership(_) => waiting == Waiting::Change,
            Payload::Noop => false,
        };
        if !own {
            return Err(format!(
                "node {node} answers a waiter with another's entry {}",
                entry.index
            ));
        }
        Ok(())
    }

    fn refused(&mut self, node: NodeId, ticket: Ticket, why: Refusal) -> Result<(), String> {
        let waiting = self.end(node, ticket)?;
        match (waiting, why) {
            (Waiting::NoEntry, Refusal::Unknown) => {
                Err(format!("node {node} calls a read unknown"))
            }
            (
                Waiting::Command(command),
                Refusal::NotLeader(_)
                | Refusal::NoLeader
                | Refusal::Overloaded
                | Refusal::Transferring(_),
            ) => {
                *self.wanted.entry(command).or_default() -= 1;
                Ok(())
            }
            (
                Waiting::Command(_),
                Refusal::Unknown | Refusal::Change(_) | Refusal::NoTarget | Refusal::TransferFailed,
            )
            | (Waiting::NoEntry | Waiting::Change, _) => Ok(()),
        }
    }

    /// Entries that a leader appends are of someone who was not refused.
    fn staged(&self, node: NodeId, entry: &Entry) -> Result<(), String> {
        let Payload::Command(bytes) = &entry.payload else { return Ok(()) };
        if self.wanted.get(&xxh3_64(bytes)).is_some_and(|wanted| *wanted > 0) {
            return Ok(());
        }
        Err(format!(
            "node {node} has in its log at {} what was refused as never appended",
            entry.index
        ))
    }
}

impl Invariant for NoWaiterLeft {
    fn id(&self) -> &'static str {
        "I14"
    }

    fn claim(&self) -> &'static str {
        "each request is answered once, with its own answer; what is refused for certain is in no log"
    }

    fn check(&mut self, _: &Known, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Asked { node, ticket, command, .. } => {
                let waiting = command.map_or(Waiting::NoEntry, |bytes| {
                    let command = xxh3_64(bytes);
                    *self.wanted.entry(command).or_default() += 1;
                    Waiting::Command(command)
                });
                self.open.insert((*node, *ticket), waiting);
            }
            Fact::Ordered { node, ticket, changes } => {
                let waiting = if *changes { Waiting::Change } else { Waiting::NoEntry };
                self.open.insert((*node, *ticket), waiting);
            }
            Fact::Released { node, ticket, .. } | Fact::Done { node, ticket } => {
                self.end(*node, *ticket)?;
            }
            Fact::Refused { node, ticket, why } => self.refused(*node, *ticket, *why)?,
            Fact::Applied { node, entry, waiter: Some(ticket), .. } => {
                self.applied(*node, entry, *ticket)?;
            }
            Fact::Staged { node, persist } => {
                for entry in &persist.entries {
                    self.staged(*node, entry)?;
                }
            }
            Fact::Stopped { node, .. } => self.open.retain(|(of, _), _| of != node),
            Fact::Invoked { call, .. } => drop(self.calls.insert(*call)),
            Fact::Completed { call, .. } => drop(self.calls.remove(call)),
            _ => {}
        }
        Ok(())
    }

    fn at_end(&mut self, known: &Known, whole: &[NodeId]) -> Result<(), String> {
        let applied = |node: &NodeId| known.nodes.get(node).is_some_and(|image| image.up);
        let left = self.open.keys().find(|(node, _)| whole.contains(node) && applied(node));
        if let Some((node, Ticket(ticket))) = left {
            return Err(format!("ticket {ticket} on node {node} waits for ever"));
        }
        match self.calls.first() {
            Some(call) => Err(format!("call {call} of a client waits for ever")),
            None => Ok(()),
        }
    }
}
