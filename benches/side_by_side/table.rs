//! What is asked for, and how the runs are put side by side.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// A load: so many requests under way over so many connections, and what is asked of the ratios.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// `put` or `get`.
    pub(crate) operation: &'static str,
    /// Requests under way.
    pub(crate) outstanding: usize,
    /// Connections.
    pub(crate) connections: usize,
    /// So many times etcd's rate at least.
    pub(crate) floor: f64,
}

const fn load(operation: &'static str, outstanding: usize, connections: usize, floor: f64) -> Load {
    Load { operation, outstanding, connections, floor }
}

/// What is measured.
pub(crate) const LOADS: [Load; 8] = [
    load("put", 1, 1, 1.6),
    load("put", 64, 8, 5.0),
    load("put", 256, 32, 9.0),
    load("put", 1_000, 100, 12.0),
    load("get", 1, 1, 3.0),
    load("get", 64, 8, 12.0),
    load("get", 256, 32, 18.0),
    load("get", 1_000, 100, 18.0),
];

/// After which memory is compared, and for so long: etcd keeps the history of its keys, Quorate
/// memory that checkpoints and buffers have needed once.
pub(crate) const LONG: Load = LOADS[3];
/// In seconds.
pub(crate) const LONG_SECONDS: u64 = 20;

/// Processor time of a put over all nodes, at 256 outstanding, in microseconds.
pub(crate) const PUT_MICROS: f64 = 16.0;
/// The memory of the largest node, by etcd's.
pub(crate) const MEMORY: f64 = 0.25;
/// The rate of puts by that of one Redis that syncs each write.
pub(crate) const REDIS: f64 = 0.7;

/// One run of a load on one of the peers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// Requests a second.
    pub(crate) per_second: f64,
    /// The 99th percentile, in milliseconds.
    pub(crate) p99: f64,
    /// Processor time of all nodes for a request, in microseconds.
    pub(crate) cpu_micros: f64,
    /// Memory of the largest node, in MiB.
    pub(crate) memory: f64,
    /// Cores that the program which makes the load took.
    pub(crate) generator: f64,
}

/// All runs of a load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    /// Quorate's.
    pub(crate) quorate: Vec<Sample>,
    /// etcd's.
    pub(crate) etcd: Vec<Sample>,
    /// Redis's, of puts.
    pub(crate) redis: Vec<Sample>,
}

/// The value in the middle; of two, their mean; 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match (values.get(half.wrapping_sub(1)), values.get(half)) {
        (Some(low), Some(high)) if values.len().is_multiple_of(2) => f64::midpoint(*low, *high),
        (_, Some(middle)) => *middle,
        (_, None) => 0.0,
    }
}

/// The median of each figure.
pub(crate) fn medians(samples: &[Sample]) -> Sample {
    let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
    Sample {
        per_second: of(|sample| sample.per_second),
        p99: of(|sample| sample.p99),
        cpu_micros: of(|sample| sample.cpu_micros),
        memory: of(|sample| sample.memory),
        generator: of(|sample| sample.generator),
    }
}

/// A by b; 0 where there is no b.
pub(crate) fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

/// What was asked for, and whether it is so.
pub(crate) fn verdicts(all: &[(Load, Runs)]) -> Vec<(bool, String)> {
    let mut said = vec![];
    for (load, runs) in all {
        let (ours, theirs) = (medians(&runs.quorate), medians(&runs.etcd));
        let (rate, p99) = (ratio(ours.per_second, theirs.per_second), ratio(theirs.p99, ours.p99));
        let name = format!("{} at {} outstanding", load.operation, load.outstanding);
        let floor = load.floor;
        said.push((rate >= floor, format!("{name}: {rate:.1} x etcd's rate, {floor} asked for")));
        said.push((
            p99 >= rate / 2.0,
            format!("{name}: p99 better by {p99:.1}, half of {rate:.1} asked for"),
        ));
        if load.operation == "put" {
            let redis = ratio(ours.per_second, medians(&runs.redis).per_second);
            said.push((
                redis >= REDIS,
                format!("{name}: {redis:.2} x Redis's rate, {REDIS} asked for"),
            ));
        }
        if load.operation == "put" && load.outstanding == 256 {
            let micros = ours.cpu_micros;
            said.push((
                micros <= PUT_MICROS,
                format!("{name}: {micros:.1} us of all nodes, {PUT_MICROS} asked for"),
            ));
        }
    }
    said
}

/// The verdict on memory, after a run that is long enough for what each keeps.
pub(crate) fn memory(long: &Runs) -> (bool, String) {
    let (ours, theirs) = (medians(&long.quorate).memory, medians(&long.etcd).memory);
    let memory = ratio(ours, theirs);
    let said = format!(
        "memory after {LONG_SECONDS} s of puts at {} outstanding: {ours:.0} MiB, {memory:.2} of \
         etcd's {theirs:.0}, {MEMORY} asked for",
        LONG.outstanding
    );
    (memory <= MEMORY, said)
}

/// The table, in Markdown.
pub(crate) fn markdown(all: &[(Load, Runs)]) -> String {
    let mut out = String::from(
        "| | outstanding (connections) | etcd/s | p99 ms | us | Quorate/s | p99 ms | us | ratio | p99 better by | Redis/s |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (load, runs) in all {
        let (ours, theirs, redis) =
            (medians(&runs.quorate), medians(&runs.etcd), medians(&runs.redis));
        let redis =
            if runs.redis.is_empty() { String::new() } else { format!("{:.0}", redis.per_second) };
        let _ = writeln!(
            out,
            "| {} | {} ({}) | {:.0} | {:.2} | {:.1} | {:.0} | {:.2} | {:.1} | **{:.1}** | {:.1} | {redis} |",
            load.operation,
            load.outstanding,
            load.connections,
            theirs.per_second,
            theirs.p99,
            theirs.cpu_micros,
            ours.per_second,
            ours.p99,
            ours.cpu_micros,
            ratio(ours.per_second, theirs.per_second),
            ratio(theirs.p99, ours.p99),
        );
    }
    out
}

/// Everything, for other programs.
pub(crate) fn report(all: &[(Load, Runs)]) -> Value {
    let sample = |sample: &Sample| {
        json!({
            "per_second": sample.per_second, "p99_ms": sample.p99, "cpu_us": sample.cpu_micros,
            "memory_mib": sample.memory, "generator_cores": sample.generator,
        })
    };
    let runs = |samples: &[Sample]| samples.iter().map(sample).collect::<Value>();
    let line = |(load, all): &(Load, Runs)| {
        json!({
            "operation": load.operation, "outstanding": load.outstanding,
            "connections": load.connections, "floor": load.floor, "quorate": runs(&all.quorate),
            "etcd": runs(&all.etcd), "redis": runs(&all.redis),
        })
    };
    all.iter().map(line).collect()
}

/// The rate and the 99th percentile that `redis-benchmark --csv` prints for SET.
pub(crate) fn redis_sample(csv: &str) -> Option<(f64, f64)> {
    let line = csv.lines().find(|line| line.starts_with("\"SET\""))?;
    let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
    Some((fields.get(1)?.parse().ok()?, fields.get(6)?.parse().ok()?))
}
