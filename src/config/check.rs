//! What cannot be, although each value by itself could.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use quorate_core::types::NodeId;

use super::Node;
use super::read::{RawNode, Read, Value};
use super::report::{Problem, Source};

/// The checks over one file.
pub(super) struct Check<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) folder: &'a Path,
    pub(super) read: &'a Read,
    pub(super) problems: Vec<Problem>,
}

impl Check<'_> {
    fn number(&self, name: &str) -> u64 {
        match self.read.values.get(name).map(|set| &set.value) {
            Some(Value::Integer(number)) => *number,
            _ => super::default_integer(name),
        }
    }

    /// A problem with a key, shown where it was set.
    fn key(&mut self, name: &str, what: String, help: String) {
        let set = self.read.values.get(name);
        let problem = match set.and_then(|set| set.span.clone()) {
            Some(span) => self.source.told(&span, what, help),
            None => {
                let place =
                    set.map_or_else(|| self.source.name.to_owned(), |set| set.origin.clone());
                Problem {
                    warning: false,
                    offset: usize::MAX,
                    place,
                    what,
                    excerpt: None,
                    help: Some(help),
                }
            }
        };
        self.problems.push(problem);
    }

    fn at(&mut self, span: &Range<usize>, what: String, help: &str) {
        self.problems.push(self.source.told(span, what, help.to_owned()));
    }

    fn warn(&mut self, place: String, what: String, help: &str) {
        let help = Some(help.to_owned());
        self.problems.push(Problem {
            warning: true,
            offset: usize::MAX,
            place,
            what,
            excerpt: None,
            help,
        });
    }

    /// The checks of everything outside `[[node]]`.
    pub(super) fn keys(&mut self) {
        let (heartbeat, election) =
            (self.number("raft.heartbeat_ms"), self.number("raft.election_timeout_ms"));
        if election < 3 * heartbeat {
            let what = format!(
                "raft.heartbeat_ms = {heartbeat} is too long for raft.election_timeout_ms = {election}"
            );
            let help = format!(
                "a follower would call an election after missing one heartbeat or two; use at most {}, or an election timeout of at least {}",
                election / 3,
                3 * heartbeat
            );
            let set = self.read.values.contains_key("raft.heartbeat_ms");
            self.key(
                if set { "raft.heartbeat_ms" } else { "raft.election_timeout_ms" },
                what,
                help,
            );
        }
        let ttl = self.number("session.ttl_ms");
        if ttl < 10 * election {
            let what = format!(
                "session.ttl_ms = {ttl} is too short for raft.election_timeout_ms = {election}"
            );
            let help =
                format!("a failover could end every session; use at least {}", 10 * election);
            self.key("session.ttl_ms", what, help);
        }
        let least = self.number("limits.key_bytes") + self.number("limits.value_bytes") + 65_536;
        let request = self.number("limits.request_bytes");
        if request < least {
            let what = format!(
                "limits.request_bytes = {request} is too small for the longest key and value"
            );
            let help = format!("use at least {least} (key_bytes + value_bytes + 65536)");
            self.key("limits.request_bytes", what, help);
        }
        if self.number("storage.preallocate_bytes") > self.number("storage.segment_bytes") {
            let what = "storage.preallocate_bytes is more than storage.segment_bytes".to_owned();
            self.key(
                "storage.preallocate_bytes",
                what,
                "a file is not made longer than a segment".to_owned(),
            );
        }
        self.space();
        self.name();
    }

    /// What is kept free has to hold what was accepted and is not on the disk yet.
    fn space(&mut self) {
        let (free, waits) =
            (self.number("storage.min_free_bytes"), self.number("raft.uncommitted_bytes"));
        if free > 0 && free < 2 * waits {
            let what = format!(
                "storage.min_free_bytes = {free} is little beside raft.uncommitted_bytes = {waits}"
            );
            let help = format!(
                "the disk could be full before what was accepted is stored; use at least {}",
                2 * waits
            );
            self.warn(self.source.name.to_owned(), what, &help);
        }
    }

    fn name(&mut self) {
        let Some(Value::Text(name)) = self.read.values.get("cluster.name").map(|set| &set.value)
        else {
            let what = "cluster.name is missing".to_owned();
            let place = format!("{}:1", self.source.name);
            let help = Some(
                "write [cluster] and name = \"...\", so that clusters tell each other apart"
                    .to_owned(),
            );
            self.problems.push(Problem {
                warning: false,
                offset: usize::MAX,
                place,
                what,
                excerpt: None,
                help,
            });
            return;
        };
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
            let what = format!("cluster.name = \"{name}\" cannot be a cluster's name");
            self.key("cluster.name", what, "use 1 to 64 of a-z, 0-9 and -".to_owned());
        }
    }

    /// The secret, read and judged.
    pub(super) fn secret(&mut self) -> Option<(PathBuf, Vec<u8>)> {
        let Some(Value::Text(file)) =
            self.read.values.get("cluster.secret_file").map(|set| &set.value)
        else {
            return None;
        };
        let path = self.folder.join(file);
        match read_secret(&path) {
            Ok(secret) => Some((path, secret)),
            Err(why) => {
                let what = format!("cluster.secret_file = \"{file}\" {why}");
                let help = "make one: head -c 32 /dev/urandom | base64 > FILE && chmod 600 FILE";
                self.key("cluster.secret_file", what, help.to_owned());
                None
            }
        }
    }

    /// The nodes, checked one by one and against each other.
    pub(super) fn nodes(&mut self) -> Vec<Node> {
        let raws = &self.read.nodes;
        if raws.is_empty() {
            let what = "there is no [[node]]".to_owned();
            let place = format!("{}:1", self.source.name);
            let help = Some(
                "write one [[node]] with id, client, peer and data_dir for each node".to_owned(),
            );
            self.problems.push(Problem {
                warning: false,
                offset: usize::MAX,
                place,
                what,
                excerpt: None,
                help,
            });
        }
        let ids: Vec<i64> = raws.iter().filter_map(|raw| raw.id.as_ref().map(|id| id.0)).collect();
        let nodes: Vec<Node> = raws.iter().filter_map(|raw| self.node(raw, &ids)).collect();
        self.twice(raws);
        if nodes.len() > 1 && nodes.len().is_multiple_of(2) {
            let (all, spare) = (nodes.len(), (nodes.len() - 1) / 2);
            let what = format!("{all} voters may lose {spare}, the same as {}", all - 1);
            self.warn(self.source.name.to_owned(), what, "an odd number serves better");
        }
        nodes
    }

    fn node(&mut self, raw: &RawNode, ids: &[i64]) -> Option<Node> {
        let id = match &raw.id {
            None => {
                self.at(&raw.span, "this node has no id".to_owned(), "add id = N, from 1 to 65535");
                None
            }
            Some((id, span)) => match u16::try_from(*id) {
                Ok(good) if good > 0 => Some(NodeId(u64::from(good))),
                _ => {
                    self.at(span, format!("[[node]] id {id} is out of range"), "use 1 to 65535");
                    None
                }
            },
        };
        let mut addresses = Vec::new();
        for field in ["client", "peer"] {
            addresses.push(self.listen(raw, field));
        }
        let advertised: Vec<Option<String>> =
            ["client", "peer"].into_iter().map(|field| self.advertise(raw, field)).collect();
        let data_dir = raw.fields.get("data_dir").map(|(dir, _)| self.folder.join(dir));
        if data_dir.is_none() {
            self.at(
                &raw.span,
                "this node has no data_dir".to_owned(),
                "add data_dir = \"data/nN\"",
            );
        }
        let dial = self.dial(raw, ids);
        let [client, peer] = <[_; 2]>::try_from(addresses).ok()?;
        let [client_advertise, peer_advertise] = <[_; 2]>::try_from(advertised).ok()?;
        let (client, peer) = (client?, peer?);
        Some(Node {
            id: id?,
            client_advertise: client_advertise.unwrap_or_else(|| client.clone()),
            peer_advertise: peer_advertise.unwrap_or_else(|| peer.clone()),
            client,
            peer,
            data_dir: data_dir?,
            dial,
        })
    }

    /// An address to listen on.
    fn listen(&mut self, raw: &RawNode, field: &str) -> Option<String> {
        let Some((address, span)) = raw.fields.get(field) else {
            let what = format!("this node has no {field} address");
            self.at(&raw.span, what, &format!("add {field} = \"host:port\""));
            return None;
        };
        let id = raw.id.as_ref().map_or("?".to_owned(), |id| id.0.to_string());
        if let Err(why) = address_of(address) {
            self.at(span, format!("node {id}: {field} = \"{address}\" {why}"), "write host:port");
            return None;
        }
        if everywhere(address) {
            if !raw.insecure_listen {
                let what = format!("node {id} listens on {address} without encryption");
                let help = "anyone who can reach this machine could read and write. Use a private address, or say insecure_listen = true";
                self.at(span, what, help);
            }
            if !raw.fields.contains_key(&format!("{field}_advertise")) {
                let what = format!(
                    "node {id} listens on all addresses and does not say which one to dial"
                );
                self.at(span, what, &format!("add {field}_advertise = \"host:port\""));
            }
        }
        Some(address.clone())
    }

    fn advertise(&mut self, raw: &RawNode, field: &str) -> Option<String> {
        let name = format!("{field}_advertise");
        let (address, span) = raw.fields.get(&name)?;
        if let Err(why) = address_of(address) {
            self.at(span, format!("{name} = \"{address}\" {why}"), "write host:port");
        }
        Some(address.clone())
    }

    fn dial(&mut self, raw: &RawNode, ids: &[i64]) -> BTreeMap<NodeId, String> {
        let own = raw.id.as_ref().map(|id| id.0);
        let mut dial = BTreeMap::new();
        for (to, address, span) in &raw.dial {
            let target: Option<i64> = to.parse().ok();
            if target.is_none_or(|target| !ids.contains(&target)) || target == own {
                let what = format!("dial names node {to}, which is not another node of this file");
                self.at(span, what, "its keys are ids of other nodes");
                continue;
            }
            if let Err(why) = address_of(address) {
                self.at(span, format!("dial.{to} = \"{address}\" {why}"), "write host:port");
            }
            if let Some(target) = target.and_then(|target| u64::try_from(target).ok()) {
                dial.insert(NodeId(target), address.clone());
            }
        }
        dial
    }

    /// Ids, addresses and directories that appear twice.
    fn twice(&mut self, raws: &[RawNode]) {
        let mut seen: BTreeMap<(&str, String), usize> = BTreeMap::new();
        for raw in raws {
            let id = raw.id.iter().map(|(id, span)| (("[[node]] id", id.to_string()), span));
            let fields = raw.fields.iter().filter_map(|(field, (text, span))| {
                let kind = match field.as_str() {
                    "client" | "peer" => "address",
                    "data_dir" => "data_dir",
                    _ => return None,
                };
                Some(((kind, text.clone()), span))
            });
            for (what, span) in id.chain(fields) {
                let (line, _) = self.source.position(span.start);
                if let Some(first) = seen.get(&what) {
                    let (kind, text) = what;
                    let what = format!("{kind} {text} appears twice (first at line {first})");
                    self.problems.push(self.source.told(
                        span,
                        what,
                        "each node has its own".to_owned(),
                    ));
                } else {
                    seen.insert(what, line);
                }
            }
        }
    }
}

fn everywhere(address: &str) -> bool {
    address.starts_with("0.0.0.0:") || address.starts_with("[::]:")
}

/// Whether a text is `host:port`; why not.
pub(super) fn address_of(address: &str) -> Result<(), &'static str> {
    let (host, port) = address.rsplit_once(':').ok_or("has no port")?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_fine = match bare {
        Some(inner) => inner.parse::<IpAddr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '_')
        }
    };
    if !host_is_fine {
        return Err("has no host that could be one");
    }
    match port.parse::<u16>() {
        Ok(0) => Err("has port 0, which nobody could dial"),
        Ok(_) => Ok(()),
        Err(_) => Err("has no port from 1 to 65535"),
    }
}

fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    use std::os::unix::fs::PermissionsExt;
    let secret = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let secret = secret.trim_ascii().to_vec();
    if secret.len() < 32 {
        return Err(format!("holds {} bytes, at least 32 are needed", secret.len()));
    }
    let mode = path.metadata().map_err(|error| error.to_string())?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!("may be read by others (mode {mode:o})"));
    }
    Ok(secret)
}
