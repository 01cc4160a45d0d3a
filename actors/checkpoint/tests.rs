//! What reaches the disk, and in which order.

use std::sync::Mutex;

use quorate_core::kv::{Changes, StateMachine};
use quorate_core::raft;
use quorate_core::store::StoreError;
use quorate_core::types::{Entry, Index, Moment, Payload, Position, Term};

use super::*;
use crate::space::{FreeSpace, Space};

type Written = Arc<Mutex<Vec<Position>>>;

struct Recording(Written);

impl CheckpointStore for Recording {
    fn save(&mut self, state: StateMachine, _: Option<Changes>) -> Result<(), StoreError> {
        self.0.lock().unwrap().push(state.position());
        Ok(())
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn room(&self, _: &StateMachine, _: Option<&Changes>) -> u64 {
        0
    }
}

#[derive(Debug)]
struct Free(u64);

impl FreeSpace for Free {
    fn free_bytes(&self) -> std::io::Result<u64> {
        Ok(self.0)
    }

    fn place(&self) -> String {
        "nowhere".to_owned()
    }
}

#[derive(Default)]
struct Told(Vec<Position>, usize, Vec<Duration>);

impl Actor for Told {
    type Context = Context<Self>;
}

impl Handler<Captured> for Told {
    type Result = ();
    fn handle(&mut self, Captured { position, rest }: Captured, _: &mut Self::Context) {
        self.0.push(position);
        self.2.push(rest);
    }
}

impl Handler<Saved> for Told {
    type Result = ();
    fn handle(&mut self, _: Saved, _: &mut Self::Context) {
        self.1 += 1;
    }
}

#[derive(Message)]
#[rtype(result = "(Vec<Position>, usize, Vec<Duration>)")]
struct WhatWasTold;

impl Handler<WhatWasTold> for Told {
    type Result = MessageResult<WhatWasTold>;
    fn handle(&mut self, _: WhatWasTold, _: &mut Self::Context) -> Self::Result {
        MessageResult((self.0.clone(), self.1, self.2.clone()))
    }
}

fn state_at(index: u64) -> StateMachine {
    let mut state = StateMachine::default();
    for index in 1..=index {
        state.apply(&Entry { term: Term(1), index: Index(index), payload: Payload::Noop });
    }
    state
}

/// An actor that tells `told`, on a disk with so much free of which 200 bytes are to be kept.
fn actor(written: &Written, told: &Addr<Told>, free: u64) -> Addr<CheckpointActor> {
    let above = Above { captured: told.clone().recipient(), saved: told.clone().recipient() };
    let settings = crate::handshake::tests::settings(1, None);
    let node = raft::Node::new(settings.raft.clone(), raft::Boot::default(), Moment(0));
    let space = Space::new(Box::new(Free(free)), 200);
    let view = Arc::new(View::new(crate::view::Clock::start(), &settings, node.status(), space));
    let store = Box::new(Recording(Arc::clone(written)));
    CheckpointActor::new(store, above, view, Metrics::default()).start()
}

#[actix_rt::test]
async fn there_is_no_rest_after_a_checkpoint_where_space_is_short() {
    // One that ended while its node runs would end the node.
    let mut actors = vec![];
    for (free, rests) in [(u64::MAX, true), (200, true), (199, false)] {
        let told = Told::default().start();
        let actor = actor(&Written::default(), &told, free);
        let changes = None;
        actor.send(Save { state: state_at(3), changes, install: false }).await.unwrap();
        actors.push(actor);
        let (_, _, given) = told.send(WhatWasTold).await.unwrap();
        assert_eq!(given.len(), 1);
        assert_eq!(given.iter().all(|rest| !rest.is_zero()), rests, "{free} bytes: {given:?}");
    }
}

#[actix_rt::test]
async fn a_checkpoint_that_was_captured_before_a_snapshot_is_not_written_over_it() {
    let written = Written::default();
    let told = Told::default().start();
    let actor = actor(&written, &told, u64::MAX);
    for (index, install) in [(3, false), (9, true), (5, false), (9, false), (12, false)] {
        let changes = None;
        actor.send(Save { state: state_at(index), changes, install }).await.unwrap();
    }
    let at = |index| Position { term: Term(1), index: Index(index) };
    assert_eq!(*written.lock().unwrap(), [at(3), at(9), at(12)]);
    let (captured, saved, _) = told.send(WhatWasTold).await.unwrap();
    assert_eq!((captured, saved), (vec![at(3), at(5), at(9), at(12)], 1), "all are answered");
}
