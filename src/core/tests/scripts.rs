//! Golden scripts of the Raft core: each file of `scripts/` is a claim, played by real nodes
//! through their public API, with all that they do written below each command.
//!
//! # How to read one
//!
//! The file's name is the claim, its first lines say why it holds (`B4.2` is a line of the
//! project's checklist of scenarios, `§` a section of the Raft paper). Commands stand above
//! `---`, what came of them below:
//!
//! ```text
//! propose n1 x                       n1 is asked to write x
//! deliver                            all that is in flight arrives
//! ---
//! n1 -> n2, n3  AppendEntries term 2, after 2@2, commit 2: 3@2 "x"
//! n1 disk   #3: add 3@2 "x"          n1's third write: handed to its disk, not durable yet
//! n2 <- n1  AppendEntries term 2, after 2@2, commit 2: 3@2 "x"
//!   n2 disk   #4: add 3@2 "x"                                      below it: what n2 does
//!   n2 disk   #4 then -> n1  AppendEntriesReply ...                leaves only after the sync
//! ```
//!
//! `3@2` is the entry at index 3 of term 2. `1@1` is every node's first entry, the membership;
//! an entry without a payload was there before the script. `n1 -x n2` is a message that a cut
//! link or a dead receiver lost, `w1` the first write asked for, `r1` the first read. Nothing
//! happens by itself: messages wait until `deliver`, writes until `sync`, clocks until `tick`.
//!
//! # How to write one
//!
//! Write comments and commands (the table is in `script/runner.rs`), each block ended by `---`
//! and a blank line, run the test with `QUORATE_REWRITE=1`, and then read every line of what it
//! wrote: is this what the paper says? Only then is the file a test. Name it after the claim.

mod script;

use std::fs;
use std::path::{Path, PathBuf};

use script::{file, notation, runner};

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let files = fs::read_dir(&folder).expect("the folder of the scripts");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths
}

fn title(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Plays one script; says what differs.
fn play(path: &Path, rewrite: bool) -> Result<(), String> {
    let expected = fs::read_to_string(path).map_err(|why| why.to_string())?;
    let actual = file::render(&runner::run(&file::parse(&expected))?);
    if actual == expected {
        return Ok(());
    }
    if rewrite {
        return fs::write(path, actual).map_err(|why| why.to_string());
    }
    Err(file::difference(&expected, &actual))
}

#[test]
fn every_script_prints_what_it_says() {
    let rewrite = std::env::var("QUORATE_REWRITE").is_ok_and(|value| value == "1");
    let only = std::env::var("QUORATE_SCRIPT").unwrap_or_default();
    let mut failed = 0;
    for path in scripts().iter().filter(|path| title(path).contains(&only)) {
        if let Err(why) = play(path, rewrite) {
            failed += 1;
            println!("\n{}\n{why}", path.display());
        }
    }
    let again = "QUORATE_REWRITE=1 cargo test -p quorate-core --test scripts";
    assert_eq!(
        failed, 0,
        "{failed} scripts differ: - is expected, + is what happens. If what happens is right, \
         rewrite their outputs and read them: {again} (QUORATE_SCRIPT=part_of_a_name for one)"
    );
}

#[test]
fn every_script_starts_with_its_reason_and_there_are_enough() {
    let paths = scripts();
    for path in &paths {
        let text = fs::read_to_string(path).expect("a script");
        assert!(text.starts_with("# "), "{}: no reason in the first line", path.display());
    }
    assert!(paths.len() >= 62, "{} scripts", paths.len());
}

#[test]
fn what_is_dumped_can_be_injected() {
    let texts = [
        "PreVote term 3, last 2@1",
        "PreVoteReply term 3, granted",
        "RequestVote term 3, last 2@1",
        "RequestVoteReply term 3, refused",
        "AppendEntries term 2, after 1@1, commit 1: 2@1, 3@2 noop, 4@2 \"x\", 5@2 members(1,2)",
        "AppendEntries term 2, after 1@1, commit 1: nothing",
        "AppendEntriesReply term 2, after 1, accepted to 3",
        "AppendEntriesReply term 2, after 9, rejected, could match 4@2",
        "Heartbeat term 2, commit 1, round 3",
        "HeartbeatReply term 2, round 3, last 1",
    ];
    for text in texts {
        let message = notation::parse_message(text);
        assert_eq!(message.map(|message| notation::message(&message)), Ok(text.to_owned()));
    }
}

#[test]
fn a_difference_shows_what_was_expected_and_what_happened() {
    let (old, new) = ("1\n2\n3\n4\n5\n6\nold\n8", "1\n2\n3\n4\n5\n6\nnew\n8");
    let shown = file::difference(old, new);
    assert_eq!(shown, "  ...\n  4\n  5\n  6\n- old\n+ new\n  8\n");
}
