//! The bytes of segments and records. Integers are little-endian.

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Identity;
use crate::types::{Entry, HardState, Index, NodeId, Payload, Position, Term};

/// The directory of the segments.
pub(super) const DIR: &str = "log";
/// The bytes of a segment's header: a page of its own, never written again, so that no record's
/// sector is shared with it.
pub(super) const HEADER: usize = 4_096;
/// The bytes of a record's header.
pub(super) const RECORD: usize = 32;
/// The first eight bytes of a segment.
const MAGIC: &[u8; 8] = b"QRTE-WAL";
/// The format that this version writes, and the only one that it reads.
const FORMAT: u64 = 2;

/// A segment's path.
pub(super) fn path(sequence: u64) -> String {
    format!("{DIR}/{sequence:020}.wal")
}

/// The file that names the first segment, once the log has been trimmed.
pub(super) const FIRST: &str = "log/first";
/// What it is written as before it takes that name.
pub(super) const NEW_FIRST: &str = "log/first.new";
/// Its first eight bytes.
const FIRST_MAGIC: &[u8; 8] = b"QRTE-1ST";

/// The content of that file.
pub(super) fn encode_first(identity: &Identity, sequence: u64) -> Vec<u8> {
    let mut out = FIRST_MAGIC.to_vec();
    out.extend_from_slice(&sequence.to_le_bytes());
    let checksum = xxh3_64_with_seed(&out, seed(identity, sequence));
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// The first segment's number, if that file is whole.
pub(super) fn decode_first(identity: &Identity, bytes: &[u8]) -> Option<u64> {
    let sequence = number(bytes, 8)?;
    (bytes == encode_first(identity, sequence)).then_some(sequence)
}

/// What the name of a segment ends with that was trimmed and waits to be used again.
const SPARE: &str = ".spare";

/// The path of a segment that was trimmed and waits to be used again.
pub(super) fn spare_path(sequence: u64) -> String {
    format!("{DIR}/{sequence:020}{SPARE}")
}

/// Whether that is the file name of one.
pub(super) fn is_spare(name: &str) -> bool {
    name.ends_with(SPARE)
}

/// The sequence number in a segment's file name.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    name.strip_suffix(".wal")?.parse().ok()
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Entry = 1,
    /// Entries from an index on are no longer there.
    Truncate = 2,
    HardState = 3,
    /// The segment ends here; another follows.
    Seal = 4,
    /// Nothing; vouches for what was synced before it.
    Mark = 5,
    /// The log begins anew, behind a snapshot's last entry.
    Reset = 6,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Kind::Entry,
            2 => Kind::Truncate,
            3 => Kind::HardState,
            4 => Kind::Seal,
            5 => Kind::Mark,
            6 => Kind::Reset,
            _ => return None,
        })
    }
}

/// What the checksums of a segment's records begin with. It depends on the disk's random
/// incarnation, so nobody can put bytes into a value that pass for a record.
pub(super) fn seed(identity: &Identity, sequence: u64) -> u64 {
    let numbers = [identity.cluster, identity.node.0, identity.incarnation, sequence];
    xxh3_64(&numbers.map(u64::to_le_bytes).concat())
}

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) identity: Identity,
    pub(super) sequence: u64,
    /// The last entry before this segment.
    pub(super) base: Position,
    pub(super) hard_state: HardState,
    /// Whether the file was another segment before, whose bytes lie where none of this one do yet.
    pub(super) reused: bool,
}

/// Why a header is not one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// Cut short, never written, or rotten.
    Damaged,
    /// Of another format.
    Format(u64),
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let HardState { term, vote } = self.hard_state;
        let numbers = [
            FORMAT,
            self.identity.cluster,
            self.identity.node.0,
            self.identity.incarnation,
            self.sequence,
            self.base.term.0,
            self.base.index.0,
            term.0,
            vote.map_or(0, |vote| vote.0),
            u64::from(self.reused),
        ];
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(MAGIC);
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.resize(HEADER - 8, 0);
        out.extend_from_slice(&xxh3_64(&out).to_le_bytes());
        let mut header = [0; HEADER];
        header.copy_from_slice(&out);
        header
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let body = bytes.get(..HEADER - 8).ok_or(BadHeader::Damaged)?;
        let checksum = number(bytes, HEADER - 8).ok_or(BadHeader::Damaged)?;
        if !body.starts_with(MAGIC) || xxh3_64(body) != checksum {
            return Err(BadHeader::Damaged);
        }
        let at = |place: usize| number(body, 8 + 8 * place).ok_or(BadHeader::Damaged);
        if at(0)? != FORMAT {
            return Err(BadHeader::Format(at(0)?));
        }
        let identity = Identity { cluster: at(1)?, node: NodeId(at(2)?), incarnation: at(3)? };
        let vote = at(8)?;
        let vote = (vote != 0).then_some(NodeId(vote));
        Ok(Self {
            identity,
            sequence: at(4)?,
            base: Position { term: Term(at(5)?), index: Index(at(6)?) },
            hard_state: HardState { term: Term(at(7)?), vote },
            reused: at(9)? != 0,
        })
    }
}

/// A record that is whole in itself; whether it belongs where it is, its chain tells.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) chain: u64,
    pub(super) synced: u64,
    pub(super) checksum: u64,
    pub(super) payload: Bytes,
    /// The bytes it takes, header and padding included.
    pub(super) size: usize,
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(8)
}

/// The bytes that a record with such a payload takes.
pub(super) fn record_size(payload: usize) -> usize {
    RECORD + padded(payload)
}

/// Adds a record; its checksum, which is the next one's chain.
pub(super) fn encode_record(
    out: &mut Vec<u8>,
    kind: Kind,
    payload: &[u8],
    chain: u64,
    synced: u64,
    seed: u64,
) -> u64 {
    let start = out.len();
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    assert!(payload.len() == length as usize, "a record of more than 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[kind as u8, 0, 0, 0]);
    out.extend_from_slice(&chain.to_le_bytes());
    out.extend_from_slice(&synced.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(payload);
    out.resize(start + record_size(payload.len()), 0);
    let checksum = checksum(out.get(start..).unwrap_or_default(), seed);
    if let Some(slot) = out.get_mut(start + 24..start + 32) {
        slot.copy_from_slice(&checksum.to_le_bytes());
    }
    checksum
}

/// Over everything but the checksum itself. Never 0, so that zeros are never a record.
fn checksum(record: &[u8], seed: u64) -> u64 {
    let head = xxh3_64_with_seed(record.get(..24).unwrap_or_default(), seed);
    let body = xxh3_64_with_seed(record.get(RECORD..).unwrap_or_default(), head);
    let body = if mutant!(WalPayloadIsNotChecked) { head } else { body };
    body.max(1)
}

/// The record at an offset, if there is a whole one.
pub(super) fn decode_record(file: &Bytes, offset: usize, seed: u64) -> Option<Record> {
    let head = file.get(offset..offset + RECORD)?;
    let kind = Kind::of(*head.get(4)?)?;
    if head.get(5..8)? != [0, 0, 0] {
        return None;
    }
    let length = u32::from_le_bytes(head.get(..4)?.try_into().ok()?) as usize;
    let size = record_size(length);
    let whole = file.get(offset..offset.checked_add(size)?)?;
    let written = number(whole, 24)?;
    if checksum(whole, seed) != written {
        return None;
    }
    let payload = file.slice(offset + RECORD..offset + RECORD + length);
    let (chain, synced) = (number(whole, 8)?, number(whole, 16)?);
    Some(Record { kind, chain, synced, checksum: written, payload, size })
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Adds an entry's payload bytes: term, index, kind, content.
///
/// # Panics
/// Never: a write into memory does not fail.
pub fn encode_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.extend_from_slice(&entry.term.0.to_le_bytes());
    out.extend_from_slice(&entry.index.0.to_le_bytes());
    match &entry.payload {
        Payload::Noop => out.push(0),
        Payload::Command(command) => {
            out.push(1);
            out.extend_from_slice(command);
        }
        Payload::Membership(membership) => {
            out.push(3);
            rmp_serde::encode::write(out, membership).expect("writes into memory cannot fail");
        }
    }
}

/// The entry in a record's payload.
pub fn decode_entry(bytes: &Bytes) -> Option<Entry> {
    let (term, index) = (Term(number(bytes, 0)?), Index(number(bytes, 8)?));
    let content = bytes.get(17..)?;
    let payload = match bytes.get(16)? {
        0 if content.is_empty() => Payload::Noop,
        1 => Payload::Command(bytes.slice(17..)),
        3 => Payload::Membership(rmp_serde::from_slice(content).ok()?),
        _ => return None,
    };
    Some(Entry { term, index, payload })
}

/// A term and vote as a record's payload.
pub(super) fn encode_hard_state(hard_state: HardState) -> [u8; 16] {
    let mut out = [0; 16];
    let vote = hard_state.vote.map_or(0, |vote| vote.0);
    out[..8].copy_from_slice(&hard_state.term.0.to_le_bytes());
    out[8..].copy_from_slice(&vote.to_le_bytes());
    out
}

/// The term and vote in a record's payload.
pub(super) fn decode_hard_state(bytes: &[u8]) -> Option<HardState> {
    let (term, vote) = (number(bytes, 0)?, number(bytes, 8)?);
    Some(HardState { term: Term(term), vote: (vote != 0).then_some(NodeId(vote)) })
}

/// A position as a record's payload.
pub(super) fn encode_position(position: Position) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&position.term.0.to_le_bytes());
    out[8..].copy_from_slice(&position.index.0.to_le_bytes());
    out
}

/// The position in a record's payload.
pub(super) fn decode_position(bytes: &[u8]) -> Option<Position> {
    Some(Position { term: Term(number(bytes, 0)?), index: Index(number(bytes, 8)?) })
}

/// The index in a truncation's payload.
pub(super) fn decode_index(bytes: &[u8]) -> Option<Index> {
    number(bytes, 0).map(Index)
}
