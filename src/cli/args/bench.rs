//! The words of `bench` and `fsync`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `bench`
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// What to measure
    #[arg(value_enum)]
    pub what: BenchWhat,
    /// How many clients, each with a connection and a session of its own
    #[arg(long, default_value_t = 4)]
    pub clients: usize,
    /// How many requests may be unanswered, over all clients
    #[arg(long, default_value_t = 256)]
    pub outstanding: usize,
    /// How many keys
    #[arg(long, default_value_t = 10_000)]
    pub keys: u64,
    /// The size of a key
    #[arg(long, default_value_t = 16, value_name = "BYTES")]
    pub key_bytes: usize,
    /// Which keys are asked for how often
    #[arg(long, value_enum, default_value_t = Distribution::Uniform)]
    pub distribution: Distribution,
    /// The size of a value; of what is added, for `append`
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    pub value_bytes: usize,
    /// With `mixed`: how many of a hundred requests are reads
    #[arg(long, default_value_t = 50, value_name = "PERCENT")]
    pub reads: u32,
    /// With `get` and `mixed`: how fresh reads must be
    #[arg(long, value_enum, default_value_t = BenchConsistency::Linearizable)]
    pub consistency: BenchConsistency,
    /// How long to measure
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// How long the load runs before it is measured
    #[arg(long, default_value_t = 1, value_name = "SECONDS")]
    pub warm_up: u64,
    /// Write every key once before that
    #[arg(long)]
    pub prefill: bool,
    /// Open loop: requests are due at this rate, whatever becomes of those before. Without it,
    /// each answer lets the next request go
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<u64>,
    /// With `--rate`: how the requests are spread over time
    #[arg(long, value_enum, default_value_t = Arrivals::Constant)]
    pub arrivals: Arrivals,
    /// Compare with the JSON that an earlier run of the same kind printed
    #[arg(long, value_name = "OLD.json")]
    pub compare: Option<PathBuf>,
    /// The directory in which this machine's sync is measured; by default the one for temporary
    /// files
    #[arg(long, value_name = "DIR")]
    pub fsync_in: Option<PathBuf>,
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchWhat {
    /// Writes
    Put,
    /// Reads
    Get,
    /// Reads and writes
    Mixed,
    /// Writes that add to a value
    Append,
    /// Writes that are conditional on the revision this client saw last
    Cas,
}

/// Which keys are asked for how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Distribution {
    /// All alike
    Uniform,
    /// The first most, the next about half as often, and so on (exponent 0.99, as in YCSB)
    Zipf,
    /// One after the other, and again from the first
    Sequential,
}

/// How fresh reads must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchConsistency {
    /// As of now, confirmed by a quorum
    Linearizable,
    /// As of now, by the leader's lease where the cluster allows it
    Lease,
    /// Whatever the node that is asked has
    Stale,
}

/// How the requests of an open loop are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// At even distances
    Constant,
    /// At random, as those of many users who do not know of each other
    Poisson,
}

/// The word that stands for a choice, on the command line and in JSON.
#[must_use]
pub fn word(choice: impl ValueEnum + Copy) -> String {
    let possible = choice.to_possible_value();
    possible.map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// `fsync`
#[derive(Debug, Args)]
pub struct FsyncArgs {
    /// A directory on the disk in question
    pub directory: PathBuf,
    /// How many syncs to measure, of each kind
    #[arg(long, default_value_t = 1_000)]
    pub count: u32,
}
