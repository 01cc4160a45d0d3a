//! The client's one task: it owns the session, the socket and the clock, and waits.

use std::collections::HashMap;

use bytes::Bytes;
use log::{debug, info};
use quorate_core::client::{Action, Resume, Session};
use quorate_core::types::{Moment, NodeId};
use quorate_core::wire::client::{Limits, Op};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::outcomes::Reply;
use crate::socket::{Event, Socket};

/// What a handle asks.
#[derive(Debug)]
pub(crate) enum Command {
    /// A call.
    Call { op: Op, deadline: Instant, reply: Reply },
    /// What is connected.
    Describe { reply: oneshot::Sender<Connection> },
}

/// The session and the node that greeted it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The session, so that another process can resume it; `None` where there is none.
    pub session: Option<Resume>,
    /// The address that is connected, or being connected to.
    pub address: Option<String>,
    /// The node that greeted last.
    pub node: Option<NodeId>,
    /// The cluster's name, as that node told it.
    pub cluster: String,
    /// That node's version.
    pub version: String,
    /// That node's limits.
    pub limits: Limits,
}

/// The task.
pub(crate) struct Driver {
    session: Session,
    socket: Socket,
    commands: mpsc::Receiver<Command>,
    waiting: HashMap<u64, Reply>,
    origin: Instant,
}

enum Wake {
    Asked(Option<Command>),
    Happened(Event),
    Due,
}

impl Driver {
    pub(crate) fn new(session: Session, commands: mpsc::Receiver<Command>) -> Self {
        let (socket, waiting) = (Socket::Closed, HashMap::new());
        Self { session, socket, commands, waiting, origin: Instant::now() }
    }

    /// Runs until no handle is left and every call has ended.
    pub(crate) async fn run(mut self) {
        let mut handles = true;
        self.carry_out();
        while handles || !self.waiting.is_empty() {
            let wake_at = self.session.wake_at().map(|at| self.instant(at));
            let wake = tokio::select! {
                command = self.commands.recv(), if handles => Wake::Asked(command),
                event = self.socket.event() => Wake::Happened(event),
                () = sleep_until(wake_at) => Wake::Due,
            };
            match wake {
                Wake::Asked(None) => handles = false,
                Wake::Asked(Some(command)) => self.asked(command),
                Wake::Happened(event) => self.happened(event),
                Wake::Due => self.session.tick(self.now()),
            }
            self.carry_out();
        }
        self.socket.close().await;
    }

    fn now(&self) -> Moment {
        self.moment(Instant::now())
    }

    fn moment(&self, at: Instant) -> Moment {
        Moment(0) + at.saturating_duration_since(self.origin)
    }

    fn instant(&self, at: Moment) -> Instant {
        // Rounded up, so that what is due is due when the timer ends.
        self.origin + at.since(Moment(0)) + std::time::Duration::from_micros(1)
    }

    /// Takes all commands that are there, so that they travel together.
    fn asked(&mut self, command: Command) {
        let now = self.now();
        let mut next = Some(command);
        while let Some(command) = next {
            match command {
                Command::Call { op, deadline, reply } => {
                    let token = self.session.submit(now, op, self.moment(deadline));
                    self.waiting.insert(token, reply);
                }
                Command::Describe { reply } => {
                    let _ = reply.send(self.describe());
                }
            }
            next = self.commands.try_recv().ok();
        }
    }

    fn happened(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Connected => self.session.connected(now),
            Event::Frame(frame) => self.session.frame(now, &frame),
            Event::Lost(reason) => {
                info!("connection to {} lost: {reason}", self.session.address().unwrap_or("?"));
                self.session.disconnected(now, &reason);
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.session.poll() {
            match action {
                Action::Connect { address } => {
                    debug!("connecting to {address}");
                    self.socket = Socket::open(address);
                }
                Action::Disconnect => self.socket = Socket::Closed,
                Action::Send(message) => self.send(message),
                Action::Complete { token, outcome } => {
                    if let Some(reply) = self.waiting.remove(&token) {
                        reply.send(outcome);
                    }
                }
            }
        }
    }

    fn send(&mut self, message: Bytes) {
        self.socket.send(message);
    }

    fn describe(&self) -> Connection {
        let welcome = self.session.welcome();
        let text = |field: Option<&String>| field.cloned().unwrap_or_default();
        let next_id = self.session.next_id();
        let session = self.session.session().filter(|session| *session != 0);
        Connection {
            session: session.map(|session| Resume { session, next_id }),
            address: self.session.address().map(str::to_owned),
            node: welcome.map(|welcome| welcome.node),
            cluster: text(welcome.map(|welcome| &welcome.cluster)),
            version: text(welcome.map(|welcome| &welcome.version)),
            limits: welcome.map(|welcome| welcome.limits).unwrap_or_default(),
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
