//! Handing leadership over (dissertation §3.10): the leader takes no more proposals, waits until
//! the target holds its log and everyone who waited on it is answered, then tells the target to
//! campaign at once. So a planned change of leader costs no write an unknown outcome.

use super::effects::{Note, Refusal, StepDownReason};
use super::message::Message;
use super::node::{Node, Role};
use crate::types::{Moment, NodeId, Ticket};

/// A transfer that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) to: NodeId,
    ticket: Ticket,
    /// Given up then (B11.3).
    deadline: Moment,
    /// When the target was last told.
    told: Option<Moment>,
}

impl Node {
    pub(super) fn transfer_leadership(&mut self, now: Moment, ticket: Ticket, to: Option<NodeId>) {
        match self.judge_transfer(to) {
            Err(refusal) => self.out.refused.push((ticket, refusal)),
            Ok(None) => self.out.done.push(ticket),
            Ok(Some(to)) => {
                self.note(Note::Transfers { to });
                let deadline = now + self.config.election_timeout;
                let Role::Leader(leader) = &mut self.role else { return };
                leader.transfer = Some(Transfer { to, ticket, deadline, told: None });
            }
        }
    }

    /// To whom it goes; `None` where there is nothing to do.
    fn judge_transfer(&self, to: Option<NodeId>) -> Result<Option<NodeId>, Refusal> {
        let Role::Leader(leader) = &self.role else {
            return Err(self.leader.map_or(Refusal::NoLeader, Refusal::NotLeader));
        };
        if let Some(transfer) = &leader.transfer {
            return Err(Refusal::Transferring(transfer.to));
        }
        if to == Some(self.config.id) {
            return Ok(None);
        }
        let to = to.or_else(|| self.best_successor()).ok_or(Refusal::NoTarget)?;
        let votes = self.membership.voters().any(|voter| voter == to);
        if votes { Ok(Some(to)) } else { Err(Refusal::NoTarget) }
    }

    /// A leader's part of the drain.
    pub(super) fn drive_transfer(&mut self, now: Moment) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = &mut leader.transfer else { return };
        let to = transfer.to;
        let votes = self.membership.voters().any(|voter| voter == to);
        if now >= transfer.deadline || !votes {
            return self.give_up_transfer();
        }
        let last = self.log.last().index;
        let level = leader.progress.get(&to).is_some_and(|progress| progress.match_index == last);
        // Nobody must be left waiting on this leadership: all is committed and handed out.
        let answered = self.applying.handed == last || mutant!(TransferForgetsWhoWaits);
        let again = transfer.told.is_none_or(|told| now.since(told) >= self.config.heartbeat);
        if again && answered && (level || mutant!(TransferDoesNotWait)) {
            transfer.told = Some(now);
            // Whoever is told may win at any time from now on, whatever becomes of the transfer:
            // its voters do not keep their promise for it. No lease in this term any more.
            if !mutant!(LeaseSurvivesATransfer) {
                leader.lease_from = Moment(u64::MAX);
            }
            let term = self.term();
            self.send(to, Message::TimeoutNow { term });
        }
    }

    fn give_up_transfer(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(transfer) = leader.transfer.take() {
            self.note(Note::TransferFailed { to: transfer.to });
            self.out.refused.push((transfer.ticket, Refusal::TransferFailed));
        }
    }

    /// This leadership is over in the middle of a transfer. A higher term may be the target's, or
    /// anybody's: who leads in it tells.
    pub(super) fn await_successor(&mut self, transfer: Transfer, why: StepDownReason) {
        if why == StepDownReason::HigherTerm {
            let deadline = transfer.deadline + self.config.election_timeout;
            self.handed_over = Some(Transfer { deadline, ..transfer });
        } else {
            self.out.refused.push((transfer.ticket, Refusal::TransferFailed));
        }
    }

    /// Ends the transfer that waits for the next leader, in doubt.
    pub(super) fn forget_successor(&mut self) {
        if let Some(Transfer { to, ticket, .. }) = self.handed_over.take() {
            self.note(Note::TransferFailed { to });
            self.out.refused.push((ticket, Refusal::TransferFailed));
        }
    }

    /// Ends the transfer that waits for the next leader: when there is one, or in time.
    pub(super) fn judge_successor(&mut self, now: Moment) {
        let Some(Transfer { to, ticket, deadline, .. }) = self.handed_over else { return };
        match self.leader {
            Some(leader) if leader == to => {
                self.handed_over = None;
                self.out.done.push(ticket);
            }
            None if now < deadline => {}
            Some(_) | None => self.forget_successor(),
        }
    }

    /// The leader asks this node to take over.
    pub(super) fn timeout_now(&mut self, now: Moment, from: NodeId) {
        let follows = matches!(self.role, Role::Follower) && self.leader == Some(from);
        if follows && self.may_campaign(now) {
            self.campaign_asked = true;
            self.campaign(now);
        }
    }
}
