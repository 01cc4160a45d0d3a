use super::*;
use crate::wire::client::Get;

fn get(key: &str, revision: u64) -> Get {
    Get { key: bytes(key), revision, ..Get::default() }
}

fn keys(replica: &Replica, prefix: &str, after: Option<&str>, limit: usize) -> (String, bool) {
    let listing = replica.state.list(prefix.as_bytes(), after.map(str::as_bytes), at_most(limit));
    let keys = listing.entries.iter().map(|entry| String::from_utf8_lossy(&entry.key));
    (keys.collect::<Vec<_>>().join(" "), listing.more)
}

fn filled() -> Replica {
    let mut replica = Replica::default();
    for key in ["b/2", "a", "b/1", "b", "c", "b/3"] {
        replica.write(put(key, "v")).unwrap();
    }
    replica
}

#[test]
fn a_get_bears_the_entry_the_revision_and_the_applied_index() {
    let mut replica = Replica::default();
    replica.write(put("a", "1")).unwrap();
    replica.write(delete("missing")).unwrap();
    let entry = replica.entry("a");
    assert!(entry.is_some());
    let found = replica.state.get(&get("a", 0));
    assert_eq!(found, Ok(Success::Get { revision: 2, index: 2, entry }));
    let missing = replica.state.get(&get("b", 0));
    assert_eq!(missing, Ok(Success::Get { revision: 2, index: 2, entry: None }));
}

#[test]
fn a_get_of_an_old_revision_is_unsupported() {
    assert_eq!(code(&filled().state.get(&get("a", 2))), Some(ErrorCode::Unsupported));
}

#[test]
fn a_list_gives_the_keys_of_a_prefix_in_order() {
    let replica = filled();
    assert_eq!(keys(&replica, "", None, 9), ("a b b/1 b/2 b/3 c".to_owned(), false));
    assert_eq!(keys(&replica, "b/", None, 9), ("b/1 b/2 b/3".to_owned(), false));
    assert_eq!(keys(&replica, "x", None, 9), (String::new(), false));
    let listing = replica.state.list(b"b", None, at_most(9));
    assert_eq!((listing.revision, listing.index), (7, Index(6)));
}

#[test]
fn a_list_says_whether_more_follow() {
    let replica = filled();
    assert_eq!(keys(&replica, "b/", None, 2), ("b/1 b/2".to_owned(), true));
    assert_eq!(keys(&replica, "b/", None, 3), ("b/1 b/2 b/3".to_owned(), false));
    assert_eq!(keys(&replica, "b/", None, 0), (String::new(), true));
}

#[test]
fn a_page_has_no_more_bytes_than_allowed_and_at_least_one_entry() {
    let mut replica = Replica::default();
    for (key, bytes) in [("a", 9), ("b", 9), ("c", 50), ("d", 9)] {
        replica.write(put(key, &"v".repeat(bytes))).unwrap();
    }
    let page = |after: Option<&str>, bytes| {
        let page = Page { entries: 9, bytes };
        let listing = replica.state.list(b"", after.map(str::as_bytes), page);
        let keys = listing.entries.iter().map(|entry| String::from_utf8_lossy(&entry.key));
        (keys.collect::<String>(), listing.more)
    };
    assert_eq!(page(None, 20), ("ab".to_owned(), true));
    assert_eq!(page(None, 19), ("a".to_owned(), true));
    assert_eq!(page(Some("b"), 20), ("c".to_owned(), true), "larger than a page, and alone in it");
    assert_eq!(page(Some("c"), 0), ("d".to_owned(), false));
    assert_eq!(page(None, 81), ("abcd".to_owned(), false));
}

#[test]
fn a_list_goes_on_after_a_key() {
    let replica = filled();
    assert_eq!(keys(&replica, "b/", Some("b/1"), 1), ("b/2".to_owned(), true));
    assert_eq!(keys(&replica, "b/", Some("b/3"), 9), (String::new(), false));
    assert_eq!(keys(&replica, "b/", Some("a"), 1), ("b/1".to_owned(), true));
    assert_eq!(keys(&replica, "b/", Some("z"), 1), (String::new(), false));
    assert_eq!(keys(&replica, "b/", Some("b/11"), 1), ("b/2".to_owned(), true));
}

#[test]
fn the_summary_counts() {
    let mut replica = filled();
    replica.open(1_000, 4);
    replica.advance(250);
    let summary = replica.state.summary();
    assert_eq!((summary.applied, summary.revision, summary.keys), (Index(8), 7, 6));
    assert_eq!((summary.sessions, summary.clock_ms), (1, 250));
    assert_eq!(summary.hash, replica.state.hash());
}
