//! A state taken apart into records, and put together again.
//!
//! A [`StateMachine`] is a point in time once it is cloned, so its records can be read at leisure
//! while the original goes on. A checkpoint stores them; a snapshot sends them in
//! [chunks](StateMachine::chunk). A [`Builder`] makes a state of them, and believes nothing: the
//! counts must be right, and the hash that is computed from what came must be the one that the
//! sender kept while it applied.

use std::ops::Bound;

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64;

use super::changes::Changes;
use super::data::Data;
use super::record::{self, FORMAT, Header, KeyRecord, Name, Record, RecordError, SessionRecord};
use super::sessions::Sessions;
use super::state::StateMachine;
use crate::types::{Membership, Position};

/// A piece of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its records, with a checksum.
    pub bytes: Bytes,
    /// The name of its last record: the next chunk begins behind it.
    pub last: Bytes,
    /// How many records are in it.
    pub records: u64,
    /// Whether nothing follows.
    pub done: bool,
}

impl StateMachine {
    /// The last entry applied, and its term.
    #[must_use]
    pub fn position(&self) -> Position {
        self.applied
    }

    /// The membership in effect at the applied index; `None` before the first.
    #[must_use]
    pub fn membership(&self) -> Option<&Membership> {
        self.membership.as_ref()
    }

    /// This point in time. What changed until now is noted in the original only, and what is
    /// changed in the copy, in the copy.
    #[must_use]
    pub fn point_in_time(&self) -> Self {
        Self {
            applied: self.applied,
            membership: self.membership.clone(),
            data: self.data.clone(),
            sessions: self.sessions.clone(),
            changes: self.changes.of_copy(self.data.revision()),
        }
    }

    /// This state as the beginning of another cluster: with other members, without the sessions,
    /// whose clients belong to the old one, and with a revision raised by so much, so that nobody
    /// who knew the old cluster takes what is new for what was there.
    #[must_use]
    pub fn restored(self, membership: Membership, revision_jump: u64) -> Self {
        let mut data = self.data;
        data.set_revision(data.revision() + revision_jump);
        let changes = Changes::since(data.revision());
        Self {
            applied: self.applied,
            membership: Some(membership),
            data,
            sessions: Sessions::default(),
            changes,
        }
    }

    /// What has changed since this was last called.
    pub fn take_changes(&mut self) -> Changes {
        self.changes.take(self.data.revision())
    }

    /// Every record behind that name, in order; all of them behind the empty name.
    pub fn records<'a>(&'a self, after: &'a Bytes) -> impl Iterator<Item = Record> + 'a {
        let place = Name::parse(after);
        let header = after.is_empty().then(|| self.header_record());
        let from_key = match &place {
            None | Some(Name::Header) => Some(Bound::Unbounded),
            Some(Name::Key(key)) => Some(Bound::Excluded(*key)),
            Some(Name::Session(_) | Name::Reply(..)) => None,
        };
        let keys = from_key.map(|from| self.data.records(from)).into_iter().flatten();
        let from_session = match &place {
            Some(Name::Session(session)) => Some(Bound::Excluded(*session)),
            Some(Name::Reply(..)) => None,
            None | Some(Name::Header | Name::Key(_)) => Some(Bound::Unbounded),
        };
        let sessions = from_session.into_iter().flat_map(|from| self.sessions.records(from));
        let from_reply = match &place {
            Some(Name::Reply(session, id)) => (*session, *id),
            None | Some(_) => (0, 0),
        };
        header.into_iter().chain(keys).chain(sessions).chain(self.sessions.replies(from_reply))
    }

    /// How many records there are.
    #[must_use]
    pub fn record_count(&self) -> u64 {
        1 + self.data.map().len() as u64 + self.sessions.len() + self.sessions.replies_len()
    }

    /// How many records there are up to that name. Walks over them.
    #[must_use]
    pub fn records_until(&self, name: &Bytes) -> u64 {
        self.record_count() - self.records(name).count() as u64
    }

    /// The record of that name, if it is there now.
    #[must_use]
    pub fn record(&self, name: &Bytes) -> Option<Record> {
        let value = match Name::parse(name)? {
            Name::Header => return Some(self.header_record()),
            Name::Key(key) => self.data.record(key)?,
            Name::Session(session) => self.sessions.record(session)?,
            Name::Reply(session, id) => record::encode_reply(self.sessions.reply(session, id)?),
        };
        Some(Record { name: name.clone(), value })
    }

    fn header_record(&self) -> Record {
        let header = Header {
            format: FORMAT,
            applied: self.applied,
            membership: self.membership.clone(),
            revision: self.data.revision(),
            clock_ms: self.sessions.clock_ms(),
            keys: self.data.map().len() as u64,
            sessions: self.sessions.len(),
            replies: self.sessions.replies_len(),
            hash: self.hash(),
        };
        Record { name: record::header_name(), value: record::encode(&header) }
    }

    /// The next piece of a snapshot behind that name, of about `max_bytes`; a single larger
    /// record is a piece of its own. The same for the same point in time, always.
    #[must_use]
    pub fn chunk(&self, after: &Bytes, max_bytes: usize) -> Chunk {
        let mut out = BytesMut::with_capacity(max_bytes.min(1 << 20) + 64);
        out.put_u64_le(0);
        let (mut last, mut count) = (after.clone(), 0);
        let mut records = self.records(after).peekable();
        while let Some(record) = records.peek() {
            let size = 8 + record.name.len() + record.value.len();
            if out.len() > 8 && out.len() + size > max_bytes {
                break;
            }
            let Some(record) = records.next() else { break };
            put_bytes(&mut out, &record.name);
            put_bytes(&mut out, &record.value);
            last = record.name;
            count += 1;
        }
        let done = records.next().is_none();
        let checksum = xxh3_64(out.get(8..).unwrap_or_default());
        if let Some(place) = out.get_mut(..8) {
            place.copy_from_slice(&checksum.to_le_bytes());
        }
        Chunk { bytes: out.freeze(), last, records: count, done }
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes);
}

/// A state that is put together from its records.
#[derive(Debug, Default)]
pub struct Builder {
    header: Option<Header>,
    data: Data,
    sessions: Sessions,
    /// Its memory is used again.
    last: Vec<u8>,
    count: u64,
}

impl Builder {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The name of the last record that was added; empty before the first.
    #[must_use]
    pub fn last(&self) -> &[u8] {
        &self.last
    }

    /// How many records were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Which state it is, once the header has come.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.header.as_ref().map(|header| header.applied)
    }

    /// How many records there are in all, once the header has come: those of the keys, the
    /// sessions and the replies.
    #[must_use]
    pub fn records(&self) -> Option<u64> {
        self.header.as_ref().map(|header| 1 + header.keys + header.sessions + header.replies)
    }

    /// Adds a record. They come in order.
    ///
    /// # Errors
    /// Where it is not one, or comes out of turn.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), RecordError> {
        if *name <= self.last[..] {
            return Err(RecordError("records out of order".to_owned()));
        }
        let parsed = Name::parse(name).ok_or_else(|| RecordError("an unknown name".to_owned()))?;
        match parsed {
            Name::Header => self.begin(record::decode(value)?)?,
            _ if self.header.is_none() => {
                return Err(RecordError("the header is missing".to_owned()));
            }
            Name::Key(key) => self.data.insert(key, record::decode::<KeyRecord<Bytes>>(value)?),
            Name::Session(session) => {
                self.sessions.insert(session, &record::decode::<SessionRecord>(value)?);
            }
            Name::Reply(session, id) => {
                self.sessions.insert_reply(session, id, record::decode_reply(value)?)?;
            }
        }
        self.last.clear();
        self.last.extend_from_slice(name);
        self.count += 1;
        Ok(())
    }

    fn begin(&mut self, header: Header) -> Result<(), RecordError> {
        if header.format != FORMAT {
            let format = header.format;
            return Err(RecordError(format!(
                "the state is of format {format}, this version reads {FORMAT}"
            )));
        }
        self.data.reserve(header.keys);
        self.data.set_revision(header.revision);
        self.sessions.set_clock(header.clock_ms);
        self.header = Some(header);
        Ok(())
    }

    /// Adds a piece of a snapshot.
    ///
    /// # Errors
    /// Where its checksum or one of its records is wrong.
    pub fn add_chunk(&mut self, chunk: &[u8]) -> Result<(), RecordError> {
        let wrong = || RecordError("a piece that is cut short".to_owned());
        let checksum = chunk.get(..8).and_then(|bytes| bytes.try_into().ok());
        let checksum = checksum.map(u64::from_le_bytes).ok_or_else(wrong)?;
        let mut rest = chunk.get(8..).unwrap_or_default();
        if xxh3_64(rest) != checksum {
            return Err(RecordError("a piece with a wrong checksum".to_owned()));
        }
        while !rest.is_empty() {
            let name = take_bytes(&mut rest).ok_or_else(wrong)?;
            let value = take_bytes(&mut rest).ok_or_else(wrong)?;
            self.add(name, value)?;
        }
        Ok(())
    }

    /// The state, if it is whole.
    ///
    /// # Errors
    /// Where records are missing, or the hash is another than the header says.
    pub fn finish(self) -> Result<StateMachine, RecordError> {
        let header = self.header.ok_or_else(|| RecordError("there is no header".to_owned()))?;
        let Header { applied, membership, keys, sessions, replies, hash, .. } = header;
        let data = self.data;
        let changes = Changes::since(data.revision());
        let state = StateMachine { applied, membership, data, sessions: self.sessions, changes };
        let there =
            [state.data.map().len() as u64, state.sessions.len(), state.sessions.replies_len()];
        if there != [keys, sessions, replies] {
            return Err(RecordError(format!(
                "keys, sessions and replies are {there:?}, and should be {:?}",
                [keys, sessions, replies]
            )));
        }
        if state.hash() != hash {
            let ours = state.hash();
            return Err(RecordError(format!(
                "the state's hash is {ours:016x}, and should be {hash:016x}"
            )));
        }
        Ok(state)
    }
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk::<4>()?;
    let (taken, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = behind;
    Some(taken)
}
