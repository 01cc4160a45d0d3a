//! The commands of a script.
//!
//! | command | what happens |
//! |---|---|
//! | `cluster nodes=3 [option=..]` | new nodes with empty logs, but for the first entry, the membership; options below |
//! | `tick [n1 ..] ms=100` | their clocks run in steps of 10 ms, a `Tick` at each; without names: all |
//! | `pause n1 ms=600` | its clock runs and it is not told: it is absent |
//! | `timeout n1` | its clock runs until it asks for pre-votes |
//! | `elect n1` | its followers-to-be are absent for an election timeout, it times out, all stabilize |
//! | `run ms=1000` | all clocks run; what is sent arrives and what is written syncs within 10 ms |
//! | `propose n1 x y` | these commands, in one input; tickets w1, w2, .. |
//! | `read n1` | a linearizable read; tickets r1, r2, .. |
//! | `deliver [filter] [together] [reverse]` | what is in flight arrives; together: before its receiver acts |
//! | `drop [filter]`, `duplicate [filter]` | what is in flight is lost, or is in flight twice |
//! | `hold [filter]`, `release [filter]` | what is in flight waits aside; comes back behind the rest |
//! | `inject n2 -> n1 MESSAGE` | n1 gets a message as if n2 had sent it; notation.rs has the notation |
//! | `sync [n1] [only=1]` | the disk does what waits, what waited for it leaves, the node hears of it |
//! | `stall n1`, `unstall n1` | its disk hangs for `run`, `stabilize` and `sync` without a name |
//! | `applied n1 [only=1]` | the state machine reports, where `apply=by-hand` |
//! | `crash n1 [keep=1]` | the process ends; of the writes that wait, so many had reached the disk |
//! | `restart n1` | it starts from what its disk holds |
//! | `cut n1 n2`, `cut n1 -> n2`, `isolate n1`, `heal` | links break, both ways or one way; all come back |
//! | `connect n1 n2`, `disconnect n1 n2`, `silence n1 n2` | n1 is told so of its connection to (or from) n2 |
//! | `stepdown n1` | n1 is about to stop |
//! | `join n4` | a new node with an empty disk starts; nobody knows it |
//! | `change n1 add n4 remove n2` | n1 is to change the members so: add, promote, demote, remove; tickets as writes |
//! | `transfer n1 [n2]` | n1 is to hand leadership over; tickets as writes |
//! | `checkpoint n1` | an operator wants a checkpoint; it is durable at `store` |
//! | `send n1 n2` | n1 begins to send a snapshot of its state to n2; anew, if it did already |
//! | `arrive n1 n2` | all of it is there, and n2 accepts or drops it |
//! | `store n1` | the oldest checkpoint or snapshot that waits is durable; n1 hears of a checkpoint |
//! | `install n2` | the snapshot that is durable becomes the state, and n2 hears of it |
//! | `sent n1 n2` | n1 hears that n2 holds the snapshot |
//! | `snapshot n1 n2` | all of it: sent, arrived, stored, installed, and told |
//! | `lose n1` | the checkpoint of a node that is down is lost |
//! | `stabilize [n1 n2 ..]` | messages among them arrive and disks sync until all is quiet |
//! | `status [n1]`, `log [n1]`, `members n1`, `flight` | what is: nodes, disks, a membership, messages |
//!
//! Before a command, `quiet` hides all that happens, `notes` all but the notes.
//!
//! A filter is any of `from=n1 to=n2 kind=AppendEntries only=2` (the first two that match).
//!
//! Options of `cluster`: `term=4`, `heartbeat-ms=`, `election-ms=`, `batch=` (entries),
//! `inflight=` (batches), `uncommitted-bytes=`, `apply-bytes=`, `apply=by-hand`, `trailing=`
//! (entries), `snapshot-entries=`, `snapshot-bytes=`, and for one node `n1.log=2,2,3` (the terms
//! of entries behind the first), `n1.term=4`, `n1.vote=n2`, `n1.base=3` (compacted up to there,
//! behind a checkpoint). An entry weighs 32 bytes and its command's.

use quorate_core::raft::{Input, Node, RoleKind};
use quorate_core::types::{Change, Member, NodeId};

use super::args::Args;
use super::cluster::{Cluster, Packet};
use super::dump;
use super::file::Block;
use super::notation::{kind, members, message, name, parse_message, parse_name};
use super::options::new_cluster;
use super::snapshots;

/// The step in which clocks run, in milliseconds.
const STEP: u64 = 10;

/// Runs a script's commands; every block's output is replaced by what happens.
///
/// # Errors
/// When a command cannot be read or makes no sense where it stands.
pub(crate) fn run(blocks: &[Block]) -> Result<Vec<Block>, String> {
    let mut cluster = Cluster::default();
    let mut done = vec![];
    for block in blocks {
        let commands = block.commands.iter().filter(|l| !l.is_empty() && !l.starts_with('#'));
        for command in commands {
            execute(&mut cluster, command).map_err(|why| {
                format!("{command:?}: {why}; so far:\n{}", cluster.lines.join("\n"))
            })?;
        }
        let mut output = std::mem::take(&mut cluster.lines);
        if output.is_empty() {
            output.push("(nothing)".to_owned());
        }
        done.push(Block { commands: block.commands.clone(), output });
    }
    Ok(done)
}

/// One command, and what of it is shown.
fn execute(cluster: &mut Cluster, line: &str) -> Result<(), String> {
    let shown = cluster.lines.len();
    let (mode, rest) = line.split_once(' ').unwrap_or((line, ""));
    match mode {
        "quiet" => {
            command(cluster, rest)?;
            cluster.lines.truncate(shown);
        }
        "notes" => {
            command(cluster, rest)?;
            let new = cluster.lines.split_off(shown);
            let notes = new.iter().filter(|line| line.contains(" note "));
            cluster.lines.extend(notes.map(|line| line.trim_start().to_owned()));
        }
        _ => command(cluster, line)?,
    }
    Ok(())
}

fn command(cluster: &mut Cluster, line: &str) -> Result<(), String> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    if verb == "inject" {
        return inject(cluster, rest);
    }
    let mut args = Args::of(rest);
    match verb {
        "cluster" => *cluster = new_cluster(&mut args)?,
        "tick" | "pause" | "timeout" | "elect" | "run" => time(cluster, verb, &mut args)?,
        "propose" => {
            let id = args.node()?;
            let commands: Vec<&str> = args.words.drain(..).collect();
            cluster.propose(id, &commands)?;
        }
        "read" => cluster.read(args.node()?)?,
        "deliver" => deliver(cluster, &mut args)?,
        "drop" => drop(take(&mut cluster.flight, &mut args)?),
        "duplicate" => {
            let doubles = take(&mut cluster.flight, &mut args)?;
            cluster.flight.extend(doubles.iter().cloned());
            cluster.flight.extend(doubles);
        }
        "hold" => {
            let aside = take(&mut cluster.flight, &mut args)?;
            cluster.held.extend(aside);
        }
        "release" => {
            let back = take(&mut cluster.held, &mut args)?;
            cluster.flight.extend(back);
        }
        "stabilize" => {
            let ids = args.nodes(cluster)?;
            cluster.stabilize(&ids)?;
        }
        "sync" | "stall" | "unstall" | "applied" | "crash" | "restart" => {
            machine(cluster, verb, &mut args)?;
        }
        "join" => cluster.join(args.node()?)?,
        "checkpoint" | "store" | "install" | "lose" | "send" | "arrive" | "sent" | "snapshot" => {
            snapshots::command(cluster, verb, &mut args)?;
        }
        "change" => change(cluster, &mut args)?,
        "transfer" => {
            let (id, to) = (args.node()?, args.words.pop_front().map(parse_name).transpose()?);
            cluster.transfer(id, to)?;
        }
        "cut" | "isolate" | "heal" => links(cluster, verb, &mut args)?,
        "connect" | "disconnect" | "silence" | "stepdown" => told(cluster, verb, &mut args)?,
        "status" | "log" | "members" | "flight" => show(cluster, verb, &mut args)?,
        _ => return Err("no such command".to_owned()),
    }
    args.end()
}

// ---- time ----

fn time(cluster: &mut Cluster, verb: &str, args: &mut Args<'_>) -> Result<(), String> {
    match verb {
        "tick" => {
            let (ms, ids) = (args.ms()?, args.nodes(cluster)?);
            for _ in 0..ms / STEP {
                ids.iter().try_for_each(|id| cluster.tick(*id, STEP))?;
            }
            Ok(())
        }
        "pause" => {
            let (ms, id) = (args.ms()?, args.node()?);
            cluster.machine(id)?.clock += ms;
            Ok(())
        }
        "timeout" => time_out(cluster, args.node()?),
        "elect" => elect(cluster, args.node()?),
        _ => {
            let ids = cluster.ids();
            for _ in 0..args.ms()? / STEP {
                ids.iter().try_for_each(|id| cluster.tick(*id, STEP))?;
                cluster.stabilize(&ids)?;
            }
            Ok(())
        }
    }
}

fn time_out(cluster: &mut Cluster, id: NodeId) -> Result<(), String> {
    if cluster.node(id)?.status().role == RoleKind::Leader {
        return Err("a leader has no election timeout".to_owned());
    }
    let before = cluster.lines.len();
    for _ in 0..1_000 {
        cluster.tick(id, STEP)?;
        if cluster.lines.len() > before {
            return Ok(());
        }
    }
    Err("its election timeout does not pass".to_owned())
}

fn elect(cluster: &mut Cluster, id: NodeId) -> Result<(), String> {
    let ids = cluster.ids();
    let mut voters = vec![];
    for other in &ids {
        // Who leads now would speak up in the middle of it: it learns of it at the end.
        let leads = |node: &Node| node.status().role == RoleKind::Leader;
        if !cluster.node(*other).is_ok_and(leads) {
            voters.push(*other);
        }
    }
    for other in voters.iter().filter(|other| **other != id) {
        let timeout = cluster.machine(*other)?.config.election_timeout;
        let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        cluster.machine(*other)?.clock += ms;
    }
    time_out(cluster, id)?;
    cluster.stabilize(&voters)?;
    cluster.stabilize(&ids)?;
    match cluster.node(id)?.status().role {
        RoleKind::Leader => Ok(()),
        other => Err(format!("it does not win, it is {}", other.as_str())),
    }
}

// ---- messages ----

fn inject(cluster: &mut Cluster, rest: &str) -> Result<(), String> {
    let (from, rest) = rest.split_once(" -> ").ok_or("from whom -> to whom?")?;
    let (to, text) = rest.split_once(' ').ok_or("which message?")?;
    let (from, to) = (parse_name(from)?, parse_name(to)?);
    cluster.deliver(Packet { from, to, message: parse_message(text.trim())? })
}

/// Takes out what a filter says, in order.
fn take(packets: &mut Vec<Packet>, args: &mut Args<'_>) -> Result<Vec<Packet>, String> {
    let from = args.options.remove("from").map(parse_name).transpose()?;
    let to = args.options.remove("to").map(parse_name).transpose()?;
    let what = args.options.remove("kind");
    let mut left = args.count("only")?.unwrap_or(usize::MAX);
    let (mut taken, mut others) = (vec![], vec![]);
    for packet in packets.drain(..) {
        let matches = from.is_none_or(|from| from == packet.from)
            && to.is_none_or(|to| to == packet.to)
            && what.is_none_or(|what| what == kind(&packet.message));
        if matches && left > 0 {
            left -= 1;
            taken.push(packet);
        } else {
            others.push(packet);
        }
    }
    *packets = others;
    match taken.is_empty() {
        true => Err("no such message".to_owned()),
        false => Ok(taken),
    }
}

fn deliver(cluster: &mut Cluster, args: &mut Args<'_>) -> Result<(), String> {
    let mut packets = take(&mut cluster.flight, args)?;
    if args.flag("reverse") {
        packets.reverse();
    }
    if args.flag("together") {
        return cluster.deliver_together(packets);
    }
    packets.into_iter().try_for_each(|packet| cluster.deliver(packet))
}

fn links(cluster: &mut Cluster, verb: &str, args: &mut Args<'_>) -> Result<(), String> {
    if verb == "heal" {
        cluster.cut.clear();
        return Ok(());
    }
    let a = args.node()?;
    if verb == "isolate" {
        for b in cluster.ids().into_iter().filter(|b| *b != a) {
            cluster.cut.extend([(a, b), (b, a)]);
        }
        return Ok(());
    }
    let one_way = args.flag("->");
    let b = args.node()?;
    cluster.cut.insert((a, b));
    if !one_way {
        cluster.cut.insert((b, a));
    }
    Ok(())
}

fn told(cluster: &mut Cluster, verb: &str, args: &mut Args<'_>) -> Result<(), String> {
    let id = args.node()?;
    let input = match verb {
        "connect" => Input::Connected { peer: args.node()? },
        "disconnect" => Input::Disconnected { peer: args.node()? },
        "silence" => Input::Silenced { peer: args.node()? },
        _ => Input::StepDown,
    };
    cluster.feed(id, [input])
}

/// `add n4 remove n2`, as one change.
fn change(cluster: &mut Cluster, args: &mut Args<'_>) -> Result<(), String> {
    let id = args.node()?;
    let mut changes = vec![];
    while let Some(verb) = args.words.pop_front() {
        let of = args.node()?;
        changes.push(match verb {
            "add" => Change::Add(Member::voter(of, String::new(), String::new())),
            "promote" => Change::Promote(of),
            "demote" => Change::Demote(of),
            "remove" => Change::Remove(of),
            _ => return Err(format!("no such change: {verb}")),
        });
    }
    cluster.change(id, changes)
}

// ---- machines ----

fn machine(cluster: &mut Cluster, verb: &str, args: &mut Args<'_>) -> Result<(), String> {
    if verb == "sync" && args.words.is_empty() {
        for id in cluster.ids() {
            if !cluster.machine(id)?.stalled {
                cluster.sync(id, usize::MAX)?;
            }
        }
        return Ok(());
    }
    let id = args.node()?;
    match verb {
        "sync" => cluster.sync(id, args.count("only")?.unwrap_or(usize::MAX)),
        "applied" => cluster.applied(id, args.count("only")?.unwrap_or(usize::MAX)),
        "crash" => cluster.crash(id, args.count("keep")?.unwrap_or(0)),
        "restart" => cluster.restart(id),
        _ => {
            cluster.machine(id)?.stalled = verb == "stall";
            Ok(())
        }
    }
}

// ---- looking ----

fn show(cluster: &mut Cluster, verb: &str, args: &mut Args<'_>) -> Result<(), String> {
    if verb == "flight" {
        let line = |word: &str, packet: &Packet| {
            let (from, to) = (name(packet.from), name(packet.to));
            format!("{word} {from} -> {to}  {}", message(&packet.message))
        };
        let mut lines: Vec<_> = cluster.flight.iter().map(|p| line("in flight", p)).collect();
        lines.extend(cluster.held.iter().map(|packet| line("held", packet)));
        cluster.lines.extend(lines);
        return Ok(());
    }
    for id in args.nodes(cluster)? {
        let machine = cluster.machine(id)?;
        let lines = match verb {
            "status" => dump::status(machine),
            "log" => dump::log(machine).lines().map(str::to_owned).collect(),
            _ => {
                let members = members(&cluster.node(id)?.status().membership);
                vec![format!("{} members {members}", name(id))]
            }
        };
        cluster.lines.extend(lines);
    }
    Ok(())
}
