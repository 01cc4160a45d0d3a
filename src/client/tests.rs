//! The client against nodes played in the same process, over real sockets.

#![expect(clippy::wildcard_enum_match_arm, reason = "a played node treats most alike")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use quorate_core::types::NodeId;
use quorate_core::wire::client::{
    Decoded, Failure, OpResult, Request, Requests, Welcome, encode_reply, encode_result,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use super::*;

/// What a node does with a request.
enum Reaction {
    Reply(OpResult),
    Ignore,
    Hang,
}

/// A node: its address, and what it was sent, message by message.
struct Node {
    address: String,
    messages: Arc<Mutex<Vec<Vec<Request>>>>,
}

impl Node {
    /// A node that greets everyone and treats everything else as `react` says.
    async fn start(react: impl Fn(&Request) -> Reaction + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let messages = Arc::new(Mutex::new(Vec::new()));
        let (react, log) = (Arc::new(react), Arc::clone(&messages));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&react), Arc::clone(&log)));
            }
        });
        Self { address, messages }
    }

    fn requests(&self) -> Vec<Request> {
        self.messages.lock().expect("no panic").concat()
    }

    fn writes(&self) -> Vec<u64> {
        let writes = self.requests().into_iter().filter(|request| request.op.is_write());
        writes.map(|request| request.id).collect()
    }
}

/// Answers all requests of a message in one message.
async fn serve(
    stream: TcpStream,
    react: Arc<impl Fn(&Request) -> Reaction>,
    log: Arc<Mutex<Vec<Vec<Request>>>>,
) {
    let Ok(mut ws) = accept_async(stream).await else { return };
    while let Some(Ok(message)) = ws.next().await {
        let Message::Binary(frame) = message else { break };
        let requests: Vec<Request> = Requests::new(&frame, &Limits::default())
            .map(|decoded| match decoded.expect("well formed") {
                Decoded::Request(request) => request,
                Decoded::Refused { failure, .. } => panic!("{failure}"),
            })
            .collect();
        log.lock().expect("no panic").push(requests.clone());
        let mut out = BytesMut::new();
        for request in requests {
            let reaction = match &request.op {
                Op::Hello(_) => Reaction::Reply(Ok(Success::Hello(welcome()))),
                Op::Members => Reaction::Reply(Ok(Success::Members(Vec::new()))),
                _ => react(&request),
            };
            match reaction {
                Reaction::Reply(result) => {
                    encode_reply(&mut out, request.id, &encode_result(&result));
                }
                Reaction::Ignore => {}
                Reaction::Hang => return,
            }
        }
        if !out.is_empty() && ws.send(Message::Binary(out.freeze())).await.is_err() {
            break;
        }
    }
}

fn welcome() -> Welcome {
    Welcome {
        session: 9,
        node: NodeId(1),
        leader: None,
        cluster: "test".to_owned(),
        version: "0".to_owned(),
        limits: Limits::default(),
    }
}

fn done(request: &Request) -> Reaction {
    let (revision, index) = (request.id + 1, request.id);
    Reaction::Reply(Ok(match &request.op {
        Op::Put(_) => Success::Put { revision, index, previous: None },
        Op::Get(_) => Success::Get { revision, index, entry: None },
        Op::Increment(by) => Success::Increment { revision, index, number: by.by },
        _ => Success::Empty,
    }))
}

fn put() -> Op {
    Op::Put(Put { key: "k".into(), value: "v".into(), ..Put::default() })
}

#[tokio::test]
async fn typed_calls_give_typed_answers() {
    let node = Node::start(done).await;
    let client = Client::builder().endpoint(&node.address).connect().await.expect("greeted");
    let written = client.put("k", "v").await.expect("done");
    assert_eq!(written, Written { revision: 3, index: 2, previous: None });
    assert_eq!(client.get("k").await.expect("done").entry, None);
    assert_eq!(client.increment("n", -3).await.expect("done").number, -3);
    let connection = client.connection().await.expect("running");
    assert_eq!(connection.session, Some(Resume { session: 9, next_id: 5 }));
    assert_eq!(
        (connection.node, connection.address),
        (Some(NodeId(1)), Some(node.address.clone()))
    );
    client.close().await.expect("ended");
    assert_eq!(node.requests().last().expect("some").op, Op::Bye);
}

#[tokio::test]
async fn what_is_submitted_together_travels_together() {
    let node = Node::start(done).await;
    let client = Client::builder().endpoint(&node.address).connect().await.expect("greeted");
    let pending: Vec<Pending> = (0..100).map(|_| client.submit(put(), None)).collect();
    for (id, pending) in (2..).zip(pending) {
        let expected = Success::Put { revision: id + 1, index: id, previous: None };
        assert_eq!(pending.await, Ok(expected));
    }
    let messages = node.messages.lock().expect("no panic");
    assert_eq!(messages.last().map(Vec::len), Some(100), "one message, answered by one");
}

#[tokio::test]
async fn a_lost_write_goes_to_another_node_under_its_id() {
    let failing = Node::start(|_| Reaction::Hang).await;
    let healthy = Node::start(done).await;
    let endpoints = [failing.address.clone(), healthy.address.clone()];
    let client = Client::builder().endpoints(endpoints).connect().await.expect("greeted");
    client.put("k", "v").await.expect("done, by the other");
    assert_eq!((failing.writes(), healthy.writes()), (vec![2], vec![2]));
}

#[tokio::test]
async fn a_refusals_hint_is_followed() {
    let leader = Node::start(done).await;
    let address = leader.address.clone();
    let follower = Node::start(move |_| {
        let hint = Some(Leader { id: NodeId(2), address: address.clone() });
        Reaction::Reply(Err(Failure { leader: hint, ..Failure::new(ErrorCode::NotLeader, "no") }))
    })
    .await;
    let client = Client::builder().endpoint(&follower.address).connect().await.expect("greeted");
    client.put("k", "v").await.expect("done, by the leader");
    assert_eq!((follower.writes(), leader.writes()), (vec![2], vec![2]));
}

#[tokio::test]
async fn a_write_without_an_answer_is_unknown_and_a_read_is_not() {
    let node = Node::start(|_| Reaction::Ignore).await;
    let builder = Client::builder().endpoint(&node.address).deadline(Duration::from_millis(200));
    let client = builder.connect().await.expect("greeted");
    let (write, read) = tokio::join!(client.put("k", "v"), client.get("k"));
    assert!(matches!(write, Err(Error::Unknown { session: 9, id: 2, .. })), "{write:?}");
    let read = read.expect_err("no answer");
    assert!(read.is_certain(), "{read}");
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let builder = Client::builder().endpoint(&address).deadline(Duration::from_millis(200));
    let error = builder.connect().await.expect_err("nobody is there");
    assert!(
        matches!(&error, Error::Unreachable { reason } if reason.contains(&address)),
        "{error}"
    );
    let error = Client::builder().start().expect_err("no endpoint");
    assert!(error.is_certain());
}

#[tokio::test]
async fn dropping_the_handles_ends_what_was_submitted_and_closes() {
    let node = Node::start(done).await;
    let client = Client::builder().endpoint(&node.address).connect().await.expect("greeted");
    let pending = client.clone().submit(put(), None);
    drop(client);
    assert!(pending.await.is_ok());
    assert!(node.requests().iter().all(|request| request.op != Op::Bye));
}

#[tokio::test]
async fn large_values_go_both_ways() {
    let node = Node::start(|request| {
        let value = Bytes::from(vec![7; 900_000]);
        let key = request.op.key().cloned().unwrap_or_default();
        let entry =
            KeyValue { key, value, create_revision: 2, mod_revision: 2, version: 1, lease: 0 };
        match request.op {
            Op::Get(_) => {
                Reaction::Reply(Ok(Success::Get { revision: 2, index: 1, entry: Some(entry) }))
            }
            _ => done(request),
        }
    })
    .await;
    let client = Client::builder().endpoint(&node.address).connect().await.expect("greeted");
    let puts: Vec<Pending> = (0..8)
        .map(|_| {
            let value = Bytes::from(vec![1; 1_000_000]);
            client.submit(Op::Put(Put { key: "k".into(), value, ..Put::default() }), None)
        })
        .collect();
    for put in puts {
        put.await.expect("done");
    }
    let entry = client.get("k").await.expect("done").entry.expect("there");
    assert_eq!(entry.value.len(), 900_000);
}

/// Takes outcomes until there are so many; and how often it had to wait.
async fn take(outcomes: &mut Outcomes, count: usize) -> (Vec<Tagged>, usize) {
    let (mut all, mut waits) = (Vec::new(), 0);
    while all.len() < count {
        outcomes.take(&mut all, usize::MAX).await;
        waits += 1;
    }
    (all, waits)
}

#[tokio::test]
async fn outcomes_of_many_calls_come_together_and_each_with_its_tag() {
    let node = Node::start(done).await;
    let client = Client::builder().endpoint(&node.address).connect().await.expect("greeted");
    let mut outcomes = Outcomes::new();
    for tag in 0..100 {
        client.submit_to(&outcomes, tag, put(), None);
    }
    let (all, waits) = take(&mut outcomes, 100).await;
    assert_eq!(waits, 1, "they travelled together, and one wake-up tells them all");
    for (tag, (found, outcome)) in (0..).zip(all) {
        let expected = Success::Put { revision: tag + 3, index: tag + 2, previous: None };
        assert_eq!((found, outcome), (tag, Ok(expected)));
    }
}

#[tokio::test]
async fn clients_may_share_a_queue_of_outcomes() {
    let node = Node::start(done).await;
    let builder = Client::builder().endpoint(&node.address);
    let mut outcomes = Outcomes::new();
    for tag in 0..3 {
        let client = builder.clone().connect().await.expect("greeted");
        client.submit_to(&outcomes, tag, put(), None);
    }
    let (all, _) = take(&mut outcomes, 3).await;
    let mut tags: Vec<u64> = all.iter().map(|(tag, _)| *tag).collect();
    tags.sort_unstable();
    assert_eq!(tags, [0, 1, 2]);
    assert!(all.iter().all(|(_, outcome)| outcome.is_ok()), "also when the handle is gone");
}

#[tokio::test]
async fn what_is_refused_at_once_is_told_in_the_queue_too() {
    let node = Node::start(done).await;
    let builder = Client::builder().endpoint(&node.address).queue(2);
    let client = builder.connect().await.expect("greeted");
    let mut outcomes = Outcomes::new();
    for tag in 0..5 {
        client.submit_to(&outcomes, tag, put(), None);
    }
    let (all, _) = take(&mut outcomes, 5).await;
    let refused: Vec<u64> = all
        .iter()
        .filter(|(_, outcome)| {
            matches!(outcome, Err(Error::NotExecuted { code: ErrorCode::Overloaded, .. }))
        })
        .map(|(tag, _)| *tag)
        .collect();
    assert_eq!(refused, [2, 3, 4]);
}

#[test]
fn a_stopped_client_says_so_in_the_queue() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (first, second) = (runtime().expect("a runtime"), runtime().expect("a runtime"));
    let mut outcomes = Outcomes::new();
    let client = first.block_on(async {
        let node = Node::start(|_| Reaction::Ignore).await;
        let client = Client::builder().endpoint(&node.address).connect().await.expect("greeted");
        client.submit_to(&outcomes, 1, put(), None);
        client.submit_to(&outcomes, 2, Op::Get(Get::default()), None);
        client
    });
    drop(first);
    client.submit_to(&outcomes, 3, put(), None);
    let (all, _) = second.block_on(take(&mut outcomes, 3));
    assert!(matches!(all[0], (1, Err(Error::Unknown { .. }))), "a write may be executed: {all:?}");
    assert!(matches!(all[1], (2, Err(Error::Unreachable { .. }))), "{all:?}");
    assert!(matches!(all[2], (3, Err(Error::Unreachable { .. }))), "never handed over: {all:?}");
}

#[test]
fn handles_and_futures_can_be_sent() {
    fn is_send<T: Send + Sync>() {}
    is_send::<Client>();
    is_send::<Pending>();
    is_send::<Outcomes>();
    is_send::<Builder>();
    is_send::<Error>();
}
