//! A cluster of real `quorate node` processes: start, kill, pause, restart, and wait for
//! conditions with a deadline.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quorate_client::Client;
use quorate_core::wire::client::{Op, Status, Success};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::disk::{Disk, Shim};
use crate::proxy::Net;
use crate::wait::wait_for;

mod data;
mod growing;
mod setup;

pub use data::flip;
pub use setup::Setup;

/// A cluster of real processes in a temporary directory. Dropping it kills them.
#[derive(Debug)]
pub struct Cluster {
    /// Where everything is: configuration, data, the nodes' lines.
    pub dir: TempDir,
    /// The configuration file.
    pub config: PathBuf,
    program: PathBuf,
    open_files: Option<u64>,
    /// The client addresses, by node; past any proxy.
    pub addresses: BTreeMap<u64, String>,
    /// What clients are told to dial, by node.
    advertised: BTreeMap<u64, String>,
    children: BTreeMap<u64, Child>,
    net: Option<Net>,
    disks: BTreeMap<u64, Disk>,
    shim: Option<Shim>,
}

impl Cluster {
    /// Starts a cluster of `size` nodes of `program`, with lines to add to its configuration.
    #[must_use]
    pub fn start(program: &Path, size: u64, more: &str) -> Self {
        Setup::new(program, size).more(more).start()
    }

    /// Starts a cluster whose nodes are processes of this very program.
    #[must_use]
    pub fn of_this_program(size: u64, more: &str) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        Self::start(&program, size, more)
    }

    /// Starts a node that does not run; its log goes on in `nID.log`.
    pub fn start_node(&mut self, id: u64) {
        assert!(!self.is_running(id), "node {id} runs already");
        let log = File::options().create(true).append(true).open(self.log_of(id));
        let log = log.expect("the log can be written");
        let mut command = self.command();
        command.arg("--config").arg(&self.config).args(["node", "--with-parent", "--id"]);
        command.arg(id.to_string());
        if let (Some(shim), Some(disk)) = (&self.shim, self.disks.get(&id)) {
            command.env("LD_PRELOAD", shim.path()).envs(disk.environment());
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle"));
        let child = command.stderr(log).spawn().expect("the node can be started");
        self.children.insert(id, child);
    }

    /// The program, by way of a shell where its open files are bounded. A script in a file would
    /// do as well, but a file that was just written cannot be executed while a child that another
    /// test forks still holds it open ("text file busy").
    fn command(&self) -> Command {
        let Some(count) = self.open_files else {
            return Command::new(&self.program);
        };
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("ulimit -n {count}; exec \"$0\" \"$@\"")).arg(&self.program);
        shell
    }

    /// The numbers of all nodes, whether they run or not.
    #[must_use]
    pub fn ids(&self) -> Vec<u64> {
        self.addresses.keys().copied().collect()
    }

    /// Where a node's lines go.
    #[must_use]
    pub fn log_of(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("n{id}.log"))
    }

    /// The last lines of a node.
    #[must_use]
    pub fn last_lines(&self, id: u64, count: usize) -> String {
        let log = std::fs::read(self.log_of(id)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines
            .iter()
            .skip(lines.len().saturating_sub(count))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// A node's process.
    #[must_use]
    pub fn pid(&self, id: u64) -> Pid {
        let child = self.children.get(&id).expect("the node runs");
        Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid")
    }

    /// Whether a node was started and has not ended.
    pub fn is_running(&mut self, id: u64) -> bool {
        let child = self.children.get_mut(&id);
        child.is_some_and(|child| child.try_wait().expect("a child can be asked").is_none())
    }

    /// Whether a node was started, and its end, if it has ended, has not been asked for.
    #[must_use]
    pub fn is_started(&self, id: u64) -> bool {
        self.children.contains_key(&id)
    }

    /// Ends a node with SIGKILL and waits until it is gone. Nothing if it does not run.
    pub fn kill(&mut self, id: u64) {
        if let Some(mut child) = self.children.remove(&id) {
            child.kill().expect("the node can be killed");
            child.wait().expect("the node is gone");
        }
    }

    /// Asks a node to stop; its exit code.
    pub fn stop(&mut self, id: u64) -> Option<i32> {
        self.signal(id, Signal::TERM);
        self.wait(id)
    }

    /// Waits until a node has ended by itself; its exit code.
    pub fn wait(&mut self, id: u64) -> Option<i32> {
        let mut child = self.children.remove(&id)?;
        child.wait().expect("the node is gone").code()
    }

    /// A node's exit code, once it has ended by itself; `None` while it runs. A signal counts
    /// as its number and 128.
    pub fn ended(&mut self, id: u64) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        let child = self.children.get_mut(&id)?;
        let status = child.try_wait().expect("a child can be asked")?;
        self.children.remove(&id);
        Some(status.code().or_else(|| status.signal().map(|number| number + 128)).unwrap_or(-1))
    }

    /// Waits until a node has ended by itself, and gives its exit code.
    ///
    /// # Panics
    /// When it has not ended in time.
    pub async fn exit_code(&mut self, id: u64, within: Duration) -> i32 {
        wait_for(&format!("end of node {id}"), within, async || self.ended(id)).await
    }

    /// Sends a signal to a node.
    pub fn signal(&self, id: u64, signal: Signal) {
        kill_process(self.pid(id), signal).expect("the node can be signalled");
    }

    /// Stops a node's process where it is.
    pub fn pause(&self, id: u64) {
        self.signal(id, Signal::STOP);
    }

    /// Lets a paused node go on.
    pub fn resume(&self, id: u64) {
        self.signal(id, Signal::CONT);
    }

    /// The network between the nodes and before the clients.
    ///
    /// # Panics
    /// Where the cluster was set up without proxies.
    #[must_use]
    pub fn net(&self) -> &Net {
        self.net.as_ref().expect("the cluster was set up with proxies")
    }

    /// What happens to a node's system calls.
    ///
    /// # Panics
    /// Where the cluster was set up without disk faults.
    #[must_use]
    pub fn disk(&self, id: u64) -> &Disk {
        self.disks.get(&id).expect("the cluster was set up with disk faults")
    }

    /// The client addresses of all nodes, as clients are to dial them.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.advertised.values().cloned().collect()
    }

    /// The client address of one node, as clients are to dial it.
    #[must_use]
    pub fn endpoint(&self, id: u64) -> &str {
        self.advertised.get(&id).expect("a node of the cluster")
    }

    /// A client of the whole cluster.
    pub async fn client(&self) -> Client {
        let builder =
            Client::builder().endpoints(self.endpoints()).deadline(Duration::from_secs(30));
        builder.connect().await.expect("a client within 30 s")
    }

    /// What a node says of itself, past any proxy.
    pub async fn status(&self, id: u64) -> Option<Status> {
        ask(self.addresses.get(&id)?.clone()).await
    }

    /// What every node that answers says of itself.
    pub async fn statuses(&self) -> Vec<Status> {
        self.statuses_of(&self.children.keys().copied().collect::<Vec<_>>()).await
    }

    /// What those nodes that answer say of themselves, all asked at once.
    pub async fn statuses_of(&self, ids: &[u64]) -> Vec<Status> {
        let addresses = ids.iter().filter_map(|id| self.addresses.get(id)).cloned();
        let asked: Vec<_> = addresses.map(|address| tokio::spawn(ask(address))).collect();
        let mut all = Vec::new();
        for answer in asked {
            all.extend(answer.await.expect("a question ends"));
        }
        all
    }

    /// The leader, once there is one that has a quorum of followers.
    pub async fn leader(&self) -> u64 {
        self.leader_of(&self.ids()).await
    }

    /// The leader among some nodes, once a quorum of all nodes is among them and follows it.
    pub async fn leader_of(&self, ids: &[u64]) -> u64 {
        let found = wait_for("a leader", Duration::from_secs(20), async || {
            let statuses = self.statuses_of(ids).await;
            let leaders = statuses.iter().filter(|status| status.role == "leader");
            let newest = leaders.max_by_key(|status| status.term)?;
            let follow = statuses
                .iter()
                .filter(|status| status.leader.as_ref().is_some_and(|l| l.id.0 == newest.node));
            (follow.count() * 2 > self.children.len()).then_some(newest.node)
        });
        found.await
    }

    /// Waits until all nodes have applied the same index and have the same state there; that
    /// index and the state's hash.
    ///
    /// # Panics
    /// When that has not come about in a minute, or equal nodes have unequal states.
    pub async fn settled(&self) -> (u64, String) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let statuses = self.statuses().await;
            if let Some(state) = self.level(&statuses) {
                return state;
            }
            if Instant::now() > deadline {
                panic!("the nodes do not get level in a minute:\n{}", told(&statuses));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The state of all nodes, if they have applied the same index.
    fn level(&self, statuses: &[Status]) -> Option<(u64, String)> {
        let first = statuses.first()?.state_hash.clone();
        let all = statuses.len() == self.addresses.len();
        let is_level = statuses.iter().all(|status| status.state_hash.index == first.index);
        if !all || !is_level {
            return None;
        }
        for status in statuses {
            assert_eq!(status.state_hash, first, "node {} has another state", status.node);
        }
        Some((first.index, first.hash))
    }

    /// Kills every node, and starts every node again.
    pub fn restart_all(&mut self) {
        for id in self.ids() {
            self.kill(id);
        }
        for id in self.ids() {
            self.start_node(id);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for id in self.children.keys().copied().collect::<Vec<_>>() {
            self.kill(id);
        }
        if std::thread::panicking() {
            for id in self.ids() {
                eprintln!("--- the end of n{id}.log ---\n{}", self.last_lines(id, 25));
            }
            keep_if_asked(self.dir.path());
        }
    }
}

/// The status of the node at an address, if it answers soon.
pub(crate) async fn ask(address: String) -> Option<Status> {
    let asking = async {
        let builder = Client::builder().endpoint(address).pinned(true).sessionless(true);
        let client = builder.deadline(Duration::from_millis(500)).connect().await.ok()?;
        match client.call(Op::Status, None).await.ok()? {
            Success::Status(status) => Some(*status),
            _ => None,
        }
    };
    tokio::time::timeout(Duration::from_millis(700), asking).await.ok()?
}

/// What nodes say of themselves, a line each.
fn told(statuses: &[Status]) -> String {
    let line = |status: &Status| {
        let Status { node, role, term, commit_index, applied_index, .. } = status;
        let (first, last, snapshot) =
            (status.first_index, status.last_index, status.snapshot_index);
        let peers: Vec<String> = status
            .peers
            .iter()
            .map(|peer| format!("{} {} match {}", peer.id, peer.state, peer.match_index))
            .collect();
        format!(
            "node {node}: {role} of term {term}, log ({first} to {last}), snapshot {snapshot}, \
             commit {commit_index}, applied {applied_index}; {}\n",
            peers.join(", ")
        )
    };
    statuses.iter().map(line).collect()
}

/// With `QUORATE_KEEP=DIRECTORY`, what a failed test leaves is copied there.
fn keep_if_asked(dir: &Path) {
    let Some(keep) = std::env::var_os("QUORATE_KEEP") else { return };
    let name = dir.file_name().unwrap_or_default();
    let copied = data::copy_tree(dir, &Path::new(&keep).join(name));
    eprintln!("kept in {}: {copied:?}", Path::new(&keep).join(name).display());
}
