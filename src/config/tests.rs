//! What is accepted, what is refused, and how the refusals read.

use std::collections::BTreeMap;
use std::path::Path;

use quorate_core::types::NodeId;

use super::keys::KEYS;
use super::*;

const GOOD: &str = r#"
[cluster]
name = "demo"
[[node]]
id = 1
client = "127.0.0.1:7101"
peer = "127.0.0.1:7201"
data_dir = "data/n1"
"#;

fn parse_with(
    text: &str,
    env: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<(Config, Vec<Warning>), ConfigErrors> {
    let own = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    let env: BTreeMap<String, String> = env.iter().map(own).collect();
    let flags: Vec<(String, String)> = flags.iter().map(own).collect();
    Config::parse("config.toml", text, Path::new("/etc/q"), &env, &flags, Some(NodeId(1)))
}

fn parse(text: &str) -> Result<(Config, Vec<Warning>), ConfigErrors> {
    parse_with(text, &[], &[])
}

/// The report of a good file with something added.
fn report(more: &str) -> String {
    parse(&format!("{GOOD}{more}")).err().map(|errors| errors.to_string()).unwrap_or_default()
}

#[test]
fn the_shipped_file_is_made_from_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml");
    if std::env::var_os("QUORATE_REWRITE").is_some() {
        std::fs::write(path, shipped()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), shipped(), "QUORATE_REWRITE=1 rewrites it");
}

#[test]
fn the_shipped_file_holds_the_defaults_also_when_all_is_uncommented() {
    let (config, warnings) = parse(&shipped()).unwrap();
    assert_eq!((config.nodes.len(), warnings.len()), (3, 0));
    let (minimal, _) = parse(GOOD).unwrap();
    assert_eq!(config.raft, minimal.raft);
    let live = |line: &str| {
        let key = line.strip_prefix("# ").and_then(|rest| rest.split_once(" = "));
        let known = key.is_some_and(|(key, _)| {
            KEYS.iter().any(|known| known.name.ends_with(&format!(".{key}")))
        });
        let line = if known { line.trim_start_matches("# ") } else { line };
        if line.starts_with("secret_file") { String::new() } else { line.to_owned() }
    };
    let all: Vec<String> = shipped().lines().map(live).collect();
    let (all, _) = parse(&all.join("\n")).unwrap();
    assert_eq!((all.raft, all.limits), (minimal.raft, minimal.limits));
    assert_eq!((all.http, all.log, all.storage), (minimal.http, minimal.log, minimal.storage));
}

#[test]
fn little_free_space_is_a_warning() {
    let warned = |bytes: u64| {
        let (_, warnings) = parse(&format!("{GOOD}[storage]\nmin_free_bytes = {bytes}\n")).unwrap();
        warnings.iter().map(ToString::to_string).collect::<String>()
    };
    assert!(warned(1 << 20).contains("use at least 33554432"), "{}", warned(1 << 20));
    assert_eq!((warned(0), warned(32 << 20)), (String::new(), String::new()));
}

#[test]
fn file_then_environment_then_flag() {
    let file = format!("{GOOD}[raft]\nheartbeat_ms = 90\n");
    let env = [("QUORATE__RAFT__HEARTBEAT_MS", "80"), ("QUORATE_NODE_CLIENT", "127.0.0.1:9")];
    assert_eq!(parse(&file).unwrap().0.raft.heartbeat_ms, 90);
    let (config, _) = parse_with(&file, &env, &[]).unwrap();
    assert_eq!((config.raft.heartbeat_ms, config.nodes[0].client.as_str()), (80, "127.0.0.1:9"));
    assert_eq!(config.nodes[0].client_advertise, "127.0.0.1:9");
    let wrong = parse_with(&file, &[("QUORATE_NODE_PEER", "nowhere")], &[]).unwrap_err();
    assert!(wrong.to_string().contains("peer = \"nowhere\" has no port"), "{wrong}");
    let (config, _) = parse_with(&file, &env, &[("raft.heartbeat_ms", "7_0")]).unwrap();
    assert_eq!(config.raft.heartbeat_ms, 70);
    let printed = print(&config, true);
    assert!(printed.contains("raft.heartbeat_ms = 70    # --set"), "{printed}");
    assert_eq!(config.nodes[0].data_dir, Path::new("/etc/q/data/n1"));
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let text = r#"[cluster]
name = "Demo"
colour = "red"

[[node]]
id = 2
client = "127.0.0.1:7101"
peer = "127.0.0.1:7101"
data_dir = "d"

[[node]]
id = 2
client = "0.0.0.0:7102"
peer = "127.0.0.1"
data_dir = "d"
dial = { 9 = "127.0.0.1:1" }

[raft]
heartbeat_ms = 400
election_timeout = "1s"
batch_entries = "many"

[tls]
[limits]
window = 0
"#;
    let expected = include_str!("tests/many_mistakes.txt");
    let report = parse(text).unwrap_err().to_string();
    if std::env::var_os("QUORATE_REWRITE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/tests/many_mistakes.txt");
        std::fs::write(path, &report).unwrap();
    } else {
        assert_eq!(report, expected);
    }
}

#[test]
fn impossible_values_are_refused_with_both_ways_out() {
    let too_long = report("[raft]\nheartbeat_ms = 400\n");
    assert!(
        too_long.contains("use at most 166, or an election timeout of at least 1200"),
        "{too_long}"
    );
    for (more, expected) in [
        ("[session]\nttl_ms = 400\n", "use at least 5000"),
        ("[limits]\nrequest_bytes = 100_000\n", "use at least 1118208"),
        ("[raft]\nheartbeat_ms = 5\n", "an integer, milliseconds, 10 to 5000"),
        ("[raft]\nheartbeat_ms = -5\n", "is negative"),
        ("[raft]\nheartbeat_ms = 1.5\n", "is a float"),
        ("[log]\nlevel = \"loud\"\n", "is none of its words"),
        ("[cluster]\nname = \"x\"\n", "not TOML"),
        ("[storage]\nquota_bytes = 5\n", "not in this version"),
    ] {
        let report = report(more);
        assert!(report.contains(expected), "{more}: {report}");
    }
    assert!(parse("").unwrap_err().to_string().contains("there is no [[node]]"));
}

#[test]
fn a_wrong_environment_names_the_nearest_key_and_the_default() {
    let wrong = parse_with(GOOD, &[("QUORATE__RAFT__HEARTBEAT_MS", "fast")], &[]).unwrap_err();
    let expected = "environment QUORATE__RAFT__HEARTBEAT_MS=\"fast\"  is not an integer \
                    (raft.heartbeat_ms: an integer, milliseconds, 10 to 5000, default 100)";
    assert!(wrong.to_string().contains(expected), "{wrong}");
    let unknown = parse_with(GOOD, &[], &[("raft.hartbeat_ms", "1")]).unwrap_err().to_string();
    assert!(unknown.contains("did you mean `raft.heartbeat_ms`?"), "{unknown}");
}

#[test]
fn a_secret_is_long_enough_and_its_owners_own() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("peer.secret");
    let text = GOOD.replace("[[node]]", &format!("secret_file = \"{}\"\n[[node]]", path.display()));
    assert!(parse(&text).unwrap_err().to_string().contains("cannot be read"));
    std::fs::write(&path, "short").unwrap();
    assert!(parse(&text).unwrap_err().to_string().contains("at least 32"));
    std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(parse(&text).unwrap_err().to_string().contains("mode 644"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(parse(&text).unwrap().0.secret.map(|secret| secret.len()), Some(32));
}

#[test]
fn warnings_do_not_stop() {
    let second = GOOD.replace("id = 1", "id = 2").replace("7101", "7102").replace("7201", "7202");
    let second = second.replace("data/n1", "data/n2").replace("[cluster]\nname = \"demo\"\n", "");
    let (_, warnings) = parse(&format!("{GOOD}{second}")).unwrap();
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert!(
        texts.iter().any(|text| text.contains("2 voters may lose 0, the same as 1")),
        "{texts:?}"
    );
}

#[test]
fn a_node_that_is_not_there_is_answered_with_those_that_are() {
    let (config, _) = parse(&shipped()).unwrap();
    let text = config.node(NodeId(9)).unwrap_err();
    assert_eq!(text, "config.toml has no node 9 (it has 1, 2, 3)");
}

#[test]
fn every_key_is_explained() {
    for key in KEYS {
        assert!(explain(key.name).is_some_and(|text| text.contains(key.doc)), "{}", key.name);
    }
    assert!(explain("node.dial").is_some());
    assert!(explain("nonsense").is_none());
}
