//! The configuration in words: `config explain`, `config print`, and the file that is shipped.

use super::Config;
use super::keys::{KEYS, Key, NODE_KEYS, find};
use super::read::Value;

/// What a key means; `None` where there is no such key.
#[must_use]
pub fn explain(name: &str) -> Option<String> {
    if let Some((key, doc)) = NODE_KEYS.iter().find(|(key, _)| name == format!("node.{key}")) {
        return Some(format!("node.{key}\n{doc}\n"));
    }
    let key = find(name)?;
    let default =
        key.kind.default_text().map_or("no default".to_owned(), |d| format!("default {d}"));
    let change = if key.fixed { "never" } else { "with a restart" };
    Some(format!(
        "{name}: {}, {default}        may change: {change}\n{}\n",
        key.kind.describe(),
        key.doc
    ))
}

/// Every key with its value, and where it comes from if asked.
#[must_use]
pub fn print(config: &Config, origin: bool) -> String {
    let mut out = String::new();
    for key in KEYS {
        let set = config.values.get(key.name);
        let value = set.map(|set| text(&set.value)).or_else(|| key.kind.default_text());
        let Some(value) = value else { continue };
        let from = set.map_or("default", |set| set.origin.as_str());
        let from = if origin { format!("    # {from}") } else { String::new() };
        out.push_str(&format!("{} = {value}{from}\n", key.name));
    }
    for node in &config.nodes {
        out.push_str(&format!(
            "node {}: client {}, peer {}, data_dir {}\n",
            node.id,
            node.client,
            node.peer,
            node.data_dir.display()
        ));
    }
    out
}

fn text(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Text(text) => format!("\"{text}\""),
        Value::List(items) => format!("{items:?}"),
    }
}

/// The file that is shipped: three nodes on this machine, every other key as a comment.
#[must_use]
pub fn shipped() -> String {
    let mut out = String::from(
        "# Quorate: three nodes on this machine. The same file serves every node; --id picks one.\n\
         # Every key that is commented out shows its default. Units are in the names, values are integers.\n\
         # `quorate config check` says what is wrong, `quorate config explain KEY` what a key means.\n\
         # The environment overrides: QUORATE__RAFT__HEARTBEAT_MS=50. So do flags: --set raft.heartbeat_ms=50.\n",
    );
    let mut section = "";
    for key in KEYS {
        let (part, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if part != section {
            if section == "cluster" {
                out.push_str(&nodes());
            }
            out.push_str(&format!("\n[{part}]\n"));
            section = part;
        }
        out.push_str(&described(key, name));
    }
    out
}

fn described(key: &Key, name: &str) -> String {
    let mut out = String::new();
    for line in wrapped(&format!("{} ({})", key.doc, key.kind.describe())) {
        out.push_str(&format!("# {line}\n"));
    }
    match (key.name, key.kind.default_text()) {
        ("cluster.name", _) => out.push_str("name = \"demo\"\n"),
        ("raft.heartbeat_ms" | "raft.election_timeout_ms", Some(default)) => {
            out.push_str(&format!("{name} = {default}\n"));
        }
        (_, Some(default)) => out.push_str(&format!("# {name} = {default}\n")),
        (_, None) => out.push_str(&format!("# {name} = \"peer.secret\"\n")),
    }
    out
}

fn nodes() -> String {
    let mut out = String::from("\n# Each node:\n");
    for (name, doc) in NODE_KEYS {
        out.push_str(&format!("#   {name:<17} {doc}\n"));
    }
    for id in 1..=3 {
        out.push_str(&format!(
            "[[node]]\nid = {id}\nclient = \"127.0.0.1:710{id}\"\npeer = \"127.0.0.1:720{id}\"\ndata_dir = \"data/n{id}\"\n\n"
        ));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let current = lines.last().map_or(0, String::len);
        if current > 0 && current + word.len() + 1 > 110 {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
