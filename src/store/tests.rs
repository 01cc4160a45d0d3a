//! The data directory's refusals, and the log over real files.

use std::sync::Arc;

use bytes::Bytes;
use quorate_core::store::LogStore;
use quorate_core::types::{Entry, Index, NodeId, Payload, Term};
use quorate_core::wal::{Identity, Options, Wal};
use tempfile::TempDir;

use super::data_dir::{DataDir, Wanted};
use super::disk::Disk;

fn wanted(node: u64, cluster: &str) -> Wanted {
    Wanted { cluster_name: cluster.to_owned(), cluster_id: 5, node: NodeId(node), joins: false }
}

fn code(dir: &TempDir, wanted: &Wanted) -> Option<(i32, String)> {
    let error = DataDir::open(dir.path(), wanted).err()?;
    Some((error.exit_code(), error.to_string()))
}

#[test]
fn a_directory_keeps_who_it_is_and_whom_it_met() {
    let dir = TempDir::new().unwrap();
    let mut first = DataDir::open(dir.path(), &wanted(1, "demo")).unwrap();
    assert!(!first.initialized());
    first.set_initialized().unwrap();
    first.remember(NodeId(2), Index(0), 42).unwrap();
    first.remember(NodeId(2), Index(9), 43).unwrap();
    let incarnation = first.incarnation();
    drop(first);
    let other_id = Wanted { cluster_id: 6, ..wanted(1, "demo") };
    let again = DataDir::open(dir.path(), &other_id).unwrap();
    assert_eq!((again.cluster_id(), again.incarnation()), (5, incarnation));
    assert_eq!(again.known_incarnation(NodeId(2), Index(0)), Some(42));
    assert_eq!(again.known_incarnation(NodeId(2), Index(9)), Some(43));
    assert_eq!(again.known_incarnation(NodeId(3), Index(0)), None);
    assert!(again.initialized());
}

#[test]
fn a_directory_of_another_node_or_cluster_is_refused_with_65() {
    let dir = TempDir::new().unwrap();
    drop(DataDir::open(dir.path(), &wanted(1, "demo")).unwrap());
    for other in [wanted(2, "demo"), wanted(1, "prod")] {
        let (code, text) = code(&dir, &other).unwrap();
        assert_eq!(code, 65);
        assert!(text.contains("belongs to node 1 of cluster \"demo\""), "{text}");
    }
}

#[test]
fn a_directory_in_use_is_refused_with_73_and_the_pid() {
    let dir = TempDir::new().unwrap();
    let _held = DataDir::open(dir.path(), &wanted(1, "demo")).unwrap();
    let (code, text) = code(&dir, &wanted(1, "demo")).unwrap();
    assert_eq!(code, 73);
    assert!(text.contains(&std::process::id().to_string()), "{text}");
}

#[test]
fn a_log_without_an_identity_or_an_unreadable_identity_is_damage_76() {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("log")).unwrap();
    assert_eq!(code(&dir, &wanted(1, "demo")).unwrap().0, 76);
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("identity.toml"), "node = \"one\"").unwrap();
    assert_eq!(code(&dir, &wanted(1, "demo")).unwrap().0, 76);
}

#[test]
fn the_log_over_real_files_comes_back() {
    let dir = TempDir::new().unwrap();
    let identity = Identity { cluster: 1, node: NodeId(1), incarnation: 2 };
    let options = Options { segment_bytes: 20_000, preallocate_bytes: 8_192, identity };
    let open = || Wal::open(Arc::new(Disk::new(dir.path())), options).unwrap();
    let mut all = Vec::new();
    for index in 1..=60 {
        let (mut wal, found) = open();
        assert_eq!(found.entries, all);
        let command = Payload::Command(Bytes::from(vec![7; 1_000]));
        all.push(Entry { term: Term(1), index: Index(index), payload: command });
        wal.append(&all[all.len() - 1..]).unwrap();
        wal.sync().unwrap();
    }
    let segments = std::fs::read_dir(dir.path().join("log")).unwrap().count();
    assert!(segments > 2, "{segments} segments");
    assert_eq!(open().1.entries, all);
}
