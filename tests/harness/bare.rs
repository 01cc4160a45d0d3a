//! A client as bare as a socket, for what the real one would never do: it sends without
//! waiting, and does not read. And what a process takes of the machine meanwhile.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use quorate_core::wire::client::{
    ErrorCode, Failure, Hello, Op, RawReply, Replies, Success, decode_success, encode_request,
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream as AsyncStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// No answer takes longer.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Requests as one message.
#[must_use]
pub fn encoded(requests: &[(u64, Op)]) -> Bytes {
    let mut out = BytesMut::new();
    for (id, op) in requests {
        encode_request(&mut out, *id, op, 0);
    }
    out.freeze()
}

/// A websocket and nothing else.
#[derive(Debug)]
pub struct Socket {
    /// The websocket.
    pub inner: WebSocketStream<MaybeTlsStream<AsyncStream>>,
    replies: BTreeMap<u64, RawReply>,
}

impl Socket {
    /// Connects to a client address; or the HTTP status and body that refuse it.
    ///
    /// # Errors
    /// The refusal.
    pub async fn connect(address: &str) -> Result<Self, (u16, String)> {
        match connect_async(format!("ws://{address}/v1/session")).await {
            Ok((inner, _)) => Ok(Self { inner, replies: BTreeMap::new() }),
            Err(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                Err((response.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
            }
            Err(error) => Err((0, error.to_string())),
        }
    }

    /// Connects, and says `hello`; the socket and its session. 0 asks for none.
    pub async fn in_session(address: &str, session: Option<u64>) -> (Self, u64) {
        let mut socket = Self::connect(address).await.expect("a connection");
        let session = socket.hello(session).await.expect("a session");
        (socket, session)
    }

    /// Sends requests in one message.
    pub async fn send(&mut self, requests: &[(u64, Op)]) {
        self.inner.send(Message::Binary(encoded(requests))).await.expect("it can be sent");
    }

    /// The reply to that id, whenever it comes.
    ///
    /// # Errors
    /// The failure that it bears.
    pub async fn reply(&mut self, id: u64) -> Result<Bytes, Failure> {
        loop {
            if let Some(reply) = self.replies.remove(&id) {
                return reply.result;
            }
            self.hear().await;
        }
    }

    /// The next reply, whichever it is.
    pub async fn any_reply(&mut self) -> RawReply {
        loop {
            if let Some((_, reply)) = self.replies.pop_first() {
                return reply;
            }
            self.hear().await;
        }
    }

    async fn hear(&mut self) {
        let next = tokio::time::timeout(ANSWER_TIME, self.inner.next()).await;
        match next.expect("an answer in time").expect("an answer").expect("an answer") {
            Message::Binary(frame) => {
                for reply in Replies::new(&frame) {
                    let reply = reply.expect("replies that can be read");
                    self.replies.insert(reply.id, reply);
                }
            }
            other => assert!(!other.is_close(), "closed: {other:?}"),
        }
    }

    /// One request and what it ends with.
    ///
    /// # Errors
    /// The failure that it ends with.
    pub async fn ask(&mut self, id: u64, op: Op) -> Result<Success, Failure> {
        self.send(&[(id, op.clone())]).await;
        let ok = self.reply(id).await?;
        decode_success(&op, &ok).map_err(|error| Failure::new(ErrorCode::Internal, error))
    }

    /// `hello`; the session.
    ///
    /// # Errors
    /// The failure that it ends with.
    pub async fn hello(&mut self, session: Option<u64>) -> Result<u64, Failure> {
        let hello = Hello { session, ..Hello::default() };
        match self.ask(0, Op::Hello(hello)).await? {
            Success::Hello(welcome) => Ok(welcome.session),
            other => panic!("{other:?}"),
        }
    }

    /// The code and reason of the close frame that ends the connection.
    pub async fn closed(&mut self) -> Option<(u16, String)> {
        loop {
            let next = tokio::time::timeout(ANSWER_TIME, self.inner.next()).await;
            match next.expect("an end in time") {
                Some(Ok(Message::Close(frame))) => {
                    return frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }
}

/// A websocket that is written to and not read. Blocking: to be used off the runtime.
#[derive(Debug)]
pub struct Deaf {
    stream: TcpStream,
    /// What of the last message the socket has not taken.
    rest: Bytes,
    /// Bytes that the socket took.
    pub taken: usize,
}

impl Deaf {
    /// Connects to a client address.
    ///
    /// # Errors
    /// The status line that refuses it, or the system's error.
    pub fn connect(address: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER_TIME))?;
        let request = format!(
            "GET /v1/session HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
            answer.push(byte[0]);
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if !answer.starts_with("HTTP/1.1 101") {
            return Err(io::Error::other(answer));
        }
        Ok(Self { stream, rest: Bytes::new(), taken: 0 })
    }

    /// Sends a message; `false` where the socket takes nothing more for so long.
    ///
    /// # Panics
    /// When the connection is lost.
    pub fn send(&mut self, message: &Bytes, patience: Duration) -> bool {
        assert!(self.rest.is_empty(), "a message is not finished");
        // Masked with zeros, so the payload is as it was (RFC 6455 §5.3).
        let mut frame = BytesMut::from(&[0x82, 0xff][..]);
        frame.extend_from_slice(&(message.len() as u64).to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(message);
        self.rest = frame.freeze();
        self.go_on(patience)
    }

    /// Begins a message of so many bytes and sends all but its last one.
    ///
    /// # Errors
    /// The system's, once the node has ended the connection.
    pub fn begin(&mut self, length: usize, patience: Duration) -> io::Result<()> {
        self.stream.set_write_timeout(Some(patience))?;
        self.stream.write_all(&[0x82, 0xff])?;
        self.stream.write_all(&(length as u64).to_be_bytes())?;
        self.stream.write_all(&[0; 4])?;
        self.stream.write_all(&vec![0; length - 1])
    }

    /// Goes on with a message that was not taken whole.
    ///
    /// # Panics
    /// As [`Deaf::send`].
    pub fn go_on(&mut self, patience: Duration) -> bool {
        self.stream.set_write_timeout(Some(patience)).expect("a timeout can be set");
        while !self.rest.is_empty() {
            match self.stream.write(&self.rest) {
                Ok(bytes) => {
                    drop(self.rest.split_to(bytes));
                    self.taken += bytes;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => panic!("the connection is lost: {error}"),
            }
        }
        true
    }

    /// Reads the next message of the node, as it came.
    ///
    /// # Errors
    /// The system's, or that the connection is closed.
    pub fn read(&mut self) -> io::Result<Bytes> {
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head)?;
            let [kind, short] = head;
            let length = match short {
                126 => {
                    let mut long = [0; 2];
                    self.stream.read_exact(&mut long)?;
                    usize::from(u16::from_be_bytes(long))
                }
                127 => {
                    let mut long = [0; 8];
                    self.stream.read_exact(&mut long)?;
                    usize::try_from(u64::from_be_bytes(long)).map_err(io::Error::other)?
                }
                short => usize::from(short),
            };
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload)?;
            match kind {
                0x82 => return Ok(payload.into()),
                0x88 => {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    return Err(io::Error::other(format!("closed with {code:?}")));
                }
                _ => {}
            }
        }
    }
}

/// A request over plain HTTP, one connection each; status and body.
///
/// # Errors
/// The system's.
pub fn http(address: &str, head: &str, body: &[u8]) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    let length = body.len();
    let head = format!(
        "{head} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    // A node that refuses by the head alone need not read the body.
    drop(stream.write_all(body));
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer)
        && answer.is_empty()
    {
        return Err(error);
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    Ok((status.unwrap_or(0), body.unwrap_or_default()))
}

/// The most memory that a process had so far, in KiB.
#[must_use]
pub fn peak_kib(pid: Pid) -> u64 {
    memory(pid, "VmHWM:")
}

/// The memory that a process has now, in KiB.
#[must_use]
pub fn resident_kib(pid: Pid) -> u64 {
    memory(pid, "VmRSS:")
}

fn memory(pid: Pid, name: &str) -> u64 {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let text = std::fs::read_to_string(path).expect("the process lives");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Allows this process, and those that it starts from now on, so many open files.
///
/// # Errors
/// A sentence, where the system does not allow as many.
pub fn allow_open_files(count: u64) -> Result<(), String> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    if maximum.is_some_and(|most| most < count) {
        return Err(format!("{count} open files are needed, the system allows {maximum:?}"));
    }
    let wanted = Rlimit { current: Some(count), maximum };
    setrlimit(Resource::Nofile, wanted).map_err(|error| error.to_string())
}

/// How long something takes.
pub async fn timed<T>(doing: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    (doing.await, started.elapsed())
}
