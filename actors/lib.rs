//! Quorate's actors: thin mailboxes around the pure core.
//!
//! A node is a [`RaftActor`](raft::RaftActor), a [`LogStoreActor`](log_store::LogStoreActor),
//! a [`StateMachineActor`](state_machine::StateMachineActor), a [`PeerActor`](peer::PeerActor)
//! for each other member and a [`ClientSessionActor`](client_session::ClientSessionActor) for
//! each connection of a client. [`node::run`] starts them and keeps them until the process is
//! told to stop.
//!
//! Commands go down to an `Addr` that the sender owns; events come up through a `Recipient`
//! that the receiver gave. A handler only absorbs; the first one asks for one drain, which
//! runs when the mailbox is empty and acts on everything at once. No actor awaits another.
//!
//! actix is used here and nowhere else.

pub mod accept;
pub mod age;
mod background;
pub mod checkpoint;
pub mod client_session;
mod clock;
pub mod dial;
pub mod dialler;
pub mod fatal;
pub mod guard;
pub mod handshake;
pub mod http;
mod keepalive;
pub mod lines;
pub mod log_store;
pub mod messages;
pub mod metrics;
pub mod node;
pub mod origin;
mod outbound;
pub mod outbox;
pub mod peer;
pub mod raft;
pub mod repeated;
pub mod reply;
pub mod server;
mod session_batch;
pub mod session_io;
mod session_requests;
pub mod settings;
pub mod snapshot;
pub mod snapshot_lane;
pub mod space;
pub mod state_machine;
pub mod view;
