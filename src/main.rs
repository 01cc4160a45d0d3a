//! The `quorate` binary: parses the words, runs the command, sets the exit code.

use std::process::ExitCode;

use clap::Parser;
use quorate::cli::{self, args::Cli, output::exit};

/// A put allocates and frees a dozen times on each node, much of it in batches that glibc's caches
/// are too short for (docs/benchmarks.md).
#[cfg(all(unix, feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    let json = cli.common.json();
    let code = match cli::run(cli) {
        Ok(()) => exit::OK,
        Err(failed) => {
            failed.print(json);
            failed.exit
        }
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Two lines, not a page: what is wrong, and the nearest word or where help is.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let what = lines.next().unwrap_or("wrong usage").trim_start_matches("error: ");
    let wanted: Vec<&str> = lines
        .clone()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .collect();
    let tip = if wanted.is_empty() {
        "try: quorate --help".to_owned()
    } else {
        wanted.join(" ").trim_start_matches("tip: ").to_owned()
    };
    eprintln!("quorate: {what}\n{tip}");
    ExitCode::from(u8::try_from(exit::USAGE).unwrap_or(2))
}
