//! How the log is laid out in sled's keys and values.

use bytes::{Buf, Bytes};
use quorate_core::types::{Entry, HardState, Index, NodeId, Position, Term};
use quorate_core::wal::{Identity, decode_entry, encode_entry};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::store::sled_db::PIECE;

/// The format's number, in the identity's value.
const FORMAT: u64 = 1;
/// Whose log it is.
pub(super) const IDENTITY: &[u8] = b"i";
/// The newest [`Meta`].
pub(super) const META: &[u8] = b"m";
/// What the keys of records begin with.
pub(super) const RECORD: u8 = b'r';
/// What comes before a record's payload.
const HEAD: usize = 20;

const ENTRY: u8 = 1;
const TRUNCATION: u8 = 2;

/// What stands beside the records, written with each of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meta {
    /// The first record that counts.
    pub(super) first: u64,
    /// The last entry before it.
    pub(super) base: Position,
    pub(super) hard_state: HardState,
    /// The last record, and its checksum.
    pub(super) last: u64,
    pub(super) checksum: u64,
}

impl Meta {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { first, base, hard_state: HardState { term, vote }, last, checksum } = *self;
        let vote = vote.map_or(0, |vote| vote.0);
        checked(&[first, base.term.0, base.index.0, term.0, vote, last, checksum])
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let [first, base_term, base_index, term, vote, last, checksum] = unchecked(bytes)?;
        let vote = (vote != 0).then_some(NodeId(vote));
        Some(Self {
            first,
            base: Position { term: Term(base_term), index: Index(base_index) },
            hard_state: HardState { term: Term(term), vote },
            last,
            checksum,
        })
    }
}

/// An identity's value.
pub(super) fn encode_identity(identity: &Identity) -> Vec<u8> {
    checked(&[FORMAT, identity.cluster, identity.node.0, identity.incarnation])
}

/// The identity in a value: the format is another's where it is `Err`.
pub(super) fn decode_identity(bytes: &[u8]) -> Option<Result<Identity, u64>> {
    let [format, cluster, node, incarnation] = unchecked(bytes)?;
    if format != FORMAT {
        return Some(Err(format));
    }
    Some(Ok(Identity { cluster, node: NodeId(node), incarnation }))
}

fn checked(words: &[u64]) -> Vec<u8> {
    let body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    [xxh3_64(&body).to_le_bytes().as_slice(), &body].concat()
}

fn unchecked<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let (checksum, body) = bytes.split_at_checked(8)?;
    if body.len() != 8 * N || xxh3_64(body).to_le_bytes() != checksum {
        return None;
    }
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(body.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    Some(words)
}

/// A record in sled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) number: u64,
    pub(super) pieces: u32,
    /// The last entry before it.
    pub(super) base: Position,
    /// The lowest truncation in it.
    pub(super) cuts_from: Option<Index>,
}

impl Extent {
    pub(super) fn keys(self) -> impl Iterator<Item = Vec<u8>> {
        (0..self.pieces).map(move |piece| key(self.number, piece))
    }
}

fn key(number: u64, piece: u32) -> Vec<u8> {
    let mut key = vec![RECORD];
    key.extend_from_slice(&number.to_be_bytes());
    key.extend_from_slice(&piece.to_be_bytes());
    key
}

/// The record's number and the piece's, in a key.
pub(super) fn parse_key(key: &[u8]) -> Option<(u64, u32)> {
    let (number, piece) = key.strip_prefix(&[RECORD])?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), u32::from_be_bytes(piece.try_into().ok()?)))
}

/// Puts a record into a batch; its checksum, and how many pieces it has.
pub(super) fn record(
    batch: &mut sled::Batch,
    number: u64,
    chain: u64,
    payload: &[u8],
) -> (u64, u32) {
    let checksum = checksum(number, chain, payload);
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    assert!(length as usize == payload.len(), "a record of more than 4 GiB");
    let mut whole = Vec::with_capacity(HEAD + payload.len());
    whole.extend_from_slice(&checksum.to_le_bytes());
    whole.extend_from_slice(&chain.to_le_bytes());
    whole.extend_from_slice(&length.to_le_bytes());
    whole.extend_from_slice(payload);
    let mut pieces = 0;
    for piece in whole.chunks(PIECE) {
        batch.insert(key(number, pieces), piece);
        pieces += 1;
    }
    (checksum, pieces)
}

fn checksum(number: u64, chain: u64, payload: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&number.to_le_bytes());
    hash.update(&chain.to_le_bytes());
    hash.update(payload);
    hash.digest()
}

/// A record that was read back: checksum, chain, payload. `None` where it is not whole.
pub(super) fn parse_record(number: u64, whole: &Bytes) -> Option<(u64, u64, Bytes)> {
    let mut head = whole.get(..HEAD)?;
    let (written, chain, length) = (head.get_u64_le(), head.get_u64_le(), head.get_u32_le());
    let payload = whole.slice(HEAD..);
    let right = payload.len() == length as usize && checksum(number, chain, &payload) == written;
    right.then_some((written, chain, payload))
}

/// One thing that a record says.
pub(super) enum Item {
    Entry(Entry),
    Truncation(Index),
}

/// The next item; `None` at the end and, with something left, where it cannot be read.
pub(super) fn next_item(payload: &mut Bytes) -> Option<Item> {
    match *payload.first()? {
        ENTRY => {
            let length = u32::from_le_bytes(payload.get(1..5)?.try_into().ok()?) as usize;
            let end = length.checked_add(5).filter(|end| *end <= payload.len())?;
            // Of its own, or all of the record stays in memory for one entry.
            let entry = decode_entry(&Bytes::copy_from_slice(payload.get(5..end)?))?;
            payload.advance(end);
            Some(Item::Entry(entry))
        }
        TRUNCATION => {
            let from = u64::from_le_bytes(payload.get(1..9)?.try_into().ok()?);
            payload.advance(9);
            Some(Item::Truncation(Index(from)))
        }
        _ => None,
    }
}

/// What waits for the next sync.
#[derive(Debug, Default)]
pub(super) struct Staged {
    pub(super) payload: Vec<u8>,
    pub(super) hard_state: Option<HardState>,
    /// The last entry before all this; `None` where nothing is staged.
    pub(super) before: Option<Position>,
    /// The lowest truncation in it.
    pub(super) cuts_from: Option<Index>,
    /// A snapshot was installed: nothing older counts.
    pub(super) begins_anew: bool,
}

impl Staged {
    pub(super) fn entry(&mut self, last: Position, entry: &Entry) {
        self.before.get_or_insert(last);
        let start = self.payload.len();
        self.payload.extend_from_slice(&[ENTRY, 0, 0, 0, 0]);
        encode_entry(&mut self.payload, entry);
        let length = self.payload.len() - start - 5;
        let length = u32::try_from(length).expect("an entry is far below 4 GiB");
        if let Some(place) = self.payload.get_mut(start + 1..start + 5) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }

    pub(super) fn truncate(&mut self, last: Position, from: Index) {
        self.before.get_or_insert(last);
        self.payload.push(TRUNCATION);
        self.payload.extend_from_slice(&from.0.to_le_bytes());
        self.cuts_from = Some(self.cuts_from.map_or(from, |lowest| lowest.min(from)));
    }

    pub(super) fn begin_anew(&mut self, base: Position) {
        let hard_state = self.hard_state;
        *self = Self { hard_state, before: Some(base), begins_anew: true, ..Self::default() };
    }
}
