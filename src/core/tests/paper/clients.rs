//! Raft §8 and dissertation §6.3: each command takes effect exactly once. The state machine alone,
//! fed a log by hand.

use bytes::Bytes;
use quorate_core::kv::{Command, Pacemaker, Page, StateMachine, WriteOp};
use quorate_core::types::{Entry, Index, Moment, Payload, Term};
use quorate_core::wire::client::{ErrorCode, OpResult, Success};

const TTL_MS: u64 = 1_000;

/// A replica and the log that made it.
#[derive(Default)]
struct Replica {
    state: StateMachine,
    log: Vec<Payload>,
}

/// The entry that follows what a state has applied.
fn behind(state: &StateMachine, payload: &Payload) -> Entry {
    Entry { term: Term(1), index: state.applied().next(), payload: payload.clone() }
}

impl Replica {
    fn apply(&mut self, command: &Command) -> OpResult {
        let payload = Payload::Command(command.encode());
        let result = self.state.apply(&behind(&self.state, &payload));
        self.log.push(payload);
        result.expect("a command has a result")
    }

    /// RegisterClient; the session is the entry's index.
    fn register(&mut self) -> u64 {
        let opened =
            self.apply(&Command::OpenSession { ttl_ms: TTL_MS, window: 16, max_sessions: 16 });
        assert_eq!(opened, Ok(Success::Empty));
        self.state.applied().0
    }

    /// ClientRequest: adds one to a number. Everything up to `acked` was answered.
    fn add(&mut self, session: u64, id: u64, acked: u64) -> OpResult {
        let op = WriteOp::Increment { key: Bytes::from_static(b"n"), by: 1 };
        self.apply(&Command::Write { session, id, acked, value_bytes: 64, op })
    }

    fn number(&self) -> u64 {
        let listing = self.state.list(b"n", None, Page { entries: 1, bytes: 64 });
        let value = listing.entries.first().map(|entry| entry.value.clone());
        value.map_or(0, |value| {
            String::from_utf8_lossy(&value).parse().expect("an increment writes a number")
        })
    }
}

fn code(result: &OpResult) -> Option<ErrorCode> {
    result.as_ref().err().map(|failure| failure.code)
}

/// Raft §8: "If it receives a command whose serial number has already been executed, it responds
/// immediately without re-executing the request."
#[test]
fn an_executed_command_is_answered_without_executing_it_again() {
    let mut replica = Replica::default();
    let session = replica.register();
    let first = replica.add(session, 1, 0);
    for _ in 0..5 {
        assert_eq!(replica.add(session, 1, 0), first);
    }
    assert_eq!(replica.number(), 1);
}

/// Raft §8: "the state machine tracks the latest serial number processed for each client, along
/// with the associated response." Each client's numbers are its own.
#[test]
fn each_client_has_its_own_serial_numbers() {
    let mut replica = Replica::default();
    let (one, other) = (replica.register(), replica.register());
    let first = replica.add(one, 1, 0);
    let second = replica.add(other, 1, 0);
    assert_ne!(first, second);
    assert_eq!((replica.add(one, 1, 0), replica.add(other, 1, 0)), (first, second));
    assert_eq!(replica.number(), 2);
}

/// Raft §8: "if the leader crashes after committing the log entry but before responding to the
/// client, the client will retry the command with a new leader, causing it to be executed a second
/// time." Not with sessions: the new leader's state machine made the same response from the log.
#[test]
fn a_retry_with_a_new_leader_is_not_executed_a_second_time() {
    let mut old = Replica::default();
    let session = old.register();
    let lost = old.add(session, 1, 0);
    let mut new = Replica::default();
    for payload in &old.log {
        new.state.apply(&behind(&new.state, payload));
    }
    assert_eq!(new.add(session, 1, 0), lost);
    assert_eq!(new.number(), 1);
}

/// Dissertation §6.3: "Instead of the client's session tracking just the client's most recent
/// sequence number and response, it includes a set of sequence number and response pairs." So that
/// a client may have several commands under way, in any order.
#[test]
fn a_session_remembers_a_set_of_responses() {
    let mut replica = Replica::default();
    let session = replica.register();
    let first: Vec<OpResult> = [3, 1, 5, 2, 4].map(|id| replica.add(session, id, 0)).into();
    let again: Vec<OpResult> = [3, 1, 5, 2, 4].map(|id| replica.add(session, id, 0)).into();
    assert_eq!(again, first);
    assert_eq!(replica.number(), 5);
}

/// Dissertation §6.3: "With each request, the client includes the lowest sequence number for which
/// it has not yet received a response, and the state machine then discards all responses for lower
/// sequence numbers." Here: the client includes the number before that one.
#[test]
fn acknowledged_responses_are_discarded() {
    let mut replica = Replica::default();
    let session = replica.register();
    for id in 1..=4 {
        replica.add(session, id, 0).expect("it adds");
    }
    let before = replica.state.summary().state_bytes;
    replica.add(session, 5, 3).expect("it adds");
    assert!(replica.state.summary().state_bytes < before);
    // And they are never executed again. Figure 6.1 answers SESSION_EXPIRED here as well; this
    // store says which of the two it was.
    for id in 1..=3 {
        assert_eq!(code(&replica.add(session, id, 0)), Some(ErrorCode::StaleRequest));
    }
    assert!(replica.add(session, 4, 0).is_ok());
    assert_eq!(replica.number(), 5);
}

/// Dissertation §6.3: "If a state machine encounters a command with no record of the session, it
/// does not process the command and instead returns an error to the client."
#[test]
fn a_command_without_a_session_is_not_processed() {
    let mut replica = Replica::default();
    let session = replica.register();
    replica.add(session, 1, 0).expect("it adds");
    replica.apply(&Command::Clock { advance_ms: TTL_MS }).expect("time passes");
    for id in [1, 2] {
        assert_eq!(code(&replica.add(session, id, 0)), Some(ErrorCode::SessionExpired));
    }
    assert_eq!(code(&replica.add(77, 1, 0)), Some(ErrorCode::SessionExpired));
    assert_eq!(replica.number(), 1);
}

/// Dissertation figure 6.1: the unique client identifier can be the log index of the register
/// command.
#[test]
fn a_clients_identifier_is_the_index_of_its_registration() {
    let mut replica = Replica::default();
    for _ in 0..3 {
        let session = replica.register();
        assert!(replica.state.session_exists(session));
        assert_eq!(Index(session), replica.state.applied());
    }
}

/// Dissertation §6.3: all servers must agree on when a session expires, or their state machines
/// would diverge. Time is a command of the log: replicas that apply it at different moments, with
/// whatever clocks, are equal after each entry.
#[test]
fn sessions_expire_at_the_same_entry_everywhere() {
    let mut replica = Replica::default();
    let (early, late) = (replica.register(), replica.register());
    let mut hashes = vec![];
    for round in 1..=6 {
        replica.apply(&Command::Clock { advance_ms: TTL_MS / 4 }).expect("time passes");
        if round <= 4 {
            replica.add(late, round, 0).expect("it adds");
        }
        assert_eq!(replica.state.session_exists(early), round < 4);
        hashes.push((replica.state.applied(), replica.state.hash()));
    }
    assert!(replica.state.session_exists(late));
    let mut other = StateMachine::new();
    for payload in &replica.log {
        other.apply(&behind(&other, payload));
        if let Some((_, hash)) = hashes.iter().find(|(index, _)| *index == other.applied()) {
            assert_eq!(other.hash(), *hash);
        }
    }
}

/// Dissertation §6.3: the leader augments each command with its current time, and live clients
/// keep their sessions by keep-alive requests during inactivity. Here: only the leader's clock
/// entries bear time, as what has passed, so that no step of a clock can expire a session.
#[test]
fn the_leaders_time_and_keep_alives_decide_over_sessions() {
    let mut replica = Replica::default();
    let session = replica.register();
    let mut pacemaker = Pacemaker::default();
    let second = |seconds: u64| Moment(1_000_000 * seconds);
    assert_eq!(pacemaker.due(second(1), false, 1), None, "it does not lead");
    assert_eq!(pacemaker.due(second(1), true, 1), None, "it begins to count");
    for seconds in 2..20 {
        replica.apply(&Command::KeepAlive { session }).expect("the session is alive");
        let clock = pacemaker.due(second(seconds), true, 1).expect("an interval has passed");
        let Ok(Command::Clock { advance_ms }) = Command::decode(&clock) else {
            panic!("a pacemaker proposes clocks only")
        };
        assert_eq!(advance_ms, 1_000);
        pacemaker.applied_clock(second(seconds));
        replica.apply(&Command::Clock { advance_ms: advance_ms - 1 }).expect("time passes");
        assert!(replica.state.session_exists(session));
    }
    replica.apply(&Command::Clock { advance_ms: 1_000 }).expect("time passes");
    assert!(!replica.state.session_exists(session));
}
