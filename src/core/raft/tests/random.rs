//! Random faults, all invariants after every event; then everything heals, and the group must
//! serve again. QUORATE_SEED replays one seed, QUORATE_SEEDS sets how many run.

use std::time::Duration;

use super::super::{Config, Input, Random};
use super::harness::{End, Group, id, plain};
use crate::types::NodeId;

fn tiny(node: NodeId) -> Config {
    Config {
        batch_entries: 2,
        batch_bytes: 100,
        inflight_batches: 2,
        inflight_bytes: 200,
        uncommitted_bytes: 400,
        apply_bytes: 100,
        heartbeat: Duration::from_millis(20),
        election_timeout: Duration::from_millis(70),
        ..plain(node)
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn no_seed_breaks_an_invariant_and_every_seed_serves_again() {
    if let Some(seed) = number("QUORATE_SEED") {
        return live(seed);
    }
    for seed in 0..number("QUORATE_SEEDS").unwrap_or(150) {
        let lived = std::panic::catch_unwind(|| live(seed));
        assert!(lived.is_ok(), "replay with QUORATE_SEED={seed}");
    }
}

fn live(seed: u64) {
    let mut random = Random::new(seed);
    let size = [3, 5, 3, 1][usize::try_from(seed % 4).unwrap()];
    let config = if seed.is_multiple_of(3) { tiny } else { plain };
    let mut group = Group::with(size, config);
    let intensity = random.below(40) + 1;
    for round in 0..2_500 {
        disturb(&mut group, &mut random, intensity, size);
        if random.below(8) == 0 {
            let node = random.below(size) + 1;
            if group.machines[&id(node)].node.is_some() {
                match random.below(3) {
                    0 => drop(group.read(node)),
                    _ => drop(group.propose(node, &format!("{seed}/{round}"))),
                }
            }
        }
        advance(&mut group, &mut random);
    }
    heal(&mut group, size);
    prove_alive(&mut group);
}

/// One fault, perhaps.
fn disturb(group: &mut Group, random: &mut Random, intensity: u64, size: u64) {
    if random.below(1_000) >= intensity {
        return;
    }
    let (a, b) = (id(random.below(size) + 1), id(random.below(size) + 1));
    match random.below(9) {
        0 | 1 if group.machines[&a].node.is_some() => group.crash(a),
        0 | 1 => group.start(a),
        2 => drop(group.cut.insert((a, b))),
        3 => {
            let side: Vec<u64> = (1..=size).filter(|_| random.below(2) == 0).collect();
            let rest: Vec<u64> = (1..=size).filter(|node| !side.contains(node)).collect();
            group.part(&side, &rest);
        }
        4 | 5 => group.heal(),
        6 => group.machines.get_mut(&a).unwrap().sync_ms = 1 + random.below(30),
        7 => group.delay_ms = random.below(25),
        _ if group.machines[&a].node.is_some() => {
            group.step(a, Input::Disconnected { peer: b });
            group.step(a, Input::Connected { peer: b });
            group.step(a, Input::Silenced { peer: b });
        }
        _ => {}
    }
}

/// Time goes on; messages are lost, doubled and reordered.
fn advance(group: &mut Group, random: &mut Random) {
    if !group.flights.is_empty() {
        let place = usize::try_from(random.below(group.flights.len() as u64)).unwrap();
        match random.below(40) {
            0 => drop(group.flights.remove(place)),
            1 => {
                let again = group.flights[place].clone();
                group.flights.push(again);
            }
            2 => group.deliver(place),
            _ => {}
        }
    }
    group.millisecond();
}

fn heal(group: &mut Group, size: u64) {
    group.heal();
    group.delay_ms = 1;
    for node in (1..=size).map(id) {
        group.machines.get_mut(&node).unwrap().sync_ms = 1;
        if group.machines[&node].node.is_none() {
            group.start(node);
        }
    }
}

/// Quiet traffic first: one write, one read, no more, so that nothing wakes what is stuck.
fn prove_alive(group: &mut Group) {
    group.run(3_000);
    let leader = group.elect();
    let (write, read) = (group.propose(leader, "alive"), group.read(leader));
    group.until(3_000, "write and read", |group| {
        group.ended.contains_key(&write) && group.ended.contains_key(&read)
    });
    assert!(matches!(group.ended[&write], End::Applied(_)), "{:?}", group.ended[&write]);
    assert!(matches!(group.ended[&read], End::ReadAt(_)), "{:?}", group.ended[&read]);
    group.level(3_000);
    assert_eq!(group.unanswered(), 0, "someone was left without an answer");
}
