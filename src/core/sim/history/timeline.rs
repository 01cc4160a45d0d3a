//! Operations as text: one line each, and as bars on a common clock.

use std::fmt::{self, Write};

use bytes::Bytes;
use quorate_core::client::Outcome;
use quorate_core::wire::client::{Expect, KeyValue, Op, Success};

use super::model::State;
use super::{Fate, Operation};

/// The widest bar, in characters.
const WIDTH: usize = 48;

/// The most lines of a timeline; older operations are counted, not shown.
const LINES: usize = 48;

/// The longest piece of a value that is shown, in bytes.
const SHOWN_BYTES: usize = 24;

/// Writes operations as bars, in the order of their calls. Columns are moments at which
/// something happened, not lengths of time, so that short overlaps stay visible.
pub(super) fn draw(f: &mut fmt::Formatter<'_>, operations: &[Operation]) -> fmt::Result {
    let mut shown: Vec<&Operation> = operations.iter().collect();
    shown.sort_by_key(|operation| operation.invoked);
    let skipped = shown.len().saturating_sub(LINES);
    if skipped > 0 {
        writeln!(f, "  ({skipped} earlier operations are not shown)")?;
    }
    let shown = &shown[skipped..];
    let columns = Columns::new(shown);
    let calls: Vec<String> = shown.iter().map(|operation| call(operation)).collect();
    let width = calls.iter().map(|call| call.chars().count()).max().unwrap_or(0);
    for (operation, call) in shown.iter().zip(&calls) {
        let pad = " ".repeat(width - call.chars().count());
        writeln!(f, "  {call}{pad}  {}  {}", columns.bar(operation), times(operation))?;
    }
    Ok(())
}

/// One operation, in one line.
pub(super) fn line(operation: &Operation) -> String {
    format!("{}  {}", call(operation), times(operation))
}

/// A key or value as text, cut in front if it is long: appended values differ at their ends.
pub(super) fn text(bytes: &Bytes) -> String {
    let cut = bytes.len().saturating_sub(SHOWN_BYTES);
    let tail = bytes.slice(cut..).escape_ascii().to_string();
    if cut == 0 { format!("\"{tail}\"") } else { format!("\"…{tail}\" ({} bytes)", bytes.len()) }
}

/// What a key is.
pub(super) fn state(state: &State) -> String {
    match state {
        Some(entry) => format!("{} at version {}", text(&entry.value), entry.version),
        None => "nil".to_owned(),
    }
}

/// The moments of calls and answers, and where they are drawn.
struct Columns {
    moments: Vec<u64>,
}

impl Columns {
    fn new(operations: &[&Operation]) -> Self {
        let both = |operation: &&Operation| [Some(operation.invoked), end(operation)];
        let mut moments: Vec<u64> = operations.iter().flat_map(both).flatten().collect();
        moments.sort_unstable();
        moments.dedup();
        Self { moments }
    }

    fn column(&self, moment: u64) -> usize {
        let rank = self.moments.partition_point(|known| *known < moment);
        let count = self.moments.len();
        if count <= WIDTH { rank } else { rank * (WIDTH - 1) / (count - 1) }
    }

    /// `|----|` from call to answer; `|---->` where it may take effect at any later time.
    fn bar(&self, operation: &Operation) -> String {
        let width = self.moments.len().min(WIDTH) + 1;
        let from = self.column(operation.invoked);
        let to = end(operation).map_or(width, |ended| self.column(ended));
        let mut bar = " ".repeat(from) + "|" + &"-".repeat(to.saturating_sub(from + 1));
        match end(operation) {
            Some(_) if to > from => bar.push('|'),
            Some(_) => {}
            None => bar.push('>'),
        }
        format!("{bar:<pad$}", pad = width + 1)
    }
}

/// When its effect is past, if ever.
fn end(operation: &Operation) -> Option<u64> {
    if operation.fate() == Fate::Maybe { None } else { operation.ended }
}

/// `client 1  put "a"`, `client 2  get -> nil`.
fn call(operation: &Operation) -> String {
    let mut line = format!("client {:<3} {}", operation.client, asked(&operation.op));
    if let Some(Outcome::Done(success)) = &operation.outcome {
        line += &told(success);
    }
    line
}

/// `1.000 ms .. 2.100 ms  ok`.
fn times(operation: &Operation) -> String {
    let outcome = match &operation.outcome {
        Some(Outcome::Done(_)) => "ok",
        Some(Outcome::NotExecuted(_) | Outcome::Unreachable { .. }) => "not executed",
        Some(Outcome::Unknown { .. }) => "unknown",
        None => "pending",
    };
    let ended = operation.ended.map_or("end".to_owned(), ms);
    format!("{} .. {ended}  {outcome}", ms(operation.invoked))
}

fn ms(moment_us: u64) -> String {
    format!("{}.{:03} ms", moment_us / 1_000, moment_us % 1_000)
}

fn asked(op: &Op) -> String {
    match op {
        Op::Put(put) => format!("put {}", text(&put.value)),
        Op::Append(append) => format!("append {}", text(&append.value)),
        Op::CompareAndSwap(swap) => {
            let expect = match &swap.expect {
                Expect::Absent => "nil".to_owned(),
                Expect::Value(value) => text(value),
                Expect::ModRevision(revision) => format!("revision {revision}"),
            };
            let value = swap.value.as_ref().map_or("nil".to_owned(), text);
            format!("compare_and_swap {expect} by {value}")
        }
        Op::Increment(increment) => format!("increment by {}", increment.by),
        Op::Get(_)
        | Op::Delete(_)
        | Op::Hello(_)
        | Op::Ping
        | Op::Bye
        | Op::Status
        | Op::Members
        | Op::Admin(_) => op.name().to_owned(),
    }
}

fn told(success: &Success) -> String {
    match success {
        Success::Put { previous, .. } => before(previous.as_ref()),
        Success::Append { length, .. } => format!(" -> length {length}"),
        Success::Get { entry, .. } => format!(" -> {}", shown(entry.as_ref())),
        Success::Delete { deleted, previous, .. } => {
            format!(" -> deleted {deleted}{}", before(previous.as_ref()))
        }
        Success::CompareAndSwap { swapped, entry, .. } => {
            let found = if *swapped { "swapped, now" } else { "refused, found" };
            format!(" -> {found} {}", shown(entry.as_ref()))
        }
        Success::Increment { number, .. } => format!(" -> {number}"),
        Success::Hello(_) | Success::Empty | Success::Status(_) | Success::Members(_) => {
            " -> another operation's answer".to_owned()
        }
    }
}

fn before(previous: Option<&Option<KeyValue>>) -> String {
    previous.map_or(String::new(), |entry| format!(", before {}", shown(entry.as_ref())))
}

fn shown(entry: Option<&KeyValue>) -> String {
    let Some(entry) = entry else { return "nil".to_owned() };
    let mut shown = text(&entry.value);
    let _ = write!(shown, " v{}", entry.version);
    shown
}
