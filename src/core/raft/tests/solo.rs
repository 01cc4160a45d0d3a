//! One node, driven by hand: its peers are whatever the test says they sent.

use super::harness::foreign;
use crate::raft::{Boot, Config, Effects, Input, Message, Node};
use crate::types::{HardState, Index, Member, Membership, Moment, NodeId, Position, Term};

pub(super) struct Solo {
    pub(super) node: Node,
    pub(super) now: u64,
    /// The number of the last `Persist`.
    pub(super) seq: u64,
}

/// A position, the way the paper's figures write it.
pub(super) fn at(index: u64, term: u64) -> Position {
    Position { term: Term(term), index: Index(index) }
}

impl Solo {
    /// Node 1 of so many, with these terms in its log behind the first entry.
    pub(super) fn new(size: u64, terms: &[u64], term: u64, vote: Option<u64>) -> Self {
        let member = |id| Member::voter(NodeId(id), String::new(), String::new());
        let mut boot = Boot::first(Membership::of((1..=size).map(member).collect()));
        boot.entries.extend((2..).zip(terms).map(|(index, term)| foreign(index, *term)));
        boot.hard_state = HardState { term: Term(term), vote: vote.map(NodeId) };
        let node = Node::new(Config::new(NodeId(1), 7), boot, Moment(0));
        Self { node, now: 0, seq: 0 }
    }

    /// Absorbs all of it, then drains once.
    pub(super) fn feed(&mut self, inputs: impl IntoIterator<Item = Input>) -> Effects {
        let now = Moment(self.now * 1_000);
        for input in inputs {
            self.node.step(now, input);
        }
        let effects = self.node.drain(now);
        if let Some(persist) = &effects.persist {
            assert_eq!(persist.seq, self.seq + 1, "persists are numbered one by one");
            self.seq = persist.seq;
        }
        effects
    }

    pub(super) fn hear(&mut self, from: u64, message: Message) -> Effects {
        self.feed([received(from, message)])
    }

    /// Everything handed out so far is durable.
    pub(super) fn sync(&mut self) -> Effects {
        self.feed([Input::Persisted { seq: self.seq }])
    }

    /// So many milliseconds later, a tick.
    pub(super) fn wait(&mut self, ms: u64) -> Effects {
        self.now += ms;
        self.feed([Input::Tick])
    }

    /// Ticks until the election timeout has passed; says what came of it.
    pub(super) fn time_out(&mut self) -> Effects {
        for _ in 0..200 {
            let effects = self.wait(10);
            if !effects.is_empty() {
                return effects;
            }
        }
        panic!("no election timeout");
    }

    /// Makes it the leader of the next term, its no-op durable and committed by node 2.
    pub(super) fn lead(&mut self) -> Term {
        self.time_out();
        let term = self.node.term().next();
        for from in 2..=self.node.membership.members.len() as u64 {
            self.hear(from, Message::PreVoteReply { term, granted: true });
        }
        self.sync();
        for from in 2..=self.node.membership.members.len() as u64 {
            self.hear(from, Message::RequestVoteReply { term, granted: true });
        }
        self.sync();
        term
    }
}

pub(super) fn received(from: u64, message: Message) -> Input {
    Input::Received { from: NodeId(from), message }
}

/// What goes out at once and what goes out after the sync.
pub(super) fn messages(effects: &Effects) -> (Vec<&Message>, Vec<&Message>) {
    let then = effects.persist.iter().flat_map(|persist| &persist.then);
    (effects.messages.iter().map(|(_, m)| m).collect(), then.map(|(_, m)| m).collect())
}
