use super::*;

const TTL_MS: u64 = 1_000;

/// A replica and its one session, of that window.
fn with_session(window: u64) -> (Replica, u64) {
    let mut replica = Replica::default();
    let session = replica.open(TTL_MS, window);
    (replica, session)
}

#[test]
fn the_id_of_a_session_is_the_index_of_its_entry() {
    let mut replica = Replica::default();
    replica.write(put("a", "1")).unwrap();
    assert_eq!(replica.open(TTL_MS, 4), 2);
    assert!(replica.state.session_exists(2));
    assert!(!replica.state.session_exists(1));
}

#[test]
fn a_session_beyond_the_limit_is_refused_as_overload() {
    let mut replica = Replica::default();
    let open = Command::OpenSession { ttl_ms: TTL_MS, window: 4, max_sessions: 2 };
    assert_eq!(replica.apply(&open), Ok(Success::Empty));
    assert_eq!(replica.apply(&open), Ok(Success::Empty));
    assert_eq!(code(&replica.apply(&open)), Some(ErrorCode::Overloaded));
    assert!(!replica.state.session_exists(3));
    replica.apply(&Command::CloseSession { session: 1 }).unwrap();
    assert_eq!(replica.apply(&open), Ok(Success::Empty));
}

#[test]
fn a_retry_gets_the_first_executions_reply() {
    let (mut replica, session) = with_session(8);
    let first = replica.write_as(session, 1, 0, increment("n", 1));
    assert_eq!(first, Ok(Success::Increment { revision: 2, index: 2, number: 1 }));
    replica.write(put("other", "x")).unwrap();
    assert_eq!(replica.write_as(session, 1, 0, increment("n", 1)), first);
    assert_eq!((replica.value("n").as_deref(), replica.revision()), (Some("1"), 3));
}

#[test]
fn a_sessionless_write_is_executed_each_time() {
    let mut replica = Replica::default();
    assert_eq!(number(&replica.write_as(0, 1, 0, increment("n", 1))), Some(1));
    assert_eq!(number(&replica.write_as(0, 1, 0, increment("n", 1))), Some(2));
}

#[test]
fn ids_out_of_order_are_each_executed_once() {
    let (mut replica, session) = with_session(8);
    for id in [3, 1, 3, 2, 1, 5, 4, 2, 5] {
        replica.write_as(session, id, 0, increment("n", 1)).unwrap();
    }
    assert_eq!(replica.value("n").as_deref(), Some("5"));
}

#[test]
fn the_same_id_in_two_sessions_is_two_requests() {
    let (mut replica, session) = with_session(8);
    let other = replica.open(TTL_MS, 8);
    assert_eq!(number(&replica.write_as(session, 1, 0, increment("n", 1))), Some(1));
    assert_eq!(number(&replica.write_as(other, 1, 0, increment("n", 1))), Some(2));
}

#[test]
fn an_unknown_session_is_expired_and_executes_nothing() {
    let (mut replica, _) = with_session(8);
    let refused = replica.write_as(99, 1, 0, put("a", "1"));
    assert_eq!(code(&refused), Some(ErrorCode::SessionExpired));
    assert_eq!(code(&replica.write_as(99, 0, 0, put("a", "1"))), Some(ErrorCode::SessionExpired));
    assert_eq!(replica.entry("a"), None);
}

#[test]
fn id_zero_is_a_bad_request_within_a_session() {
    let (mut replica, session) = with_session(8);
    let refused = replica.write_as(session, 0, 0, put("a", "1"));
    assert_eq!(code(&refused), Some(ErrorCode::BadRequest));
    assert_eq!(replica.entry("a"), None);
}

#[test]
fn refusals_that_depend_on_the_data_are_remembered() {
    let (mut replica, session) = with_session(8);
    replica.write(put("n", "x")).unwrap();
    let refused = replica.write_as(session, 1, 0, increment("n", 1));
    assert_eq!(code(&refused), Some(ErrorCode::BadRequest));
    let long = append("n", &"y".repeat(64));
    let long_refused = replica.write_as(session, 2, 0, long.clone());
    assert_eq!(code(&long_refused), Some(ErrorCode::TooLarge));
    replica.write(delete("n")).unwrap();
    assert_eq!(replica.write_as(session, 1, 0, increment("n", 1)), refused);
    assert_eq!(replica.write_as(session, 2, 0, long), long_refused);
    assert_eq!(replica.entry("n"), None);
}

#[test]
fn acknowledged_replies_are_forgotten_and_their_ids_stale() {
    let (mut replica, session) = with_session(8);
    for id in 1..=3 {
        replica.write_as(session, id, 0, increment("n", 1)).unwrap();
    }
    replica.write_as(session, 4, 2, increment("n", 1)).unwrap();
    for id in [1, 2] {
        let refused = replica.write_as(session, id, 0, increment("n", 1));
        assert_eq!(code(&refused), Some(ErrorCode::StaleRequest));
    }
    assert_eq!(number(&replica.write_as(session, 3, 0, increment("n", 1))), Some(3));
    assert_eq!(replica.value("n").as_deref(), Some("4"));
}

#[test]
fn acknowledged_ids_that_never_arrived_are_stale_for_ever() {
    let (mut replica, session) = with_session(8);
    replica.write_as(session, 9, 5, put("a", "1")).unwrap();
    let late = replica.write_as(session, 5, 0, put("a", "late"));
    assert_eq!(code(&late), Some(ErrorCode::StaleRequest));
    replica.write_as(session, 6, 0, put("a", "in time")).unwrap();
    assert_eq!(replica.value("a").as_deref(), Some("in time"));
}

#[test]
fn a_retry_whose_acknowledgement_covers_itself_still_gets_its_reply() {
    let (mut replica, session) = with_session(8);
    let first = replica.write_as(session, 3, u64::MAX, increment("n", 1));
    assert_eq!(number(&first), Some(1));
    assert_eq!(replica.write_as(session, 3, 3, increment("n", 1)), first);
    assert_eq!(code(&replica.write_as(session, 2, 0, put("a", ""))), Some(ErrorCode::StaleRequest));
}

#[test]
fn an_older_acknowledgement_does_not_lower_the_mark() {
    let (mut replica, session) = with_session(8);
    replica.write_as(session, 5, 4, put("a", "1")).unwrap();
    replica.write_as(session, 6, 1, put("a", "2")).unwrap();
    let stale = replica.write_as(session, 4, 0, put("a", "3"));
    assert_eq!(code(&stale), Some(ErrorCode::StaleRequest));
}

#[test]
fn beyond_the_window_the_smallest_ids_are_forgotten() {
    let (mut replica, session) = with_session(3);
    for id in [2, 4, 6, 8] {
        replica.write_as(session, id, 0, increment("n", 1)).unwrap();
    }
    for id in [1, 2] {
        let refused = replica.write_as(session, id, 0, increment("n", 1));
        assert_eq!(code(&refused), Some(ErrorCode::StaleRequest));
    }
    assert_eq!(number(&replica.write_as(session, 4, 0, increment("n", 1))), Some(2));
    assert_eq!(number(&replica.write_as(session, 5, 0, increment("n", 1))), Some(5));
    assert_eq!(code(&replica.write_as(session, 4, 0, put("a", ""))), Some(ErrorCode::StaleRequest));
}

#[test]
fn a_window_of_zero_counts_as_one() {
    let (mut replica, session) = with_session(0);
    let first = replica.write_as(session, 1, 0, increment("n", 1));
    assert_eq!(replica.write_as(session, 1, 0, increment("n", 1)), first);
}

#[test]
fn a_closed_session_is_gone_and_closing_it_again_is_no_error() {
    let (mut replica, session) = with_session(8);
    replica.write_as(session, 1, 0, put("a", "1")).unwrap();
    let close = Command::CloseSession { session };
    assert_eq!(replica.apply(&close), Ok(Success::Empty));
    assert!(!replica.state.session_exists(session));
    assert_eq!(
        code(&replica.write_as(session, 1, 0, put("a", "2"))),
        Some(ErrorCode::SessionExpired)
    );
    assert_eq!(code(&replica.keep_alive(session)), Some(ErrorCode::SessionExpired));
    assert_eq!(replica.apply(&close), Ok(Success::Empty));
    replica.advance(TTL_MS * 2);
}

#[test]
fn a_session_expires_at_its_deadline_and_not_before() {
    let (mut replica, session) = with_session(8);
    replica.advance(TTL_MS - 1);
    assert!(replica.state.session_exists(session));
    replica.advance(1);
    assert!(!replica.state.session_exists(session));
    assert_eq!(code(&replica.keep_alive(session)), Some(ErrorCode::SessionExpired));
}

#[test]
fn every_command_of_a_session_moves_its_deadline() {
    let (mut replica, session) = with_session(1);
    let signs: [&dyn Fn(&mut Replica) -> OpResult; 6] = [
        &|replica| replica.keep_alive(session),
        &|replica| replica.write_as(session, 1, 0, put("a", "1")),
        &|replica| replica.write_as(session, 1, 0, put("a", "duplicate")),
        &|replica| replica.write_as(session, 2, 1, put("a", "2")),
        &|replica| replica.write_as(session, 1, 0, put("a", "stale")),
        &|replica| replica.write_as(session, 0, 0, put("a", "bad")),
    ];
    for sign in signs {
        replica.advance(TTL_MS - 1);
        let _ = sign(&mut replica);
        assert!(replica.state.session_exists(session));
    }
    replica.advance(TTL_MS - 1);
    assert!(replica.state.session_exists(session));
    replica.advance(1);
    assert!(!replica.state.session_exists(session));
}

#[test]
fn only_the_sessions_whose_deadline_passed_expire() {
    let mut replica = Replica::default();
    let (long, short, equal) = (replica.open(300, 1), replica.open(100, 1), replica.open(100, 1));
    replica.advance(50);
    let late = replica.open(100, 1);
    replica.advance(50);
    let alive = [long, short, equal, late].map(|id| replica.state.session_exists(id));
    assert_eq!(alive, [true, false, false, true]);
    assert_eq!(replica.state.summary().sessions, 2);
}

#[test]
fn a_time_to_live_without_end_never_expires() {
    let mut replica = Replica::default();
    let session = replica.open(u64::MAX, 1);
    replica.advance(u64::MAX / 2);
    replica.keep_alive(session).unwrap();
    assert!(replica.state.session_exists(session));
}

#[test]
fn an_expired_session_takes_its_replies_with_it() {
    let (mut replica, session) = with_session(8);
    let ask = WriteOp::Put { key: bytes("a"), value: bytes("1"), return_previous: true };
    replica.write_as(session, 1, 0, ask.clone()).unwrap();
    replica.write_as(session, 2, 0, ask).unwrap();
    replica.advance(TTL_MS);
    replica.write(delete("a")).unwrap();
    assert_eq!(replica.state.summary().state_bytes, 0);
}

#[test]
fn cached_replies_count_with_the_values_they_bear() {
    let (mut replica, session) = with_session(8);
    replica.write(put("a", "12345")).unwrap();
    let before = replica.state.summary().state_bytes;
    let ask = |id| (id, WriteOp::Delete { key: bytes("a"), return_previous: id == 1 });
    let (id, op) = ask(1);
    replica.write_as(session, id, 0, op).unwrap();
    let with_entry = replica.state.summary().state_bytes;
    let (id, op) = ask(2);
    replica.write_as(session, id, 0, op).unwrap();
    let empty_reply = replica.state.summary().state_bytes - with_entry;
    let mut entry_only = Replica::default();
    entry_only.write(put("a", "12345")).unwrap();
    let entry = entry_only.state.summary().state_bytes;
    assert_eq!(with_entry, before - entry + empty_reply + 6);
}
