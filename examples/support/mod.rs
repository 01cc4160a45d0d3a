//! Real nodes in processes of their own, for the examples and the whole-cluster tests: start,
//! kill, pause, restart, and wait for conditions with a deadline.

#![allow(dead_code, reason = "each example and test uses its part of this")]
#![expect(
    clippy::expect_used,
    reason = "an example or test that cannot go on ends with the reason"
)]

pub(crate) mod load;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use quorate_client::Client;
use quorate_core::wire::client::{Op, Status, Success};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A cluster of real processes in a temporary directory. Dropping it kills them.
pub(crate) struct Cluster {
    pub(crate) dir: TempDir,
    pub(crate) config: PathBuf,
    program: PathBuf,
    /// The client addresses, by node.
    pub(crate) addresses: BTreeMap<u64, String>,
    children: BTreeMap<u64, Child>,
}

/// Lets an example be its own node: run with the words of the command line, it is `quorate`.
pub(crate) fn be_a_node_if_asked() -> Option<ExitCode> {
    use clap::Parser;
    if !std::env::args().any(|word| word == "node") {
        return None;
    }
    let cli = quorate::cli::args::Cli::parse();
    let json = cli.common.json();
    Some(match quorate::cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            failed.print(json);
            ExitCode::from(u8::try_from(failed.exit).unwrap_or(1))
        }
    })
}

impl Cluster {
    /// Starts a cluster of `size` nodes of `program`, with lines to add to its configuration.
    pub(crate) fn start(program: &Path, size: u64, more: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let config = dir.path().join("config.toml");
        let (text, addresses) = configuration(size, more);
        std::fs::write(&config, text).expect("the configuration can be written");
        let program = program.to_owned();
        let children = BTreeMap::new();
        let mut cluster = Self { dir, config, program, addresses, children };
        for id in 1..=size {
            cluster.start_node(id);
        }
        cluster
    }

    /// Starts the first of `size` nodes as a cluster of its own; the others can join it.
    pub(crate) fn start_one_of(program: &Path, size: u64, more: &str) -> Self {
        let mut cluster = Self::start(program, 0, more);
        let (text, addresses) = configuration(size, more);
        // The first start counts only one member.
        let first = text.find("\n[[node]]\nid = 2").expect("there is a second node");
        let end = text.find("\n[storage]").expect("there is a section behind the nodes");
        let alone = format!("{}{}", &text[..first], &text[end..]);
        std::fs::write(&cluster.config, alone).expect("the configuration can be written");
        cluster.start_node(1);
        let client = addresses.get(&1).expect("there is a first node");
        wait_until(|| std::net::TcpStream::connect(client).is_ok());
        let join = format!("[cluster]\njoin = [\"{client}\"]\n");
        let text = text.replacen("[cluster]\n", &join, 1);
        std::fs::write(&cluster.config, text).expect("the configuration can be written");
        cluster.addresses = addresses;
        cluster
    }

    /// A node's peer and client address, as the configuration has them.
    pub(crate) fn addresses_of(&self, id: u64) -> (String, String) {
        let text = std::fs::read_to_string(&self.config).expect("the configuration is there");
        let node = text.split("[[node]]").find(|part| part.starts_with(&format!("\nid = {id}\n")));
        let node = node.expect("the configuration has the node");
        let value = |key: &str| {
            let line = node.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
            line.expect("the node has an address").trim_end_matches('"').to_owned()
        };
        (value("peer"), value("client"))
    }

    /// Starts a cluster whose nodes are processes of this very program.
    pub(crate) fn of_this_program(size: u64, more: &str) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        Self::start(&program, size, more)
    }

    /// Starts a node that does not run; its log goes on in `nID.log`.
    pub(crate) fn start_node(&mut self, id: u64) {
        let log = File::options().create(true).append(true).open(self.log_of(id));
        let log = log.expect("the log can be written");
        let child = Command::new(&self.program)
            .arg("--config")
            .arg(&self.config)
            .args(["node", "--with-parent", "--id", &id.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the node can be started");
        self.children.insert(id, child);
    }

    /// Where a node's lines go.
    pub(crate) fn log_of(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("n{id}.log"))
    }

    /// A node's process.
    pub(crate) fn pid(&self, id: u64) -> Pid {
        let child = self.children.get(&id).expect("the node runs");
        Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid")
    }

    /// Ends a node with SIGKILL and waits until it is gone.
    pub(crate) fn kill(&mut self, id: u64) {
        if let Some(mut child) = self.children.remove(&id) {
            child.kill().expect("the node can be killed");
            child.wait().expect("the node is gone");
        }
    }

    /// Asks a node to stop; its exit code.
    pub(crate) fn stop(&mut self, id: u64) -> Option<i32> {
        self.signal(id, Signal::TERM);
        self.wait(id)
    }

    /// Waits until a node has ended by itself; its exit code.
    pub(crate) fn wait(&mut self, id: u64) -> Option<i32> {
        let mut child = self.children.remove(&id)?;
        child.wait().expect("the node is gone").code()
    }

    /// Sends a signal to a node.
    pub(crate) fn signal(&self, id: u64, signal: Signal) {
        kill_process(self.pid(id), signal).expect("the node can be signalled");
    }

    /// The client addresses of all nodes.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.addresses.values().cloned().collect()
    }

    /// A client of the whole cluster.
    pub(crate) async fn client(&self) -> Client {
        let builder =
            Client::builder().endpoints(self.endpoints()).deadline(Duration::from_secs(30));
        builder.connect().await.expect("a client within 30 s")
    }

    /// What a node says of itself.
    pub(crate) async fn status(&self, id: u64) -> Option<Status> {
        let address = self.addresses.get(&id)?;
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

    /// What every node that answers says of itself.
    pub(crate) async fn statuses(&self) -> Vec<Status> {
        let mut all = Vec::new();
        for id in self.children.keys() {
            all.extend(self.status(*id).await);
        }
        all
    }

    /// The leader, once there is one that has a quorum of followers.
    pub(crate) async fn leader(&self) -> u64 {
        let found = wait_for("a leader", Duration::from_secs(20), async || {
            let statuses = self.statuses().await;
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
    pub(crate) async fn settled(&self) -> (u64, String) {
        let found = wait_for("equal state on all nodes", Duration::from_secs(60), async || {
            let statuses = self.statuses().await;
            let first = statuses.first()?.state_hash.clone();
            let all = statuses.len() == self.addresses.len();
            let level = statuses.iter().all(|status| status.state_hash.index == first.index);
            if all && level {
                for status in &statuses {
                    assert_eq!(status.state_hash, first, "node {} has another state", status.node);
                }
                return Some((first.index, first.hash));
            }
            None
        });
        found.await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for id in self.children.keys().copied().collect::<Vec<_>>() {
            self.kill(id);
        }
        if std::thread::panicking() {
            for id in self.addresses.keys() {
                let log = std::fs::read_to_string(self.log_of(*id)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("--- the end of n{id}.log ---");
                for line in lines.iter().skip(lines.len().saturating_sub(25)) {
                    eprintln!("{line}");
                }
            }
        }
    }
}

/// Waits for a condition that is looked at without a runtime; panics after 20 s.
pub(crate) fn wait_until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "it does not come about within 20 s");
        std::thread::yield_now();
    }
}

/// Looks until there is an answer; panics after the deadline.
pub(crate) async fn wait_for<T>(
    what: &str,
    time: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + time;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within {time:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Addresses that nobody listens on now. All are held until all are chosen.
pub(crate) fn free_addresses(count: u64) -> Vec<String> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    held.iter().map(|one| one.local_addr().expect("an address").to_string()).collect()
}

fn configuration(size: u64, more: &str) -> (String, BTreeMap<u64, String>) {
    let mut text = String::from("[cluster]\nname = \"test\"\n");
    let free = free_addresses(2 * size);
    let mut addresses = BTreeMap::new();
    for (id, pair) in (1..).zip(free.chunks(2)) {
        if let [client, peer] = pair {
            text.push_str(&format!(
                "\n[[node]]\nid = {id}\nclient = \"{client}\"\npeer = \"{peer}\"\ndata_dir = \"n{id}\"\n"
            ));
            addresses.insert(id, client.clone());
        }
    }
    text.push_str("\n[storage]\npreallocate_bytes = 1_048_576\n");
    text.push_str(more);
    (text, addresses)
}
