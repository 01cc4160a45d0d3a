//! I8: no message that promises something leaves before what it promises is on disk (Raft figure 2:
//! "updated on stable storage before responding").
//!
//! A request of a vote promises the own vote, a granted vote the vote, an acknowledgement the entry;
//! every message but a question for a pre-vote and a yes to it promises the term.

use quorate_core::raft::{AppendOutcome, Message, RoleKind};
use quorate_core::types::{Index, NodeId, Term};

use super::Invariant;
use crate::facts::Fact;
use crate::known::{Known, NodeImage};
use crate::story::message_words;

/// What leaves a node is on its disk.
#[derive(Debug, Default)]
pub(super) struct PromisesAreDurable;

fn broken(known: &Known, from: NodeId, to: NodeId, message: &Message) -> Option<&'static str> {
    let image = known.nodes.get(&from)?;
    let (durable, term) = (image.durable_hard_state, message.term());
    match message {
        Message::PreVote { .. } | Message::PreVoteReply { granted: true, .. } => return None,
        Message::RequestVote { .. } => {
            if durable.term == term && durable.vote != Some(from) {
                return Some("its own vote");
            }
        }
        Message::RequestVoteReply { granted: true, .. } => {
            if durable.term == term && durable.vote != Some(to) {
                return Some("the vote");
            }
        }
        Message::AppendEntriesReply { outcome: AppendOutcome::Accepted(index), .. } => {
            // In a later term the entry may have been removed again since.
            if durable.term == term && index.0 > 0 && image.durable_log.get(*index).is_none() {
                return Some("the entry");
            }
            if durable.term == term && !same_as_the_leaders(known, image, to, term, *index) {
                return Some("the leader's entry");
            }
        }
        Message::PreVoteReply { .. }
        | Message::RequestVoteReply { .. }
        | Message::AppendEntries { .. }
        | Message::TimeoutNow { .. }
        | Message::ReadIndex { .. }
        | Message::ReadIndexReply { .. }
        | Message::WantSnapshot { .. }
        | Message::AppendEntriesReply { .. }
        | Message::Heartbeat { .. }
        | Message::HeartbeatReply { .. } => {}
    }
    (durable.term < term).then_some("the term")
}

fn same_as_the_leaders(
    known: &Known,
    image: &NodeImage,
    leader: NodeId,
    term: Term,
    index: Index,
) -> bool {
    let Some(leader) = known.nodes.get(&leader) else { return true };
    let leads = leader.role == Some(RoleKind::Leader) && leader.hard_state.term == term;
    !leads || leader.log.get(index) == image.durable_log.get(index)
}

impl Invariant for PromisesAreDurable {
    fn id(&self) -> &'static str {
        "I8"
    }

    fn claim(&self) -> &'static str {
        "votes, acknowledgements and terms leave a node only when they are on its disk"
    }

    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Sent { from, to, message } = fact else { return Ok(()) };
        match broken(known, *from, *to, message) {
            None => Ok(()),
            Some(what) => Err(format!(
                "node {from} sends node {to} {}, and {what} is not on its disk",
                message_words(message)
            )),
        }
    }
}
