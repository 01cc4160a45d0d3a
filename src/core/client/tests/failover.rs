//! Nodes that fail, that are not the leader, that are silent.

use super::*;

#[test]
fn a_lost_write_is_sent_again_under_its_id_and_a_read_under_a_new_one() {
    let mut rig = Rig::greeted(|_| {});
    let (write, read, later) = (rig.submit(put()), rig.submit(get()), rig.submit(put()));
    rig.run();
    assert_eq!(rig.ids(), [1, 2, 3]);
    rig.lose();
    assert!(rig.connects.is_empty(), "there is a pause first");
    rig.after(20);
    assert_eq!(rig.connects, [B]);
    rig.session.connected(rig.now);
    rig.run();
    let hello = rig.sent.pop().unwrap();
    let Op::Hello(hello) = hello.op else { panic!("{hello:?}") };
    assert_eq!(hello.session, Some(9), "the session is resumed");
    rig.reply(0, &Ok(Success::Hello(welcome(9, 2, 2))));
    assert_eq!(rig.ids(), [1, 3, 4]);
    for (id, ok) in [(3, put_ok()), (4, get_ok()), (1, put_ok())] {
        rig.reply(id, &Ok(ok));
    }
    assert_eq!(rig.outcome(write), Outcome::Done(put_ok()));
    assert_eq!(rig.outcome(later), Outcome::Done(put_ok()));
    assert_eq!(rig.outcome(read), Outcome::Done(get_ok()));
    rig.call(put());
    assert_eq!(rig.sent.pop().map(|request| (request.id, request.acked)), Some((5, 4)));
}

#[test]
fn a_hint_in_hellos_refusal_is_followed() {
    let mut rig = Rig::new(|_| {});
    rig.session.connected(rig.now);
    rig.run();
    rig.send_to(0, C);
    assert_eq!((rig.disconnects, rig.connects.as_slice()), (1, &[A.to_owned(), C.to_owned()][..]));
    rig.sent.clear();
    rig.greet(9, 3);
    assert_eq!(rig.session.address(), Some(C));
}

#[test]
fn a_sessionless_client_goes_to_the_leader_that_hello_names() {
    let mut rig = Rig::new(|config| config.sessionless = true);
    rig.session.connected(rig.now);
    rig.run();
    rig.reply(0, &Ok(Success::Hello(welcome(0, 1, 3))));
    assert_eq!(rig.connects, [A, C]);
}

#[test]
fn a_pinned_client_stays_and_tells_the_refusal() {
    let mut rig = Rig::new(|config| (config.sessionless, config.pinned) = (true, true));
    rig.session.connected(rig.now);
    rig.run();
    rig.reply(0, &Ok(Success::Hello(welcome(0, 1, 3))));
    rig.clear();
    let token = rig.call(get());
    rig.send_to(1, C);
    let Outcome::NotExecuted(failure) = rig.outcome(token) else { panic!("retried") };
    assert_eq!(failure.leader.unwrap().address, C);
    assert_eq!((rig.connects.len(), rig.disconnects), (0, 0));
}

#[test]
fn a_refusal_with_a_hint_moves_everything_once_all_is_answered() {
    let mut rig = Rig::greeted(|_| {});
    let tokens = [rig.submit(put()), rig.submit(put())];
    rig.run();
    assert_eq!(rig.ids(), [1, 2]);
    rig.send_to(1, B);
    assert_eq!(rig.disconnects, 0, "2 is still under way");
    rig.submit(put());
    rig.run();
    assert!(rig.sent.is_empty(), "nothing more goes to a node that is left");
    rig.reply(2, &Ok(put_ok()));
    assert_eq!(rig.outcome(tokens[1]), Outcome::Done(put_ok()));
    assert_eq!((rig.disconnects, rig.connects.as_slice()), (1, &[B.to_owned()][..]));
    rig.greet(9, 2);
    assert_eq!(rig.ids(), [1, 3]);
}

#[test]
fn a_node_is_left_even_if_it_never_answers_the_rest() {
    let mut rig = Rig::greeted(|_| {});
    rig.submit(put());
    rig.submit(put());
    rig.run();
    rig.send_to(2, B);
    rig.after(299);
    assert_eq!(rig.disconnects, 0);
    rig.after(1);
    assert_eq!((rig.disconnects, rig.connects.as_slice()), (1, &[B.to_owned()][..]));
}

#[test]
fn without_a_leader_pauses_grow_and_other_nodes_are_tried() {
    let mut rig = Rig::greeted(|_| {});
    let token = rig.call(put());
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let id = rig.ids()[0];
        assert_eq!(id, 1, "always the same id");
        rig.refuse(1, ErrorCode::NoLeader);
        let start = rig.now;
        while rig.connects.is_empty() {
            let wake = rig.session.wake_at().unwrap();
            rig.now = wake.max(rig.now);
            rig.after(0);
        }
        pauses.push(rig.now.since(start).as_millis());
        rig.connects.clear();
        rig.greet(9, 1);
    }
    assert!(pauses[0] >= 10 && pauses[0] <= 60, "{pauses:?}");
    assert!(*pauses.last().unwrap() >= 250 && *pauses.last().unwrap() <= 1_000, "{pauses:?}");
    rig.reply(1, &Ok(put_ok()));
    assert_eq!(rig.outcome(token), Outcome::Done(put_ok()));
}

#[test]
fn an_overloaded_node_is_left_alone_for_a_while() {
    let mut rig = Rig::greeted(|_| {});
    rig.call(put());
    rig.refuse(1, ErrorCode::Overloaded);
    rig.call(get());
    assert_eq!(rig.ids(), [1], "neither the retry nor the read goes out yet");
    rig.after(20);
    assert_eq!(rig.ids(), [1, 2]);
    assert_eq!(rig.disconnects, 0);
}

#[test]
fn an_unknown_outcome_is_asked_for_under_the_same_id() {
    let mut rig = Rig::greeted(|_| {});
    let token = rig.call(put());
    rig.refuse(1, ErrorCode::UnknownOutcome);
    rig.after(20);
    assert_eq!(rig.ids(), [1, 1]);
    rig.reply(1, &Ok(put_ok()));
    assert_eq!(rig.outcome(token), Outcome::Done(put_ok()));
}

#[test]
fn a_silent_node_is_abandoned() {
    let mut rig = Rig::greeted(|_| {});
    rig.after(5_000);
    assert_eq!(rig.disconnects, 0, "it owes nothing");
    rig.call(put());
    rig.after(1_999);
    assert_eq!(rig.disconnects, 0);
    rig.after(1);
    assert_eq!(rig.disconnects, 1);
    rig.after(20);
    assert_eq!(rig.connects, [B]);
    rig.after(2_000);
    assert_eq!(rig.disconnects, 2, "nor may a connection take for ever");
    rig.after(40);
    assert_eq!(rig.connects, [B, C]);
}

#[test]
fn a_node_that_speaks_nonsense_is_left() {
    let mut rig = Rig::greeted(|_| {});
    rig.call(put());
    rig.session.frame(rig.now, &Bytes::from_static(&[0xc1]));
    rig.run();
    assert_eq!(rig.disconnects, 1);
    rig.after(20);
    rig.greet(9, 2);
    assert_eq!(rig.ids(), [1, 1]);
}

#[test]
fn members_become_endpoints() {
    let mut rig = Rig::greeted(|config| config.endpoints = vec![A.to_owned()]);
    rig.call(Op::Members);
    let row = crate::wire::client::MemberInfo {
        id: NodeId(2),
        peer: "b:2".into(),
        client: B.into(),
        role: "voter".into(),
    };
    rig.reply(1, &Ok(Success::Members(vec![row])));
    rig.lose();
    rig.after(20);
    assert_eq!(rig.connects, [B]);
}

#[test]
fn two_sessions_with_one_seed_do_the_same() {
    let run = |seed| {
        let mut rig = Rig::greeted(|config| config.seed = seed);
        rig.lose();
        rig.session.wake_at()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
