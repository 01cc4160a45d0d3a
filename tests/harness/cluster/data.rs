//! What can happen to a node's data directory while the node does not run.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use quorate_client::Client;
use quorate_core::wire::client::{Admin, Op};

use super::Cluster;

impl Cluster {
    /// Takes the checkpoint of a node that does not run away from it.
    ///
    /// # Panics
    /// When it cannot be moved.
    pub fn lose_checkpoint(&mut self, id: u64) {
        assert!(!self.is_running(id), "node {id} runs");
        let state = self.data_dir(id).join("state");
        if state.exists() {
            // Moved, as it may be large: while a file system removes that, all syncs wait.
            let lost = self.data_dir(id).with_extension("lost");
            drop(std::fs::remove_dir_all(&lost));
            std::fs::rename(&state, &lost).expect("the checkpoint can be moved");
        }
    }

    /// Asks a node for something that operators ask for, and does not wait for it.
    pub fn ask(&self, id: u64, what: Admin) {
        let address = self.addresses.get(&id).cloned().unwrap_or_default();
        tokio::spawn(async move {
            let builder = Client::builder().endpoint(&address).pinned(true).sessionless(true);
            let Ok(client) = builder.connect().await else { return };
            drop(client.call(Op::Admin(what), None).await);
        });
    }

    /// Where a node keeps its data.
    #[must_use]
    pub fn data_dir(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("n{id}"))
    }

    /// Removes everything that a node has stored.
    pub fn wipe(&mut self, id: u64) {
        assert!(!self.is_running(id), "node {id} runs");
        std::fs::remove_dir_all(self.data_dir(id)).expect("the directory can be removed");
    }

    /// Gives each of two nodes the other's directory.
    pub fn swap(&mut self, a: u64, b: u64) {
        assert!(!self.is_running(a) && !self.is_running(b), "a node runs");
        let aside = self.dir.path().join("aside");
        for (from, to) in [
            (self.data_dir(a), aside.clone()),
            (self.data_dir(b), self.data_dir(a)),
            (aside, self.data_dir(b)),
        ] {
            std::fs::rename(from, to).expect("a directory can be renamed");
        }
    }

    /// Moves a node's directory aside, and gives where it is now.
    pub fn move_aside(&mut self, id: u64) -> PathBuf {
        assert!(!self.is_running(id), "node {id} runs");
        let aside = self.free_name(id);
        std::fs::rename(self.data_dir(id), &aside).expect("a directory can be renamed");
        aside
    }

    /// Copies a node's directory aside, and gives where the copy is.
    pub fn copy_aside(&mut self, id: u64) -> PathBuf {
        assert!(!self.is_running(id), "node {id} runs");
        let aside = self.free_name(id);
        copy_tree(&self.data_dir(id), &aside).expect("a directory can be copied");
        aside
    }

    /// Puts a directory back that was moved or copied aside; what is there now is lost.
    pub fn put_back(&mut self, id: u64, aside: &Path) {
        assert!(!self.is_running(id), "node {id} runs");
        match std::fs::remove_dir_all(self.data_dir(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
        std::fs::rename(aside, self.data_dir(id)).expect("a directory can be renamed");
    }

    fn free_name(&self, id: u64) -> PathBuf {
        let names = (1..).map(|number| self.dir.path().join(format!("n{id}.aside{number}")));
        names.into_iter().find(|path| !path.exists()).expect("there is always one more")
    }

    /// Turns over one bit in the first half of what a node's oldest log file holds, and gives
    /// the file and the place, so that the same call turns it back.
    ///
    /// # Panics
    /// When there is no log.
    #[must_use]
    pub fn rot(&mut self, id: u64) -> (PathBuf, usize) {
        assert!(!self.is_running(id), "node {id} runs");
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.data_dir(id).join("log"))
            .expect("the log is there")
            .map(|entry| entry.expect("an entry").path())
            // A segment that waits to be used again (`.spare`) holds nothing.
            .filter(|path| path.extension().is_some_and(|extension| extension == "wal"))
            .collect();
        files.sort();
        // Nor do those that were trimmed, and whose removal the node's end cut short: the file
        // `first` has, behind eight bytes, the number of the first that counts.
        let first = std::fs::read(self.data_dir(id).join("log/first")).unwrap_or_default();
        if let Some(number) = first.get(8..16).and_then(|bytes| bytes.try_into().ok()) {
            let first = format!("{:020}.wal", u64::from_le_bytes(number));
            files.retain(|path| path.file_name().is_some_and(|name| *name >= *first.as_str()));
        }
        let [path, later @ ..] = files.as_slice() else { panic!("a log has a segment") };
        let bytes = std::fs::read(path).expect("the log can be read");
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        // Behind the end of the newest segment there may be old bytes, which count for nothing.
        let place = if later.is_empty() { (used / 2).min(FIRST_PAYLOAD) } else { used / 2 };
        let path = path.clone();
        flip(&path, place);
        (path, place)
    }
}

/// In a segment of the log, the first bytes that an entry takes: behind a header of 4,096 bytes and
/// one of 32.
const FIRST_PAYLOAD: usize = 4_096 + 32 + 4;

/// Turns over one bit of a file.
pub fn flip(path: &Path, place: usize) {
    let file = File::options().read(true).write(true).open(path).expect("the file is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, place as u64).expect("a place in the file");
    byte[0] ^= 0x10;
    file.write_all_at(&byte, place as u64).expect("the file can be written");
}

/// Copies a directory and all below it.
///
/// # Errors
/// What the file system says.
pub(super) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
