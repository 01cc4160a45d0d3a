//! What the code looks like, kept by a test: the seam, the sizes, nothing left behind.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

/// Every Rust file of the project.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["target", "data", ".git"].contains(&name.as_str()) {
            files(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files(root, &mut found);
    found.sort();
    let named = |path: PathBuf| {
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).unwrap())
    };
    found.into_iter().map(named).collect()
}

/// A file's lines of code, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn the_core_has_no_clock_disk_socket_thread_or_unordered_map() {
    let forbidden = [
        "Instant::now",
        "SystemTime",
        "std::fs",
        "std::net",
        "std::thread",
        "HashMap",
        "HashSet",
        "actix",
        "tokio",
        "async fn",
        "sled",
    ];
    for (name, text) in all() {
        // The simulator's command is a tool for people: it has files, threads and a clock.
        let tool = name.starts_with("src/core/sim/bin/");
        if !name.starts_with("src/core/") || name.contains("tests") || tool {
            continue;
        }
        for line in code(&text) {
            for word in forbidden {
                assert!(!line.contains(word), "{name}: `{word}` does not belong into the core");
            }
        }
    }
}

#[test]
fn files_are_short_and_actor_files_shorter() {
    for (name, text) in all() {
        let most = if name.starts_with("actors/") && !name.contains("tests") { 260 } else { 500 };
        let lines = text.lines().count();
        assert!(lines <= most, "{name} has {lines} lines, at most {most} are read with pleasure");
    }
}

#[test]
fn actors_below_raft_do_not_know_raft() {
    for (name, text) in all() {
        if ["actors/log_store.rs", "actors/state_machine.rs", "actors/peer.rs"]
            .contains(&name.as_str())
        {
            assert!(!text.contains("crate::raft"), "{name} imports raft");
        }
    }
}

#[test]
fn nothing_is_left_behind() {
    let marks = ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "un".to_owned() + "implemented!"];
    for (name, text) in all() {
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{name}: {mark}");
        }
    }
}
