//! A whole node: starts the actors and the server, and stops them in order.
//!
//! | thread | owns | may block |
//! |---|---|---|
//! | main | signals, start and stop | yes |
//! | node (the web server's one worker) | RaftActor, PeerActors, ClientSessionActors, HTTP, and StateMachineActor unless it has a thread of its own | never |
//! | log | LogStoreActor | yes: the sync |
//! | state (by choice) | StateMachineActor | briefly |
//! | checkpoint | CheckpointActor | yes: for seconds |
//! | snapshot | SnapshotActor, the tasks that send snapshots | briefly |
//! | space | the gauge of the disk; looks every 200 ms | yes |
//! | clock | nothing; wakes every 10 ms and sends a tick | yes: sleeps |

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use actix_web::dev::{ServerHandle, Service, ServiceResponse};
use actix_web::{App, HttpServer};
use quorate_core::kv::StateMachine;
use quorate_core::raft;
use quorate_core::store::{CheckpointStore, LogStore};
use tokio::time::{sleep, timeout};

use crate::handshake::Incarnations;
use crate::lines::Lines;
use crate::log_store::LogStoreActor;
use crate::messages::{CountWaiting, Flush, HandOver, Stop};
use crate::raft::RaftActor;
use crate::server::{self, Parts};
use crate::settings::Settings;
use crate::space::FreeSpace;

mod starting;

/// Everything that is recovered before any actor starts.
pub struct Start {
    /// The node's settings.
    pub settings: Settings,
    /// Its hard state and log.
    pub boot: raft::Boot,
    /// Where they are kept.
    pub log_store: Box<dyn LogStore>,
    /// Its state, as of its checkpoint.
    pub state: StateMachine,
    /// Where that is kept.
    pub checkpoints: Box<dyn CheckpointStore>,
    /// What it knows of the other members' disks.
    pub incarnations: Box<dyn Incarnations>,
    /// How much space its disk has left.
    pub disk: Box<dyn FreeSpace>,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({what}): {error}")]
    Bind {
        /// The key in config.toml.
        what: &'static str,
        /// The address.
        address: String,
        /// The operating system's answer.
        error: io::Error,
    },
    /// The server ended by itself.
    #[error("the server ended: {0}")]
    Server(io::Error),
}

/// How often raft judges its deadlines.
const TICK: Duration = Duration::from_millis(10);
/// How long a stopping node waits for what is in flight.
const STOP_TIME: Duration = Duration::from_millis(1_500);

/// The actors of a running node.
#[derive(Clone)]
struct Running {
    raft: Addr<RaftActor>,
    log_store: Addr<LogStoreActor>,
    parts: Parts,
}

/// Runs a node until `stop` is ready, then ends it in order: answers or fails what is in
/// flight, syncs, closes the connections. To be called inside an actix system.
///
/// # Errors
/// When an address is taken, or the server fails. Failures of the disk end the process.
///
/// # Panics
/// Never by itself: its one worker starts the actors once. A panic inside an actor ends the
/// process.
pub async fn run(start: Start, stop: impl Future<Output = ()>) -> Result<(), NodeError> {
    let settings = Arc::new(start.settings.clone());
    let clients = listen("node.client", &settings.client_address)?;
    let peers = listen("node.peer", &settings.peer_address)?;
    let peer_address = peers.local_addr().map_err(NodeError::Server)?;
    let lines = Lines::new(peer_address, &settings.queues);
    let most = lines.most().min(settings.queues.sockets);
    let starting = Arc::new(Mutex::new(Some(start)));
    let running: Arc<OnceLock<Running>> = Arc::default();
    let for_workers = Arc::clone(&running);
    let factory = move || {
        let running = for_workers.get_or_init(|| {
            let start = starting.lock().unwrap_or_else(PoisonError::into_inner).take();
            starting::start_actors(start.expect("the one worker starts the actors once"))
        });
        let parts = running.parts.clone();
        let for_check = parts.clone();
        App::new()
            .wrap_fn(move |request, service| {
                let peers = request.app_config().local_addr() == peer_address;
                let going = match server::refusal(&for_check, peers, &request) {
                    Some(response) => Err(request.into_response(response)),
                    None => Ok(service.call(request)),
                };
                async move {
                    match going {
                        Err(refused) => Ok(refused.map_into_right_body()),
                        Ok(call) => call.await.map(ServiceResponse::map_into_left_body),
                    }
                }
            })
            .configure(move |config| server::configure(config, &parts))
    };
    let server = HttpServer::new(factory)
        .workers(1)
        .disable_signals()
        .shutdown_timeout(1)
        .tcp_nodelay(true)
        .max_connections(most)
        .on_connect(move |stream, kept| lines.accepted(stream, kept))
        .listen(clients)
        .and_then(|server| server.listen(peers))
        .map_err(NodeError::Server)?
        .run();
    let handle = server.handle();
    let server = actix_rt::spawn(server);
    log::info!(
        "node: node {} serves clients at {} and peers at {}",
        settings.id,
        settings.client_address,
        settings.peer_address
    );
    tokio::select! {
        () = stop => end(&running, &handle).await,
        ended = server => {
            let ended = ended.map_err(|error| NodeError::Server(io::Error::other(error)))?;
            ended.map_err(NodeError::Server)?;
        }
    }
    Ok(())
}

fn listen(what: &'static str, address: &str) -> Result<TcpListener, NodeError> {
    let failed = |error| NodeError::Bind { what, address: address.to_owned(), error };
    let addresses = std::net::ToSocketAddrs::to_socket_addrs(address).map_err(failed)?;
    let mut last = io::Error::other("the name has no address");
    for address in addresses {
        match bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// Binds so that a node can be started again at once, while old connections still linger.
fn bind(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        std::net::SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        std::net::SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1_024)?.into_std()
}

async fn end(running: &OnceLock<Running>, server: &ServerHandle) {
    log::info!("node: stopping");
    if let Some(running) = running.get() {
        let view = &running.parts.shared.view;
        hand_over(running).await;
        view.stopping.store(true, Ordering::SeqCst);
        running.raft.do_send(Stop { now: false });
        let answered = async {
            while running.raft.send(CountWaiting).await.is_ok_and(|waiting| waiting > 0) {
                sleep(TICK).await;
            }
        };
        if timeout(STOP_TIME, answered).await.is_err() {
            log::warn!("node: some requests are not answered in time; their outcome is unknown");
        }
        let _ = running.raft.send(Stop { now: true }).await;
        let _ = running.log_store.send(Flush).await;
        running.parts.connections.close_all();
    }
    server.stop(true).await;
    log::info!("node: stopped");
}

/// A leader that stops hands leadership over first, so that nobody waits for an election.
async fn hand_over(running: &Running) {
    let view = &running.parts.shared.view;
    let time = running.parts.settings.transfer_on_stop;
    let alone = view.membership().1.voters().count() < 2;
    if !view.leads() || time.is_zero() || alone {
        return;
    }
    let handing = async {
        while view.leads() {
            running.raft.do_send(HandOver);
            sleep(TICK).await;
        }
    };
    if timeout(time, handing).await.is_err() {
        log::warn!("node: leadership was not taken over in time; the others will elect");
    }
}
