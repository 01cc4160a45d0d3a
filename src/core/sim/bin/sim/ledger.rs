//! The ledger, `docs/reliability.json`: what has been run, appended by this tool and never
//! by hand.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use quorate_sim::coverage::Sometimes;
pub(crate) use quorate_sim::ledger::{Campaign, Ledger, Seen};

use crate::Args;
use crate::campaign::Findings;

/// A file of the project.
pub(crate) fn project(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../..").join(path)
}

/// The ledger as it is.
pub(crate) fn read() -> Ledger {
    let text = std::fs::read_to_string(project("docs/reliability.json")).unwrap_or_default();
    if text.is_empty() {
        return Ledger::default();
    }
    serde_json::from_str(&text).expect("docs/reliability.json is written by this tool alone")
}

/// Replaces the ledger.
pub(crate) fn write(ledger: &Ledger) {
    let mut text = serde_json::to_string_pretty(ledger).expect("numbers and words");
    text.push('\n');
    let path = project("docs/reliability.json");
    std::fs::write(&path, text).unwrap_or_else(|error| {
        eprintln!("sim: cannot write {}: {error}", path.display());
        std::process::exit(73);
    });
}

/// The commit that is run.
pub(crate) fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(project(".")).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let hash = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let changed = git(&["status", "--porcelain", "--", "src/core"]).unwrap_or_default();
    if changed.is_empty() { hash } else { format!("{hash}+") }
}

/// Adds a campaign.
pub(crate) fn append(args: &Args, findings: &Findings, cpu_us: u64, commit: String) {
    let tally = &findings.tally;
    let mut faults = BTreeMap::new();
    for ((kind, _), count) in &tally.faults {
        *faults.entry((*kind).to_owned()).or_default() += count;
    }
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut ledger = read();
    ledger.campaigns.push(Campaign {
        commit,
        unix_time: since.map_or(0, |since| since.as_secs()),
        first_seed: args.from,
        runs: findings.runs,
        twice: findings.twice,
        virtual_ms: findings.virtual_us / 1_000,
        cpu_ms: cpu_us / 1_000,
        calls: tally.done,
        entries: tally.committed,
        messages: tally.messages,
        messages_lost: tally.lost,
        messages_doubled: tally.doubled,
        messages_replayed: tally.replayed,
        starts: tally.starts,
        facts: tally.facts,
        violations: findings.failures.len() as u64,
        faults,
    });
    let seen = |what: &Sometimes| Seen {
        what: what.words().to_owned(),
        times: findings.coverage.count(*what),
    };
    ledger.seen = Sometimes::ALL.iter().map(seen).collect();
    write(&ledger);
    println!("added to docs/reliability.json; `sim --page` writes the pages from it");
}
