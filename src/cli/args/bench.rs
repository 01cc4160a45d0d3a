//! The words of `bench` and `fsync`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `bench`
#[derive(Debug, Args)]
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
    /// Send so many requests a second, whether or not those before are answered (open loop);
    /// without it each client sends the next one when one is answered
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<u64>,
    /// The size of a value
    #[arg(long, default_value_t = 256)]
    pub value_bytes: usize,
    /// How many keys
    #[arg(long, default_value_t = 10_000)]
    pub keys: u64,
    /// The size of a key
    #[arg(long, default_value_t = 16)]
    pub key_bytes: usize,
    /// Which keys are drawn how often
    #[arg(long, value_enum, default_value_t = Distribution::Uniform)]
    pub distribution: Distribution,
    /// Of `mixed`: how many of a hundred requests are reads
    #[arg(long, default_value_t = 90, value_name = "PERCENT")]
    pub reads: u32,
    /// How fresh reads must be
    #[arg(long, value_enum, default_value_t = BenchConsistency::Linearizable)]
    pub consistency: BenchConsistency,
    /// How long to measure
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// How long to load the cluster before that, in seconds
    #[arg(long, default_value_t = 1, value_name = "SECONDS")]
    pub warm_up: u64,
    /// Do not write all keys first where they are read
    #[arg(long)]
    pub no_fill: bool,
    /// Compare with the JSON output of an earlier run
    #[arg(long, value_name = "OLD.json")]
    pub compare: Option<PathBuf>,
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
    /// Bytes added to values
    Append,
    /// Conditional writes, whose condition holds
    Cas,
}

impl BenchWhat {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            BenchWhat::Put => "put",
            BenchWhat::Get => "get",
            BenchWhat::Mixed => "mixed",
            BenchWhat::Append => "append",
            BenchWhat::Cas => "cas",
        }
    }
}

/// Which keys are drawn how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Distribution {
    /// All alike
    Uniform,
    /// A few much more often than the rest (exponent 0.99)
    Zipf,
    /// One after another
    Sequential,
}

/// How fresh reads must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchConsistency {
    /// As of now, confirmed by a quorum
    Linearizable,
    /// As of now, by the leader's lease where it has one
    Lease,
    /// Whatever the node that is asked has
    Stale,
}

/// `fsync`
#[derive(Debug, Args)]
pub struct FsyncArgs {
    /// A directory on the disk to measure
    pub directory: PathBuf,
    /// How many writes
    #[arg(long, default_value_t = 500)]
    pub writes: u32,
}
