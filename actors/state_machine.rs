//! StateMachineActor: applies what is committed and answers whoever waits, itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::prelude::*;
use quorate_core::kv::StateMachine;
use quorate_core::types::{Index, Payload};
use quorate_core::wire::client::{Consistency, ErrorCode, Failure, Get, OpResult, Success};

use crate::checkpoint::CheckpointActor;
use crate::messages::{
    Applied, Apply, Capture, Discard, Installed, Purpose, Query, Question, Replace, Save, Taken,
};
use crate::metrics::Metrics;
use crate::outbound::trace;
use crate::reply::{Answers, Outcome};
use crate::view::{View, member_rows};

/// The actor of the state.
pub struct StateMachineActor {
    state: StateMachine,
    above: Above,
    checkpoint: Addr<CheckpointActor>,
    view: Arc<View>,
    metrics: Metrics,
    /// Reads whose index is not applied yet.
    waiting: BTreeMap<Index, Vec<Question>>,
}

/// Whom a StateMachineActor tells.
pub struct Above {
    /// Who hears that something is applied.
    pub applied: Recipient<Applied>,
    /// Who hears that a snapshot is the state now.
    pub installed: Vec<Recipient<Installed>>,
    /// Who gets a state that was captured for a snapshot.
    pub taken: Recipient<Taken>,
}

impl StateMachineActor {
    /// An actor around a recovered state, whose checkpoints that one saves.
    pub fn new(
        state: StateMachine,
        above: Above,
        checkpoint: Addr<CheckpointActor>,
        view: Arc<View>,
        metrics: Metrics,
    ) -> Self {
        Self { state, above, checkpoint, view, metrics, waiting: BTreeMap::new() }
    }

    fn sessions(&self) -> usize {
        usize::try_from(self.state.summary().sessions).unwrap_or(usize::MAX)
    }

    fn answer(&self, question: Question, answers: &mut Answers) {
        let index = self.state.applied();
        match question {
            Question::Get { get, asked, reply } => {
                asked.inspect(|asked| self.view.age.complete_as_of(*asked));
                answers.add(reply, Outcome { index, result: self.get(&get) });
            }
            Question::List { prefix, after, page, reply } => {
                drop(reply.send(Ok(self.state.list(&prefix, after.as_deref(), page))));
            }
            Question::State { reply } => drop(reply.send(Ok(self.state.point_in_time()))),
            Question::Status { reply } => {
                let status = self.view.status(&self.state.summary());
                let result = Ok(Success::Status(Box::new(status)));
                answers.add(reply, Outcome { index, result });
            }
        }
    }

    fn get(&self, get: &Get) -> OpResult {
        let behind = get.min_revision > self.state.revision();
        if get.consistency == Consistency::Stale && behind {
            return Err(self.too_old(get.min_revision));
        }
        self.state.get(get)
    }

    fn too_old(&self, wanted: u64) -> Failure {
        let (here, node) = (self.state.revision(), self.view.node());
        if self.view.leads() {
            let text = format!("min_revision is {wanted}, and the store is only at {here}");
            return Failure::new(ErrorCode::BadRequest, text);
        }
        let message = format!("node {node} is at revision {here}, before {wanted}: ask the leader");
        Failure { code: ErrorCode::NotLeader, message, leader: self.view.leader(), revision: None }
    }

    fn release_reads(&mut self, answers: &mut Answers) {
        let later = self.waiting.split_off(&self.state.applied().next());
        for question in std::mem::replace(&mut self.waiting, later).into_values().flatten() {
            self.answer(question, answers);
        }
    }
}

impl Actor for StateMachineActor {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        if !self.view.stopping.load(Ordering::SeqCst) {
            crate::fatal::fatal(70, "StateMachineActor ended, so this node stops");
        }
    }
}

impl Handler<Apply> for StateMachineActor {
    type Result = ();
    fn handle(&mut self, Apply { entries, waiting }: Apply, _: &mut Self::Context) {
        let mut answers = Answers::default();
        let mut waiting = waiting.into_iter().peekable();
        let clock = self.state.summary().clock_ms;
        self.state.apply_all(&entries, |entry, result| {
            trace("applied", entry);
            self.metrics.applied_entries.inc();
            let Some((index, reply)) = waiting.next_if(|(index, _)| *index <= entry.index) else {
                return;
            };
            assert!(index == entry.index, "a waiter of index {index} was left behind");
            let none = || match &entry.payload {
                // Who waits for it changed the members.
                Payload::Membership(membership) => Ok(Success::Members(member_rows(membership))),
                Payload::Noop | Payload::Command(_) => {
                    Err(Failure::new(ErrorCode::Internal, "the entry bears no command"))
                }
            };
            let result = result.unwrap_or_else(none);
            answers.add(reply, Outcome { index, result });
        });
        let (sessions, clock) = (self.sessions(), self.state.summary().clock_ms != clock);
        self.above.applied.do_send(Applied { index: self.state.applied(), sessions, clock });
        self.release_reads(&mut answers);
        answers.send();
    }
}

impl Handler<Capture> for StateMachineActor {
    type Result = ();
    fn handle(&mut self, Capture { purpose }: Capture, _: &mut Self::Context) {
        match purpose {
            Purpose::Checkpoint => {
                let changes = Some(self.state.take_changes());
                let state = self.state.point_in_time();
                self.checkpoint.do_send(Save { state, changes, install: false });
            }
            Purpose::Snapshot => self.above.taken.do_send(Taken(self.state.point_in_time())),
        }
    }
}

/// A snapshot that is durable becomes the state. Whoever waits for an index that it holds is
/// answered from it.
impl Handler<Replace> for StateMachineActor {
    type Result = ();
    fn handle(&mut self, Replace(state): Replace, _: &mut Self::Context) {
        let (old, position) = (self.state.applied(), state.position());
        assert!(position.index > old, "a snapshot at {position} would move {old} back");
        // Not here: the node would stand still meanwhile.
        self.checkpoint.do_send(Discard(std::mem::replace(&mut self.state, state)));
        let installed = Installed { position, sessions: self.sessions() };
        self.above.installed.iter().for_each(|to| to.do_send(installed.clone()));
        let mut answers = Answers::default();
        self.release_reads(&mut answers);
        answers.send();
    }
}

impl Handler<Query> for StateMachineActor {
    type Result = ();
    fn handle(&mut self, Query(questions): Query, _: &mut Self::Context) {
        let mut answers = Answers::default();
        self.state.fetch(questions.iter().filter_map(|(_, question)| question.key()));
        for (index, question) in questions {
            if index <= self.state.applied() {
                self.answer(question, &mut answers);
            } else {
                self.waiting.entry(index).or_default().push(question);
            }
        }
        answers.send();
    }
}
