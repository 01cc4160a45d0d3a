//! Random histories of a sequential store, right ones and falsified ones.

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;

/// What becomes of an operation.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Done,
    /// Unknown; took effect after so many further operations.
    Late(usize),
    Never,
    Pending,
    Refused,
}

/// One operation: it takes effect at ten times its place.
#[derive(Clone, Debug)]
struct Step {
    op: Op,
    earlier: u64,
    later: u64,
    ending: Ending,
}

fn op() -> impl Strategy<Value = Op> {
    let key = prop::sample::select(vec!["k", "l"]);
    (0..9_u8, key, 0..6_u64, any::<bool>()).prop_map(|(kind, key, number, yes)| {
        let key = bytes(key);
        let value = Bytes::from(number.to_string());
        match kind {
            0 => Op::Put(Put { key, value, return_previous: yes, ..Put::default() }),
            1 | 2 => Op::Append(Append { key, value }),
            3 => Op::Delete(Delete { key, return_previous: yes }),
            4 => {
                let expect = Expect::ModRevision(number);
                Op::CompareAndSwap(CompareAndSwap { key, expect, value: yes.then_some(value) })
            }
            5 => {
                let expect = if number == 0 { Expect::Absent } else { Expect::Value(value) };
                let value = yes.then(|| Bytes::from((number + 1).to_string()));
                Op::CompareAndSwap(CompareAndSwap { key, expect, value })
            }
            6 => Op::Increment(Increment { key, by: if yes { 1 } else { -3 } }),
            _ => Op::Get(Get { key, ..Get::default() }),
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let ending = prop_oneof![
        12 => Just(Ending::Done),
        1 => (0..4_usize).prop_map(Ending::Late),
        1 => Just(Ending::Never),
        1 => Just(Ending::Pending),
        1 => Just(Ending::Refused),
    ];
    (op(), 0..40_u64, 0..40_u64, ending).prop_map(|(op, earlier, later, ending)| Step {
        op,
        earlier,
        later,
        ending,
    })
}

fn run(steps: &[Step]) -> Run {
    let mut run = Run::new();
    let mut late: Vec<(usize, usize)> = Vec::new();
    for (place, step) in steps.iter().enumerate() {
        let moment = 100 + 10 * place as u64;
        let times = (moment - step.earlier, moment + step.later);
        let (client, op) = (place as u64, step.op.clone());
        match step.ending {
            Ending::Done => {
                run.done(client, times, op);
            }
            Ending::Late(after) if op.is_write() => {
                let operation = run.unknown(client, times, op);
                late.push((place + after, operation));
            }
            Ending::Late(_) | Ending::Never => {
                run.unknown(client, times, op);
            }
            Ending::Pending => {
                run.pending(client, times.0, op);
            }
            Ending::Refused => {
                run.refused(client, times, op);
            }
        }
        if place % 7 == 3 {
            run.noop();
        }
        for (_, operation) in late.extract_if(.., |(due, _)| *due == place) {
            // What the data refuse has no effect, and nobody learns of it.
            let op = run.history[operation].op.clone();
            let _ = run.execute(&op);
        }
    }
    run
}

/// Falsifies one answer in the way `lie`; `None` where that way does not apply.
fn falsify(run: &mut Run, operation: usize, lie: u8) -> Option<()> {
    let outcome = run.history[operation].outcome.as_mut()?;
    let Outcome::Done(told) = outcome else { return None };
    match (lie, told) {
        (0, Success::Put { revision, .. } | Success::Get { revision, .. }) => *revision += 1,
        (1, Success::Append { length, .. }) => *length += 1,
        (1, Success::Increment { number, .. }) => *number += 1,
        (1, Success::Delete { deleted, .. }) => *deleted = 1 - *deleted,
        (1, Success::CompareAndSwap { swapped, .. }) => *swapped = !*swapped,
        (1, Success::Get { entry, .. }) => {
            *entry = entry.take().is_none().then(|| KeyValue {
                key: bytes("k"),
                value: bytes("1"),
                create_revision: 2,
                mod_revision: 2,
                version: 1,
                lease: 0,
            });
        }
        (2, Success::Get { entry: Some(entry), .. }) => entry.version += 1,
        (3, Success::Get { entry: Some(entry), .. }) => entry.value = bytes("other"),
        (4, Success::CompareAndSwap { entry: Some(entry), .. }) => entry.mod_revision += 1,
        (5, Success::Put { previous: Some(Some(entry)), .. }) => entry.version += 1,
        _ => return None,
    }
    Some(())
}

/// What one check sees, the exacter ones must see, too.
fn sees(run: &Run) -> (bool, bool, bool) {
    let exact = witness::check_with_log(&run.history, &run.log).is_err();
    let found = witness::check(&run.history).is_err();
    (matches!(run.wgl(), Verdict::Violation(_)), found, exact)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_sequential_store_does_passes(steps in prop::collection::vec(step(), 0..60)) {
        let run = run(&steps);
        let exact = witness::check_with_log(&run.history, &run.log);
        let found = witness::check(&run.history);
        prop_assert!(exact.is_ok(), "with the log: {}", exact.unwrap_err());
        prop_assert!(found.is_ok(), "by the indexes: {}", found.unwrap_err());
        match run.wgl() {
            Verdict::Linearizable => {}
            Verdict::Violation(example) => prop_assert!(false, "{example}"),
            Verdict::Unknown { key, steps } => prop_assert!(false, "{key:?}: {steps} steps"),
        }
    }

    #[test]
    fn a_falsified_answer_is_seen(
        steps in prop::collection::vec(step(), 1..25),
        operation in any::<prop::sample::Index>(),
        lie in 0..6_u8,
    ) {
        let mut run = run(&steps);
        let operation = operation.index(run.history.len());
        let is_falsified = falsify(&mut run, operation, lie).is_some();
        let (search, found, exact) = sees(&run);
        prop_assert_eq!(exact, is_falsified, "the replay of the log sees each lie");
        prop_assert!(found || !search, "the witness sees what the search sees");
    }

    #[test]
    fn moved_times_are_judged_alike(
        steps in prop::collection::vec(step(), 1..25),
        moved in prop::collection::vec((any::<prop::sample::Index>(), 0..400_u64), 1..4),
    ) {
        let mut run = run(&steps);
        for (operation, by) in moved {
            let operation = operation.index(run.history.len());
            let operation = &mut run.history[operation];
            operation.invoked += by;
            operation.ended = operation.ended.map(|ended| ended + by);
        }
        let (search, found, exact) = sees(&run);
        prop_assert!(found || !search, "the witness sees what the search sees");
        prop_assert!(exact || !found, "the log shows what the witness sees");
    }

    #[test]
    fn a_lost_or_doubled_write_is_seen_in_the_log(
        steps in prop::collection::vec(step(), 1..25),
        write in any::<prop::sample::Index>(),
        is_lost in any::<bool>(),
    ) {
        let mut run = run(&steps);
        prop_assume!(!run.log.is_empty());
        let write = write.index(run.log.len());
        let told = run.history.iter().find(|operation| {
            let Fate::Done(told) = operation.fate() else { return false };
            let numbers = crate::history::model::numbers(&operation.op, told);
            operation.op.is_write() && numbers.is_some_and(|(_, index)| index == run.log[write].index)
        });
        prop_assume!(told.is_some());
        if is_lost {
            run.log.remove(write);
        } else {
            let index = run.machine.applied().0 + 1;
            run.log.push(LoggedWrite { index, op: run.log[write].op.clone() });
        }
        let op = &run.log.last().map(|write| write.op.clone());
        let is_excused = !is_lost && run.history.iter().any(|operation| {
            operation.fate() == Fate::Maybe && Some(&operation.op) == op.as_ref()
        });
        let is_refused = matches!(op, Some(Op::Increment(_)));
        let exact = witness::check_with_log(&run.history, &run.log).is_err();
        prop_assert!(exact || is_excused || is_refused);
    }
}

#[test]
fn most_lies_are_seen_without_the_log() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut lies, mut found, mut searched) = (0, 0, 0);
    for seed in 0..400_usize {
        let steps = prop::collection::vec(step(), 15..25).new_tree(&mut runner).unwrap().current();
        let mut run = run(&steps);
        let lie = u8::try_from(seed % 6).unwrap();
        let operation = seed % run.history.len();
        if falsify(&mut run, operation, lie).is_some() {
            let (search, witness, _) = sees(&run);
            lies += 1;
            found += u32::from(witness);
            searched += u32::from(search);
        }
    }
    println!("of {lies} lies the witness sees {found}, the search {searched}");
    assert!(found * 10 >= lies * 9, "of {lies} lies the witness sees {found}");
    assert!(searched * 2 >= lies, "of {lies} lies the search sees {searched}");
}
