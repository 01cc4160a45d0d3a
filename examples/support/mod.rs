//! What every example does: it is its own node.

use std::process::ExitCode;

use clap::Parser;

/// Lets an example be its own node: run with the words of the command line, it is `quorate`.
pub(crate) fn be_a_node_if_asked() -> Option<ExitCode> {
    if !std::env::args().any(|word| word == "node") {
        return None;
    }
    let cli = quorate::cli::args::Cli::parse();
    let json = cli.common.json();
    Some(match quorate::cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            failed.print(json);
            ExitCode::from(u8::try_from(failed.exit).unwrap_or(1))
        }
    })
}
