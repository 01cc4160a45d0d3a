//! A handful of seeds with every test run; CI and campaigns run thousands.

use quorate_sim::plan::{Plan, Wish};
use quorate_sim::world;

/// Seeds, each with a short run.
fn short(seed: u64) -> Plan {
    Plan::of_seed(seed, Wish { nodes: None, run_ms: Some(2_000) })
}

#[test]
fn every_claim_holds_in_a_hundred_short_runs() {
    for seed in 0..100 {
        let run = world::run(&short(seed), false);
        assert_eq!(run.watch.violation, None, "sim --seed {seed} --run-ms 2000");
    }
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in 0..20 {
        let (one, other) = (world::run(&short(seed), false), world::run(&short(seed), true));
        assert_eq!(one.watch.trace, other.watch.trace, "seed {seed}");
        assert_eq!(one.watch.tally, other.watch.tally, "seed {seed}");
        assert_eq!(one.virtual_us, other.virtual_us, "seed {seed}");
    }
}

/// Written down, so that a machine or a compiler that gives another run is noticed. A change of
/// the code that changes what happens changes it, too: then write down the new one.
#[test]
fn a_seed_gives_the_same_run_on_every_machine() {
    let run = world::run(&Plan::of_seed(42, Wish { nodes: Some(3), run_ms: Some(500) }), true);
    let story = run.watch.story.map(|story| story.render(usize::MAX)).unwrap_or_default();
    let hash = story.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    assert_eq!(
        format!("{:016x} {hash:016x}", run.watch.trace),
        "98306ce1f44d8af0 7dbdaeb939395f1a"
    );
}
