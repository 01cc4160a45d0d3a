//! The handle: typed calls, each a message to the driver and a future of its outcome.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::client::Outcome;
use quorate_core::wire::client::{
    Append, CompareAndSwap, Consistency, Delete, ErrorCode, Expect, Get, Increment, MemberInfo, Op,
    Put, Status, Success,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::driver::{Command, Connection};
use crate::error::result;
use crate::outcomes::{Outcomes, Reply};
use crate::{Appended, Builder, Deleted, Error, Incremented, Read, Swapped, Written, answers};

/// A deadline beyond this is as good as none, and could not be added to the clock.
const LONGEST_DEADLINE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A handle to a client's task. Cheap to clone; when the last one is dropped, the task ends what
/// was submitted and closes the connection. The session lives on until it expires: [`Client::close`]
/// ends it.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    deadline: Duration,
}

impl Client {
    /// Settings of a new client.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(commands: mpsc::Sender<Command>, deadline: Duration) -> Self {
        Self { commands, deadline }
    }

    /// Sets a key.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn put(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<Written, Error> {
        let put = Put { key: key.into(), value: value.into(), ..Put::default() };
        self.call(Op::Put(put), None).await.map(answers::written)
    }

    /// Adds bytes at the end of a key's value; a missing key counts as empty.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn append(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<Appended, Error> {
        let append = Append { key: key.into(), value: value.into() };
        self.call(Op::Append(append), None).await.map(answers::appended)
    }

    /// Reads a key, linearizably.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Read, Error> {
        self.read(Get { key: key.into(), ..Get::default() }).await
    }

    /// Reads what the connected node has applied, which may be old.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get_stale(&self, key: impl Into<Bytes>) -> Result<Read, Error> {
        let consistency = Consistency::Stale;
        self.read(Get { key: key.into(), consistency, ..Get::default() }).await
    }

    /// Reads with all options of `get`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn read(&self, get: Get) -> Result<Read, Error> {
        self.call(Op::Get(get), None).await.map(answers::read)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<Deleted, Error> {
        let delete = Delete { key: key.into(), ..Delete::default() };
        self.call(Op::Delete(delete), None).await.map(answers::deleted)
    }

    /// Sets a key, or removes it where `value` is `None`, if it is as expected.
    ///
    /// # Errors
    /// As [`Client::call`]; that it was not as expected is no error.
    pub async fn compare_and_swap(
        &self,
        key: impl Into<Bytes>,
        expect: Expect,
        value: Option<Bytes>,
    ) -> Result<Swapped, Error> {
        let swap = CompareAndSwap { key: key.into(), expect, value };
        self.call(Op::CompareAndSwap(swap), None).await.map(answers::swapped)
    }

    /// Adds to a decimal number; a missing key counts as 0.
    ///
    /// # Errors
    /// As [`Client::call`]; `bad_request` where the value is no number or the sum overflows.
    pub async fn increment(&self, key: impl Into<Bytes>, by: i64) -> Result<Incremented, Error> {
        let increment = Increment { key: key.into(), by };
        self.call(Op::Increment(increment), None).await.map(answers::incremented)
    }

    /// The state of the connected node.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn status(&self) -> Result<Status, Error> {
        self.call(Op::Status, None).await.map(answers::status)
    }

    /// The cluster's members.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn members(&self) -> Result<Vec<MemberInfo>, Error> {
        self.call(Op::Members, None).await.map(answers::members)
    }

    /// Gives the session a sign of life. The client does so by itself when it is idle.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn ping(&self) -> Result<(), Error> {
        self.call(Op::Ping, None).await.map(drop)
    }

    /// Ends the session for good. Other calls should have ended before.
    ///
    /// # Errors
    /// As [`Client::call`]; the session then ends by itself after its time to live.
    pub async fn close(self) -> Result<(), Error> {
        self.call(Op::Bye, None).await.map(drop)
    }

    /// Any operation, within `deadline` from now or the client's own.
    ///
    /// # Errors
    /// Whatever [`Error`] says.
    pub async fn call(&self, op: Op, deadline: Option<Duration>) -> Result<Success, Error> {
        self.submit(op, deadline).await
    }

    /// As [`Client::call`], but the operation is under way when this returns: submit many, then
    /// await them. Dropping the future does not take the operation back.
    #[must_use = "the outcome is told by the future"]
    pub fn submit(&self, op: Op, deadline: Option<Duration>) -> Pending {
        let (reply, outcome) = oneshot::channel();
        let is_write = op.is_write();
        let refusal = self.send(op, deadline, Reply::one(reply)).err().map(|(_, error)| error);
        Pending { outcome, refusal, is_write }
    }

    /// As [`Client::submit`], but the outcome goes to the end of a queue, with a tag to know it
    /// by: each call that is submitted comes back there exactly once.
    pub fn submit_to(&self, outcomes: &Outcomes, tag: u64, op: Op, deadline: Option<Duration>) {
        let reply = outcomes.reply(tag, op.is_write());
        if let Err((reply, error)) = self.send(op, deadline, reply) {
            reply.refuse(error);
        }
    }

    /// Hands a call to the client's task; gives the reply back where that does not take it.
    fn send(&self, op: Op, deadline: Option<Duration>, reply: Reply) -> Result<(), (Reply, Error)> {
        let within = deadline.unwrap_or(self.deadline).min(LONGEST_DEADLINE);
        let deadline = Instant::now() + within;
        let refused = |command: Command, error: Error| match command {
            Command::Call { reply, .. } => Err((reply, error)),
            Command::Describe { .. } => Ok(()),
        };
        match self.commands.try_send(Command::Call { op, deadline, reply }) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(command)) => {
                let message = "too many calls wait inside the client";
                refused(command, Error::refused(ErrorCode::Overloaded, message))
            }
            Err(mpsc::error::TrySendError::Closed(command)) => refused(command, stopped(false)),
        }
    }

    /// The session and the node that are connected now.
    ///
    /// # Errors
    /// When the client's task has been stopped with its runtime.
    pub async fn connection(&self) -> Result<Connection, Error> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(Command::Describe { reply }).await;
        sent.map_err(|_| stopped(false))?;
        answer.await.map_err(|_| stopped(false))
    }
}

/// A call that is under way.
#[derive(Debug)]
pub struct Pending {
    outcome: oneshot::Receiver<Outcome>,
    refusal: Option<Error>,
    is_write: bool,
}

impl Future for Pending {
    type Output = Result<Success, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(error) = self.refusal.take() {
            return Poll::Ready(Err(error));
        }
        let is_write = self.is_write;
        let outcome = ready!(Pin::new(&mut self.outcome).poll(context));
        Poll::Ready(outcome.map_or_else(|_| Err(stopped(is_write)), result))
    }
}

/// The client's task is gone with its runtime, and with it what it knew of the call.
pub(crate) fn stopped(may_be_executed: bool) -> Error {
    let reason = "the client's task has been stopped".to_owned();
    if may_be_executed {
        Error::Unknown { session: 0, id: 0, reason }
    } else {
        Error::Unreachable { reason }
    }
}
