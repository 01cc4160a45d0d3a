//! How messages and entries are written in a script. What the dump says can be injected: every
//! text that [`message`] makes is read back by [`parse_message`] as the same message.
//!
//! ```text
//! entry     3@2 "x"   3@2 noop   1@1 members(1,2,3)   2@1        (index@term; bare: an old one)
//! messages  PreVote term 3, last 2@1            PreVoteReply term 3, granted
//!           RequestVote term 3, last 2@1        RequestVoteReply term 3, refused
//!           AppendEntries term 2, after 1@1, commit 1: 2@2 noop, 3@2 "x"
//!           AppendEntriesReply term 2, after 1, accepted to 3
//!           AppendEntriesReply term 2, after 9, rejected, could match 4@2
//!           Heartbeat term 2, commit 1, round 3     HeartbeatReply term 2, round 3, last 1
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_core::raft::{AppendOutcome, Message};
use quorate_core::types::{Entry, Index, Member, Membership, NodeId, Payload, Position, Term};

/// What an entry from before the script says; written without any payload.
const OLD: &[u8] = b"old";

/// The name of a node.
pub(crate) fn name(id: NodeId) -> String {
    format!("n{id}")
}

/// The names of some nodes: `n1, n2`.
pub(crate) fn names(ids: &[NodeId]) -> String {
    ids.iter().map(|id| name(*id)).collect::<Vec<_>>().join(", ")
}

/// The node of a name.
pub(crate) fn parse_name(text: &str) -> Result<NodeId, String> {
    let digits = text.strip_prefix('n').ok_or_else(|| format!("no node's name: {text}"))?;
    Ok(NodeId(parse_number(digits)?))
}

/// A number.
pub(crate) fn parse_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("no number: {text:?}"))
}

/// A position: `index@term`.
pub(crate) fn parse_position(text: &str) -> Result<Position, String> {
    let (index, term) = text.split_once('@').ok_or_else(|| format!("no index@term: {text:?}"))?;
    Ok(Position { term: Term(parse_number(term)?), index: Index(parse_number(index)?) })
}

/// An entry from before the script. Two of the same index and term are equal (log matching).
pub(crate) fn old_entry(index: Index, term: Term) -> Entry {
    Entry { term, index, payload: Payload::Command(Bytes::from_static(OLD)) }
}

/// A membership of these voters, without addresses.
pub(crate) fn membership(ids: impl IntoIterator<Item = NodeId>) -> Membership {
    let member = |id| Member::voter(id, String::new(), String::new());
    Membership::of(ids.into_iter().map(member).collect())
}

/// A membership: `1,2,3` of voters only; `1,2 with 4 before 1,2,3` with a learner, while the voters
/// change. Only the first kind is read back.
pub(crate) fn members(membership: &Membership) -> String {
    let list = |ids: Vec<NodeId>| ids.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",");
    let voters: Vec<NodeId> = membership.voters().collect();
    let others = membership.ids().filter(|id| !membership.votes(*id)).collect::<Vec<_>>();
    let mut text = list(voters);
    for (word, ids) in [("with", others), ("before", membership.outgoing.clone())] {
        if !ids.is_empty() {
            text = format!("{text} {word} {}", list(ids));
        }
    }
    text
}

/// An entry's text.
pub(crate) fn entry(entry: &Entry) -> String {
    let position = entry.position();
    match &entry.payload {
        Payload::Noop => format!("{position} noop"),
        Payload::Command(command) if command == OLD => position.to_string(),
        Payload::Command(command) => {
            format!("{position} \"{}\"", String::from_utf8_lossy(command))
        }
        Payload::Membership(new) => format!("{position} members({})", members(new)),
    }
}

/// The text of some entries.
pub(crate) fn entries(list: &[Entry]) -> String {
    match list {
        [] => "nothing".to_owned(),
        _ => list.iter().map(entry).collect::<Vec<_>>().join(", "),
    }
}

fn parse_entry(text: &str) -> Result<Entry, String> {
    let (place, payload) = text.split_once(' ').unwrap_or((text, ""));
    let Position { term, index } = parse_position(place)?;
    let payload = match payload {
        "" => return Ok(old_entry(index, term)),
        "noop" => Payload::Noop,
        _ => match payload.strip_prefix("members(") {
            Some(ids) => {
                let ids = ids.trim_end_matches(')');
                let ids = ids.split(',').map(|id| parse_number(id).map(NodeId));
                Payload::Membership(membership(ids.collect::<Result<Vec<_>, _>>()?))
            }
            None => Payload::Command(Bytes::from(payload.trim_matches('"').to_owned())),
        },
    };
    Ok(Entry { term, index, payload })
}

fn parse_entries(text: &str) -> Result<Vec<Entry>, String> {
    if text == "nothing" {
        return Ok(vec![]);
    }
    text.split(", ").map(parse_entry).collect()
}

/// The kind of a message, as the paper calls it.
pub(crate) fn kind(message: &Message) -> &'static str {
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

/// A message's text.
pub(crate) fn message(message: &Message) -> String {
    let verdict = |granted: &bool| if *granted { "granted" } else { "refused" };
    let rest = match message {
        Message::RequestVote { last, transfer: true, .. } => format!("last {last}, transfer"),
        Message::PreVote { last, .. } | Message::RequestVote { last, .. } => format!("last {last}"),
        Message::PreVoteReply { granted, .. } | Message::RequestVoteReply { granted, .. } => {
            verdict(granted).to_owned()
        }
        Message::AppendEntries { prev, commit, entries: list, .. } => {
            format!("after {prev}, commit {commit}: {}", entries(list))
        }
        Message::AppendEntriesReply { prev, outcome, .. } => match outcome {
            AppendOutcome::Accepted(index) => format!("after {prev}, accepted to {index}"),
            AppendOutcome::Rejected(hint) => format!("after {prev}, rejected, could match {hint}"),
        },
        Message::Heartbeat { commit, round, .. } => format!("commit {commit}, round {round}"),
        Message::HeartbeatReply { round, last, .. } => format!("round {round}, last {last}"),
        Message::TimeoutNow { term } | Message::WantSnapshot { term } => {
            return format!("{} term {term}", kind(message));
        }
        Message::ReadIndex { id, .. } => format!("question {id}"),
        Message::ReadIndexReply { id, index, .. } => format!("question {id}, index {index}"),
    };
    format!("{} term {}, {rest}", kind(message), message.term())
}

/// The fields of a message's text: what follows the first word of each.
struct Fields<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Self {
        let field = |field: &'a str| field.split_once(' ').unwrap_or((field, ""));
        Self(text.split(", ").map(field).collect())
    }

    fn text(&self, key: &str) -> Result<&'a str, String> {
        self.0.get(key).copied().ok_or_else(|| format!("the message lacks {key:?}"))
    }

    fn number(&self, key: &str) -> Result<u64, String> {
        parse_number(self.text(key)?)
    }

    fn index(&self, key: &str) -> Result<Index, String> {
        Ok(Index(self.number(key)?))
    }

    fn position(&self, key: &str) -> Result<Position, String> {
        parse_position(self.text(key)?)
    }

    fn granted(&self) -> Result<bool, String> {
        match (self.0.contains_key("granted"), self.0.contains_key("refused")) {
            (true, false) => Ok(true),
            (false, true) => Ok(false),
            _ => Err("the message is neither granted nor refused".to_owned()),
        }
    }

    fn outcome(&self) -> Result<AppendOutcome, String> {
        if self.0.contains_key("rejected") {
            let hint = self.text("could")?.trim_start_matches("match ");
            return Ok(AppendOutcome::Rejected(parse_position(hint)?));
        }
        let index = self.text("accepted")?.trim_start_matches("to ");
        Ok(AppendOutcome::Accepted(Index(parse_number(index)?)))
    }
}

/// The message of a text.
pub(crate) fn parse_message(text: &str) -> Result<Message, String> {
    let (kind, rest) = text.split_once(' ').ok_or_else(|| format!("no message: {text:?}"))?;
    let (head, list) = rest.split_once(": ").unwrap_or((rest, "nothing"));
    let fields = Fields::of(head);
    let term = Term(fields.number("term")?);
    Ok(match kind {
        "PreVote" => Message::PreVote { term, last: fields.position("last")? },
        "PreVoteReply" => Message::PreVoteReply { term, granted: fields.granted()? },
        "RequestVote" => Message::RequestVote {
            term,
            last: fields.position("last")?,
            transfer: fields.0.contains_key("transfer"),
        },
        "RequestVoteReply" => Message::RequestVoteReply { term, granted: fields.granted()? },
        "AppendEntries" => {
            let (prev, commit) = (fields.position("after")?, fields.index("commit")?);
            Message::AppendEntries { term, prev, commit, entries: parse_entries(list)? }
        }
        "AppendEntriesReply" => {
            let (prev, outcome) = (fields.index("after")?, fields.outcome()?);
            Message::AppendEntriesReply { term, prev, outcome }
        }
        "Heartbeat" => {
            let (commit, round) = (fields.index("commit")?, fields.number("round")?);
            Message::Heartbeat { term, commit, round, all_hold: Index(0) }
        }
        "HeartbeatReply" => {
            let (round, last) = (fields.number("round")?, fields.index("last")?);
            Message::HeartbeatReply { term, round, last }
        }
        "TimeoutNow" => Message::TimeoutNow { term },
        "WantSnapshot" => Message::WantSnapshot { term },
        "ReadIndex" => Message::ReadIndex { term, id: fields.number("question")? },
        "ReadIndexReply" => {
            let (id, index) = (fields.number("question")?, fields.index("index")?);
            Message::ReadIndexReply { term, id, index }
        }
        _ => return Err(format!("no such message: {kind}")),
    })
}
