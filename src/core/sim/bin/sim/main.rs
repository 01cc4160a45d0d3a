//! stub
use quorate_sim::plan::{Plan, Wish};
fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let args: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let (from, n, verbose) = (args[0], args[1], args.get(2).copied());
    let start = std::time::Instant::now();
    let mut virt = 0;
    let mut tally = quorate_sim::watch::Tally::default();
    let mut cov = quorate_sim::coverage::Coverage::default();
    for seed in from..from + n {
        let plan = Plan::of_seed(
            seed,
            Wish { nodes: std::env::var("NODES").ok().map(|x| x.parse().unwrap()), run_ms: None },
        );
        if verbose == Some(2) {
            println!("{}", plan.to_text());
        }
        let t = std::time::Instant::now();
        let run = quorate_sim::world::run(&plan, verbose.is_some());
        virt += run.virtual_us;
        tally.add(&run.watch.tally);
        cov.add(&run.watch.coverage);
        if let Some(v) = &run.watch.violation {
            println!(
                "seed {seed} ({} nodes): {}: {} ({} ms virtual)",
                plan.nodes,
                v.invariant,
                v.what,
                run.virtual_us / 1000
            );
        }
        if let Some(story) = &run.watch.story {
            println!("{}", story.render(200));
        }
        if verbose == Some(3) || t.elapsed().as_millis() > 1000 {
            println!(
                "seed {seed}: {:?} for {} ms, events {}, trace {:x}",
                t.elapsed(),
                run.virtual_us / 1000,
                run.watch.tally.events,
                run.watch.trace
            );
        }
    }
    let e = start.elapsed().as_secs_f64();
    println!(
        "{n} seeds, {} virtual s in {e:.1} s: {:.0}/s; {:?}",
        virt / 1_000_000,
        virt as f64 / 1e6 / e,
        tally.events
    );
    println!(
        "done {} not {} commits {} starts {} faults {} msgs {} facts {}",
        tally.done,
        tally.not_done,
        tally.committed,
        tally.starts,
        tally.fault_count(),
        tally.messages,
        tally.facts
    );
    println!("missing {:?}", cov.missing());
}
