//! The generated parts of docs/reliability.md and README.md.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

use quorate_sim::invariants;
use quorate_sim::plan::Fault;

use crate::ledger::{Campaign, Ledger, project, read};

/// A part of a page: its name, and what it says.
type Part = (&'static str, String);

/// Writes them.
pub(crate) fn write() -> ExitCode {
    for (path, parts) in pages(&read()) {
        let file = project(path);
        let old = std::fs::read_to_string(&file).unwrap_or_default();
        match replaced(&old, &parts) {
            Ok(new) => {
                if let Err(error) = std::fs::write(&file, new) {
                    eprintln!("sim: cannot write {path}: {error}");
                    return ExitCode::from(73);
                }
            }
            Err(name) => {
                eprintln!("sim: {path} has no part `{name}`");
                return ExitCode::from(65);
            }
        }
    }
    ExitCode::SUCCESS
}

fn pages(ledger: &Ledger) -> Vec<(&'static str, Vec<Part>)> {
    vec![
        (
            "docs/reliability.md",
            vec![
                ("totals", totals(ledger)),
                ("faults", faults(ledger)),
                ("invariants", claims()),
                ("seen", seen(ledger)),
                ("mutants", mutants(ledger)),
                ("tortures", tortures(ledger)),
            ],
        ),
        ("README.md", vec![("proof", proof(ledger))]),
    ]
}

/// A page with its parts replaced.
fn replaced(page: &str, parts: &[Part]) -> Result<String, &'static str> {
    let mut page = page.to_owned();
    for (name, text) in parts {
        let (begin, end) = (format!("<!-- begin: {name} -->"), format!("<!-- end: {name} -->"));
        let from = page.find(&begin).ok_or(*name)? + begin.len();
        let to = from + page.get(from..).and_then(|rest| rest.find(&end)).ok_or(*name)?;
        page.replace_range(from..to, &format!("\n{}\n", text.trim_end()));
    }
    Ok(page)
}

fn sum(ledger: &Ledger, of: impl Fn(&Campaign) -> u64) -> u64 {
    ledger.campaigns.iter().map(of).sum()
}

fn fault_count(campaign: &Campaign) -> u64 {
    campaign.faults.values().sum()
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn proof(ledger: &Ledger) -> String {
    let hours = sum(ledger, |campaign| campaign.virtual_ms) / 3_600_000;
    let found = ledger.mutants.iter().filter(|mutant| mutant.by.is_some()).count();
    format!(
        "**{} simulated cluster-hours, {} faults, {} operations: {} violations open.** {} of {} bugs put in on\n\
         purpose are found ([how, and what it cannot show](docs/reliability.md)).",
        grouped(hours),
        grouped(sum(ledger, fault_count)),
        grouped(sum(ledger, |campaign| campaign.calls)),
        open_violations(ledger),
        found,
        ledger.mutants.len()
    )
}

/// Those of the newest campaign: what earlier ones found is in the museum.
fn open_violations(ledger: &Ledger) -> u64 {
    ledger.campaigns.last().map_or(0, |campaign| campaign.violations)
}

fn totals(ledger: &Ledger) -> String {
    let mut out = String::from(
        "| campaign | commit | runs | cluster-hours | faults | calls answered | messages | facts checked | cluster-seconds per CPU-second | violations |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut row = |name: &str, commit: &str, campaigns: &[Campaign]| {
        let add = |of: fn(&Campaign) -> u64| campaigns.iter().map(of).sum::<u64>();
        let (virtual_ms, cpu_ms) = (add(|c| c.virtual_ms), add(|c| c.cpu_ms));
        let (hours, tenth) = (virtual_ms / 3_600_000, virtual_ms / 360_000 % 10);
        writeln!(
            out,
            "| {name} | {commit} | {} | {}.{tenth} | {} | {} | {} | {} | {} | {} |",
            grouped(add(|c| c.runs)),
            grouped(hours),
            grouped(add(fault_count)),
            grouped(add(|c| c.calls)),
            grouped(add(|c| c.messages)),
            grouped(add(|c| c.facts)),
            grouped(virtual_ms / cpu_ms.max(1)),
            add(|c| c.violations)
        )
        .expect("writes into memory");
    };
    for (place, campaign) in ledger.campaigns.iter().enumerate() {
        let name = format!("{}, from seed {}", place + 1, campaign.first_seed);
        row(&name, &campaign.commit, std::slice::from_ref(campaign));
    }
    row("**all**", "", &ledger.campaigns);
    out
}

/// Runs of real processes.
fn tortures(ledger: &Ledger) -> String {
    if ledger.tortures.is_empty() {
        return String::from("No run is in the ledger yet.\n");
    }
    let mut out = String::from(
        "| commit | seed | nodes | minutes | faults (kinds) | operations | acknowledged | unknown | lost | doubled | stale | longest outage | violations |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for run in &ledger.tortures {
        let (minutes, tenth) = (run.seconds / 60, run.seconds % 60 / 6);
        writeln!(
            out,
            "| {} | {} | {} | {minutes}.{tenth} | {} ({}) | {} | {} | {} | {} | {} | {} | {} ms | {} |",
            run.commit,
            run.seed,
            run.nodes,
            grouped(run.faults.values().sum()),
            run.faults.len(),
            grouped(run.operations),
            grouped(run.acknowledged),
            grouped(run.unknown),
            run.lost,
            run.doubled,
            run.stale,
            grouped(run.longest_outage_ms),
            run.violations,
        )
        .expect("writes into memory");
    }
    out
}

fn faults(ledger: &Ledger) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for campaign in &ledger.campaigns {
        for (kind, count) in &campaign.faults {
            *counts.entry(kind).or_default() += count;
        }
    }
    let mut out = String::from("| fault | times |\n|---|---|\n");
    for kind in Fault::KINDS {
        let count = counts.get(kind).copied().unwrap_or(0);
        writeln!(out, "| {kind} | {} |", grouped(count)).expect("writes into memory");
    }
    let messages = [
        ("messages lost", sum(ledger, |campaign| campaign.messages_lost)),
        ("messages doubled", sum(ledger, |campaign| campaign.messages_doubled)),
        ("messages replayed", sum(ledger, |campaign| campaign.messages_replayed)),
        ("starts of nodes", sum(ledger, |campaign| campaign.starts)),
    ];
    for (what, count) in messages {
        writeln!(out, "| *not counted as faults:* {what} | {} |", grouped(count))
            .expect("writes into memory");
    }
    out
}

fn claims() -> String {
    let mut out = String::from("| | claim |\n|---|---|\n");
    for invariant in invariants::all() {
        writeln!(out, "| {} | {} |", invariant.id(), invariant.claim()).expect("memory");
    }
    for id in ["L1", "L2", "H1", "H2"] {
        writeln!(out, "| {id} | {} |", crate::replay::claim(id)).expect("writes into memory");
    }
    out
}

fn seen(ledger: &Ledger) -> String {
    let mut out = String::from("| what | times in the newest campaign |\n|---|---|\n");
    for seen in &ledger.seen {
        writeln!(out, "| {} | {} |", seen.what, grouped(seen.times)).expect("writes into memory");
    }
    out
}

fn mutants(ledger: &Ledger) -> String {
    let mut out = String::from("| bug | found by | seeds needed |\n|---|---|---|\n");
    for found in &ledger.mutants {
        let by = found.by.as_deref().unwrap_or("**not found**");
        let seeds = found.seeds.map_or("–".to_owned(), grouped);
        let (mutant, sentence) = (&found.mutant, &found.sentence);
        writeln!(out, "| `{mutant}`: {sentence} | {by} | {seeds} |").expect("writes into memory");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_say_what_the_ledger_says() {
        for (path, parts) in pages(&read()) {
            let page = std::fs::read_to_string(project(path)).expect("the page is there");
            let new = replaced(&page, &parts).expect("the page has its parts");
            assert!(page == new, "{path} is not what the ledger says: run `sim --page`");
        }
    }
}
