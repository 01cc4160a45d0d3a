//! Websocket frames (RFC 6455 §5.2), as far as a relay needs them: where one ends, what it
//! holds, and how to make one.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};
use quorate_core::raft::Message;
use quorate_core::wire::peer::{decode_messages, encode_message};

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The bytes as they came.
    pub bytes: Bytes,
    /// Where the payload begins.
    header: usize,
    mask: Option<[u8; 4]>,
    opcode: u8,
}

impl Frame {
    /// Takes the first frame off a buffer, if all of it is there.
    pub fn take(buffer: &mut BytesMut) -> Option<Self> {
        let (first, second) = (*buffer.first()?, *buffer.get(1)?);
        let (length, mut header) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(part(buffer, 2)?)), 4),
            127 => (u64::from_be_bytes(part(buffer, 2)?), 10),
            short => (u64::from(short), 2),
        };
        let mut mask = None;
        if second & 0x80 != 0 {
            mask = Some(part(buffer, header)?);
            header += 4;
        }
        let end = usize::try_from(length).ok()?.checked_add(header)?;
        let is_whole = buffer.len() >= end;
        is_whole.then(|| {
            let bytes = buffer.split_to(end).freeze();
            Self { bytes, header, mask, opcode: first & 0x0f }
        })
    }

    /// A whole binary message.
    #[must_use]
    pub fn binary(payload: &[u8], mask: Option<[u8; 4]>) -> Self {
        let mut out = BytesMut::with_capacity(payload.len() + 14);
        out.put_u8(0x82);
        let masked = if mask.is_some() { 0x80 } else { 0 };
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(short), _) if short < 126 => out.put_u8(masked | short),
            (_, Ok(middle)) => {
                out.put_u8(masked | 126);
                out.put_u16(middle);
            }
            _ => {
                out.put_u8(masked | 127);
                out.put_u64(payload.len() as u64);
            }
        }
        out.extend_from_slice(&mask.unwrap_or_default()[..if mask.is_some() { 4 } else { 0 }]);
        let header = out.len();
        out.extend_from_slice(&masked_with(payload, mask));
        Self { bytes: out.freeze(), header, mask, opcode: 2 }
    }

    /// Whether it carries data, and not the websocket's own affairs.
    #[must_use]
    pub fn is_data(&self) -> bool {
        self.opcode < 8
    }

    /// What it holds, without the mask.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        masked_with(self.bytes.get(self.header..).unwrap_or_default(), self.mask)
    }

    /// The same frame with one bit of what it holds turned over; itself if it holds nothing.
    #[must_use]
    pub fn corrupted(&self, draw: u64) -> Self {
        let mut bytes = BytesMut::from(self.bytes.as_ref());
        let bits = (bytes.len() - self.header) as u64 * 8;
        if let Some(bit) = draw.checked_rem(bits)
            && let Ok(place) = usize::try_from(bit / 8)
            && let Some(byte) = bytes.get_mut(self.header + place)
        {
            *byte ^= 1 << (bit % 8);
        }
        Self { bytes: bytes.freeze(), ..*self }
    }

    /// The messages between nodes that it holds; `None` if it holds something else.
    #[must_use]
    pub fn messages(&self) -> Option<Vec<Message>> {
        let messages = self.is_data().then(|| decode_messages(&self.payload()).ok())??;
        (!messages.is_empty()).then_some(messages)
    }

    /// A frame for one message, masked as this one is.
    #[must_use]
    pub fn of_message(&self, message: &Message) -> Self {
        let mut payload = BytesMut::new();
        encode_message(&mut payload, message);
        Self::binary(&payload, self.mask)
    }
}

/// The name of a message's kind, as the paper has it: `RequestVote`, `AppendEntries`.
#[must_use]
pub fn kind(message: &Message) -> String {
    let mut name = Name(String::new());
    // The name is the first word of what `Debug` prints; the writer refuses the rest.
    let _ = write!(name, "{message:?}");
    name.0
}

struct Name(String);

impl Write for Name {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let word = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        self.0.push_str(word);
        if word.len() == text.len() { Ok(()) } else { Err(std::fmt::Error) }
    }
}

fn part<const N: usize>(buffer: &BytesMut, at: usize) -> Option<[u8; N]> {
    buffer.get(at..at + N)?.try_into().ok()
}

fn masked_with(payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mask = mask.unwrap_or_default();
    payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::types::Term;

    #[test]
    fn frames_of_every_length_come_back_also_when_they_arrive_byte_by_byte() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            for mask in [None, Some([1, 2, 3, 254])] {
                let payload: Vec<u8> = (0u8..251).cycle().take(length).collect();
                let frame = Frame::binary(&payload, mask);
                let mut buffer = BytesMut::new();
                for (place, byte) in frame.bytes.iter().enumerate() {
                    assert_eq!(Frame::take(&mut buffer), None, "whole after {place} bytes");
                    buffer.put_u8(*byte);
                }
                buffer.put_u8(0x82);
                let taken = Frame::take(&mut buffer).unwrap();
                assert_eq!((taken.payload(), buffer.len()), (payload, 1));
                assert_eq!(taken, frame);
            }
        }
    }

    #[test]
    fn a_corrupted_frame_differs_in_one_bit_of_its_payload() {
        let frame = Frame::binary(b"abcdef", Some([7; 4]));
        for draw in 0..48 {
            let other = frame.corrupted(draw);
            let pairs = frame.payload().into_iter().zip(other.payload());
            assert_eq!(pairs.map(|(a, b)| (a ^ b).count_ones()).sum::<u32>(), 1);
            assert_eq!(frame.bytes[..6], other.bytes[..6]);
        }
    }

    #[test]
    fn messages_are_known_by_the_papers_names() {
        let reply = Message::RequestVoteReply { term: Term(4), granted: true };
        assert_eq!(kind(&reply), "RequestVoteReply");
        let frame = Frame::binary(b"", None).of_message(&reply);
        assert_eq!(frame.messages(), Some(vec![reply]));
        assert_eq!(Frame::binary(b"no message", None).messages(), None);
    }
}
