//! From a seed to a plan. Each seed draws its own intensities ("swarm"), so that some runs are
//! calm and long of one kind, and others have everything at once.

use super::{
    DiskPlan, Ending, Fault, Knobs, NetworkPlan, Plan, Point, Power, Shape, Target, Timed, Upkeep,
    Workload, members,
};
use crate::chance::Chance;

/// What a campaign asks of its plans.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// As many nodes; drawn where `None`.
    pub nodes: Option<u64>,
    /// As long; drawn where `None`.
    pub run_ms: Option<u64>,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of_seed(seed: u64, wish: Wish) -> Self {
        let seed = seed & (u64::MAX >> 1);
        let mut chance = Chance::stream(seed, "plan", 0, 0);
        let drawn_nodes = chance.pick(&[1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 5, 5, 6, 7]);
        let nodes = wish.nodes.unwrap_or(drawn_nodes).max(1);
        let drawn_ms = chance.between(4_000, 14_000);
        let run_ms = wish.run_ms.unwrap_or(drawn_ms);
        let network = network(&mut Chance::stream(seed, "network", 0, 0));
        let mut knobs = knobs(&mut Chance::stream(seed, "knobs", 0, 0));
        let least = least_election_timeout_ms(&knobs, &network);
        knobs.election_timeout_ms = knobs.election_timeout_ms.max(least);
        let ending = if chance.percent(40) { Ending::Quorum } else { Ending::All };
        let mut chance = Chance::stream(seed, "members", 0, 0);
        let (members, orders) = members::draw(&mut chance, nodes, run_ms);
        let machines = nodes + members.spares;
        let mut plan = Self {
            seed,
            nodes,
            members,
            run_ms,
            ending,
            workload: workload(&mut Chance::stream(seed, "workload", 0, 0)),
            network,
            upkeep: upkeep(&mut Chance::stream(seed, "upkeep", 0, 0)),
            disks: disks(&mut Chance::stream(seed, "disks", 0, 0)),
            clock_rates: clock_rates(&mut Chance::stream(seed, "clocks", 0, 0), machines),
            faults: faults(&mut Chance::stream(seed, "faults", 0, 0), machines, run_ms),
            knobs,
        };
        plan.faults.extend(orders);
        plan.faults.sort_by_key(|timed| timed.at_ms);
        if Chance::stream(seed, "leases", 0, 0).percent(25) {
            plan.lease_reads();
        }
        plan
    }

    /// Reads under leases, which need clocks that run within their margin (a fifth) and never jump.
    fn lease_reads(&mut self) {
        self.knobs.lease_reads = true;
        for rate in &mut self.clock_rates {
            *rate = (*rate).clamp(900_000, 1_100_000);
        }
        self.faults.retain(|timed| !matches!(timed.fault, Fault::ClockJump { .. }));
    }
}

fn knobs(chance: &mut Chance) -> Knobs {
    let (heartbeat_ms, election_timeout_ms) =
        chance.pick(&[(100, 500), (100, 500), (100, 300), (50, 250), (60, 80), (150, 1_000)]);
    let tiny = chance.percent(25);
    let session_ttl_ms = chance.pick(&[60_000, 10_000, 3_000, 1_000]);
    let small = |chance: &mut Chance, normal: usize, tiny_ones: &[usize]| {
        if tiny || chance.percent(15) { chance.pick(tiny_ones) } else { normal }
    };
    Knobs {
        heartbeat_ms,
        election_timeout_ms,
        batch_entries: small(chance, 1_024, &[1, 1, 2, 3]),
        batch_bytes: small(chance, 1 << 20, &[1, 100, 1_000]),
        inflight_batches: small(chance, 64, &[1, 1, 2, 3]),
        inflight_bytes: small(chance, 8 << 20, &[1, 100, 1_000]),
        uncommitted_bytes: small(chance, 16 << 20, &[1, 500, 5_000]),
        apply_bytes: small(chance, 256 << 10, &[1, 200, 2_000]),
        segment_bytes: chance.pick(&[65_536, 16_384, 8_192, 5_000, 4_400]),
        preallocate_bytes: chance.pick(&[16_384, 8_192, 4_096]),
        drain_us: chance.pick(&[0, 20, 20, 100, 1_000, 10_000]),
        apply_us: chance.pick(&[0, 0, 50, 1_000, 20_000]),
        tick_ms: chance.pick(&[10, 10, 10, 5, 20]),
        wire: chance.percent(20),
        window: chance.pick(&[1_024, 64, 16, 4, 1]),
        session_ttl_ms,
        clock_interval_ms: chance.pick(&[1_000, 1_000, 200]),
        // Where there is room for few, they must expire in time for others.
        max_sessions: if session_ttl_ms <= 3_000 { chance.pick(&[10_000, 10]) } else { 10_000 },
        value_bytes: chance.pick(&[1 << 20, 1 << 20, 400, 100]),
        lying_disks: false,
        lease_reads: false,
    }
}

fn upkeep(chance: &mut Chance) -> Upkeep {
    if chance.percent(15) {
        return Upkeep::default();
    }
    Upkeep {
        snapshot_entries: chance.pick(&[1, 3, 10, 20, 50]),
        snapshot_bytes: chance.pick(&[1 << 20, 1 << 20, 5_000, 1_000]),
        trailing_entries: chance.pick(&[0, 0, 2, 10]),
        piece_bytes: chance.pick(&[1, 100, 500, 2_000, 1 << 20]),
        resend_ms: chance.pick(&[50, 200]),
        store_us: chance.pick(&[100, 1_000, 20_000, 200_000]),
    }
}

/// "The broadcast time should be an order of magnitude less than the election timeout" (Raft
/// §5.6): below this no cluster can keep a leader, and nothing can be asked of one.
fn least_election_timeout_ms(knobs: &Knobs, network: &NetworkPlan) -> u64 {
    let trip_us = network.delay_us + 4 * network.jitter_us + knobs.drain_us;
    knobs.heartbeat_ms + 2 * knobs.tick_ms + 4 * trip_us / 1_000
}

fn workload(chance: &mut Chance) -> Workload {
    let clients = chance.pick(&[1, 2, 3, 4, 5, 6, 8]);
    // About 20 to 200 calls a second in all.
    let mean_us = chance.pick(&[5_000, 10_000, 20_000, 30_000, 50_000]);
    let (outstanding, keys) = (chance.pick(&[1, 1, 2, 4, 8]), chance.pick(&[1, 2, 3, 5, 10, 20]));
    Workload {
        clients,
        // With too many at one key at once the search for an order never ends.
        keys: keys.max(clients * outstanding / 4),
        calls_per_key: chance.pick(&[40, 80, 120]),
        outstanding,
        think_us: mean_us * clients,
        quiet_percent: chance.pick(&[0, 0, 1, 3]),
        deadline_ms: chance.pick(&[500, 2_000, 2_000, 5_000, 10_000]),
        silence_ms: chance.pick(&[300, 1_000, 2_000]),
        read_percent: chance.pick(&[10, 30, 50, 80]),
        padding_bytes: chance.pick(&[0, 0, 10, 200]),
        latency_us: chance.pick(&[10, 100, 1_000, 5_000]),
        late_millionths: chance.pick(&[0, 0, 1_000, 10_000]),
        stuck_percent: chance.pick(&[0, 0, 20, 50]),
    }
}

fn network(chance: &mut Chance) -> NetworkPlan {
    let streams = chance.percent(55);
    let lossy = chance.percent(60);
    let rare = |chance: &mut Chance, of: &[u64]| if lossy { chance.pick(of) } else { 0 };
    NetworkPlan {
        streams,
        delay_us: chance.pick(&[20, 100, 500, 2_000, 10_000]),
        jitter_us: chance.pick(&[10, 100, 1_000, 5_000, 20_000]),
        loss_millionths: if streams {
            rare(chance, &[0, 100, 1_000])
        } else {
            rare(chance, &[1_000, 10_000, 100_000])
        },
        duplicate_millionths: if streams { 0 } else { rare(chance, &[0, 10_000, 100_000]) },
        late_millionths: rare(chance, &[0, 1_000, 10_000]),
    }
}

fn disks(chance: &mut Chance) -> DiskPlan {
    DiskPlan {
        sync_us: chance.pick(&[50, 200, 1_000, 5_000]),
        jitter_us: chance.pick(&[0, 100, 1_000, 10_000]),
        slow_millionths: chance.pick(&[0, 0, 1_000, 10_000]),
    }
}

/// 0.9 to 1.1, and now and then 0.5 to 2.
fn clock_rates(chance: &mut Chance, nodes: u64) -> Vec<u64> {
    let (from, to) = chance.pick(&[
        (1_000_000, 1_000_000),
        (900_000, 1_100_000),
        (900_000, 1_100_000),
        (500_000, 2_000_000),
    ]);
    (0..nodes).map(|_| chance.between(from, to)).collect()
}

/// The kinds of faults, as weights; a seed silences some of them.
type Weights = [(Kind, u64); 26];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Crash,
    CrashAt,
    CrashLoop,
    CrashAll,
    Pause,
    Slow,
    Cut,
    Partition,
    Usurp,
    Reset,
    Clog,
    Storm,
    Replay,
    Stall,
    SyncError,
    WriteError,
    Full,
    Rot,
    Wipe,
    LoseCheckpoint,
    Checkpoint,
    ClockJump,
    StepDown,
    Transfer,
    ClientReset,
    ClientSilence,
}

const WEIGHTS: Weights = [
    (Kind::Crash, 10),
    (Kind::CrashAt, 16),
    (Kind::CrashLoop, 2),
    (Kind::CrashAll, 3),
    (Kind::Pause, 6),
    (Kind::Slow, 3),
    (Kind::Cut, 8),
    (Kind::Partition, 14),
    (Kind::Usurp, 6),
    (Kind::Reset, 6),
    (Kind::Clog, 6),
    (Kind::Storm, 3),
    (Kind::Replay, 5),
    (Kind::Stall, 5),
    (Kind::SyncError, 3),
    (Kind::WriteError, 2),
    (Kind::Full, 2),
    (Kind::Rot, 1),
    (Kind::Wipe, 1),
    (Kind::LoseCheckpoint, 3),
    (Kind::Checkpoint, 2),
    (Kind::ClockJump, 3),
    (Kind::StepDown, 2),
    (Kind::Transfer, 4),
    (Kind::ClientReset, 5),
    (Kind::ClientSilence, 5),
];

fn faults(chance: &mut Chance, nodes: u64, run_ms: u64) -> Vec<Timed> {
    let mean_ms = chance.pick(&[150, 300, 300, 600, 1_200, 3_000]);
    let weights = WEIGHTS.map(|(kind, weight)| (kind, if chance.percent(25) { 0 } else { weight }));
    // A quorum must be able to come back.
    let mut may_lose = (nodes - 1) / 2;
    let mut lost = Vec::new();
    let mut faults = Vec::new();
    let mut at_ms = 300 + chance.around(mean_ms);
    while at_ms < run_ms {
        let kind = draw(chance, &weights);
        let loses = matches!(kind, Kind::Rot | Kind::Wipe);
        if !loses || may_lose > 0 {
            let mut fault = fault(chance, kind, nodes);
            if let Fault::Rot { node } | Fault::Wipe { node } = &mut fault {
                let id = chance.between(1, nodes);
                *node = Target::Node(id);
                if !lost.contains(&id) {
                    lost.push(id);
                    may_lose -= 1;
                }
            }
            faults.push(Timed { at_ms, id: faults.len() as u64 + 1, fault });
        }
        at_ms += 1 + chance.around(mean_ms);
    }
    faults
}

fn draw(chance: &mut Chance, weights: &Weights) -> Kind {
    let total: u64 = weights.iter().map(|(_, weight)| weight).sum();
    let mut left = chance.below(total.max(1));
    for (kind, weight) in weights {
        if left < *weight {
            return *kind;
        }
        left -= weight;
    }
    Kind::Crash
}

pub(super) fn target(chance: &mut Chance, nodes: u64) -> Target {
    match chance.below(5) {
        0 | 1 => Target::Leader,
        2 => Target::Follower(chance.between(1, nodes.saturating_sub(1).max(1))),
        _ => Target::Node(chance.between(1, nodes)),
    }
}

fn two(chance: &mut Chance, nodes: u64) -> (Target, Target) {
    let other = Target::Follower(chance.between(1, nodes.saturating_sub(1).max(1)));
    match chance.below(3) {
        0 => (Target::Leader, other),
        1 => (other, Target::Leader),
        _ => {
            let from = chance.between(1, nodes);
            (Target::Node(from), Target::Node(1 + (from + chance.below(nodes)) % nodes))
        }
    }
}

fn power(chance: &mut Chance) -> Power {
    chance.pick(&[Power::Process, Power::Synced, Power::Prefix, Power::Subset, Power::Torn])
}

fn fault(chance: &mut Chance, kind: Kind, nodes: u64) -> Fault {
    let short = chance.pick(&[20, 100, 400, 1_000]);
    let ms = 1 + chance.around(short);
    let long = chance.pick(&[200, 800, 2_000]);
    let long = 1 + chance.around(long);
    let node = target(chance, nodes);
    match kind {
        Kind::Crash => Fault::Crash { node, power: power(chance), down_ms: ms },
        Kind::CrashAt => {
            let point = chance.pick(Point::ALL);
            Fault::CrashAt { node, point, power: power(chance), down_ms: ms }
        }
        Kind::CrashLoop => {
            let (times, every_ms) = (chance.between(2, 6), chance.between(1, 150));
            Fault::CrashLoop { node, times, every_ms, power: power(chance) }
        }
        Kind::CrashAll => Fault::CrashAll { power: power(chance), down_ms: ms },
        Kind::Pause => Fault::Pause { node, ms: long },
        Kind::Slow => Fault::Slow { node, factor: chance.pick(&[10, 100, 1_000]), ms: long },
        Kind::Cut => {
            let (from, to) = two(chance, nodes);
            Fault::Cut { from, to, ms: long }
        }
        Kind::Partition => Fault::Partition { shape: shape(chance, nodes), ms: long },
        Kind::Usurp => Fault::Usurp { ms: long },
        Kind::Reset => {
            let (a, b) = two(chance, nodes);
            Fault::Reset { a, b }
        }
        Kind::Clog => {
            let (from, to) = two(chance, nodes);
            Fault::Clog { from, to, ms: long }
        }
        Kind::Storm => {
            let (loss_percent, duplicate_percent) = (chance.between(0, 40), chance.between(0, 40));
            Fault::Storm { loss_percent, duplicate_percent, ms: long }
        }
        Kind::Replay => Fault::Replay { messages: chance.pick(&[1, 5, 30]) },
        Kind::Stall => Fault::Stall { node, ms: long },
        Kind::SyncError => Fault::SyncError { node, down_ms: ms, power: chance.percent(50) },
        Kind::WriteError => Fault::WriteError { node, down_ms: ms },
        Kind::Full => Fault::Full { node, bytes: chance.pick(&[0, 100, 2_000, 10_000]), ms: long },
        Kind::Rot => Fault::Rot { node },
        Kind::Wipe => Fault::Wipe { node },
        Kind::LoseCheckpoint => Fault::LoseCheckpoint { node, down_ms: ms },
        Kind::Checkpoint => Fault::Checkpoint { node },
        Kind::ClockJump => Fault::ClockJump { node, ms: long },
        Kind::Transfer => Fault::Transfer { to: node },
        Kind::StepDown => Fault::StepDown { node },
        Kind::ClientReset => Fault::ClientReset { client: chance.between(1, 8) },
        Kind::ClientSilence => {
            let requests_arrive = chance.percent(60);
            Fault::ClientSilence { client: chance.between(1, 8), requests_arrive }
        }
    }
}

fn shape(chance: &mut Chance, nodes: u64) -> Shape {
    match chance.below(8) {
        0 | 1 => Shape::Isolated(target(chance, nodes)),
        2..=4 => Shape::Halves(chance.below(1 << nodes)),
        5 => Shape::Bridge(target(chance, nodes)),
        6 => Shape::Chain,
        _ => Shape::Ring,
    }
}
