//! The requests of a client that came in together: what they share, and where they go.

use bytes::{Bytes, BytesMut};
use quorate_core::kv::Command;
use quorate_core::types::{Index, Moment};

use crate::client_session::Shared;
use crate::messages::{LeaseRead, Proposal, Propose, Query, Question, Read};
use crate::reply::Reply;

/// Requests on their way, one message for each receiver.
#[derive(Default)]
pub(crate) struct Batch {
    /// When its first request was looked at.
    at: Option<Moment>,
    /// The commands, one behind the other.
    commands: BytesMut,
    /// Who waits for each of them, and where it ends.
    proposals: Vec<(Reply, usize)>,
    pub(crate) reads: Vec<Question>,
    pub(crate) leased: Vec<Question>,
    pub(crate) queries: Vec<Question>,
}

impl Batch {
    /// The time, which is the same for all requests of a batch: looking at a clock for each one
    /// costs more than decoding it.
    pub(crate) fn now(&mut self, shared: &Shared) -> Moment {
        *self.at.get_or_insert_with(|| shared.view.clock.now())
    }

    /// A command for the log.
    pub(crate) fn propose(&mut self, command: &Command, reply: Reply) {
        command.encode_to(&mut self.commands);
        self.proposals.push((reply, self.commands.len()));
    }

    /// The commands in one allocation of just their length: the log keeps them together and lets
    /// them go together, and a small one must not keep anything else in memory.
    fn take_proposals(&mut self) -> Vec<Proposal> {
        let all = Bytes::copy_from_slice(&self.commands);
        let mut start = 0;
        let proposal = |(reply, end): (Reply, usize)| {
            let command = all.slice(start..end);
            start = end;
            Proposal { command, reply }
        };
        self.proposals.drain(..).map(proposal).collect()
    }

    /// Sends them off.
    pub(crate) fn send(mut self, shared: &Shared) {
        if !self.proposals.is_empty() {
            shared.raft.do_send(Propose(self.take_proposals()));
        }
        if !self.reads.is_empty() {
            shared.raft.do_send(Read(self.reads));
        }
        if !self.leased.is_empty() {
            shared.raft.do_send(LeaseRead(self.leased));
        }
        if !self.queries.is_empty() {
            let queries = self.queries.into_iter().map(|question| (Index(0), question));
            shared.state_machine.do_send(Query(queries.collect()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_a_batch_share_one_allocation_and_are_themselves() {
        let mut batch = Batch::default();
        let commands: Vec<Command> =
            (1..50).map(|session| Command::KeepAlive { session }).collect();
        commands.iter().for_each(|command| batch.propose(command, Reply::nobody()));
        let proposals = batch.take_proposals();
        let mut next = None;
        for (command, proposal) in commands.iter().zip(&proposals) {
            assert_eq!(Command::decode(&proposal.command).as_ref(), Ok(command));
            let place = proposal.command.as_ptr_range();
            assert!(next.is_none_or(|next| next == place.start), "elsewhere in memory");
            next = Some(place.end);
        }
        assert_eq!(proposals.len(), commands.len());
    }
}
