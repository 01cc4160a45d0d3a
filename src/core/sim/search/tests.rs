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
        ("t2 c1", Bounds { terms: 2, crashes: 1, ..b }),
        ("t2 p1 d1", Bounds { terms: 2, proposals: 1, duplicates: 1, ..b }),
        ("t1 p2 d1 c1", Bounds { terms: 1, proposals: 2, duplicates: 1, crashes: 1, ..b }),
        ("t1 p1 c1 hb", Bounds { terms: 1, proposals: 1, heartbeats: true, crashes: 1, ..b }),
        ("t2 p1 c1", Bounds { terms: 2, proposals: 1, crashes: 1, max_states: 100_000_000, ..b }),
        ("t2 p2", Bounds { terms: 2, proposals: 2, max_states: 100_000_000, ..b }),
    ];
    for (name, bounds) in all {
        let t = std::time::Instant::now();
        let e = explore(&Start::fresh(3), &bounds);
        eprintln!("{name:10} {:6.2}s {e}", t.elapsed().as_secs_f64());
    }
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;
    use quorate_core::mutant::{Mutant, arm};

    #[test]
    fn finds() {
        let b = bounds();
        let fig8 = Start::seeded(3, &[&[1, 2], &[1], &[1, 3]]);
        let all = [
            ("vote r", Mutant::VoteIsNotPersisted, Start::fresh(3), Bounds { crashes: 1, ..b }),
            (
                "vote u",
                Mutant::VoteIsNotPersisted,
                Start::fresh(3),
                Bounds { crashes: 1, reduced: false, ..b },
            ),
            ("fig8 r", Mutant::CommitsOldTermsByCounting, fig8.clone(), Bounds { terms: 2, ..b }),
            (
                "fig8 u",
                Mutant::CommitsOldTermsByCounting,
                fig8.clone(),
                Bounds { terms: 2, reduced: false, max_states: 30_000_000, ..b },
            ),
        ];
        for (name, mutant, start, bounds) in all {
            arm(Some(mutant));
            let t = std::time::Instant::now();
            let e = explore(&start, &bounds);
            arm(None);
            eprintln!("{name:10} {:6.2}s {e}", t.elapsed().as_secs_f64());
        }
    }
}
