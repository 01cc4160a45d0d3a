//! A disk that fills up: writes are refused by name before it is full, reads go on, a restart
//! works, and writes come back when there is space. On a small file system of its own.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use quorate_client::{Client, Error};
use quorate_core::wire::client::{ErrorCode, Op, Put};
use quorate_harness::bare::http;
use quorate_harness::{Cluster, Setup, wait_for};

const SOON: Duration = Duration::from_secs(20);
const MIB: u64 = 1 << 20;

fn quorate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

/// A small file system in memory, mounted where a node keeps its data.
struct Small(PathBuf);

impl Small {
    /// `None`, with the reason on stderr, where this process may not mount.
    fn mount(at: &Path, bytes: u64) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let size = format!("size={bytes},mode=700");
        let mut mount = Command::new("mount");
        match mount.args(["-t", "tmpfs", "-o", &size, "small"]).arg(at).output() {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            Ok(output) => skipped(&String::from_utf8_lossy(&output.stderr)),
            Err(error) => skipped(&error.to_string()),
        }
    }

    /// Fills it up but for so many bytes.
    fn fill(&self, leave: u64) {
        let path = self.0.join("filler");
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        loop {
            let free = rustix::fs::statvfs(&self.0).unwrap();
            let free = free.f_bavail * free.f_frsize;
            let Some(more) = free.checked_sub(leave).filter(|more| *more > 0) else { return };
            let piece = usize::try_from(more.min(MIB)).unwrap();
            if file.write_all(&vec![1; piece]).is_err() {
                return;
            }
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let ended = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(ended.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}

fn skipped(why: &str) -> Option<Small> {
    eprintln!("SKIPPED: a full disk needs a small file system, and mount says: {}", why.trim());
    None
}

/// One node on a small disk, and the disk.
fn one_on_a_small_disk(bytes: u64, more: &str) -> Option<(Cluster, Small)> {
    let cluster = Setup::new(quorate(), 1).more(more).prepare();
    let small = Small::mount(&cluster.data_dir(1), bytes)?;
    let mut cluster = cluster;
    cluster.start_node(1);
    Some((cluster, small))
}

fn put(key: &str, bytes: usize) -> Op {
    let (key, value) = (key.to_owned().into(), vec![b'v'; bytes].into());
    Op::Put(Put { key, value, ..Put::default() })
}

/// The sentence with which a write is refused; `None` where it is done.
async fn refused(client: &Client, op: Op) -> Option<String> {
    match client.call(op, Some(Duration::from_millis(800))).await {
        Ok(_) => None,
        Err(Error::NotExecuted { code: ErrorCode::Overloaded, message, .. }) => Some(message),
        Err(other) => panic!("{other}"),
    }
}

async fn until_writes_are_taken(client: &Client) {
    wait_for("a write that is taken", SOON, async || {
        refused(client, put("after", 10)).await.is_none().then_some(())
    })
    .await;
}

fn lines_with(cluster: &Cluster, words: &str) -> usize {
    let log = std::fs::read_to_string(cluster.log_of(1)).unwrap();
    log.lines().filter(|line| line.contains(words)).count()
}

fn run(cluster: &Cluster, words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(quorate()).arg("--config").arg(&cluster.config).args(words).output();
    let output = output.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// Sees to it that node 1, whose disk is the small one, does not lead.
async fn lead_elsewhere(cluster: &Cluster) {
    if cluster.leader().await == 1 {
        let (code, said) = run(cluster, &["leader", "transfer"]);
        assert_eq!(code, Some(0), "{said}");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_serves_reads_and_a_restart_works_on_it() {
    let more = format!("min_free_bytes = {}\nsled_cache_bytes = {MIB}\n", 12 * MIB);
    let Some((mut cluster, small)) = one_on_a_small_disk(64 * MIB, &more) else { return };
    let client = cluster.client().await;
    client.put("key", "before").await.unwrap();

    // The node itself fills its disk: it stops while there is space for what it accepted.
    let mut written = 0;
    let sentence = loop {
        match refused(&client, put("big", 50_000)).await {
            None => written += 50_000,
            Some(sentence) => break sentence,
        }
        assert!(written < 64 * MIB, "it takes more than there is space for");
    };
    assert!(sentence.contains("storage.min_free_bytes"), "{sentence}");
    assert!(written > 10 * MIB, "refused after {written} bytes already");
    assert!(cluster.is_running(1));
    println!("refused after {} MiB of 64, keeping 12 free and 16 set aside", written / MIB);

    // Someone else takes the rest, to the last byte. Reads go on, restarts work.
    small.fill(0);
    assert_eq!(client.get("key").await.unwrap().entry.unwrap().value, "before");
    let address = &cluster.addresses[&1];
    let (status, body) = http(address, "PUT /v1/kv/key", b"no").unwrap();
    assert!(status == 503 && body.contains("overloaded"), "{status} {body}");
    assert_eq!(http(address, "GET /v1/kv/key", b"").unwrap(), (200, "before".to_owned()));
    for graceful in [false, true] {
        if graceful {
            assert_eq!(cluster.stop(1), Some(0));
        } else {
            cluster.kill(1);
        }
        cluster.start_node(1);
        cluster.leader().await;
        let reader = cluster.client().await;
        assert_eq!(reader.get("key").await.unwrap().entry.unwrap().value, "before");
        assert!(refused(&reader, put("key", 5)).await.is_some());
    }

    // It is said once for each start, however many are refused; and where one looks for it.
    let (code, said) = run(&cluster, &["status"]);
    assert!(code == Some(0) && said.contains("less than storage.min_free_bytes"), "{said}");
    let (code, said) = run(&cluster, &["doctor"]);
    assert!(code == Some(1) && said.contains("quorate leader transfer"), "{said}");
    let (code, said) = run(&cluster, &["--timeout-ms", "1000", "put", "key", "no"]);
    assert!(code == Some(75) && said.contains("storage.min_free_bytes"), "{code:?} {said}");
    assert_eq!(
        lines_with(&cluster, "storage.min_free_bytes is"),
        3,
        "{}",
        cluster.last_lines(1, 40)
    );

    small.empty();
    until_writes_are_taken(&client).await;
    assert_eq!(client.get("key").await.unwrap().entry.unwrap().value, "before");
    assert_eq!(lines_with(&cluster, "writes are taken"), 1);
    assert_eq!(lines_with(&cluster, "set aside"), 1);
    assert_eq!(cluster.status(1).await.unwrap().alarms, Vec::<String>::new());
}

#[tokio::test]
async fn a_checkpoint_that_does_not_fit_waits_and_the_log_is_trimmed_once_it_does() {
    let more = format!(
        "min_free_bytes = {MIB}\nsled_cache_bytes = {MIB}\nsegment_bytes = {MIB}\n\
         [raft]\nsnapshot_entries = 1_000\ntrailing_entries = 0\n"
    );
    let Some((cluster, small)) = one_on_a_small_disk(80 * MIB, &more) else { return };
    let client = cluster.client().await;
    let write = async |from: u32, to: u32| {
        for number in from..to {
            client.put(format!("key/{number}"), vec![b'v'; 10_000]).await.unwrap();
        }
    };
    // Just short of the first checkpoint, which is of 10 MB and sled's 8; there will be less.
    write(0, 950).await;
    small.fill(12 * MIB);
    write(950, 1_050).await;
    wait_for("a checkpoint that is put off", SOON, async || {
        (lines_with(&cluster, "checkpoint: put off") == 1).then_some(())
    })
    .await;
    let status = cluster.status(1).await.unwrap();
    assert_eq!((status.snapshot_index, status.first_index), (0, 1));
    assert!(status.alarms.is_empty(), "there is enough for writes");
    write(1_050, 1_100).await;
    small.empty();
    wait_for("the checkpoint", SOON, async || {
        let status = cluster.status(1).await?;
        (status.snapshot_index >= 1_000 && status.first_index > 1).then_some(())
    })
    .await;
    assert_eq!(client.get("key/7").await.unwrap().entry.unwrap().value.len(), 10_000);
}

/// A follower stores what its leader took, also where its own disk is low; it is the leader's
/// disk that counts.
#[tokio::test]
async fn a_follower_that_is_low_goes_on_storing_and_refuses_once_it_leads() {
    let mut cluster = Setup::new(quorate(), 3).more("min_free_bytes = 0\n").prepare();
    let place = cluster.data_dir(1);
    let Some(small) = Small::mount(&place, 48 * MIB) else { return };
    let text = std::fs::read_to_string(&cluster.config).unwrap();
    let bound = format!("min_free_bytes = {}", 16 * MIB);
    std::fs::write(&cluster.config, text.replace("min_free_bytes = 0", &bound)).unwrap();
    small.fill(12 * MIB);
    for id in 1..=3 {
        cluster.start_node(id);
    }
    // Wherever there is a leader with space.
    lead_elsewhere(&cluster).await;
    let client = cluster.client().await;
    client.put("key", vec![b'v'; 100_000]).await.unwrap();
    cluster.settled().await;
    assert_eq!(cluster.status(1).await.unwrap().alarms, ["low_space"]);

    let (code, said) = run(&cluster, &["leader", "transfer", "--to", "1"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(refused(&client, put("key", 5)).await.is_some());
    assert!(client.get("key").await.unwrap().entry.is_some());
    small.empty();
    until_writes_are_taken(&client).await;
    cluster.settled().await;
}

/// A follower whose disk is full to the last byte cannot keep what its leader took: it ends, and
/// the others go on. It can be started on the full disk, and is level again once there is space.
#[tokio::test]
async fn a_follower_whose_disk_is_full_ends_with_74_and_comes_back() {
    let more = format!("min_free_bytes = {MIB}\nsled_cache_bytes = {MIB}\n");
    let mut cluster = Setup::new(quorate(), 3).more(&more).prepare();
    let Some(small) = Small::mount(&cluster.data_dir(1), 64 * MIB) else { return };
    for id in 1..=3 {
        cluster.start_node(id);
    }
    lead_elsewhere(&cluster).await;
    let client = cluster.client().await;
    client.put("key", "before").await.unwrap();
    cluster.settled().await;
    small.fill(0);
    let mut written = 0;
    while cluster.is_running(1) {
        client.put(format!("big/{}", written % 4), vec![b'v'; 100_000]).await.unwrap();
        written += 1;
        assert!(written < 1_000, "it stores what there is no space for");
    }
    assert_eq!(cluster.exit_code(1, SOON).await, 74);
    println!("the follower ended after {written} writes of 100 KB");
    client.put("key", "meanwhile").await.unwrap();

    // On what was set aside.
    cluster.start_node(1);
    cluster.settled().await;
    assert_eq!(lines_with(&cluster, "set aside"), 1);
    small.empty();
    client.put("key", "after").await.unwrap();
    cluster.settled().await;
    assert_eq!(cluster.status(1).await.unwrap().alarms, Vec::<String>::new());
}
