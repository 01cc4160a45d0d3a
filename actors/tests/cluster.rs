//! Whole nodes over real sockets, with a log in memory.

#[path = "cluster/guests.rs"]
mod guests;
#[path = "cluster/limits.rs"]
mod limits;
mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use quorate_core::wire::client::{Append, Consistency, Get, Op, Put, Success};
use support::{Socket, at_leader, cluster};
use tokio_tungstenite::tungstenite::Message;

fn put(key: &str, value: &str) -> Op {
    Op::Put(Put { key: key.to_owned().into(), value: value.to_owned().into(), ..Put::default() })
}

fn append(key: &str, value: &str) -> Op {
    Op::Append(Append { key: key.to_owned().into(), value: value.to_owned().into() })
}

fn get(key: &str, consistency: Consistency) -> Op {
    Op::Get(Get { key: key.to_owned().into(), consistency, ..Get::default() })
}

fn value(success: &Success) -> Option<String> {
    match success {
        Success::Get { entry, .. } => {
            entry.as_ref().map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_node_is_a_cluster_of_its_own() {
    let nodes = cluster(1);
    let (mut socket, session) = at_leader(&nodes).await;
    assert!(session > 0);
    assert!(matches!(socket.ask(1, put("a", "1")).await, Ok(Success::Put { revision: 2, .. })));
    let read = socket.ask(2, get("a", Consistency::Linearizable)).await.unwrap();
    assert_eq!(value(&read).as_deref(), Some("1"));
}

#[tokio::test]
async fn three_nodes_execute_a_retried_request_once() {
    let nodes = cluster(3);
    let (mut socket, session) = at_leader(&nodes).await;
    let first = socket.ask(1, append("log", "x")).await.unwrap();
    let again = socket.ask(1, append("log", "x")).await.unwrap();
    assert_eq!(first, again);
    let mut other = Socket::connect(&nodes[0].client).await;
    for node in &nodes {
        other = Socket::connect(&node.client).await;
        if other.hello(Some(session)).await == Ok(session) {
            break;
        }
    }
    assert_eq!(other.ask(1, append("log", "x")).await.unwrap(), first);
    let read = other.ask(2, get("log", Consistency::Linearizable)).await.unwrap();
    assert_eq!(value(&read).as_deref(), Some("x"));
}

#[tokio::test]
async fn pipelined_requests_behind_hello_are_all_answered() {
    let nodes = cluster(3);
    let (_first, _) = at_leader(&nodes).await;
    for node in &nodes {
        let mut socket = Socket::connect(&node.client).await;
        let mut requests = vec![(0, Op::Hello(Default::default()))];
        requests.extend((1..=3_000).map(|id| (id, append("many", "y"))));
        socket.send(&requests).await;
        let welcome = socket.reply(0).await;
        let mut executed = 0;
        for id in 1..=3_000 {
            let reply = socket.reply(id).await;
            assert_eq!(reply.result.is_ok(), welcome.result.is_ok());
            executed += u64::from(reply.result.is_ok());
        }
        if executed > 0 {
            let read = socket.ask(4_000, get("many", Consistency::Linearizable)).await.unwrap();
            assert_eq!(value(&read).map(|value| value.len()), Some(3_000));
        }
    }
}

/// Rule 2: not even a single node answers before its own sync; and many proposals share one.
#[tokio::test]
async fn no_write_is_answered_before_its_sync_and_many_share_one() {
    let nodes = cluster(1);
    let (mut socket, _) = at_leader(&nodes).await;
    let disk = &nodes[0].disk;
    disk.stuck.store(true, Ordering::SeqCst);
    let before = disk.syncs.load(Ordering::SeqCst);
    let requests: Vec<_> = (1..=1_000).map(|id| (id, append("key", "z"))).collect();
    socket.send(&requests).await;
    let early = tokio::time::timeout(Duration::from_millis(200), socket.reply(1)).await;
    assert!(early.is_err(), "answered before its sync");
    disk.stuck.store(false, Ordering::SeqCst);
    for id in 1..=1_000 {
        assert!(socket.reply(id).await.result.is_ok());
    }
    let syncs = disk.syncs.load(Ordering::SeqCst) - before;
    assert!(syncs < 50, "{syncs} syncs for 1,000 writes");
}

#[tokio::test]
async fn a_text_message_ends_the_connection_with_1003_and_a_huge_one_with_1009() {
    let nodes = cluster(1);
    let (mut socket, _) = at_leader(&nodes).await;
    socket.inner.send(Message::text("hello")).await.unwrap();
    assert_eq!(close_code(&mut socket).await, 1003);
    let mut socket = Socket::connect(&nodes[0].client).await;
    let huge = vec![0u8; 9 << 20];
    let _ = socket.inner.send(Message::binary(huge)).await;
    assert_eq!(close_code(&mut socket).await, 1009);
    let mut socket = Socket::connect(&nodes[0].client).await;
    socket.inner.send(Message::binary(vec![0xc1u8])).await.unwrap();
    assert_eq!(close_code(&mut socket).await, 1007);
}

/// What was asked before the mistake in the same message is answered before the end.
#[tokio::test]
async fn requests_before_a_malformed_one_are_answered() {
    let nodes = cluster(1);
    let (mut socket, _) = at_leader(&nodes).await;
    let mut frame = bytes::BytesMut::new();
    quorate_core::wire::client::encode_request(&mut frame, 1, &append("key", "kept"), 0);
    frame.extend_from_slice(&[0xc1]);
    socket.inner.send(Message::binary(frame.freeze())).await.unwrap();
    assert!(socket.reply(1).await.result.is_ok());
    assert_eq!(close_code(&mut socket).await, 1007);
}

async fn close_code(socket: &mut Socket) -> u16 {
    loop {
        match socket.inner.next().await {
            Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A leader whose disk is nearly full refuses writes, and nothing else.
#[tokio::test]
async fn a_leader_that_is_low_on_space_refuses_writes_until_there_is_more() {
    let nodes = cluster(1);
    let (mut socket, session) = at_leader(&nodes).await;
    assert!(socket.ask(1, put("a", "1")).await.is_ok());
    nodes[0].free.store(1_000_000, Ordering::SeqCst);
    let mut id = 1;
    let mut write = async |socket: &mut Socket| {
        id += 1;
        socket.ask(id, put("a", "2")).await
    };
    let refused = loop {
        match write(&mut socket).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(failure) => break failure,
        }
    };
    assert!(refused.starts_with("overloaded: node 1 has 0 MiB of disk left"), "{refused}");
    assert!(socket.ask(100_000, get("a", Consistency::Linearizable)).await.is_ok());
    // A session can be resumed, and one can be made: whoever wants to read needs one.
    for session in [Some(session), None] {
        assert!(Socket::connect(&nodes[0].client).await.hello(session).await.is_ok());
    }
    // Not before there is an eighth more.
    nodes[0].free.store(1_100_000, Ordering::SeqCst);
    let mut asked = 200_000;
    loop {
        asked += 1;
        match socket.ask(asked, Op::Status).await.unwrap() {
            Success::Status(status) if status.free_bytes == 1_100_000 => {
                break assert_eq!(status.alarms, ["low_space"]);
            }
            _ => tokio::task::yield_now().await,
        }
    }
    assert!(write(&mut socket).await.is_err());
    nodes[0].free.store(1_300_000, Ordering::SeqCst);
    while write(&mut socket).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// A follower that does not keep up hears its leader all the same.
#[tokio::test]
async fn a_read_that_may_be_so_old_is_not_answered_from_an_older_state() {
    let nodes = cluster(3);
    let (mut leader, _) = at_leader(&nodes).await;
    leader.ask(1, put("a", "old")).await.unwrap();
    let max_age_ms = Some(200);
    let recent =
        Get { key: "a".into(), consistency: Consistency::Stale, max_age_ms, ..Get::default() };
    let recent = Op::Get(recent);
    for node in &nodes {
        let mut socket = Socket::connect(&node.client).await;
        if socket.hello(None).await.is_ok() {
            continue;
        }
        let mut follower = Socket::connect(&node.client).await;
        follower.hello(Some(0)).await.unwrap();
        let read = follower.ask(1, recent.clone()).await.unwrap();
        assert_eq!(value(&read).as_deref(), Some("old"));
        // It stores nothing more, so it applies nothing more.
        node.disk.stuck.store(true, Ordering::SeqCst);
        leader.ask(2, put("a", "new")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        follower.send(&[(2, recent.clone())]).await;
        let early = tokio::time::timeout(Duration::from_millis(200), follower.reply(2)).await;
        node.disk.stuck.store(false, Ordering::SeqCst);
        assert!(early.is_err(), "answered from a state that is too old");
        let late = follower.ask(3, recent).await.unwrap();
        assert_eq!(value(&late).as_deref(), Some("new"));
        return;
    }
    panic!("no follower");
}
