//! How a client is set up.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use quorate_core::client::{Config, Resume, Session};
use quorate_core::types::Moment;
use quorate_core::wire::client::{ErrorCode, Op};
use tokio::sync::mpsc;

use crate::driver::Driver;
use crate::{Client, Error};

/// Settings of a [`Client`]; each has a default but the endpoints.
#[derive(Clone, Debug)]
pub struct Builder {
    config: Config,
    deadline: Duration,
}

impl Default for Builder {
    fn default() -> Self {
        let client_name = Some(concat!("quorate-client/", env!("CARGO_PKG_VERSION")).to_owned());
        let seed = RandomState::new().build_hasher().finish();
        let config = Config { client_name, seed, ..Config::default() };
        Self { config, deadline: Duration::from_secs(10) }
    }
}

impl Builder {
    /// Adds a node's client address, `host:port`.
    #[must_use]
    pub fn endpoint(mut self, address: impl Into<String>) -> Self {
        self.config.endpoints.push(address.into());
        self
    }

    /// Adds client addresses. They are tried in turn; further ones are learned from the nodes.
    #[must_use]
    pub fn endpoints<A: Into<String>>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.config.endpoints.extend(addresses.into_iter().map(Into::into));
        self
    }

    /// Without a session: no write is retried once it may have been executed. Default: false.
    #[must_use]
    pub fn sessionless(mut self, sessionless: bool) -> Self {
        self.config.sessionless = sessionless;
        self
    }

    /// Stay with the endpoints as given, whoever leads: for the status of one node and for stale
    /// reads from it. Implies [`Builder::sessionless`]. Default: false.
    #[must_use]
    pub fn pinned(mut self, pinned: bool) -> Self {
        self.config.pinned = pinned;
        self.config.sessionless |= pinned;
        self
    }

    /// How long a call may take, unless it says otherwise. Default: 10 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// What the client calls itself in the node's log, `name/version`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.client_name = Some(name.into());
        self
    }

    /// A bearer token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.config.token = Some(token.into());
        self
    }

    /// How many calls may be unanswered; the node's limit counts if it is lower. Default: 1,024.
    #[must_use]
    pub fn window(mut self, window: u64) -> Self {
        self.config.window = window;
        self
    }

    /// How many calls may wait to be sent; more are refused as overloaded. Default: 65,536.
    #[must_use]
    pub fn queue(mut self, queue: usize) -> Self {
        self.config.queue = queue;
        self
    }

    /// A connection that owes an answer and is silent for so long is abandoned. Default: 2 s.
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.config.silence = silence;
        self
    }

    /// Resumes a session instead of making one.
    #[must_use]
    pub fn resume(mut self, resume: Resume) -> Self {
        self.config.resume = Some(resume);
        self
    }

    /// Decides the jitter of pauses. Default: drawn anew.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// Starts the client's task on the current runtime and waits until a node has greeted it and
    /// told the members.
    ///
    /// # Errors
    /// When that has not happened within the deadline, or the client is turned away.
    ///
    /// # Panics
    /// Outside a tokio runtime with time and I/O.
    pub async fn connect(self) -> Result<Client, Error> {
        let client = self.start()?;
        client.call(Op::Members, None).await?;
        Ok(client)
    }

    /// Starts the client's task on the current runtime and does not wait: calls wait instead.
    ///
    /// # Errors
    /// When there is no endpoint.
    ///
    /// # Panics
    /// As [`Builder::connect`].
    pub fn start(self) -> Result<Client, Error> {
        if self.config.endpoints.is_empty() {
            return Err(Error::refused(ErrorCode::BadRequest, "the client has no endpoint"));
        }
        let (sender, receiver) = mpsc::channel(self.config.queue.max(1));
        let session = Session::new(self.config, Moment(0));
        tokio::spawn(Driver::new(session, receiver).run());
        Ok(Client::new(sender, self.deadline))
    }
}
