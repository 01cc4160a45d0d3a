//! A node's data directory: whose it is, that one process uses it, and which disks the other
//! members had when they were first met.
//!
//! ```text
//! data/n1/LOCK            held by the process that uses the directory; its pid is inside
//! data/n1/identity.toml   cluster, node, incarnation: written once
//! data/n1/peers.toml      the incarnations of the other members
//! data/n1/log/            the log: segments, or sled and its watermark
//! ```

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use quorate_core::types::{Index, NodeId};
use serde::{Deserialize, Serialize};

/// The format of the directory that this version writes and reads.
const FORMAT: u64 = 1;
/// Numbers that a node gives out stay below 2^53, so that every client reads them exactly.
const MOST: u64 = (1 << 53) - 1;

/// Who opens a directory.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The cluster's name.
    pub cluster_name: String,
    /// The cluster's id, should the directory be new.
    pub cluster_id: u64,
    /// The node.
    pub node: NodeId,
    /// Whether it joins a cluster that is there, should the directory be new.
    pub joins: bool,
}

/// An opened directory. The lock is held until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Identity,
    peers: BTreeMap<String, u64>,
    _lock: File,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Identity {
    format: u64,
    cluster: String,
    cluster_id: u64,
    node: u64,
    incarnation: u64,
    /// Whether the log's first entry was made durable once.
    #[serde(default)]
    initialized: bool,
    /// Whether it joined a cluster that was there.
    #[serde(default)]
    joined: bool,
}

/// Why a directory is not opened.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process uses it.
    #[error(
        "data directory {path} is in use by process {holder}: one node runs on it already. \
         Stop that process, or give this node a `data_dir` of its own"
    )]
    InUse {
        /// The directory.
        path: String,
        /// The other process's id, where it is known.
        holder: String,
    },
    /// It is another node's or cluster's.
    #[error(
        "data directory {path} belongs to node {node} of cluster \"{cluster}\", not to {wanted}: \
         check `data_dir` in the configuration, or --id"
    )]
    Foreign {
        /// The directory.
        path: String,
        /// Whose it is.
        node: u64,
        /// And of which cluster.
        cluster: String,
        /// Who wanted it.
        wanted: String,
    },
    /// A backup was to be restored into it.
    #[error(
        "data directory {path} is not there, and {path}.restoring is: a restore was interrupted. Run it \
         again, or remove {path}.restoring to begin without its state"
    )]
    Restoring {
        /// The directory.
        path: String,
    },
    /// It was written by a newer version.
    #[error(
        "data directory {path} is of format {format}, this version reads {FORMAT}: run the newer version"
    )]
    Newer {
        /// The directory.
        path: String,
        /// Its format.
        format: u64,
    },
    /// What is in it cannot be right.
    #[error(
        "data directory {path} is damaged: {what}. The other nodes have what this one had: keep the \
         directory for inspection and replace the node"
    )]
    Damaged {
        /// The directory.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The operating system refuses.
    #[error("disk error: cannot {action} {path}: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: String,
        /// The answer.
        error: io::Error,
    },
}

impl DataDirError {
    /// The exit code of a node that meets it.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            DataDirError::InUse { .. } => 73,
            DataDirError::Foreign { .. }
            | DataDirError::Newer { .. }
            | DataDirError::Restoring { .. } => 65,
            DataDirError::Damaged { .. } => 76,
            DataDirError::Io { .. } => 74,
        }
    }
}

impl DataDir {
    /// Opens a node's directory, and makes it where it is not there.
    ///
    /// # Errors
    /// When it is in use, somebody else's, damaged, or cannot be read or written.
    pub fn open(path: &Path, wanted: &Wanted) -> Result<Self, DataDirError> {
        if Self::is_new(path) && restoring(path).exists() {
            return Err(DataDirError::Restoring { path: path.display().to_string() });
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| failed("create", path, error))?;
        let lock = lock(path)?;
        let identity = match read(&path.join("identity.toml"))? {
            Some(text) => parse(path, "identity.toml", &text)?,
            None => first_identity(path, wanted)?,
        };
        check(path, &identity, wanted)?;
        let peers = match read(&path.join("peers.toml"))? {
            Some(text) => parse(path, "peers.toml", &text)?,
            None => BTreeMap::new(),
        };
        Ok(Self { path: path.to_owned(), identity, peers, _lock: lock })
    }

    /// The cluster's id: as it was when the directory was made.
    #[must_use]
    pub fn cluster_id(&self) -> u64 {
        self.identity.cluster_id
    }

    /// The random number that this disk was given when it was new.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.identity.incarnation
    }

    /// Whether the log has held its first entry: from then on an empty log is a lost one.
    #[must_use]
    pub fn initialized(&self) -> bool {
        self.identity.initialized
    }

    /// Notes that the log's first entry is durable.
    ///
    /// # Errors
    /// The disk's.
    pub fn set_initialized(&mut self) -> Result<(), DataDirError> {
        self.identity.initialized = true;
        write(&self.path, "identity.toml", &toml_of(&self.identity))
            .map_err(|error| failed("write", &self.path.join("identity.toml"), error))
    }

    /// Whether the node joined a cluster that was there, instead of beginning one.
    #[must_use]
    pub fn joined(&self) -> bool {
        self.identity.joined
    }

    /// The incarnation that a member had when it was first met. `added` is the index of the
    /// entry that added it, 0 for the members of the first start.
    #[must_use]
    pub fn known_incarnation(&self, node: NodeId, added: Index) -> Option<u64> {
        self.peers.get(&peer_key(node, added)).copied()
    }

    /// Whether a node was ever met with that incarnation.
    #[must_use]
    pub fn met(&self, node: NodeId, incarnation: u64) -> bool {
        let (plain, again) = (node.to_string(), format!("{node}@"));
        let of_node = |key: &String| *key == plain || key.starts_with(&again);
        self.peers.iter().any(|(key, known)| of_node(key) && *known == incarnation)
    }

    /// Remembers a member's incarnation, durably.
    ///
    /// # Errors
    /// The disk's.
    pub fn remember(&mut self, node: NodeId, added: Index, incarnation: u64) -> io::Result<()> {
        self.peers.insert(peer_key(node, added), incarnation);
        write(&self.path, "peers.toml", &toml_of(&self.peers))
    }

    /// Whose a directory is, without taking it into use.
    ///
    /// # Errors
    /// When it is nobody's, damaged, in use, or cannot be read.
    pub fn look(path: &Path) -> Result<Self, DataDirError> {
        let identity: Identity = match read(&path.join("identity.toml"))? {
            Some(text) => parse(path, "identity.toml", &text)?,
            None => {
                return Err(DataDirError::Damaged {
                    path: path.display().to_string(),
                    what: "there is no identity.toml in it: it is no node's".to_owned(),
                });
            }
        };
        let lock = lock(path)?;
        Ok(Self { path: path.to_owned(), identity, peers: BTreeMap::new(), _lock: lock })
    }

    /// The cluster's name.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.identity.cluster
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId(self.identity.node)
    }

    /// Whether a directory belongs to a node already.
    #[must_use]
    pub fn is_new(path: &Path) -> bool {
        !path.join("identity.toml").exists()
    }
}

/// Where a backup becomes a directory, until it is whole.
#[must_use]
pub fn restoring(path: &Path) -> PathBuf {
    // Without a slash at its end.
    let path: PathBuf = path.components().collect();
    let mut name = path.into_os_string();
    name.push(".restoring");
    PathBuf::from(name)
}

/// A member that was removed and added again is another one.
fn peer_key(node: NodeId, added: Index) -> String {
    if added == Index(0) { node.to_string() } else { format!("{node}@{added}") }
}

fn failed(action: &'static str, path: &Path, error: io::Error) -> DataDirError {
    DataDirError::Io { action, path: path.display().to_string(), error }
}

fn lock(dir: &Path) -> Result<File, DataDirError> {
    let path = dir.join("LOCK");
    let mut options = OpenOptions::new();
    let opened =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = opened.map_err(|error| failed("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim();
            let holder = if holder.is_empty() { "(unknown)" } else { holder }.to_owned();
            return Err(DataDirError::InUse { path: dir.display().to_string(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(failed("lock", &path, error)),
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|error| failed("write", &path, error))?;
    Ok(file)
}

fn first_identity(path: &Path, wanted: &Wanted) -> Result<Identity, DataDirError> {
    if path.join("log").exists() || path.join("peers.toml").exists() {
        let what = "there is a log, and identity.toml, which says whose it is, is missing";
        return Err(DataDirError::Damaged {
            path: path.display().to_string(),
            what: what.to_owned(),
        });
    }
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| {
        failed("read", Path::new("/dev/urandom"), io::Error::other(error.to_string()))
    })?;
    let identity = Identity {
        format: FORMAT,
        cluster: wanted.cluster_name.clone(),
        cluster_id: wanted.cluster_id & MOST,
        node: wanted.node.0,
        incarnation: u64::from_le_bytes(random) & MOST,
        initialized: false,
        joined: wanted.joins,
    };
    let written = write(path, "identity.toml", &toml_of(&identity));
    written.map_err(|error| failed("write", &path.join("identity.toml"), error))?;
    Ok(identity)
}

fn check(path: &Path, identity: &Identity, wanted: &Wanted) -> Result<(), DataDirError> {
    let path = path.display().to_string();
    if identity.format > FORMAT {
        return Err(DataDirError::Newer { path, format: identity.format });
    }
    if identity.node != wanted.node.0 || identity.cluster != wanted.cluster_name {
        let wanted = format!("node {} of cluster \"{}\"", wanted.node, wanted.cluster_name);
        let (node, cluster) = (identity.node, identity.cluster.clone());
        return Err(DataDirError::Foreign { path, node, cluster, wanted });
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<String>, DataDirError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, error)),
    }
}

fn parse<T: for<'a> Deserialize<'a>>(
    dir: &Path,
    name: &str,
    text: &str,
) -> Result<T, DataDirError> {
    toml::from_str(text).map_err(|error| DataDirError::Damaged {
        path: dir.display().to_string(),
        what: format!("{name} cannot be read: {}", error.message()),
    })
}

fn toml_of<T: Serialize>(value: &T) -> String {
    toml::to_string(value).unwrap_or_default()
}

/// Replaces a small file so that a crash leaves the old one or the new one, whole.
fn write(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let (new, path) = (dir.join(format!("{name}.new")), dir.join(name));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, &path)?;
    File::open(dir)?.sync_all()
}
