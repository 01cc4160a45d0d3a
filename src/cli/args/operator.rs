//! The words of operators' commands.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What about the members.
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// Add a node: it receives the log, and votes once it has caught up
    Add(AddArgs),
    /// Give a member a vote now
    Promote {
        /// The node
        id: u64,
        /// Also when it lags, or a quorum may not be reachable afterwards
        #[arg(long)]
        force: bool,
    },
    /// Remove a member for good
    Remove {
        /// The node
        id: u64,
        /// Also when a quorum of the rest may not be reachable
        #[arg(long)]
        force: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Let a node whose disk is lost come back as a new member
    Replace(ReplaceArgs),
    /// Give a member other addresses
    Set {
        /// The node
        id: u64,
        /// Where the other nodes reach it, host:port
        #[arg(long)]
        peer: Option<String>,
        /// Where clients reach it, host:port
        #[arg(long)]
        client: Option<String>,
    },
}

/// `member add`
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The node's id, 1 to 65535
    pub id: u64,
    /// Where the other nodes reach it, host:port
    #[arg(long)]
    pub peer: String,
    /// Where clients reach it, host:port
    #[arg(long)]
    pub client: String,
    /// It stays without a vote
    #[arg(long)]
    pub standby: bool,
    /// Wait until it has caught up and votes
    #[arg(long)]
    pub wait: bool,
}

/// `member replace`
#[derive(Debug, Args)]
pub struct ReplaceArgs {
    /// The node
    pub id: u64,
    /// Where the other nodes reach it from now on, host:port
    #[arg(long)]
    pub peer: Option<String>,
    /// Where clients reach it from now on, host:port
    #[arg(long)]
    pub client: Option<String>,
    /// Also when a quorum of the rest may not be reachable
    #[arg(long)]
    pub force: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// What about backups.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Save one, while the cluster serves
    Save {
        /// The file to write
        file: PathBuf,
    },
    /// Read one to its end and check it
    Verify {
        /// The file
        file: PathBuf,
    },
    /// Say what one is of
    Show {
        /// The file
        file: PathBuf,
    },
}

/// `restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup
    pub file: PathBuf,
    /// Only this node's directory, on its machine; without it, all nodes' on this one
    #[arg(long)]
    pub id: Option<u64>,
    /// By how much the store's revision is raised, so that nobody takes new revisions for old
    #[arg(long, default_value_t = 1_000_000)]
    pub revision_jump: u64,
}

/// `recover`
#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// The data directory of the node that has survived; better a copy of it
    #[arg(long)]
    pub from: PathBuf,
    /// The backup to write
    #[arg(long)]
    pub out: PathBuf,
}

/// What about leadership.
#[derive(Debug, Subcommand)]
pub enum LeaderCommand {
    /// Hand leadership over
    Transfer {
        /// To which node; without it, to the one that lacks least
        #[arg(long)]
        to: Option<u64>,
    },
}
