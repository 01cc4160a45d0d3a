//! Draws a fault of each kind.

use quorate_core::raft::Random;
use quorate_sim::plan::{Fault, Power, Shape, Target};

use super::{Any, More};

/// Draws a fault for a cluster of so many nodes.
pub(super) type Draw = fn(&mut Random, u64) -> Any;

/// A place in a list of that length, which is not empty.
pub(super) fn place(random: &mut Random, length: usize) -> usize {
    usize::try_from(random.below(length as u64)).unwrap_or(0)
}

/// How to draw each kind.
pub(super) const KINDS: &[Draw] = &[
    |r, n| shared(Fault::Crash { node: node(r, n), power: Power::Process, down_ms: ms(r) }),
    |r, n| {
        let (node, times, every_ms) = (node(r, n), 2 + r.below(2), 200 + r.below(400));
        shared(Fault::CrashLoop { node, times, every_ms, power: Power::Process })
    },
    |r, _| shared(Fault::CrashAll { power: Power::Process, down_ms: 200 + r.below(300) }),
    |r, n| shared(Fault::Pause { node: node(r, n), ms: ms(r) }),
    |r, n| shared(Fault::Slow { node: node(r, n), factor: 3 + r.below(6), ms: ms(r) }),
    |r, n| {
        let (from, to) = two(r, n);
        shared(Fault::Cut { from, to, ms: ms(r) })
    },
    |r, n| {
        let node = node(r, n);
        partition(r, Shape::Isolated(node))
    },
    |r, n| {
        let bits = 1 + r.below((1 << n) - 2);
        partition(r, Shape::Halves(bits))
    },
    |r, n| {
        let node = node(r, n);
        partition(r, Shape::Bridge(node))
    },
    |r, _| partition(r, Shape::Chain),
    |r, _| partition(r, Shape::Ring),
    |r, _| shared(Fault::Usurp { ms: ms(r) }),
    |r, n| {
        let (a, b) = two(r, n);
        shared(Fault::Reset { a, b })
    },
    |r, n| {
        let (from, to) = two(r, n);
        shared(Fault::Clog { from, to, ms: ms(r) })
    },
    |r, _| {
        let (loss_percent, duplicate_percent) = (5 + r.below(20), 5 + r.below(20));
        shared(Fault::Storm { loss_percent, duplicate_percent, ms: ms(r) })
    },
    |r, _| shared(Fault::Replay { messages: 20 + r.below(200) }),
    |r, n| shared(Fault::Stall { node: node(r, n), ms: ms(r) }),
    |r, n| shared(Fault::SyncError { node: node(r, n), down_ms: ms(r), power: false }),
    |r, n| shared(Fault::WriteError { node: node(r, n), down_ms: ms(r) }),
    |r, n| shared(Fault::Full { node: node(r, n), bytes: r.below(200_000), ms: 500 + ms(r) }),
    |r, n| shared(Fault::Rot { node: node(r, n) }),
    |r, n| shared(Fault::Wipe { node: node(r, n) }),
    |r, n| shared(Fault::ClockJump { node: node(r, n), ms: 1_000 << r.below(20) }),
    |r, _| shared(Fault::ClientReset { client: r.below(1_000) }),
    |r, _| {
        let requests_arrive = r.below(2) == 0;
        shared(Fault::ClientSilence { client: r.below(1_000), requests_arrive })
    },
    |r, n| real(More::Stop { node: node(r, n), down_ms: ms(r) }),
    |r, n| real(More::SlowDisk { node: node(r, n), delay_us: 1_000 << r.below(7), ms: ms(r) }),
    |r, n| {
        let (from, to) = two(r, n);
        real(More::SlowLink { from, to, mean_us: 1_000 << r.below(8), ms: ms(r) })
    },
    |r, _| real(More::Narrow { bytes_per_second: 20_000 + r.below(200_000), ms: ms(r) }),
    |r, _| real(More::Reorder { late_us: 1_000 << r.below(7), ms: ms(r) }),
    |r, _| real(More::Corrupt { millionths: 2_000 + r.below(20_000), ms: ms(r) }),
    |r, n| {
        let kinds = ["AppendEntries", "AppendEntriesReply", "Heartbeat", "HeartbeatReply"];
        let kind = kinds.get(place(r, kinds.len())).copied().unwrap_or_default().to_owned();
        let (from, to) = two(r, n);
        real(More::Hold { from, to, kind, ms: ms(r) })
    },
    |r, _| real(More::Unreliable { ms: ms(r) }),
    |r, n| {
        let (a, b) = two(r, n);
        real(More::Swap { a, b })
    },
];

fn shared(fault: Fault) -> Any {
    Any::Shared(fault)
}

fn real(fault: More) -> Any {
    Any::Real(fault)
}

fn partition(random: &mut Random, shape: Shape) -> Any {
    shared(Fault::Partition { shape, ms: ms(random) })
}

/// How long: half a second to two and a half.
fn ms(random: &mut Random) -> u64 {
    500 + random.below(2_000)
}

/// A node; the leader as often as all others together.
fn node(random: &mut Random, nodes: u64) -> Target {
    match random.below(2) {
        0 => Target::Leader,
        _ => Target::Node(1 + random.below(nodes)),
    }
}

/// Two different nodes, often with the leader.
fn two(random: &mut Random, nodes: u64) -> (Target, Target) {
    let follower = |random: &mut Random| Target::Follower(1 + random.below(nodes - 1));
    match random.below(3) {
        0 => (Target::Leader, follower(random)),
        1 => (follower(random), Target::Leader),
        _ => {
            let first = random.below(nodes);
            let second = (first + 1 + random.below(nodes - 1)) % nodes;
            (Target::Node(1 + first), Target::Node(1 + second))
        }
    }
}
