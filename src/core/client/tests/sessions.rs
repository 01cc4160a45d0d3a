//! Sessions that expire, that end, that are resumed, and connections without one.

use super::*;

#[test]
fn after_expiry_what_was_in_doubt_is_unknown_and_the_rest_goes_over() {
    let mut rig = Rig::greeted(|_| {});
    let doubtful = rig.call(put());
    rig.lose();
    let fresh = rig.submit(put());
    rig.after(20);
    rig.session.connected(rig.now);
    rig.run();
    rig.clear();
    rig.refuse(0, ErrorCode::SessionExpired);
    assert!(matches!(rig.outcome(doubtful), Outcome::Unknown { session: 9, id: 1, .. }));
    rig.after(40);
    rig.session.connected(rig.now);
    rig.run();
    let Some(Op::Hello(hello)) = rig.sent.pop().map(|request| request.op) else { panic!() };
    assert_eq!(hello.session, None, "a new session is asked for");
    rig.reply(0, &Ok(Success::Hello(welcome(10, 2, 2))));
    assert_eq!(rig.ids(), [2], "ids go on rising");
    rig.reply(2, &Ok(put_ok()));
    assert_eq!(rig.outcome(fresh), Outcome::Done(put_ok()));
}

#[test]
fn a_write_refused_for_expiry_the_first_time_was_not_executed() {
    let mut rig = Rig::greeted(|_| {});
    let tokens = [rig.submit(put()), rig.submit(put())];
    rig.run();
    rig.clear();
    rig.refuse(1, ErrorCode::SessionExpired);
    rig.refuse(2, ErrorCode::SessionExpired);
    assert!(rig.completed.is_empty());
    assert_eq!(rig.connects, [A], "the node is not to blame");
    rig.greet(10, 1);
    assert_eq!(rig.ids(), [3, 4]);
    rig.reply(3, &Ok(put_ok()));
    rig.reply(4, &Ok(put_ok()));
    assert_eq!(rig.outcome(tokens[0]), Outcome::Done(put_ok()));
}

#[test]
fn a_write_that_is_never_answered_in_an_expired_session_is_unknown() {
    let mut rig = Rig::greeted(|_| {});
    let tokens = [rig.submit(put()), rig.submit(put())];
    rig.run();
    rig.refuse(1, ErrorCode::SessionExpired);
    rig.after(300);
    assert!(matches!(rig.outcome(tokens[1]), Outcome::Unknown { session: 9, id: 2, .. }));
    rig.sent.clear();
    rig.greet(10, 1);
    assert_eq!(rig.ids(), [3], "only the first goes over");
}

#[test]
fn an_old_session_is_resumed_above_its_ids() {
    let resume = Resume { session: 7, next_id: 100 };
    let mut rig = Rig::new(|config| config.resume = Some(resume));
    rig.submit(put());
    rig.session.connected(rig.now);
    rig.run();
    let Some(Op::Hello(hello)) = rig.sent.pop().map(|request| request.op) else { panic!() };
    assert_eq!(hello.session, Some(7));
    rig.reply(0, &Ok(Success::Hello(welcome(7, 1, 1))));
    assert_eq!(rig.sent.pop().map(|request| (request.id, request.acked)), Some((100, 99)));
}

#[test]
fn bye_ends_the_session_and_the_connection() {
    let mut rig = Rig::greeted(|_| {});
    let token = rig.call(Op::Bye);
    rig.reply(1, &Ok(Success::Empty));
    assert_eq!(rig.outcome(token), Outcome::Done(Success::Empty));
    assert_eq!(rig.disconnects, 1);
    rig.after(60_000);
    assert!(rig.connects.is_empty(), "nothing more is wanted");
    assert_eq!(rig.session.wake_at(), None);
    rig.call(put());
    assert_eq!(rig.connects.len(), 1, "until something is");
}

#[test]
fn bye_to_a_session_that_has_expired_is_done() {
    let mut rig = Rig::greeted(|_| {});
    let token = rig.call(Op::Bye);
    rig.refuse(1, ErrorCode::SessionExpired);
    assert_eq!(rig.outcome(token), Outcome::Done(Success::Empty));
    rig.after(60_000);
    assert!(rig.connects.is_empty());
}

#[test]
fn a_client_that_is_turned_away_says_so_and_stops() {
    let mut rig = Rig::new(|_| {});
    let token = rig.submit(put());
    rig.session.connected(rig.now);
    rig.run();
    rig.refuse(0, ErrorCode::Unauthenticated);
    let failure = Failure::new(ErrorCode::Unauthenticated, "no");
    assert_eq!(rig.outcome(token), Outcome::NotExecuted(failure));
    rig.connects.clear();
    rig.after(60_000);
    assert!(rig.connects.is_empty());
}

#[test]
fn without_a_session_a_lost_write_is_unknown_at_once_and_never_sent_again() {
    let mut rig = Rig::new(|config| config.sessionless = true);
    rig.greet(0, 1);
    rig.clear();
    let (write, read) = (rig.submit(put()), rig.submit(get()));
    rig.run();
    assert_eq!(rig.ids(), [1, 2]);
    rig.lose();
    assert!(matches!(rig.outcome(write), Outcome::Unknown { session: 0, id: 1, .. }));
    rig.after(20);
    rig.greet(0, 1);
    assert_eq!(rig.ids(), [3], "the read alone");
    rig.reply(3, &Ok(get_ok()));
    assert_eq!(rig.outcome(read), Outcome::Done(get_ok()));
    let write = rig.call(put());
    rig.refuse(4, ErrorCode::Timeout);
    assert!(matches!(rig.outcome(write), Outcome::Unknown { session: 0, id: 4, .. }));
    rig.after(60_000);
    assert!(rig.sent.iter().all(|request| request.op != Op::Ping), "there is nothing to keep");
}

#[test]
fn without_a_session_a_write_that_was_refused_is_sent_again() {
    let mut rig = Rig::new(|config| config.sessionless = true);
    rig.greet(0, 1);
    rig.clear();
    let write = rig.call(put());
    rig.refuse(1, ErrorCode::Overloaded);
    rig.after(20);
    assert_eq!(rig.ids(), [1, 1]);
    rig.reply(1, &Ok(put_ok()));
    assert_eq!(rig.outcome(write), Outcome::Done(put_ok()));
}
