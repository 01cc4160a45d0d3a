//! Takes off the network what makes states differ and the future not. Called after every step,
//! where the bounds ask for it.
//!
//! * **Answers that nobody awaits**: of a term that its receiver has left, or no longer campaigns
//!   or leads in.
//! * **Requests that are refused for good**, since the receiver's disk has a newer term, or a vote
//!   for someone else: the answer could only tell of a newer term.
//! * **Requests of candidates who campaign no more**: all they could do is bind a voter, or move a
//!   node to a newer term.
//! * **Refusals that only tell of a newer term.**
//!
//! The term on a disk never falls, so all of it stays so. That the receiver ignores the first and
//! refuses the second is not taken for granted but tried: a core that does otherwise keeps them.
//!
//! A node that would have moved to a newer term, and does not, can still get there: the request
//! or the append of whoever made that term brings it there, and its own timeout brings it to the
//! next, as a candidate whose messages are lost. What it cannot do before is what it could not do
//! after. The tests hold these arguments against searches that take nothing away, and against
//! bugs.

use quorate_core::raft::{AppendOutcome, Message, RoleKind};
use quorate_core::types::{HardState, Term};

use super::machine::{Event, Machine};
use super::reactions::Reactions;
use super::state::{Packet, State};

/// Takes away what can no longer matter.
pub(super) fn reduce(state: &mut State, reactions: &mut Reactions) {
    let State { machines, packets, .. } = state;
    let find = |id| machines.iter().find(|machine| machine.id == id);
    packets.retain(|packet| {
        let (Some(sender), Some(receiver)) = (find(packet.from), find(packet.to)) else {
            return false;
        };
        let moot = is_moot(packet, sender, receiver)
            || (is_idle(packet, receiver) && changes_nothing(packet, receiver, reactions));
        !moot
    });
}

/// What need not come in, whatever the receiver made of it.
fn is_moot(packet: &Packet, sender: &Machine, receiver: &Machine) -> bool {
    match &packet.message {
        Message::RequestVote { term, .. } => has_left(sender, *term, RoleKind::Candidate),
        Message::RequestVoteReply { .. } | Message::AppendEntriesReply { .. } => {
            is_refusal(&packet.message) && packet.message.term() > receiver.term
        }
        Message::AppendEntries { .. } | Message::Heartbeat { .. } => false,
        Message::PreVote { .. }
        | Message::PreVoteReply { .. }
        | Message::HeartbeatReply { .. }
        | Message::TimeoutNow { .. }
        | Message::ReadIndex { .. }
        | Message::ReadIndexReply { .. }
        | Message::WantSnapshot { .. } => true,
    }
}

/// What a correct receiver ignores or refuses, now and for good.
fn is_idle(packet: &Packet, receiver: &Machine) -> bool {
    let HardState { term: disk_term, vote } = receiver.disk.hard_state;
    match &packet.message {
        Message::RequestVote { term, .. } => {
            let bound = *term == disk_term && vote.is_some_and(|vote| vote != packet.from);
            *term < disk_term || bound
        }
        Message::AppendEntries { term, .. } | Message::Heartbeat { term, .. } => *term < disk_term,
        Message::RequestVoteReply { term, .. } => has_left(receiver, *term, RoleKind::Candidate),
        Message::AppendEntriesReply { term, .. } => has_left(receiver, *term, RoleKind::Leader),
        Message::PreVote { .. }
        | Message::PreVoteReply { .. }
        | Message::HeartbeatReply { .. }
        | Message::TimeoutNow { .. }
        | Message::ReadIndex { .. }
        | Message::ReadIndexReply { .. }
        | Message::WantSnapshot { .. } => true,
    }
}

fn is_refusal(message: &Message) -> bool {
    match message {
        Message::RequestVoteReply { granted, .. } => !granted,
        Message::AppendEntriesReply { outcome, .. } => {
            matches!(outcome, AppendOutcome::Rejected(_))
        }
        Message::RequestVote { .. }
        | Message::AppendEntries { .. }
        | Message::Heartbeat { .. }
        | Message::PreVote { .. }
        | Message::PreVoteReply { .. }
        | Message::HeartbeatReply { .. }
        | Message::TimeoutNow { .. }
        | Message::ReadIndex { .. }
        | Message::ReadIndexReply { .. }
        | Message::WantSnapshot { .. } => false,
    }
}

/// Whether a machine is not in that role in that term, and never will be again.
fn has_left(machine: &Machine, term: Term, role: RoleKind) -> bool {
    let disk_term = machine.disk.hard_state.term;
    let there = machine.term == term && machine.role == role;
    disk_term > term || (disk_term == term && !there)
}

fn changes_nothing(packet: &Packet, receiver: &Machine, reactions: &mut Reactions) -> bool {
    reactions.react(receiver, &Event::Receive(packet), true).is_ok_and(|reaction| {
        reaction.after.print == receiver.print
            && reaction.packets.iter().all(|answer| is_refusal(&answer.message))
    })
}
