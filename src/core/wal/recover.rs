//! Reading the log back. A function of the disk's contents alone; what it finds is checked, and
//! nothing that was synced is ever given up silently.

use bytes::Bytes;

use super::format::{
    self, BadHeader, HEADER, Header, Kind, RECORD, Record, decode_entry, decode_hard_state,
    decode_index, decode_position, decode_record,
};
use super::{Options, Recovered, TornTail};
use crate::fs::Fs;
use crate::store::StoreError;
use crate::types::{Entry, HardState, Index, Position};

/// What the segments hold, and where writing goes on.
pub(super) struct Found {
    pub(super) recovered: Recovered,
    /// The last segment; `None` where there is none.
    pub(super) tail: Option<Tail>,
    /// The sequence number of the next new segment.
    pub(super) next_sequence: u64,
    /// All segments, the last one included, oldest first.
    pub(super) segments: Vec<Extent>,
    /// Files that do not count: what a trim was about to remove, and what waited to be used again.
    pub(super) leftovers: Vec<String>,
}

/// What is known of a segment without reading it again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) sequence: u64,
    /// The last entry before it, as its header says.
    pub(super) base: Position,
    /// The bytes of its file.
    pub(super) bytes: u64,
    /// The lowest index from which something in it removes entries.
    pub(super) cuts_from: Option<Index>,
}

/// The last segment.
pub(super) struct Tail {
    pub(super) sequence: u64,
    /// It is full: the next record goes into a new one.
    pub(super) sealed: bool,
    /// A record says that the segment was durable up to here. What lies behind was read, and may
    /// be nowhere but in the kernel's memory.
    pub(super) vouched: u64,
    /// Where the next record goes, and what it is chained to.
    pub(super) end: u64,
    pub(super) chain: u64,
    /// The file's length.
    pub(super) length: u64,
    /// Bytes that are not zero lie behind `end`, to be cleared before anything is written.
    pub(super) dirty: bool,
}

/// Reads everything.
pub(super) fn recover(fs: &dyn Fs, options: &Options) -> Result<Found, StoreError> {
    let first = first(fs, options)?;
    let (leftovers, sequences): (Vec<u64>, Vec<u64>) =
        sequences(fs)?.into_iter().partition(|s| *s < first);
    check_numbers(first, &leftovers, &sequences)?;
    let mut state = State::default();
    let mut found = Found {
        recovered: Recovered::default(),
        tail: None,
        next_sequence: sequences.last().map_or(first, |last| last + 1),
        leftovers: leftovers.into_iter().map(format::path).chain(spares(fs)?).collect(),
        segments: vec![],
    };
    for (place, sequence) in sequences.iter().enumerate() {
        let last = place + 1 == sequences.len();
        let file = read(fs, &format::path(*sequence))?;
        let bytes = file.len() as u64;
        let (path, sequence) = (format::path(*sequence), *sequence);
        let seed = format::seed(&options.identity, sequence);
        let segment = Segment { path, sequence, file, last, seed };
        let Some(header) = segment.header(options)? else {
            if sequence == first && first > 1 {
                return Err(segment.damaged(0, "its header is damaged"));
            }
            // Its making was cut short: nothing is in it. It is made again.
            found.next_sequence = sequence;
            continue;
        };
        segment.check_sequel(place == 0, &header, &mut state)?;
        state.cuts_from = None;
        found.tail = Some(segment.read(header.reused, &mut state, &mut found.recovered.torn)?);
        let (base, cuts_from) = (header.base, state.cuts_from);
        found.segments.push(Extent { sequence, base, bytes, cuts_from });
    }
    found.recovered.hard_state = state.hard_state;
    found.recovered.base = state.base;
    found.recovered.entries = state.entries;
    Ok(found)
}

/// The number of the first segment: 1, until the log is trimmed.
fn first(fs: &dyn Fs, options: &Options) -> Result<u64, StoreError> {
    let names = fs.list(format::DIR).map_err(|error| io("list", format::DIR, &error))?;
    if !names.iter().any(|name| format::FIRST.ends_with(&format!("/{name}"))) {
        return Ok(1);
    }
    let bytes = read(fs, format::FIRST)?;
    format::decode_first(&options.identity, &bytes).ok_or_else(|| StoreError::Damaged {
        path: format::FIRST.to_owned(),
        offset: 0,
        what: "it does not name the first segment".to_owned(),
    })
}

/// The numbers have no gap, and begin where they must.
fn check_numbers(first: u64, leftovers: &[u64], sequences: &[u64]) -> Result<(), StoreError> {
    let begins = sequences.first().is_none_or(|found| *found == first);
    // A trimmed log ends with a segment at least: nothing removes the last one.
    let there = first == 1 || !sequences.is_empty();
    let gap = sequences.windows(2).find(|pair| matches!(pair, [a, b] if a + 1 != *b));
    let behind = match (begins && there, gap) {
        (true, None) => return Ok(()),
        (_, Some([_, behind])) => *behind,
        (_, _) => sequences.first().or(leftovers.last()).copied().unwrap_or(first),
    };
    Err(StoreError::Damaged {
        path: format::path(behind),
        offset: 0,
        what: "the segment before it is missing".to_owned(),
    })
}

/// The paths of what waited to be used again.
fn spares(fs: &dyn Fs) -> Result<Vec<String>, StoreError> {
    let names = fs.list(format::DIR).map_err(|error| io("list", format::DIR, &error))?;
    let spares = names.iter().filter(|name| format::is_spare(name));
    Ok(spares.map(|name| format!("{}/{name}", format::DIR)).collect())
}

/// The segments' numbers, in order.
fn sequences(fs: &dyn Fs) -> Result<Vec<u64>, StoreError> {
    let names = fs.list(format::DIR).map_err(|error| io("list", format::DIR, &error))?;
    let mut sequences: Vec<u64> =
        names.iter().filter_map(|name| format::sequence_of(name)).collect();
    sequences.sort_unstable();
    Ok(sequences)
}

fn read(fs: &dyn Fs, path: &str) -> Result<Bytes, StoreError> {
    let file = fs.open(path, false).map_err(|error| io("open", path, &error))?;
    let length = file.len().map_err(|error| io("read", path, &error))?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..)
        && !rest.is_empty()
    {
        let count = file.read_at(done as u64, rest).map_err(|error| io("read", path, &error))?;
        if count == 0 {
            break;
        }
        done += count;
    }
    bytes.truncate(done);
    Ok(bytes.into())
}

/// An operating system's error.
pub(super) fn io(action: &'static str, path: &str, error: &std::io::Error) -> StoreError {
    let full = error.kind() == std::io::ErrorKind::StorageFull;
    StoreError::Io { action, path: path.to_owned(), error: error.to_string(), full }
}

/// What has been read so far.
#[derive(Default)]
struct State {
    hard_state: HardState,
    base: Position,
    entries: Vec<Entry>,
    sealed: bool,
    /// The lowest truncation in the segment that is read.
    cuts_from: Option<Index>,
}

impl State {
    fn last(&self) -> Position {
        self.entries.last().map_or(self.base, Entry::position)
    }

    /// Takes in a record; what is wrong with it, where something is.
    fn take(&mut self, record: &Record) -> Result<(), &'static str> {
        match record.kind {
            Kind::Entry => {
                self.append(decode_entry(&record.payload).ok_or("an entry that cannot be read")?)
            }
            Kind::Truncate => self
                .truncate(decode_index(&record.payload).ok_or("a truncation that cannot be read")?),
            Kind::HardState => {
                let new = decode_hard_state(&record.payload).ok_or("a term that cannot be read")?;
                if new.term < self.hard_state.term {
                    return Err("the term falls");
                }
                self.hard_state = new;
                Ok(())
            }
            Kind::Seal => {
                self.sealed = true;
                Ok(())
            }
            Kind::Mark => Ok(()),
            Kind::Reset => {
                self.reset(decode_position(&record.payload).ok_or("a reset that cannot be read")?);
                Ok(())
            }
        }
    }

    fn append(&mut self, entry: Entry) -> Result<(), &'static str> {
        let last = self.last();
        if entry.index != last.index.next() {
            return Err("an entry is missing");
        }
        if entry.term < last.term {
            return Err("the entries' term falls");
        }
        self.entries.push(entry);
        Ok(())
    }

    fn truncate(&mut self, from: Index) -> Result<(), &'static str> {
        if mutant!(WalTruncationIsNotReplayed) {
            return Ok(());
        }
        if from <= self.base.index || from > self.last().index.next() {
            return Err("a truncation outside the log");
        }
        self.cuts_from = Some(self.cuts_from.map_or(from, |lowest| lowest.min(from)));
        let keep = usize::try_from(from.0 - self.base.index.0 - 1).unwrap_or(usize::MAX);
        self.entries.truncate(keep);
        Ok(())
    }

    fn reset(&mut self, base: Position) {
        if !mutant!(WalResetIsNotReplayed) {
            self.base = base;
            self.entries.clear();
        }
    }
}

/// One file.
struct Segment {
    path: String,
    sequence: u64,
    file: Bytes,
    last: bool,
    seed: u64,
}

impl Segment {
    fn damaged(&self, offset: usize, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), offset: offset as u64, what: what.into() }
    }

    /// The header; `None` for a last segment whose making was cut short.
    fn header(&self, options: &Options) -> Result<Option<Header>, StoreError> {
        let header = match Header::decode(&self.file) {
            Ok(header) => header,
            Err(BadHeader::Format(format)) => {
                let what = format!("it is of format {format}, which this version does not read");
                return Err(StoreError::Foreign { path: self.path.clone(), what });
            }
            Err(BadHeader::Damaged) if self.last && self.whole_records(0).next().is_none() => {
                return Ok(None);
            }
            Err(BadHeader::Damaged) => return Err(self.damaged(0, "its header is damaged")),
        };
        if header.identity != options.identity {
            let (ours, theirs) = (options.identity, header.identity);
            let what = format!(
                "it is of node {} in cluster {:016x}, incarnation {:x}; this is node {} in cluster {:016x}, incarnation {:x}",
                theirs.node,
                theirs.cluster,
                theirs.incarnation,
                ours.node,
                ours.cluster,
                ours.incarnation
            );
            return Err(StoreError::Foreign { path: self.path.clone(), what });
        }
        if header.sequence != self.sequence {
            return Err(self.damaged(0, format!("its header is of segment {}", header.sequence)));
        }
        Ok(Some(header))
    }

    /// A segment goes on exactly where the one before was sealed.
    fn check_sequel(
        &self,
        first: bool,
        header: &Header,
        state: &mut State,
    ) -> Result<(), StoreError> {
        if first {
            if (header.base != Position::default()) == (self.sequence == 1) {
                return Err(self.damaged(0, "it is not where a log begins"));
            }
            state.base = header.base;
            state.hard_state = header.hard_state;
            return Ok(());
        }
        if mutant!(WalHeaderForgetsTheVote) {
            state.hard_state = header.hard_state;
        }
        if header.base != state.last() || header.hard_state != state.hard_state || !state.sealed {
            return Err(self.damaged(0, "it does not go on where the segment before it ends"));
        }
        state.sealed = false;
        Ok(())
    }

    /// Takes in the records; gives where writing goes on.
    fn read(
        &self,
        reused: bool,
        state: &mut State,
        torn: &mut Option<TornTail>,
    ) -> Result<Tail, StoreError> {
        let mut offset = HEADER;
        let mut chain = checksum_of_header(&self.file);
        let mut vouched = 0;
        while !state.sealed
            && let Some(record) = decode_record(&self.file, offset, self.seed)
            && (record.chain == chain || mutant!(WalOldTailComesBack))
        {
            state.take(&record).map_err(|what| self.damaged(offset, what))?;
            offset += record.size;
            chain = record.checksum;
            vouched = vouched.max(record.synced);
        }
        let end = offset as u64;
        let (sequence, length) = (self.sequence, self.file.len() as u64);
        if state.sealed {
            return Ok(Tail { sequence, sealed: true, vouched, end, chain, length, dirty: false });
        }
        if !self.last {
            return Err(self.damaged(offset, "it ends without a seal, and another segment follows"));
        }
        if let Some(vouched) = self.whole_records(offset).map(|record| record.synced).max()
            && (vouched > offset as u64 || mutant!(WalTornTailIsRefused))
            && !mutant!(WalDamageIsCut)
        {
            return Err(self.damaged(
                offset,
                format!(
                    "a record is unreadable, and everything up to byte {vouched} was durable once"
                ),
            ));
        }
        let dirty = self.file.iter().skip(offset).any(|byte| *byte != 0);
        // In a file that was another segment before, a whole end is followed by one empty header.
        let whole_end = reused
            && self.file.iter().skip(offset).take(RECORD).all(|byte| *byte == 0)
            && self.whole_records(offset).next().is_none();
        if dirty && !whole_end {
            *torn = Some(TornTail { path: self.path.clone(), offset: offset as u64 });
        }
        Ok(Tail { sequence, sealed: false, vouched, end, chain, length, dirty })
    }

    /// Every whole record at or behind an offset, chained or not. Records begin at multiples
    /// of eight.
    fn whole_records(&self, from: usize) -> impl Iterator<Item = Record> + '_ {
        let places = (from.next_multiple_of(8)..self.file.len()).step_by(8);
        places.filter_map(|offset| {
            let kind = self.file.get(offset + 4)?;
            (*kind != 0).then(|| decode_record(&self.file, offset, self.seed))?
        })
    }
}

/// What the first record is chained to.
pub(super) fn checksum_of_header(file: &[u8]) -> u64 {
    let bytes = file.get(HEADER - 8..HEADER).unwrap_or_default();
    bytes.try_into().map_or(0, u64::from_le_bytes)
}
