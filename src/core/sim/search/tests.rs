use super::*;

fn bounds() -> Bounds {
    Bounds {
        terms: 1,
        proposals: 0,
        duplicates: 0,
        crashes: 0,
        heartbeats: false,
        reduced: true,
        max_states: 8_000_000,
    }
}

#[test]
fn measure() {
    let b = bounds();
    let all = [
        ("t1", b),
        ("t1 p1", Bounds { proposals: 1, ..b }),
        ("t1 p2", Bounds { proposals: 2, ..b }),
        ("t1 c1", Bounds { crashes: 1, ..b }),
        ("t1 p1 d1", Bounds { proposals: 1, duplicates: 1, ..b }),
        ("t1 p1 c1", Bounds { proposals: 1, crashes: 1, ..b }),
        ("t1 p1 hb", Bounds { proposals: 1, heartbeats: true, ..b }),
        ("t2", Bounds { terms: 2, ..b }),
        ("t2 d1", Bounds { terms: 2, duplicates: 1, ..b }),
        ("t2 c1", Bounds { terms: 2, crashes: 1, ..b }),
        ("t2 p1", Bounds { terms: 2, proposals: 1, ..b }),
    ];
    for (name, bounds) in all {
        let t = std::time::Instant::now();
        let e = explore(&Start::fresh(3), &bounds);
        eprintln!("{name:10} {:6.2}s {e}", t.elapsed().as_secs_f64());
    }
}
