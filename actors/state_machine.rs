//! StateMachineActor: applies what is committed and answers whoever waits, itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::prelude::*;
use quorate_core::kv::StateMachine;
use quorate_core::types::Index;
use quorate_core::wire::client::{Consistency, ErrorCode, Failure, Get, OpResult, Success};

use crate::messages::{Applied, Apply, Query, Question};
use crate::metrics::Metrics;
use crate::outbound::trace;
use crate::reply::{Answers, Outcome};
use crate::view::View;

/// The actor of the state.
pub struct StateMachineActor {
    state: StateMachine,
    raft: Recipient<Applied>,
    view: Arc<View>,
    metrics: Metrics,
    /// Reads whose index is not applied yet.
    waiting: BTreeMap<Index, Vec<Question>>,
}

impl StateMachineActor {
    /// An actor around a recovered state.
    pub fn new(
        state: StateMachine,
        raft: Recipient<Applied>,
        view: Arc<View>,
        metrics: Metrics,
    ) -> Self {
        Self { state, raft, view, metrics, waiting: BTreeMap::new() }
    }

    fn answer(&self, question: Question, answers: &mut Answers) {
        let index = self.state.applied();
        match question {
            Question::Get { get, reply } => {
                answers.add(reply, Outcome { index, result: self.get(&get) });
            }
            Question::List { prefix, after, limit, reply } => {
                drop(reply.send(Ok(self.state.list(&prefix, after.as_deref(), limit))));
            }
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
        for entry in &entries {
            trace("applied", entry);
            let result = self.state.apply(entry);
            self.metrics.applied_entries.inc();
            let Some((index, reply)) = waiting.next_if(|(index, _)| *index <= entry.index) else {
                continue;
            };
            assert!(index == entry.index, "a waiter of index {index} was left behind");
            let none = || Err(Failure::new(ErrorCode::Internal, "the entry bears no command"));
            let result = result.unwrap_or_else(none);
            answers.add(reply, Outcome { index, result });
        }
        let summary = self.state.summary();
        let sessions = usize::try_from(summary.sessions).unwrap_or(usize::MAX);
        let clock = summary.clock_ms != clock;
        self.raft.do_send(Applied { index: self.state.applied(), sessions, clock });
        self.release_reads(&mut answers);
        answers.send();
    }
}

impl Handler<Query> for StateMachineActor {
    type Result = ();
    fn handle(&mut self, Query(questions): Query, _: &mut Self::Context) {
        let mut answers = Answers::default();
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
