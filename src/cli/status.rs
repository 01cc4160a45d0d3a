//! `status`: every node, asked one by one, at the same time.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use quorate_actors::space::LOW_SPACE;
use quorate_client::Client;
use quorate_core::wire::client::{Op, PeerStatus, Status, Success};
use serde_json::json;

use super::args::Common;
use super::connect::endpoints;
use super::output::{Failed, exit, print_line};

/// What one node answered.
pub struct Answer {
    /// Where it was asked.
    pub address: String,
    /// Its status, or why there is none.
    pub status: Result<Box<Status>, String>,
    /// How long the answer took.
    pub took: Duration,
}

/// Asks every address, all at once.
pub async fn ask_all(addresses: &[String], timeout: Duration) -> Vec<Answer> {
    let asked: Vec<_> =
        addresses.iter().map(|address| tokio::spawn(ask(address.clone(), timeout))).collect();
    let mut answers = Vec::new();
    for answer in asked {
        if let Ok(answer) = answer.await {
            answers.push(answer);
        }
    }
    answers
}

async fn ask(address: String, timeout: Duration) -> Answer {
    let started = Instant::now();
    let asking = async {
        let client = Client::builder().endpoint(&address).pinned(true).sessionless(true);
        // A little less than the whole, so that the reason is told rather than the time.
        let client = client.deadline(timeout * 3 / 4);
        let client = client.connect().await?;
        client.call(Op::Status, None).await
    };
    let status = match tokio::time::timeout(timeout, asking).await {
        Ok(Ok(Success::Status(status))) => Ok(status),
        Ok(Ok(_)) => Err("answered something else".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} ms", timeout.as_millis())),
    };
    Answer { address, status, took: started.elapsed() }
}

/// `status`
///
/// # Errors
/// Exit code 69 where no node answers, or none leads.
pub async fn status(common: &Common) -> Result<(), Failed> {
    let addresses = endpoints(common)?;
    let timeout = Duration::from_millis(common.timeout_ms.min(2_000));
    let mut answers = ask_all(&addresses, timeout).await;
    // A single endpoint is enough to find the others.
    let members = known_members(&answers, &addresses, timeout).await;
    if !members.is_empty() {
        answers.extend(ask_all(&members, timeout).await);
    }
    let order = |answer: &Answer| answer.status.as_ref().map_or(u64::MAX, |status| status.node);
    answers.sort_by_key(order);
    let leader = leader(&answers);
    if common.json() {
        print_json(&answers)?;
    } else {
        print_table(&answers, leader)?;
    }
    if leader.is_some() {
        return Ok(());
    }
    let up = answers.iter().filter(|answer| answer.status.is_ok()).count();
    let text = format!("no leader: {up} of {} nodes answer", answers.len());
    Err(Failed::new(exit::UNREACHABLE, "no_leader", text))
}

/// `status --watch`: again every second, until it is interrupted.
///
/// # Errors
/// Only where nothing can be printed: a cluster that does not answer is what one watches for.
pub async fn watch(common: &Common) -> Result<(), Failed> {
    loop {
        if std::io::stdout().is_terminal() {
            // To the top of an empty screen.
            print_line("\x1b[2J\x1b[H")?;
        }
        match status(common).await {
            Err(failed) if failed.exit == exit::UNREACHABLE => failed.print(common.json()),
            other => other?,
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn known_members(answers: &[Answer], asked: &[String], timeout: Duration) -> Vec<String> {
    let Some(address) = answers.iter().find(|answer| answer.status.is_ok()) else { return vec![] };
    let asking = async {
        let client = Client::builder().endpoint(&address.address).pinned(true).sessionless(true);
        let client = client.deadline(timeout).connect().await.ok()?;
        client.call(Op::Members, None).await.ok()
    };
    match tokio::time::timeout(timeout, asking).await {
        Ok(Some(Success::Members(members))) if asked.len() < members.len() => {
            let missing = members.into_iter().map(|member| member.client);
            missing.filter(|client| !asked.contains(client)).collect()
        }
        _ => vec![],
    }
}

/// The leader of the highest term.
#[must_use]
pub fn leader(answers: &[Answer]) -> Option<&Status> {
    let statuses = answers.iter().filter_map(|answer| answer.status.as_deref().ok());
    statuses.filter(|status| status.role == "leader").max_by_key(|status| status.term)
}

fn print_json(answers: &[Answer]) -> Result<(), Failed> {
    let nodes: Vec<_> = answers
        .iter()
        .map(|answer| match &answer.status {
            Ok(status) => json!({"address": answer.address, "status": status}),
            Err(error) => json!({"address": answer.address, "error": error}),
        })
        .collect();
    print_line(json!({ "nodes": nodes }))
}

fn print_table(answers: &[Answer], leader: Option<&Status>) -> Result<(), Failed> {
    print_line(headline(answers, leader))?;
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header([
        "NODE", "ROLE", "CLIENT", "TERM", "LAST", "COMMIT", "APPLIED", "LAG", "CONTACT", "STATE",
        "VERSION",
    ]);
    let followers: BTreeMap<u64, &PeerStatus> = leader
        .map(|leader| leader.peers.iter().map(|peer| (peer.id, peer)).collect())
        .unwrap_or_default();
    for answer in answers {
        table.add_row(row(answer, leader, &followers));
    }
    for column in 3..9 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in table.to_string().lines() {
        print_line(line.trim())?;
    }
    print_line(hashes(answers))?;
    warnings(answers, leader).into_iter().try_for_each(print_line)
}

fn row(
    answer: &Answer,
    leader: Option<&Status>,
    followers: &BTreeMap<u64, &PeerStatus>,
) -> Vec<String> {
    let status = match &answer.status {
        Ok(status) => status,
        Err(error) => {
            let mut row = vec!["-".into(), "unreachable".into(), answer.address.clone()];
            row.extend(std::iter::repeat_n("-".to_owned(), 7));
            row.push(error.clone());
            return row;
        }
    };
    let leads = leader.is_some_and(|leader| leader.node == status.node);
    let lag = leader.map_or("?".to_owned(), |leader| {
        leader.commit_index.saturating_sub(status.applied_index).to_string()
    });
    let follower = followers.get(&status.node);
    let contact = follower.map_or("-".into(), |peer| format!("{} ms", peer.last_contact_ms));
    vec![
        format!("n{}{}", status.node, if leads { "*" } else { "" }),
        status.role.clone(),
        answer.address.clone(),
        status.term.to_string(),
        status.last_index.to_string(),
        status.commit_index.to_string(),
        status.applied_index.to_string(),
        lag,
        contact,
        follower.map_or("-".into(), |peer| peer.state.clone()),
        status.version.clone(),
    ]
}

fn headline(answers: &[Answer], leader: Option<&Status>) -> String {
    let up = answers.iter().filter(|answer| answer.status.is_ok()).count();
    let total = answers.len();
    let Some(any) = answers.iter().find_map(|answer| answer.status.as_deref().ok()) else {
        return format!("no node answers (0 of {total})");
    };
    let name = &any.cluster;
    match leader {
        Some(leader) => {
            let quorum = total / 2 + 1;
            let spare = up.saturating_sub(quorum);
            format!(
                "cluster {name}   term {}   leader n{}   revision {}   {up} of {total} voters up, may lose {spare}",
                leader.term, leader.node, leader.revision
            )
        }
        None => format!("cluster {name}   no leader   {up} of {total} voters up"),
    }
}

/// Whether nodes at one applied index have one state.
fn hashes(answers: &[Answer]) -> String {
    let mut by_index: BTreeMap<u64, BTreeMap<&str, u64>> = BTreeMap::new();
    let statuses = || answers.iter().filter_map(|answer| answer.status.as_deref().ok());
    for status in statuses() {
        let hash = &status.state_hash;
        *by_index.entry(hash.index).or_default().entry(&hash.hash).or_default() += 1;
    }
    let newest = statuses().max_by_key(|status| status.applied_index);
    let data = newest.map_or_else(String::new, |status| {
        let kib = status.state_bytes / 1_024;
        let log = status.log_bytes / (1 << 20);
        format!(
            "data  {} keys, {kib} KiB state, {log} MiB log, {} sessions",
            status.keys, status.sessions
        )
    });
    if let Some((index, _)) = by_index.iter().find(|(_, hashes)| hashes.len() > 1) {
        return format!("{data}, STATE HASHES DIFFER at {index}: stop writing and report this");
    }
    let most = by_index.iter().max_by_key(|(_, hashes)| hashes.values().sum::<u64>());
    match most.and_then(|(index, hashes)| Some((index, hashes.iter().next()?))) {
        Some((index, (hash, count))) => {
            format!("{data}, state hash {hash} equal on {count} at {index}")
        }
        None => data,
    }
}

fn warnings(answers: &[Answer], leader: Option<&Status>) -> Vec<String> {
    let total = answers.len();
    let up = answers.iter().filter(|answer| answer.status.is_ok()).count();
    let mut warnings = Vec::new();
    if leader.is_some() && total > 1 && up == total / 2 + 1 && up < total {
        warnings.push(format!("! {up} of {total} voters up: the next failure stops writes"));
    }
    let statuses = answers.iter().filter_map(|answer| answer.status.as_deref().ok());
    warnings.extend(statuses.filter_map(low_space).map(|text| format!("! {text}")));
    warnings
}

/// What a node's alarm about its disk means.
#[must_use]
pub fn low_space(status: &Status) -> Option<String> {
    let low = status.alarms.iter().any(|alarm| alarm == LOW_SPACE);
    low.then(|| {
        let (node, left) = (status.node, status.free_bytes >> 20);
        let means = if status.role == "leader" {
            "it refuses writes: free some space there, or run: quorate leader transfer"
        } else {
            "it would refuse writes as a leader: free some space there"
        };
        format!("n{node} has {left} MiB of disk left, less than storage.min_free_bytes; {means}")
    })
}
