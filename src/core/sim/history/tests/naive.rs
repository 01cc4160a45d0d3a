//! The search against the definition itself: all orders of short histories, one by one.

use proptest::prelude::*;

use super::*;
use crate::history::model::{self, Span, State};

/// Whether some order of `left` keeps real time and explains the answers, from `state` on.
fn has_order(left: &[&Operation], state: &State) -> bool {
    let is_open = |operation: &&Operation| matches!(operation.fate(), Fate::Done(_));
    let first_end = left.iter().filter(|one| is_open(one)).filter_map(|one| one.ended).min();
    let Some(first_end) = first_end else { return true };
    (0..left.len()).any(|at| {
        let mut rest = left.to_vec();
        let operation = rest.remove(at);
        let after = match operation.fate() {
            Fate::Done(told) => model::step(&operation.op, told, state, Span::ANY),
            Fate::Maybe => Some(model::effect(&operation.op, None, state).apply(state, Span::ANY)),
            Fate::Not => return has_order(&rest, state),
        };
        let may_be_first = operation.invoked <= first_end;
        may_be_first && after.is_some_and(|after| has_order(&rest, &after))
    })
}

/// An operation with an answer that is as likely wrong as right.
fn operation() -> impl Strategy<Value = Operation> {
    let value = prop::sample::select(vec!["a", "b"]);
    let what = (0..5_u8, value, 1..4_u64, any::<bool>());
    (what, 0..30_u64, 1..20_u64, 0..5_u8).prop_map(|(what, invoked, length, fate)| {
        let (kind, value, number, yes) = what;
        let (revision, index) = (0, 0);
        let entry = KeyValue {
            key: bytes("k"),
            value: bytes(value),
            create_revision: 1,
            mod_revision: 1,
            version: number,
            lease: 0,
        };
        let (op, told) = match kind {
            0 => (put(value), Success::Put { revision, index, previous: None }),
            1 => (append(value), Success::Append { revision, index, length: number }),
            2 => {
                let deleted = u64::from(yes);
                (delete(), Success::Delete { revision, index, deleted, previous: None })
            }
            3 => (get(), Success::Get { revision, index, entry: yes.then_some(entry) }),
            _ => {
                let told =
                    Success::CompareAndSwap { revision, index, swapped: yes, entry: Some(entry) };
                (swap(holds("a"), Some(value)), told)
            }
        };
        let outcome = if fate == 0 && op.is_write() { None } else { Some(Outcome::Done(told)) };
        Operation { client: 1, invoked, ended: Some(invoked + length), op, outcome }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_search_finds_an_order_exactly_where_there_is_one(
        history in prop::collection::vec(operation(), 0..6)
    ) {
        let all: Vec<_> = history.iter().collect();
        let verdict = wgl::check(&history, BUDGET);
        prop_assert_eq!(has_order(&all, &None), verdict == Verdict::Linearizable);
        if let Verdict::Violation(example) = verdict {
            let shown: Vec<_> = example.operations.iter().collect();
            prop_assert!(!has_order(&shown, &None), "the counterexample is one:\n{}", example);
        }
    }
}
