//! Bounds what a websocket may make this node hold. The codec applies its own limit only once
//! a frame is whole in memory, so a header that announces a terabyte would be buffered; this
//! stream reads the headers as they pass and ends before the codec sees such a frame. Many
//! connections that each begin a frame and never end it are bounded together ([`Arriving`]).

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use actix_web::error::PayloadError;
use actix_web::{FromRequest, HttpRequest, dev, web};
use bytes::Bytes;
use futures_util::Stream;

/// The limit of one connection, shared with its stream.
#[derive(Clone, Debug)]
pub struct FrameLimit(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: Cell<usize>,
    exceeded: Cell<Option<u64>>,
    arriving: Option<Arriving>,
    crowded: Cell<bool>,
}

/// What all connections together may hold of messages that have not arrived whole.
#[derive(Clone, Debug)]
pub struct Arriving {
    held: Arc<AtomicU64>,
    most: u64,
}

impl Arriving {
    /// At most so many bytes, not counting short messages.
    #[must_use]
    pub fn new(most: u64) -> Self {
        Self { held: Arc::default(), most }
    }
}

/// A frame up to this length always comes in: how many connections there are is bounded.
const SHORT: u64 = 64 << 10;

impl FrameLimit {
    /// A limit on one frame's payload, in bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self::of(bytes, None)
    }

    /// The same, for one of many connections that are bounded together.
    #[must_use]
    pub fn among(bytes: usize, arriving: Arriving) -> Self {
        Self::of(bytes, Some(arriving))
    }

    fn of(bytes: usize, arriving: Option<Arriving>) -> Self {
        let (bytes, exceeded) = (Cell::new(bytes), Cell::new(None));
        Self(Rc::new(Inner { bytes, exceeded, arriving, crowded: Cell::new(false) }))
    }

    /// Whether the connection ended because too much is arriving on all of them.
    #[must_use]
    pub fn crowded(&self) -> bool {
        self.0.crowded.get()
    }

    /// Changes the limit, as after a handshake.
    pub fn set(&self, bytes: usize) {
        self.0.bytes.set(bytes);
    }

    /// The limit.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes.get()
    }

    /// The length of the frame that was too large, once there was one.
    #[must_use]
    pub fn exceeded(&self) -> Option<u64> {
        self.0.exceeded.get()
    }
}

/// The request's body behind the limit.
///
/// # Errors
/// As the extraction of a payload.
pub async fn guarded(
    request: &HttpRequest,
    body: web::Payload,
    limit: FrameLimit,
) -> Result<web::Payload, actix_web::Error> {
    let held = Held { arriving: limit.0.arriving.clone(), bytes: 0 };
    let stream = Guarded { inner: body.into_inner(), limit, headers: Headers::default(), held };
    let boxed: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>> = Box::pin(stream);
    let mut payload = dev::Payload::Stream { payload: boxed };
    web::Payload::from_request(request, &mut payload).await
}

struct Guarded {
    inner: dev::Payload,
    limit: FrameLimit,
    headers: Headers,
    held: Held,
}

/// One connection's share of what is arriving.
#[derive(Debug, Default)]
struct Held {
    arriving: Option<Arriving>,
    bytes: u64,
}

impl Held {
    /// Takes a frame's bytes in; whether there is room for them.
    fn takes(&mut self, bytes: u64) -> bool {
        let Some(arriving) = &self.arriving else { return true };
        self.bytes += bytes;
        let all = arriving.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        bytes <= SHORT || all <= arriving.most
    }

    /// The message is whole, or will never be.
    fn ended(&mut self) {
        if let Some(arriving) = &self.arriving {
            arriving.held.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ended();
    }
}

/// Why a stream ends before its time.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    /// A frame announces so many bytes.
    TooLong(u64),
    /// Too much is arriving on all connections.
    Crowded,
}

impl Stream for Guarded {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { inner, limit, headers, held } = &mut *self;
        if limit.exceeded().is_some() || limit.crowded() {
            return Poll::Ready(None);
        }
        let polled = Pin::new(inner).poll_next(context);
        if let Poll::Ready(Some(Ok(chunk))) = &polled {
            match headers.pass(chunk, limit.bytes() as u64, held) {
                Ok(()) => {}
                Err(Refused::TooLong(announced)) => {
                    limit.0.exceeded.set(Some(announced));
                    return Poll::Ready(None);
                }
                Err(Refused::Crowded) => {
                    limit.0.crowded.set(true);
                    return Poll::Ready(None);
                }
            }
        }
        polled
    }
}

/// Follows the frames of a stream of bytes: where headers begin, and what they announce.
#[derive(Debug, Default)]
struct Headers {
    header: [u8; 10],
    have: usize,
    /// Bytes of mask and payload still to pass.
    skip: u64,
    /// The message is whole once they have passed.
    ends: bool,
}

impl Headers {
    /// Passes over a chunk, and counts what is held of a message until it is whole.
    fn pass(&mut self, chunk: &[u8], limit: u64, held: &mut Held) -> Result<(), Refused> {
        let mut rest = chunk;
        while !rest.is_empty() {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(rest.len());
            rest = rest.get(skipped..).unwrap_or_default();
            self.skip -= skipped as u64;
            if self.skip == 0 && std::mem::take(&mut self.ends) {
                held.ended();
            }
            let Some((byte, after)) = rest.split_first() else { break };
            if let Some(slot) = self.header.get_mut(self.have) {
                *slot = *byte;
            }
            self.have += 1;
            rest = after;
            if let Some(length) = self.announced() {
                if length > limit {
                    return Err(Refused::TooLong(length));
                }
                // Control frames come between the parts of a message (RFC 6455 §5.4).
                if self.header[0] & 0x08 == 0 {
                    self.ends = self.header[0] & 0x80 != 0;
                    if !held.takes(length) {
                        return Err(Refused::Crowded);
                    }
                }
                let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
                self.skip = length + mask;
                self.have = 0;
            }
        }
        Ok(())
    }

    /// The payload's length, once the header is whole up to its mask (RFC 6455 §5.2).
    fn announced(&self) -> Option<u64> {
        let [_, short, a, b, rest @ ..] = self.header;
        match short & 0x7f {
            126 if self.have == 4 => Some(u64::from(u16::from_be_bytes([a, b]))),
            127 if self.have == 10 => {
                let [c, d, e, f, g, h] = rest;
                Some(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
            }
            length if length < 126 && self.have == 2 => Some(u64::from(length)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
