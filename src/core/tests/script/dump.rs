//! What a node did and what it is, as lines of text.

use quorate_core::raft::{Apply, Message, Persist, Refusal, RoleKind, Status};
use quorate_core::types::{NodeId, Ticket};

use super::machine::Machine;
use super::notation::{self, name, names};

/// Tickets from here on are reads; below, writes.
pub(crate) const FIRST_READ: u64 = 1_000_000;

/// A ticket's name: `w1` for the first write of a script, `r1` for its first read.
pub(crate) fn ticket(ticket: Ticket) -> String {
    match ticket.0.checked_sub(FIRST_READ) {
        Some(read) => format!("r{read}"),
        None => format!("w{ticket}"),
    }
}

/// Messages to one or several nodes; equal ones that follow each other share a line.
pub(crate) fn sends(messages: &[(NodeId, Message)]) -> Vec<String> {
    let mut lines = vec![];
    let mut rest = messages;
    while let Some((_, first)) = rest.first() {
        let equal = rest.iter().take_while(|(_, message)| message == first).count();
        let to: Vec<NodeId> = rest.iter().take(equal).map(|(to, _)| *to).collect();
        lines.push(format!("-> {}  {}", names(&to), notation::message(first)));
        rest = rest.get(equal..).unwrap_or_default();
    }
    lines
}

/// What is to be made durable, and what may leave only then.
pub(crate) fn persist(id: NodeId, persist: &Persist) -> Vec<String> {
    let mut parts = vec![];
    if let Some(base) = persist.reset {
        parts.push(format!("begin anew behind {base}"));
    }
    if let Some(hard_state) = persist.hard_state {
        let vote = hard_state.vote.map_or("no vote".to_owned(), |v| format!("vote {}", name(v)));
        parts.push(format!("term {}, {vote}", hard_state.term));
    }
    if let Some(from) = persist.truncate_from {
        parts.push(format!("cut from {from}"));
    }
    if !persist.entries.is_empty() {
        parts.push(format!("add {}", notation::entries(&persist.entries)));
    }
    let start = format!("{} disk   #{}", name(id), persist.seq);
    let write = (!parts.is_empty()).then(|| format!("{start}: {}", parts.join("; ")));
    let then = sends(&persist.then).into_iter().map(|send| format!("{start} then {send}"));
    write.into_iter().chain(then).collect()
}

/// What is applied, each entry with who waits for it.
pub(crate) fn apply(apply: &Apply) -> String {
    let entry = |entry: &quorate_core::types::Entry| {
        let waits = apply.waiting.iter().find(|(index, _)| *index == entry.index);
        let waits = waits.map(|(_, waiter)| format!(" = {}", ticket(*waiter)));
        format!("{}{}", notation::entry(entry), waits.unwrap_or_default())
    };
    apply.entries.iter().map(entry).collect::<Vec<_>>().join(", ")
}

/// Why a request ended.
pub(crate) fn refusal(refusal: Refusal) -> String {
    match refusal {
        Refusal::NotLeader(leader) => format!("not leader, {} is", name(leader)),
        Refusal::NoLeader => "no leader known".to_owned(),
        Refusal::Overloaded => "overloaded".to_owned(),
        Refusal::Unknown => "unknown outcome".to_owned(),
        Refusal::Transferring(to) => format!("leadership goes to {}", name(to)),
        Refusal::Change(why) => why.to_string(),
        Refusal::NoTarget => "nobody to hand leadership to".to_owned(),
        Refusal::TransferFailed => "leadership was not handed over in time".to_owned(),
    }
}

/// A node's state; a leader's followers below it.
pub(crate) fn status(machine: &Machine) -> Vec<String> {
    let start = name(machine.config.id);
    let Some(node) = &machine.node else { return vec![format!("{start} is down")] };
    let status = node.status();
    let leader = match (status.role, status.leader) {
        (RoleKind::Leader, _) if status.settled => ", settled".to_owned(),
        (RoleKind::Follower, Some(leader)) => format!(" of {}", name(leader)),
        (_, _) => String::new(),
    };
    let Status { term, commit, applied, last_index, durable_index, .. } = &status;
    let mut lines = vec![format!(
        "{start} {}{leader}, term {term}, commit {commit}, applied {applied}, last {last_index}, \
         durable {durable_index}",
        status.role.as_str(),
    )];
    for follower in &status.followers {
        let connected = if follower.connected { "" } else { ", disconnected" };
        lines.push(format!(
            "  {} {}, match {}, next {}{connected}",
            name(follower.id),
            follower.state.as_str(),
            follower.match_index,
            follower.next_index,
        ));
    }
    lines
}

/// A machine's term, vote and log: on disk, and on the way there.
pub(crate) fn log(machine: &Machine) -> String {
    let disk = &machine.disk;
    let term = disk.hard_state.term;
    let vote = disk.hard_state.vote.map_or("no vote".to_owned(), |v| format!("vote {}", name(v)));
    let checkpoint = disk.checkpoint.as_ref().map(|checkpoint| checkpoint.position);
    let mut base = match checkpoint {
        Some(position) if position != disk.base => format!("checkpoint of {position}, "),
        None if disk.base.index.0 > 0 => "no checkpoint, ".to_owned(),
        _ => String::new(),
    };
    if disk.base.index.0 > 0 {
        base.push_str(&format!("compacted to {}, ", disk.base));
    }
    let id = name(machine.config.id);
    let text =
        format!("{id} disk   term {term}, {vote}: {base}{}", notation::entries(&disk.entries));
    let memory = machine.log();
    match memory == disk.entries {
        true => text,
        false => format!("{text}\n{id} memory {}", notation::entries(&memory)),
    }
}
