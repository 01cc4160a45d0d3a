//! Raft: one group's consensus as a plain value.
//!
//! A [`Node`] is driven by two calls. `step` absorbs a fact (a message came in, time passed,
//! something is durable, a client proposes) as often as the caller likes. `drain` then judges
//! the deadlines and returns [`Effects`]: what to send, what to make durable and what may be
//! sent only after that, what to apply, whom to answer. The caller does all of it, in order,
//! and reports back with further facts. Nothing here reads a clock, touches a disk or a
//! socket, or waits; the same inputs give the same effects, on every machine.
//!
//! ```text
//!   mailbox ── step(now, Input) ──►  Node  ── drain(now) ──►  Effects
//!                                                              ├ messages   leave at once
//!                                                              ├ persist    one, with `then`
//!                                                              ├ apply      one, with tickets
//!                                                              ├ reads      may be answered
//!                                                              ├ refused    end here
//!                                                              └ notes      for the log
//! ```
//!
//! Because `Effects` holds at most one `Persist` and one `Apply`, everything that was absorbed
//! since the last drain shares one sync and one pass through the state machine: batching is
//! the shape, not an optimisation.
//!
//! # Who calls it
//!
//! RaftActor, on a node's thread, and the simulator. Both hold to the same contract:
//!
//! * every `Persist` is made durable in the order of its `seq`, then its `then` messages are
//!   sent, then `Input::Persisted` comes back;
//! * `messages` may be lost, duplicated, delayed and reordered;
//! * `Apply`s are applied in order, and `Input::Applied` comes back;
//! * a `Tick` comes at least every few milliseconds.
//!
//! # Roles
//!
//! ```text
//!            election timeout            a quorum would vote           own sync + a quorum
//!  Follower ─────────────────► PreCandidate ─────────────► Candidate ─────────────► Leader
//!     ▲   ▲                          │                         │                      │
//!     │   └────── a leader or a higher term is heard of ───────┴──────────────────────┤
//!     └─── no quorum heard of, or own disk not synced, for an election timeout ───────┘
//! ```
//!
//! # What it promises
//!
//! * **Election safety** (Raft §5.2): term and vote are one record; a grant, and a request of
//!   a new term, leave only in `Persist::then`. A second leader in one term is an assertion.
//! * **Log matching** (§5.3): entries are accepted only behind a matching `prev`; only a real
//!   conflict truncates, and never at or below the commit index.
//! * **Leader completeness** (§5.4): votes compare [`Position`](crate::types::Position)s by
//!   derived order; only entries of the leader's own term are committed by counting, which its
//!   no-op makes possible at once.
//! * **Durability**: every member, the leader too, counts in a quorum only for what its own
//!   disk holds. A late answer of the disk never speaks for entries that replaced the ones it
//!   was about: a truncation lowers what outstanding writes can prove.
//! * **Linearizable reads** (dissertation §6.4): a read waits for the term's first commit and
//!   for a round of heartbeats that started after it arrived.
//! * **Every ticket ends exactly once**: in `apply` (with its result), in `reads`, or in
//!   `refused` with a reason that says whether the write can still happen.
//!
//! # Elections, in words
//!
//! An election timeout is drawn anew from `[T, 2T)` for each election. When it passes, a node
//! asks for pre-votes (dissertation §9.6); only when a quorum would vote for it does it raise
//! its term. A node that hears a live leader refuses both and keeps its term, so a member that
//! comes back from a partition or a pause disturbs nobody. That rule alone could keep a group
//! without a leader that reaches too few members; therefore a leader that has not heard a
//! quorum for `T` steps down (check-quorum), and both rules exist together or not at all. A
//! stuck candidate with a higher term is freed by the leader learning that term from its
//! replies.
//!
//! A leader whose process ends is noticed sooner than by its silence: its connections break, and
//! a follower then waits one to two heartbeats for them to come back before it asks for
//! pre-votes.
//!
//! A node that was itself absent (stopped, starved of CPU) for more than `T/2` gives everyone
//! one more heartbeat before it judges: its own absence is no evidence against others. This
//! only delays elections and step-downs; nothing that is safe depends on it.
//!
//! # Replication, in words
//!
//! A follower is *probed* with one append until it matches, then appends are *pipelined*
//! within two bounds (batches and bytes). A rejection carries the follower's last entry that
//! could match, and the leader goes on from its own last such entry, so a round trip skips a
//! whole term (§5.3, end). A lost append shows in the answer to a later heartbeat, which says
//! where the follower's log ends; a lost connection resets to probing. Heartbeats are messages
//! of their own: they carry the commit index (clamped to what is known to match) and the
//! number of a round, and their answers promise nothing about the disk, so that reads and the
//! leader's authority do not wait for a sync.
//!
//! # Deviations and omissions
//!
//! | what | paper | here | why, and what it costs |
//! |---|---|---|---|
//! | heartbeat | an empty AppendEntries | a message of its own | confirms reads without a sync; one more message type |
//! | rejection hint | conflicting term and its first index | last entry at or below `prev` in index and term | skips terms on both sides |
//! | pre-vote, check-quorum | optional | always on, both | no disruption by returning members |
//! | broken connection of the leader | not considered | the election timeout shrinks to one or two heartbeats | a killed leader is replaced in a fraction of the timeout; pre-vote guards against false alarms |
//! | own append | written before replicating | replicated beside the own sync | one sync deep; the leader counts itself after its sync (dissertation §10.2.1) |
//! | apply | when committed | when committed *and* durable here | a slow own disk delays answers; nothing applied can vanish from the own log |
//! | membership | part of the configuration | the log's first entry, equal on all nodes; the newest in the log rules | changing it later is an entry, not a redesign |
//! | membership changes | §6, joint consensus for every change | joint where the voters differ | a learner needs no second quorum |
//! | who is heard | members | everyone whom the handshake let in, but the removed | this node's membership may be an old one (B10.8) |
//! | a removed leader | steps down | asks the best of the others to campaign, then steps down | no election timeout |
//! | snapshots | InstallSnapshot, a message of a term | states between members, outside of Raft's messages | a state of committed entries is right whoever sends it; a lane of its own |
//! | a lost state | not considered | a log without a state votes and stores, does not campaign, and asks for a snapshot | the checkpoint is not part of what must survive |
//! | transfer | dissertation §3.10 | also waits until nobody waits on the leader | no write ends as unknown |
//! | leases | dissertation §6.4.1 | optional, off | trusts the speed of clocks |
//! | follower reads | dissertation §6.4 | the follower asks for the index | one more message each way |

mod compaction;
mod config;
mod effects;
mod election;
#[cfg(feature = "search")]
mod fingerprint;
mod follower;
mod leader;
mod log;
mod members;
mod message;
mod node;
mod progress;
mod quorum;
mod random;
mod reads;
mod status;
#[cfg(test)]
mod tests;
mod transfer;

pub use config::{Boot, Config};
pub use effects::{Apply, Effects, Input, Install, Note, Persist, Refusal, StepDownReason};
pub use message::{AppendOutcome, Message};
pub use node::Node;
pub use progress::ProgressState;
pub(crate) use quorum::reached;
pub use random::Random;
pub use status::{Follower, RoleKind, Status};
