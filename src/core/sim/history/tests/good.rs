//! Histories of a store that does all right. Every check must let them pass.

use super::*;
use quorate_core::wire::client::Consistency;

#[test]
fn an_empty_history_passes() {
    assert_eq!(Run::new().passes(), (0, 0));
}

#[test]
fn writes_and_reads_one_after_the_other_pass() {
    let mut run = Run::new();
    run.done(1, (0, 10), get());
    run.done(1, (20, 30), put("a"));
    run.done(2, (40, 50), get());
    run.done(1, (60, 70), append("b"));
    run.done(2, (80, 90), get());
    run.passes();
}

#[test]
fn concurrent_writes_may_take_effect_against_the_order_of_their_calls() {
    let mut run = Run::new();
    run.done(2, (10, 90), put("b"));
    run.done(1, (0, 100), put("a"));
    run.done(3, (20, 110), get());
    run.done(3, (120, 130), get());
    run.passes();
}

#[test]
fn concurrent_reads_may_see_a_write_or_not() {
    let mut run = Run::new();
    run.done(2, (10, 80), get());
    run.done(3, (5, 20), get());
    run.done(1, (0, 100), put("a"));
    run.done(4, (30, 60), get());
    run.passes();
}

#[test]
fn a_read_that_sees_a_write_before_its_answer_passes() {
    let mut run = Run::new();
    run.done(1, (0, 1_000), put("a"));
    run.done(2, (10, 20), get());
    run.done(2, (30, 40), get());
    run.passes();
}

#[test]
fn an_unknown_write_that_never_shows_passes() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    run.unknown(2, (20, 30), put("b"));
    run.done(1, (40, 50), get());
    run.done(1, (60, 70), append("c"));
    assert_eq!(run.passes(), (0, 0));
}

#[test]
fn an_unknown_write_that_later_shows_passes() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    let unknown = run.unknown(2, (20, 30), put("b"));
    run.takes_effect(unknown);
    run.done(1, (40, 50), get());
    assert_eq!(run.passes(), (1, 1));
}

#[test]
fn an_unknown_write_may_take_effect_late_between_two_reads() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    let unknown = run.unknown(2, (20, 30), append("b"));
    run.done(1, (40, 50), get());
    run.takes_effect(unknown);
    run.done(1, (60, 70), get());
    assert_eq!(run.passes(), (1, 1));
}

#[test]
fn a_pending_write_may_show_at_the_end() {
    let mut run = Run::new();
    let pending = run.pending(2, 5, put("a"));
    run.pending(3, 6, get());
    run.done(1, (0, 10), get());
    run.takes_effect(pending);
    run.done(1, (20, 30), get());
    assert_eq!(run.passes(), (1, 1));
}

#[test]
fn an_unknown_write_that_was_overwritten_shows_by_the_version_only() {
    let mut run = Run::new();
    let unknown = run.unknown(2, (0, 10), put("a"));
    run.unknown(2, (0, 10), put("never"));
    run.takes_effect(unknown);
    run.done(1, (20, 30), put("b"));
    run.done(1, (40, 50), put("c"));
    run.done(1, (60, 70), get());
    assert_eq!(run.passes(), (1, 1));
}

#[test]
fn several_unknown_writes_show_one_by_one() {
    let mut run = Run::new();
    let unknown: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h"]
        .iter()
        .map(|value| run.unknown(2, (0, 10), append(value)))
        .collect();
    run.takes_effect(unknown[3]);
    run.takes_effect(unknown[1]);
    run.done(1, (20, 30), get());
    run.done(1, (40, 50), append("x"));
    run.takes_effect(unknown[7]);
    run.done(1, (60, 70), get());
    assert_eq!(run.passes(), (3, 3));
}

#[test]
fn an_unknown_write_of_another_key_only_raises_the_revision() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    let other = run.unknown(2, (20, 30), put_to("other", "b"));
    run.unknown(2, (20, 30), put("c"));
    run.takes_effect(other);
    run.done(1, (40, 50), append("d"));
    run.done(1, (60, 70), get());
    assert_eq!(run.passes(), (1, 0));
}

#[test]
fn a_retried_write_is_answered_with_its_first_execution() {
    let mut run = Run::new();
    run.done(1, (0, 500), append("a"));
    run.done(2, (10, 20), append("b"));
    run.done(2, (30, 40), get());
    run.done(1, (510, 520), get());
    run.passes();
}

#[test]
fn a_retried_read_is_served_late_in_its_window() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    run.noop();
    run.done(1, (20, 30), put("b"));
    run.done(2, (5, 100), get());
    run.done(1, (110, 120), get());
    run.passes();
}

#[test]
fn a_chain_of_swaps_passes() {
    let mut run = Run::new();
    run.done(1, (0, 10), swap(Expect::Absent, Some("a")));
    run.done(2, (0, 15), swap(Expect::Absent, Some("b")));
    run.done(2, (20, 30), swap(holds("a"), Some("b")));
    run.done(1, (40, 50), swap(holds("a"), Some("c")));
    run.done(1, (60, 70), swap(Expect::ModRevision(3), Some("d")));
    run.done(2, (60, 75), swap(Expect::ModRevision(3), Some("e")));
    run.done(2, (80, 90), swap(holds("d"), None));
    run.done(2, (91, 95), swap(Expect::Absent, None));
    run.done(1, (100, 110), get());
    run.passes();
}

#[test]
fn an_unknown_swap_by_revision_may_have_won() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    let unknown = run.unknown(2, (20, 30), swap(Expect::ModRevision(2), Some("b")));
    run.takes_effect(unknown);
    run.done(1, (40, 50), swap(Expect::ModRevision(2), Some("c")));
    run.done(1, (60, 70), get());
    assert_eq!(run.passes(), (1, 1));
}

#[test]
fn increments_add_up() {
    let mut run = Run::new();
    run.done(1, (0, 10), increment(5));
    let unknown = run.unknown(2, (0, 10), increment(5));
    run.done(1, (20, 30), increment(-7));
    run.takes_effect(unknown);
    run.done(2, (20, 40), increment(1));
    run.done(1, (50, 60), get());
    assert_eq!(run.passes(), (1, 1));
}

#[test]
fn what_the_data_refuse_has_no_effect() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    run.done(2, (20, 30), increment(1));
    run.done(2, (40, 50), append(&"x".repeat(1_000)));
    run.refused(3, (40, 50), put("c"));
    run.done(1, (60, 70), get());
    assert!(matches!(run.history[1].outcome, Some(Outcome::NotExecuted(_))));
    assert!(matches!(run.history[2].outcome, Some(Outcome::NotExecuted(_))));
    run.passes();
    let refused = run.history[1].op.clone();
    run.log.insert(1, LoggedWrite { index: 2, op: refused });
    run.passes();
}

#[test]
fn a_key_that_is_made_anew_begins_at_version_1() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    run.done(1, (20, 30), put("b"));
    run.done(1, (40, 50), delete());
    run.done(1, (60, 70), delete());
    run.done(1, (80, 90), get());
    run.done(1, (100, 110), replace("c"));
    run.done(1, (120, 130), replace("d"));
    run.done(1, (140, 150), get());
    run.passes();
}

#[test]
fn an_unknown_delete_between_two_writes_shows_by_version_1() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    let unknown = run.unknown(2, (20, 30), delete());
    run.takes_effect(unknown);
    run.done(1, (40, 50), put("b"));
    run.done(1, (60, 70), get());
    assert_eq!(run.passes(), (1, 1));
}

#[test]
fn a_stale_read_may_lie_in_the_past_but_must_have_been_true() {
    let mut run = Run::new();
    let stale = Get { key: bytes("k"), consistency: Consistency::Stale, ..Get::default() };
    run.done(1, (0, 10), put("a"));
    let past = run.done(2, (100, 110), Op::Get(stale));
    run.done(1, (20, 30), put("b"));
    run.done(2, (120, 130), get());
    run.passes();
    run.shown(past).value = bytes("never");
    assert_eq!(run.broken(), (Some(Rule::Answer), Some(Rule::Answer), false));
}

#[test]
fn keys_are_checked_apart_and_revisions_together() {
    let mut run = Run::new();
    for round in 0..40 {
        let (at, key) = (round * 100, format!("key {}", round % 5));
        run.done(1, (at, at + 50), put_to(&key, &round.to_string()));
        run.done(2, (at + 10, at + 90), get_of(&key));
        run.noop();
    }
    run.passes();
}
