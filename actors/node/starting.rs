//! Starting the actors, each on its thread.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix::prelude::*;
use quorate_core::kv::StateMachine;
use quorate_core::raft;
use quorate_core::store::LogStore;
use quorate_core::types::NodeId;

use super::{Running, Start, TICK};
use crate::accept::Acceptor;
use crate::client_session::Shared;
use crate::dial::Dial;
use crate::handshake::{Incarnations, judge_incarnation};
use crate::log_store::{self, LogStoreActor};
use crate::messages::Tick;
use crate::metrics::Metrics;
use crate::peer::{self, PeerActor};
use crate::raft::{Below, RaftActor};
use crate::server::{Connections, Parts};
use crate::settings::Settings;
use crate::state_machine::StateMachineActor;
use crate::view::{Clock, View};

/// Starts every actor on the thread that calls, the log on its own.
pub(super) fn start_actors(start: Start) -> Running {
    let settings = Arc::new(start.settings);
    let clock = Clock::start();
    let now = clock.now();
    let node = raft::Node::new(settings.raft.clone(), start.boot, now);
    let status = node.status();
    let others: Vec<(NodeId, String)> = status
        .membership
        .members
        .iter()
        .filter(|member| member.id != settings.id)
        .map(|member| (member.id, member.peer.clone()))
        .collect();
    let (cluster, version) = (settings.cluster.clone(), settings.version.clone());
    let view = Arc::new(View::new(clock, cluster, version, status));
    let metrics = Metrics::default();
    let incarnations: Arc<Mutex<dyn Incarnations>> =
        Arc::new(Mutex::new(Shelf(start.incarnations)));
    let tick_waits = Arc::new(AtomicBool::new(false));
    let context = Context::<RaftActor>::new();
    let raft = context.address();
    let peers = start_peers(&settings, others, &raft, &incarnations);
    let log_store = start_log(start.log_store, &settings, &raft, &peers, &view, &metrics);
    let state_machine = start_state_machine(&settings, &raft, &view, &metrics);
    let below = Below { log_store: log_store.clone(), state_machine: state_machine.clone(), peers };
    let (batch, waits) = (settings.queues.batch, Arc::clone(&tick_waits));
    context.run(RaftActor::new(node, below, Arc::clone(&view), metrics.clone(), batch, waits));
    start_clock(raft.clone(), tick_waits);
    let shared = Shared {
        raft: raft.clone(),
        state_machine,
        view: Arc::clone(&view),
        metrics,
        limits: settings.limits,
        max_sessions: settings.queues.sessions,
        reply_bytes: settings.queues.reply_bytes,
    };
    let acceptor = Acceptor {
        settings: Arc::clone(&settings),
        view,
        incarnations,
        raft: raft.clone(),
        complained: Arc::default(),
    };
    let connections = Connections::default();
    Running { raft, log_store, parts: Parts { settings, shared, acceptor, connections } }
}

/// A boxed `Incarnations` behind a mutex.
struct Shelf(Box<dyn Incarnations>);

impl Incarnations for Shelf {
    fn known(&self, node: NodeId) -> Option<u64> {
        self.0.known(node)
    }
    fn remember(&mut self, node: NodeId, incarnation: u64) -> io::Result<()> {
        self.0.remember(node, incarnation)
    }
}

fn start_peers(
    settings: &Arc<Settings>,
    others: Vec<(NodeId, String)>,
    raft: &Addr<RaftActor>,
    incarnations: &Arc<Mutex<dyn Incarnations>>,
) -> BTreeMap<NodeId, Addr<PeerActor>> {
    let start = |(id, address): (NodeId, String)| {
        let known = Arc::clone(incarnations);
        let dial = Dial {
            settings: Arc::clone(settings),
            peer: id,
            address: settings.dial.get(&id).cloned().unwrap_or(address),
            queued: Arc::new(AtomicUsize::new(0)),
            incarnation_known: Box::new(move |node, incarnation| {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                judge_incarnation(&mut *known, node, incarnation).map_err(|refused| refused.reason)
            }),
            seed: settings.raft.seed ^ id.0,
        };
        let above = peer::Above {
            connected: raft.clone().recipient(),
            disconnected: raft.clone().recipient(),
        };
        (id, PeerActor::new(id, above, dial, settings.queues.peer_queue_bytes).start())
    };
    others.into_iter().map(start).collect()
}

fn start_log(
    store: Box<dyn LogStore>,
    settings: &Settings,
    raft: &Addr<RaftActor>,
    peers: &BTreeMap<NodeId, Addr<PeerActor>>,
    view: &Arc<View>,
    metrics: &Metrics,
) -> Addr<LogStoreActor> {
    let above = log_store::Above {
        raft: raft.clone().recipient(),
        peers: peers.iter().map(|(id, peer)| (*id, peer.clone().recipient())).collect(),
    };
    let (view, metrics) = (Arc::clone(view), metrics.clone());
    let (batch, slow) = (settings.queues.batch, settings.slow_sync);
    LogStoreActor::start_in_arbiter(&Arbiter::new().handle(), move |_| {
        LogStoreActor::new(store, above, view, metrics, batch, slow)
    })
}

fn start_state_machine(
    settings: &Settings,
    raft: &Addr<RaftActor>,
    view: &Arc<View>,
    metrics: &Metrics,
) -> Addr<StateMachineActor> {
    let raft = raft.clone().recipient();
    let (view, metrics) = (Arc::clone(view), metrics.clone());
    let make = move || StateMachineActor::new(StateMachine::new(), raft, view, metrics);
    if settings.own_state_thread {
        StateMachineActor::start_in_arbiter(&Arbiter::new().handle(), move |_| make())
    } else {
        make().start()
    }
}

/// A clock of its own, because an actor's interval starves when the actor is busy. It never
/// queues a second tick.
fn start_clock(raft: Addr<RaftActor>, tick_waits: Arc<AtomicBool>) {
    let ticking = move || {
        while raft.connected() {
            std::thread::sleep(TICK);
            if !tick_waits.swap(true, Ordering::AcqRel) {
                raft.do_send(Tick);
            }
        }
    };
    let thread = std::thread::Builder::new().name("clock".into()).spawn(ticking);
    thread.unwrap_or_else(|error| {
        crate::fatal::fatal(70, format_args!("cannot start the clock's thread: {error}"))
    });
}
