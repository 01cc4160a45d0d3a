//! `backup`, `recover`: the state in a file, out of a running cluster, and out of what is left of
//! a lost one. `restore` is the way back.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget};
use quorate_core::kv::StateMachine;
use quorate_core::kv::backup::{Head, Reader, Writer};
use quorate_core::raft::Boot;
use quorate_core::types::{Index, Position};
use quorate_core::wal::{Identity, Options, Recovered};
use serde_json::json;

use super::args::{BackupCommand, Common, RecoverArgs};
use super::connect::endpoints;
use super::output::{Failed, exit, print_line};
use crate::store::checkpoint::SledCheckpoints;
use crate::store::data_dir::DataDir;
use crate::store::logs;

/// `backup ...`
///
/// # Errors
/// When no node answers, or the file cannot be read or written, or is damaged (76).
pub fn backup(common: &Common, command: &BackupCommand) -> Result<(), Failed> {
    match command {
        BackupCommand::Save { file } => save(common, file),
        BackupCommand::Verify { file } => {
            let (head, _) = read(common, file)?;
            tell(common, &head, "whole: every checksum and the state's hash are right")
        }
        BackupCommand::Show { file } => tell(common, &open(file)?.head, ""),
    }
}

fn tell(common: &Common, head: &Head, verdict: &str) -> Result<(), Failed> {
    if common.json() {
        return print_line(json!({
            "cluster": head.cluster, "cluster_id": head.cluster_id, "version": head.version,
            "index": head.position.index.0, "term": head.position.term.0,
            "revision": head.revision, "keys": head.keys, "hash": format!("{:016x}", head.hash),
            "verified": !verdict.is_empty(),
        }));
    }
    let (cluster, position) = (&head.cluster, head.position);
    print_line(format_args!(
        "cluster {cluster}, as of {position}: {} keys, revision {}, state hash {:016x}, written by {}",
        head.keys, head.revision, head.hash, head.version
    ))?;
    if verdict.is_empty() { Ok(()) } else { print_line(verdict) }
}

fn bar(common: &Common, records: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(records).with_message(what);
    if common.json() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

/// Fills buffers from a reader, for the backup's own reader.
fn filled(mut from: impl Read) -> impl FnMut(&mut [u8]) -> Result<(), String> {
    move |buffer| {
        from.read_exact(buffer).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "it is cut short".to_owned(),
            _ => error.to_string(),
        })
    }
}

fn damaged(file: &Path, what: &str) -> Failed {
    let text = format!("damaged backup: {}: {what}", file.display());
    Failed::new(exit::DAMAGED, "damaged", text)
}

/// What fills a buffer to its end.
type Filling = Box<dyn FnMut(&mut [u8]) -> Result<(), String>>;

fn open(file: &Path) -> Result<Reader<Filling>, Failed> {
    let from = File::open(file).map_err(|error| Failed::file(&file.to_string_lossy(), &error))?;
    let filling: Filling = Box::new(filled(BufReader::new(from)));
    Reader::new(filling).map_err(|what| damaged(file, &what))
}

pub(super) fn read(common: &Common, file: &Path) -> Result<(Head, StateMachine), Failed> {
    let reader = open(file)?;
    let head = reader.head.clone();
    let bar = bar(common, head.records, "reading");
    let state = reader.state(|done| bar.set_position(done));
    bar.finish_and_clear();
    state.map(|state| (head, state)).map_err(|what| damaged(file, &what))
}

/// Takes the state from whichever node answers, checks it on the way, and gives the file its
/// name only when it is whole and durable.
fn save(common: &Common, file: &Path) -> Result<(), Failed> {
    let mut said = Vec::new();
    // Of each step, not of the whole: a large state takes what it takes.
    let time = Some(Duration::from_millis(common.timeout_ms));
    for address in endpoints(common)? {
        let request = ureq::get(format!("http://{address}/v1/backup")).config();
        let request = request.timeout_connect(time).timeout_recv_response(time);
        let answer = request.timeout_per_read(time).build().call();
        let received = answer.map_err(|error| error.to_string()).and_then(|mut answer| {
            let from = answer.body_mut().with_config().limit(u64::MAX).reader();
            receive(common, from)
        });
        match received {
            Ok((head, state)) => {
                write(file, state, &head)?;
                return tell(common, &head, &format!("saved to {}", file.display()));
            }
            Err(what) => said.push(format!("{address}: {what}")),
        }
    }
    let text = format!("no backup, nothing was saved: no node gives one ({})", said.join("; "));
    Err(Failed::new(exit::UNREACHABLE, "unreachable", text))
}

/// Reads a backup off the network; what is wrong with it.
fn receive(common: &Common, from: impl Read) -> Result<(Head, StateMachine), String> {
    let whole = |what: String| format!("the backup did not arrive whole: {what}");
    let reader = Reader::new(filled(from)).map_err(whole)?;
    let head = reader.head.clone();
    let bar = bar(common, head.records, "receiving");
    let state = reader.state(|done| bar.set_position(done));
    bar.finish_and_clear();
    Ok((head, state.map_err(whole)?))
}

fn write(file: &Path, state: StateMachine, head: &Head) -> Result<(), Failed> {
    let new = file.with_extension("partial");
    let failed = |error: std::io::Error| Failed::file(&file.to_string_lossy(), &error);
    let mut out = BufWriter::new(File::create(&new).map_err(failed)?);
    for piece in Writer::new(state, &head.cluster, head.cluster_id, &head.version) {
        out.write_all(&piece).map_err(failed)?;
    }
    let out = out.into_inner().map_err(|error| failed(error.into_error()))?;
    out.sync_all().map_err(failed)?;
    std::fs::rename(&new, file).map_err(failed)?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all()).map_err(failed)
}

/// `recover`: the checkpoint of a survivor and all of its log, also what was never committed: of
/// two evils, to lose an acknowledged write is the greater.
///
/// # Errors
/// When the directory is in use, damaged, or holds no state.
pub fn recover(common: &Common, args: &RecoverArgs) -> Result<(), Failed> {
    let data = DataDir::look(&args.from)
        .map_err(|error| Failed::new(error.exit_code(), "data_directory", error.to_string()))?;
    let checkpoint = SledCheckpoints::open(&args.from.join("state"), 64 << 20);
    let (_, state) = checkpoint
        .map_err(|error| Failed::new(exit::DAMAGED, "damaged", format!("damaged data: {error}")))?;
    let mut state = state.unwrap_or_default();
    let options = Options {
        segment_bytes: 64 << 20,
        preallocate_bytes: 1 << 20,
        identity: Identity {
            cluster: data.cluster_id(),
            node: data.node(),
            incarnation: data.incarnation(),
        },
    };
    let found = logs::inspect(&args.from, options);
    let found = found.map_err(|error| {
        Failed::new(exit::DAMAGED, "damaged", format!("damaged data: {error}. Nothing was written"))
    })?;
    let from = state.applied();
    replay(&mut state, found).map_err(|base| {
        let text = format!(
            "{} cannot be recovered: its checkpoint holds the state up to {}, and its log begins behind {base}. \
             Try another node's directory, or restore a backup",
            args.from.display(),
            state.position(),
        );
        Failed::new(exit::DAMAGED, "damaged", text)
    })?;
    if state.applied() == Index(0) {
        return Err(Failed::new(exit::NO, "not_found", "there is no state in that directory"));
    }
    let entries = state.applied().0 - from.0;
    let summary = state.summary();
    let head = Head {
        format: 1,
        cluster: data.cluster().to_owned(),
        cluster_id: data.cluster_id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        position: state.position(),
        revision: summary.revision,
        keys: summary.keys,
        records: state.record_count(),
        hash: summary.hash,
    };
    write(&args.out, state, &head)?;
    tell(common, &head, &format!("saved to {}", args.out.display()))?;
    print_line(format_args!(
        "from node {}'s checkpoint and {entries} entries of its log. What other nodes acknowledged and this one \
         never had is not in it; what it had and no quorum stored is",
        data.node()
    ))?;
    print_line(format_args!("next: quorate restore {} --config NEW.toml", args.out.display()))
}

/// Applies what the log holds behind the state, as a node that starts would judge the two: a log
/// of a time before a snapshot was installed says nothing that the state does not hold.
///
/// # Errors
/// Where the log begins, if that is behind the state.
fn replay(state: &mut StateMachine, found: Recovered) -> Result<(), Position> {
    let boot = Boot {
        hard_state: found.hard_state,
        base: found.base,
        entries: found.entries,
        state: state.position(),
        state_membership: state.membership().cloned(),
    };
    let (boot, _) = boot.reconciled();
    if boot.base.index > state.applied() {
        return Err(boot.base);
    }
    let from = state.applied();
    for entry in boot.entries.iter().filter(|entry| entry.index > from) {
        state.apply(entry);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use quorate_core::types::{Entry, Payload, Term};

    use super::*;

    fn entries(range: std::ops::RangeInclusive<u64>, term: u64) -> Vec<Entry> {
        let entry = |index| Entry { index: Index(index), term: Term(term), payload: Payload::Noop };
        range.map(entry).collect()
    }

    fn state(through: u64, term: u64) -> StateMachine {
        let mut state = StateMachine::new();
        for entry in entries(1..=through, term) {
            state.apply(&entry);
        }
        state
    }

    #[test]
    fn a_log_goes_on_where_the_checkpoint_ends() {
        let mut state = state(5, 1);
        let found = Recovered { entries: entries(1..=9, 1), ..Recovered::default() };
        assert_eq!(replay(&mut state, found), Ok(()));
        assert_eq!(state.applied(), Index(9));
    }

    /// The snapshot is durable, and the log was not begun anew yet.
    #[test]
    fn a_log_of_before_an_install_is_not_applied_to_what_was_installed() {
        for last in [3, 8] {
            let mut state = state(5, 2);
            let found = Recovered { entries: entries(1..=last, 1), ..Recovered::default() };
            assert_eq!(replay(&mut state, found), Ok(()));
            assert_eq!(state.applied(), Index(5));
        }
    }

    #[test]
    fn a_log_that_begins_behind_the_state_is_of_no_use() {
        let base = Position { index: Index(7), term: Term(1) };
        let found = Recovered { base, entries: entries(8..=9, 1), ..Recovered::default() };
        assert_eq!(replay(&mut state(5, 1), found), Err(base));
    }
}
