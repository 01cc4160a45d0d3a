//! A disk in memory that forgets what was not synced, and fails when told to.
//!
//! It keeps what every program sees (the current image) and what a loss of power leaves (the
//! durable image, and the list of operations since). [`MemoryFs::crash`] chooses which of those
//! operations reached the platter.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{File, Fs};

/// A disk. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryFs(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    current: BTreeMap<String, Vec<u8>>,
    durable: BTreeMap<String, Vec<u8>>,
    /// Since the last sync, in order.
    pending: Vec<Pending>,
    counts: Counts,
    faults: Faults,
    /// It ended in a sync.
    dead: bool,
    untraced: bool,
    trace: Vec<Traced>,
}

#[derive(Clone, Debug)]
enum Pending {
    Create { path: String },
    Write { path: String, offset: u64, bytes: Vec<u8>, synced: bool },
    SetLen { path: String, len: u64, synced: bool },
    Rename { from: String, to: String },
    Remove { path: String },
}

/// How often the disk was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes to files.
    pub writes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Syncs of directories.
    pub dir_syncs: u64,
}

/// What goes wrong, and when. Counted in calls from when it was set; 0 means never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The n-th write fails (1 is the next).
    pub write_error_in: u64,
    /// The n-th sync fails, and drops what it was to make durable.
    pub sync_error_in: u64,
    /// No more than this many further bytes can be written (`None`: no limit).
    pub space_left: Option<u64>,
    /// The n-th sync never ends: it makes nothing durable, and nothing works until
    /// [`MemoryFs::crash`].
    pub ends_in_sync: u64,
    /// Syncs report success and make nothing durable, as some disks do.
    pub lies: bool,
}

/// What happened on the disk, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traced {
    /// Bytes were written to a file.
    Write(String, usize),
    /// A file was synced.
    Sync(String),
}

/// Which operations since the last sync survive a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// All: only the process ended. What was written stays, synced or not.
    Nothing,
    /// None.
    SyncedOnly,
    /// The first so many.
    Prefix(usize),
    /// Those whose bit is set, the 65th and later as the first.
    Subset(u64),
    /// The first so many, and of the next one, a write, this many bytes.
    Torn(usize, usize),
}

impl MemoryFs {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loss of power, or the end of the process: from here on only what survives is there. Open files are void.
    pub fn crash(&self, crash: Crash) {
        let mut disk = self.disk();
        disk.faults = Faults::default();
        disk.dead = false;
        if crash == Crash::Nothing {
            return;
        }
        let pending = std::mem::take(&mut disk.pending);
        let mut durable = std::mem::take(&mut disk.durable);
        for (place, operation) in pending.into_iter().enumerate() {
            match crash {
                Crash::Prefix(count) | Crash::Torn(count, _) if place < count => {
                    apply(&mut durable, &operation);
                }
                Crash::Subset(mask) if mask & (1 << (place % 64)) != 0 => {
                    apply(&mut durable, &operation);
                }
                Crash::Torn(count, keep) if place == count => {
                    if let Pending::Write { path, offset, mut bytes, synced } = operation {
                        bytes.truncate(keep);
                        apply(&mut durable, &Pending::Write { path, offset, bytes, synced });
                    }
                }
                Crash::Nothing
                | Crash::SyncedOnly
                | Crash::Prefix(_)
                | Crash::Subset(_)
                | Crash::Torn(..) => {}
            }
        }
        disk.current = durable.clone();
        disk.durable = durable;
    }

    /// Keeps no trace from here on: for long runs.
    pub fn stop_tracing(&self) {
        self.disk().untraced = true;
    }

    /// How many operations wait for a sync.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.disk().pending.len()
    }

    /// What was asked so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.disk().counts
    }

    /// Everything that was written and synced, in order.
    #[must_use]
    pub fn trace(&self) -> Vec<Traced> {
        self.disk().trace.clone()
    }

    /// Sets what goes wrong from here on.
    pub fn set_faults(&self, faults: Faults) {
        self.disk().faults = faults;
    }

    /// Changes one byte of a file, in both images. Says whether there was one.
    pub fn flip(&self, path: &str, offset: usize, mask: u8) -> bool {
        let mut guard = self.disk();
        let Disk { current, durable, .. } = &mut *guard;
        let mut found = false;
        for image in [current, durable] {
            if let Some(byte) = image.get_mut(path).and_then(|file| file.get_mut(offset)) {
                *byte ^= mask;
                found = true;
            }
        }
        found
    }

    /// Cuts a file, in both images.
    pub fn cut(&self, path: &str, len: usize) {
        let mut guard = self.disk();
        let Disk { current, durable, .. } = &mut *guard;
        for image in [current, durable] {
            if let Some(file) = image.get_mut(path) {
                file.truncate(len);
            }
        }
    }

    /// A file as programs see it.
    #[must_use]
    pub fn contents(&self, path: &str) -> Option<Vec<u8>> {
        self.disk().current.get(path).cloned()
    }

    /// A disk of its own with the contents that programs see, all of it durable.
    #[must_use]
    pub fn copy(&self) -> Self {
        let disk = self.disk();
        let copy = Disk {
            current: disk.current.clone(),
            durable: disk.current.clone(),
            ..Disk::default()
        };
        Self(Arc::new(Mutex::new(copy)))
    }
}

fn apply(image: &mut BTreeMap<String, Vec<u8>>, operation: &Pending) {
    match operation {
        Pending::Create { path } => {
            image.entry(path.clone()).or_default();
        }
        Pending::Write { path, offset, bytes, .. } => {
            if let Some(file) = image.get_mut(path) {
                let start = usize::try_from(*offset).unwrap_or(usize::MAX);
                let end = start.saturating_add(bytes.len());
                if file.len() < end {
                    file.resize(end, 0);
                }
                if let Some(place) = file.get_mut(start..end) {
                    place.copy_from_slice(bytes);
                }
            }
        }
        Pending::SetLen { path, len, .. } => {
            if let Some(file) = image.get_mut(path) {
                file.resize(usize::try_from(*len).unwrap_or(usize::MAX), 0);
            }
        }
        Pending::Rename { from, to } => {
            if let Some(file) = image.remove(from) {
                image.insert(to.clone(), file);
            }
        }
        Pending::Remove { path } => {
            image.remove(path);
        }
    }
}

impl Pending {
    /// Whether it changes the names of a directory, rather than a file's content.
    fn names(&self) -> bool {
        match self {
            Pending::Create { .. } | Pending::Rename { .. } | Pending::Remove { .. } => true,
            Pending::Write { .. } | Pending::SetLen { .. } => false,
        }
    }

    /// Whether it is a change of content that only waits for its file's name.
    fn synced(&self) -> bool {
        match self {
            Pending::Write { synced, .. } | Pending::SetLen { synced, .. } => *synced,
            Pending::Create { .. } | Pending::Rename { .. } | Pending::Remove { .. } => false,
        }
    }

    fn path(&self) -> &str {
        match self {
            Pending::Create { path }
            | Pending::Write { path, .. }
            | Pending::SetLen { path, .. }
            | Pending::Remove { path } => path,
            Pending::Rename { to, .. } => to,
        }
    }
}

impl Disk {
    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the machine has ended")) } else { Ok(()) }
    }

    fn trace(&mut self, what: impl FnOnce() -> Traced) {
        if !self.untraced {
            self.trace.push(what());
        }
    }

    fn change(&mut self, operation: Pending) {
        apply(&mut self.current, &operation);
        self.pending.push(operation);
    }

    /// Makes the chosen operations durable. The content of a file whose name is not durable
    /// yet stays pending: it cannot be found without its name.
    fn settle(&mut self, chosen: impl Fn(&Pending) -> bool) {
        let mut unnamed: BTreeSet<String> = BTreeSet::new();
        let pending = std::mem::take(&mut self.pending);
        for operation in pending {
            let path = operation.path().to_owned();
            if !chosen(&operation) || (!operation.names() && unnamed.contains(&path)) {
                if operation.names() {
                    unnamed.insert(path);
                }
                self.pending.push(operation);
            } else {
                apply(&mut self.durable, &operation);
            }
        }
    }
}

fn broken() -> io::Error {
    io::Error::other("injected input/output error")
}

fn count_down(counter: &mut u64) -> bool {
    let due = *counter == 1;
    *counter = counter.saturating_sub(1);
    due
}

impl Fs for MemoryFs {
    fn open(&self, path: &str, create: bool) -> io::Result<Box<dyn File>> {
        let mut disk = self.disk();
        disk.alive()?;
        if !disk.current.contains_key(path) {
            if !create {
                return Err(io::Error::new(io::ErrorKind::NotFound, "no such file"));
            }
            disk.change(Pending::Create { path: path.to_owned() });
        }
        Ok(Box::new(MemoryFile { fs: self.clone(), path: path.to_owned() }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{dir}/");
        let disk = self.disk();
        let names = disk.current.keys().filter_map(|path| path.strip_prefix(&prefix));
        Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.alive()?;
        disk.change(Pending::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.alive()?;
        disk.change(Pending::Remove { path: path.to_owned() });
        Ok(())
    }

    fn create_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let prefix = format!("{dir}/");
        let mut disk = self.disk();
        disk.alive()?;
        disk.counts.dir_syncs += 1;
        if disk.faults.lies {
            return Ok(());
        }
        disk.settle(|operation| {
            let named = operation.names() || operation.synced();
            named && operation.path().starts_with(&prefix)
        });
        Ok(())
    }
}

struct MemoryFile {
    fs: MemoryFs,
    path: String,
}

impl File for MemoryFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let disk = self.fs.disk();
        let file = disk.current.get(&self.path).map(Vec::as_slice).unwrap_or_default();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
        let from = file.get(start..).unwrap_or_default();
        let count = from.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), from.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.fs.disk();
        disk.alive()?;
        disk.counts.writes += 1;
        if count_down(&mut disk.faults.write_error_in) {
            return Err(broken());
        }
        if let Some(left) = &mut disk.faults.space_left {
            let Some(after) = left.checked_sub(bytes.len() as u64) else {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device"));
            };
            *left = after;
        }
        disk.trace(|| Traced::Write(self.path.clone(), bytes.len()));
        let (path, bytes) = (self.path.clone(), bytes.to_vec());
        disk.change(Pending::Write { path, offset, bytes, synced: false });
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.fs.disk();
        disk.alive()?;
        disk.counts.syncs += 1;
        if count_down(&mut disk.faults.ends_in_sync) {
            disk.dead = true;
            return disk.alive();
        }
        if disk.faults.lies {
            return Ok(());
        }
        if count_down(&mut disk.faults.sync_error_in) {
            disk.pending.retain(|operation| operation.path() != self.path);
            return Err(broken());
        }
        disk.trace(|| Traced::Sync(self.path.clone()));
        // A new file's name: `fdatasync` of a file makes the file reachable on the file
        // systems this runs on only once its directory is synced, so the name stays pending.
        let path = self.path.clone();
        for operation in &mut disk.pending {
            if let Pending::Write { path: of, synced, .. }
            | Pending::SetLen { path: of, synced, .. } = operation
                && *of == path
            {
                *synced = true;
            }
        }
        disk.settle(|operation| !operation.names() && operation.path() == path);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.fs.disk().current.get(&self.path).map_or(0, Vec::len) as u64)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let mut disk = self.fs.disk();
        disk.alive()?;
        let path = self.path.clone();
        disk.change(Pending::SetLen { path, len, synced: false });
        Ok(())
    }
}
