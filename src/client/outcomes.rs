//! Where a call's outcome goes: to the one who waits for it, or into a queue of many.

use quorate_core::client::Outcome;
use quorate_core::wire::client::Success;
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, result};
use crate::handle::stopped;

/// What [`Client::submit_to`](crate::Client::submit_to) is told: the tag that it gave, and what
/// became of the call.
pub type Tagged = (u64, Result<Success, Error>);

/// A queue of outcomes, for programs that keep many calls under way: a future for each would
/// cost an allocation and a wake-up a call, and here there is one wake-up for as many outcomes as
/// came in together.
///
/// It holds no more than was submitted and not taken: who submits bounds it.
#[derive(Debug)]
pub struct Outcomes {
    sender: mpsc::UnboundedSender<Tagged>,
    receiver: mpsc::UnboundedReceiver<Tagged>,
}

impl Default for Outcomes {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver }
    }
}

impl Outcomes {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for outcomes, and moves up to `most` of them to the end of `into`; how many. Where
    /// nothing is under way it waits for ever. What was not taken when the future is dropped
    /// stays in the queue.
    pub async fn take(&mut self, into: &mut Vec<Tagged>, most: usize) -> usize {
        self.receiver.recv_many(into, most).await
    }

    pub(crate) fn reply(&self, tag: u64, is_write: bool) -> Reply {
        Reply(Some(To::Queue { tag, is_write, queue: self.sender.clone() }))
    }
}

/// Who hears the outcome of a call. Dropped with the client's task, it says so.
#[derive(Debug)]
pub(crate) struct Reply(Option<To>);

#[derive(Debug)]
enum To {
    One(oneshot::Sender<Outcome>),
    Queue { tag: u64, is_write: bool, queue: mpsc::UnboundedSender<Tagged> },
}

impl Reply {
    pub(crate) fn one(sender: oneshot::Sender<Outcome>) -> Self {
        Self(Some(To::One(sender)))
    }

    /// Tells the outcome. Who no longer waits does not mind.
    pub(crate) fn send(mut self, outcome: Outcome) {
        match self.0.take() {
            Some(To::One(sender)) => drop(sender.send(outcome)),
            Some(To::Queue { tag, queue, .. }) => drop(queue.send((tag, result(outcome)))),
            None => {}
        }
    }

    /// Tells why the call was never made.
    pub(crate) fn refuse(mut self, error: Error) {
        if let Some(To::Queue { tag, queue, .. }) = self.0.take() {
            drop(queue.send((tag, Err(error))));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(To::Queue { tag, is_write, queue }) = self.0.take() {
            drop(queue.send((tag, Err(stopped(is_write)))));
        }
    }
}
