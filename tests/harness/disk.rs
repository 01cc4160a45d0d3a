//! Faults of one process's disk and wall clock, by a shim that is loaded with `LD_PRELOAD`
//! (`shim/faults.c`) and told what to do through a page of memory it shares with the test.
//!
//! It changes what the process hears of its system calls. It leaves out what the disk keeps
//! after a loss of power: that is the simulator's.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

/// The shim, compiled. Cheap to clone; removed with the last clone.
#[derive(Clone, Debug)]
pub struct Shim {
    dir: Arc<TempDir>,
}

impl Shim {
    /// Compiles the shim with the machine's C compiler.
    ///
    /// # Errors
    /// A sentence, where there is none or it refuses.
    pub fn compile() -> Result<Self, String> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/faults.c");
        let dir = TempDir::new().map_err(|error| format!("no temporary directory: {error}"))?;
        let shim = Self { dir: Arc::new(dir) };
        let mut compiler = Command::new("cc");
        compiler.args(["-std=gnu11", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]);
        let ran = compiler.arg(shim.path()).arg(source).arg("-ldl").output();
        let output = ran.map_err(|error| {
            format!("disk faults need a C compiler named cc, which cannot be run: {error}")
        })?;
        if output.status.success() {
            return Ok(shim);
        }
        Err(format!("cc refuses the shim: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// The shared library.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("faults.so")
    }
}

/// The numbers of the page, in the order of the shim's `struct page`.
#[derive(Clone, Copy, Debug)]
enum Number {
    FailSyncs,
    Stall,
    DelayUs,
    FailWrites,
    IsFull,
    Space,
    ClockMs,
    Syncs,
    SyncsFailed,
    SyncsHeld,
    WritesFailed,
    WritesFull,
}

/// What the shim did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Syncs asked for.
    pub syncs: i64,
    /// Syncs that failed.
    pub syncs_failed: i64,
    /// Syncs that were held up.
    pub syncs_held: i64,
    /// Writes that failed.
    pub writes_failed: i64,
    /// Writes that found no space.
    pub writes_full: i64,
}

/// What happens to the system calls of one node, also over its restarts.
#[derive(Debug)]
pub struct Disk {
    page: File,
    path: PathBuf,
    root: PathBuf,
}

impl Disk {
    /// A page at `path`, for the files below `root`.
    #[must_use]
    pub fn new(path: &Path, root: &Path) -> Self {
        let mut options = File::options();
        let page = options.read(true).write(true).create(true).truncate(true).open(path);
        let page = page.expect("the page can be made");
        page.set_len(4096).expect("the page has its size");
        Self { page, path: path.to_owned(), root: root.to_owned() }
    }

    /// What a process must be told to find the page.
    pub(crate) fn environment(&self) -> [(&'static str, &Path); 2] {
        [("QUORATE_FAULTS", &self.path), ("QUORATE_FAULTS_ROOT", &self.root)]
    }

    /// So many of the next syncs fail with EIO.
    pub fn fail_syncs(&self, count: i64) {
        self.set(Number::FailSyncs, count);
    }

    /// Syncs wait, until told otherwise.
    pub fn stall(&self, stalled: bool) {
        self.set(Number::Stall, i64::from(stalled));
    }

    /// Each sync takes so many microseconds longer.
    pub fn delay_us(&self, delay: i64) {
        self.set(Number::DelayUs, delay);
    }

    /// So many of the next writes fail with EIO.
    pub fn fail_writes(&self, count: i64) {
        self.set(Number::FailWrites, count);
    }

    /// There is space for so many more bytes; `None` is enough for everything.
    pub fn space(&self, bytes: Option<i64>) {
        self.set(Number::Space, bytes.unwrap_or(0));
        self.set(Number::IsFull, i64::from(bytes.is_some()));
    }

    /// The wall clock is wrong by so many milliseconds.
    pub fn clock_ms(&self, shift: i64) {
        self.set(Number::ClockMs, shift);
    }

    /// Nothing fails, waits or is wrong any more.
    pub fn heal(&self) {
        self.fail_syncs(0);
        self.stall(false);
        self.delay_us(0);
        self.fail_writes(0);
        self.space(None);
        self.clock_ms(0);
    }

    /// What was done so far.
    #[must_use]
    pub fn done(&self) -> Done {
        Done {
            syncs: self.get(Number::Syncs),
            syncs_failed: self.get(Number::SyncsFailed),
            syncs_held: self.get(Number::SyncsHeld),
            writes_failed: self.get(Number::WritesFailed),
            writes_full: self.get(Number::WritesFull),
        }
    }

    fn set(&self, number: Number, value: i64) {
        let written = self.page.write_all_at(&value.to_ne_bytes(), number as u64 * 8);
        written.expect("the page can be written");
    }

    fn get(&self, number: Number) -> i64 {
        let mut bytes = [0; 8];
        let read = self.page.read_exact_at(&mut bytes, number as u64 * 8);
        read.expect("the page can be read");
        i64::from_ne_bytes(bytes)
    }
}
