use std::time::Duration;

use super::*;
use crate::kv::{DEFAULT_CLOCK_INTERVAL, Pacemaker};
use crate::types::Moment;

fn at(ms: u64) -> Moment {
    Moment(7_000_000) + Duration::from_millis(ms)
}

/// The advance that is due, if any.
fn due(pacemaker: &mut Pacemaker, ms: u64, leading: bool, sessions: usize) -> Option<u64> {
    let bytes = pacemaker.due(at(ms), leading, sessions)?;
    match Command::decode(&bytes) {
        Ok(Command::Clock { advance_ms }) => Some(advance_ms),
        other => panic!("a pacemaker proposes clock commands only, not {other:?}"),
    }
}

#[test]
fn an_advance_is_due_once_an_interval_and_is_the_time_that_passed() {
    let mut pacemaker = Pacemaker::default();
    assert_eq!(DEFAULT_CLOCK_INTERVAL, Duration::from_secs(1));
    assert_eq!(due(&mut pacemaker, 0, true, 1), None);
    assert_eq!(due(&mut pacemaker, 999, true, 1), None);
    assert_eq!(due(&mut pacemaker, 1_040, true, 1), Some(1_040));
    pacemaker.applied_clock(at(1_050));
    assert_eq!(due(&mut pacemaker, 2_049, true, 1), None);
    assert_eq!(due(&mut pacemaker, 2_050, true, 1), Some(1_000));
}

#[test]
fn a_node_that_does_not_lead_proposes_nothing() {
    let mut pacemaker = Pacemaker::default();
    for ms in (0..20_000).step_by(500) {
        assert_eq!(due(&mut pacemaker, ms, false, 1), None);
    }
}

#[test]
fn without_sessions_nothing_is_proposed_and_no_time_is_saved_up() {
    let mut pacemaker = Pacemaker::default();
    pacemaker.applied_clock(at(0));
    assert_eq!(due(&mut pacemaker, 60_000, true, 0), None);
    assert_eq!(due(&mut pacemaker, 60_100, true, 1), None);
    assert_eq!(due(&mut pacemaker, 61_100, true, 1), Some(1_000));
}

#[test]
fn an_outage_counts_as_two_intervals_at_most() {
    let mut pacemaker = Pacemaker::default();
    pacemaker.applied_clock(at(0));
    assert_eq!(due(&mut pacemaker, 500, false, 1), None);
    assert_eq!(due(&mut pacemaker, 3_600_000, true, 1), Some(2_000));
    pacemaker.applied_clock(at(3_600_010));
    assert_eq!(due(&mut pacemaker, 3_600_020, true, 1), None);
}

#[test]
fn a_new_leader_counts_from_the_last_clock_it_applied() {
    let mut pacemaker = Pacemaker::default();
    pacemaker.applied_clock(at(0));
    assert_eq!(due(&mut pacemaker, 700, false, 3), None);
    assert_eq!(due(&mut pacemaker, 900, true, 3), None);
    assert_eq!(due(&mut pacemaker, 1_500, true, 3), Some(1_500));
}

#[test]
fn a_new_leader_that_never_applied_a_clock_counts_from_its_first_sight() {
    let mut pacemaker = Pacemaker::default();
    assert_eq!(due(&mut pacemaker, 50_000, true, 1), None);
    assert_eq!(due(&mut pacemaker, 51_000, true, 1), Some(1_000));
}

#[test]
fn while_nothing_commits_proposals_do_not_pile_up() {
    let mut pacemaker = Pacemaker::default();
    pacemaker.applied_clock(at(0));
    let proposed: Vec<_> =
        (0..60_000).step_by(100).filter_map(|ms| due(&mut pacemaker, ms, true, 1)).collect();
    assert_eq!(proposed, [1_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000]);
}

#[test]
fn a_proposal_of_a_lost_leadership_is_not_waited_for() {
    let mut pacemaker = Pacemaker::default();
    pacemaker.applied_clock(at(0));
    assert_eq!(due(&mut pacemaker, 1_000, true, 1), Some(1_000));
    assert_eq!(due(&mut pacemaker, 1_500, false, 1), None);
    assert_eq!(due(&mut pacemaker, 1_600, true, 1), Some(1_600));
}

#[test]
fn an_interval_of_nothing_is_a_millisecond() {
    let mut pacemaker = Pacemaker::new(Duration::ZERO);
    assert_eq!(due(&mut pacemaker, 0, true, 1), None);
    assert_eq!(due(&mut pacemaker, 1, true, 1), Some(1));
}
