//! Many clients at once: two thousand connections of which few are busy, and a thousand that
//! all lose their leader at the same moment.

use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use quorate_client::Client;
use quorate_core::wire::client::{Op, Put};
use quorate_harness::bare::{Socket, allow_open_files, resident_kib};
use quorate_harness::{Cluster, Setup, wait_for};

/// This process has an end of each connection and the node the other; and there is the rest.
const OPEN_FILES: u64 = 4_096;

fn quorate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

fn put(key: &str, value: String) -> Op {
    Op::Put(Put { key: key.to_owned().into(), value: value.into(), ..Put::default() })
}

fn may_open_enough() -> bool {
    let allowed = allow_open_files(OPEN_FILES);
    allowed.inspect_err(|why| eprintln!("SKIPPED: {why}")).is_ok()
}

#[tokio::test]
async fn two_thousand_connections_stand_idle_and_some_write() {
    if !may_open_enough() {
        return;
    }
    let more = "[limits]\nconnections_per_address = 2_000\n";
    let cluster = Cluster::start(quorate(), 1, more);
    cluster.leader().await;
    let address = &cluster.addresses[&1];
    let before = resident_kib(cluster.pid(1));
    let started = Instant::now();
    let mut open = Vec::new();
    // The questions of `leader` may still be closing, and there is no room beyond.
    while open.len() < 1_990 {
        let more = (0..100.min(1_990 - open.len())).map(|_| Socket::in_session(address, None));
        open.extend(join_all(more).await);
    }
    let opened = started.elapsed();
    let each = (resident_kib(cluster.pid(1)) - before) / 1_990;
    let mut slowest = Duration::ZERO;
    for (place, (socket, session)) in open.iter_mut().enumerate().step_by(20) {
        let asked = Instant::now();
        socket.ask(1, put("key", format!("{place} in {session}"))).await.unwrap();
        slowest = slowest.max(asked.elapsed());
    }
    println!(
        "1,990 sessions in {opened:?}, {each} KiB each, the slowest of 100 writes {slowest:?}"
    );
    assert!(slowest < Duration::from_secs(1));
    // Two buffers of a socket, two tasks, an actor: 32 KiB would be much.
    assert!(each < 48, "{each} KiB for each connection");
    let status = cluster.status(1).await.unwrap();
    assert!(status.sessions >= 1_990, "{}", status.sessions);
    drop(open);
    wait_for("the end of all of them", Duration::from_secs(20), async || {
        let (_, text) = quorate_harness::bare::http(address, "GET /metrics", b"").ok()?;
        let line = text.lines().find(|line| line.starts_with("quorate_client_connections "))?;
        line.ends_with(" 0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_thousand_sessions_that_lose_their_leader_are_all_answered_and_none_twice() {
    if !may_open_enough() {
        return;
    }
    const SESSIONS: usize = 1_000;
    let more = "[limits]\nconnections_per_address = 2_000\n";
    let mut cluster = Cluster::start(quorate(), 3, more);
    let leader = cluster.leader().await;
    let mut clients = Vec::new();
    while clients.len() < SESSIONS {
        let opening = (0..100).map(|_| {
            let builder = Client::builder().endpoints(cluster.endpoints());
            builder.deadline(Duration::from_secs(60)).connect()
        });
        for client in join_all(opening).await {
            clients.push(client.unwrap());
        }
    }
    // Every session counts in its own key and in one of all, before the kill and while it comes.
    let done = AtomicUsize::new(0);
    let count = async |client: &Client, place: usize| {
        client.increment(format!("own/{place}"), 1).await.unwrap();
        done.fetch_add(1, Ordering::Relaxed);
        client.increment("all", 1).await.unwrap();
    };
    join_all(clients.iter().enumerate().map(|(place, client)| count(client, place))).await;
    let asked = join_all(clients.iter().enumerate().map(async |(place, client)| {
        let asked = Instant::now();
        count(client, place).await;
        asked.elapsed()
    }));
    let killed = async {
        // In the midst of it.
        while done.load(Ordering::Relaxed) < SESSIONS + SESSIONS / 10 {
            tokio::task::yield_now().await;
        }
        cluster.kill(leader);
        Instant::now()
    };
    let (mut took, killed) = tokio::join!(asked, killed);
    let all_answered = killed.elapsed();
    took.sort();
    println!(
        "all answered {all_answered:?} after the kill; half of them within {:?}, the slowest {:?}",
        took[SESSIONS / 2],
        took[SESSIONS - 1]
    );
    assert!(all_answered < Duration::from_secs(20), "{all_answered:?}");
    let client = cluster.client().await;
    let read = client.get("all").await.unwrap().entry.unwrap();
    assert_eq!(read.value, format!("{}", 2 * SESSIONS));
    for place in (0..SESSIONS).step_by(10) {
        let read = client.get(format!("own/{place}")).await.unwrap().entry.unwrap();
        assert_eq!(read.value, "2", "session {place}");
    }
    cluster.start_node(leader);
    cluster.settled().await;
}

/// A crowd must not use up the open files that the log needs for its next one.
#[tokio::test]
async fn a_crowd_does_not_take_the_open_files_that_the_log_needs() {
    let more = "segment_bytes = 1_048_576\n[limits]\nconnections_per_address = 2_000\n\
                [raft]\nsnapshot_entries = 1_000\n";
    let cluster = Setup::new(quorate(), 1).more(more).open_files(300).start();
    cluster.leader().await;
    let address = &cluster.addresses[&1];
    let (mut busy, _) = Socket::in_session(address, None).await;

    // As many as are taken; who comes then is told so.
    let mut open = Vec::new();
    let refusal = loop {
        match Socket::connect(address).await {
            Ok(socket) => open.push(socket),
            Err(refusal) => break refusal,
        }
        assert!(open.len() < 300, "there are no more open files than 300");
    };
    println!("{} connections were taken, then: {refusal:?}", open.len() + 1);
    assert_eq!(refusal.0, 503, "{refusal:?}");
    assert!((120..=140).contains(&(open.len() + 1)), "{}", open.len() + 1);
    // And a crowd that connects and says nothing.
    let silent: Vec<_> = (0..300).map(|_| TcpStream::connect(address).unwrap()).collect();

    // New segments and checkpoints all the time.
    for id in 1..=1_200 {
        busy.ask(id, put(&format!("key/{}", id % 100), "v".repeat(10_000))).await.unwrap();
    }
    let log = std::fs::read_to_string(cluster.log_of(1)).unwrap();
    assert!(log.contains("ulimit -n"), "{log}");
    assert!(!log.contains("Too many open files"), "{log}");
    drop((silent, open));
    wait_for("room for others", Duration::from_secs(20), async || {
        Socket::connect(address).await.ok()
    })
    .await;
}
