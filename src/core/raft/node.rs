//! One member of the group: `new`, `step`, `drain`, `status`, and nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::compaction::Compaction;
use super::config::{Boot, Config};
use super::effects::{Apply, Effects, Input, Install, Note, Persist, Refusal};
use super::leader::Leader;
use super::log::Log;
use super::message::Message;
use super::random::Random;
use super::reads::Asking;
use super::status::Status;
use super::transfer::Transfer;
use crate::types::{HardState, Index, Membership, Moment, NodeId, Position, Term, Ticket};

/// One member of a Raft group.
///
/// **`step` absorbs facts, as many as you like; `drain` then says what to do about them, and
/// all of it must be done, in order.** Neither reads a clock, a disk, a socket or a source of
/// chance; neither can fail.
#[derive(Debug)]
#[cfg_attr(feature = "search", derive(Clone))]
pub struct Node {
    pub(super) config: Config,
    pub(super) random: Random,
    pub(super) hard_state: HardState,
    pub(super) log: Log,
    /// The newest membership in the log (rule 11).
    pub(super) membership: Membership,
    pub(super) commit: Index,
    pub(super) role: Role,
    pub(super) leader: Option<NodeId>,
    /// When the leader was last heard of.
    pub(super) leader_contact: Option<Moment>,
    pub(super) election_deadline: Moment,
    pub(super) connected: BTreeMap<NodeId, bool>,
    pub(super) out: Outbox,
    pub(super) disk: Disk,
    pub(super) applying: Applying,
    pub(super) compaction: Compaction,
    /// The reads for which a follower asks its leader.
    pub(super) asking: Asking,
    /// This candidate campaigns because its leader told it to.
    pub(super) campaign_asked: bool,
    /// The transfer that ended this node's leadership, until it is known who leads.
    pub(super) handed_over: Option<Transfer>,
    /// With leases: no vote before this moment. The votes that this node withheld before it
    /// was started, or in an earlier term, must stay withheld.
    pub(super) no_vote_before: Moment,
    pub(super) last_drain: Moment,
    /// Who waited on a leadership that ended (`WaiterIsKnownByIndexOnly`).
    #[cfg(feature = "mutants")]
    pub(super) kept: BTreeMap<Index, Ticket>,
}

/// What a node is in its term.
#[derive(Debug)]
#[cfg_attr(feature = "search", derive(Clone))]
pub(super) enum Role {
    Follower,
    PreCandidate(Votes),
    Candidate(Votes),
    Leader(Box<Leader>),
}

/// Who has answered, and how.
pub(super) type Votes = BTreeMap<NodeId, bool>;

/// What `step` leaves for `drain`.
#[derive(Debug, Default)]
#[cfg_attr(feature = "search", derive(Clone))]
pub(super) struct Outbox {
    pub(super) messages: Vec<(NodeId, Message)>,
    pub(super) then: Vec<(NodeId, Message)>,
    pub(super) reset: Option<Position>,
    pub(super) truncate_from: Option<Index>,
    pub(super) trim: Option<Index>,
    pub(super) install: Option<Install>,
    pub(super) membership: Option<Membership>,
    pub(super) done: Vec<Ticket>,
    pub(super) reads: Vec<(Ticket, Index)>,
    pub(super) refused: Vec<(Ticket, Refusal)>,
    pub(super) notes: Vec<Note>,
}

/// What was handed out to be made durable.
#[derive(Debug)]
#[cfg_attr(feature = "search", derive(Clone))]
pub(super) struct Disk {
    next_seq: u64,
    /// The hard state that was last handed out, and the one that is known to be durable.
    pub(super) handed: HardState,
    pub(super) durable: HardState,
    /// The last entry that was handed out.
    pub(super) handed_last: Index,
    pub(super) outstanding: VecDeque<Outstanding>,
}

#[derive(Debug)]
#[cfg_attr(feature = "search", derive(Clone))]
pub(super) struct Outstanding {
    seq: u64,
    since: Moment,
    pub(super) hard_state: HardState,
    /// The log is durable up to here once this is; lowered by a truncation, so that a late
    /// answer never speaks for entries that replaced the ones it was about (B12.3).
    pub(super) last: Index,
}

#[derive(Debug)]
#[cfg_attr(feature = "search", derive(Clone))]
pub(super) struct Applying {
    pub(super) handed: Index,
    pub(super) applied: Index,
    pub(super) outstanding: VecDeque<(Index, usize)>,
    bytes: usize,
}

impl Disk {
    /// The log begins anew behind `base`, which is durable; no earlier write says more.
    pub(super) fn reset(&mut self, base: Index) {
        self.handed_last = base;
        for outstanding in &mut self.outstanding {
            outstanding.last = outstanding.last.min(base);
        }
    }
}

impl Applying {
    /// The state holds everything up to there now.
    pub(super) fn jump(&mut self, to: Index) {
        self.handed = to;
        self.applied = to;
        self.outstanding.clear();
        self.bytes = 0;
    }
}

impl Node {
    /// A node as it comes from its disk: a follower that waits a full timeout before it
    /// campaigns.
    ///
    /// # Panics
    /// When what was recovered contradicts itself: a gap in the log, a term that falls, a log
    /// newer than the term.
    #[must_use]
    pub fn new(config: Config, boot: Boot, now: Moment) -> Self {
        let state = boot.state.index;
        let log = Log::recovered(boot.base, boot.state_membership, boot.entries);
        assert!(log.last().term <= boot.hard_state.term, "the log is newer than the term");
        assert!(state <= log.last().index, "the log ends before the checkpoint: reconcile them");
        let promised = config.lease_reads && !mutant!(PromiseEndsWithTheProcess);
        let no_vote = if promised { config.election_timeout } else { Duration::ZERO };
        let mut node = Self {
            random: Random::new(config.seed),
            hard_state: boot.hard_state,
            membership: log.membership(),
            commit: boot.base.index.max(state),
            role: Role::Follower,
            leader: None,
            leader_contact: None,
            election_deadline: now,
            connected: BTreeMap::new(),
            out: Outbox::default(),
            disk: Disk {
                next_seq: 1,
                handed: boot.hard_state,
                durable: boot.hard_state,
                handed_last: log.last().index,
                outstanding: VecDeque::new(),
            },
            applying: Applying {
                handed: state,
                applied: state,
                outstanding: VecDeque::new(),
                bytes: 0,
            },
            compaction: Compaction {
                checkpoint: state,
                told: Some(vec![]),
                ..Compaction::default()
            },
            asking: Asking::default(),
            campaign_asked: false,
            handed_over: None,
            no_vote_before: now + no_vote,
            last_drain: now,
            #[cfg(feature = "mutants")]
            kept: BTreeMap::new(),
            log,
            config,
        };
        node.reset_election_deadline(now);
        node
    }

    /// Absorbs one fact. What follows from it comes out of the next `drain`.
    ///
    /// # Panics
    /// When a rule of safety is broken: a second leader in a term, a conflict at or below the
    /// commit index, an acknowledgement beyond the log.
    pub fn step(&mut self, now: Moment, input: Input) {
        match input {
            Input::Tick => {}
            Input::Received { from, message } => self.received(now, from, message),
            Input::Propose(proposals) => self.propose(proposals),
            Input::Read(tickets) => self.read(tickets),
            Input::Persisted { seq } => self.persisted(now, seq),
            Input::Applied { index } => self.applied(index),
            Input::Connected { peer } => self.peer_connected(peer),
            Input::Disconnected { peer } => self.peer_disconnected(peer),
            Input::Silenced { peer } => self.peer_silenced(now, peer),
            Input::StepDown => self.step_down_as_asked(now),
            Input::LeaseRead(tickets) => self.lease_read(now, tickets),
            Input::ChangeMembers { ticket, changes, force } => {
                self.change_members(now, ticket, &changes, force);
            }
            Input::TransferLeadership { ticket, to } => self.transfer_leadership(now, ticket, to),
            Input::Checkpoint => self.checkpoint_asked(),
            Input::Captured { position, rest } => self.captured(now, position, rest),
            Input::SnapshotStarted { peer, index } => self.snapshot_started(peer, index),
            Input::SnapshotSent { peer, index } => self.snapshot_sent(peer, index),
            Input::SnapshotReceived { position, membership } => {
                self.snapshot_received(position, membership);
            }
            Input::Installed { position } => self.installed(now, position),
        }
    }

    /// Judges the deadlines and says what to do about everything absorbed so far.
    ///
    /// # Panics
    /// As `step`.
    pub fn drain(&mut self, now: Moment) -> Effects {
        self.judge_deadlines(now);
        self.lead(now);
        self.judge_successor(now);
        self.ask_read_index(now);
        let messages_wait = self.disk.handed != self.disk.durable || self.hard_state_changed();
        let messages_wait = messages_wait && !mutant!(VoteLeavesBeforeItsSync);
        if messages_wait && !mutant!(CandidateDoesNotAwaitItsSync) {
            // No message of a term leaves before the term is durable (rule 1).
            let messages = std::mem::take(&mut self.out.messages);
            self.out.then.extend(messages);
        }
        let persist = self.persist(now);
        let apply = self.apply();
        let capture = self.capture(now);
        let snapshots = self.snapshots_due();
        self.check_order();
        Effects {
            done: std::mem::take(&mut self.out.done),
            capture,
            trim: self.out.trim.take(),
            snapshots,
            install: self.out.install.take(),
            membership: self.out.membership.take(),
            messages: std::mem::take(&mut self.out.messages),
            persist,
            apply,
            reads: std::mem::take(&mut self.out.reads),
            refused: std::mem::take(&mut self.out.refused),
            notes: std::mem::take(&mut self.out.notes),
        }
    }

    /// What the node is and knows.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(self)
    }

    // ---- what the other files of this module share ----

    pub(super) fn term(&self) -> Term {
        self.hard_state.term
    }

    pub(super) fn applied_index(&self) -> Index {
        self.applying.applied
    }

    /// Every member but this node that counts in a quorum, before or after a change.
    pub(super) fn other_voters(&self) -> Vec<NodeId> {
        let others = self.membership.ids().filter(|id| *id != self.config.id);
        others.filter(|id| self.membership.votes(*id)).collect()
    }

    /// Every member but this node.
    pub(super) fn others(&self) -> Vec<NodeId> {
        self.membership.ids().filter(|id| *id != self.config.id).collect()
    }

    pub(super) fn send(&mut self, to: NodeId, message: Message) {
        self.out.messages.push((to, message));
    }

    /// Sends once everything up to here is durable.
    pub(super) fn send_when_durable(&mut self, to: NodeId, message: Message) {
        self.out.then.push((to, message));
    }

    pub(super) fn note(&mut self, note: Note) {
        self.out.notes.push(note);
    }

    /// Draws the next election's timeout from `[T, 2T)` (Raft §5.2).
    pub(super) fn reset_election_deadline(&mut self, now: Moment) {
        let base = u64::try_from(self.config.election_timeout.as_micros()).unwrap_or(u64::MAX / 4);
        let drawn = base + self.random.below(base);
        self.election_deadline = now + Duration::from_micros(drawn);
    }

    /// Removes a conflicting tail. Never at or below the commit index (rule 4).
    pub(super) fn truncate(&mut self, from: Index) {
        assert!(from > self.commit, "conflict at {from}, at or below the commit {}", self.commit);
        let count = self.log.truncate_from(from);
        for outstanding in &mut self.disk.outstanding {
            if !mutant!(LateSyncSpeaksForReplacedEntries) {
                outstanding.last = outstanding.last.min(from.previous());
            }
        }
        if from <= self.disk.handed_last {
            self.disk.handed_last = from.previous();
            self.out.truncate_from =
                Some(self.out.truncate_from.map_or(from, |earlier| earlier.min(from)));
        }
        self.note(Note::Truncated { from, count });
        if !mutant!(RemovedMembershipStays) {
            self.adopt_membership();
        }
    }

    pub(super) fn set_commit(&mut self, commit: Index) {
        assert!(commit <= self.log.last().index, "commit {commit} is beyond the log");
        self.commit = self.commit.max(commit);
        if mutant!(MembershipTakesEffectOnCommit) {
            self.adopt_membership();
        }
    }

    /// How long the oldest unanswered `Persist` has waited.
    pub(super) fn disk_waits(&self, now: Moment) -> Duration {
        self.disk.outstanding.front().map_or(Duration::ZERO, |oldest| now.since(oldest.since))
    }

    fn hard_state_changed(&self) -> bool {
        self.hard_state != self.disk.handed
    }

    fn persisted(&mut self, now: Moment, seq: u64) {
        let any = mutant!(AnySyncSpeaksForAll);
        while self.disk.outstanding.front().is_some_and(|oldest| oldest.seq <= seq || any) {
            let done = self.disk.outstanding.pop_front().expect("the front was just looked at");
            self.disk.durable = done.hard_state;
            self.log.set_durable(done.last);
        }
        match &self.role {
            Role::Candidate(_) => self.own_vote_durable(now),
            Role::Leader(_) => self.advance_commit(),
            Role::Follower | Role::PreCandidate(_) => {}
        }
    }

    fn applied(&mut self, index: Index) {
        assert!(index <= self.applying.handed, "applied {index} was never handed out");
        self.applying.applied = self.applying.applied.max(index);
        while self.applying.outstanding.front().is_some_and(|(last, _)| *last <= index) {
            let (_, bytes) = self.applying.outstanding.pop_front().expect("just looked at");
            self.applying.bytes -= if mutant!(ApplyRoomIsNeverFreed) { 0 } else { bytes };
        }
        self.forget();
    }

    /// Timers. A gap since the last drain is this node's own absence and no evidence against
    /// anyone else: what the sockets hold is to be heard first.
    fn judge_deadlines(&mut self, now: Moment) {
        let absent = now.since(self.last_drain) > self.config.election_timeout / 2;
        self.last_drain = now;
        if absent {
            let grace = now + self.config.heartbeat;
            self.election_deadline = self.election_deadline.max(grace);
        }
        match &self.role {
            Role::Leader(_) => self.judge_leadership(now, absent),
            Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) => {
                if now >= self.election_deadline {
                    self.ask_pre_votes(now);
                }
            }
        }
    }

    fn persist(&mut self, now: Moment) -> Option<Persist> {
        let last = self.log.last().index;
        let changed = self.hard_state_changed();
        let nothing = self.out.then.is_empty()
            && self.out.truncate_from.is_none()
            && self.out.reset.is_none();
        if nothing && !changed && last == self.disk.handed_last {
            return None;
        }
        let entries = self.log.slice(self.disk.handed_last, last, usize::MAX, usize::MAX);
        let seq = self.disk.next_seq;
        self.disk.next_seq += 1;
        self.disk.handed = self.hard_state;
        self.disk.handed_last = last;
        let mut hard_state = self.hard_state;
        self.disk.outstanding.push_back(Outstanding { seq, since: now, hard_state, last });
        if mutant!(VoteIsNotPersisted) {
            hard_state.vote = None;
        }
        Some(Persist {
            seq,
            hard_state: changed.then_some(hard_state),
            reset: self.out.reset.take(),
            truncate_from: self.out.truncate_from.take(),
            entries,
            then: std::mem::take(&mut self.out.then),
        })
    }

    /// Hands out what is committed and durable here, within the bound on what is not applied.
    fn apply(&mut self) -> Option<Apply> {
        let to = self.commit.min(self.log.durable());
        let room = self.config.apply_bytes.saturating_sub(self.applying.bytes);
        if self.applying.handed >= to || room == 0 || self.awaits_state() {
            return None;
        }
        let entries = self.log.slice(self.applying.handed, to, usize::MAX, room);
        let last = entries.last()?.index;
        let bytes = entries.iter().map(crate::types::Entry::weight).sum();
        self.applying.handed = if mutant!(ApplySkipsWhatDidNotFit) { to } else { last };
        self.applying.bytes += bytes;
        self.compaction.bytes += bytes;
        self.applying.outstanding.push_back((last, bytes));
        Some(Apply { entries, waiting: self.take_waiting(last) })
    }

    /// The order of the indexes (invariant I7), in release builds too.
    fn check_order(&self) {
        let Position { index: last, .. } = self.log.last();
        assert!(self.applying.applied <= self.applying.handed, "applied before handed out");
        assert!(self.applying.handed <= self.commit, "handed out before committed");
        assert!(self.compaction.checkpoint <= self.commit, "a checkpoint beyond the commit");
        assert!(self.commit <= last, "committed beyond the log");
        assert!(self.log.base().index <= self.commit, "compacted beyond the commit");
        let forgotten = self.log.base().index > self.applying.applied && !self.lacks_state();
        assert!(!forgotten, "dropped from memory before it was applied");
        assert!(self.disk.durable.term <= self.hard_state.term, "the term fell");
    }
}
