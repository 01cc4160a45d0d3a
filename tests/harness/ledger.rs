//! Adds what was run to the ledger, `docs/reliability.json`.

use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use quorate_sim::ledger::Ledger;
pub use quorate_sim::ledger::Torture;

/// Adds a torture.
pub fn add(torture: Torture) {
    let path = root().join("docs/reliability.json");
    let text = std::fs::read_to_string(&path).expect("the ledger can be read");
    let mut ledger: Ledger = serde_json::from_str(&text).expect("the ledger is written by tools");
    ledger.tortures.push(torture);
    let mut text = serde_json::to_string_pretty(&ledger).expect("numbers and words");
    text.push('\n');
    std::fs::write(&path, text).expect("the ledger can be written");
}

/// The commit that is run; with a `+` where the tree has changes.
#[must_use]
pub fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(root()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let hash = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let changed = git(&["status", "--porcelain", "--", "src", "actors"]).unwrap_or_default();
    if changed.is_empty() { hash } else { format!("{hash}+") }
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}
