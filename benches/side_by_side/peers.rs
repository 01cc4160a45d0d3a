//! The servers that are compared: each of them three nodes (Redis: one) on this machine, in fresh
//! directories of one disk, ended when dropped.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quorate_harness::{Cluster, free_addresses};
use tempfile::TempDir;

/// Servers under load.
pub(crate) struct Peer {
    /// Their addresses, for clients.
    pub(crate) endpoints: Vec<String>,
    pids: Vec<u32>,
    _processes: Processes,
}

enum Processes {
    Quorate { _cluster: Box<Cluster> },
    Others { _children: Vec<Ended>, _directory: TempDir },
}

/// A process that is ended when this is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What a program's processes have used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) cpu_seconds: f64,
    /// Of the largest of them.
    pub(crate) memory_mib: f64,
}

fn spawn(command: &mut Command) -> Ended {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ended(quiet.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

fn await_port(address: &str) {
    let address: SocketAddr = address.parse().expect("an address");
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
        assert!(Instant::now() < deadline, "nothing listens at {address}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Peer {
    pub(crate) async fn quorate(program: &Path) -> Self {
        let cluster = Cluster::start(program, 3, "");
        cluster.leader().await;
        let pid = |id: u64| u32::try_from(cluster.pid(id).as_raw_nonzero().get()).unwrap_or(0);
        let pids = cluster.ids().into_iter().map(pid).collect();
        let endpoints = cluster.endpoints();
        Self { endpoints, pids, _processes: Processes::Quorate { _cluster: Box::new(cluster) } }
    }

    pub(crate) fn etcd() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let addresses = free_addresses(6);
        let (clients, peers) = addresses.split_at(3);
        let name = |place: usize| format!("n{place}");
        let all: Vec<String> = (0..)
            .zip(peers)
            .map(|(place, peer)| format!("{}=http://{peer}", name(place)))
            .collect();
        let start = |place: usize| {
            let (client, peer) =
                (format!("http://{}", clients[place]), format!("http://{}", peers[place]));
            spawn(
                Command::new("etcd")
                    .args(["--name", &name(place), "--initial-cluster-state", "new"])
                    .arg("--data-dir")
                    .arg(directory.path().join(name(place)))
                    .args(["--initial-cluster", &all.join(",")])
                    .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                    .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]),
            )
        };
        let children: Vec<Ended> = (0..3).map(start).collect();
        clients.iter().for_each(|address| await_port(address));
        Self::of(clients.to_vec(), children, directory)
    }

    pub(crate) fn redis() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let address = free_addresses(1).remove(0);
        let port = address.rsplit(':').next().unwrap_or_default().to_owned();
        let child = spawn(
            Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "yes"])
                .args(["--appendfsync", "always", "--dir"])
                .arg(directory.path()),
        );
        await_port(&address);
        Self::of(vec![address], vec![child], directory)
    }

    fn of(endpoints: Vec<String>, children: Vec<Ended>, directory: TempDir) -> Self {
        let pids = children.iter().map(|child| child.0.id()).collect();
        let processes = Processes::Others { _children: children, _directory: directory };
        Self { endpoints, pids, _processes: processes }
    }

    pub(crate) fn used(&self) -> Used {
        let each: Vec<(f64, f64)> = self.pids.iter().map(|pid| used(*pid)).collect();
        Used {
            cpu_seconds: each.iter().map(|(cpu, _)| cpu).sum(),
            memory_mib: each.iter().map(|(_, memory)| *memory).fold(0.0, f64::max),
        }
    }
}

/// Seconds of processor time and MiB of memory of a process.
fn used(pid: u32) -> (f64, f64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let rest = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let field = |place: usize| -> f64 {
        rest.split_whitespace().nth(place).and_then(|field| field.parse().ok()).unwrap_or(0.0)
    };
    // Ticks of a hundredth of a second and pages of 4 KiB, as Linux counts for programs.
    ((field(11) + field(12)) / 100.0, field(21) * 4_096.0 / f64::from(1 << 20))
}
