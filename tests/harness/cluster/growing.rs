//! A cluster that begins with one node, and that others can join.

use std::net::TcpStream;
use std::path::Path;

use super::{Cluster, Setup};
use crate::wait::wait_until;

impl Cluster {
    /// Starts the first of `size` nodes as a cluster of its own. The others are in the
    /// configuration, which says where to join it, and do not run.
    ///
    /// # Panics
    /// When the node does not serve within 20 s.
    #[must_use]
    pub fn start_one_of(program: &Path, size: u64, more: &str) -> Self {
        let mut cluster = Setup::new(program, size).more(more).prepare();
        let text = std::fs::read_to_string(&cluster.config).expect("the configuration is there");
        // The first start counts only one member.
        let first = text.find("\n[[node]]\nid = 2").unwrap_or(text.len());
        let end = text.find("\n[storage]").unwrap_or(text.len());
        let alone = format!("{}{}", &text[..first.min(end)], &text[end..]);
        std::fs::write(&cluster.config, alone).expect("the configuration can be written");
        cluster.start_node(1);
        let client = cluster.addresses.get(&1).expect("there is a first node").clone();
        wait_until("the first node", || TcpStream::connect(&client).is_ok());
        let join = format!("[cluster]\njoin = [\"{client}\"]\n");
        let text = text.replacen("[cluster]\n", &join, 1);
        std::fs::write(&cluster.config, text).expect("the configuration can be written");
        cluster
    }

    /// A node's peer and client address, as the configuration has them.
    ///
    /// # Panics
    /// When it has no such node.
    #[must_use]
    pub fn addresses_of(&self, id: u64) -> (String, String) {
        let text = std::fs::read_to_string(&self.config).expect("the configuration is there");
        let node = text.split("[[node]]").find(|part| part.starts_with(&format!("\nid = {id}\n")));
        let node = node.expect("the configuration has the node");
        let value = |key: &str| {
            let line = node.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
            line.expect("the node has an address").trim_end_matches('"').to_owned()
        };
        (value("peer"), value("client"))
    }
}
