//! The end of a run: what can heal heals, and then the cluster must be well: one leader, equal
//! members, everyone answered, fresh writes and reads, and nothing lost of what was acknowledged.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_core::client::Outcome;
use quorate_core::raft::{ProgressState, Status};
use quorate_core::types::{Index, MemberRole, Membership, NodeId};
use quorate_core::wire::client::{Get, Op, Put};

use super::World;
use super::clients::Client;
use crate::chance::Chance;
use crate::coverage::Sometimes;
use crate::history::{Operation, wgl, witness};
use crate::known::is_quorum;
use crate::oracle::Execution;
use crate::plan::{Ending, Power};

/// The client that looks at the cluster in the end.
const PROBE: u64 = 1_000_000;

/// A time that no run reaches.
const FOR_GOOD: u64 = u64::MAX / 4;

/// The steps of the search on one key's history before it gives up, which counts as failure.
const SEARCH_STEPS: u64 = 2_000_000;

impl World {
    /// Heals, waits, probes, checks.
    pub(super) fn end(&mut self) {
        if self.watch.violation.is_some() {
            return;
        }
        let core = self.heal();
        self.settle(&core);
        self.probe(&core);
        self.silent = true;
        self.settle(&core);
        // Requests that came in late are answered late. Whoever never is, I14 names.
        let end = self.now + self.patience();
        self.until(end, |world| world.nobody_waits(&core) && world.is_still(&core));
        self.finish(&core);
    }

    /// The longest that a healthy cluster may take to be well again.
    fn patience(&self) -> u64 {
        let knobs = &self.plan.knobs;
        let slowest = self.plan.clock_rates.iter().min().copied().unwrap_or(1_000_000).max(1);
        let network = &self.plan.network;
        let disks = &self.plan.disks;
        let trip = network.delay_us + 4 * network.jitter_us;
        let sync =
            (disks.sync_us + 4 * disks.jitter_us) * if disks.slow_millionths > 0 { 20 } else { 1 };
        let step = 2 * trip + 2 * sync + 2 * knobs.drain_us + knobs.apply_us + 1_000;
        let elections = 40 * knobs.election_timeout_ms * 1_000 * 1_000_000 / slowest;
        // Tiny batches carry one entry in a round.
        let log = self.watch.known().committed.last().index.0 + 100;
        let entries = if knobs.batch_entries <= 3 || knobs.batch_bytes <= 1_000 { log } else { 64 };
        let applies = if knobs.apply_bytes <= 2_000 { log } else { 64 };
        let deadline = self.plan.workload.deadline_ms.max(10_000) * 1_000;
        5_000_000 + elections + (entries + applies) * step + 2 * deadline
    }

    /// The nodes that are to be well: all that are not lost, or a random quorum of them, by whichever
    /// members are in effect or come to be.
    fn choose_core(&self, chance: &mut Chance) -> Vec<NodeId> {
        let there = self.machines.values().filter(|machine| !machine.gone && !machine.absent);
        let mut core: Vec<NodeId> = there.map(|machine| machine.id).collect();
        // Who lacks the state cannot lead, so all that could are needed.
        let lacks = self.machines.values().any(super::machine::Machine::lacks_state);
        if lacks || self.plan.ending == Ending::All {
            return core;
        }
        let memberships = self.memberships();
        loop {
            // Learners that are heard may be promoted, together or one by one.
            let learns = |id: NodeId| memberships.iter().any(|members| learns(members, id));
            let without = |id: NodeId| {
                if learns(id) {
                    return false;
                }
                memberships
                    .iter()
                    .all(|members| is_quorum(members, |it| it != id && core.contains(&it)))
            };
            let spare: Vec<NodeId> = core.iter().copied().filter(|id| without(*id)).collect();
            if spare.is_empty() {
                return core;
            }
            let place = usize::try_from(chance.below(spare.len() as u64)).unwrap_or(0);
            let goes = spare.get(place).copied();
            core.retain(|id| Some(*id) != goes);
        }
    }

    fn heal(&mut self) -> Vec<NodeId> {
        // What is damaged shows at the next start; that start comes now.
        let rotten: Vec<NodeId> = self
            .machines
            .values()
            .filter(|machine| machine.rotten)
            .map(|machine| machine.id)
            .collect();
        rotten.into_iter().for_each(|id| self.start(id));
        self.calm = true;
        self.network.calm = true;
        self.network.storm = (0, 0);
        let mut chance = Chance::stream(self.plan.seed, "ending", 0, 0);
        let core = self.choose_core(&mut chance);
        let now = self.now;
        if let Some(story) = &mut self.watch.story {
            let names: Vec<String> = core.iter().map(|id| format!("n{id}")).collect();
            story.tell(now, format!("== heals: {}", names.join(", ")));
        }
        for id in self.ids() {
            self.free_disk(id);
            let machine = self.machine_mut(id);
            machine.paused_until = machine.paused_until.min(now);
            machine.stalled_until = machine.stalled_until.min(now);
            (machine.slow, machine.armed) = (1, None);
        }
        self.mend(&core, &mut chance);
        for id in &core {
            self.start(*id);
            // Faults of the disk that have not struck would strike later.
            let knobs = self.plan.knobs.clone();
            self.machine_mut(*id)
                .set_disk_faults(&knobs, quorate_core::fs::memory::Faults::default());
        }
        core
    }

    /// Links within the core work. The others end, or are cut, or are cut one way, or their disks
    /// hang for ever.
    fn mend(&mut self, core: &[NodeId], chance: &mut Chance) {
        let mut open = Vec::new();
        let ids = self.ids();
        let manner: Vec<(NodeId, u64)> = ids.iter().map(|id| (*id, chance.below(5))).collect();
        for (id, manner) in &manner {
            match manner {
                _ if core.contains(id) => {}
                0 => self.crash(*id, Power::Synced, FOR_GOOD),
                3 => self.machine_mut(*id).stalled_until = FOR_GOOD,
                _ => {}
            }
        }
        for (from, out) in &manner {
            for (to, into) in manner.iter().filter(|(to, _)| to != from) {
                let inside = core.contains(from) && core.contains(to);
                // 1: heard but hears nobody, 2: hears but is not heard, 3: both, others: neither.
                let speaks = core.contains(to) && [1, 3].contains(out) && !core.contains(from);
                let listens = core.contains(from) && [2, 3].contains(into) && !core.contains(to);
                let cuts = u64::from(!(inside || speaks || listens));
                if let Some(link) = self.network.link(*from, *to) {
                    (link.cuts, link.clogs) = (cuts, 0);
                }
                open.push((*from, *to));
            }
        }
        for (from, to) in open {
            self.release_link(from, to);
        }
    }

    /// The settled leader whom every member in the core follows, once no change of the members is
    /// under way. It may be a node whose disk hangs, as long as there is nothing to write.
    fn common_leader(&self, core: &[NodeId]) -> Option<(&Status, Vec<NodeId>)> {
        let leader = self.machines.values().filter_map(super::machine::Machine::status);
        let leader = leader.filter(|status| status.settled).max_by_key(|status| status.term)?;
        let members = &leader.membership;
        let changes = members.is_joint() || !leader.membership_committed;
        let changes = changes || !members.votes(leader.id);
        let well = core.iter().copied().filter(|id| members.member(*id).is_some());
        let well: Vec<NodeId> = well.collect();
        let follows = |id: &NodeId| {
            let status = self.machine(*id).status();
            status.is_some_and(|s| s.term == leader.term && s.leader == Some(leader.id))
        };
        (!changes && well.iter().all(follows)).then_some((leader, well))
    }

    /// Whether every member in the core follows one leader and has applied the log up to there, and
    /// no call is open.
    fn is_settled(&self, core: &[NodeId], up_to: Index) -> bool {
        let Some((_, well)) = self.common_leader(core) else { return false };
        let applied = |id: &NodeId| self.machine(*id).status().map(|status| status.applied);
        let level = well.iter().all(|id| applied(id).is_some_and(|applied| applied >= up_to));
        level && self.clients.values().all(|client| client.open.is_empty())
    }

    /// Whether, in addition, nothing is under way and all logs end at one place.
    fn is_still(&self, core: &[NodeId]) -> bool {
        let Some((leader, well)) = self.common_leader(core) else { return false };
        let ends = |id: &NodeId| self.machine(*id).status().map(|status| status.last_index);
        let last = leader.last_index;
        let quiet = well.iter().all(|id| self.machine(*id).is_quiet() && ends(id) == Some(last));
        quiet && self.is_settled(core, last)
    }

    fn nobody_waits(&self, core: &[NodeId]) -> bool {
        core.iter().all(|id| {
            self.machine(*id).process.as_ref().is_none_or(|process| process.tickets.is_empty())
        })
    }

    /// Waits until all is well: first for one leader, then for everyone to reach what his log
    /// held then. Once clients are silent: for the log to stand still.
    fn settle(&mut self, core: &[NodeId]) {
        let end = self.now + self.patience();
        let settled = if self.silent {
            self.until(end, |world| world.is_still(core))
        } else {
            self.until(end, |world| world.common_leader(core).is_some());
            let up_to = self.common_leader(core).map(|(leader, _)| leader.last_index);
            self.until(end, |world| up_to.is_some_and(|up_to| world.is_settled(core, up_to)))
        };
        if settled || self.watch.violation.is_some() {
            return;
        }
        let states = core.iter().map(|id| match self.machine(*id).status() {
            Some(status) => format!(
                "n{id} {} of term {}, leader {:?}, commit {}, applied {}, last {}, {}{}",
                status.role.as_str(),
                status.term,
                status.leader.map(|id| id.0),
                status.commit,
                status.applied,
                status.last_index,
                crate::story::members_words(&status.membership),
                self.machine(*id)
                    .under_way()
                    .iter()
                    .map(|what| format!(", {what}"))
                    .collect::<String>()
            ),
            None => format!("n{id} down"),
        });
        let states: Vec<String> = states.collect();
        let open: usize = self.clients.values().map(|client| client.open.len()).sum();
        let text = format!(
            "{} ms after all had healed there is not one leader with equal members and everyone \
             answered: {}; {open} calls open",
            self.patience() / 1_000,
            states.join("; ")
        );
        self.watch.violated("L1", text);
    }

    /// Fresh writes and reads by a client of its own, one after the other, and a read of every
    /// key that was used.
    fn probe(&mut self, core: &[NodeId]) {
        let mut keys: Vec<Bytes> =
            self.history.iter().filter_map(|operation| operation.op.key().cloned()).collect();
        keys.sort();
        keys.dedup();
        let well = self.common_leader(core).map_or_else(|| core.to_vec(), |(_, well)| well);
        let endpoints = well.iter().map(|id| format!("n{id}")).collect();
        self.add_client_of(PROBE, endpoints, Chance::stream(self.plan.seed, "probe", 0, 0));
        if let Some(client) = self.clients.get_mut(&PROBE) {
            client.done = true;
        }
        for number in 0..10 {
            let key = Bytes::from(format!("probe{number}"));
            let value = key.clone();
            let put = Put { key: key.clone(), value, lease: 0, return_previous: false };
            self.ask(&Op::Put(put));
            self.ask(&Op::Get(Get { key, ..Get::default() }));
        }
        for key in keys {
            self.ask(&Op::Get(Get { key, ..Get::default() }));
        }
        if self.watch.violation.is_none() {
            let all = self.machines.values().all(|it| it.absent || core.contains(&it.id));
            let what = if all { Sometimes::WholeAgain } else { Sometimes::QuorumServedAlone };
            self.watch.sometimes(what);
        }
    }

    /// One call, which must succeed. Where sessions live shorter than a slow disk takes, one may
    /// expire under it: then it is repeated.
    fn ask(&mut self, op: &Op) {
        let patience = self.patience();
        let mut outcome = None;
        for _ in 0..10 {
            if self.watch.violation.is_some() {
                return;
            }
            if let Some(client) = self.clients.get_mut(&PROBE) {
                client.newest = None;
            }
            self.submit(PROBE, op.clone(), patience / 1_000);
            let ended = |world: &Self| {
                world.clients.get(&PROBE).is_some_and(|client| client.newest.is_some())
            };
            self.until(self.now + patience + 1_000_000, ended);
            outcome = self.clients.get(&PROBE).and_then(|client| client.newest.clone());
            let expired = matches!(&outcome, Some(Outcome::Unknown { reason, .. })
                if reason.contains("session has expired"));
            if !expired {
                break;
            }
        }
        if !matches!(outcome, Some(Outcome::Done(_))) {
            let words = crate::story::op_words(op);
            self.watch.violated("L2", format!("after all had healed, `{words}` gives {outcome:?}"));
        }
    }

    /// The last checks: hashes made anew, and both checkers of histories.
    fn finish(&mut self, core: &[NodeId]) {
        if self.watch.violation.is_some() {
            return;
        }
        for id in core {
            let Some(process) = &self.machine(*id).process else { continue };
            if process.state.hash() != process.state.recompute_hash() {
                let text = format!("node {id}: the kept hash is not that of its state");
                self.watch.violated("I10", text);
            }
        }
        self.check_logs(core);
        self.watch.tally.committed = self.watch.known().committed.last().index.0;
        self.watch.end(core);
        self.check_history();
    }

    /// Logs do not grow: each holds about what was appended since two checkpoints ago, and the tail
    /// that is kept. After a checkpoint that took long the next one may wait for four times as much,
    /// and what follows a snapshot on its way is kept.
    fn check_logs(&mut self, core: &[NodeId]) {
        let upkeep = self.plan.upkeep.clone();
        for id in core {
            let Some(status) = self.machine(*id).status() else { continue };
            let kept = status.last_index.0 + 1 - status.first_index.0;
            let most = 5 * upkeep.snapshot_entries + upkeep.trailing_entries + 300;
            let serves = status.followers.iter().any(|f| f.state == ProgressState::Snapshot);
            if kept > most && !serves {
                let text = format!("node {id} keeps {kept} entries; {most} would do");
                self.watch.violated("L3", text);
            }
        }
    }

    fn check_history(&mut self) {
        let log = self.watch.known().oracle.logged_writes();
        match witness::check_with_log(&self.history, &log) {
            Err(violation) => return self.watch.violated("H1", violation.to_string()),
            Ok(witnessed) => self.cover_unknown(&witnessed),
        }
        match wgl::check_or_guess(&self.with_what_the_log_knows(), SEARCH_STEPS) {
            wgl::Verdict::Linearizable => {}
            wgl::Verdict::Violation(example) => {
                self.watch.violated("H2", example.to_string());
            }
            verdict @ wgl::Verdict::Unknown { .. } => {
                self.watch.violated("H2", format!("undecided: {verdict:?}"));
            }
        }
    }

    /// The history for the search. A write whose fate its client does not know is left out where
    /// no log has it, and else ends when it was first applied, with what it gave: each that were
    /// left open would double the search.
    fn with_what_the_log_knows(&self) -> Vec<Operation> {
        let known = self.watch.known();
        let fresh = known.oracle.executions().iter().filter(|done| done.fresh);
        let call_of = |done: &&Execution| {
            let posted = |client: &Client| client.posted.get(&(done.session, done.id)).copied();
            self.clients.values().find_map(posted)
        };
        let executed: BTreeMap<u64, &Execution> =
            fresh.filter_map(|done| Some((call_of(&done)?, done))).collect();
        let resolve = |(call, operation): (u64, &Operation)| {
            if !matches!(operation.outcome, None | Some(Outcome::Unknown { .. })) {
                return Some(operation.clone());
            }
            let done = executed.get(&call)?;
            let place = usize::try_from(done.index - 1).ok()?;
            let outcome = done.result.clone()?.ok().map(Outcome::Done)?;
            let ended = self.executed_at.get(place).copied();
            Some(Operation { outcome: Some(outcome), ended, ..operation.clone() })
        };
        (0..).zip(&self.history).filter_map(resolve).collect()
    }

    fn cover_unknown(&mut self, witnessed: &witness::Witnessed) {
        if witnessed.unknown_applied > 0 {
            self.watch.sometimes(Sometimes::UnknownHappened);
        }
        if witnessed.unknown > witnessed.unknown_applied {
            self.watch.sometimes(Sometimes::UnknownDidNotHappen);
        }
    }
}

fn learns(members: &Membership, id: NodeId) -> bool {
    members.member(id).is_some_and(|member| member.role == MemberRole::Learner)
}
