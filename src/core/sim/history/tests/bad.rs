//! Histories that no linearizable store makes. Each check must see it, unless only the servers'
//! numbers are wrong, of which the search of Wing and Gong knows nothing.

use super::*;

#[test]
fn a_lost_write_is_seen() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    run.elsewhere(|run| {
        run.done(1, (20, 30), put("b"));
    });
    run.done(1, (40, 50), get());
    run.fails(Rule::RealTime, Rule::RealTime);
}

#[test]
fn a_lost_write_is_seen_where_later_entries_hide_its_index() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    run.elsewhere(|run| {
        run.done(1, (20, 30), put("b"));
    });
    run.noop();
    run.done(1, (40, 50), get());
    run.fails(Rule::Revision, Rule::Execution);
}

#[test]
fn a_doubled_append_is_seen() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    let doubled = run.done(1, (20, 30), append("b"));
    run.takes_effect(doubled);
    run.done(1, (40, 50), get());
    run.fails(Rule::Revision, Rule::Execution);
}

#[test]
fn a_doubled_append_is_seen_where_an_unknown_write_hides_the_revision() {
    let mut run = Run::new();
    let doubled = run.done(1, (20, 30), append("b"));
    run.unknown(2, (0, 10), append("c"));
    run.takes_effect(doubled);
    run.done(1, (40, 50), get());
    run.fails(Rule::Answer, Rule::Execution);
}

#[test]
fn a_stale_read_is_seen() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    run.elsewhere(|run| {
        run.done(2, (40, 50), get());
    });
    run.done(1, (20, 30), put("b"));
    run.fails(Rule::RealTime, Rule::RealTime);
}

#[test]
fn a_stale_read_with_a_fresh_index_is_seen() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    let stale = run.done(2, (40, 50), get());
    run.done(1, (20, 30), put("b"));
    if let Success::Get { index, revision, .. } = run.told(stale) {
        (*index, *revision) = (2, 3);
    }
    run.fails(Rule::Answer, Rule::Answer);
}

#[test]
fn a_read_that_goes_back_in_time_is_seen() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    run.done(3, (50, 60), get());
    let pending = run.pending(2, 20, put("b"));
    run.takes_effect(pending);
    run.done(3, (30, 40), get());
    run.fails(Rule::RealTime, Rule::RealTime);
}

#[test]
fn a_read_from_the_future_is_seen() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    run.done(1, (60, 70), put("b"));
    run.done(2, (40, 50), get());
    run.fails(Rule::RealTime, Rule::RealTime);
}

#[test]
fn two_swaps_that_both_win_are_seen() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    run.elsewhere(|run| {
        run.done(1, (20, 50), swap(holds("a"), Some("b")));
    });
    run.noop();
    run.done(2, (20, 50), swap(holds("a"), Some("c")));
    run.fails(Rule::Revision, Rule::Execution);
}

#[test]
fn two_swaps_by_one_revision_that_both_win_are_seen_by_the_revision() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    run.done(1, (20, 30), swap(Expect::ModRevision(2), Some("b")));
    let lie = run.done(2, (20, 30), swap(holds("b"), Some("c")));
    run.history[lie].op = swap(Expect::ModRevision(2), Some("c"));
    run.fails_by_numbers(Rule::Answer, Rule::Execution);
}

#[test]
fn a_swap_that_is_refused_though_it_fits_is_seen() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    let refused = run.done(2, (20, 30), swap(holds("x"), Some("b")));
    run.history[refused].op = swap(holds("a"), Some("b"));
    run.log[1].op = swap(holds("a"), Some("b"));
    run.fails(Rule::Answer, Rule::Answer);
}

#[test]
fn a_write_at_an_index_below_what_had_ended_is_seen() {
    let mut run = Run::new();
    run.done(1, (20, 30), put_to("x", "a"));
    run.done(1, (0, 10), put_to("y", "b"));
    run.fails_by_numbers(Rule::RealTime, Rule::RealTime);
}

#[test]
fn a_write_at_the_index_of_a_read_that_had_ended_is_seen() {
    let mut run = Run::new();
    run.done(1, (20, 30), put_to("x", "a"));
    run.done(1, (0, 10), get_of("y"));
    run.fails_by_numbers(Rule::RealTime, Rule::RealTime);
}

#[test]
fn one_index_twice_is_seen() {
    let mut run = Run::new();
    run.elsewhere(|run| {
        run.done(1, (0, 10), put_to("x", "a"));
    });
    run.done(2, (0, 10), put_to("y", "b"));
    run.fails_by_numbers(Rule::Index, Rule::Index);
}

#[test]
fn a_write_said_not_to_be_executed_that_shows_is_seen() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    let refused = run.refused(2, (20, 30), put("b"));
    run.takes_effect(refused);
    run.done(1, (40, 50), get());
    run.fails(Rule::Revision, Rule::Execution);
}

#[test]
fn a_write_said_not_to_be_executed_is_seen_in_the_log_even_if_it_never_shows() {
    let mut run = Run::new();
    let refused = run.refused(2, (20, 30), put("b"));
    run.takes_effect(refused);
    assert_eq!(run.broken(), (None, Some(Rule::Execution), false));
}

#[test]
fn an_unknown_write_that_shows_twice_is_seen() {
    let mut run = Run::new();
    let unknown = run.unknown(2, (0, 10), append("b"));
    run.takes_effect(unknown);
    run.done(1, (20, 30), get());
    run.takes_effect(unknown);
    run.done(1, (40, 50), get());
    run.fails(Rule::Revision, Rule::Execution);
}

#[test]
fn an_unknown_write_that_comes_back_is_seen() {
    let mut run = Run::new();
    let unknown = run.unknown(2, (0, 10), put("b"));
    run.unknown(2, (0, 10), put("c"));
    run.takes_effect(unknown);
    run.done(1, (12, 15), get());
    run.done(1, (20, 30), put("d"));
    run.takes_effect(unknown);
    run.done(1, (40, 50), get());
    run.fails(Rule::Answer, Rule::Execution);
}

#[test]
fn an_unknown_write_that_shows_before_its_call_is_seen() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    let unknown = run.unknown(2, (60, 70), put("b"));
    run.takes_effect(unknown);
    run.done(1, (40, 50), get());
    run.fails(Rule::Revision, Rule::Execution);
}

#[test]
fn a_doubled_increment_is_seen() {
    let mut run = Run::new();
    let doubled = run.done(1, (0, 10), increment(3));
    run.takes_effect(doubled);
    run.done(1, (20, 30), increment(1));
    run.fails(Rule::Revision, Rule::Execution);
}

#[test]
fn a_delete_that_deletes_nothing_though_it_should_is_seen() {
    let mut run = Run::new();
    run.elsewhere(|run| {
        run.done(1, (20, 30), delete());
    });
    run.done(1, (0, 10), put("a"));
    run.history.reverse();
    if let Success::Delete { index, revision, .. } = run.told(1) {
        (*index, *revision) = (2, 2);
    }
    run.log.push(LoggedWrite { index: 2, op: delete() });
    run.fails(Rule::Answer, Rule::Answer);
}

#[test]
fn a_delete_that_does_not_last_is_seen() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    run.elsewhere(|run| {
        run.done(1, (20, 30), delete());
    });
    run.noop();
    let read = run.done(1, (40, 50), get());
    if let Success::Get { revision, .. } = run.told(read) {
        *revision += 1;
    }
    run.fails(Rule::Answer, Rule::Execution);
}

/// One answer of a right history, falsified.
fn falsified(op: Op, falsify: impl FnOnce(&mut Run, usize)) -> Run {
    let mut run = Run::new();
    run.done(1, (0, 10), put("7"));
    run.done(1, (20, 30), increment(1));
    let lie = run.done(2, (40, 50), op);
    run.passes();
    falsify(&mut run, lie);
    run
}

#[test]
fn a_wrong_value_is_seen() {
    falsified(get(), |run, lie| run.shown(lie).value = bytes("7"))
        .fails(Rule::Answer, Rule::Answer);
}

#[test]
fn a_wrong_version_is_seen() {
    falsified(get(), |run, lie| run.shown(lie).version += 1).fails(Rule::Answer, Rule::Answer);
}

#[test]
fn a_wrong_previous_entry_is_seen() {
    falsified(replace("9"), |run, lie| run.shown(lie).version -= 1)
        .fails(Rule::Answer, Rule::Answer);
    falsified(replace("9"), |run, lie| {
        if let Success::Put { previous, .. } = run.told(lie) {
            *previous = Some(None);
        }
    })
    .fails(Rule::Answer, Rule::Answer);
}

#[test]
fn a_wrong_length_is_seen() {
    falsified(append("x"), |run, lie| {
        if let Success::Append { length, .. } = run.told(lie) {
            *length += 1;
        }
    })
    .fails(Rule::Answer, Rule::Answer);
}

#[test]
fn a_wrong_number_is_seen() {
    falsified(increment(4), |run, lie| {
        if let Success::Increment { number, .. } = run.told(lie) {
            *number -= 4;
        }
    })
    .fails(Rule::Answer, Rule::Answer);
}

#[test]
fn wrong_revisions_are_seen() {
    falsified(get(), |run, lie| run.shown(lie).create_revision += 1)
        .fails_by_numbers(Rule::Answer, Rule::Answer);
    falsified(get(), |run, lie| run.shown(lie).mod_revision -= 1)
        .fails_by_numbers(Rule::Answer, Rule::Answer);
    falsified(append("x"), |run, lie| {
        if let Success::Append { revision, .. } = run.told(lie) {
            *revision += 1;
        }
    })
    .fails_by_numbers(Rule::Revision, Rule::Revision);
}

#[test]
fn a_revision_that_rises_more_often_than_the_index_is_seen() {
    let mut run = Run::new();
    run.done(1, (0, 10), put("a"));
    run.pending(2, 0, put_to("other", "b"));
    run.pending(3, 0, put_to("other", "c"));
    run.noop();
    let read = run.done(1, (20, 30), get());
    if let Success::Get { revision, .. } = run.told(read) {
        *revision += 2;
    }
    run.fails_by_numbers(Rule::Revision, Rule::Revision);
}

#[test]
fn a_wrong_lease_or_key_is_seen() {
    falsified(get(), |run, lie| run.shown(lie).lease = 1).fails(Rule::Answer, Rule::Answer);
    falsified(get(), |run, lie| run.shown(lie).key = bytes("x")).fails(Rule::Answer, Rule::Answer);
}

#[test]
fn the_answer_to_another_operation_is_seen() {
    falsified(get(), |run, lie| *run.told(lie) = Success::Empty).fails(Rule::Index, Rule::Index);
}

#[test]
fn a_write_that_was_answered_and_is_not_in_the_log_is_seen() {
    let mut run = falsified(put("a"), |run, _| run.noop());
    run.log.pop();
    assert_eq!(run.broken(), (None, Some(Rule::Execution), false));
}

#[test]
fn a_write_that_nobody_asked_for_is_seen_in_the_log() {
    let mut run = Run::new();
    run.log.push(LoggedWrite { index: 4, op: put("a") });
    assert_eq!(run.broken(), (None, Some(Rule::Execution), false));
    run.log.push(LoggedWrite { index: 4, op: put("b") });
    assert_eq!(run.broken(), (None, Some(Rule::Execution), false));
}
