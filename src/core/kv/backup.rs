//! A backup: a state in a file, which says what it is and whether it is whole.
//!
//! ```text
//!   "QRTE-BKP" │ length 4 │ head (MessagePack) │ length 4 │ chunk │ ... │ 0 │ checksum 8
//! ```
//!
//! Chunks are those of a snapshot. The checksum at the end is over every byte before the zero
//! length, so a file that was cut short is known as such.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use super::{Builder, RecordError, StateMachine};
use crate::types::Position;

/// The first bytes of a backup.
pub const MAGIC: &[u8; 8] = b"QRTE-BKP";
/// The format that this version writes, and the only one that it reads.
const FORMAT: u64 = 1;
/// About the size of a chunk; none is longer than this and the longest record.
const CHUNK_BYTES: usize = 256 << 10;
/// No chunk is longer than this.
const LONGEST: u32 = 256 << 20;

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The format of the file.
    pub format: u64,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's id.
    pub cluster_id: u64,
    /// The version that wrote it.
    pub version: String,
    /// The last entry that is in it.
    pub position: Position,
    /// The store's revision.
    pub revision: u64,
    /// How many keys there are.
    pub keys: u64,
    /// How many records there are in all.
    pub records: u64,
    /// The hash of the state.
    pub hash: u64,
}

/// A backup that is written, piece by piece.
pub struct Writer {
    state: StateMachine,
    hash: Xxh3Default,
    after: Bytes,
    head: Option<Bytes>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Chunks,
    End,
    Done,
}

impl Writer {
    /// A backup of a point in time, and what it is of.
    ///
    /// # Panics
    /// Never: writing into memory cannot fail.
    #[must_use]
    pub fn new(state: StateMachine, cluster: &str, cluster_id: u64, version: &str) -> Self {
        let summary = state.summary();
        let head = Head {
            format: FORMAT,
            cluster: cluster.to_owned(),
            cluster_id,
            version: version.to_owned(),
            position: state.position(),
            revision: summary.revision,
            keys: summary.keys,
            records: state.record_count(),
            hash: summary.hash,
        };
        let head = rmp_serde::to_vec_named(&head).expect("writes into memory cannot fail");
        let mut out = BytesMut::with_capacity(head.len() + 12);
        out.extend_from_slice(MAGIC);
        out.put_u32_le(u32::try_from(head.len()).unwrap_or(u32::MAX));
        out.extend_from_slice(&head);
        let (hash, after, stage) = (Xxh3Default::new(), Bytes::new(), Stage::Chunks);
        Self { state, hash, after, head: Some(out.freeze()), stage }
    }
}

impl Iterator for Writer {
    type Item = Bytes;

    /// The next bytes of the file.
    fn next(&mut self) -> Option<Bytes> {
        let piece = match (self.head.take(), self.stage) {
            (Some(head), _) => head,
            (None, Stage::Chunks) => {
                let chunk = self.state.chunk(&self.after, CHUNK_BYTES);
                self.after = chunk.last;
                if chunk.done {
                    self.stage = Stage::End;
                }
                let mut out = BytesMut::with_capacity(chunk.bytes.len() + 4);
                out.put_u32_le(u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX));
                out.extend_from_slice(&chunk.bytes);
                out.freeze()
            }
            (None, Stage::End) => {
                self.stage = Stage::Done;
                let mut out = BytesMut::with_capacity(12);
                out.put_u32_le(0);
                out.put_u64_le(self.hash.digest());
                return Some(out.freeze());
            }
            (None, Stage::Done) => return None,
        };
        self.hash.update(&piece);
        Some(piece)
    }
}

/// A backup that is read, from whatever gives bytes.
pub struct Reader<R> {
    from: R,
    hash: Xxh3Default,
    /// What it is of.
    pub head: Head,
}

impl<R: FnMut(&mut [u8]) -> Result<(), String>> Reader<R> {
    /// Reads the head. `from` fills a buffer to its end, or says why it cannot.
    ///
    /// # Errors
    /// When it is no backup, is of another format, or cannot be read.
    pub fn new(mut from: R) -> Result<Self, String> {
        let mut hash = Xxh3Default::new();
        let mut start = [0; 12];
        from(&mut start)?;
        hash.update(&start);
        let (magic, length) = start.split_at(8);
        if magic != MAGIC {
            return Err("it is no backup of Quorate".to_owned());
        }
        let length = u32::from_le_bytes(length.try_into().unwrap_or_default());
        if length > 1 << 16 {
            return Err("its head is damaged".to_owned());
        }
        let mut head = vec![0; length as usize];
        from(&mut head)?;
        hash.update(&head);
        let head: Head = rmp_serde::from_slice(&head)
            .map_err(|error| format!("its head is damaged: {error}"))?;
        if head.format != FORMAT {
            let format = head.format;
            return Err(format!("it is of format {format}, this version reads {FORMAT}"));
        }
        Ok(Self { from, hash, head })
    }

    /// Reads all of it, and gives the state if it is whole. `progress` hears how many records
    /// were read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn state(mut self, mut progress: impl FnMut(u64)) -> Result<StateMachine, String> {
        let mut builder = Builder::new();
        loop {
            let mut length = [0; 4];
            (self.from)(&mut length)?;
            let bytes = u32::from_le_bytes(length);
            if bytes == 0 {
                break;
            }
            if bytes > LONGEST {
                return Err("a length in it is damaged".to_owned());
            }
            let mut chunk = vec![0; bytes as usize];
            (self.from)(&mut chunk)?;
            self.hash.update(&length);
            self.hash.update(&chunk);
            builder.add_chunk(&chunk).map_err(|RecordError(what)| what)?;
            progress(builder.count());
        }
        let mut checksum = [0; 8];
        (self.from)(&mut checksum)?;
        if u64::from_le_bytes(checksum) != self.hash.digest() {
            return Err("its checksum is wrong".to_owned());
        }
        let state = builder.finish().map_err(|RecordError(what)| what)?;
        if state.position() != self.head.position || state.hash() != self.head.hash {
            return Err("the state in it is not the one that its head tells of".to_owned());
        }
        Ok(state)
    }
}
