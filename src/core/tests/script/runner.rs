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
//! | `stabilize [n1 n2 ..]` | messages among them arrive and disks sync until all is quiet |
//! | `status [n1]`, `log [n1]`, `members n1`, `flight` | what is: nodes, disks, a membership, messages |
//!
//! Before a command, `quiet` hides all that happens, `notes` all but the notes.
//!
//! A filter is any of `from=n1 to=n2 kind=AppendEntries only=2` (the first two that match).
//!
//! Options of `cluster`: `term=4`, `heartbeat-ms=`, `election-ms=`, `batch=` (entries),
//! `inflight=` (batches), `uncommitted-bytes=`, `apply-bytes=`, `apply=by-hand`, and for one
//! node `n1.log=2,2,3` (the terms of entries behind the first), `n1.term=4`, `n1.vote=n2`,
//! `n1.base=3` (compacted up to there). An entry weighs 32 bytes and its command's.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use quorate_core::raft::{Boot, Config, Input, Node, RoleKind};
use quorate_core::types::{Change, HardState, Index, Member, NodeId, Term};

use super::cluster::{Cluster, Packet};
use super::dump;
use super::file::Block;
use super::machine::{Disk, Machine};
use super::notation::{
    kind, members, membership, message, name, old_entry, parse_message, parse_name, parse_number,
};

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

/// The words behind a command: names and the like, and `key=value`.
struct Args<'a> {
    words: VecDeque<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Args<'a> {
    fn of(rest: &'a str) -> Self {
        let (options, words): (Vec<_>, Vec<_>) =
            rest.split_whitespace().partition(|word| word.contains('='));
        let options = options.into_iter().filter_map(|word| word.split_once('='));
        Self { words: words.into(), options: options.collect() }
    }

    fn node(&mut self) -> Result<NodeId, String> {
        parse_name(self.words.pop_front().ok_or("which node?")?)
    }

    /// The nodes named, or all when none is.
    fn nodes(&mut self, cluster: &Cluster) -> Result<Vec<NodeId>, String> {
        let named: Result<Vec<_>, _> = self.words.drain(..).map(parse_name).collect();
        let named = named?;
        Ok(if named.is_empty() { cluster.ids() } else { named })
    }

    fn flag(&mut self, word: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|w| *w != word);
        self.words.len() < before
    }

    fn number(&mut self, key: &str) -> Result<Option<u64>, String> {
        self.options.remove(key).map(parse_number).transpose()
    }

    fn count(&mut self, key: &str) -> Result<Option<usize>, String> {
        Ok(self.number(key)?.map(|n| usize::try_from(n).unwrap_or(usize::MAX)))
    }

    fn ms(&mut self) -> Result<u64, String> {
        self.number("ms")?.ok_or_else(|| "how many ms=?".to_owned())
    }

    /// Nothing may be left: a word that is not understood is a mistake.
    fn end(&self) -> Result<(), String> {
        match self.words.is_empty() && self.options.is_empty() {
            true => Ok(()),
            false => Err(format!("what is {:?} {:?}?", self.words, self.options)),
        }
    }
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
        "snapshot" => cluster.snapshot(args.node()?, args.node()?)?,
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

// ---- the cluster ----

fn new_cluster(args: &mut Args<'_>) -> Result<Cluster, String> {
    let size = args.number("nodes")?.unwrap_or(3);
    let mut cluster = Cluster::default();
    cluster.applies_at_once = match args.options.remove("apply") {
        None => true,
        Some("by-hand") => false,
        Some(other) => return Err(format!("apply={other}")),
    };
    let mut settings = Config::new(NodeId(0), 0);
    tune(&mut settings, args)?;
    let common_term = args.number("term")?;
    let mut disks: Vec<(NodeId, Disk, Option<u64>)> = vec![];
    for id in (1..=size).map(NodeId) {
        let term = args.number(&format!("{}.term", name(id)))?;
        disks.push((id, new_disk(id, size, args)?, term));
    }
    // A term's entries mean that a quorum knows of the term.
    let newest = disks.iter().filter_map(|(_, disk, _)| disk.entries.last()).map(|e| e.term.0);
    let newest = newest.max().unwrap_or(1);
    for (id, mut disk, term) in disks {
        disk.hard_state.term = Term(term.or(common_term).unwrap_or(newest));
        let config = Config { id, seed: id.0, ..settings.clone() };
        cluster.machines.insert(id, Machine::new(config, disk));
        cluster.restart(id)?;
    }
    Ok(cluster)
}

fn tune(config: &mut Config, args: &mut Args<'_>) -> Result<(), String> {
    if let Some(ms) = args.number("heartbeat-ms")? {
        config.heartbeat = Duration::from_millis(ms);
    }
    if let Some(ms) = args.number("election-ms")? {
        config.election_timeout = Duration::from_millis(ms);
    }
    for (key, setting) in [
        ("batch", &mut config.batch_entries),
        ("inflight", &mut config.inflight_batches),
        ("uncommitted-bytes", &mut config.uncommitted_bytes),
        ("apply-bytes", &mut config.apply_bytes),
    ] {
        *setting = args.count(key)?.unwrap_or(*setting);
    }
    Ok(())
}

fn new_disk(id: NodeId, size: u64, args: &mut Args<'_>) -> Result<Disk, String> {
    let members = membership((1..=size).map(NodeId));
    let Boot { mut entries, .. } = Boot::first(members.clone());
    let terms = args.options.remove(format!("{}.log", name(id)).as_str()).unwrap_or("");
    for (index, term) in (2..).zip(terms.split(',').filter(|term| !term.is_empty())) {
        entries.push(old_entry(Index(index), Term(parse_number(term)?)));
    }
    let vote = args.options.remove(format!("{}.vote", name(id)).as_str());
    let vote = vote.map(parse_name).transpose()?;
    let base = args.count(&format!("{}.base", name(id)))?.unwrap_or(0);
    let behind = entries.split_off(base.min(entries.len()));
    let compacted = entries.last();
    Ok(Disk {
        hard_state: HardState { term: Term(0), vote },
        base: compacted.map(quorate_core::types::Entry::position).unwrap_or_default(),
        base_membership: compacted.map(|_| members),
        entries: behind,
    })
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
