//! Three nodes in one thread: their messages arrive, their disks sync and their states apply at
//! once.

use std::time::Duration;

use bytes::Bytes;
use quorate_core::raft::{Boot, Config, Effects, Input, Node, RoleKind};
use quorate_core::types::{Index, Member, Membership, Moment, NodeId, Ticket};

/// The nodes, and the time.
pub(crate) struct Group {
    nodes: Vec<Node>,
    leader: usize,
    now: u64,
    next: u64,
    /// The end of the leader's log, behind which all is committed and applied.
    done: Index,
}

/// A checkpoint of so many entries is pretended, so that the log in memory stays short.
const TRIM_EVERY: u64 = 50_000;

impl Group {
    /// Three nodes, one of which leads.
    pub(crate) fn of_three() -> Self {
        let member = |id| Member::voter(NodeId(id), String::new(), String::new());
        let membership = Membership::of((1..=3).map(member).collect());
        let node = |id| {
            let mut config = Config::new(NodeId(id), id);
            config.uncommitted_bytes = usize::MAX / 2;
            config.apply_bytes = usize::MAX / 2;
            config.snapshot_entries = TRIM_EVERY;
            Node::new(config, Boot::first(membership.clone()), Moment(0))
        };
        let nodes = (1..=3).map(node).collect();
        let mut group = Self { nodes, leader: 0, now: 0, next: 1, done: Index(0) };
        let leads = |node: &Node| {
            let status = node.status();
            status.role == RoleKind::Leader && status.settled
        };
        while !group.nodes.iter().any(leads) {
            group.now += 10_000;
            group.settle((0..3).map(|place| (place, Input::Tick)).collect());
        }
        group.leader = group.nodes.iter().position(leads).expect("one leads");
        group
    }

    /// Proposes so many commands at once, and goes on until the leader has applied them.
    ///
    /// # Panics
    /// When they are not committed.
    pub(crate) fn commit(&mut self, count: u64, command: &Bytes) {
        self.now += 100;
        let tickets = self.next..self.next + count;
        self.next += count;
        let proposals = tickets.map(|number| (Ticket(number), command.clone())).collect();
        let wanted = Index(self.done.0 + count);
        self.settle(vec![(self.leader, Input::Propose(proposals))]);
        assert!(self.done >= wanted, "only {} of {wanted} are applied", self.done);
    }

    /// Carries out what comes of it until nothing more does.
    fn settle(&mut self, mut inputs: Vec<(usize, Input)>) {
        let now = Moment(self.now);
        while !inputs.is_empty() {
            let mut drains = [false; 3];
            for (place, input) in inputs.drain(..) {
                self.nodes[place].step(now, input);
                drains[place] = true;
            }
            for place in (0..3).filter(|place| drains[*place]) {
                let effects = self.nodes[place].drain(now);
                self.carry_out(place, effects, &mut inputs);
            }
        }
    }

    fn carry_out(&mut self, place: usize, effects: Effects, inputs: &mut Vec<(usize, Input)>) {
        let from = NodeId(place as u64 + 1);
        let received = |(to, message): (NodeId, _)| {
            let to = usize::try_from(to.0 - 1).expect("one of three");
            (to, Input::Received { from, message })
        };
        inputs.extend(effects.messages.into_iter().map(received));
        if let Some(persist) = effects.persist {
            inputs.push((place, Input::Persisted { seq: persist.seq }));
            inputs.extend(persist.then.into_iter().map(received));
        }
        if let Some(apply) = effects.apply {
            let last = apply.entries.last().expect("an apply is not empty");
            if place == self.leader {
                self.done = last.index;
            }
            inputs.push((place, Input::Applied { index: last.index }));
            if effects.capture {
                let (position, rest) = (last.position(), Duration::ZERO);
                inputs.push((place, Input::Captured { position, rest }));
            }
        }
    }
}
