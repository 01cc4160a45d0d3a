//! The end of a run: what can heal heals, and then the cluster must be well: one leader, equal
//! members, everyone answered, fresh writes and reads, and nothing lost of what was acknowledged.

use bytes::Bytes;
use quorate_core::client::Outcome;
use quorate_core::types::NodeId;
use quorate_core::wire::client::{Get, Op, Put};

use super::World;
use crate::chance::Chance;
use crate::coverage::Sometimes;
use crate::facts::Fact;
use crate::history::{wgl, witness};
use crate::plan::{Ending, Power};

/// The client that looks at the cluster in the end.
const PROBE: u64 = 1_000_000;

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
        self.settle(&core);
        self.finish(&core);
    }

    /// The longest that a healthy cluster may take to be well again.
    fn patience(&self) -> u64 {
        let knobs = &self.plan.knobs;
        let slowest = self.plan.clock_rates.iter().min().copied().unwrap_or(1_000_000).max(1);
        let network = &self.plan.network;
        let disks = &self.plan.disks;
        let trip = network.delay_us + 4 * network.jitter_us;
        let sync = (disks.sync_us + 4 * disks.jitter_us) * if disks.slow_millionths > 0 { 20 } else { 1 };
        let step = 2 * trip + 2 * sync + 2 * knobs.drain_us + knobs.apply_us + 1_000;
        let elections = 40 * knobs.election_timeout_ms * 1_000 * 1_000_000 / slowest;
        // Tiny batches carry one entry in a round.
        let log = self.watch.known().committed.last().index.0 + 100;
        let entries = if knobs.batch_entries <= 3 || knobs.batch_bytes <= 1_000 { log } else { 64 };
        let applies = if knobs.apply_bytes <= 2_000 { log } else { 64 };
        let deadline = self.plan.workload.deadline_ms.max(10_000) * 1_000;
        5_000_000 + elections + (entries + applies) * step + 2 * deadline
    }

    /// The nodes that are to be well: all that are not lost, or a random quorum of them.
    fn choose_core(&self, chance: &mut Chance) -> Vec<NodeId> {
        let mut core: Vec<NodeId> =
            self.machines.values().filter(|machine| !machine.gone).map(|machine| machine.id).collect();
        let quorum = self.watch.known().quorum();
        while self.plan.ending == Ending::Quorum && core.len() > quorum {
            let place = usize::try_from(chance.below(core.len() as u64)).unwrap_or(0);
            core.remove(place);
        }
        core
    }

    fn heal(&mut self) -> Vec<NodeId> {
        // What is damaged shows at the next start; that start comes now.
        let rotten: Vec<NodeId> =
            self.machines.values().filter(|machine| machine.rotten).map(|machine| machine.id).collect();
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
            self.machine_mut(*id).set_disk_faults(&knobs, quorate_core::fs::memory::Faults::default());
        }
        core
    }

    /// Links within the core work. The others end, or are cut, or are cut one way.
    fn mend(&mut self, core: &[NodeId], chance: &mut Chance) {
        let mut open = Vec::new();
        let ids = self.ids();
        let manner: Vec<(NodeId, u64)> = ids.iter().map(|id| (*id, chance.below(4))).collect();
        for (id, manner) in &manner {
            if !core.contains(id) && *manner == 0 {
                self.crash(*id, Power::Synced, u64::MAX / 2);
            }
        }
        for (from, out) in &manner {
            for (to, into) in manner.iter().filter(|(to, _)| to != from) {
                let inside = core.contains(from) && core.contains(to);
                // 1: heard but hears nobody, 2: hears but is not heard, others: neither.
                let speaks = core.contains(to) && *out == 1 && !core.contains(from);
                let listens = core.contains(from) && *into == 2 && !core.contains(to);
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

    /// Whether there is one leader, everyone in the core has applied the same, and no call is
    /// open.
    fn is_settled(&self, core: &[NodeId]) -> bool {
        let statuses: Vec<_> = core.iter().filter_map(|id| self.machine(*id).status()).collect();
        let Some(leader) = statuses.iter().find(|status| status.settled) else { return false };
        let equal = statuses.iter().all(|status| {
            status.term == leader.term
                && status.leader == Some(leader.id)
                && status.applied == leader.last_index
                && status.commit == leader.last_index
                && status.last_index == leader.last_index
        });
        let idle = self.clients.values().all(|client| client.open.is_empty());
        statuses.len() == core.len() && equal && idle
    }

    fn settle(&mut self, core: &[NodeId]) {
        let end = self.now + self.patience();
        let settled = self.until(end, |world| world.is_settled(core));
        if settled || self.watch.violation.is_some() {
            return;
        }
        let states = core.iter().map(|id| match self.machine(*id).status() {
            Some(status) => format!(
                "n{id} {} of term {}, leader {:?}, commit {}, applied {}, last {}",
                status.role.as_str(),
                status.term,
                status.leader.map(|id| id.0),
                status.commit,
                status.applied,
                status.last_index
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
        let endpoints = core.iter().map(|id| format!("n{id}")).collect();
        self.add_client_of(PROBE, endpoints, Chance::stream(self.plan.seed, "probe", 0, 0));
        if let Some(client) = self.clients.get_mut(&PROBE) {
            client.done = true;
        }
        for number in 0..10 {
            let key = Bytes::from(format!("probe{number}"));
            let value = key.clone();
            let put = Put { key: key.clone(), value, lease: 0, return_previous: false };
            self.ask(Op::Put(put));
            self.ask(Op::Get(Get { key, ..Get::default() }));
        }
        for key in keys {
            self.ask(Op::Get(Get { key, ..Get::default() }));
        }
        if self.watch.violation.is_none() {
            let all = core.len() == self.machines.len();
            let what = if all { Sometimes::WholeAgain } else { Sometimes::QuorumServedAlone };
            self.watch.sometimes(what);
        }
    }

    fn ask(&mut self, op: Op) {
        if self.watch.violation.is_some() {
            return;
        }
        let patience = self.patience();
        let words = crate::story::op_words(&op);
        if let Some(client) = self.clients.get_mut(&PROBE) {
            client.newest = None;
        }
        self.submit(PROBE, op, patience / 1_000);
        let done = |world: &Self| {
            world.clients.get(&PROBE).is_some_and(|client| client.newest.is_some())
        };
        self.until(self.now + patience + 1_000_000, done);
        let outcome = self.clients.get(&PROBE).and_then(|client| client.newest.clone());
        if !matches!(outcome, Some(Outcome::Done(_))) && self.watch.violation.is_none() {
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
        self.watch.tally.committed = self.watch.known().committed.last().index.0;
        self.watch.tell(self.now, &Fact::Ended);
        self.check_history();
    }

    fn check_history(&mut self) {
        match witness::check(&self.history) {
            Err(violation) => return self.watch.violated("H1", violation.to_string()),
            Ok(witnessed) => self.cover_unknown(&witnessed),
        }
        match wgl::check(&self.history, SEARCH_STEPS) {
            wgl::Verdict::Linearizable => {}
            wgl::Verdict::Violation(example) => {
                self.watch.violated("H2", example.to_string());
            }
            verdict @ wgl::Verdict::Unknown { .. } => {
                self.watch.violated("H2", format!("undecided: {verdict:?}"));
            }
        }
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
