//! RaftActor: the mailbox around [`raft::Node`]. It owns the table of who waits, and nothing
//! that decides.
//!
//! Handlers absorb; one drain acts on everything: messages to the peers, one `Persist` to the
//! log store, one `Apply` to the state machine, refusals to whoever waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use quorate_core::kv::Pacemaker;
use quorate_core::raft::{self, Input, Refusal, RoleKind};
use quorate_core::types::{Index, NodeId, Ticket};

use crate::log_store::LogStoreActor;
use crate::messages::{
    Applied, Apply, Connected, CountWaiting, Disconnected, Drain, Persist, Persisted, Proposal,
    Propose, Query, Question, Read, Received, Stop, Tick,
};
use crate::metrics::Metrics;
use crate::outbound::{failure, leaving, tell, transmit};
use crate::peer::PeerActor;
use crate::reply::{Answers, Outcome, Reply};
use crate::state_machine::StateMachineActor;
use crate::view::View;

/// Whom a RaftActor commands.
pub struct Below {
    /// The log.
    pub log_store: Addr<LogStoreActor>,
    /// The state.
    pub state_machine: Addr<StateMachineActor>,
    /// The other members.
    pub peers: BTreeMap<NodeId, Addr<PeerActor>>,
}

enum Waiting {
    Write(Reply),
    Read(Question),
}

/// The actor of consensus.
pub struct RaftActor {
    node: raft::Node,
    below: Below,
    view: Arc<View>,
    metrics: Metrics,
    tickets: BTreeMap<Ticket, Waiting>,
    next_ticket: u64,
    pacemaker: Pacemaker,
    sessions: usize,
    batch: usize,
    absorbed: usize,
    tick_waits: Arc<AtomicBool>,
    /// Requests are no longer taken.
    stopping: bool,
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
        Self {
            node,
            below,
            view,
            metrics,
            tickets: BTreeMap::new(),
            next_ticket: 1,
            pacemaker: Pacemaker::default(),
            sessions: 0,
            batch,
            absorbed: 0,
            tick_waits,
            stopping: false,
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
        let effects = self.node.drain(self.view.clock.now());
        if !effects.notes.is_empty() {
            self.view.update(self.node.status());
        }
        for note in &effects.notes {
            tell(note);
            self.metrics.noted(note);
        }
        transmit(effects.messages, &self.below.peers);
        if let Some(persist) = effects.persist {
            self.below.log_store.do_send(Persist(persist));
        }
        if let Some(apply) = effects.apply {
            let waiting = apply.waiting.into_iter();
            let waiting = waiting.filter_map(|(index, ticket)| Some((index, self.writer(ticket)?)));
            let waiting = waiting.collect();
            self.below.state_machine.do_send(Apply { entries: apply.entries, waiting });
        }
        self.release_reads(effects.reads);
        self.refuse(effects.refused);
    }

    fn writer(&mut self, ticket: Ticket) -> Option<Reply> {
        match self.tickets.remove(&ticket)? {
            Waiting::Write(reply) => Some(reply),
            Waiting::Read(_) => None,
        }
    }

    fn release_reads(&mut self, reads: Vec<(Ticket, Index)>) {
        if reads.is_empty() {
            return;
        }
        let mut ready = Vec::with_capacity(reads.len());
        for (ticket, index) in reads {
            if let Some(Waiting::Read(question)) = self.tickets.remove(&ticket) {
                ready.push((index, question));
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
                Some(Waiting::Read(question)) => question.refuse(failure),
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

impl Handler<Drain> for RaftActor {
    type Result = ();
    fn handle(&mut self, _: Drain, _: &mut Self::Context) {
        self.absorbed = 0;
        self.act();
    }
}

impl Handler<Tick> for RaftActor {
    type Result = ();
    fn handle(&mut self, _: Tick, ctx: &mut Self::Context) {
        self.tick_waits.store(false, Ordering::Release);
        self.propose_clock(ctx);
        self.absorb(Input::Tick, ctx);
        self.view.update(self.node.status());
    }
}

impl Handler<Propose> for RaftActor {
    type Result = ();
    fn handle(&mut self, Propose(proposals): Propose, ctx: &mut Self::Context) {
        if self.stopping {
            return proposals.into_iter().for_each(|proposal| proposal.reply.fail(leaving()));
        }
        let ticketed = proposals
            .into_iter()
            .map(|Proposal { command, reply }| (self.ticket(Waiting::Write(reply)), command));
        let ticketed = ticketed.collect();
        self.absorb(Input::Propose(ticketed), ctx);
    }
}

impl Handler<Read> for RaftActor {
    type Result = ();
    fn handle(&mut self, Read(questions): Read, ctx: &mut Self::Context) {
        if self.stopping {
            return questions.into_iter().for_each(|question| question.refuse(leaving()));
        }
        let tickets = questions.into_iter().map(|question| self.ticket(Waiting::Read(question)));
        let tickets = tickets.collect();
        self.absorb(Input::Read(tickets), ctx);
    }
}

impl Handler<Received> for RaftActor {
    type Result = ();
    fn handle(&mut self, Received { from, messages }: Received, ctx: &mut Self::Context) {
        for message in messages {
            self.absorb(Input::Received { from, message }, ctx);
        }
    }
}

impl Handler<Persisted> for RaftActor {
    type Result = ();
    fn handle(&mut self, Persisted { seq }: Persisted, ctx: &mut Self::Context) {
        self.absorb(Input::Persisted { seq }, ctx);
    }
}

impl Handler<Applied> for RaftActor {
    type Result = ();
    fn handle(&mut self, applied: Applied, ctx: &mut Self::Context) {
        self.sessions = applied.sessions;
        if applied.clock {
            self.pacemaker.applied_clock(self.view.clock.now());
        }
        self.absorb(Input::Applied { index: applied.index }, ctx);
    }
}

impl Handler<Connected> for RaftActor {
    type Result = ();
    fn handle(&mut self, Connected { peer }: Connected, ctx: &mut Self::Context) {
        self.absorb(Input::Connected { peer }, ctx);
    }
}

impl Handler<Disconnected> for RaftActor {
    type Result = ();
    fn handle(&mut self, Disconnected { peer }: Disconnected, ctx: &mut Self::Context) {
        self.absorb(Input::Disconnected { peer }, ctx);
    }
}

impl Handler<Stop> for RaftActor {
    type Result = ();
    fn handle(&mut self, Stop { now }: Stop, ctx: &mut Self::Context) {
        self.stopping = true;
        if now {
            self.absorb(Input::StepDown, ctx);
            self.act();
        }
    }
}

impl Handler<CountWaiting> for RaftActor {
    type Result = usize;
    fn handle(&mut self, _: CountWaiting, _: &mut Self::Context) -> usize {
        self.tickets.len()
    }
}
