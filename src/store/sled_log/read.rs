//! Opening a log in sled, and reading it back: everything is checked.

use std::collections::VecDeque;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use bytes::Bytes;
use quorate_core::store::StoreError;
use quorate_core::types::{Entry, Position};
use quorate_core::wal::{Identity, Recovered};

use super::SledLog;
use super::format::{
    Extent, IDENTITY, Item, META, Meta, RECORD, Staged, decode_identity, encode_identity,
    next_item, parse_key, parse_record,
};
use crate::store::sled_db::{Db, NotOpened, io_error};
use crate::store::watermark::{Mark, Watermark};

/// sled's directory, below the log's.
pub(super) const DATABASE: &str = "sled";
/// The watermark's file, beside it.
pub(super) const WATERMARK: &str = "watermark";

pub(super) fn damaged(path: &Path, what: impl Into<String>) -> StoreError {
    StoreError::Damaged { path: path.display().to_string(), offset: 0, what: what.into() }
}

/// Opens or begins a log. May panic, as sled may.
pub(super) fn open(
    path: &Path,
    cache_bytes: u64,
    identity: &Identity,
) -> Result<(SledLog, Recovered), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| io_error("create", path, &error))?;
    let watermark = Watermark::open(&path.join(WATERMARK))?;
    let db = Db::open(&path.join(DATABASE), cache_bytes).map_err(|error| match error {
        NotOpened::Damaged(what) => damaged(path, what),
        NotOpened::Store(error) => error,
    })?;
    let get = |key| db.db.get(key).map_err(|error| unreadable(path, &error));
    let mark = watermark.as_ref().map(Watermark::newest);
    let Some(whose) = get(IDENTITY)? else {
        if mark.is_some_and(|mark| mark != Mark::default()) || !db.db.is_empty() {
            return Err(damaged(path, "sled has lost everything that it held"));
        }
        return begin(path, db, identity);
    };
    check_identity(path, &whose, identity)?;
    let Some(watermark) = watermark else {
        return Err(damaged(path, "its watermark is missing, which tells how far it was durable"));
    };
    let meta = get(META)?.ok_or_else(|| damaged(path, "its beginning is missing"))?;
    let meta = Meta::decode(&meta).ok_or_else(|| damaged(path, "its beginning is unreadable"))?;
    check_mark(path, &meta, &watermark.newest())?;
    read(path, db, watermark, meta)
}

fn unreadable(path: &Path, error: &sled::Error) -> StoreError {
    damaged(path, format!("sled: {error}"))
}

fn begin(path: &Path, db: Db, identity: &Identity) -> Result<(SledLog, Recovered), StoreError> {
    // Before anything is in the log: one with something in it and no watermark is damaged.
    let watermark = Watermark::create(&path.join(WATERMARK))?;
    let meta = Meta { first: 1, ..Meta::default() };
    let mut batch = sled::Batch::default();
    batch.insert(IDENTITY, encode_identity(identity));
    batch.insert(META, meta.encode());
    db.db.apply_batch(batch).map_err(|error| db.failed("write", error))?;
    db.sync()?;
    let log = Found::new(meta).into_log(db, watermark, meta)?;
    Ok((log, Recovered::default()))
}

fn check_identity(path: &Path, whose: &[u8], ours: &Identity) -> Result<(), StoreError> {
    let foreign = |what| Err(StoreError::Foreign { path: path.display().to_string(), what });
    match decode_identity(whose) {
        None => Err(damaged(path, "whose it is cannot be read")),
        Some(Err(format)) => {
            foreign(format!("it is of format {format}, which this version does not read"))
        }
        Some(Ok(theirs)) if theirs != *ours => foreign(format!(
            "it is of node {} in cluster {:016x}, incarnation {:x}; this is node {} in cluster {:016x}, incarnation {:x}",
            theirs.node,
            theirs.cluster,
            theirs.incarnation,
            ours.node,
            ours.cluster,
            ours.incarnation
        )),
        Some(Ok(_)) => Ok(()),
    }
}

/// The log holds at least what was durable once.
fn check_mark(path: &Path, meta: &Meta, mark: &Mark) -> Result<(), StoreError> {
    let (ours, theirs) = (meta.hard_state, mark.hard_state);
    let same = meta.last == mark.batch;
    let lost = meta.last < mark.batch
        || ours.term < theirs.term
        || (same && (meta.checksum != mark.checksum || ours != theirs))
        || (ours.term == theirs.term && theirs.vote.is_some() && ours.vote != theirs.vote);
    if !lost {
        return Ok(());
    }
    Err(damaged(
        path,
        format!(
            "it ends with record {} in term {}, and record {} in term {} was durable once, up to entry {}",
            meta.last, ours.term, mark.batch, theirs.term, mark.last
        ),
    ))
}

fn read(
    path: &Path,
    db: Db,
    watermark: Watermark,
    meta: Meta,
) -> Result<(SledLog, Recovered), StoreError> {
    let mut found = Found::new(meta);
    for item in db.db.scan_prefix([RECORD]) {
        let (key, piece) = item.map_err(|error| unreadable(path, &error))?;
        let taken = found.piece(&key, &piece, &watermark.newest());
        taken.map_err(|what| damaged(path, what))?;
    }
    found.end_of_record(&watermark.newest()).map_err(|what| damaged(path, what))?;
    if found.next != meta.last + 1 || found.chain.is_some_and(|chain| chain != meta.checksum) {
        return Err(damaged(path, format!("its last record should be {}", meta.last)));
    }
    let recovered = Recovered {
        hard_state: meta.hard_state,
        base: meta.base,
        entries: std::mem::take(&mut found.entries),
        torn: None,
    };
    let leftovers = std::mem::take(&mut found.leftovers);
    let mut log = found.into_log(db, watermark, meta)?;
    recovered.entries.iter().for_each(|entry| log.went_on(entry.position()));
    log.remove(leftovers)?;
    Ok((log, recovered))
}

/// What has been read so far.
struct Found {
    base: Position,
    first: u64,
    next: u64,
    chain: Option<u64>,
    entries: Vec<Entry>,
    extents: VecDeque<Extent>,
    /// The record that is being put together: its number, its pieces.
    current: Option<(u64, Vec<sled::IVec>)>,
    /// Keys that were to be removed when the process ended.
    leftovers: Vec<Vec<u8>>,
}

impl Found {
    fn new(meta: Meta) -> Self {
        Self {
            base: meta.base,
            first: meta.first,
            next: meta.first,
            chain: None,
            entries: vec![],
            extents: VecDeque::new(),
            current: None,
            leftovers: vec![],
        }
    }

    fn last(&self) -> Position {
        self.entries.last().map_or(self.base, Entry::position)
    }

    /// Takes in the next piece; what is wrong with it, where something is.
    fn piece(&mut self, key: &[u8], piece: &sled::IVec, mark: &Mark) -> Result<(), String> {
        let parsed = parse_key(key).ok_or_else(|| "a key that is not the log's".to_owned());
        let (number, place) = parsed?;
        if number < self.first {
            self.leftovers.push(key.to_vec());
            return Ok(());
        }
        if self.current.as_ref().is_some_and(|(of, _)| *of != number) {
            self.end_of_record(mark)?;
        }
        let (_, pieces) = self.current.get_or_insert_with(|| (number, Vec::new()));
        if place as usize != pieces.len() {
            return Err(format!("a piece of record {number} is missing"));
        }
        pieces.push(piece.clone());
        Ok(())
    }

    /// Takes in the record whose pieces have come.
    fn end_of_record(&mut self, mark: &Mark) -> Result<(), String> {
        let Some((number, pieces)) = self.current.take() else { return Ok(()) };
        let whole = Bytes::from(pieces.concat());
        let pieces = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
        let mut extent = Extent { number, pieces, base: self.last(), cuts_from: None };
        if number != self.next {
            return Err(format!("record {} is missing", self.next));
        }
        let parsed = parse_record(number, &whole);
        let (checksum, chain, mut payload) =
            parsed.ok_or_else(|| format!("record {number} has a wrong checksum"))?;
        if self.chain.is_some_and(|before| before != chain) {
            return Err(format!("record {number} does not follow the one before it"));
        }
        if number == mark.batch && checksum != mark.checksum {
            return Err(format!("record {number} is another than was durable once"));
        }
        while let Some(item) = next_item(&mut payload) {
            self.take_item(item, &mut extent).map_err(|what| format!("record {number}: {what}"))?;
        }
        if !payload.is_empty() {
            return Err(format!("record {number} cannot be read"));
        }
        self.extents.push_back(extent);
        self.next += 1;
        self.chain = Some(checksum);
        Ok(())
    }

    fn take_item(&mut self, item: Item, extent: &mut Extent) -> Result<(), &'static str> {
        let last = self.last();
        match item {
            Item::Entry(entry) => {
                if entry.index != last.index.next() {
                    return Err("an entry is missing");
                }
                if entry.term < last.term {
                    return Err("the entries' term falls");
                }
                self.entries.push(entry);
            }
            Item::Truncation(from) => {
                if from <= self.base.index || from > last.index {
                    return Err("a truncation outside the log");
                }
                let keep = usize::try_from(from.0 - self.base.index.0 - 1).unwrap_or(usize::MAX);
                self.entries.truncate(keep);
                extent.cuts_from = Some(extent.cuts_from.map_or(from, |lowest| lowest.min(from)));
            }
        }
        Ok(())
    }

    /// The log, before its entries' terms are noted.
    fn into_log(self, db: Db, watermark: Watermark, meta: Meta) -> Result<SledLog, StoreError> {
        let bytes = db.bytes()?;
        Ok(SledLog {
            db,
            watermark,
            meta,
            extents: self.extents,
            staged: Staged::default(),
            base: meta.base,
            last: meta.base,
            terms: vec![],
            syncs: 0,
            bytes,
            failed: None,
        })
    }
}
