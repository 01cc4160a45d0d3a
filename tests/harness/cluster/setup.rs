//! How a cluster is set up: its size, its configuration, and what can be done to it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Cluster;
use crate::disk::{Disk, Shim};
use crate::proxy::{Net, Place};
use crate::wait::free_addresses;

/// What a cluster is to be like.
#[derive(Clone, Debug)]
pub struct Setup {
    program: PathBuf,
    size: u64,
    more: String,
    proxies: Option<u64>,
    shim: Option<Shim>,
    open_files: Option<u64>,
}

/// The addresses of one node.
struct Addresses {
    client: String,
    peer: String,
}

impl Setup {
    /// A cluster of `size` nodes of `program`, without proxies and disk faults.
    #[must_use]
    pub fn new(program: &Path, size: u64) -> Self {
        let program = program.to_owned();
        Self { program, size, more: String::new(), proxies: None, shim: None, open_files: None }
    }

    /// Lines to add to the configuration; its last open section is `[storage]`.
    #[must_use]
    pub fn more(mut self, lines: &str) -> Self {
        self.more.push_str(lines);
        self
    }

    /// A proxy between each ordered pair of nodes, and one before each node for clients. The
    /// seed decides what they draw.
    #[must_use]
    pub fn proxies(mut self, seed: u64) -> Self {
        self.proxies = Some(seed);
        self
    }

    /// Makes the faults of [`Disk`] possible.
    #[must_use]
    pub fn disk_faults(mut self, shim: Shim) -> Self {
        self.shim = Some(shim);
        self
    }

    /// How many files each node may have open (`ulimit -n`).
    #[must_use]
    pub fn open_files(mut self, count: u64) -> Self {
        self.open_files = Some(count);
        self
    }

    /// Writes the configuration and starts every node.
    #[must_use]
    pub fn start(self) -> Cluster {
        let mut cluster = self.prepare();
        for id in cluster.ids() {
            cluster.start_node(id);
        }
        cluster
    }

    /// Writes the configuration and starts nothing.
    #[must_use]
    pub fn prepare(self) -> Cluster {
        let dir = TempDir::new().expect("a temporary directory");
        let free = free_addresses(2 * self.size);
        let pairs = free.chunks(2).map(|pair| match pair {
            [client, peer] => Addresses { client: client.clone(), peer: peer.clone() },
            _ => unreachable!("an even number of addresses"),
        });
        let nodes: BTreeMap<u64, Addresses> = (1..).zip(pairs).collect();
        let net = self.proxies.map(Net::start);
        let (text, advertised) = self.configuration(&nodes, net.as_ref());
        let config = dir.path().join("config.toml");
        std::fs::write(&config, text).expect("the configuration can be written");
        let mut disks = BTreeMap::new();
        if self.shim.is_some() {
            for id in nodes.keys() {
                let data = dir.path().join(format!("n{id}"));
                disks.insert(*id, Disk::new(&dir.path().join(format!("n{id}.faults")), &data));
            }
        }
        Cluster {
            dir,
            config,
            program: self.program,
            open_files: self.open_files,
            addresses: nodes.into_iter().map(|(id, node)| (id, node.client)).collect(),
            advertised,
            children: BTreeMap::new(),
            net,
            disks,
            shim: self.shim,
        }
    }

    fn configuration(
        &self,
        nodes: &BTreeMap<u64, Addresses>,
        net: Option<&Net>,
    ) -> (String, BTreeMap<u64, String>) {
        let mut text = String::from("[cluster]\nname = \"test\"\n");
        let mut advertised = BTreeMap::new();
        for (id, Addresses { client, peer }) in nodes {
            let _ = write!(
                text,
                "\n[[node]]\nid = {id}\nclient = \"{client}\"\npeer = \"{peer}\"\ndata_dir = \"n{id}\"\n"
            );
            let mut shown = client.clone();
            if let Some(net) = net {
                shown = net.link(Place::Clients, Place::Node(*id), client);
                let _ = writeln!(text, "client_advertise = \"{shown}\"");
                let dial = |(other, node): (&u64, &Addresses)| {
                    let address = net.link(Place::Node(*id), Place::Node(*other), &node.peer);
                    format!("{other} = \"{address}\"")
                };
                let others = nodes.iter().filter(|(other, _)| *other != id);
                let dial: Vec<String> = others.map(dial).collect();
                let _ = writeln!(text, "dial = {{ {} }}", dial.join(", "));
            }
            advertised.insert(*id, shown);
        }
        text.push_str("\n[storage]\npreallocate_bytes = 1_048_576\n");
        // Tests also run where little is left; those of that bound set it.
        if !self.more.contains("min_free_bytes") {
            text.push_str("min_free_bytes = 0\n");
        }
        text.push_str(&self.more);
        (text, advertised)
    }
}
