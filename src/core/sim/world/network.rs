//! The links between nodes, one for each ordered pair: who can be heard, how long it takes, and
//! what is lost.

use std::collections::BTreeMap;

use quorate_core::raft::{Input, Message};
use quorate_core::types::NodeId;
use quorate_core::wire::peer;

use super::World;
use super::queue::{Event, Packet};
use crate::chance::Chance;
use crate::coverage::Sometimes;
use crate::facts::Fact;

/// Messages of a stream that wait behind a cut; one more breaks the connection.
const BACKLOG: usize = 64;

/// Messages that have arrived and may be replayed.
const REMEMBERED: usize = 256;

/// One direction between two nodes.
pub(super) struct Link {
    chance: Chance,
    /// How many faults cut it.
    pub(super) cuts: u64,
    /// How many faults hold it back.
    pub(super) clogs: u64,
    /// Whether the sender's connection stands.
    pub(super) connected: bool,
    /// An attempt to connect is scheduled.
    dials: bool,
    /// The connection's number.
    connection: u64,
    /// Streams: no message arrives before an earlier one.
    last_arrival: u64,
    waiting: Vec<Packet>,
}

/// All links.
pub(super) struct Network {
    links: BTreeMap<(NodeId, NodeId), Link>,
    /// Of a hundred messages, so many are lost and doubled, on top of the plan's.
    pub(super) storm: (u64, u64),
    pub(super) chance: Chance,
    pub(super) history: Vec<Packet>,
    /// Everything works; nothing is lost any more.
    pub(super) calm: bool,
}

impl Network {
    /// Links between all, of which those between the first members stand.
    pub(super) fn new(seed: u64, members: u64, machines: u64) -> Self {
        let mut links = BTreeMap::new();
        for from in 1..=machines {
            for to in (1..=machines).filter(|to| *to != from) {
                let link = Link {
                    chance: Chance::stream(seed, "link", from, to),
                    cuts: 0,
                    clogs: 0,
                    connected: from <= members && to <= members,
                    dials: false,
                    connection: 1,
                    last_arrival: 0,
                    waiting: Vec::new(),
                };
                links.insert((NodeId(from), NodeId(to)), link);
            }
        }
        let chance = Chance::stream(seed, "replays", 0, 0);
        Self { links, storm: (0, 0), chance, history: Vec::new(), calm: false }
    }

    pub(super) fn link(&mut self, from: NodeId, to: NodeId) -> Option<&mut Link> {
        self.links.get_mut(&(from, to))
    }

    pub(super) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.links.get(&(from, to)).is_none_or(|link| link.cuts > 0)
    }

    fn remember(&mut self, packet: &Packet) {
        if self.history.len() >= REMEMBERED {
            let place = usize::try_from(self.chance.below(REMEMBERED as u64)).unwrap_or(0);
            self.history.swap_remove(place);
        }
        self.history.push(packet.clone());
    }
}

/// What becomes of a message at its sender.
enum Fate {
    Lost,
    /// The connection breaks instead.
    Breaks,
    Waits,
    /// Arrives after so long, and perhaps once more.
    Arrives(u64, Option<u64>),
}

impl World {
    /// A message leaves a node.
    pub(super) fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        self.watch.tell(self.now, &Fact::Sent { from, to, message: &message });
        self.watch.tally.messages += 1;
        if matches!(&message, Message::AppendEntries { entries, .. }
            if entries.len() == self.plan.knobs.batch_entries)
        {
            self.watch.sometimes(Sometimes::BatchFull);
        }
        let (fate, connection) = self.fate(from, to);
        let disks = self.disks(from, to);
        let packet = Packet { from, to, connection, disks, message };
        match fate {
            Fate::Lost => self.watch.tally.lost += 1,
            Fate::Breaks => self.break_link(from, to),
            Fate::Waits => {
                if let Some(link) = self.network.link(from, to) {
                    link.waiting.push(packet);
                }
            }
            Fate::Arrives(at, again) => {
                if let Some(again) = again {
                    self.watch.tally.doubled += 1;
                    self.queue.push(again, Event::Deliver(packet.clone()));
                }
                self.queue.push(at, Event::Deliver(packet));
            }
        }
    }

    /// When something arrives that is no message of Raft, if it does: a lane of its own, which is
    /// held up by nothing else.
    pub(super) fn arrivals(&mut self, from: NodeId, to: NodeId) -> (Vec<u64>, u64) {
        let (fate, connection) = self.fate(from, to);
        let arrivals = match fate {
            Fate::Lost | Fate::Waits => vec![],
            Fate::Breaks => {
                self.break_link(from, to);
                vec![]
            }
            Fate::Arrives(at, again) => std::iter::once(at).chain(again).collect(),
        };
        (arrivals, connection)
    }

    fn fate(&mut self, from: NodeId, to: NodeId) -> (Fate, u64) {
        let (now, plan, calm) = (self.now, self.plan.network.clone(), self.network.calm);
        let (loss, double) = self.network.storm;
        let Some(link) = self.network.link(from, to) else { return (Fate::Lost, 0) };
        let connection = if plan.streams { link.connection } else { 0 };
        let chance = &mut link.chance;
        // Each of these is drawn each time, so that one does not shift the others.
        let lost = chance.millionths(plan.loss_millionths) | chance.percent(loss);
        let twice = chance.millionths(plan.duplicate_millionths) | chance.percent(double);
        let late = chance.millionths(plan.late_millionths);
        let delay = plan.delay_us + chance.around(plan.jitter_us);
        let after = now + if late && !calm { delay * 100 } else { delay };
        let again = now + delay + chance.around(20 * plan.jitter_us + 10_000);
        if !link.connected {
            return (Fate::Lost, connection);
        }
        if link.clogs > 0 || (plan.streams && link.cuts > 0) {
            let full = link.waiting.len() >= BACKLOG;
            return (if full { Fate::Breaks } else { Fate::Waits }, connection);
        }
        if link.cuts > 0 || (lost && !calm && !plan.streams) {
            return (Fate::Lost, connection);
        }
        if lost && !calm {
            return (Fate::Breaks, connection);
        }
        if plan.streams {
            link.last_arrival = link.last_arrival.max(after);
            return (Fate::Arrives(link.last_arrival, None), connection);
        }
        (Fate::Arrives(after, (twice && !calm).then_some(again)), connection)
    }

    /// A message arrives, unless its way was cut meanwhile.
    pub(super) fn deliver(&mut self, packet: Packet) {
        let Packet { from, to, connection, disks, message } = &packet;
        if !self.is_way(*from, *to, *connection, *disks) {
            return;
        }
        let streams = self.plan.network.streams;
        let Some(link) = self.network.link(*from, *to) else { return };
        if link.cuts > 0 {
            // A stream repeats what was not acknowledged; a datagram is gone.
            if streams {
                link.waiting.push(packet);
            }
            return;
        }
        if self.requeue_if_paused(*to, || Event::Deliver(packet.clone())) {
            return;
        }
        let (from, to, message) = (*from, *to, message.clone());
        if self.is_cut_off(from, to) {
            return self.break_link(from, to);
        }
        self.network.remember(&packet);
        let message = if self.plan.knobs.wire { through_the_wire(&message) } else { message };
        self.feed(to, Input::Received { from, message });
    }

    /// What waited arrives, in order, if nothing holds it any more.
    pub(super) fn release_link(&mut self, from: NodeId, to: NodeId) {
        let now = self.now;
        let Some(link) = self.network.link(from, to) else { return };
        if link.clogs > 0 || link.cuts > 0 {
            return;
        }
        for packet in std::mem::take(&mut link.waiting) {
            link.last_arrival = link.last_arrival.max(now + 1);
            self.queue.push(link.last_arrival, Event::Deliver(packet));
        }
    }

    /// The connection from one node to another ends; what is under way is lost. The sender
    /// notices at once and dials again, the receiver hears of it.
    pub(super) fn break_link(&mut self, from: NodeId, to: NodeId) {
        let now = self.now;
        let Some(link) = self.network.link(from, to) else { return };
        if !link.connected {
            return;
        }
        link.connected = false;
        link.connection += 1;
        link.waiting.clear();
        link.dials = true;
        let dial = now + link.chance.between(1_000, 200_000);
        let heard = link.chance.between(10, 5_000);
        let epoch = self.machine(to).epoch;
        let cut = self.network.is_cut(from, to);
        self.feed(from, Input::Disconnected { peer: to });
        self.queue.push(dial, Event::Dial { from, to });
        if !cut {
            self.queue.push(now + heard, Event::Silence { node: to, epoch, peer: from });
        }
    }

    /// Sees to it that a node tries to reach another.
    pub(super) fn begin_to_dial(&mut self, from: NodeId, to: NodeId) {
        let now = self.now;
        let Some(link) = self.network.link(from, to) else { return };
        if !link.connected && !std::mem::replace(&mut link.dials, true) {
            let dial = now + link.chance.between(1_000, 50_000);
            self.queue.push(dial, Event::Dial { from, to });
        }
    }

    /// The disks at both ends of a way.
    pub(super) fn disks(&self, from: NodeId, to: NodeId) -> (u64, u64) {
        (self.machine(from).incarnation, self.machine(to).incarnation)
    }

    /// Whether what was sent over that connection, between those disks, can still arrive. What was
    /// meant for another disk, or comes from one, is of a connection that ended with its process.
    pub(super) fn is_way(
        &mut self,
        from: NodeId,
        to: NodeId,
        connection: u64,
        disks: (u64, u64),
    ) -> bool {
        let same = self.disks(from, to) == disks;
        let streams = self.plan.network.streams;
        let link = self.network.link(from, to);
        same && link.is_some_and(|link| !streams || connection == link.connection)
    }

    /// Opens the connection, or tries again later.
    pub(super) fn dial(&mut self, from: NodeId, to: NodeId) {
        let open = !self.network.is_cut(from, to) && !self.network.is_cut(to, from);
        let up = self.machine(from).is_up() && self.machine(to).is_up();
        let now = self.now;
        if self.network.link(from, to).is_none_or(|link| link.connected) {
            return;
        }
        let met = open && up && self.shake_hands(from, to);
        let Some(link) = self.network.link(from, to) else { return };
        if !met {
            let again = now + link.chance.between(20_000, 200_000);
            self.queue.push(again, Event::Dial { from, to });
            return;
        }
        (link.connected, link.dials) = (true, false);
        link.last_arrival = now;
        self.feed(from, Input::Connected { peer: to });
    }

    /// Messages of long ago arrive once more.
    pub(super) fn replay(&mut self, messages: u64) {
        for _ in 0..messages {
            let place = self.network.chance.below(self.network.history.len() as u64);
            let place = usize::try_from(place).unwrap_or(0);
            let Some(packet) = self.network.history.get(place).cloned() else { return };
            let Packet { from, to, disks, message, .. } = packet;
            let same = self.disks(from, to) == disks;
            if same && !self.network.is_cut(from, to) && self.machine(to).is_up() {
                self.watch.sometimes(Sometimes::OldMessageReplayed);
                if self.machine(to).term().is_some_and(|term| term > message.term()) {
                    self.watch.sometimes(Sometimes::OldMessageOfAnOlderTerm);
                }
                self.watch.tally.replayed += 1;
                self.feed(to, Input::Received { from, message });
            }
        }
    }
}

/// Encodes and decodes.
fn through_the_wire(message: &Message) -> Message {
    let mut frame = bytes::BytesMut::new();
    peer::encode_message(&mut frame, message);
    let mut decoded = peer::decode_messages(&frame).expect("what was encoded can be read");
    let back = decoded.pop().expect("one message was encoded");
    assert_eq!(back, *message, "the wire changed a message");
    back
}
