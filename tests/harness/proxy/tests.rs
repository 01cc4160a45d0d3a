use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use quorate_core::raft::Message as Raft;
use quorate_core::types::{Index, Position, Term};
use quorate_core::wire::peer::{decode_messages, encode_message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_async, connect_async};

use super::*;

const THERE: Way = Way { from: Place::Node(1), to: Place::Node(2) };

/// A dialler and an acceptor that notes what it hears and repeats it, with a proxy in between.
struct Pair {
    net: Net,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    heard: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Pair {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let net = Net::start(7);
        let target = listener.local_addr().unwrap().to_string();
        let address = net.link(THERE.from, THERE.to, &target);
        let (sender, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(repeat(tcp, sender));
            }
        });
        let (socket, _) = connect_async(format!("ws://{address}/v1/raft")).await.unwrap();
        Self { net, socket, heard }
    }

    async fn say(&mut self, text: &[u8]) {
        self.socket.send(Message::Binary(text.to_vec().into())).await.unwrap();
    }

    async fn hear(&mut self) -> Option<Vec<u8>> {
        tokio::time::timeout(Duration::from_secs(5), self.heard.recv()).await.ok()?
    }

    async fn hears_nothing(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(100), self.heard.recv()).await.is_err()
    }

    async fn answer(&mut self) -> Option<Vec<u8>> {
        let next = tokio::time::timeout(Duration::from_secs(5), self.socket.next());
        Some(next.await.ok()??.ok()?.into_data().to_vec())
    }
}

async fn repeat(tcp: TcpStream, heard: mpsc::UnboundedSender<Vec<u8>>) {
    let Ok(mut socket) = accept_async(tcp).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        if message.is_binary() {
            let _ = heard.send(message.clone().into_data().to_vec());
            let _ = socket.send(message).await;
        }
    }
}

fn message(message: &Raft) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_message(&mut out, message);
    out.to_vec()
}

fn heartbeat() -> Raft {
    Raft::Heartbeat { term: Term(1), commit: Index(0), round: 1, all_hold: Index(0) }
}

fn pre_vote() -> Raft {
    Raft::PreVote { term: Term(1), last: Position::default() }
}

#[tokio::test]
async fn frames_pass_both_ways_and_are_counted() {
    let mut pair = Pair::new().await;
    pair.say(b"hello").await;
    assert_eq!(pair.hear().await.unwrap(), b"hello");
    assert_eq!(pair.answer().await.unwrap(), b"hello");
    pair.say(&vec![9; 100_000]).await;
    assert_eq!(pair.hear().await.unwrap().len(), 100_000);
    // The head of HTTP counts as a frame.
    let counts = pair.net.counts(THERE);
    assert!(counts.frames == 3 && counts.bytes > 100_000, "{counts:?}");
    assert!(pair.net.counts(THERE.back()).frames >= 2);
}

#[tokio::test]
async fn a_dropped_frame_is_noticed_and_the_connection_stays() {
    let mut pair = Pair::new().await;
    pair.net.set(THERE, Rules { drop_millionths: 1_000_000, ..Rules::default() });
    pair.say(b"lost").await;
    assert!(pair.hears_nothing().await);
    assert_eq!(pair.net.counts(THERE).dropped, 1);
    pair.net.heal();
    pair.say(b"found").await;
    assert_eq!(pair.hear().await.unwrap(), b"found");
}

#[tokio::test]
async fn a_cut_takes_one_direction_only() {
    let mut pair = Pair::new().await;
    pair.net.set(THERE.back(), Rules::cut());
    pair.say(b"heard").await;
    assert_eq!(pair.hear().await.unwrap(), b"heard");
    let answer = tokio::time::timeout(Duration::from_millis(100), pair.socket.next()).await;
    assert!(answer.is_err(), "the answer came through the cut");
    pair.net.split(&[1], &[2]);
    pair.say(b"unheard").await;
    assert!(pair.hears_nothing().await);
    pair.net.join(&[1], &[2]);
    pair.say(b"again").await;
    assert_eq!(pair.answer().await.unwrap(), b"again");
}

#[tokio::test]
async fn a_doubled_frame_arrives_twice_and_an_old_one_again() {
    let mut pair = Pair::new().await;
    pair.net.set(THERE, Rules { double_millionths: 1_000_000, ..Rules::default() });
    pair.say(b"a").await;
    assert_eq!(
        (pair.hear().await.unwrap(), pair.hear().await.unwrap()),
        (b"a".into(), b"a".into())
    );
    pair.net.heal();
    pair.say(b"b").await;
    assert_eq!(pair.hear().await.unwrap(), b"b");
    pair.net.replay(THERE, 1);
    assert_eq!(pair.hear().await.unwrap(), b"a");
    assert!(pair.hears_nothing().await);
    let counts = pair.net.counts(THERE);
    assert_eq!((counts.doubled, counts.replayed), (1, 1));
}

#[tokio::test]
async fn a_corrupted_frame_is_still_a_frame() {
    let mut pair = Pair::new().await;
    pair.net.set(THERE, Rules { corrupt_millionths: 1_000_000, ..Rules::default() });
    pair.say(b"abcdef").await;
    let heard = pair.hear().await.unwrap();
    assert!(heard.len() == 6 && heard != b"abcdef", "{heard:?}");
    assert_eq!(pair.net.counts(THERE).corrupted, 1);
}

#[tokio::test]
async fn late_replies_are_overtaken_by_requests_that_are_not_late() {
    let mut pair = Pair::new().await;
    let late_replies = Some((1_000_000, Delay::Fixed(Duration::from_millis(300))));
    pair.net.set(THERE, Rules { late_replies, ..Rules::default() });
    let reply = message(&Raft::PreVoteReply { term: Term(1), granted: true });
    let mut both = reply.clone();
    both.extend(message(&heartbeat()));
    pair.say(&both).await;
    pair.say(&message(&pre_vote())).await;
    assert_eq!(pair.hear().await.unwrap(), message(&heartbeat()));
    assert_eq!(pair.hear().await.unwrap(), message(&pre_vote()));
    assert_eq!(pair.hear().await.unwrap(), reply);
}

#[tokio::test]
async fn messages_of_one_kind_are_held_and_overtaken_and_come_later() {
    let mut pair = Pair::new().await;
    pair.net.change(THERE, |rules| {
        rules.hold.insert("Heartbeat".to_owned());
    });
    let packed = [message(&heartbeat()), message(&pre_vote())].concat();
    pair.say(&packed).await;
    assert_eq!(decode_messages(&pair.hear().await.unwrap()), Ok(vec![pre_vote()]));
    assert!(pair.hears_nothing().await);
    let counts = pair.net.counts(THERE);
    assert_eq!((counts.held, counts.of("Heartbeat"), counts.of("PreVote")), (1, 1, 1));
    pair.net.heal();
    assert_eq!(decode_messages(&pair.hear().await.unwrap()), Ok(vec![heartbeat()]));
}

#[tokio::test]
async fn a_clogged_way_lets_everything_go_at_once_and_in_order() {
    let mut pair = Pair::new().await;
    pair.net.change(THERE, |rules| rules.clogged = true);
    for number in 0..20u8 {
        pair.say(&[number]).await;
    }
    assert!(pair.hears_nothing().await);
    pair.net.heal();
    for number in 0..20u8 {
        assert_eq!(pair.hear().await.unwrap(), [number]);
    }
}

#[tokio::test]
async fn delayed_frames_stay_in_order_unless_they_may_overtake() {
    let mut pair = Pair::new().await;
    let delay = Delay::Uniform(Duration::ZERO, Duration::from_millis(40));
    for unordered in [false, true] {
        pair.net.set(THERE, Rules { delay, unordered, ..Rules::default() });
        for number in 0..50u8 {
            pair.say(&[number]).await;
        }
        let mut heard = Vec::new();
        for _ in 0..50 {
            heard.extend(pair.hear().await.unwrap());
        }
        assert_eq!(heard.is_sorted(), !unordered, "{heard:?}");
    }
    assert!(pair.net.counts(THERE).overtook > 0);
    let mut exponential = quorate_core::raft::Random::new(1);
    let mean = Duration::from_millis(10);
    let sum: Duration = (0..1_000).map(|_| Delay::Exponential(mean).draw(&mut exponential)).sum();
    assert!((8..12).contains(&sum.as_secs()), "{sum:?}");
}

#[tokio::test]
async fn bandwidth_is_limited() {
    let mut pair = Pair::new().await;
    pair.net.set(THERE, Rules { bytes_per_second: Some(200_000), ..Rules::default() });
    let started = Instant::now();
    pair.say(&[0; 60_000]).await;
    assert_eq!(pair.hear().await.unwrap().len(), 60_000);
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_reset_ends_the_connection_on_both_sides() {
    let mut pair = Pair::new().await;
    pair.say(b"a").await;
    assert_eq!(pair.answer().await.unwrap(), b"a");
    assert_eq!(pair.net.reset(THERE), 1);
    assert_eq!(pair.answer().await, None);
}

#[tokio::test]
async fn a_silenced_connection_is_heard_by_nobody_and_others_are() {
    let mut pair = Pair::new().await;
    pair.say(b"a").await;
    assert_eq!(pair.answer().await.unwrap(), b"a");
    assert!(pair.net.silence_one(THERE, 0, false, true));
    pair.say(b"b").await;
    pair.hear().await;
    assert_eq!(pair.hear().await.unwrap(), b"b");
    let answer = tokio::time::timeout(Duration::from_millis(100), pair.socket.next()).await;
    assert!(answer.is_err(), "the silenced answer was heard");
}

#[tokio::test]
async fn plain_http_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let net = Net::start(1);
    let target = listener.local_addr().unwrap().to_string();
    let address = net.link(Place::Clients, Place::Node(1), &target);
    let serve = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut asked = [0; 27];
        tcp.read_exact(&mut asked).await.unwrap();
        tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\nyes").await.unwrap();
    };
    let ask = async {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(b"GET /v1/status HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let ((), answer) = tokio::join!(serve, ask);
    assert_eq!(answer, "HTTP/1.1 200 OK\r\n\r\nyes");
}
