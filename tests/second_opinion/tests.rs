//! Histories that are right and histories that are wrong, each with its verdict.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// A call to the key `k` between two times, which ended in success.
fn ok(times: (u64, u64), op: &Value, result: &Value) -> Value {
    ended(times, op, &json!({ "outcome": "ok", "result": result }))
}

fn unknown(times: (u64, u64), op: &Value) -> Value {
    ended(times, op, &json!({ "outcome": "unknown", "reason": "test" }))
}

fn failed(times: (u64, u64), op: &Value) -> Value {
    ended(times, op, &json!({ "outcome": "failed", "reason": "test" }))
}

fn ended((invoked, ended): (u64, u64), op: &Value, how: &Value) -> Value {
    let mut line = json!({ "client": 1, "key": "k", "invoked_ns": invoked, "ended_ns": ended });
    for part in [op, how] {
        for (name, value) in part.as_object().unwrap() {
            line[name] = value.clone();
        }
    }
    line
}

fn put(value: &str) -> Value {
    json!({ "op": "put", "value": value, "return_previous": false })
}

fn append(value: &str) -> Value {
    json!({ "op": "append", "value": value })
}

fn increment(by: i64) -> Value {
    json!({ "op": "increment", "by": by })
}

fn swap(expect: &Value, value: Option<&str>) -> Value {
    json!({ "op": "compare_and_swap", "expect": expect, "value": value })
}

/// An answer with these numbers, as revision and index.
fn at(number: u64, more: Value) -> Value {
    let mut result = more;
    result["revision"] = number.into();
    result["index"] = number.into();
    result
}

fn entry(value: &str, created: u64, modified: u64, version: u64) -> Value {
    json!({ "key": "k", "value": value, "create_revision": created, "mod_revision": modified, "version": version, "lease": 0 })
}

/// A read that found this.
fn get(times: (u64, u64), number: u64, found: &Value) -> Value {
    let op = json!({ "op": "get", "consistency": "linearizable" });
    ok(times, &op, &at(number, json!({ "entry": found })))
}

fn calls(lines: &[Value]) -> Vec<Timed> {
    let text: Vec<String> = lines.iter().map(Value::to_string).collect();
    call::parse(&text.join("\n")).unwrap().remove(&b"k"[..]).unwrap_or_default()
}

fn verdict_of(lines: &[Value]) -> Verdict {
    verdict::judge(&calls(lines), LIMIT)
}

fn assert_right(lines: &[Value]) {
    assert_eq!(verdict_of(lines), Verdict::Linearizable);
}

fn assert_wrong(lines: &[Value]) {
    assert_eq!(verdict_of(lines), Verdict::Illegal);
}

/// Every operation once, one after another.
fn good() -> Vec<Value> {
    let absent = Value::Null;
    let put_again = json!({ "op": "put", "value": "4", "return_previous": true });
    let delete = json!({ "op": "delete", "return_previous": true });
    let mut last = get((18, 19), 8, &entry("a", 8, 8, 1));
    last["result"]["index"] = 10.into();
    let delete_again = json!({ "op": "delete", "return_previous": false });
    vec![
        ok(
            (0, 1),
            &swap(&absent, Some("1")),
            &at(2, json!({ "swapped": true, "entry": entry("1", 2, 2, 1) })),
        ),
        ok((2, 3), &append("0"), &at(3, json!({ "length": 2 }))),
        ok((4, 5), &increment(-3), &at(4, json!({ "number": 7 }))),
        ok((6, 7), &put_again, &at(5, json!({ "previous": entry("7", 2, 4, 3) }))),
        ok(
            (8, 9),
            &swap(&json!({ "value": "5" }), Some("6")),
            &json!({ "revision": 5, "index": 6, "swapped": false, "entry": entry("4", 2, 5, 4) }),
        ),
        ok(
            (10, 11),
            &swap(&json!({ "mod_revision": 5 }), Some("6")),
            &json!({ "revision": 6, "index": 7, "swapped": true, "entry": entry("6", 2, 6, 5) }),
        ),
        ok(
            (12, 13),
            &delete,
            &json!({ "revision": 7, "index": 8, "deleted": 1, "previous": entry("6", 2, 6, 5) }),
        ),
        ok((14, 15), &delete_again, &json!({ "revision": 7, "index": 9, "deleted": 0 })),
        ok((16, 17), &put("a"), &json!({ "revision": 8, "index": 10 })),
        last,
    ]
}

#[test]
fn a_good_history_is_linearizable() {
    assert_right(&good());
}

#[test]
fn every_wrong_answer_of_it_is_illegal() {
    let paths: [(usize, &[&str], Value); 12] = [
        (0, &["result", "swapped"], json!(false)),
        (0, &["result", "entry", "value"], json!("2")),
        (1, &["result", "length"], json!(3)),
        (1, &["result", "revision"], json!(2)),
        (1, &["result", "index"], json!(2)),
        (2, &["result", "number"], json!(8)),
        (3, &["result", "previous", "version"], json!(2)),
        (4, &["result", "revision"], json!(4)),
        (5, &["result", "entry", "mod_revision"], json!(5)),
        (6, &["result", "previous", "create_revision"], json!(3)),
        (7, &["result", "deleted"], json!(1)),
        (9, &["result", "entry"], Value::Null),
    ];
    for (line, path, wrong) in paths {
        let mut history = good();
        let place = path.iter().fold(&mut history[line], |value, name| &mut value[*name]);
        *place = wrong;
        assert_eq!(verdict_of(&history), Verdict::Illegal, "call {line}, {path:?}");
    }
}

#[test]
fn a_stale_read_is_illegal() {
    let history = [
        ok((0, 1), &put("a"), &at(2, json!({}))),
        ok((2, 3), &put("b"), &at(3, json!({}))),
        get((4, 5), 3, &entry("a", 2, 2, 1)),
    ];
    assert_wrong(&history);
}

#[test]
fn a_read_of_the_past_is_right_while_the_write_goes_on_and_wrong_after_it() {
    let first = ok((0, 1), &put("a"), &at(2, json!({})));
    let slow = |ended| ok((2, ended), &put("b"), &at(3, json!({})));
    let read = get((5, 6), 2, &entry("a", 2, 2, 1));
    assert_right(&[first.clone(), slow(10), read.clone()]);
    assert_right(&[first.clone(), slow(5), read.clone()]);
    assert_wrong(&[first, slow(4), read]);
}

#[test]
fn a_lost_write_is_illegal() {
    assert_wrong(&[ok((0, 1), &put("a"), &at(2, json!({}))), get((2, 3), 2, &Value::Null)]);
}

#[test]
fn a_doubled_append_is_illegal() {
    let one = ok((0, 1), &append("a"), &at(2, json!({ "length": 1 })));
    assert_wrong(&[one.clone(), get((2, 3), 3, &entry("aa", 2, 3, 2))]);
    assert_wrong(&[one, get((2, 3), 2, &entry("aa", 2, 2, 1))]);
    assert_wrong(&[unknown((0, 1), &append("a")), get((2, 3), 3, &entry("aa", 2, 3, 2))]);
}

#[test]
fn a_doubled_increment_is_illegal() {
    let one = ok((0, 1), &increment(1), &at(2, json!({ "number": 1 })));
    assert_wrong(&[one.clone(), get((2, 3), 3, &entry("2", 2, 3, 2))]);
    assert_wrong(&[one, ok((2, 3), &increment(1), &at(4, json!({ "number": 3 })))]);
}

#[test]
fn a_failed_write_that_took_effect_is_illegal() {
    for op in [put("a"), append("a"), swap(&Value::Null, Some("a"))] {
        assert_wrong(&[failed((0, 1), &op), get((2, 3), 2, &entry("a", 2, 2, 1))]);
        assert_right(&[failed((0, 1), &op), get((2, 3), 1, &Value::Null)]);
    }
}

#[test]
fn an_unknown_write_takes_effect_once_at_any_time_or_never() {
    let write = unknown((0, 1), &put("a"));
    let nothing = get((2, 3), 1, &Value::Null);
    let there = get((4, 5), 2, &entry("a", 2, 2, 1));
    let gone = get((6, 7), 2, &Value::Null);
    assert_right(&[write.clone(), nothing.clone()]);
    assert_right(&[write.clone(), nothing.clone(), there.clone()]);
    assert_wrong(&[write, nothing, there.clone(), gone]);
    assert_wrong(&[there, unknown((6, 7), &put("a"))]);
}

#[test]
fn an_unknown_writes_revision_is_what_the_first_answer_shows() {
    let write = unknown((0, 1), &put("a"));
    let expects = |revision: u64| swap(&json!({ "mod_revision": revision }), None);
    let first = get((2, 3), 9, &entry("a", 5, 5, 1));
    assert_right(&[write.clone(), first.clone(), get((4, 5), 9, &entry("a", 5, 5, 1))]);
    assert_wrong(&[write.clone(), first, get((4, 5), 9, &entry("a", 6, 6, 1))]);
    let swapped = json!({ "revision": 7, "index": 7, "swapped": true, "entry": null });
    assert_right(&[write.clone(), ok((2, 3), &expects(6), &swapped)]);
    assert_wrong(&[write, ok((2, 3), &expects(1), &swapped)]);
}

#[test]
fn an_unknown_swap_takes_effect_only_on_what_it_expects() {
    let first = ok((0, 1), &put("a"), &at(2, json!({})));
    let there = get((4, 5), 3, &entry("b", 2, 3, 2));
    let swap = |expect: Value| unknown((2, 3), &swap(&expect, Some("b")));
    assert_right(&[first.clone(), swap(json!({ "mod_revision": 2 })), there.clone()]);
    assert_right(&[first.clone(), swap(json!({ "value": "a" })), there.clone()]);
    assert_wrong(&[first.clone(), swap(json!({ "mod_revision": 1 })), there.clone()]);
    assert_wrong(&[first.clone(), swap(json!({ "value": "b" })), there.clone()]);
    assert_wrong(&[first, swap(Value::Null), there]);
}

#[test]
fn an_increment_of_what_is_no_number_is_never_answered() {
    let first = ok((0, 1), &put("a"), &at(2, json!({})));
    assert_wrong(&[first.clone(), ok((2, 3), &increment(1), &at(3, json!({ "number": 1 })))]);
    assert_right(&[first, unknown((2, 3), &increment(1)), get((4, 5), 2, &entry("a", 2, 2, 1))]);
}

#[test]
fn reads_that_may_be_stale_are_not_judged() {
    let mut stale = get((4, 5), 1, &Value::Null);
    stale["consistency"] = "stale".into();
    assert_right(&[ok((0, 1), &put("a"), &at(2, json!({}))), stale]);
}

#[test]
fn bytes_that_are_no_text_are_read() {
    let value = json!({ "hex": "00ff" });
    let write = json!({ "op": "put", "value": value });
    let mut found = entry("", 2, 2, 1);
    found["value"] = value;
    assert_right(&[ok((0, 1), &write, &at(2, json!({}))), get((2, 3), 2, &found)]);
}

#[test]
fn what_takes_too_long_is_undecided_and_no_success() {
    let verdict = verdict::judge(&calls(&good()), Duration::ZERO);
    assert_eq!(verdict, Verdict::Undecided);
    let mut tally = Tally::default();
    tally.count(verdict, &calls(&good()));
    assert_eq!(tally.exit_code(false), ExitCode::from(3));
    tally.count(Verdict::Illegal, &[]);
    assert_eq!(tally.exit_code(false), ExitCode::from(1));
    assert_eq!(tally.exit_code(true), ExitCode::from(3));
}

#[test]
fn the_last_call_of_the_shortest_beginning_is_the_wrong_one() {
    let mut history = good();
    history[5]["result"]["revision"] = 5.into();
    let shortest = verdict::shortest(&calls(&history), LIMIT);
    assert_eq!(shortest.len(), 6);
    assert_eq!(shortest.last().map(|timed| timed.invoked_ns), Some(10));
}

#[test]
fn the_control_spoils_a_read_so_that_it_is_illegal() {
    let history = [
        ok((0, 1), &append("a"), &at(2, json!({ "length": 1 }))),
        get((2, 3), 2, &entry("a", 2, 2, 1)),
        ok((4, 5), &append("b"), &at(3, json!({ "length": 2 }))),
        get((6, 7), 3, &entry("ab", 2, 3, 2)),
    ];
    let spoilt = spoil::with_a_stale_read(&calls(&history)).unwrap();
    assert_eq!(verdict::judge(&spoilt, LIMIT), Verdict::Illegal);
    assert!(spoil::with_a_stale_read(&calls(&history[..3])).is_none());
}

#[test]
fn a_file_that_is_no_history_is_named_with_its_line() {
    let error = |text: &str| call::parse(text).unwrap_err().to_string();
    assert_eq!(error(""), "there is nothing to judge");
    let good = good().remove(0).to_string();
    assert!(error(&format!("{good}\n{{}}")).starts_with("line 2: "));
    let unanswered = good.replace("\"result\"", "\"other\"");
    assert!(error(&unanswered).contains("without an answer"), "{}", error(&unanswered));
}
