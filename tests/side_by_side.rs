//! The arithmetic of the side-by-side benchmark.

#[path = "../benches/side_by_side/table.rs"]
mod table;

use table::{
    LOADS, LONG, LONG_SECONDS, MEMORY, Runs, Sample, markdown, median, memory, redis_sample,
    report, verdicts,
};

fn runs(ours: f64, theirs: f64) -> Runs {
    let sample = |per_second| Sample {
        per_second,
        p99: 100.0 / per_second,
        cpu_micros: 10.0,
        memory: per_second,
        generator: 0.1,
    };
    Runs {
        quorate: vec![sample(ours); 3],
        etcd: vec![sample(theirs); 3],
        redis: vec![sample(ours)],
    }
}

#[test]
fn the_middle_of_values() {
    assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
    assert_eq!(median([7.0]), 7.0);
    assert_eq!(median([]), 0.0);
}

#[test]
fn each_floor_is_judged_with_its_figure() {
    let all: Vec<_> = LOADS.into_iter().map(|load| (load, runs(10.0 * load.floor, 10.0))).collect();
    let said = verdicts(&all);
    // A rate and a p99 for each load, Redis for each put, processor time once.
    assert_eq!(said.len(), 8 * 2 + 4 + 1);
    assert!(said.iter().all(|(holds, _)| *holds), "{said:?}");
    let slower: Vec<_> =
        LOADS.into_iter().map(|load| (load, runs(9.9 * load.floor, 10.0))).collect();
    assert_eq!(verdicts(&slower).iter().filter(|(holds, _)| !holds).count(), 8);
}

#[test]
fn memory_is_judged_after_a_long_run_of_the_heaviest_puts() {
    assert_eq!((LONG.operation, LONG.outstanding, MEMORY), ("put", 1_000, 0.25));
    let said = |ours, what: &str| {
        format!(
            "memory after {LONG_SECONDS} s of puts at 1000 outstanding: {ours} MiB, {what} of \
             etcd's 200, 0.25 asked for"
        )
    };
    assert_eq!(memory(&runs(50.0, 200.0)), (true, said(50, "0.25")));
    assert_eq!(memory(&runs(52.0, 200.0)), (false, said(52, "0.26")));
}

#[test]
fn the_table_and_the_report_have_a_line_for_each_load() {
    let all: Vec<_> = LOADS.into_iter().map(|load| (load, runs(20.0, 10.0))).collect();
    let table = markdown(&all);
    assert_eq!(table.lines().count(), 2 + LOADS.len());
    assert!(
        table.contains(
            "| put | 64 (8) | 10 | 10.00 | 10.0 | 20 | 5.00 | 10.0 | **2.0** | 2.0 | 20 |"
        ),
        "{table}"
    );
    assert_eq!(report(&all)[7]["etcd"][2]["per_second"], 10.0);
}

#[test]
fn what_redis_prints_is_read() {
    let csv = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
               \"SET\",\"3800.10\",\"0.2\",\"0.1\",\"0.2\",\"0.3\",\"0.455\",\"1.1\"\n";
    assert_eq!(redis_sample(csv), Some((3_800.1, 0.455)));
    assert_eq!(redis_sample("nothing"), None);
}
