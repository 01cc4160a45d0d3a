//! The judge: whether what clients were told can be, and whether enough was tried.
//!
//! Three checks of one history: the witness check of the simulator (the servers' indexes are an
//! order that explains every answer), the search of Wing and Gong where that is undecided, and
//! a count of unique tokens in the final reads. A verdict that is undecided is a failure, and so
//! is a kind of call that never succeeded.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_core::client::Outcome;
use quorate_core::wire::client::{Op, Success};
use quorate_sim::history::wgl::Verdict;
use quorate_sim::history::witness::{Rule, Violation};
use quorate_sim::history::{Operation, wgl, witness};

use crate::workload::TOKENS;

/// How often, for a key, the search may try an operation.
const SEARCH_STEPS: u64 = 2_000_000;

/// Every kind of call that a mixed load makes.
pub const EVERY_CALL: &[&str] =
    &["put", "append", "get", "delete", "compare_and_swap", "increment"];

/// What a history comes to.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// How many calls there were.
    pub operations: u64,
    /// How many were answered with success, by name.
    pub acked: BTreeMap<&'static str, u64>,
    /// Writes of which nobody knows whether they took effect.
    pub unknown: u64,
    /// Calls that certainly did not.
    pub refused: u64,
    /// Acknowledged tokens that are not there.
    pub lost: u64,
    /// Tokens that are there more than once.
    pub doubled: u64,
    /// Tokens that are there although their client was told that they never will be.
    pub refused_and_there: u64,
    /// Reads that answered from the past.
    pub stale: u64,
    /// The longest time between two successes, in milliseconds.
    pub longest_outage_ms: u64,
    /// Everything that is wrong; empty is a pass.
    pub failures: Vec<String>,
}

impl Judgement {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.failures.is_empty()
    }

    /// How many calls succeeded.
    #[must_use]
    pub fn all_acked(&self) -> u64 {
        self.acked.values().sum()
    }

    /// Panics with everything that is wrong.
    ///
    /// # Panics
    /// When anything is.
    pub fn assert_ok(&self) {
        assert!(self.is_ok(), "{}", self.failures.join("\n"));
    }
}

/// Judges a whole history, at the end of which every key was read. Of each kind of call in
/// `needed` at least one must have succeeded.
#[must_use]
pub fn judge(history: &[Operation], needed: &[&str]) -> Judgement {
    judge_within(history, needed, SEARCH_STEPS)
}

fn judge_within(history: &[Operation], needed: &[&str], steps: u64) -> Judgement {
    let mut judgement = tally(history);
    for name in needed {
        if !judgement.acked.contains_key(name) {
            judgement.failures.push(format!("coverage: no {name} has ever succeeded"));
        }
    }
    count_tokens(history, &mut judgement);
    match witness::check(history) {
        Ok(_) => {}
        Err(violation) if violation.rule == Rule::Decidable => {
            search(history, steps, &mut judgement);
        }
        Err(violation) => {
            judgement.stale += u64::from(is_stale_read(&violation));
            judgement.failures.push(format!("violation: {violation}"));
        }
    }
    judgement
}

fn is_stale_read(violation: &Violation) -> bool {
    let accused = violation.operations.last();
    violation.rule == Rule::RealTime
        && accused.is_some_and(|operation| matches!(operation.op, Op::Get(_)))
}

/// The servers' order is not enough to decide: any order will do.
fn search(history: &[Operation], steps: u64, judgement: &mut Judgement) {
    match wgl::check_or_guess(history, steps) {
        Verdict::Linearizable => {}
        Verdict::Violation(counterexample) => {
            judgement.failures.push(format!("violation: {counterexample}"));
        }
        Verdict::Unknown { key, steps } => {
            judgement.failures.push(format!("undecided: key {key:?} after {steps} steps"));
        }
    }
}

fn tally(history: &[Operation]) -> Judgement {
    let mut judgement = Judgement { operations: history.len() as u64, ..Judgement::default() };
    let mut successes = Vec::new();
    for operation in history {
        match &operation.outcome {
            Some(Outcome::Done(_)) => {
                *judgement.acked.entry(operation.op.name()).or_default() += 1;
                successes.extend(operation.ended);
            }
            Some(Outcome::Unknown { .. }) | None if operation.op.is_write() => {
                judgement.unknown += 1;
            }
            Some(_) | None => judgement.refused += 1,
        }
    }
    successes.sort_unstable();
    let gaps = successes.windows(2).map(|pair| pair[1] - pair[0]);
    judgement.longest_outage_ms = gaps.max().unwrap_or(0) / 1_000;
    judgement
}

/// What became of the tokens of one key.
#[derive(Default)]
struct Tokens<'a> {
    by_fate: BTreeMap<&'a Bytes, Option<bool>>,
    last_read: Option<(u64, &'a Bytes)>,
    was_read: bool,
}

/// Each acknowledged token is there once, each refused one is not, each unknown one at most
/// once.
fn count_tokens(history: &[Operation], judgement: &mut Judgement) {
    let mut keys: BTreeMap<&Bytes, Tokens<'_>> = BTreeMap::new();
    for operation in history {
        let Some(key) = operation.op.key().filter(|key| key.starts_with(TOKENS.as_bytes())) else {
            continue;
        };
        let tokens = keys.entry(key).or_default();
        match (&operation.op, &operation.outcome) {
            (Op::Append(append), outcome) => {
                let fate = match outcome {
                    Some(Outcome::Done(_)) => Some(true),
                    Some(Outcome::NotExecuted(_) | Outcome::Unreachable { .. }) => Some(false),
                    Some(Outcome::Unknown { .. }) | None => None,
                };
                tokens.by_fate.insert(&append.value, fate);
            }
            (Op::Get(_), Some(Outcome::Done(Success::Get { entry, .. }))) => {
                tokens.was_read = true;
                if let Some(entry) = entry
                    && tokens.last_read.is_none_or(|(at, _)| at < operation.invoked)
                {
                    tokens.last_read = Some((operation.invoked, &entry.value));
                }
            }
            _ => {}
        }
    }
    for (key, tokens) in keys {
        judgement.count_key(key, &tokens);
    }
}

impl Judgement {
    fn count_key(&mut self, key: &Bytes, tokens: &Tokens<'_>) {
        if !tokens.was_read {
            self.failures.push(format!("coverage: {key:?} was never read"));
            return;
        }
        let value = tokens.last_read.map(|(_, value)| value.clone()).unwrap_or_default();
        let mut found: BTreeMap<&[u8], u64> = BTreeMap::new();
        for token in value.split_inclusive(|byte| *byte == b';') {
            *found.entry(token).or_default() += 1;
        }
        for (token, fate) in &tokens.by_fate {
            let count = found.remove(token.as_ref()).unwrap_or(0);
            let (counter, what) = match (fate, count) {
                (Some(true), 0) => (&mut self.lost, "acknowledged and lost"),
                (_, 2..) => (&mut self.doubled, "there more than once"),
                (Some(false), 1) => (&mut self.refused_and_there, "refused and there"),
                _ => continue,
            };
            *counter += 1;
            self.failures.push(format!("{what}: {token:?} of {key:?}"));
        }
        for token in found.keys() {
            self.failures
                .push(format!("{key:?} holds {:?}, which nobody sent", token.escape_ascii()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::wire::client::{Append, ErrorCode, Failure, Get, KeyValue};

    fn append(at: u64, token: &str, outcome: Outcome) -> Operation {
        let op = Op::Append(Append { key: "t1.0".into(), value: token.to_owned().into() });
        Operation { client: 1, invoked: at, ended: Some(at + 5), op, outcome: Some(outcome) }
    }

    fn done(index: u64, length: u64) -> Outcome {
        Outcome::Done(Success::Append { revision: index, index, length })
    }

    fn unknown() -> Outcome {
        Outcome::Unknown { session: 1, id: 1, reason: "test".into() }
    }

    /// A read that sees `value`, the result of so many writes, at a log index.
    fn get(at: u64, index: u64, revision: u64, value: &str, version: u64) -> Operation {
        let entry = (version > 0).then(|| KeyValue {
            key: "t1.0".into(),
            value: value.to_owned().into(),
            create_revision: 2,
            mod_revision: version + 1,
            version,
            lease: 0,
        });
        let op = Op::Get(Get { key: "t1.0".into(), ..Get::default() });
        let outcome = Some(Outcome::Done(Success::Get { revision, index, entry }));
        Operation { client: 2, invoked: at, ended: Some(at + 5), op, outcome }
    }

    fn fails_with(history: &[Operation], word: &str) -> Judgement {
        let judgement = judge(history, &[]);
        let said = judgement.failures.iter().any(|failure| failure.contains(word));
        assert!(said, "no {word} in {:?}", judgement.failures);
        judgement
    }

    #[test]
    fn a_good_history_passes_and_is_counted() {
        let refused = Outcome::NotExecuted(Failure::new(ErrorCode::Overloaded, "full"));
        let history = [
            append(0, "1.1;", done(2, 4)),
            append(10_000, "1.2;", unknown()),
            append(10_010, "1.3;", refused),
            get(10_020, 3, 3, "1.1;1.2;", 2),
        ];
        let judgement = judge(&history, &["append", "get"]);
        judgement.assert_ok();
        assert_eq!((judgement.operations, judgement.all_acked()), (4, 2));
        assert_eq!((judgement.unknown, judgement.refused), (1, 1));
        assert_eq!(judgement.longest_outage_ms, 10);
    }

    #[test]
    fn a_doubled_append_is_a_violation() {
        let history = [append(0, "1.1;", done(2, 4)), get(10, 3, 3, "1.1;1.1;", 2)];
        assert_eq!(fails_with(&history, "there more than once").doubled, 1);
    }

    #[test]
    fn a_lost_append_is_a_violation() {
        let history = [append(0, "1.1;", done(2, 4)), get(10, 3, 1, "", 0)];
        assert_eq!(fails_with(&history, "acknowledged and lost").lost, 1);
    }

    #[test]
    fn a_refused_append_that_shows_is_a_violation() {
        let refused = Outcome::NotExecuted(Failure::new(ErrorCode::Overloaded, "full"));
        let history = [append(0, "1.1;", refused), get(10, 3, 2, "1.1;", 1)];
        assert_eq!(fails_with(&history, "refused and there").refused_and_there, 1);
    }

    #[test]
    fn a_token_that_nobody_sent_is_a_violation() {
        let history = [append(0, "1.1;", unknown()), get(10, 3, 2, "7.7;", 1)];
        fails_with(&history, "nobody sent");
    }

    #[test]
    fn a_stale_read_is_a_violation() {
        let history = [
            append(0, "1.1;", done(2, 4)),
            append(10, "1.2;", done(3, 8)),
            get(20, 2, 2, "1.1;", 1),
            get(30, 3, 3, "1.1;1.2;", 2),
        ];
        assert_eq!(fails_with(&history, "RealTime").stale, 1);
    }

    #[test]
    fn an_undecided_history_fails() {
        let mut history: Vec<Operation> =
            (0..40).map(|n| append(n, &format!("1.{n};"), unknown())).collect();
        let shown: String = (0..40).rev().map(|n| format!("1.{n};")).collect();
        history.push(get(100, 50, 41, &shown, 40));
        let mut judgement = Judgement::default();
        search(&history, 50, &mut judgement);
        assert!(judgement.failures.iter().any(|one| one.contains("undecided")), "{judgement:?}");
    }

    #[test]
    fn what_was_never_tried_fails() {
        let history = [append(0, "1.1;", done(2, 4))];
        let judgement = judge(&history, EVERY_CALL);
        for what in ["no put", "no increment", "was never read"] {
            assert!(judgement.failures.iter().any(|one| one.contains(what)), "{judgement:?}");
        }
    }
}
