//! What a person gets to read, and what the search costs.

use super::*;

fn assert_text(found: &str, expected: &str) {
    let trimmed: Vec<_> = found.lines().map(str::trim_end).collect();
    assert_eq!(trimmed.join("\n"), expected.trim_matches('\n'), "\n{found}");
}

#[test]
fn a_counterexample_is_the_shortest_prefix_as_a_timeline() {
    let mut run = Run::new();
    run.done(1, (1_000, 2_100), put("a"));
    run.done(3, (2_150, 2_160), get());
    let stale = run.done(2, (3_500, 4_000), get());
    run.done(1, (2_200, 3_200), put("b"));
    run.unknown(3, (3_000, 9_000), append("c"));
    run.done(2, (10_000, 11_000), get());
    run.done(2, (12_000, 13_000), put("d"));
    if let Success::Get { index, revision, .. } = run.told(stale) {
        (*index, *revision) = (2, 3);
    }
    let Verdict::Violation(example) = run.wgl() else { panic!("no violation") };
    assert_eq!(wgl::check(&example.operations, BUDGET), Verdict::Violation(example.clone()));
    assert_text(
        &example.to_string(),
        r#"
key "k": no order of these operations explains the answers
  client 1   put "a"        ||         1.000 ms .. 2.100 ms  ok
  client 1   put "b"          |-|      2.200 ms .. 3.200 ms  ok
  client 3   append "c"        |---->  3.000 ms .. 9.000 ms  unknown
  client 2   get -> "a" v1       ||    3.500 ms .. 4.000 ms  ok
the first answer that cannot be:
  client 2   get -> "a" v1  3.500 ms .. 4.000 ms  ok
"#,
    );
}

#[test]
fn a_violation_names_the_rule_and_what_should_have_been() {
    let mut run = Run::new();
    run.done(1, (1_000, 2_100), put("a"));
    let read = run.done(2, (3_000, 4_000), get());
    run.shown(read).value = bytes("a value that is far too long to be shown as a whole");
    let violation = witness::check(&run.history).unwrap_err();
    assert_text(
        &violation.to_string(),
        r#"
Answer: before its index 1 the key was "a" at version 1
  key "k"  client 2   get -> "…g to be shown as a whole" (51 bytes) v1  3.000 ms .. 4.000 ms  ok
"#,
    );
}

#[test]
fn a_long_timeline_shows_its_end() {
    let mut run = Run::new();
    for round in 0..100 {
        run.done(1, (10 * round, 10 * round + 5), append("a"));
    }
    let read = run.done(2, (2_000, 2_001), get());
    run.shown(read).value = bytes("b");
    let Verdict::Violation(example) = run.wgl() else { panic!("no violation") };
    let text = example.to_string();
    assert!(text.contains("(53 earlier operations are not shown)"), "{text}");
    assert!(text.lines().count() < 60, "{text}");
    assert!(text.lines().all(|line| line.chars().count() < 120), "{text}");
}

#[test]
fn a_search_out_of_budget_is_unknown_and_no_verdict() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    run.done(1, (20, 30), get());
    assert_eq!(wgl::check(&run.history, 1), Verdict::Unknown { key: bytes("k"), steps: 1 });
    assert_eq!(wgl::check(&run.history, 2), Verdict::Linearizable);
}

#[test]
fn without_budget_the_order_of_the_indexes_counts_only_if_it_explains_all() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    run.done(1, (20, 30), put("b"));
    let read = run.done(1, (40, 50), get());
    assert_eq!(wgl::check_or_guess(&run.history, 1), Verdict::Linearizable);
    let good = run.history.clone();
    if let Success::Get { entry: Some(entry), .. } = run.told(read) {
        entry.value = bytes("a");
    }
    let unknown = Verdict::Unknown { key: bytes("k"), steps: 1 };
    assert_eq!(wgl::check_or_guess(&run.history, 1), unknown, "an answer is not explained");
    run.history = good;
    // The second put ends before the first is called: its index is a lie.
    run.history[0].invoked = 35;
    run.history[0].ended = Some(38);
    assert_eq!(wgl::check_or_guess(&run.history, 1), unknown, "real time is not kept");
}

#[test]
fn a_violation_of_one_key_counts_more_than_the_budget_of_another() {
    let mut run = Run::new();
    for round in 0..8 {
        run.done(1, (20 * round, 20 * round + 10), put_to("a", "a"));
    }
    let read = run.done(1, (200, 210), get());
    if let Success::Get { entry, .. } = run.told(read) {
        *entry = Some(KeyValue {
            key: bytes("k"),
            value: bytes("a"),
            create_revision: 1,
            mod_revision: 1,
            version: 1,
            lease: 0,
        });
    }
    assert!(matches!(wgl::check(&run.history, 4), Verdict::Violation(_)));
}

#[test]
fn too_many_unknown_writes_are_undecided_and_a_failure() {
    let mut run = Run::new();
    let unknown: Vec<_> =
        (0..12).map(|number| run.unknown(2, (0, 10), append(&number.to_string()))).collect();
    for operation in unknown {
        run.takes_effect(operation);
    }
    let read = run.done(1, (20, 30), get());
    assert!(witness::check_with_log(&run.history, &run.log).is_ok());
    run.shown(read).value = bytes("never");
    run.fails_undecided();
}

impl Run {
    fn fails_undecided(&self) {
        let rule = witness::check(&self.history).unwrap_err().rule;
        assert_eq!(rule, Rule::Decidable);
        assert!(matches!(self.wgl(), Verdict::Unknown { .. }));
        let exact = witness::check_with_log(&self.history, &self.log).unwrap_err();
        assert_eq!(exact.rule, Rule::Answer);
    }
}

/// Two hundred operations of ten clients, all concurrent to about ten others, each tenth write
/// without an answer and half of those executed.
fn crowded() -> Run {
    let mut run = Run::new();
    for round in 0..200_u64 {
        let (moment, value) = (1_000 + 10 * round, format!("{round},"));
        let times = (moment - 7 * (round * 13 % 8), moment + 6 * (round * 7 % 9));
        let client = round % 10;
        let op = match round % 5 {
            0 | 1 => append(&value),
            2 => put(&value),
            _ => get(),
        };
        if round % 10 == 0 {
            let unknown = run.unknown(client + 10, times, op);
            if round % 20 == 0 {
                run.takes_effect(unknown);
            }
        } else {
            run.done(client, times, op);
        }
    }
    run
}

#[test]
fn two_hundred_crowded_operations_cost_the_search_few_steps() {
    let run = crowded();
    assert_eq!(run.passes(), (10, 10));
    assert_eq!(wgl::check(&run.history, 10_000), Verdict::Linearizable);
}

#[test]
fn a_lie_in_two_hundred_crowded_operations_costs_few_steps_too() {
    let mut run = crowded();
    run.shown(43).value = bytes("never");
    let verdict = wgl::check(&run.history, 30_000);
    assert!(matches!(verdict, Verdict::Violation(_)), "{verdict:?}");
}
