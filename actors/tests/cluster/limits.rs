//! What a client may make a node hold has bounds.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::support::{at_leader, cluster_with};
use super::*;

/// A connection that speaks HTTP byte by byte.
struct Http(TcpStream);

impl Http {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(stream)
    }

    fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// The answer to a request, to the end of the connection.
    fn get(address: &str, path: &str) -> String {
        let mut http = Self::connect(address);
        http.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        http.rest()
    }

    fn rest(&mut self) -> String {
        let mut answer = Vec::new();
        let _ = self.0.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// Waits for what a node does on a thread of its own.
fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} within 10 s");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_page_of_keys_ends_before_it_is_too_large() {
    let nodes = cluster_with(1, |queues| queues.range_page_bytes = 1_000);
    let (mut socket, _) = at_leader(&nodes).await;
    for (id, key) in [(1, "a"), (2, "b"), (3, "c")] {
        socket.ask(id, put(key, &"v".repeat(600))).await.unwrap();
    }
    let (mut after, mut keys) = (String::new(), Vec::new());
    for more in [true, true, false] {
        let answer = Http::get(&nodes[0].client, &format!("/v1/kv?limit=9{after}"));
        let body = answer.split("\r\n\r\n").nth(1).unwrap();
        let page: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(page["more"], more, "{page}");
        assert_eq!(page["entries"].as_array().map(Vec::len), Some(1));
        keys.push(page["entries"][0]["key"].as_str().unwrap().to_owned());
        after = format!("&after={}", keys.last().unwrap());
    }
    assert_eq!(keys, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_request_counts_before_its_body_is_there_and_a_list_counts_too() {
    let nodes = cluster_with(1, |queues| queues.http_requests = 1);
    let (_socket, _) = at_leader(&nodes).await;
    let address = &nodes[0].client;
    let mut slow = Http::connect(address);
    slow.send("PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\no");
    soon("a refusal", || Http::get(address, "/v1/kv").starts_with("HTTP/1.1 503"));
    slow.send("ne");
    soon("a list", || Http::get(address, "/v1/kv").starts_with("HTTP/1.1 200"));
}

/// A client that takes nothing is ended, with all that was held for it.
#[tokio::test]
async fn a_client_that_reads_nothing_loses_its_connection_and_its_place() {
    let nodes = cluster_with(1, |queues| {
        queues.connections = 1;
        queues.client_patience = Duration::from_millis(300);
    });
    let (mut stuck, _) = at_leader(&nodes).await;
    stuck.ask(1, put("big", &"v".repeat(1 << 20))).await.unwrap();
    let gets = |ids: std::ops::Range<u64>| {
        ids.map(|id| (id, get("big", Consistency::Linearizable))).collect::<Vec<_>>()
    };
    stuck.send(&gets(2..66)).await;
    assert!(stuck.reply(2).await.result.is_ok());
    // More waits by now than may, so this is what the reading task stops after.
    stuck.send(&gets(66..67)).await;
    // Only with the place free.
    let mut other = Socket::connect(&nodes[0].client).await;
    assert!(other.hello(Some(0)).await.is_ok());
    let deadline = Instant::now() + Duration::from_secs(10);
    while stuck.inner.send(Message::Ping(bytes::Bytes::new())).await.is_ok() {
        assert!(Instant::now() < deadline, "the socket is held");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn connections_count_whatever_is_asked_over_them() {
    let nodes = cluster_with(1, |queues| queues.connections = 2);
    let (_socket, _) = at_leader(&nodes).await;
    let address = &nodes[0].client;
    let request = "GET /v1/kv/a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut open = Vec::new();
    soon("two connections, and a third that is told so", || {
        let mut http = Http::connect(address);
        http.send(request);
        let mut start = [0; 12];
        http.0.read_exact(&mut start).unwrap();
        let refused = &start == b"HTTP/1.1 503";
        if refused {
            assert!(http.rest().contains("connections are open, the limit is 2"), "and is closed");
        } else {
            open.push(http);
        }
        refused
    });
    assert!(Http::get(address, "/healthz").starts_with("HTTP/1.1 200"), "it lives");
    open.clear();
    soon("a place again", || Http::get(address, "/v1/kv").starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn two_backups_at_a_time_and_one_that_nobody_takes_ends() {
    let nodes = cluster_with(1, |queues| queues.client_patience = Duration::from_secs(1));
    let (mut socket, _) = at_leader(&nodes).await;
    for id in 1..=24 {
        socket.ask(id, put(&id.to_string(), &"v".repeat(1 << 20))).await.unwrap();
    }
    let address = &nodes[0].client;
    let untaken: Vec<Http> = (0..2)
        .map(|_| {
            let mut http = Http::connect(address);
            http.send("GET /v1/backup HTTP/1.1\r\nHost: localhost\r\n\r\n");
            http
        })
        .collect();
    soon("a refusal", || Http::get(address, "/v1/backup").starts_with("HTTP/1.1 503"));
    soon("a third", || Http::get(address, "/v1/backup").starts_with("HTTP/1.1 200"));
    drop(untaken);
}
