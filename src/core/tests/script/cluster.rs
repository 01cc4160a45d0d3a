//! A cluster under a script's control: messages wait in flight until they are delivered, writes
//! wait until they are synced, and a node's clock stands until the script lets it run.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use quorate_core::raft::{Config, Effects, Input, Message, Node};
use quorate_core::types::{Change, Index, NodeId, Ticket};

use super::checks::Checks;
use super::dump;
use super::machine::{Disk, Machine, Snapshot};
use super::notation::{self, name};

/// The most events of one `stabilize`: far more than any script needs.
const ENDLESS: usize = 20_000;

/// A message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) message: Message,
}

/// The cluster.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    /// In the order in which they were sent.
    pub(crate) flight: Vec<Packet>,
    /// Taken out of the flight by `hold`, until `release`.
    pub(crate) held: Vec<Packet>,
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    /// Whether entries count as applied as soon as they are handed out.
    pub(crate) applies_at_once: bool,
    /// Snapshots on their way: who sends them to whom.
    pub(crate) sending: BTreeMap<(NodeId, NodeId), Snapshot>,
    /// What happened, for people.
    pub(crate) lines: Vec<String>,
    /// How deep the lines are indented: consequences stand below their cause.
    depth: usize,
    writes: u64,
    reads: u64,
    checks: Checks,
}

impl Cluster {
    /// The nodes, ascending.
    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.machines.keys().copied().collect()
    }

    pub(crate) fn machine(&mut self, id: NodeId) -> Result<&mut Machine, String> {
        self.machines.get_mut(&id).ok_or_else(|| format!("there is no {}", name(id)))
    }

    /// The node, which must be up.
    pub(crate) fn node(&self, id: NodeId) -> Result<&Node, String> {
        let machine = self.machines.get(&id);
        let node = machine.and_then(|machine| machine.node.as_ref());
        node.ok_or_else(|| format!("{} is down", name(id)))
    }

    pub(crate) fn is_up(&self, id: NodeId) -> bool {
        self.node(id).is_ok()
    }

    pub(crate) fn say(&mut self, line: impl AsRef<str>) {
        self.lines.push(format!("{:1$}{2}", "", self.depth * 2, line.as_ref()));
    }

    /// A cause, with what follows from it below.
    pub(crate) fn below(
        &mut self,
        cause: impl AsRef<str>,
        what: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.say(cause);
        self.depth += 1;
        let done = what(self);
        self.depth -= 1;
        done
    }

    // ---- one node ----

    /// Facts for a node, and what it does about them.
    pub(crate) fn feed(
        &mut self,
        id: NodeId,
        inputs: impl IntoIterator<Item = Input>,
    ) -> Result<(), String> {
        let before = self.node(id)?.status().commit;
        let machine = self.machine(id)?;
        let now = machine.moment();
        let Some(mut node) = machine.node.take() else { return Ok(()) };
        let work = AssertUnwindSafe(|| {
            inputs.into_iter().for_each(|input| node.step(now, input));
            let effects = node.drain(now);
            (node, effects)
        });
        match catch_unwind(work) {
            Ok((node, effects)) => {
                let status = node.status();
                self.machine(id)?.node = Some(node);
                let safe = self.checks.look(&status, &effects);
                let commit = (status.commit > before).then_some(status.commit);
                self.carry_out(id, effects, commit)?;
                safe
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
                self.say(format!("{} stops  {text}", name(id)));
                self.machine(id)?.stop(0);
                Ok(())
            }
        }
    }

    fn carry_out(
        &mut self,
        id: NodeId,
        mut effects: Effects,
        commit: Option<Index>,
    ) -> Result<(), String> {
        let from = name(id);
        for note in &effects.notes {
            self.say(format!("{from} note   {note}"));
        }
        self.post(id, std::mem::take(&mut effects.messages));
        if let Some(persist) = effects.persist.take() {
            dump::persist(id, &persist).iter().for_each(|line| self.say(line));
            self.machine(id)?.pending.push_back(persist);
        }
        if let Some(commit) = commit {
            self.say(format!("{from} commit {commit}"));
        }
        if let Some(apply) = &effects.apply {
            self.say(format!("{from} apply  {}", dump::apply(apply)));
            let last = apply.entries.last().map(|entry| entry.index);
            let machine = self.machine(id)?;
            machine.applying.extend(last);
            apply.entries.iter().for_each(|entry| machine.apply(entry));
        }
        self.keep_up(id, &effects)?;
        for (ticket, index) in effects.reads {
            self.say(format!("{from} answer {} at {index}", dump::ticket(ticket)));
        }
        for (ticket, refusal) in effects.refused {
            let (ticket, why) = (dump::ticket(ticket), dump::refusal(refusal));
            self.say(format!("{from} refuse {ticket}: {why}"));
        }
        for ticket in effects.done {
            self.say(format!("{from} done   {}", dump::ticket(ticket)));
        }
        if self.applies_at_once {
            self.applied(id, usize::MAX)?;
        }
        Ok(())
    }

    /// Messages leave; those over a cut link are lost.
    fn post(&mut self, from: NodeId, messages: Vec<(NodeId, Message)>) {
        let is_cut = |to: &NodeId| self.cut.contains(&(from, *to));
        let (lost, sent): (Vec<_>, Vec<_>) = messages.into_iter().partition(|(to, _)| is_cut(to));
        for line in dump::sends(&sent) {
            self.say(format!("{} {line}", name(from)));
        }
        for line in dump::sends(&lost) {
            self.say(format!("{} -x{}", name(from), &line[2..]));
        }
        self.flight.extend(sent.into_iter().map(|(to, message)| Packet { from, to, message }));
    }

    /// The state machine reports, for so many of what it was handed.
    pub(crate) fn applied(&mut self, id: NodeId, most: usize) -> Result<(), String> {
        for _ in 0..most {
            let Some(index) = self.machine(id)?.applying.pop_front() else { break };
            self.feed(id, [Input::Applied { index }])?;
        }
        Ok(())
    }

    // ---- requests ----

    pub(crate) fn propose(&mut self, id: NodeId, commands: &[&str]) -> Result<(), String> {
        let mut proposals = vec![];
        for command in commands {
            self.writes += 1;
            proposals.push((Ticket(self.writes), Bytes::from((*command).to_owned())));
        }
        self.feed(id, [Input::Propose(proposals)])
    }

    pub(crate) fn read(&mut self, id: NodeId) -> Result<(), String> {
        self.reads += 1;
        self.feed(id, [Input::Read(vec![Ticket(dump::FIRST_READ + self.reads)])])
    }

    /// An operator changes the members.
    pub(crate) fn change(&mut self, id: NodeId, changes: Vec<Change>) -> Result<(), String> {
        self.writes += 1;
        let ticket = Ticket(self.writes);
        self.feed(id, [Input::ChangeMembers { ticket, changes, force: false }])
    }

    /// An operator wants another leader.
    pub(crate) fn transfer(&mut self, id: NodeId, to: Option<NodeId>) -> Result<(), String> {
        self.writes += 1;
        self.feed(id, [Input::TransferLeadership { ticket: Ticket(self.writes), to }])
    }

    /// A node with an empty disk starts, with the settings that all have.
    pub(crate) fn join(&mut self, id: NodeId) -> Result<(), String> {
        let like = self.machines.values().next().ok_or("there is no cluster")?;
        let config = Config { id, seed: id.0, ..like.config.clone() };
        self.machines.insert(id, Machine::new(config, Disk::empty()));
        self.restart(id)
    }

    // ---- network ----

    /// A message arrives, unless its link is cut or its receiver is down.
    pub(crate) fn deliver(&mut self, packet: Packet) -> Result<(), String> {
        let Packet { from, to, message } = packet;
        let text = notation::message(&message);
        if !self.is_up(to) || self.cut.contains(&(from, to)) {
            self.say(format!("{} -x {}  {text}", name(from), name(to)));
            return Ok(());
        }
        let cause = format!("{} <- {}  {text}", name(to), name(from));
        self.below(cause, |cluster| cluster.feed(to, [Input::Received { from, message }]))
    }

    /// Messages to one node arrive before it gets to act on any of them.
    pub(crate) fn deliver_together(&mut self, packets: Vec<Packet>) -> Result<(), String> {
        let Some(to) = packets.first().map(|packet| packet.to) else { return Ok(()) };
        if packets.iter().any(|packet| packet.to != to) {
            return Err("together: the messages go to several nodes".to_owned());
        }
        let mut inputs = vec![];
        for Packet { from, message, .. } in packets {
            self.say(format!("{} <- {}  {}", name(to), name(from), notation::message(&message)));
            inputs.push(Input::Received { from, message });
        }
        self.depth += 1;
        let done = self.feed(to, inputs);
        self.depth -= 1;
        done
    }

    // ---- disks ----

    /// The disk does so many writes; what waited for each leaves, then the node hears of it.
    pub(crate) fn sync(&mut self, id: NodeId, most: usize) -> Result<(), String> {
        for _ in 0..most {
            let Some(persist) = self.machine(id)?.write_one() else { break };
            let cause = format!("{} synced #{}", name(id), persist.seq);
            self.below(cause, |cluster| {
                cluster.post(id, persist.then);
                cluster.feed(id, [Input::Persisted { seq: persist.seq }])
            })?;
        }
        Ok(())
    }

    /// Messages among these nodes arrive and their disks sync, until there is no more to do.
    pub(crate) fn stabilize(&mut self, ids: &[NodeId]) -> Result<(), String> {
        for _ in 0..ENDLESS {
            let among = |packet: &Packet| ids.contains(&packet.from) && ids.contains(&packet.to);
            if let Some(at) = self.flight.iter().position(among) {
                let packet = self.flight.remove(at);
                self.deliver(packet)?;
                continue;
            }
            let waits = |machine: &Machine| !machine.stalled && !machine.pending.is_empty();
            let Some(id) = ids.iter().find(|id| self.machines.get(id).is_some_and(waits)) else {
                return Ok(());
            };
            self.sync(*id, usize::MAX)?;
        }
        Err("it does not come to rest".to_owned())
    }

    // ---- time ----

    /// A node's clock runs, and it is told.
    pub(crate) fn tick(&mut self, id: NodeId, ms: u64) -> Result<(), String> {
        self.machine(id)?.clock += ms;
        match self.is_up(id) {
            true => self.feed(id, [Input::Tick]),
            false => Ok(()),
        }
    }

    pub(crate) fn crash(&mut self, id: NodeId, keep: usize) -> Result<(), String> {
        self.sending.retain(|(from, _), _| *from != id);
        let machine = self.machine(id)?;
        machine.stop(keep);
        let line = dump::log(machine);
        self.say(line);
        Ok(())
    }

    pub(crate) fn restart(&mut self, id: NodeId) -> Result<(), String> {
        let machine = self.machine(id)?;
        if machine.node.is_some() {
            return Err(format!("{} is up", name(id)));
        }
        machine.start();
        self.feed(id, [])
    }
}
