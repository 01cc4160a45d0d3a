//! Deadlines: what a call is told that has no answer in time.

use super::*;

#[test]
fn what_was_never_sent_was_not_executed() {
    let mut rig = Rig::new(|_| {});
    let token = rig.submit(put());
    rig.session.disconnected(rig.now, "connection refused");
    rig.after(10_000);
    let Outcome::Unreachable { reason } = rig.outcome(token) else { panic!("sent") };
    assert_eq!(reason, "the deadline has passed; a:1: connection refused");
}

#[test]
fn what_was_only_refused_was_not_executed() {
    let mut rig = Rig::greeted(|config| config.endpoints = vec![A.to_owned()]);
    let token = rig.call(put());
    rig.refuse(1, ErrorCode::NoLeader);
    rig.session.tick(rig.now + Duration::from_secs(10));
    rig.run();
    let Outcome::NotExecuted(failure) = rig.outcome(token) else { panic!("not certain") };
    assert_eq!(failure.code, ErrorCode::NoLeader);
    assert_eq!(failure.message, "the deadline has passed; no_leader: no");
}

#[test]
fn a_write_that_was_sent_is_unknown_and_a_read_is_not() {
    let mut rig = Rig::greeted(|config| config.silence = Duration::from_secs(60));
    let (write, read) = (rig.submit(put()), rig.submit(get()));
    rig.run();
    rig.after(10_000);
    assert!(matches!(rig.outcome(write), Outcome::Unknown { session: 9, id: 1, .. }));
    let Outcome::NotExecuted(failure) = rig.outcome(read) else { panic!("a read") };
    assert_eq!(failure.code, ErrorCode::Timeout);
}

#[test]
fn a_refusal_does_not_settle_an_earlier_sending() {
    let mut rig = Rig::greeted(|_| {});
    let token = rig.call(put());
    rig.lose();
    rig.after(20);
    rig.greet(9, 2);
    rig.refuse(1, ErrorCode::Overloaded);
    rig.after(10_000);
    assert!(matches!(rig.outcome(token), Outcome::Unknown { session: 9, id: 1, .. }));
}

#[test]
fn a_refusal_is_not_risked_when_there_is_no_time_for_another_answer() {
    let mut rig = Rig::greeted(|config| config.silence = Duration::from_secs(60));
    let (write, read) = (rig.submit(put()), rig.submit(get()));
    rig.run();
    rig.after(9_901);
    rig.sent.clear();
    rig.refuse(1, ErrorCode::Overloaded);
    rig.refuse(2, ErrorCode::Overloaded);
    rig.after(40);
    let Outcome::NotExecuted(failure) = rig.outcome(write) else { panic!("not certain") };
    assert_eq!(failure.code, ErrorCode::Overloaded);
    assert_eq!(failure.message, "too little time is left to try again; overloaded: no");
    assert_eq!(rig.ids(), [3], "a read risks nothing");
    rig.after(10_000);
    assert!(matches!(rig.outcome(read), Outcome::NotExecuted(_)));
}

#[test]
fn what_is_in_doubt_is_sent_until_the_end() {
    let mut rig = Rig::greeted(|config| config.silence = Duration::from_secs(60));
    let token = rig.call(put());
    rig.lose();
    rig.after(20);
    rig.greet(9, 2);
    rig.after(9_900);
    rig.sent.clear();
    rig.refuse(1, ErrorCode::Overloaded);
    rig.after(40);
    assert_eq!(rig.ids(), [1]);
    rig.reply(1, &Ok(put_ok()));
    assert!(matches!(rig.outcome(token), Outcome::Done(_)));
}

#[test]
fn a_write_that_was_given_up_is_neither_sent_again_nor_acknowledged() {
    let mut rig = Rig::greeted(|config| config.window = 3);
    rig.call(put());
    rig.after(1_900);
    rig.session.tick(rig.now);
    rig.lose();
    rig.after(10_000);
    assert_eq!(rig.completed.len(), 1);
    rig.clear();
    rig.session.disconnected(rig.now, "reset");
    while rig.connects.is_empty() {
        rig.after(100);
    }
    rig.greet(9, 1);
    rig.clear();
    rig.submit(put());
    rig.submit(put());
    rig.run();
    let sent: Vec<_> = rig.sent.drain(..).map(|request| (request.id, request.acked)).collect();
    assert_eq!(sent, [(2, 0), (3, 0)]);
    rig.reply(2, &Ok(put_ok()));
    rig.reply(3, &Ok(put_ok()));
    rig.call(put());
    let last = rig.sent.pop().unwrap();
    assert_eq!((last.id, last.acked), (4, 0), "acked is told by what was known before");
    rig.reply(4, &Ok(put_ok()));
    rig.call(put());
    let last = rig.sent.pop().unwrap();
    assert_eq!((last.id, last.acked), (5, 4), "the window needed its place");
}

#[test]
fn a_late_answer_settles_a_write_that_was_given_up() {
    let mut rig = Rig::greeted(|config| config.silence = Duration::from_secs(60));
    let token = rig.call(put());
    rig.after(10_000);
    assert!(matches!(rig.outcome(token), Outcome::Unknown { .. }));
    rig.reply(1, &Ok(put_ok()));
    assert!(rig.completed.is_empty(), "a call is completed once");
    rig.call(put());
    assert_eq!(rig.sent.pop().map(|request| (request.id, request.acked)), Some((2, 1)));
}
