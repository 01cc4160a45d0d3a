//! Linearizable reads without the log: ReadIndex (dissertation §6.4).
//!
//! A read waits until the leader has committed an entry of its own term, takes the commit
//! index, and is confirmed by a round of heartbeats that **started after it arrived**; all
//! reads that wait share one round. It may be answered once that index is applied.

use std::collections::VecDeque;

use super::effects::Refusal;
use super::node::{Node, Role};
use super::quorum;
use crate::types::{Index, Ticket};

/// The reads of one leadership.
#[derive(Debug, Default)]
#[cfg_attr(feature = "search", derive(Clone))]
pub(super) struct Reads {
    /// Arrived, and in no round yet.
    pub(super) queued: Vec<Ticket>,
    /// In a round, oldest first.
    pub(super) rounds: VecDeque<Round>,
}

#[derive(Debug)]
#[cfg_attr(feature = "search", derive(Clone))]
pub(super) struct Round {
    pub(super) number: u64,
    pub(super) index: Index,
    pub(super) tickets: Vec<Ticket>,
}

impl Reads {
    /// Every read that waits.
    pub(super) fn into_tickets(self) -> Vec<Ticket> {
        let rounds = self.rounds.into_iter().flat_map(|round| round.tickets);
        rounds.chain(self.queued).collect()
    }
}

impl Node {
    pub(super) fn read(&mut self, tickets: Vec<Ticket>) {
        match (&mut self.role, self.leader) {
            (Role::Leader(leader), _) => leader.reads.queued.extend(tickets),
            (_, _) if mutant!(FollowerServesReads) => {
                let commit = self.commit;
                self.out.reads.extend(tickets.into_iter().map(|ticket| (ticket, commit)));
            }
            (_, leader) => {
                let refusal = leader.map_or(Refusal::NoLeader, Refusal::NotLeader);
                self.out.refused.extend(tickets.into_iter().map(|ticket| (ticket, refusal)));
            }
        }
    }

    /// Puts the queued reads into a new round, unless the term has no commit yet (B6.1).
    pub(super) fn start_read_round(&mut self) {
        let commit = self.commit;
        let applied = self.applied_index();
        let Role::Leader(leader) = &mut self.role else { return };
        let settled = commit >= leader.term_start || mutant!(ReadBeforeTheNoop);
        if leader.reads.queued.is_empty() || !settled {
            return;
        }
        let tickets = std::mem::take(&mut leader.reads.queued);
        let number = leader.round + u64::from(!mutant!(ReadConfirmedByAnEarlierRound));
        let index = if mutant!(ReadAtTheAppliedIndex) { applied } else { commit };
        leader.reads.rounds.push_back(Round { number, index, tickets });
        self.beat();
    }

    /// Releases the reads whose round a quorum has answered. An answer to a later round
    /// confirms the earlier ones too: leadership held after they started.
    pub(super) fn confirm_reads(&mut self) {
        let own = self.config.id;
        let Role::Leader(leader) = &mut self.role else { return };
        let mut answered: Vec<u64> = self
            .membership
            .voters()
            .map(|id| match leader.progress.get(&id) {
                _ if id == own => leader.round,
                Some(progress) => progress.acked_round,
                None => 0,
            })
            .collect();
        let confirmed = quorum::reached(&mut answered);
        let confirmed = if mutant!(ReadWithoutARound) { leader.round } else { confirmed };
        while leader.reads.rounds.front().is_some_and(|round| round.number <= confirmed) {
            let round = leader.reads.rounds.pop_front().expect("the front was just looked at");
            let ready = round.tickets.into_iter().map(|ticket| (ticket, round.index));
            self.out.reads.extend(ready);
        }
    }
}
