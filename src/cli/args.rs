//! The words of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A fault-tolerant key-value store on Raft.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, about, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// The configuration: nodes are started from it, clients find the nodes in it
    #[arg(long, global = true, default_value = "config.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// Override a key of the configuration, as in `--set raft.heartbeat_ms=50`
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// Client addresses to use instead of those in the configuration
    #[arg(
        long,
        global = true,
        value_delimiter = ',',
        env = "QUORATE_ENDPOINTS",
        value_name = "HOST:PORT,.."
    )]
    pub endpoints: Vec<String>,
    /// How results are written
    #[arg(short, long, short_alias = 'w', global = true, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// The same as `-o json`
    #[arg(long, global = true)]
    pub json: bool,
    /// How long a request may take, in milliseconds
    #[arg(long, global = true, default_value_t = 5_000, value_name = "MS")]
    pub timeout_ms: u64,
    /// Write nothing but what was asked for
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Tell what happens on the way
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is wanted")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; values unchanged into a pipe
    Text,
    /// One JSON value
    Json,
    /// One JSON value a line
    Jsonl,
    /// The value's bytes, always unchanged
    Raw,
    /// A table
    Table,
}

impl Common {
    /// Whether results and errors are JSON.
    #[must_use]
    pub fn json(&self) -> bool {
        self.json || matches!(self.output, Format::Json | Format::Jsonl)
    }
}

mod bench;
mod operator;

pub use bench::{Arrivals, BenchArgs, BenchConsistency, BenchWhat, Distribution, FsyncArgs, word};
pub use operator::{
    AddArgs, BackupCommand, LeaderCommand, MemberCommand, RecoverArgs, ReplaceArgs, RestoreArgs,
};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one node of the configuration in the foreground
    Node(NodeArgs),
    /// Run all nodes of the configuration on this machine
    Cluster,
    /// Set a key
    Put(PutArgs),
    /// Print a key's value
    Get(GetArgs),
    /// Add bytes at the end of a key's value
    Append(AppendArgs),
    /// Remove keys
    Del(DelArgs),
    /// Set or remove a key if it is as expected
    Cas(CasArgs),
    /// Add to a decimal number
    Incr(IncrArgs),
    /// Show all nodes
    Status {
        /// Show them again every second
        #[arg(long)]
        watch: bool,
    },
    /// List the members
    Members,
    /// Add, promote, remove or replace a member
    Member {
        /// What to do
        #[command(subcommand)]
        command: MemberCommand,
    },
    /// Show the leader, or hand leadership over
    Leader {
        /// What to do
        #[command(subcommand)]
        command: Option<LeaderCommand>,
    },
    /// Make a checkpoint now, on every node
    Snapshot,
    /// Save a backup of a running cluster, or look at one
    Backup {
        /// What to do
        #[command(subcommand)]
        command: BackupCommand,
    },
    /// Begin a new cluster from a backup: fills the empty data directories of a configuration
    Restore(RestoreArgs),
    /// Make a backup of what one node's data directory holds, when the cluster is lost
    Recover(RecoverArgs),
    /// Say what is wrong with a data directory, or with the running cluster
    Doctor {
        /// A data directory; without one, the cluster is asked
        directory: Option<PathBuf>,
    },
    /// Write many keys from JSON lines or tab-separated lines, each exactly once
    Import(ImportArgs),
    /// Read what an import wrote and compare
    Verify(VerifyArgs),
    /// Print all keys as JSON lines
    Export(ExportArgs),
    /// Measure how many requests the cluster answers, and how fast
    Bench(BenchArgs),
    /// Measure whether a disk is fit for a node
    Fsync(FsyncArgs),
    /// Check, print or explain the configuration
    Config {
        /// What about it
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

/// What about the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with it, all at once
    Check,
    /// Print every key with its value
    Print {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
    },
    /// Say what a key means
    Explain {
        /// The key, such as `raft.heartbeat_ms`
        key: String,
    },
}

/// `node`
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Which of the configuration's nodes
    #[arg(long, env = "QUORATE_NODE_ID")]
    pub id: u64,
    /// Client addresses of a running cluster to join, if the data directory is empty; as
    /// `cluster.join`
    #[arg(long, value_delimiter = ',')]
    pub join: Vec<String>,
    /// End when the process that started this one ends
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

/// How a value is given: a word, `@FILE`, or `-` for standard input.
#[derive(Clone, Debug, Args)]
pub struct Escapes {
    /// Read `\xNN`, `\n`, `\t` and `\\` in keys and values as the bytes they stand for
    #[arg(long)]
    pub escaped: bool,
}

/// `put`
#[derive(Debug, Args)]
pub struct PutArgs {
    /// The key
    pub key: String,
    /// The value; `@FILE` reads a file, `-` or nothing reads standard input
    pub value: Option<String>,
    /// Print the value that was there before
    #[arg(long)]
    pub previous: bool,
    /// How words become bytes
    #[command(flatten)]
    pub escapes: Escapes,
}

/// `get`
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The key
    pub key: String,
    /// How fresh the answer must be
    #[arg(long, value_enum, default_value_t = Freshness::Linearizable)]
    pub consistency: Freshness,
    /// With `--consistency stale`: not older than this
    #[arg(long, value_name = "MS")]
    pub max_age_ms: Option<u64>,
    /// Print the entry's numbers too
    #[arg(long)]
    pub meta: bool,
    /// Print nothing, only set the exit code
    #[arg(long)]
    pub exists: bool,
    /// How words become bytes
    #[command(flatten)]
    pub escapes: Escapes,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Freshness {
    /// As of now, confirmed by a quorum
    Linearizable,
    /// Whatever the node that is asked has
    Stale,
}

/// `append`
#[derive(Debug, Args)]
pub struct AppendArgs {
    /// The key
    pub key: String,
    /// The bytes to add; `@FILE` reads a file, `-` or nothing reads standard input
    pub value: Option<String>,
    /// How words become bytes
    #[command(flatten)]
    pub escapes: Escapes,
}

/// `del`
#[derive(Debug, Args)]
pub struct DelArgs {
    /// The keys
    #[arg(required = true)]
    pub keys: Vec<String>,
    /// How words become bytes
    #[command(flatten)]
    pub escapes: Escapes,
}

/// `cas`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("expected").required(true))]
#[command(group = clap::ArgGroup::new("wanted").required(true))]
pub struct CasArgs {
    /// The key
    pub key: String,
    /// The new value; `@FILE` reads a file, `-` reads standard input
    #[arg(group = "wanted", allow_hyphen_values = true)]
    pub value: Option<String>,
    /// Remove the key instead
    #[arg(long, group = "wanted")]
    pub delete: bool,
    /// Expect this value
    #[arg(long, group = "expected", value_name = "VALUE")]
    pub expect: Option<String>,
    /// Expect an entry last written at this revision
    #[arg(long, group = "expected", value_name = "REVISION")]
    pub expect_revision: Option<u64>,
    /// Expect no such key
    #[arg(long, group = "expected")]
    pub expect_absent: bool,
    /// How words become bytes
    #[command(flatten)]
    pub escapes: Escapes,
}

/// `incr`
#[derive(Debug, Args)]
pub struct IncrArgs {
    /// The key
    pub key: String,
    /// What is added
    #[arg(default_value_t = 1, allow_negative_numbers = true)]
    pub by: i64,
    /// How words become bytes
    #[command(flatten)]
    pub escapes: Escapes,
}

/// `import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// JSON lines `{"key": .., "value": ..}` (or `key_base64`, `value_base64`), or lines
    /// `KEY<tab>VALUE`; `-` reads standard input
    #[arg(default_value = "-")]
    pub file: String,
    /// How many writes may be unanswered
    #[arg(long, default_value_t = 512)]
    pub outstanding: usize,
    /// How long to go on trying while the cluster cannot answer, in milliseconds
    #[arg(long, default_value_t = 60_000, value_name = "MS")]
    pub retry_for_ms: u64,
}

/// `verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The file that was imported; `-` reads standard input
    pub file: String,
    /// How many reads may be unanswered
    #[arg(long, default_value_t = 512)]
    pub outstanding: usize,
    /// Also expect that each key was written exactly once (or as often as the file has it)
    #[arg(long)]
    pub exactly_once: bool,
}

/// `export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Only keys that begin so
    #[arg(default_value = "")]
    pub prefix: String,
    /// How words become bytes
    #[command(flatten)]
    pub escapes: Escapes,
}
