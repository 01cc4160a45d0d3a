//! One server driven by hand, and a few of them that talk to each other.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_core::raft::{
    AppendOutcome, Boot, Config, Effects, Follower, Input, Message, Node, Persist, Refusal,
    RoleKind,
};
use quorate_core::types::{
    Entry, HardState, Index, Member, Membership, Moment, NodeId, Payload, Position, Term, Ticket,
};

/// The shortest election timeout of the tests, and the heartbeat's interval, in milliseconds.
pub(crate) const T: u64 = 500;
pub(crate) const HEARTBEAT: u64 = 100;

/// A server: the node, a clock in milliseconds, and a disk.
pub(crate) struct Server {
    pub(crate) node: Node,
    pub(crate) now: u64,
    config: Config,
    /// What a crash leaves.
    pub(crate) log: Vec<Entry>,
    pub(crate) hard_state: HardState,
    /// What is on its way to the disk.
    pending: Vec<Persist>,
}

/// What came out of a server, the disk's answers included.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) sent: Vec<(u64, Message)>,
    pub(crate) applied: Vec<Entry>,
    pub(crate) answered: Vec<(Index, Ticket)>,
    pub(crate) reads: Vec<(Ticket, Index)>,
    pub(crate) refused: Vec<(Ticket, Refusal)>,
}

impl Server {
    /// Server 1 of so many, with these terms in its log behind the first entry, which is of term
    /// 1 and holds the members. Its own term is `term`, in which it has not voted.
    pub(crate) fn new(size: u64, terms: &[u64], term: u64) -> Self {
        Self::numbered(1, size, terms, term, 7)
    }

    /// Server `id` of so many, whose chance comes from `seed`.
    pub(crate) fn numbered(id: u64, size: u64, terms: &[u64], term: u64, seed: u64) -> Self {
        let member = |id| Member::voter(NodeId(id), String::new(), String::new());
        let mut boot = Boot::first(Membership::of((1..=size).map(member).collect()));
        boot.entries.extend((2..).zip(terms).map(|(index, term)| entry(index, *term)));
        boot.hard_state = HardState { term: Term(term), vote: None };
        let config = Config::new(NodeId(id), seed);
        let (log, hard_state) = (boot.entries.clone(), boot.hard_state);
        let node = Node::new(config.clone(), boot, Moment(0));
        Self { node, now: 0, config, log, hard_state, pending: vec![] }
    }

    /// Server 1, elected by all in the term after `term`; its no-op is on its own disk only.
    pub(crate) fn leader(size: u64, terms: &[u64], term: u64) -> Self {
        let mut server = Self::new(size, terms, term);
        server.win();
        server
    }

    /// Lets it time out and win the election of the next term with every vote. What it said from
    /// the last vote that it needed on.
    pub(crate) fn win(&mut self) -> Said {
        let term = self.campaign().0;
        let mut said = Said::default();
        for from in self.others() {
            said.take(
                self.hear(from, Message::RequestVoteReply { term: Term(term), granted: true }),
            );
        }
        assert_eq!(self.role(), RoleKind::Leader);
        said
    }

    /// Lets it time out and hear that all would vote for it. Its new term, and what it said.
    pub(crate) fn campaign(&mut self) -> (u64, Said) {
        let mut said = self.time_out();
        let term = self.term() + 1;
        for from in self.others() {
            said.take(self.hear(from, Message::PreVoteReply { term: Term(term), granted: true }));
        }
        assert_eq!(self.term(), term);
        (term, said)
    }

    /// Absorbs all of it and drains once; the disk takes its time.
    pub(crate) fn step(&mut self, inputs: impl IntoIterator<Item = Input>) -> Effects {
        let now = Moment(self.now * 1_000);
        for input in inputs {
            self.node.step(now, input);
        }
        let effects = self.node.drain(now);
        self.pending.extend(effects.persist.clone());
        effects
    }

    /// Everything that was handed out is written and synced; what leaves then.
    pub(crate) fn sync(&mut self) -> Said {
        let mut said = Said::default();
        while !self.pending.is_empty() {
            let mut inputs = vec![];
            for persist in std::mem::take(&mut self.pending) {
                if let Some(from) = persist.truncate_from {
                    self.log.retain(|entry| entry.index < from);
                }
                self.log.extend(persist.entries);
                self.hard_state = persist.hard_state.unwrap_or(self.hard_state);
                said.sent.extend(persist.then.into_iter().map(|(to, message)| (to.0, message)));
                inputs.push(Input::Persisted { seq: persist.seq });
            }
            said.absorb(self, inputs);
        }
        said
    }

    /// Absorbs, drains, syncs, applies, until nothing more comes of it.
    pub(crate) fn feed(&mut self, inputs: impl IntoIterator<Item = Input>) -> Said {
        let mut said = Said::default();
        said.absorb(self, inputs.into_iter().collect());
        said.take(self.sync());
        said
    }

    pub(crate) fn hear(&mut self, from: u64, message: Message) -> Said {
        self.feed([received(from, message)])
    }

    /// A client's command.
    pub(crate) fn propose(&mut self, ticket: u64) -> Said {
        let command = Bytes::from(format!("command {ticket}"));
        self.feed([Input::Propose(vec![(Ticket(ticket), command)])])
    }

    pub(crate) fn read(&mut self, ticket: u64) -> Said {
        self.feed([Input::Read(vec![Ticket(ticket)])])
    }

    /// So many milliseconds, one after the other.
    pub(crate) fn wait(&mut self, ms: u64) -> Said {
        let mut said = Said::default();
        for _ in 0..ms {
            self.now += 1;
            said.take(self.feed([Input::Tick]));
        }
        said
    }

    /// Waits for its election timeout; what it said then.
    pub(crate) fn time_out(&mut self) -> Said {
        for _ in 0..=2 * T {
            let said = self.wait(1);
            let asks = |(_, message): &(u64, Message)| matches!(message, Message::PreVote { .. });
            if said.sent.iter().any(asks) || self.role() == RoleKind::Leader {
                return said;
            }
        }
        panic!("no election timeout");
    }

    /// The process dies with what was not synced, and starts again.
    pub(crate) fn restart(&mut self) {
        self.pending.clear();
        let (hard_state, entries) = (self.hard_state, self.log.clone());
        let boot = Boot { hard_state, entries, ..Boot::default() };
        self.node = Node::new(self.config.clone(), boot, Moment(self.now * 1_000));
    }

    pub(crate) fn role(&self) -> RoleKind {
        self.node.status().role
    }

    pub(crate) fn term(&self) -> u64 {
        self.node.status().term.0
    }

    pub(crate) fn commit(&self) -> u64 {
        self.node.status().commit.0
    }

    pub(crate) fn last(&self) -> u64 {
        self.node.status().last_index.0
    }

    /// The terms of the log on its disk, behind the first entry.
    pub(crate) fn terms(&self) -> Vec<u64> {
        self.log.iter().skip(1).map(|entry| entry.term.0).collect()
    }

    /// What a leader knows of a follower.
    pub(crate) fn follower(&self, id: u64) -> Follower {
        let followers = self.node.status().followers;
        followers.into_iter().find(|follower| follower.id == NodeId(id)).expect("it is a member")
    }

    pub(crate) fn others(&self) -> Vec<u64> {
        let membership = self.node.status().membership;
        let own = self.config.id;
        membership.voters().filter(|id| *id != own).map(|id| id.0).collect()
    }
}

impl Said {
    /// Takes in what a drain gave; what was applied is reported at once.
    fn absorb(&mut self, server: &mut Server, mut inputs: Vec<Input>) {
        loop {
            let effects = server.step(inputs);
            self.sent.extend(effects.messages.into_iter().map(|(to, message)| (to.0, message)));
            self.reads.extend(effects.reads);
            self.refused.extend(effects.refused);
            let Some(apply) = effects.apply else { return };
            let index = apply.entries.last().expect("nothing is not applied").index;
            self.applied.extend(apply.entries);
            self.answered.extend(apply.waiting);
            inputs = vec![Input::Applied { index }];
        }
    }

    pub(crate) fn take(&mut self, later: Said) {
        self.sent.extend(later.sent);
        self.applied.extend(later.applied);
        self.answered.extend(later.answered);
        self.reads.extend(later.reads);
        self.refused.extend(later.refused);
    }

    /// The messages to one server.
    pub(crate) fn to(&self, id: u64) -> Vec<&Message> {
        self.sent.iter().filter(|(to, _)| *to == id).map(|(_, message)| message).collect()
    }

    /// The answer, where there is exactly one message.
    #[track_caller]
    pub(crate) fn only(&self) -> &Message {
        let [(_, message)] = self.sent.as_slice() else { panic!("not one: {:?}", self.sent) };
        message
    }

    /// Whether the answer to a RequestVote was yes.
    #[track_caller]
    pub(crate) fn vote(&self) -> bool {
        let Message::RequestVoteReply { granted, .. } = self.only() else {
            panic!("no answer to a RequestVote: {:?}", self.sent)
        };
        *granted
    }

    /// What became of an AppendEntries.
    #[track_caller]
    pub(crate) fn outcome(&self) -> AppendOutcome {
        let Message::AppendEntriesReply { outcome, .. } = self.only() else {
            panic!("no answer to an AppendEntries: {:?}", self.sent)
        };
        *outcome
    }

    /// The AppendEntries to one server, as (prev, terms of the entries).
    pub(crate) fn appends(&self, id: u64) -> Vec<(Position, Vec<u64>)> {
        let append = |message: &Message| match message {
            Message::AppendEntries { prev, entries, .. } => {
                Some((*prev, entries.iter().map(|entry| entry.term.0).collect()))
            }
            _ => None,
        };
        self.to(id).into_iter().filter_map(append).collect()
    }

    /// The number of the newest round of heartbeats.
    pub(crate) fn round(&self) -> Option<u64> {
        self.sent.iter().rev().find_map(|(_, message)| match message {
            Message::Heartbeat { round, .. } => Some(*round),
            _ => None,
        })
    }
}

/// A few servers and the messages between them.
pub(crate) struct Group {
    pub(crate) servers: BTreeMap<u64, Server>,
    /// Refused appends, by who refused.
    pub(crate) rejections: Vec<u64>,
    pub(crate) applied: BTreeMap<u64, Vec<Entry>>,
}

impl Group {
    /// Servers 1, 2, ... with these logs behind the first entry; each has seen its log's terms.
    pub(crate) fn new(logs: &[&[u64]]) -> Self {
        let size = u64::try_from(logs.len()).expect("a few");
        let server = |(id, terms): (u64, &&[u64])| {
            let term = terms.last().copied().unwrap_or(1);
            (id, Server::numbered(id, size, terms, term, 10 + id))
        };
        let servers = (1..).zip(logs).map(server).collect();
        Self { servers, rejections: vec![], applied: BTreeMap::new() }
    }

    pub(crate) fn server(&mut self, id: u64) -> &mut Server {
        self.servers.get_mut(&id).expect("a server of the group")
    }

    /// Delivers what `from` said, and all that is said in return, among these; the rest is lost.
    pub(crate) fn deliver(&mut self, from: u64, said: Said, among: &[u64]) {
        let among: BTreeSet<u64> = among.iter().copied().collect();
        let mut wire: Vec<(u64, u64, Message)> = vec![];
        let mut news = vec![(from, said)];
        loop {
            for (from, said) in news.drain(..) {
                self.applied.entry(from).or_default().extend(said.applied);
                wire.extend(said.sent.into_iter().map(|(to, message)| (from, to, message)));
            }
            if wire.is_empty() {
                return;
            }
            let (from, to, message) = wire.remove(0);
            if !among.contains(&from) || !among.contains(&to) {
                continue;
            }
            if let Message::AppendEntriesReply { outcome: AppendOutcome::Rejected(_), .. } = message
            {
                self.rejections.push(from);
            }
            news.push((to, self.server(to).hear(from, message)));
        }
    }

    /// Lets a server campaign until it leads, with the votes of these, who have forgotten any
    /// leader. Whether it won within three elections.
    pub(crate) fn elect(&mut self, id: u64, among: &[u64]) -> bool {
        for _ in 0..3 {
            for other in among {
                // Nobody hears a leader any more; pauses are no evidence, so time passes slowly.
                self.server(*other).now += 10 * T;
                self.server(*other).wait(2 * HEARTBEAT);
            }
            let said = self.server(id).time_out();
            self.deliver(id, said, among);
            if self.server(id).role() == RoleKind::Leader {
                return true;
            }
        }
        false
    }

    /// A heartbeat's time at the leader, delivered among these.
    pub(crate) fn beat(&mut self, leader: u64, among: &[u64]) {
        let said = self.server(leader).wait(HEARTBEAT);
        self.deliver(leader, said, among);
    }
}

pub(crate) fn at(index: u64, term: u64) -> Position {
    Position { term: Term(term), index: Index(index) }
}

/// The entry of that index and term; the same wherever it is.
pub(crate) fn entry(index: u64, term: u64) -> Entry {
    let payload = Payload::Command(Bytes::from(format!("{index}@{term}")));
    Entry { term: Term(term), index: Index(index), payload }
}

pub(crate) fn received(from: u64, message: Message) -> Input {
    Input::Received { from: NodeId(from), message }
}

/// An AppendEntries of entries of these terms behind `prev`.
pub(crate) fn append(term: u64, prev: Position, terms: &[u64], commit: u64) -> Message {
    let entries = (prev.index.0 + 1..).zip(terms).map(|(index, term)| entry(index, *term));
    let entries = entries.collect();
    Message::AppendEntries { term: Term(term), prev, commit: Index(commit), entries }
}

pub(crate) fn accepted(term: u64, prev: u64, index: u64) -> Message {
    let outcome = AppendOutcome::Accepted(Index(index));
    Message::AppendEntriesReply { term: Term(term), prev: Index(prev), outcome }
}

pub(crate) fn rejected(term: u64, prev: u64, hint: Position) -> Message {
    let outcome = AppendOutcome::Rejected(hint);
    Message::AppendEntriesReply { term: Term(term), prev: Index(prev), outcome }
}

pub(crate) fn request_vote(term: u64, last: Position) -> Message {
    Message::RequestVote { term: Term(term), last, transfer: false }
}

pub(crate) fn pre_vote(term: u64, last: Position) -> Message {
    Message::PreVote { term: Term(term), last }
}

pub(crate) fn granted(term: u64) -> Message {
    Message::RequestVoteReply { term: Term(term), granted: true }
}

pub(crate) fn denied(term: u64) -> Message {
    Message::RequestVoteReply { term: Term(term), granted: false }
}

pub(crate) fn heartbeat(term: u64, commit: u64, round: u64) -> Message {
    Message::Heartbeat { term: Term(term), commit: Index(commit), round, all_hold: Index(0) }
}

/// An answer to a round of heartbeats.
pub(crate) fn beaten(term: u64, round: u64, last: u64) -> Message {
    Message::HeartbeatReply { term: Term(term), round, last: Index(last) }
}
