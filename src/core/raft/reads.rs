//! Linearizable reads without the log: ReadIndex (dissertation §6.4).
//!
//! A read waits until the leader has committed an entry of its own term, takes the commit
//! index, and is confirmed by a round of heartbeats that **started after it arrived**; all
//! reads that wait share one round. It may be answered once that index is applied.
//!
//! A follower asks its leader for the index, with a question that is never used twice, and
//! answers the read itself once it has applied that far: the leader's round started after the
//! question came, which came after the read (B6.6).
//!
//! A **lease** (dissertation §6.4.1; off unless configured) saves the round: a quorum that
//! answered a round refuses to elect anybody for an election timeout from when it heard it, which
//! is not before the round was sent. The lease is shorter than that by a margin for clocks of
//! different speed, and ends with a transfer of leadership, and with a pause of this node.

use std::collections::{BTreeMap, VecDeque};

use super::effects::Refusal;
use super::message::Message;
use super::node::{Node, Role};
use crate::types::{Index, Moment, NodeId, Ticket};

/// Who asks a leader.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "search", derive(Hash))]
pub(super) enum Reader {
    /// Somebody who waits on this node.
    Here(Ticket),
    /// A follower, with its question's number.
    Follower(NodeId, u64),
}

/// So many questions of one follower wait for a leader's first commit; an older one has long
/// been given up by who asked.
const QUESTIONS: usize = 64;

/// The reads of one leadership.
#[derive(Debug, Default)]
#[cfg_attr(feature = "search", derive(Clone))]
pub(super) struct Reads {
    /// Arrived, and in no round yet.
    pub(super) queued: Vec<Reader>,
    /// In a round, oldest first.
    pub(super) rounds: VecDeque<Round>,
}

#[derive(Debug)]
#[cfg_attr(feature = "search", derive(Clone))]
pub(super) struct Round {
    pub(super) number: u64,
    pub(super) index: Index,
    pub(super) readers: Vec<Reader>,
}

/// The reads of a follower, for which it asks its leader.
#[derive(Debug, Default)]
#[cfg_attr(feature = "search", derive(Clone))]
pub(super) struct Asking {
    /// Arrived, and not asked for yet.
    queued: Vec<Ticket>,
    /// Asked for, by the question's number.
    sent: BTreeMap<u64, Question>,
}

#[derive(Debug)]
#[cfg_attr(feature = "search", derive(Clone))]
struct Question {
    tickets: Vec<Ticket>,
    until: Moment,
}

impl Reads {
    /// Every read that waits on this node.
    pub(super) fn into_tickets(self) -> Vec<Ticket> {
        let rounds = self.rounds.into_iter().flat_map(|round| round.readers);
        let here = |reader| match reader {
            Reader::Here(ticket) => Some(ticket),
            Reader::Follower(..) => None,
        };
        rounds.chain(self.queued).filter_map(here).collect()
    }
}

impl Node {
    pub(super) fn read(&mut self, tickets: Vec<Ticket>) {
        match (&mut self.role, self.leader) {
            (Role::Leader(leader), _) => {
                leader.reads.queued.extend(tickets.into_iter().map(Reader::Here));
            }
            (_, _) if mutant!(FollowerServesReads) => {
                let commit = self.commit;
                self.out.reads.extend(tickets.into_iter().map(|ticket| (ticket, commit)));
            }
            (_, Some(_)) => self.asking.queued.extend(tickets),
            (_, None) => self.refuse_reads(tickets, Refusal::NoLeader),
        }
    }

    fn refuse_reads(&mut self, tickets: impl IntoIterator<Item = Ticket>, refusal: Refusal) {
        self.out.refused.extend(tickets.into_iter().map(|ticket| (ticket, refusal)));
    }

    // ---- the leader ----

    /// Puts the queued reads into a new round, unless the term has no commit yet (B6.1).
    pub(super) fn start_read_round(&mut self, now: Moment) {
        let commit = self.commit;
        let applied = self.applied_index();
        let Role::Leader(leader) = &mut self.role else { return };
        let settled = commit >= leader.term_start || mutant!(ReadBeforeTheNoop);
        if leader.reads.queued.is_empty() || !settled {
            return;
        }
        let readers = std::mem::take(&mut leader.reads.queued);
        let number = leader.round + u64::from(!mutant!(ReadConfirmedByAnEarlierRound));
        let index = if mutant!(ReadAtTheAppliedIndex) { applied } else { commit };
        leader.reads.rounds.push_back(Round { number, index, readers });
        self.beat(now);
    }

    /// Releases the reads whose round a quorum has answered. An answer to a later round
    /// confirms the earlier ones too: leadership held after they started.
    pub(super) fn confirm_reads(&mut self) {
        let (own, term) = (self.config.id, self.term());
        let Role::Leader(leader) = &mut self.role else { return };
        let confirmed = self.membership.reached(|id| match leader.progress.get(&id) {
            _ if id == own => leader.round,
            Some(progress) => progress.acked_round,
            None => 0,
        });
        let confirmed = if mutant!(ReadWithoutARound) { leader.round } else { confirmed };
        while leader.reads.rounds.front().is_some_and(|round| round.number <= confirmed) {
            let round = leader.reads.rounds.pop_front().expect("the front was just looked at");
            let index = round.index;
            for reader in round.readers {
                match reader {
                    Reader::Here(ticket) => self.out.reads.push((ticket, index)),
                    Reader::Follower(to, id) => {
                        self.out.messages.push((to, Message::ReadIndexReply { term, id, index }));
                    }
                }
            }
        }
    }

    /// A follower asks. Who does not lead says nothing: the follower gives up by itself.
    pub(super) fn read_index_asked(&mut self, from: NodeId, id: u64) {
        let Role::Leader(leader) = &mut self.role else { return };
        let queued = &mut leader.reads.queued;
        let of = |reader: &Reader| matches!(reader, Reader::Follower(peer, _) if *peer == from);
        if queued.iter().filter(|reader| of(reader)).count() >= QUESTIONS
            && let Some(oldest) = queued.iter().position(of)
        {
            queued.remove(oldest);
        }
        queued.push(Reader::Follower(from, id));
    }

    /// Answers reads at once while the lease holds; else as any other read.
    pub(super) fn lease_read(&mut self, now: Moment, tickets: Vec<Ticket>) {
        if !self.holds_lease(now) {
            return self.read(tickets);
        }
        let commit = self.commit;
        self.out.reads.extend(tickets.into_iter().map(|ticket| (ticket, commit)));
    }

    fn holds_lease(&self, now: Moment) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        if !self.config.lease_reads
            || leader.transfer.is_some() && !mutant!(LeaseSurvivesATransfer)
            || self.commit < leader.term_start
            || now.since(self.last_drain) > self.config.election_timeout / 2
        {
            return false;
        }
        let sent = self.membership.reached(|id| match leader.progress.get(&id) {
            _ if id == self.config.id => now,
            Some(progress) => progress.acked_sent,
            None => Moment(0),
        });
        sent >= leader.lease_from && now < sent + self.config.lease()
    }

    // ---- a follower ----

    /// Asks the leader for everyone who waits, and gives up what it does not answer.
    pub(super) fn ask_read_index(&mut self, now: Moment) {
        let Some(to) = self.leader.filter(|leader| *leader != self.config.id) else { return };
        if !self.asking.queued.is_empty() {
            let tickets = std::mem::take(&mut self.asking.queued);
            // Not a counter: a process that starts again must not use a number again.
            let id = self.random.draw() >> 3;
            let until = now + self.config.election_timeout;
            self.asking.sent.insert(id, Question { tickets, until });
            let term = self.term();
            self.send(to, Message::ReadIndex { term, id });
        }
        let late = self.asking.sent.iter().filter(|(_, question)| now >= question.until);
        let late: Vec<u64> = late.map(|(id, _)| *id).collect();
        for id in late {
            if let Some(question) = self.asking.sent.remove(&id) {
                self.refuse_reads(question.tickets, Refusal::NoLeader);
            }
        }
    }

    pub(super) fn read_index_answered(&mut self, id: u64, index: Index) {
        if let Some(question) = self.asking.sent.remove(&id) {
            self.out.reads.extend(question.tickets.into_iter().map(|ticket| (ticket, index)));
        }
    }

    /// The leader that was asked is not this node's leader any more.
    pub(super) fn stop_asking(&mut self) {
        let Asking { queued, sent } = std::mem::take(&mut self.asking);
        let sent = sent.into_values().flat_map(|question| question.tickets);
        let tickets: Vec<Ticket> = queued.into_iter().chain(sent).collect();
        self.refuse_reads(tickets, Refusal::NoLeader);
    }
}
