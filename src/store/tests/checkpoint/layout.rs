//! How a checkpoint lies in sled, and what is found of damage to it.

use super::*;

/// sled itself, on a checkpoint's directory; closed when `act` is done.
fn in_sled(path: &Path, act: impl FnOnce(&sled::Db)) {
    let config = sled::Config::new().path(path).segment_size(8 << 20);
    let deadline = Instant::now() + Duration::from_secs(10);
    let db = loop {
        match config.open() {
            Err(error) if error.to_string().contains("lock") && Instant::now() < deadline => {
                std::thread::yield_now();
            }
            other => break other.unwrap(),
        }
    };
    act(&db);
    db.flush().unwrap();
}

/// A part of the first state.
fn in_part(path: &Path, part: u32, act: impl FnOnce(&sled::Tree)) {
    in_sled(path, |db| act(&db.open_tree(format!("state-1.0.{part}")).unwrap()));
}

#[test]
fn what_a_save_that_was_cut_short_left_is_gone_and_harmless() {
    let dir = TempDir::new().unwrap();
    let mut state = StateMachine::new();
    put(&mut state, 1, 100);
    save(&mut open(dir.path()).unwrap().0, &mut state);
    // Runs that nothing names: the next one, and the next generation.
    in_sled(dir.path(), |db| {
        for name in ["state-1.1.0", "state-1.1.1", "state-1.2.0", "state-2.0.0", "state-2.0.1"] {
            for piece in 0..3_u8 {
                db.open_tree(name).unwrap().insert([piece], "left over").unwrap();
            }
        }
    });
    let (store, found) = open(dir.path()).unwrap();
    same(found.as_ref(), &state);
    drop(store);
    assert_eq!(kept(dir.path()).1, 1);
    let mut store = open(dir.path()).unwrap().0;
    put(&mut state, 2, 100);
    save(&mut store, &mut state);
    drop(store);
    same(open(dir.path()).unwrap().1.as_ref(), &state);
}

/// The bytes of all states that are there, and how many runs they are in.
fn kept(path: &Path) -> (usize, usize) {
    let (mut bytes, mut runs) = (0, std::collections::BTreeSet::new());
    in_sled(path, |db| {
        for tree in db.tree_names().into_iter().filter(|name| name.starts_with(b"state-")) {
            let pieces = db.open_tree(&tree).unwrap();
            bytes += pieces.iter().values().map(|piece| piece.unwrap().len()).sum::<usize>();
            let name = String::from_utf8(tree.to_vec()).unwrap();
            runs.insert(name.rsplit_once('.').unwrap().0.to_owned());
        }
    });
    (bytes, runs.len())
}

#[test]
fn about_twice_the_state_is_kept_and_few_changes_are_a_run_of_their_own() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    let mut state = StateMachine::new();
    for round in 0..4 {
        for key in 0..1_000 {
            put(&mut state, key, 4_000);
        }
        save(&mut store, &mut state);
        drop(store);
        // What changed is as much as the state: a whole one again, and nothing of before.
        let (bytes, runs) = kept(dir.path());
        assert_eq!(runs, 1, "round {round}");
        assert!((4_000_000..4_400_000).contains(&bytes), "{bytes}");
        store = open(dir.path()).unwrap().0;
    }
    let mut most = 0;
    for round in 0..10 {
        for key in 0..200 {
            put(&mut state, key, 4_000);
        }
        save(&mut store, &mut state);
        drop(store);
        let (bytes, runs) = kept(dir.path());
        assert!(runs == 1 + (round + 1) % 4, "{runs} after round {round}");
        most = most.max(bytes);
        let (again, found) = open(dir.path()).unwrap();
        same(found.as_ref(), &state);
        store = again;
    }
    assert!((6_000_000..7_000_000).contains(&most), "{most}");
}

#[test]
fn changes_of_small_values_count_as_what_they_take() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    let mut state = StateMachine::new();
    for key in 0..20_000 {
        put(&mut state, key, 30);
    }
    save(&mut store, &mut state);
    // Three fifths of the state in all.
    for round in 0..4 {
        for key in 0..3_000 {
            put(&mut state, key + 3_000 * round, 30);
        }
        save(&mut store, &mut state);
    }
    drop(store);
    assert_eq!(kept(dir.path()).1, 5);
}

#[test]
fn a_piece_that_rots_is_found_by_its_checksum() {
    let dir = TempDir::new().unwrap();
    let mut state = StateMachine::new();
    (0..9).for_each(|key| put(&mut state, key, 10_000));
    save(&mut open(dir.path()).unwrap().0, &mut state);
    in_part(dir.path(), 0, |tree| {
        let (key, mut piece) = tree.get_gt([]).unwrap().unwrap();
        piece[500] ^= 1;
        tree.insert(key, piece).unwrap();
    });
    let refused = open(dir.path()).map(drop).unwrap_err().to_string();
    assert!(refused.contains("checksum is wrong"), "{refused}");
}

/// What is said of a checkpoint of several parts of whose trees one is spoilt. It gets the names,
/// from the first part to the last.
fn refusal(spoil: impl FnOnce(&sled::Db, &[String])) -> String {
    let dir = TempDir::new().unwrap();
    let mut state = StateMachine::new();
    (0..90).for_each(|key| put(&mut state, key, 100_000));
    save(&mut open(dir.path()).unwrap().0, &mut state);
    same(open(dir.path()).unwrap().1.as_ref(), &state);
    in_sled(dir.path(), |db| {
        let parts = db.tree_names().len() - 1;
        assert!((8..12).contains(&parts), "{parts}");
        let names: Vec<_> = (0..parts).map(|part| format!("state-1.0.{part}")).collect();
        spoil(db, &names);
    });
    open(dir.path()).map(drop).unwrap_err().to_string()
}

#[test]
fn a_part_that_is_lost_is_missed() {
    let refused = refusal(|db, parts| assert!(db.drop_tree(&parts[3]).unwrap()));
    assert!(refused.contains("a piece is missing"), "{refused}");
    let refused = refusal(|db, parts| assert!(db.drop_tree(parts.last().unwrap()).unwrap()));
    assert!(refused.contains("cut short"), "{refused}");
    for part in [0, 2] {
        let refused = refusal(|db, parts| db.open_tree(&parts[part]).unwrap().clear().unwrap());
        assert!(refused.contains("a piece is missing"), "{refused}");
    }
    let last = |db: &sled::Db, parts: &[String]| db.open_tree(parts.last().unwrap()).unwrap();
    let refused = refusal(|db, parts| last(db, parts).clear().unwrap());
    assert!(refused.contains("cut short"), "{refused}");
    let refused = refusal(|db, parts| drop(last(db, parts).insert("x", "y")));
    assert!(refused.contains("another length"), "{refused}");
}

/// The files that sled never syncs.
fn unsynced_files(path: &Path) -> usize {
    std::fs::read_dir(path.join("blobs")).map_or(0, Iterator::count)
}

#[test]
fn no_node_is_so_long_that_sled_moves_it_to_a_file_that_it_never_syncs() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    let mut state = StateMachine::new();
    (0..200).for_each(|key| put(&mut state, key, 60_000));
    // What is left of old segments is moved by a thread of sled's, once a second.
    let started = Instant::now();
    let mut round = 0;
    while started.elapsed() < Duration::from_secs(4) {
        round += 1;
        (0..40).for_each(|key| put(&mut state, key * 5 + round % 5, 60_000));
        save(&mut store, &mut state);
        assert_eq!(unsynced_files(dir.path()), 0, "round {round}");
    }
    drop(store);
    let (mut store, found) = open(dir.path()).unwrap();
    same(found.as_ref(), &state);
    (0..200).for_each(|key| delete(&mut state, key));
    save(&mut store, &mut state);
    drop(store);
    same(open(dir.path()).unwrap().1.as_ref(), &state);
    assert_eq!(unsynced_files(dir.path()), 0);
}

#[test]
fn changes_of_many_parts_come_back() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    let mut state = StateMachine::new();
    (0..300).for_each(|key| put(&mut state, key, 20_000));
    save(&mut store, &mut state);
    (0..150).for_each(|key| put(&mut state, key, 20_000));
    save(&mut store, &mut state);
    drop(store);
    in_sled(dir.path(), |db| {
        let names = db.tree_names();
        assert!(names.iter().filter(|name| name.starts_with(b"state-1.1.")).count() > 3);
    });
    same(open(dir.path()).unwrap().1.as_ref(), &state);
}

#[test]
fn there_are_only_so_many_runs() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    let mut state = StateMachine::new();
    (0..100).for_each(|key| put(&mut state, key, 20_000));
    save(&mut store, &mut state);
    for round in 0..258 {
        put(&mut state, round % 7, 10);
        save(&mut store, &mut state);
    }
    drop(store);
    // 256, then a whole one, and one more.
    assert_eq!(kept(dir.path()).1, 2);
    same(open(dir.path()).unwrap().1.as_ref(), &state);
}

#[test]
fn a_generation_in_one_tree_is_read_and_the_next_is_in_parts() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    let mut state = StateMachine::new();
    (0..100).for_each(|key| put(&mut state, key, 20_000));
    save(&mut store, &mut state);
    put(&mut state, 1, 10);
    save(&mut store, &mut state);
    drop(store);
    // As it was written before: the keys of the pieces are the same.
    in_sled(dir.path(), |db| {
        let one = db.open_tree("state-1").unwrap();
        for name in db.tree_names().iter().filter(|name| name.starts_with(b"state-1.")) {
            let part = db.open_tree(name).unwrap();
            part.iter()
                .for_each(|piece| drop(one.insert(piece.clone().unwrap().0, piece.unwrap().1)));
            db.drop_tree(name).unwrap();
        }
        // A run that does not count.
        one.insert([0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0], "left over").unwrap();
    });
    let (mut store, found) = open(dir.path()).unwrap();
    same(found.as_ref(), &state);
    let mut state = found.unwrap();
    put(&mut state, 2, 10);
    save(&mut store, &mut state);
    drop(store);
    in_sled(dir.path(), |db| {
        let names = db.tree_names();
        assert!(names.iter().any(|name| name == b"state-2.0.0"), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with(b"state-1")), "{names:?}");
    });
    same(open(dir.path()).unwrap().1.as_ref(), &state);
}
