//! The handle of who waits for an answer. It rides with its request through every mailbox and
//! is used up by the one answer; dropped unused, it answers "unknown" itself, so that nobody
//! waits for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::Recipient;
use quorate_core::types::Index;
use quorate_core::wire::client::{ErrorCode, Failure, OpResult};
use tokio::sync::oneshot;

use crate::messages::Answered;

/// What a request ends with, and the log index at which it took effect (0: none).
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The index of the entry, or of the read point.
    pub index: Index,
    /// The result.
    pub result: OpResult,
}

/// A client's connection, as its requests know it.
#[derive(Debug)]
pub struct Connection {
    /// Its number on this node.
    pub number: u64,
    /// Who takes its answers.
    pub answers: Recipient<Answered>,
}

/// Who waits for one answer.
#[derive(Debug)]
pub struct Reply(Option<Waiter>);

#[derive(Debug)]
enum Waiter {
    Session { to: Arc<Connection>, id: u64 },
    Once(oneshot::Sender<Outcome>),
    Nobody,
}

impl Reply {
    /// A request of a client's connection.
    #[must_use]
    pub fn session(to: &Arc<Connection>, id: u64) -> Self {
        Self(Some(Waiter::Session { to: Arc::clone(to), id }))
    }

    /// A single waiter, such as an HTTP request.
    #[must_use]
    pub fn once(to: oneshot::Sender<Outcome>) -> Self {
        Self(Some(Waiter::Once(to)))
    }

    /// The node itself, which does not look at the answer.
    #[must_use]
    pub fn nobody() -> Self {
        Self(Some(Waiter::Nobody))
    }

    /// Answers at once, by itself. Many answers go better through [`Answers`].
    pub fn fail(self, failure: Failure) {
        let mut answers = Answers::default();
        answers.add(self, Outcome { index: Index(0), result: Err(failure) });
        answers.send();
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(waiter) = self.0.take() {
            let text = "the node dropped the request; retry it with the same session and id";
            Reply(Some(waiter)).fail(Failure::new(ErrorCode::UnknownOutcome, text));
        }
    }
}

/// A connection, and its answers by id.
type Addressed = (Arc<Connection>, Vec<(u64, Outcome)>);

/// Answers on their way, one message for each connection.
#[derive(Debug, Default)]
pub struct Answers {
    sessions: BTreeMap<u64, Addressed>,
}

impl Answers {
    /// Adds an answer; a single waiter gets it at once.
    pub fn add(&mut self, mut reply: Reply, outcome: Outcome) {
        match reply.0.take() {
            Some(Waiter::Session { to, id }) => {
                let (_, list) = self.sessions.entry(to.number).or_insert((to, Vec::new()));
                list.push((id, outcome));
            }
            Some(Waiter::Once(to)) => drop(to.send(outcome)),
            Some(Waiter::Nobody) | None => {}
        }
    }

    /// Sends them off.
    pub fn send(self) {
        for (to, list) in self.sessions.into_values() {
            to.answers.do_send(Answered(list));
        }
    }
}
