//! What no client should send: every kind is answered or ends the connection, the node goes on,
//! and its memory stays as it was.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use quorate_core::raft::Random;
use quorate_harness::Cluster;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

fn quorate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

async fn connect(address: &str) -> Socket {
    connect_async(format!("ws://{address}/v1/session")).await.unwrap().0
}

/// The code of the close frame that ends a connection.
async fn close_code(socket: &mut Socket) -> Option<u16> {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(10), socket.next()).await;
        match next.expect("an answer within 10 s") {
            Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
        }
    }
}

fn resident_kib(cluster: &Cluster) -> u64 {
    let path = format!("/proc/{}/status", cluster.pid(1).as_raw_nonzero());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn ten_thousand_random_frames_do_not_harm_a_node() {
    let cluster = Cluster::start(quorate(), 1, "");
    let client = cluster.client().await;
    client.put("key", "value").await.unwrap();
    let address = cluster.addresses[&1].clone();
    let mut random = Random::new(7);
    let mut before = 0;
    for round in 0..10_000u32 {
        if round == 1_000 {
            before = resident_kib(&cluster);
        }
        let length = random.below(200);
        let bytes: Vec<u8> = (0..length).map(|_| random.draw().to_le_bytes()[0]).collect();
        let mut socket = connect(&address).await;
        socket.send(Message::binary(bytes)).await.unwrap();
        if round % 100 == 0 {
            socket.send(Message::binary(vec![0xc1u8])).await.ok();
            assert_eq!(close_code(&mut socket).await, Some(1007));
        }
    }
    let after = resident_kib(&cluster);
    assert!(after < before + 16_384, "memory grew from {before} to {after} KiB");
    assert_eq!(client.get("key").await.unwrap().entry.unwrap().value, "value");
}

#[tokio::test]
async fn each_wrong_frame_ends_the_connection_with_its_code() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    let address = cluster.addresses[&1].clone();
    let deep = [vec![0x91; 100], vec![0xc0]].concat();
    for (frame, code) in [
        (Message::text("hello"), 1003),
        (Message::binary(vec![0x92u8, 0x01]), 1007),
        (Message::binary(vec![0xc1u8]), 1007),
        (Message::binary(deep), 1007),
        (Message::binary(vec![0xa3u8, b'a', b'b', b'c']), 1007),
        (Message::binary(vec![0xddu8, 0xff, 0xff, 0xff, 0xff]), 1007),
    ] {
        let mut socket = connect(&address).await;
        let shown = format!("{frame:?}");
        socket.send(frame).await.unwrap();
        assert_eq!(close_code(&mut socket).await, Some(code), "{shown}");
    }
}

/// A raw upgrade; the socket, or the status line that refused it.
fn upgrade(address: &str, path: &str, headers: &str) -> Result<TcpStream, String> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap_or(0) == 1 {
        answer.push(byte[0]);
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.lines().next().unwrap_or_default().to_owned();
    if status.contains(" 101 ") { Ok(socket) } else { Err(status) }
}

#[tokio::test]
async fn a_frame_that_announces_a_terabyte_is_refused_at_its_header() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    let address = cluster.addresses[&1].clone();
    let before = resident_kib(&cluster);
    for _ in 0..20 {
        let host = format!("Host: {address}\r\n");
        let mut socket = upgrade(&address, "/v1/session", &host).unwrap();
        let header = [&[0x82u8, 0xff][..], &(1u64 << 40).to_be_bytes(), &[1, 2, 3, 4]].concat();
        socket.write_all(&header).unwrap();
        // It may stop reading at any moment from here on.
        let _ = socket.write_all(&vec![0; 1 << 20]);
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        assert!(rest.windows(2).any(|two| two == 1009u16.to_be_bytes()) || rest.is_empty());
    }
    let after = resident_kib(&cluster);
    assert!(after < before + 16_384, "memory grew from {before} to {after} KiB");
}

#[tokio::test]
async fn a_client_that_pings_and_never_reads_costs_no_memory() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    let address = cluster.addresses[&1].clone();
    let host = format!("Host: {address}\r\n");
    let mut socket = upgrade(&address, "/v1/session", &host).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let before = resident_kib(&cluster);
    let ping = [&[0x89u8, 0x80 | 100, 0, 0, 0, 0][..], &[b'p'; 100]].concat();
    let many = ping.repeat(1_000);
    for _ in 0..300 {
        if socket.write_all(&many).is_err() {
            break;
        }
    }
    let after = resident_kib(&cluster);
    assert!(after < before + 16_384, "memory grew from {before} to {after} KiB");
}

#[tokio::test]
async fn a_page_of_elsewhere_is_kept_out_before_anything_else() {
    let cluster = Cluster::start(quorate(), 1, "");
    cluster.leader().await;
    let address = cluster.addresses[&1].clone();
    let host = format!("Host: {address}\r\n");
    for headers in [
        format!("{host}Origin: http://evil.example\r\n"),
        format!("{host}Origin: null\r\n"),
        "Host: evil.example\r\n".to_owned(),
    ] {
        let refused = upgrade(&address, "/v1/session", &headers);
        assert!(refused.is_err_and(|status| status.contains(" 403 ")), "{headers}");
    }
    let same = format!("{host}Origin: http://{address}\r\n");
    assert!(upgrade(&address, "/v1/session", &same).is_ok());
    // The peers' route is not on the clients' address.
    assert!(upgrade(&address, "/v1/raft", &host).is_err_and(|status| status.contains(" 404 ")));
    let request = format!("ws://{address}/v1/session").into_client_request().unwrap();
    assert!(connect_async(request).await.is_ok(), "a program without an Origin comes in");
}
