//! RaftActor's mailbox: each message becomes an input of the core.

use std::sync::atomic::Ordering;

use actix::prelude::*;
use quorate_core::raft::Input;

use super::{RaftActor, Waiting};
use crate::messages::{
    Applied, Captured, Command, Connected, CountWaiting, Disconnected, Drain, HandOver, Installed,
    Introduced, LeaseRead, Operation, Persisted, Proposal, Propose, Read, Received, Silenced,
    SnapshotReceived, SnapshotSent, SnapshotStarted, Stop, Tick,
};
use crate::outbound::leaving;
use crate::reply::Reply;

impl Handler<Drain> for RaftActor {
    type Result = ();
    fn handle(&mut self, _: Drain, _: &mut Self::Context) {
        self.absorbed = 0;
        self.act();
    }
}

impl Handler<Tick> for RaftActor {
    type Result = ();
    fn handle(&mut self, _: Tick, ctx: &mut Self::Context) {
        self.tick_waits.store(false, Ordering::Release);
        self.propose_clock(ctx);
        self.absorb(Input::Tick, ctx);
        self.part_from_members();
        self.view.update(self.node.status());
    }
}

impl Handler<Propose> for RaftActor {
    type Result = ();
    fn handle(&mut self, Propose(proposals): Propose, ctx: &mut Self::Context) {
        if self.stopping {
            return proposals.into_iter().for_each(|proposal| proposal.reply.fail(leaving()));
        }
        let ticketed = proposals
            .into_iter()
            .map(|Proposal { command, reply }| (self.ticket(Waiting::Write(reply)), command));
        let ticketed = ticketed.collect();
        self.absorb(Input::Propose(ticketed), ctx);
    }
}

impl Handler<Read> for RaftActor {
    type Result = ();
    fn handle(&mut self, Read(questions): Read, ctx: &mut Self::Context) {
        if self.stopping {
            return questions.into_iter().for_each(|question| question.refuse(leaving()));
        }
        let ticket = self.ticket(Waiting::Reads(questions));
        self.absorb(Input::Read(vec![ticket]), ctx);
    }
}

impl Handler<LeaseRead> for RaftActor {
    type Result = ();
    fn handle(&mut self, LeaseRead(questions): LeaseRead, ctx: &mut Self::Context) {
        if self.stopping {
            return questions.into_iter().for_each(|question| question.refuse(leaving()));
        }
        let ticket = self.ticket(Waiting::Reads(questions));
        self.absorb(Input::LeaseRead(vec![ticket]), ctx);
    }
}

impl Handler<Received> for RaftActor {
    type Result = ();
    fn handle(&mut self, Received { from, messages }: Received, ctx: &mut Self::Context) {
        for message in messages {
            self.absorb(Input::Received { from, message }, ctx);
        }
    }
}

impl Handler<Persisted> for RaftActor {
    type Result = ();
    fn handle(&mut self, Persisted { seq }: Persisted, ctx: &mut Self::Context) {
        self.absorb(Input::Persisted { seq }, ctx);
    }
}

impl Handler<Applied> for RaftActor {
    type Result = ();
    fn handle(&mut self, applied: Applied, ctx: &mut Self::Context) {
        self.sessions = applied.sessions;
        if applied.clock {
            self.pacemaker.applied_clock(self.view.clock.now());
        }
        self.absorb(Input::Applied { index: applied.index }, ctx);
    }
}

impl Handler<Connected> for RaftActor {
    type Result = ();
    fn handle(&mut self, Connected { peer }: Connected, ctx: &mut Self::Context) {
        self.absorb(Input::Connected { peer }, ctx);
    }
}

impl Handler<Disconnected> for RaftActor {
    type Result = ();
    fn handle(&mut self, Disconnected { peer }: Disconnected, ctx: &mut Self::Context) {
        self.absorb(Input::Disconnected { peer }, ctx);
    }
}

impl Handler<Stop> for RaftActor {
    type Result = ();
    fn handle(&mut self, Stop { now }: Stop, ctx: &mut Self::Context) {
        self.stopping = true;
        if now {
            self.absorb(Input::StepDown, ctx);
            self.act();
        }
    }
}

impl Handler<CountWaiting> for RaftActor {
    type Result = usize;
    fn handle(&mut self, _: CountWaiting, _: &mut Self::Context) -> usize {
        self.tickets.len()
    }
}

impl Handler<Introduced> for RaftActor {
    type Result = ();
    fn handle(&mut self, Introduced { peer, address }: Introduced, _: &mut Self::Context) {
        self.introduced(peer, &address);
    }
}

impl Handler<Command> for RaftActor {
    type Result = ();
    fn handle(&mut self, Command { what, reply }: Command, ctx: &mut Self::Context) {
        if self.stopping {
            return reply.fail(leaving());
        }
        let input = match what {
            Operation::Checkpoint => {
                self.checkpoint_asked.push(reply);
                let status = self.node.status();
                if status.applied == status.checkpoint_index {
                    return self.answer_checkpoints();
                }
                Input::Checkpoint
            }
            Operation::ChangeMembers { changes, force } => {
                let ticket = self.ticket(Waiting::Write(reply));
                Input::ChangeMembers { ticket, changes, force }
            }
            Operation::TransferLeadership { to } => {
                let ticket = self.ticket(Waiting::Write(reply));
                Input::TransferLeadership { ticket, to }
            }
        };
        self.absorb(input, ctx);
    }
}

impl Handler<HandOver> for RaftActor {
    type Result = ();
    fn handle(&mut self, _: HandOver, ctx: &mut Self::Context) {
        let ticket = self.ticket(Waiting::Write(Reply::nobody()));
        self.absorb(Input::TransferLeadership { ticket, to: None }, ctx);
    }
}

impl Handler<Captured> for RaftActor {
    type Result = ();
    fn handle(&mut self, Captured { position, rest }: Captured, ctx: &mut Self::Context) {
        self.answer_checkpoints();
        self.absorb(Input::Captured { position, rest }, ctx);
    }
}

impl Handler<SnapshotStarted> for RaftActor {
    type Result = ();
    fn handle(&mut self, started: SnapshotStarted, ctx: &mut Self::Context) {
        let SnapshotStarted { peer, index } = started;
        self.absorb(Input::SnapshotStarted { peer, index }, ctx);
    }
}

impl Handler<SnapshotSent> for RaftActor {
    type Result = ();
    fn handle(&mut self, SnapshotSent { peer, index }: SnapshotSent, ctx: &mut Self::Context) {
        self.absorb(Input::SnapshotSent { peer, index }, ctx);
    }
}

impl Handler<SnapshotReceived> for RaftActor {
    type Result = ();
    fn handle(&mut self, received: SnapshotReceived, ctx: &mut Self::Context) {
        let SnapshotReceived { position, membership } = received;
        self.absorb(Input::SnapshotReceived { position, membership }, ctx);
    }
}

impl Handler<Installed> for RaftActor {
    type Result = ();
    fn handle(&mut self, installed: Installed, ctx: &mut Self::Context) {
        self.sessions = installed.sessions;
        // It is a checkpoint, too.
        self.answer_checkpoints();
        self.absorb(Input::Installed { position: installed.position }, ctx);
    }
}

impl Handler<Silenced> for RaftActor {
    type Result = ();
    fn handle(&mut self, Silenced { peer }: Silenced, ctx: &mut Self::Context) {
        self.silenced(peer);
        self.absorb(Input::Silenced { peer }, ctx);
    }
}
