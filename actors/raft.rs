//! RaftActor: the mailbox around [`raft::Node`]. It owns the table of who waits, and nothing
//! that decides.
//!
//! Handlers absorb; one drain acts on everything: messages to the peers, one `Persist` to the
//! log store, one `Apply` to the state machine, refusals to whoever waits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use quorate_core::kv::Pacemaker;
use quorate_core::raft::{self, Input, Refusal, RoleKind};
use quorate_core::types::{Index, Membership, NodeId, Ticket};

use crate::log_store::LogStoreActor;
use crate::messages::{Apply, Drain, Persist, Query, Question};
use crate::metrics::Metrics;
use crate::outbound::{failure, tell, transmit};
use crate::peer::PeerActor;
use crate::reply::{Answers, Outcome, Reply};
use crate::snapshot::SnapshotActor;
use crate::state_machine::StateMachineActor;
use crate::view::View;

mod handlers;
mod members;

pub use members::Roads;

/// Whom a RaftActor commands.
pub struct Below {
    /// The log.
    pub log_store: Addr<LogStoreActor>,
    /// The state.
    pub state_machine: Addr<StateMachineActor>,
    /// Snapshots.
    pub snapshots: Addr<SnapshotActor>,
    /// The other members, and where they are dialled.
    pub peers: BTreeMap<NodeId, (String, Addr<PeerActor>)>,
    /// Makes ways to further members.
    pub roads: Roads,
}

enum Waiting {
    Write(Reply),
    /// What came in one message.
    Reads(Vec<Question>),
}

/// The actor of consensus.
pub struct RaftActor {
    node: raft::Node,
    below: Below,
    view: Arc<View>,
    metrics: Metrics,
    tickets: HashMap<Ticket, Waiting>,
    next_ticket: u64,
    pacemaker: Pacemaker,
    sessions: usize,
    batch: usize,
    absorbed: usize,
    tick_waits: Arc<AtomicBool>,
    /// Requests are no longer taken.
    stopping: bool,
    /// The members that were in effect last.
    members: Membership,
    /// Who was a member before, and is to have no way any more.
    leaving: BTreeSet<NodeId>,
    /// How many connections each peer speaks over.
    speaking: BTreeMap<NodeId, usize>,
    /// Operators who wait for the next checkpoint.
    checkpoint_asked: Vec<Reply>,
}

impl RaftActor {
    /// An actor around a booted node. `tick_waits` is cleared with each tick, so that the
    /// clock never queues a second one.
    pub fn new(
        node: raft::Node,
        below: Below,
        view: Arc<View>,
        metrics: Metrics,
        batch: usize,
        tick_waits: Arc<AtomicBool>,
    ) -> Self {
        let members = node.status().membership;
        Self {
            node,
            below,
            view,
            metrics,
            tickets: HashMap::new(),
            next_ticket: 1,
            pacemaker: Pacemaker::default(),
            sessions: 0,
            batch,
            absorbed: 0,
            tick_waits,
            stopping: false,
            members,
            leaving: BTreeSet::new(),
            speaking: BTreeMap::new(),
            checkpoint_asked: Vec::new(),
        }
    }

    fn absorb(&mut self, input: Input, ctx: &mut Context<Self>) {
        self.node.step(self.view.clock.now(), input);
        self.absorbed += 1;
        if self.absorbed == 1 {
            ctx.notify(Drain);
        } else if self.absorbed > self.batch {
            self.act();
            self.absorbed = 1;
        }
    }

    fn ticket(&mut self, waiting: Waiting) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.tickets.insert(ticket, waiting);
        ticket
    }

    fn act(&mut self) {
        let mut effects = self.node.drain(self.view.clock.now());
        // First, so that there is a way to whoever is sent something below.
        if let Some(membership) = effects.membership.take() {
            self.follow_members(membership);
        }
        if !effects.notes.is_empty() {
            self.view.update(self.node.status());
        }
        for note in &effects.notes {
            tell(note);
            self.metrics.noted(note);
        }
        transmit(std::mem::take(&mut effects.messages), &self.below.peers);
        if let Some(persist) = effects.persist.take() {
            self.below.log_store.do_send(Persist(persist));
        }
        if let Some(apply) = effects.apply.take() {
            let waiting = apply.waiting.into_iter();
            let waiting = waiting.filter_map(|(index, ticket)| Some((index, self.writer(ticket)?)));
            let waiting = waiting.collect();
            self.below.state_machine.do_send(Apply { entries: apply.entries, waiting });
        }
        self.compact(&mut effects);
        self.release_reads(effects.reads);
        self.refuse(effects.refused);
        self.finish(effects.done);
    }

    fn writer(&mut self, ticket: Ticket) -> Option<Reply> {
        match self.tickets.remove(&ticket)? {
            Waiting::Write(reply) => Some(reply),
            Waiting::Reads(_) => None,
        }
    }

    fn release_reads(&mut self, reads: Vec<(Ticket, Index)>) {
        if reads.is_empty() {
            return;
        }
        let mut ready = Vec::with_capacity(reads.len());
        for (ticket, index) in reads {
            if let Some(Waiting::Reads(questions)) = self.tickets.remove(&ticket) {
                ready.extend(questions.into_iter().map(|question| (index, question)));
            }
        }
        self.below.state_machine.do_send(Query(ready));
    }

    fn refuse(&mut self, refused: Vec<(Ticket, Refusal)>) {
        let mut answers = Answers::default();
        for (ticket, refusal) in refused {
            let failure = failure(refusal, &self.view);
            match self.tickets.remove(&ticket) {
                Some(Waiting::Write(reply)) => {
                    answers.add(reply, Outcome { index: Index(0), result: Err(failure) });
                }
                Some(Waiting::Reads(questions)) => {
                    questions.into_iter().for_each(|question| question.refuse(failure.clone()));
                }
                None => {}
            }
        }
        answers.send();
    }

    /// A leader advances the cluster's clock while there are sessions to expire.
    fn propose_clock(&mut self, ctx: &mut Context<Self>) {
        let leads = self.node.status().role == RoleKind::Leader;
        let due = self.pacemaker.due(self.view.clock.now(), leads, self.sessions);
        if let Some(command) = due {
            let ticket = self.ticket(Waiting::Write(Reply::nobody()));
            self.absorb(Input::Propose(vec![(ticket, command)]), ctx);
        }
    }
}

impl Actor for RaftActor {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        if !self.view.stopping.load(Ordering::SeqCst) {
            crate::fatal::fatal(70, "RaftActor ended, so this node stops");
        }
    }
}
