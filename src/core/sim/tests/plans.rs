//! Runs that failed once. Each plan is named after the claim that it broke; all hold now.

use std::path::Path;

use quorate_sim::plan::Plan;
use quorate_sim::world;

#[test]
fn every_kept_plan_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let plan = Plan::from_text(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let run = world::run(&plan, false);
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert_eq!(run.watch.violation, None, "{name}: sim --plan {}", path.display());
        count += 1;
    }
    assert!(count > 0, "the plans are gone");
}
