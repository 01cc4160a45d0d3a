//! The command line: one binary for nodes, clients and tools.
//!
//! Standard output bears data only; a failure is one sentence on standard error and an exit
//! code ([`output::exit`]).

pub mod args;
pub mod backup;
pub mod bench;
pub mod bulk;
pub mod cluster;
pub mod connect;
pub mod data;
pub mod doctor;
pub mod fsync;
pub mod members;
pub mod node;
mod open_files;
pub mod output;
pub mod records;
pub mod recover;
pub mod restore;
pub mod settings;
pub mod status;

use args::{Cli, Command, Common, ConfigCommand};
use connect::run as block_on;
use output::{Failed, exit, print_line};

/// Runs a command.
///
/// # Errors
/// Why it does not end with 0, and with which exit code.
pub fn run(cli: Cli) -> Result<(), Failed> {
    let Cli { common, command } = cli;
    if !matches!(command, Command::Node(_)) {
        let level = if common.verbose { "debug" } else { "error" };
        env_logger::Builder::new().parse_filters(level).init();
    }
    match command {
        Command::Node(args) => node::node(&common, &args),
        Command::Cluster => block_on(cluster::cluster(&common)),
        Command::Put(args) => block_on(data::put(&common, &args)),
        Command::Get(args) => block_on(data::get(&common, &args)),
        Command::Append(args) => block_on(data::append(&common, &args)),
        Command::Del(args) => block_on(data::del(&common, &args)),
        Command::Cas(args) => block_on(data::cas(&common, &args)),
        Command::Incr(args) => block_on(data::incr(&common, &args)),
        Command::Status { watch: false } => block_on(status::status(&common)),
        Command::Status { watch: true } => block_on(status::watch(&common)),
        Command::Members => block_on(members::members(&common)),
        Command::Member { command } => block_on(members::member(&common, &command)),
        Command::Leader { command } => block_on(members::leadership(&common, command.as_ref())),
        Command::Snapshot => block_on(members::snapshot(&common)),
        Command::Backup { command } => backup::backup(&common, &command),
        Command::Restore(args) => restore::restore(&common, &args),
        Command::Recover(args) => backup::recover(&common, &args),
        Command::Doctor { directory: Some(directory) } => doctor::directory(&common, &directory),
        Command::Doctor { directory: None } => block_on(doctor::cluster(&common)),
        Command::Import(args) => block_on(bulk::import(&common, &args)),
        Command::Verify(args) => block_on(bulk::verify(&common, &args)),
        Command::Export(args) => bulk::export(&common, &args),
        Command::Bench(args) => block_on(bench::bench(&common, &args)),
        Command::Fsync(args) => fsync::fsync(&common, &args),
        Command::Config { command } => config(&common, &command),
    }
}

fn config(common: &Common, command: &ConfigCommand) -> Result<(), Failed> {
    match command {
        ConfigCommand::Explain { key } => match crate::config::explain(key) {
            Some(text) => print_line(text.trim_end()),
            None => Err(Failed::new(exit::NO, "not_found", format!("there is no key \"{key}\""))),
        },
        ConfigCommand::Check => {
            let config = connect::load(common)?;
            print_line(format_args!(
                "{} is fine: cluster {}, {} nodes",
                common.config.display(),
                config.cluster.name,
                config.nodes.len()
            ))
        }
        ConfigCommand::Print { origin } => {
            let config = connect::load(common)?;
            print_line(crate::config::print(&config, *origin).trim_end())
        }
    }
}
