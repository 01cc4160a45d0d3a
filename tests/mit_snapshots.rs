//! The snapshot part of the MIT course's Raft lab (3D), against real processes through the proxies.
//! `QUORATE_MIT=full` for its full length.
//!
//! The course snapshots each ten commands and allows 2,000 bytes of log; here it is the smallest
//! bound that the configuration takes, a thousand entries, and as many commands more.

use std::path::Path;
use std::time::Duration;

use quorate_client::Client;
use quorate_core::wire::client::{Op, Put};
use quorate_harness::course::{Lab, length};
use quorate_harness::proxy::Rules;
use quorate_harness::wait_for;

/// A checkpoint after a thousand entries, a short tail, files of a mebibyte.
const SMALL: &str = "
segment_bytes = 1_048_576
[raft]
snapshot_entries = 1_000
trailing_entries = 100
";

/// What the log may hold at any time: two checkpoints' worth of small entries, the file that is
/// written and the one that is made ready.
const LOG_BYTES: u64 = 4 << 20;

/// How a node goes away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Away {
    Never,
    Cut,
    Crash,
}

fn lab() -> Lab {
    Lab::start(Path::new(env!("CARGO_BIN_EXE_quorate")), 3, SMALL)
}

/// So many commands at once, each acknowledged.
async fn commands(client: &Client, count: u64) {
    let put = |number: u64| {
        let (key, value) = (format!("key/{}", number % 50).into(), format!("{number}").into());
        client.submit(Op::Put(Put { key, value, ..Put::default() }), None)
    };
    let pending: Vec<_> = (0..count).map(put).collect();
    for one in pending {
        one.await.expect("a command is acknowledged within the client's deadline");
    }
}

/// No log is longer than it may be.
async fn check_logs(lab: &Lab) {
    for status in lab.cluster.statuses().await {
        let bytes = status.log_bytes;
        assert!(bytes <= LOG_BYTES, "node {}: {bytes} bytes of log", status.node);
    }
}

/// Rounds of commands while a node is away, long enough that it needs a snapshot.
async fn rounds(away: Away, is_reliable: bool) {
    let mut lab = lab();
    lab.one(3).await;
    if !is_reliable {
        let rules = Rules { drop_millionths: 20_000, ..Rules::unreliable() };
        lab.network(&rules);
    }
    let client = lab.cluster.client().await;
    for round in 0..length(30, 4) {
        let leader = lab.cluster.leader().await;
        // Every third time the old leader goes, else a follower.
        let victim = if round % 3 == 2 { leader } else { lab.others(leader)[0] };
        match away {
            Away::Never => {}
            Away::Cut => lab.cut(victim),
            Away::Crash => lab.crash(victim),
        }
        let before =
            lab.cluster.status(lab.others(victim)[0]).await.map(|status| status.last_index);
        commands(&client, 1_500).await;
        check_logs(&lab).await;
        if away == Away::Never {
            continue;
        }
        let rest = lab.others(victim);
        wait_for("log without what the victim needs", Duration::from_secs(20), async || {
            let statuses = lab.cluster.statuses_of(&rest).await;
            let trimmed = statuses.iter().all(|status| Some(status.first_index) > before);
            (trimmed && statuses.len() == rest.len()).then_some(())
        })
        .await;
        lab.revive(victim);
        lab.one(3).await;
    }
    lab.network(&Rules::default());
    lab.one(3).await;
    check_logs(&lab).await;
    lab.finish().await;
}

#[tokio::test]
async fn snapshot_basic_3d() {
    rounds(Away::Never, true).await;
}

#[tokio::test]
async fn snapshot_install_3d() {
    rounds(Away::Cut, true).await;
}

#[tokio::test]
async fn snapshot_install_unreliable_3d() {
    rounds(Away::Cut, false).await;
}

#[tokio::test]
async fn snapshot_install_crash_3d() {
    rounds(Away::Crash, true).await;
}

#[tokio::test]
async fn snapshot_install_unreliable_crash_3d() {
    rounds(Away::Crash, false).await;
}

#[tokio::test]
async fn snapshot_all_crash_3d() {
    let mut lab = lab();
    let mut before = lab.one(3).await;
    let rules = Rules { drop_millionths: 20_000, ..Rules::unreliable() };
    lab.network(&rules);
    for _ in 0..length(5, 3) {
        let client = lab.cluster.client().await;
        commands(&client, 1_200).await;
        let last = lab.one(3).await;
        lab.cluster.restart_all();
        lab.cluster.leader().await;
        let index = lab.one(3).await;
        assert!(index > last && last > before, "the index went back: {index} after {last}");
        before = index;
    }
    lab.finish().await;
}

#[tokio::test]
async fn snapshot_init_3d() {
    let mut lab = lab();
    let client = lab.cluster.client().await;
    commands(&client, 1_200).await;
    wait_for("snapshot on every node", Duration::from_secs(20), async || {
        let statuses = lab.cluster.statuses().await;
        let has = statuses.iter().filter(|status| status.snapshot_index > 0).count();
        (has == 3).then_some(())
    })
    .await;
    // The second start must not lose what the first one found in the snapshot.
    for _ in 0..2 {
        lab.cluster.restart_all();
        lab.one(3).await;
    }
    let client = lab.cluster.client().await;
    for key in 0..50 {
        let entry = client.get(format!("key/{key}")).await.expect("a read").entry;
        assert_eq!(entry.expect("it was written").version, 24, "key/{key}");
    }
    lab.finish().await;
}
