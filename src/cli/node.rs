//! `node`: one node in the foreground, until it is told to stop.
//!
//! Everything that can be wrong is found before any actor starts: the configuration, the data
//! directory, the log. Recovery is a function; there is no node that is half started.

use std::collections::BTreeMap;

use quorate_actors::node::NodeError;
use quorate_core::types::NodeId;

use super::args::{Common, NodeArgs};
use super::output::{Failed, exit};
use super::recover;
use crate::config::Config;

/// `node`
///
/// # Errors
/// Why it does not start; once it runs, it ends with 0 or ends the process itself.
pub fn node(common: &Common, args: &NodeArgs) -> Result<(), Failed> {
    let id = NodeId(args.id);
    let (config, warnings) = load(common, id)?;
    init_log(&config, common.verbose);
    for warning in warnings {
        log::warn!("config: {}", warning.to_string().trim());
    }
    if args.with_parent {
        let death = rustix::process::set_parent_process_death_signal;
        let _ = death(Some(rustix::process::Signal::TERM));
    }
    let node = config.node(id).map_err(|text| Failed::new(exit::USAGE, "no_such_node", text))?;
    let start = recover::prepare(&config, node, &args.join)?;
    quorate_actors::fatal::abort_on_panic();
    let system = actix_rt::System::new();
    let ran = system.block_on(quorate_actors::node::run(start, crate::signals::stop()));
    ran.map_err(|error| not_running(&error))
}

fn load(common: &Common, id: NodeId) -> Result<(Config, Vec<crate::config::Warning>), Failed> {
    let env: BTreeMap<String, String> = std::env::vars().collect();
    Config::load(&common.config, &env, &common.set, Some(id))
        .map_err(|errors| Failed::new(exit::CONFIG, "config", errors.to_string()))
}

fn init_log(config: &Config, verbose: bool) {
    let level = if verbose { "debug" } else { config.log.level.as_str() };
    let quiet = "actix_server=warn,actix_web=warn,actix_http=warn,tungstenite=warn";
    let env = std::env::var("RUST_LOG").unwrap_or_else(|_| format!("{quiet},{level}"));
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(&env).format_timestamp_millis().format_target(false);
    builder.init();
}

fn not_running(error: &NodeError) -> Failed {
    match error {
        NodeError::Bind { what, address, error }
            if error.kind() == std::io::ErrorKind::AddrInUse =>
        {
            let text = format!(
                "{address} ({what}) is taken by another process. Is this node running already? \
                 `ss -ltnp` shows who listens"
            );
            Failed::new(exit::CONFIG, "address_in_use", text)
        }
        NodeError::Bind { .. } => Failed::new(exit::CONFIG, "address", error.to_string()),
        NodeError::Server(_) => Failed::new(exit::INTERNAL, "server", error.to_string()),
    }
}
