//! A run as a person reads it: who led when, what went wrong, what clients were told, and the
//! last events in full.

use std::fmt::Write;

use quorate_core::client::Outcome;
use quorate_core::raft::{Message, Note, Persist};
use quorate_core::types::{Entry, Member, Membership, NodeId, Payload};
use quorate_core::wire::client::Op;

use crate::facts::Fact;

/// What was told, in order.
#[derive(Clone, Debug, Default)]
pub struct Story {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    at: u64,
    /// Worth a line in the overview; the others only among the last events.
    weighty: bool,
    text: String,
}

impl Story {
    /// Something a person wants to know.
    pub fn tell(&mut self, at: u64, text: String) {
        self.lines.push(Line { at, weighty: true, text });
    }

    /// What a node says.
    pub fn note(&mut self, at: u64, node: NodeId, note: &Note) {
        self.tell(at, format!("n{node}          {note}"));
    }

    /// A fact.
    pub fn fact(&mut self, at: u64, fact: &Fact<'_>) {
        let weighty =
            matches!(fact, Fact::Started { .. } | Fact::Stopped { .. } | Fact::Replaced { .. });
        let text = match fact {
            Fact::Drained { node, status, .. } => format!(
                "n{node}          is {} of term {}, commit {}, applied {}, last {}, durable {}",
                status.role.as_str(),
                status.term,
                status.commit,
                status.applied,
                status.last_index,
                status.durable_index
            ),
            Fact::Started { node, hard_state, base, log, state, reset, .. } => format!(
                "n{node}          starts: term {}, vote {}, log from {base} up to {}, checkpoint {state}{}",
                hard_state.term,
                hard_state.vote.map_or("none".to_owned(), |vote| format!("n{vote}")),
                log.last().map_or("nothing".to_owned(), |entry| entry.position().to_string()),
                reset.map_or(String::new(), |base| format!(", the log begins anew at {base}"))
            ),
            Fact::Stopped { node, for_good } => {
                format!("n{node}          ends{}", if *for_good { ", for good" } else { "" })
            }
            Fact::Replaced { node } => format!("n{node}          has another disk, an empty one"),
            Fact::Asked { node, ticket, command, lease } => {
                let what = match (command, lease) {
                    (Some(_), _) => "a write",
                    (None, None) => "a read",
                    (None, Some(_)) => "a read under a lease",
                };
                format!("n{node}          is asked for {what}, ticket {}", number(ticket.0))
            }
            Fact::Staged { node, persist } => {
                format!("n{node} disk     is handed {}", persist_words(persist))
            }
            Fact::Durable { node, persist } => {
                format!("n{node} disk     holds {}", persist_words(persist))
            }
            Fact::Ordered { node, ticket, changes } => {
                let what = if *changes { "to change the members" } else { "to hand over" };
                format!("n{node}          is told {what}, ticket {}", number(ticket.0))
            }
            Fact::Done { node, ticket } => {
                format!("n{node}          has carried out order {}", number(ticket.0))
            }
            Fact::Members { node, membership } => {
                format!("n{node}          goes by {}", members_words(membership))
            }
            Fact::Captured { node, position } => {
                format!("n{node} disk     holds a checkpoint up to {position}")
            }
            Fact::Trimmed { node, to } => format!("n{node} disk     lets go of entries up to {to}"),
            Fact::Installed { node, position, .. } => {
                format!("n{node}          has the state of a snapshot up to {position}")
            }
            Fact::Sent { from, to, message } => {
                format!("n{from} -> n{to}    {}", message_words(message))
            }
            Fact::Applied { node, entry, result, .. } => {
                let how = match result {
                    None => "",
                    Some(Ok(_)) => ": ok",
                    Some(Err(_)) => ": refused",
                };
                format!("n{node}          applies {}{how}", entry_words(entry))
            }
            Fact::Released { node, ticket, index } => {
                format!("n{node}          allows read {} at {index}", number(ticket.0))
            }
            Fact::Refused { node, ticket, why } => {
                format!("n{node}          refuses {}: {why:?}", number(ticket.0))
            }
            Fact::Invoked { client, call, op } => {
                format!("client {client}    call {call}: {}", op_words(op))
            }
            Fact::Posted { client, call, session, id, .. } => {
                format!("client {client}    sends call {call} as {session}:{id}")
            }
            Fact::Completed { client, call, outcome } => {
                format!("client {client}    call {call} ends: {}", outcome_words(outcome))
            }
        };
        self.lines.push(Line { at, weighty, text });
    }

    /// The overview, then the last `last` events in full.
    #[must_use]
    pub fn render(&self, last: usize) -> String {
        let mut out = String::new();
        let from = self.lines.len().saturating_sub(last);
        for (place, line) in self.lines.iter().enumerate() {
            if place == from && from > 0 {
                out.push_str("    ---- the last events, in full ----\n");
            }
            if line.weighty || place >= from {
                let (ms, us) = (line.at / 1_000, line.at % 1_000);
                writeln!(out, "{ms:>6}.{us:03} ms  {}", line.text).expect("writes into memory");
            }
        }
        out
    }
}

/// Tickets bear the start in their upper bits.
fn number(ticket: u64) -> String {
    format!("{}.{}", ticket >> 40, ticket & ((1 << 40) - 1))
}

/// The name of a message.
#[must_use]
pub fn kind(message: &Message) -> &'static str {
    match message {
        Message::PreVote { .. } => "PreVote",
        Message::PreVoteReply { .. } => "PreVoteReply",
        Message::RequestVote { .. } => "RequestVote",
        Message::RequestVoteReply { .. } => "RequestVoteReply",
        Message::AppendEntries { .. } => "AppendEntries",
        Message::AppendEntriesReply { .. } => "AppendEntriesReply",
        Message::Heartbeat { .. } => "Heartbeat",
        Message::HeartbeatReply { .. } => "HeartbeatReply",
        Message::TimeoutNow { .. } => "TimeoutNow",
        Message::ReadIndex { .. } => "ReadIndex",
        Message::ReadIndexReply { .. } => "ReadIndexReply",
        Message::WantSnapshot { .. } => "WantSnapshot",
    }
}

/// A message in words.
#[must_use]
pub fn message_words(message: &Message) -> String {
    let (name, term) = (kind(message), message.term());
    match message {
        Message::PreVote { last, .. } | Message::RequestVote { last, .. } => {
            format!("{name} term {term}, last {last}")
        }
        Message::PreVoteReply { granted, .. } | Message::RequestVoteReply { granted, .. } => {
            format!("{name} term {term}, {}", if *granted { "granted" } else { "refused" })
        }
        Message::AppendEntries { prev, commit, entries, .. } => {
            let entries: Vec<String> = entries.iter().take(4).map(entry_words).collect();
            let entries = entries.join(", ");
            format!("{name} term {term}, after {prev}, commit {commit}: [{entries}]")
        }
        Message::AppendEntriesReply { prev, outcome, .. } => {
            format!("{name} term {term}, after {prev}: {outcome:?}")
        }
        Message::Heartbeat { commit, round, .. } => {
            format!("{name} term {term}, commit {commit}, round {round}")
        }
        Message::TimeoutNow { .. } | Message::WantSnapshot { .. } => {
            format!("{name} term {term}")
        }
        Message::ReadIndex { id, .. } => format!("{name} term {term}, question {id}"),
        Message::ReadIndexReply { id, index, .. } => {
            format!("{name} term {term}, question {id}, index {index}")
        }
        Message::HeartbeatReply { round, last, .. } => {
            format!("{name} term {term}, round {round}, last {last}")
        }
    }
}

pub(crate) fn members_words(membership: &Membership) -> String {
    let member = |member: &Member| format!("n{} {}", member.id, member.role.as_str());
    let members: Vec<String> = membership.members.iter().map(member).collect();
    let joint = if membership.is_joint() { ", joint" } else { "" };
    format!("{}{joint}", members.join(", "))
}

fn entry_words(entry: &Entry) -> String {
    let what = match &entry.payload {
        Payload::Noop => " no-op".to_owned(),
        Payload::Command(bytes) => format!(" {} bytes", bytes.len()),
        Payload::Membership(membership) => format!(" [{}]", members_words(membership)),
    };
    format!("{}{what}", entry.position())
}

fn persist_words(persist: &Persist) -> String {
    let mut out = format!("#{}", persist.seq);
    if let Some(base) = persist.reset {
        write!(out, ", begins anew at {base}").expect("writes into memory");
    }
    if let Some(from) = persist.truncate_from {
        write!(out, ", cut from {from}").expect("writes into memory");
    }
    if let Some(hard) = persist.hard_state {
        let vote = hard.vote.map_or("none".to_owned(), |vote| format!("n{vote}"));
        write!(out, ", term {} vote {vote}", hard.term).expect("writes into memory");
    }
    if let (Some(first), Some(last)) = (persist.entries.first(), persist.entries.last()) {
        write!(out, ", entries {} to {}", first.position(), last.position())
            .expect("writes into memory");
    }
    out
}

/// An operation in words.
#[must_use]
pub fn op_words(op: &Op) -> String {
    let key = op.key().map(|key| String::from_utf8_lossy(key).into_owned()).unwrap_or_default();
    let value = match op {
        Op::Put(put) => short(&put.value),
        Op::Append(append) => short(&append.value),
        Op::Increment(increment) => increment.by.to_string(),
        Op::CompareAndSwap(swap) => {
            let value = swap.value.as_ref().map_or("nothing".to_owned(), |value| short(value));
            format!("{:?} to {value}", swap.expect)
        }
        Op::Hello(_) | Op::Ping | Op::Bye | Op::Get(_) | Op::Delete(_) | Op::Status => {
            String::new()
        }
        Op::Members | Op::Admin(_) => String::new(),
    };
    format!("{} {key} {value}", op.name()).trim_end().to_owned()
}

fn short(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value).into_owned();
    text.chars().take(24).collect()
}

fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(success) => format!("done, {success:?}"),
        Outcome::NotExecuted(failure) => format!("not executed, {failure}"),
        Outcome::Unreachable { reason } => format!("unreachable, {reason}"),
        Outcome::Unknown { session, id, reason } => {
            format!("unknown ({session}:{id}), {reason}")
        }
    }
}
