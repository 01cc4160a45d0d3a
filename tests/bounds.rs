//! Every bound of `docs/architecture.md`, driven to its limit on real processes: what is beyond
//! it is refused by name or waits, and the memory stays as it was.
//!
//! Memory is the peak that the kernel saw (`VmHWM`). The bounds on its growth are a few times what
//! the queues may hold, because an allocator keeps what it once had; and far below what goes in,
//! so that a queue without a bound is seen.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use quorate_core::wire::client::{ErrorCode, Get, Hello, Op, Put, Replies};
use quorate_harness::bare::{Deaf, Socket, encoded, http, peak_kib, timed};
use quorate_harness::disk::Shim;
use quorate_harness::{Cluster, Setup, wait_for};
use rustix::process::Pid;

const SOON: Duration = Duration::from_secs(20);
const MIB: usize = 1 << 20;

fn quorate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

fn put(key: impl Into<String>, bytes: usize) -> Op {
    let (key, value) = (key.into().into(), vec![b'v'; bytes].into());
    Op::Put(Put { key, value, ..Put::default() })
}

fn get(key: impl Into<String>) -> Op {
    Op::Get(Get { key: key.into().into(), ..Get::default() })
}

/// A process's peak memory, before something.
struct Memory {
    process: Pid,
    before: u64,
}

impl Memory {
    fn of(cluster: &Cluster, node: u64) -> Self {
        let process = cluster.pid(node);
        // A peak of its start counts as had: what it may have again is no growth.
        Self { process, before: peak_kib(process) }
    }

    fn grew_less_than(&self, mib: u64) {
        let grown = peak_kib(self.process).saturating_sub(self.before) / 1_024;
        println!("memory grew by {grown} MiB of {mib} allowed");
        assert!(grown < mib, "memory grew by {grown} MiB, from {} KiB", self.before);
    }
}

#[tokio::test]
async fn a_session_that_has_its_window_full_stops_reading_its_socket() {
    let more = "[limits]\nwindow = 8\n[raft]\nelection_timeout_ms = 2_000\n";
    let setup = Setup::new(quorate(), 1).more(more).disk_faults(Shim::compile().unwrap());
    let cluster = setup.start();
    cluster.leader().await;
    let memory = Memory::of(&cluster, 1);
    // Eight writes of 64 KiB are answered with each sync, so the session reads a few MiB a second
    // at most; 128 MiB are offered.
    cluster.disk(1).delay_us(300_000);
    let (address, offered) = (cluster.addresses[&1].clone(), 128 * MIB);
    let sending = tokio::task::spawn_blocking(move || {
        let mut deaf = Deaf::connect(&address).unwrap();
        deaf.send(&encoded(&[(0, Op::Hello(Hello::default()))]), SOON);
        let (started, mut sent) = (Instant::now(), 0);
        while deaf.taken < offered && started.elapsed() < Duration::from_secs(2) {
            sent += 1;
            // Another id for each, another key for a few.
            let message = encoded(&[(sent, put(format!("key/{}", sent % 8), 64 << 10))]);
            if !deaf.send(&message, Duration::from_millis(500)) {
                break;
            }
        }
        (deaf, sent)
    });
    let (mut deaf, sent) = sending.await.unwrap();
    println!("the socket took {} MiB of {}", deaf.taken / MIB, offered / MIB);
    assert!(deaf.taken < offered / 2, "the session does not stop reading");
    // Meanwhile its limits are its own.
    let (mut other, _) = Socket::in_session(&cluster.addresses[&1], Some(0)).await;
    assert!(other.ask(1, get("key/1")).await.is_ok());
    memory.grew_less_than(32);

    // What it took is answered, all of it, once it goes on.
    cluster.disk(1).heal();
    let reading = tokio::task::spawn_blocking(move || {
        assert!(deaf.go_on(SOON));
        let mut answered = 0;
        while answered <= sent {
            for reply in Replies::new(&deaf.read().unwrap()) {
                let reply = reply.unwrap();
                assert!(reply.result.is_ok(), "{reply:?}");
                answered += 1;
            }
        }
    });
    reading.await.unwrap();
    memory.grew_less_than(32);
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_costs_no_memory_and_hinders_nobody() {
    let cluster = Cluster::start(quorate(), 1, "[limits]\nreply_bytes = 1_048_576\n");
    let client = cluster.client().await;
    client.put("large", vec![b'v'; 256 << 10]).await.unwrap();
    let memory = Memory::of(&cluster, 1);
    let address = cluster.addresses[&1].clone();
    // A gibibyte of answers, asked for in a few hundred KiB.
    let asking = tokio::task::spawn_blocking(move || {
        let mut deaf = Deaf::connect(&address).unwrap();
        let hello = Hello { session: Some(0), ..Hello::default() };
        deaf.send(&encoded(&[(0, Op::Hello(hello))]), SOON);
        for hundred in 0..40 {
            let gets: Vec<_> = (1..=100).map(|id| (100 * hundred + id, get("large"))).collect();
            deaf.send(&encoded(&gets), SOON);
        }
        deaf
    });
    let deaf = asking.await.unwrap();
    let mut slowest = Duration::ZERO;
    for number in 0..200 {
        let (done, took) = timed(client.put("small", format!("{number}"))).await;
        done.unwrap();
        slowest = slowest.max(took);
    }
    println!("the slowest write of another client took {slowest:?}");
    assert!(slowest < Duration::from_secs(1));
    // 1 MiB for its socket, one more under way, and the value itself.
    memory.grew_less_than(24);
    drop(deaf);
}

#[tokio::test]
async fn connections_beyond_the_bound_are_answered_503_and_one_that_ends_makes_room() {
    for (limit, said) in
        [("connections", "connections are open"), ("connections_per_address", "from your address")]
    {
        let cluster = Cluster::start(quorate(), 1, &format!("[limits]\n{limit} = 4\n"));
        cluster.leader().await;
        let address = &cluster.addresses[&1];
        // The questions of `leader` may still be closing.
        let mut open = Vec::new();
        while open.len() < 4 {
            open.extend(Socket::connect(address).await.ok());
        }
        let (status, body) = Socket::connect(address).await.unwrap_err();
        assert_eq!(status, 503, "{body}");
        assert!(body.contains("overloaded") && body.contains(said), "{body}");
        assert!(open[0].hello(None).await.is_ok(), "who is in is served");
        // Requests without a connection of their own have a bound of their own.
        assert_eq!(http(address, "GET /healthz", b"").unwrap().0, 200);
        open.pop();
        wait_for("room for another one", SOON, async || Socket::connect(address).await.ok()).await;
    }
}

#[tokio::test]
async fn sessions_beyond_the_bound_are_overloaded_and_one_that_ends_makes_room() {
    let cluster = Cluster::start(quorate(), 1, "[limits]\nsessions = 3\n");
    cluster.leader().await;
    let address = &cluster.addresses[&1];
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(Socket::in_session(address, None).await);
    }
    let mut fourth = Socket::connect(address).await.unwrap();
    let failure = fourth.hello(None).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Overloaded, "{failure}");
    assert!(fourth.hello(Some(open[0].1)).await.is_ok(), "one that is there can be resumed");
    let (mut third, _) = open.pop().unwrap();
    third.ask(1, Op::Bye).await.unwrap();
    Socket::in_session(address, None).await;
}

#[tokio::test]
async fn http_requests_beyond_the_bound_are_answered_503() {
    let more = "[limits]\nhttp_requests = 2\n[raft]\nelection_timeout_ms = 2_000\n";
    let setup = Setup::new(quorate(), 1).more(more).disk_faults(Shim::compile().unwrap());
    let cluster = setup.start();
    cluster.leader().await;
    cluster.disk(1).delay_us(500_000);
    let address = &cluster.addresses[&1];
    let mut asking = Vec::new();
    for number in 0..12 {
        let address = address.clone();
        let ask = move || http(&address, &format!("PUT /v1/kv/{number}"), b"value").unwrap();
        asking.push(tokio::task::spawn_blocking(ask));
    }
    let mut by_status: BTreeMap<u16, String> = BTreeMap::new();
    for asked in asking {
        let (status, body) = asked.await.unwrap();
        by_status.insert(status, body);
    }
    assert_eq!(by_status.keys().copied().collect::<Vec<_>>(), [200, 503], "{by_status:?}");
    assert!(by_status[&503].contains("too many HTTP requests wait"), "{by_status:?}");
}

/// Key, value, request and nesting, each refused with its number, and the connection goes on
/// wherever that makes sense; a frame is refused by its header.
#[tokio::test]
async fn what_is_too_large_or_too_deep_is_refused_by_name() {
    let more = "[limits]\nkey_bytes = 100\nvalue_bytes = 1_000\nrequest_bytes = 70_000\n";
    let cluster = Cluster::start(quorate(), 1, more);
    cluster.leader().await;
    let address = &cluster.addresses[&1];
    let (mut socket, _) = Socket::in_session(address, None).await;
    let key = "k".repeat(101);
    for (id, op, words) in [
        (1, put(key.clone(), 1), "key is 101 bytes, the limit is 100"),
        (2, get(key.clone()), "key is 101 bytes, the limit is 100"),
        (3, put("key", 1_001), "value is 1001 bytes, the limit is 1000"),
    ] {
        let failure = socket.ask(id, op).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::TooLarge, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
    }
    assert!(socket.ask(5, put("k".repeat(100), 1_000)).await.is_ok(), "the limits themselves");
    for (head, body) in [(format!("PUT /v1/kv/{key}"), 1), ("PUT /v1/kv/key".to_owned(), 1_001)] {
        let (status, body) = http(address, &head, &vec![b'v'; body]).unwrap();
        assert_eq!(status, 413, "{body}");
        assert!(body.contains("the limit"), "{body}");
    }
    // A request as a whole that is too long ends the connection, and the close frame says why.
    let (mut long, _) = Socket::in_session(address, None).await;
    long.send(&[(1, put("key", 70_000))]).await;
    let (code, reason) = long.closed().await.unwrap();
    assert_eq!((code, reason.as_str()), (1009, "a request is 70028 bytes, the limit is 70000"));
    // 32 levels may be, of which the request itself is one.
    for (levels, ends) in [(20, false), (40, true)] {
        let nested = [vec![0x91; levels], vec![0xc0]].concat();
        let request = [&[0x92, 6, 0x81, 0xa4][..], b"ping", &[0x81, 0xa1, b'x'], &nested].concat();
        let (mut socket, _) = Socket::in_session(address, None).await;
        let request = tokio_tungstenite::tungstenite::Message::binary(request);
        futures_util::SinkExt::send(&mut socket.inner, request).await.unwrap();
        if ends {
            let (code, reason) = socket.closed().await.unwrap();
            assert_eq!(code, 1007, "{reason}");
            assert!(reason.contains("32"), "{reason}");
        } else {
            assert!(socket.reply(6).await.is_ok());
        }
    }
    let memory = Memory::of(&cluster, 1);
    let (mut socket, _) = Socket::in_session(address, None).await;
    let frame = tokio_tungstenite::tungstenite::Message::binary(vec![0; 64 * MIB]);
    let _ = futures_util::SinkExt::send(&mut socket.inner, frame).await;
    if let Some((code, reason)) = socket.closed().await {
        assert_eq!(code, 1009, "{reason}");
        assert!(reason.contains("the limit is 280000"), "{reason}");
    }
    memory.grew_less_than(16);
}

/// Each connection may begin a message of 8 MiB; all of them together may not.
#[tokio::test]
async fn messages_that_never_end_are_bounded_on_all_connections_together() {
    let cluster = Cluster::start(quorate(), 1, "[limits]\narriving_bytes = 33_554_432\n");
    let client = cluster.client().await;
    let memory = Memory::of(&cluster, 1);
    let address = cluster.addresses[&1].clone();
    let beginning = tokio::task::spawn_blocking(move || {
        let (mut begun, mut ended) = (Vec::new(), 0);
        for _ in 0..40 {
            let mut deaf = Deaf::connect(&address).unwrap();
            // All but its last byte, if it is taken.
            match deaf.begin(8 * MIB - 1_000, SOON) {
                Ok(()) => begun.push(deaf),
                Err(_) => ended += 1,
            }
        }
        // The last one came too late.
        let why = begun.last_mut().map(|deaf: &mut Deaf| deaf.read().unwrap_err().to_string());
        (begun, ended, why)
    });
    let (begun, ended, why) = beginning.await.unwrap();
    println!("{} messages of 8 MiB were sent, {ended} refused before: {why:?}", begun.len());
    assert!(why.is_none_or(|why| why.contains("1013")));
    // Four of 8 MiB fit, a buffer grows by doubling, and each has one for what comes next.
    memory.grew_less_than(160);
    // Who sends what is short is served; and once they have gone, what is long as well.
    client.put("key", vec![b'v'; 10_000]).await.unwrap();
    drop(begun);
    client.put("key", vec![b'v'; 1_000_000]).await.unwrap();
    let (mut socket, _) = Socket::in_session(&cluster.addresses[&1], Some(0)).await;
    wait_for("room for what is long", SOON, async || {
        socket.ask(1, put("key", 1_000_000)).await.ok()
    })
    .await;
}

fn others(cluster: &Cluster, id: u64) -> Vec<u64> {
    cluster.ids().into_iter().filter(|other| *other != id).collect()
}

#[tokio::test]
async fn a_leader_without_a_quorum_is_overloaded_at_once_and_its_memory_stays_flat() {
    let more = "[raft]\nelection_timeout_ms = 4_000\nuncommitted_bytes = 1_048_576\n";
    let cluster = Cluster::start(quorate(), 3, more);
    let leader = cluster.leader().await;
    let (mut socket, _) = Socket::in_session(&cluster.addresses[&leader], None).await;
    let memory = Memory::of(&cluster, leader);
    for other in others(&cluster, leader) {
        cluster.pause(other);
    }
    // 64 MiB in messages of 16 writes. What fits waits, of each further one is said: not done.
    let (mut refused, mut slowest) = (Vec::new(), Duration::ZERO);
    for message in 0..256u64 {
        let ids = message * 16 + 1..=message * 16 + 16;
        let writes: Vec<_> = ids.map(|id| (id, put(format!("key/{id}"), 16 << 10))).collect();
        let sent = Instant::now();
        socket.send(&writes).await;
        // The bound is reached within the fourth.
        if message < 4 {
            continue;
        }
        for _ in 0..16 {
            let reply = socket.any_reply().await;
            let failure = reply.result.unwrap_err();
            assert_eq!(failure.code, ErrorCode::Overloaded, "{}: {failure}", reply.id);
            refused.push(reply.id);
        }
        slowest = slowest.max(sent.elapsed());
    }
    println!("{} of 4,096 were refused, 16 of them within {slowest:?}", refused.len());
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    memory.grew_less_than(24);
    for other in others(&cluster, leader) {
        cluster.resume(other);
    }
    // The leader still leads: what waited is done, what was refused is not, for all time.
    let mut done = 0;
    for _ in 0..4_096 - refused.len() {
        let reply = socket.any_reply().await;
        match reply.result {
            Ok(_) => done += 1,
            Err(failure) => assert_eq!(failure.code, ErrorCode::Overloaded, "{failure}"),
        }
    }
    assert!((48..=64).contains(&done), "{done} waited");
    let mut id = 10_000;
    for (place, refused) in refused.iter().enumerate().filter(|(place, _)| place % 97 == 0) {
        id += 1;
        let read = socket.ask(id, get(format!("key/{refused}"))).await.unwrap();
        let absent = format!("{read:?}").contains("entry: None");
        assert!(absent, "refused write {refused} ({place}) was done: {read:?}");
    }
    cluster.settled().await;
}

/// A follower that takes nothing: the leader holds back what is in flight, and drops what is old.
#[tokio::test]
async fn a_stopped_and_a_dead_follower_cost_the_leader_no_memory() {
    let more = "segment_bytes = 4_194_304\nsled_cache_bytes = 4_194_304\n\
                [raft]\nuncommitted_bytes = 2_097_152\ninflight_bytes = 1_048_576\n\
                snapshot_bytes = 2_097_152\n";
    let mut cluster = Cluster::start(quorate(), 3, more);
    let leader = cluster.leader().await;
    let follower = others(&cluster, leader)[0];
    // The same keys again and again: the state is of 2 MiB.
    write_mib(&cluster, leader, 24).await;
    for dead in [false, true] {
        let memory = Memory::of(&cluster, leader);
        if dead {
            cluster.kill(follower);
        } else {
            cluster.pause(follower);
        }
        write_mib(&cluster, leader, 40).await;
        // Each of: in flight 1, the log's tail 2 (and 8 while a snapshot is under way), a
        // checkpoint 2; and 64 MiB of entries are none of them.
        memory.grew_less_than(28);
        if dead {
            cluster.start_node(follower);
        } else {
            cluster.resume(follower);
        }
        cluster.settled().await;
        assert_eq!(cluster.leader().await, leader, "it led all the time");
    }
}

/// Writes of 64 KiB over a connection to the leader, a few at a time.
async fn write_mib(cluster: &Cluster, leader: u64, mib: u64) {
    let (mut socket, _) = Socket::in_session(&cluster.addresses[&leader], None).await;
    let (mut next, mut waiting, mut done) = (0u64, 0, 0);
    while done < mib * 16 {
        while waiting < 8 && next < mib * 16 {
            next += 1;
            waiting += 1;
            socket.send(&[(next, put(format!("key/{}", next % 32), 64 << 10))]).await;
        }
        let reply = socket.any_reply().await;
        assert!(reply.result.is_ok(), "{reply:?}");
        (waiting, done) = (waiting - 1, done + 1);
    }
}
