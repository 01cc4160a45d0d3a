//! Bounds what a websocket may make this node hold. The codec applies its own limit only once
//! a frame is whole in memory, so a header that announces a terabyte would be buffered; this
//! stream reads the headers as they pass and ends before the codec sees such a frame.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
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
}

impl FrameLimit {
    /// A limit on one frame's payload, in bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Rc::new(Inner { bytes: Cell::new(bytes), exceeded: Cell::new(None) }))
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
    let stream = Guarded { inner: body.into_inner(), limit, headers: Headers::default() };
    let boxed: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>> = Box::pin(stream);
    let mut payload = dev::Payload::Stream { payload: boxed };
    web::Payload::from_request(request, &mut payload).await
}

struct Guarded {
    inner: dev::Payload,
    limit: FrameLimit,
    headers: Headers,
}

impl Stream for Guarded {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.limit.exceeded().is_some() {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.inner).poll_next(context);
        if let Poll::Ready(Some(Ok(chunk))) = &polled {
            let limit = self.limit.bytes() as u64;
            if let Err(announced) = self.headers.pass(chunk, limit) {
                self.limit.0.exceeded.set(Some(announced));
                return Poll::Ready(None);
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
}

impl Headers {
    /// Passes over a chunk; the announced length where a frame is over the limit.
    fn pass(&mut self, chunk: &[u8], limit: u64) -> Result<(), u64> {
        let mut rest = chunk;
        while !rest.is_empty() {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(rest.len());
            rest = rest.get(skipped..).unwrap_or_default();
            self.skip -= skipped as u64;
            let Some((byte, after)) = rest.split_first() else { break };
            if let Some(slot) = self.header.get_mut(self.have) {
                *slot = *byte;
            }
            self.have += 1;
            rest = after;
            if let Some(length) = self.announced() {
                if length > limit {
                    return Err(length);
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
mod tests {
    use super::Headers;

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mut out = vec![0x82];
        let mask = if masked { 0x80u8 } else { 0 };
        match length {
            0..126 => out.push(mask | u8::try_from(length).unwrap()),
            126..65_536 => {
                out.push(mask | 126);
                out.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                out.push(mask | 127);
                out.extend((length as u64).to_be_bytes());
            }
        }
        out.extend(vec![0xff; length + if masked { 4 } else { 0 }]);
        out
    }

    #[test]
    fn frames_of_every_size_pass_however_they_are_cut() {
        let all: Vec<u8> =
            [0, 1, 125, 126, 300, 65_535, 65_536].iter().flat_map(|n| frame(*n, true)).collect();
        for cut in [1, 2, 3, 7, 1_000, all.len()] {
            let mut headers = Headers::default();
            for chunk in all.chunks(cut) {
                assert_eq!(headers.pass(chunk, 65_536), Ok(()), "cut into {cut}");
            }
            assert_eq!((headers.have, headers.skip), (0, 0));
        }
    }

    #[test]
    fn a_header_that_announces_too_much_ends_it_at_once() {
        let mut headers = Headers::default();
        let terabyte = [&[0x82u8, 0xff][..], &(1u64 << 40).to_be_bytes()].concat();
        assert_eq!(headers.pass(&frame(10, true), 100), Ok(()));
        assert_eq!(headers.pass(&terabyte, 100), Err(1 << 40));
    }
}
