//! Starting the actors, each on its thread.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use actix::prelude::*;
use quorate_core::kv::StateMachine;
use quorate_core::raft;
use quorate_core::store::{CheckpointStore, LogStore};
use quorate_core::types::{Index, NodeId};

use super::{Running, Start, TICK};
use crate::accept::Acceptor;
use crate::checkpoint::{self, CheckpointActor};
use crate::client_session::Shared;
use crate::dialler::Dialler;
use crate::guard::Arriving;
use crate::handshake::Incarnations;
use crate::log_store::{self, LogStoreActor};
use crate::messages::Tick;
use crate::metrics::Metrics;
use crate::peer::PeerActor;
use crate::raft::{Below, RaftActor, Roads};
use crate::server::{Connections, Parts};
use crate::settings::Settings;
use crate::snapshot::{self, SnapshotActor};
use crate::space::{self, Space};
use crate::state_machine::{self, StateMachineActor};
use crate::view::{Clock, View};

/// Starts every actor on the thread that calls, those that may block on threads of their own.
pub(super) fn start_actors(start: Start) -> Running {
    let settings = Arc::new(start.settings);
    let clock = Clock::start();
    let now = clock.now();
    let node = raft::Node::new(settings.raft.clone(), start.boot, now);
    let status = node.status();
    let members = status.membership.members.clone();
    let space = Space::new(start.disk, settings.min_free_bytes);
    let view = Arc::new(View::new(clock, &settings, status, space));
    let metrics = Metrics::default();
    space::start(&view);
    let incarnations: Arc<Mutex<dyn Incarnations>> =
        Arc::new(Mutex::new(Shelf(start.incarnations)));
    let tick_waits = Arc::new(AtomicBool::new(false));
    let context = Context::<RaftActor>::new();
    let raft = context.address();
    let dialler = Dialler {
        settings: Arc::clone(&settings),
        incarnations: Arc::clone(&incarnations),
        view: Arc::clone(&view),
    };
    let queue_bytes = settings.queues.peer_queue_bytes;
    let roads = Roads { dialler: dialler.clone(), raft: raft.clone(), queue_bytes };
    let others = members.into_iter().filter(|member| member.id != settings.id);
    let peers: BTreeMap<NodeId, (String, Addr<PeerActor>)> =
        others.map(|m| (m.id, (m.peer.clone(), roads.to(m.id, m.peer)))).collect();
    let log_store = start_log(start.log_store, &settings, &raft, &peers, &view, &metrics);
    let states = States { store: start.checkpoints, state: start.state };
    let (state_machine, snapshots) =
        start_states(states, &settings, &raft, dialler, &view, &metrics);
    let below = Below {
        log_store: log_store.clone(),
        state_machine: state_machine.clone(),
        snapshots: snapshots.clone(),
        peers,
        roads,
    };
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
        snapshots,
        complained: Arc::default(),
    };
    let connections = Connections::default();
    let arriving = Arriving::new(settings.queues.arriving_bytes);
    let parts = Parts { settings, shared, acceptor, connections, arriving };
    Running { raft, log_store, parts }
}

/// A boxed `Incarnations` behind a mutex.
struct Shelf(Box<dyn Incarnations>);

impl Incarnations for Shelf {
    fn known(&self, node: NodeId, added: Index) -> Option<u64> {
        self.0.known(node, added)
    }
    fn met(&self, node: NodeId, incarnation: u64) -> bool {
        self.0.met(node, incarnation)
    }
    fn remember(&mut self, node: NodeId, added: Index, incarnation: u64) -> io::Result<()> {
        self.0.remember(node, added, incarnation)
    }
}

fn start_log(
    store: Box<dyn LogStore>,
    settings: &Settings,
    raft: &Addr<RaftActor>,
    peers: &BTreeMap<NodeId, (String, Addr<PeerActor>)>,
    view: &Arc<View>,
    metrics: &Metrics,
) -> Addr<LogStoreActor> {
    let above = log_store::Above {
        raft: raft.clone().recipient(),
        peers: peers.iter().map(|(id, (_, peer))| (*id, peer.clone().recipient())).collect(),
    };
    let (view, metrics) = (Arc::clone(view), metrics.clone());
    let (batch, slow) = (settings.queues.batch, settings.slow_sync);
    LogStoreActor::start_in_arbiter(&Arbiter::new().handle(), move |_| {
        LogStoreActor::new(store, above, view, metrics, batch, slow)
    })
}

/// The state, and where it is kept.
struct States {
    store: Box<dyn CheckpointStore>,
    state: StateMachine,
}

/// The state machine, its checkpoints and snapshots, which tell each other.
fn start_states(
    States { store, state }: States,
    settings: &Settings,
    raft: &Addr<RaftActor>,
    dialler: Dialler,
    view: &Arc<View>,
    metrics: &Metrics,
) -> (Addr<StateMachineActor>, Addr<SnapshotActor>) {
    let above = snapshot::Above {
        started: raft.clone().recipient(),
        sent: raft.clone().recipient(),
        received: raft.clone().recipient(),
    };
    let for_snapshots = Arc::clone(view);
    let snapshots = SnapshotActor::start_in_arbiter(&Arbiter::new().handle(), move |_| {
        SnapshotActor::new(above, dialler, for_snapshots)
    });
    let above = checkpoint::Above {
        captured: raft.clone().recipient(),
        saved: snapshots.clone().recipient(),
    };
    let (for_checkpoints, counted) = (Arc::clone(view), metrics.clone());
    let checkpoint = CheckpointActor::start_in_arbiter(&Arbiter::new().handle(), move |_| {
        CheckpointActor::new(store, above, for_checkpoints, counted)
    });
    let above = state_machine::Above {
        applied: raft.clone().recipient(),
        installed: vec![raft.clone().recipient(), snapshots.clone().recipient()],
        taken: snapshots.clone().recipient(),
    };
    let (view, metrics, saving) = (Arc::clone(view), metrics.clone(), checkpoint.clone());
    let make = move || StateMachineActor::new(state, above, saving, view, metrics);
    let state_machine = if settings.own_state_thread {
        StateMachineActor::start_in_arbiter(&Arbiter::new().handle(), move |_| make())
    } else {
        make().start()
    };
    snapshots.do_send(snapshot::Below { state_machine: state_machine.clone(), checkpoint });
    (state_machine, snapshots)
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
