//! A websocket that is read and written at once, so that neither side can block the other.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use quorate_core::wire::client::SESSION_PATH;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// The longest message and frame that is accepted from a node.
const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// So much is read at a time. All of it is filled with zeros before each read.
const READ_BYTES: usize = 16 << 10;
/// How long a goodbye may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

type Ws = WebSocketStream<TcpStream>;
type Opening = Pin<Box<dyn Future<Output = Result<Ws, String>> + Send>>;

/// What a socket tells.
pub(crate) enum Event {
    /// The connection stands.
    Connected,
    /// A binary message has come.
    Frame(Bytes),
    /// The connection is gone, or could not be made.
    Lost(String),
}

/// A connection, or none.
pub(crate) enum Socket {
    /// None: nothing is told.
    Closed,
    /// Being made.
    Opening(Opening),
    /// Standing, with messages that have not been written yet.
    Open(Box<Ws>, VecDeque<Bytes>),
}

impl Socket {
    /// Begins to connect.
    pub(crate) fn open(address: String) -> Self {
        Socket::Opening(Box::pin(connect(address)))
    }

    /// Takes a message to be written; without a connection it is dropped.
    pub(crate) fn send(&mut self, message: Bytes) {
        if let Socket::Open(_, outbox) = self {
            outbox.push_back(message);
        }
    }

    /// Writes what there is, and waits for something to tell. May be dropped at any time.
    pub(crate) async fn event(&mut self) -> Event {
        poll_fn(|context| self.poll(context)).await
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        if let Socket::Open(mut ws, _) = self {
            let _ = tokio::time::timeout(CLOSE_WITHIN, ws.close(None)).await;
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        let event = match self {
            Socket::Closed => Poll::Pending,
            Socket::Opening(opening) => opening.as_mut().poll(context).map(Ok),
            Socket::Open(ws, outbox) => match write(ws, outbox, context) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(Event::Lost(error))),
                Poll::Ready(Ok(())) | Poll::Pending => read(ws, context).map(Err),
            },
        };
        event.map(|event| match event {
            Ok(Ok(ws)) => {
                *self = Socket::Open(Box::new(ws), VecDeque::new());
                Event::Connected
            }
            Ok(Err(reason)) | Err(Event::Lost(reason)) => {
                *self = Socket::Closed;
                Event::Lost(reason)
            }
            Err(event) => event,
        })
    }
}

async fn connect(address: String) -> Result<Ws, String> {
    let stream = TcpStream::connect(&address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let url = format!("ws://{address}{SESSION_PATH}");
    match client_async_with_config(url, stream, Some(config)).await {
        Ok((ws, _)) => Ok(ws),
        Err(error) => Err(error.to_string()),
    }
}

fn write(
    ws: &mut Ws,
    outbox: &mut VecDeque<Bytes>,
    context: &mut Context<'_>,
) -> Poll<Result<(), String>> {
    let mut ws = Pin::new(ws);
    while !outbox.is_empty() {
        match ws.as_mut().poll_ready(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error.to_string())),
            Poll::Ready(Ok(())) => {}
        }
        if let Some(message) = outbox.pop_front()
            && let Err(error) = ws.as_mut().start_send(Message::Binary(message))
        {
            return Poll::Ready(Err(error.to_string()));
        }
    }
    ws.poll_flush(context).map(|flushed| flushed.map_err(|error| error.to_string()))
}

fn read(ws: &mut Ws, context: &mut Context<'_>) -> Poll<Event> {
    loop {
        let message = match Pin::new(&mut *ws).poll_next(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(message) => message,
        };
        return Poll::Ready(match message {
            None => Event::Lost("the node closed the connection".to_owned()),
            Some(Err(error)) => Event::Lost(error.to_string()),
            Some(Ok(Message::Binary(frame))) => Event::Frame(frame),
            Some(Ok(Message::Close(Some(close)))) => {
                Event::Lost(format!("the node closed the connection: {}", close.reason))
            }
            Some(Ok(Message::Close(None))) => Event::Lost("the node said goodbye".to_owned()),
            Some(Ok(Message::Text(_))) => Event::Lost("the node sent a text".to_owned()),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
        });
    }
}
