//! Carries out a plan: begins each fault when its time has come, ends it when it is over, and
//! watches that no node ends for another reason than what was done to it.
//!
//! Faults overlap as the plan has it, with two exceptions: a node's process and disk suffer one
//! at a time, and as long as one would leave less than a quorum of nodes it waits. Links, clocks
//! and clients know no such limit, so that a quorum is lost now and then all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_core::raft::Random;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::cluster::{Cluster, ask, flip};
use crate::plan::{Any, Plan};
use crate::proxy::{Rules, Way};

mod begin;
mod links;

/// A node that is to end by itself has done so by then.
const EXIT_TIME: Duration = Duration::from_secs(30);

/// A fault that cannot happen now is tried again after this.
const PUT_OFF: Duration = Duration::from_millis(100);

/// How long a node that ended by itself stays down.
const DOWN: Duration = Duration::from_millis(300);

/// How long a slow node runs or stands still at a time.
const SLICE: Duration = Duration::from_millis(20);

/// Codes of a node whose disk fails or is full.
const DISK_CODES: [i32; 2] = [74, 75];

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Happened {
    /// How many faults of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// What should not have happened.
    pub failures: Vec<String>,
}

impl Happened {
    /// How many faults there were.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.kinds.values().sum()
    }
}

/// Something to do at a time.
#[derive(Debug)]
enum Step {
    Begin(Any),
    Kill(u64),
    Start(u64),
    Resume(u64),
    /// A slow node stands still, or goes on.
    Slice {
        node: u64,
        factor: u64,
        until: Instant,
    },
    /// The disk is as it was.
    HealDisk(u64),
    /// A link's fault is over.
    EndLinks(u64),
    /// A node may suffer the next fault.
    Free(u64),
}

/// A node that must end by itself.
#[derive(Debug)]
struct Awaited {
    code: i32,
    by: Instant,
    undo: Undo,
}

/// What makes a node whole again.
#[derive(Clone, Debug)]
enum Undo {
    /// Nothing was done to it; it starts after so many milliseconds.
    Start(u64),
    PutBack(PathBuf),
    Flip(PathBuf, usize),
    Swap(u64),
}

/// Carries out a plan.
#[derive(Debug)]
pub struct Nemesis<'a> {
    cluster: &'a mut Cluster,
    random: Random,
    steps: BTreeMap<(Instant, u64), Step>,
    next: u64,
    /// Faults of links that go on.
    links: BTreeMap<u64, Vec<(Way, Rules)>>,
    /// Nodes whose process or disk suffers.
    busy: BTreeSet<u64>,
    awaited: BTreeMap<u64, Awaited>,
    /// Failures of a node's disk that its ends have been excused with.
    excused: BTreeMap<u64, i64>,
    happened: Happened,
    leader: Arc<AtomicU64>,
    watcher: JoinHandle<()>,
}

impl<'a> Nemesis<'a> {
    /// A nemesis of a cluster with proxies and disk faults.
    #[must_use]
    pub fn new(cluster: &'a mut Cluster, seed: u64) -> Self {
        let leader = Arc::new(AtomicU64::new(1));
        let addresses = cluster.addresses.values().cloned().collect();
        let watcher = tokio::spawn(watch_leader(addresses, Arc::clone(&leader)));
        Self {
            cluster,
            random: Random::new(seed),
            steps: BTreeMap::new(),
            next: 0,
            links: BTreeMap::new(),
            busy: BTreeSet::new(),
            awaited: BTreeMap::new(),
            excused: BTreeMap::new(),
            happened: Happened::default(),
            leader,
            watcher,
        }
    }

    /// Carries out a plan from now on, then heals everything and starts every node.
    pub async fn run(mut self, plan: &Plan) -> Happened {
        let started = Instant::now();
        for (at_ms, fault) in plan.in_order() {
            self.at(started + Duration::from_millis(at_ms), Step::Begin(fault));
        }
        while let Some(((at, _), _)) = self.steps.first_key_value() {
            let now = Instant::now();
            if *at > now {
                let at = *at;
                sleep_until(at.min(now + SLICE)).await;
            } else if let Some((_, step)) = self.steps.pop_first() {
                self.take(step);
            }
            self.reap();
        }
        self.settle().await
    }

    /// Everything heals, and every node runs in the end.
    async fn settle(mut self) -> Happened {
        self.links.clear();
        self.cluster.net().heal();
        for id in self.cluster.ids() {
            self.cluster.disk(id).heal();
        }
        while !self.awaited.is_empty() || !self.steps.is_empty() || self.is_any_down() {
            self.reap();
            if let Some(entry) = self.steps.first_entry()
                && entry.key().0 <= Instant::now()
            {
                let step = entry.remove();
                self.take(step);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.watcher.abort();
        self.happened
    }

    fn is_any_down(&mut self) -> bool {
        let ids = self.cluster.ids();
        ids.into_iter().any(|id| !self.cluster.is_started(id))
    }

    fn at(&mut self, at: Instant, step: Step) {
        self.next += 1;
        self.steps.insert((at, self.next), step);
    }

    fn after(&mut self, time: Duration, step: Step) {
        self.at(Instant::now() + time, step);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Begin(fault) => {
                let kind = fault.kind();
                match self.begin(&fault) {
                    Some(()) => *self.happened.kinds.entry(kind).or_default() += 1,
                    None => self.after(PUT_OFF, Step::Begin(fault)),
                }
            }
            Step::Kill(node) => self.cluster.kill(node),
            Step::Start(node) => {
                if !self.cluster.is_started(node) {
                    self.cluster.start_node(node);
                }
            }
            Step::Resume(node) if self.cluster.is_running(node) => self.cluster.resume(node),
            Step::Resume(_) => {}
            Step::Slice { node, factor, until } => self.slice(node, factor, until),
            Step::HealDisk(node) => {
                let disk = self.cluster.disk(node);
                disk.stall(false);
                disk.delay_us(0);
                disk.space(None);
            }
            Step::EndLinks(number) => {
                self.links.remove(&number);
                self.apply_links();
            }
            Step::Free(node) => {
                self.busy.remove(&node);
            }
        }
    }

    /// A slow node runs one slice of `factor`.
    fn slice(&mut self, node: u64, factor: u64, until: Instant) {
        if !self.cluster.is_running(node) {
            return;
        }
        self.cluster.resume(node);
        if Instant::now() >= until {
            return;
        }
        // It runs until the next slice begins, which stands still first.
        let stand = SLICE.mul_f64(1.0 - 1.0 / f64::from(u32::try_from(factor).unwrap_or(1).max(1)));
        self.cluster.pause(node);
        self.after(stand, Step::Resume(node));
        self.after(SLICE, Step::Slice { node, factor, until });
    }

    /// Finds nodes that have ended by themselves, and judges why.
    fn reap(&mut self) {
        for id in self.cluster.ids() {
            if let Some(code) = self.cluster.ended(id) {
                self.judge_end(id, code);
            } else if let Some(awaited) = self.awaited.get(&id)
                && Instant::now() > awaited.by
            {
                let sentence = format!("node {id} should have ended with {}", awaited.code);
                self.happened.failures.push(sentence);
                self.cluster.kill(id);
                self.undo(id);
            }
        }
    }

    fn judge_end(&mut self, id: u64, code: i32) {
        if let Some(awaited) = self.awaited.get(&id) {
            if awaited.code != code {
                let lines = self.cluster.last_lines(id, 5);
                let wanted = awaited.code;
                let sentence =
                    format!("node {id} ended with {code} instead of {wanted}; it said:\n{lines}");
                self.happened.failures.push(sentence);
            }
            return self.undo(id);
        }
        let done = self.cluster.disk(id).done();
        let failed = done.syncs_failed + done.writes_failed + done.writes_full;
        let excused = self.excused.insert(id, failed).unwrap_or(0);
        if failed == excused || !DISK_CODES.contains(&code) {
            let lines = self.cluster.last_lines(id, 8);
            let sentence = format!("node {id} ended with {code} for no reason; it said:\n{lines}");
            self.happened.failures.push(sentence);
        }
        self.after(DOWN, Step::Start(id));
    }

    /// Makes a node whole that has ended as it should, and starts it again.
    fn undo(&mut self, id: u64) {
        let Some(awaited) = self.awaited.remove(&id) else { return };
        let mut pause = Duration::ZERO;
        match awaited.undo {
            Undo::Start(down_ms) => pause = Duration::from_millis(down_ms),
            Undo::PutBack(aside) => self.cluster.put_back(id, &aside),
            Undo::Flip(path, place) => flip(&path, place),
            // The second of the two to end swaps back.
            Undo::Swap(other) if self.awaited.contains_key(&other) => return,
            Undo::Swap(other) => {
                self.cluster.swap(id, other);
                self.after(Duration::ZERO, Step::Start(other));
                self.after(Duration::from_secs(1), Step::Free(other));
            }
        }
        self.after(pause, Step::Start(id));
        self.after(pause + Duration::from_secs(1), Step::Free(id));
    }
}

/// Notes who leads, as long as it is not aborted.
async fn watch_leader(addresses: Vec<String>, leader: Arc<AtomicU64>) {
    loop {
        let asked: Vec<_> = addresses.iter().cloned().map(|one| tokio::spawn(ask(one))).collect();
        let mut newest = (0, 0);
        for answer in asked {
            if let Ok(Some(status)) = answer.await
                && status.role == "leader"
            {
                newest = newest.max((status.term, status.node));
            }
        }
        if newest.1 > 0 {
            leader.store(newest.1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
