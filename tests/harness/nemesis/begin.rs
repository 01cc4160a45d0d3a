//! How each fault begins, and what ends it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_core::types::NodeId;
use quorate_core::wire::client::Admin;
use quorate_sim::plan::{Fault, Target};
use tokio::time::Instant;

use super::{Awaited, EXIT_TIME, Nemesis, Step, Undo};
use crate::plan::{Any, More};
use crate::proxy::{Delay, Place, Rules, Way};

impl Nemesis<'_> {
    /// Begins a fault; `None` if it cannot happen now.
    pub(super) fn begin(&mut self, fault: &Any) -> Option<()> {
        match fault {
            Any::Shared(fault) => match fault {
                Fault::Crash { .. }
                | Fault::CrashAt { .. }
                | Fault::CrashLoop { .. }
                | Fault::CrashAll { .. }
                | Fault::Pause { .. }
                | Fault::Slow { .. }
                | Fault::LoseCheckpoint { .. }
                | Fault::Checkpoint { .. }
                | Fault::Transfer { .. }
                | Fault::StepDown { .. } => self.begin_process(fault),
                Fault::Stall { .. }
                | Fault::SyncError { .. }
                | Fault::WriteError { .. }
                | Fault::Full { .. }
                | Fault::Rot { .. }
                | Fault::Wipe { .. }
                | Fault::ClockJump { .. } => self.begin_disk(fault),
                Fault::Cut { .. }
                | Fault::Partition { .. }
                | Fault::Usurp { .. }
                | Fault::Reset { .. }
                | Fault::Clog { .. }
                | Fault::Storm { .. }
                | Fault::Replay { .. }
                | Fault::ClientReset { .. }
                | Fault::ClientSilence { .. } => self.begin_link(fault),
                // The members of real processes change by the command line: tests/members.rs.
                Fault::Members(_) => None,
            },
            Any::Real(more) => self.begin_more(more),
        }
    }

    /// The node that is meant.
    pub(super) fn resolve(&self, target: Target) -> u64 {
        let leader = self.leader.load(Ordering::Relaxed);
        let ids = self.cluster.ids();
        match target {
            Target::Node(id) => (id - 1) % ids.len() as u64 + 1,
            Target::Leader => leader,
            Target::Follower(place) => {
                let others: Vec<u64> = ids.into_iter().filter(|id| *id != leader).collect();
                let place = usize::try_from(place - 1).unwrap_or(0) % others.len().max(1);
                others.get(place).copied().unwrap_or(leader)
            }
        }
    }

    /// Takes a node for a fault of its process or disk, if a quorum of others is left alone.
    fn seize(&mut self, target: Target) -> Option<u64> {
        let node = self.resolve(target);
        let spared = self.cluster.ids().len().saturating_sub(self.busy.len() + 1);
        let quorum = self.cluster.ids().len() / 2 + 1;
        let can = spared >= quorum && !self.busy.contains(&node) && self.cluster.is_running(node);
        can.then(|| {
            self.busy.insert(node);
            // What was to fail and was never tried does not fail the next time.
            self.cluster.disk(node).fail_syncs(0);
            self.cluster.disk(node).fail_writes(0);
            node
        })
    }

    /// The node is free again a little after the end of its fault.
    fn free_after(&mut self, node: u64, ms: u64) {
        self.after(Duration::from_millis(ms + 500), Step::Free(node));
    }

    fn begin_process(&mut self, fault: &Fault) -> Option<()> {
        match fault {
            Fault::Crash { node, down_ms, .. } | Fault::CrashAt { node, down_ms, .. } => {
                let node = self.seize(*node)?;
                self.cluster.kill(node);
                self.after(Duration::from_millis(*down_ms), Step::Start(node));
                self.free_after(node, *down_ms);
            }
            Fault::LoseCheckpoint { node, down_ms } => {
                let node = self.seize(*node)?;
                self.cluster.kill(node);
                self.cluster.lose_checkpoint(node);
                self.after(Duration::from_millis(*down_ms), Step::Start(node));
                self.free_after(node, *down_ms);
            }
            Fault::Checkpoint { node } => {
                let node = self.resolve(*node);
                self.cluster.ask(node, Admin::Snapshot);
            }
            Fault::Transfer { to, .. } => {
                let leader = self.leader.load(Ordering::Relaxed);
                let to = Some(self.resolve(*to)).filter(|to| *to != leader);
                let to = NodeId(to.unwrap_or(0));
                self.cluster.ask(leader, Admin::TransferLeadership { to });
            }
            Fault::CrashLoop { node, times, every_ms, .. } => {
                let node = self.seize(*node)?;
                for time in 0..*times {
                    self.after(Duration::from_millis(time * every_ms), Step::Kill(node));
                    self.after(Duration::from_millis(time * every_ms + 1), Step::Start(node));
                }
                self.free_after(node, times * every_ms);
            }
            Fault::CrashAll { down_ms, .. } => {
                if !self.busy.is_empty() {
                    return None;
                }
                for node in self.cluster.ids() {
                    self.busy.insert(node);
                    self.cluster.kill(node);
                    let down_ms = down_ms + self.random.below(100);
                    self.after(Duration::from_millis(down_ms), Step::Start(node));
                    self.free_after(node, down_ms);
                }
            }
            Fault::Pause { node, ms } => {
                let node = self.seize(*node)?;
                self.cluster.pause(node);
                self.after(Duration::from_millis(*ms), Step::Resume(node));
                self.free_after(node, *ms);
            }
            Fault::Slow { node, factor, ms } => {
                let node = self.seize(*node)?;
                let until = Instant::now() + Duration::from_millis(*ms);
                let factor = *factor;
                self.after(Duration::ZERO, Step::Slice { node, factor, until });
                self.free_after(node, *ms);
            }
            Fault::StepDown { node } => self.stop(*node, 100)?,
            _ => unreachable!("no fault of a process"),
        }
        Some(())
    }

    /// Asks a node to end in order; it must end with 0.
    fn stop(&mut self, node: Target, down_ms: u64) -> Option<()> {
        let node = self.seize(node)?;
        self.cluster.signal(node, rustix::process::Signal::TERM);
        self.await_end(node, 0, Undo::Start(down_ms));
        Some(())
    }

    fn await_end(&mut self, node: u64, code: i32, undo: Undo) {
        self.awaited.insert(node, Awaited { code, by: Instant::now() + EXIT_TIME, undo });
    }

    fn begin_disk(&mut self, fault: &Fault) -> Option<()> {
        match fault {
            Fault::Stall { node, ms } => {
                let node = self.seize(*node)?;
                self.cluster.disk(node).stall(true);
                self.after(Duration::from_millis(*ms), Step::HealDisk(node));
                self.free_after(node, *ms);
            }
            Fault::SyncError { node, down_ms, .. } => {
                let node = self.seize(*node)?;
                self.cluster.disk(node).fail_syncs(1);
                self.free_after(node, *down_ms);
            }
            Fault::WriteError { node, down_ms } => {
                let node = self.seize(*node)?;
                self.cluster.disk(node).fail_writes(1);
                self.free_after(node, *down_ms);
            }
            Fault::Full { node, bytes, ms } => {
                let node = self.seize(*node)?;
                let bytes = i64::try_from(*bytes).unwrap_or(i64::MAX);
                self.cluster.disk(node).space(Some(bytes));
                self.after(Duration::from_millis(*ms), Step::HealDisk(node));
                self.free_after(node, *ms);
            }
            Fault::Rot { node } => {
                let node = self.seize(*node)?;
                self.cluster.kill(node);
                let (path, place) = self.cluster.rot(node);
                self.await_end(node, 76, Undo::Flip(path, place));
                self.cluster.start_node(node);
            }
            Fault::Wipe { node } => {
                let node = self.seize(*node)?;
                self.cluster.kill(node);
                let aside = self.cluster.move_aside(node);
                self.await_end(node, 65, Undo::PutBack(aside));
                self.cluster.start_node(node);
            }
            Fault::ClockJump { node, ms } => {
                let ms = i64::try_from(*ms).unwrap_or(i64::MAX);
                let shift = if self.random.below(2) == 0 { ms } else { -ms };
                self.cluster.disk(self.resolve(*node)).clock_ms(shift);
            }
            _ => unreachable!("no fault of a disk"),
        }
        Some(())
    }

    fn begin_link(&mut self, fault: &Fault) -> Option<()> {
        match fault {
            Fault::Cut { from, to, ms } => {
                let way = self.way(*from, *to)?;
                self.rule(vec![way], &Rules::cut(), *ms);
            }
            Fault::Partition { shape, ms } => {
                let ways = self.cut_by(*shape);
                self.rule(ways, &Rules::cut(), *ms);
            }
            Fault::Usurp { ms } => {
                let leader = Place::Node(self.resolve(Target::Leader));
                let touches = |way: &Way| way.from == leader || way.to == leader;
                let ways: Vec<Way> = self.all_ways().into_iter().filter(touches).collect();
                for way in &ways {
                    self.cluster.net().reset(*way);
                }
                self.rule(ways, &Rules::cut(), *ms);
            }
            Fault::Reset { a, b } => {
                let way = self.way(*a, *b)?;
                let broken = self.cluster.net().reset(way) + self.cluster.net().reset(way.back());
                return (broken > 0).then_some(());
            }
            Fault::Clog { from, to, ms } => {
                let way = self.way(*from, *to)?;
                self.rule(vec![way], &Rules { clogged: true, ..Rules::default() }, *ms);
            }
            Fault::Storm { loss_percent, duplicate_percent, ms } => {
                let rules = Rules {
                    drop_millionths: loss_percent * 10_000,
                    double_millionths: duplicate_percent * 10_000,
                    ..Rules::default()
                };
                self.rule(self.all_ways(), &rules, *ms);
            }
            Fault::Replay { messages } => {
                for way in self.all_ways() {
                    self.cluster.net().replay(way, *messages);
                }
            }
            Fault::ClientReset { client } => {
                let mut ways = self.ways_of_clients().into_iter();
                let broke = |way| self.cluster.net().reset_one(way, *client);
                return ways.any(broke).then_some(());
            }
            Fault::ClientSilence { client, requests_arrive } => {
                let mut ways = self.ways_of_clients().into_iter();
                let net = self.cluster.net();
                let broke = |way| net.silence_one(way, *client, !requests_arrive, true);
                return ways.any(broke).then_some(());
            }
            _ => unreachable!("no fault of a link"),
        }
        Some(())
    }

    /// Where clients may be connected, the leader first.
    fn ways_of_clients(&self) -> Vec<Way> {
        let leader = self.resolve(Target::Leader);
        let mut ids = self.cluster.ids();
        ids.sort_by_key(|id| *id != leader);
        ids.into_iter().map(|id| Way::new(Place::Clients, Place::Node(id))).collect()
    }

    fn begin_more(&mut self, more: &More) -> Option<()> {
        match more {
            More::Stop { node, down_ms } => self.stop(*node, *down_ms)?,
            More::SlowDisk { node, delay_us, ms } => {
                let node = self.seize(*node)?;
                let delay = i64::try_from(*delay_us).unwrap_or(i64::MAX);
                self.cluster.disk(node).delay_us(delay);
                self.after(Duration::from_millis(*ms), Step::HealDisk(node));
                self.free_after(node, *ms);
            }
            More::SlowLink { from, to, mean_us, ms } => {
                let way = self.way(*from, *to)?;
                let delay = Delay::Exponential(Duration::from_micros(*mean_us));
                self.rule(vec![way], &Rules { delay, ..Rules::default() }, *ms);
            }
            More::Narrow { bytes_per_second, ms } => {
                let bytes_per_second = Some(*bytes_per_second);
                let rules = Rules { bytes_per_second, ..Rules::default() };
                self.rule(self.all_ways(), &rules, *ms);
            }
            More::Reorder { late_us, ms } => {
                let delay = Delay::Uniform(Duration::ZERO, Duration::from_micros(*late_us));
                let rules = Rules { delay, unordered: true, ..Rules::default() };
                self.rule(self.all_ways(), &rules, *ms);
            }
            More::Corrupt { millionths, ms } => {
                let rules = Rules { corrupt_millionths: *millionths, ..Rules::default() };
                self.rule(self.all_ways(), &rules, *ms);
            }
            More::Hold { from, to, kind, ms } => {
                let way = self.way(*from, *to)?;
                let hold = [kind.clone()].into();
                self.rule(vec![way], &Rules { hold, ..Rules::default() }, *ms);
            }
            More::Unreliable { ms } => {
                let ways = [self.all_ways(), self.client_ways()].concat();
                self.rule(ways, &Rules::unreliable(), *ms);
            }
            More::Swap { a, b } => return self.swap(*a, *b),
        }
        Some(())
    }

    /// Starts two nodes on each other's directory; both must refuse.
    fn swap(&mut self, a: Target, b: Target) -> Option<()> {
        let (a, b) = (self.seize(a)?, b);
        let Some(b) = self.seize(b) else {
            self.busy.remove(&a);
            return None;
        };
        for node in [a, b] {
            self.cluster.kill(node);
        }
        self.cluster.swap(a, b);
        for (node, other) in [(a, b), (b, a)] {
            self.await_end(node, 65, Undo::Swap(other));
            self.cluster.start_node(node);
        }
        Some(())
    }
}
