//! Dissertation §6.4 and Raft §8: linearizable reads without the log, step by step.

use quorate_core::raft::{Input, Refusal, RoleKind};
use quorate_core::types::{Index, Payload, Ticket};

use super::server::*;

/// A leader of three in term 2, whose no-op, entry 2, is committed.
fn settled() -> Server {
    let mut leader = Server::leader(3, &[], 1);
    leader.hear(2, accepted(2, 1, 2));
    assert!(leader.node.status().settled);
    leader
}

/// Raft §8: "Raft handles this by having each leader commit a blank no-op entry into the log at
/// the start of its term."
#[test]
fn a_leaders_first_entry_is_a_no_op() {
    let mut leader = Server::leader(3, &[1], 4);
    let last = leader.log.last().expect("the log is not empty");
    assert_eq!((last.position(), &last.payload), (at(3, 5), &Payload::Noop));
    leader.hear(3, accepted(5, 2, 3));
    assert_eq!(leader.commit(), 3);
}

/// Dissertation §6.4, step 1: "If the leader has not yet marked an entry from its current term
/// committed, it waits until it has done so."
#[test]
fn a_read_waits_for_an_entry_of_the_current_term() {
    let mut leader = Server::leader(3, &[1, 1], 1);
    leader.read(1);
    for _ in 0..10 {
        let round = leader.wait(HEARTBEAT).round().expect("a heartbeat is due");
        for follower in [2, 3] {
            assert!(leader.hear(follower, beaten(2, round, 3)).reads.is_empty());
        }
        // What earlier leaders wrote is on all servers, and says nothing.
        assert!(leader.hear(2, accepted(2, 1, 3)).reads.is_empty());
    }
    let said = leader.hear(2, accepted(2, 3, 4));
    let round = said.round().expect("the read's round begins with the commit");
    assert_eq!(leader.hear(3, beaten(2, round, 3)).reads, [(Ticket(1), Index(4))]);
}

/// Dissertation §6.4, step 2: "The leader saves its current commit index in a local variable
/// readIndex. This will be used as a lower bound for the version of the state that the query
/// operates against."
#[test]
fn a_read_remembers_the_commit_index_of_its_beginning() {
    let mut leader = settled();
    let round = leader.read(1).round().expect("a read begins a round");
    leader.propose(2);
    leader.hear(2, accepted(2, 2, 3));
    assert_eq!(leader.commit(), 3);
    assert_eq!(leader.hear(2, beaten(2, round, 3)).reads, [(Ticket(1), Index(2))]);
}

/// Dissertation §6.4, step 3: "It issues a new round of heartbeats and waits for their
/// acknowledgments from a majority of the cluster."
#[test]
fn a_read_waits_for_a_new_round_of_heartbeats() {
    let mut leader = Server::leader(5, &[], 1);
    leader.hear(2, accepted(2, 1, 2));
    leader.hear(3, accepted(2, 1, 2));
    let old = leader.wait(HEARTBEAT).round().expect("a heartbeat is due");
    let said = leader.read(1);
    let new = said.round().expect("a read begins a round");
    assert!(new > old);
    for id in 2..=5 {
        assert_eq!(said.to(id), [&heartbeat(2, if id < 4 { 2 } else { 0 }, new)]);
    }
    for id in 2..=5 {
        assert!(leader.hear(id, beaten(2, old, 2)).reads.is_empty(), "sent before the read");
    }
    assert!(leader.hear(2, beaten(2, new, 2)).reads.is_empty());
    assert!(leader.hear(2, beaten(2, new, 2)).reads.is_empty(), "the same follower");
    assert_eq!(leader.hear(5, beaten(2, new, 1)).reads, [(Ticket(1), Index(2))]);
}

/// Dissertation §6.4, step 3: "The leader needs to make sure it hasn't been superseded by a newer
/// leader of which it is unaware."
#[test]
fn a_superseded_leader_answers_no_read() {
    let mut leader = settled();
    let round = leader.read(1).round().expect("a read begins a round");
    let said = leader.hear(2, beaten(3, round, 3));
    assert_eq!((said.reads.len(), said.refused), (0, vec![(Ticket(1), Refusal::NoLeader)]));
    assert!(leader.hear(3, beaten(2, round, 2)).reads.is_empty());
    assert_eq!(leader.role(), RoleKind::Follower);
}

/// Dissertation §6.4, step 4: "The leader waits for its state machine to advance at least as far
/// as the readIndex; this is current enough to satisfy linearizability." Here: the core names the
/// index, and whoever owns the state machine waits for it.
#[test]
fn a_read_names_the_index_that_must_be_applied() {
    let mut leader = settled();
    leader.step([Input::Propose(vec![(Ticket(7), "x".into())])]);
    leader.sync();
    // Handed out to be applied; the state machine has not said that it is done.
    let effects = leader.step([received(2, accepted(2, 2, 3)), Input::Read(vec![Ticket(1)])]);
    assert!(effects.apply.is_some());
    let round = effects.messages.iter().find_map(|(_, message)| match message {
        quorate_core::raft::Message::Heartbeat { round, .. } => Some(*round),
        _ => None,
    });
    let effects = leader.step([received(2, beaten(2, round.expect("a round"), 3))]);
    let [(Ticket(1), index)] = effects.reads[..] else { panic!("{:?}", effects.reads) };
    assert!(index > leader.node.status().applied);
}

/// Dissertation §6.4: the leader "can use a single round of heartbeats for any number of read-only
/// queries that it has accumulated."
#[test]
fn reads_that_wait_share_one_round() {
    let mut leader = settled();
    let tickets: Vec<Ticket> = (1..=100).map(Ticket).collect();
    let inputs = tickets.iter().map(|ticket| Input::Read(vec![*ticket]));
    let said = leader.feed(inputs);
    assert_eq!(said.sent.len(), 2, "one heartbeat to each follower");
    let round = said.round().expect("a read begins a round");
    let answered = leader.hear(2, beaten(2, round, 2)).reads;
    let expected: Vec<_> = tickets.into_iter().map(|ticket| (ticket, Index(2))).collect();
    assert_eq!(answered, expected);
}

/// Raft §8: "Raft handles this by having the leader exchange heartbeat messages with a majority of
/// the cluster before responding to read-only requests." A cluster of one is its own majority.
#[test]
fn a_cluster_of_one_reads_by_itself() {
    let mut server = Server::new(1, &[], 1);
    server.time_out();
    assert_eq!(server.role(), RoleKind::Leader);
    assert_eq!(server.read(1).reads, [(Ticket(1), Index(2))]);
}
