//! Each reason to turn a peer away.

use std::collections::BTreeMap;

use super::*;
use quorate_core::raft;

#[derive(Default)]
struct Memory(BTreeMap<NodeId, u64>);

impl Incarnations for Memory {
    fn known(&self, node: NodeId, _: Index) -> Option<u64> {
        self.0.get(&node).copied()
    }
    fn met(&self, node: NodeId, incarnation: u64) -> bool {
        self.0.get(&node) == Some(&incarnation)
    }
    fn remember(&mut self, node: NodeId, _: Index, incarnation: u64) -> std::io::Result<()> {
        self.0.insert(node, incarnation);
        Ok(())
    }
}

fn settings(id: u64, secret: Option<&[u8]>) -> Settings {
    Settings {
        id: NodeId(id),
        cluster: "demo".into(),
        cluster_id: 7,
        incarnation: 100 + id,
        version: "0".into(),
        client_address: "127.0.0.1:1".into(),
        peer_address: "127.0.0.1:2".into(),
        peer_advertise: "127.0.0.1:2".into(),
        transfer_on_stop: std::time::Duration::ZERO,
        dial: BTreeMap::new(),
        secret: secret.map(<[u8]>::to_vec),
        raft: raft::Config::new(NodeId(id), 1),
        limits: quorate_core::wire::client::Limits::default(),
        queues: crate::settings::Queues::default(),
        web: crate::settings::Web::default(),
        metrics: true,
        own_state_thread: false,
        min_free_bytes: 0,
        slow_sync: std::time::Duration::from_millis(100),
    }
}

fn why(hello: &PeerHello) -> Option<RefusedWhy> {
    judge_hello(&settings(1, None), hello).err().map(|refused| refused.why)
}

#[test]
fn a_member_of_the_same_cluster_is_let_in() {
    assert_eq!(why(&hello(&settings(2, None), NodeId(1))), None);
}

#[test]
fn each_difference_is_refused_by_its_own_reason() {
    let good = hello(&settings(2, None), NodeId(1));
    let other = |change: fn(&mut PeerHello)| {
        let mut hello = good.clone();
        change(&mut hello);
        why(&hello)
    };
    assert_eq!(other(|hello| hello.version = 9), Some(RefusedWhy::Version));
    assert_eq!(other(|hello| hello.cluster = "prod".into()), Some(RefusedWhy::Cluster));
    assert_eq!(other(|hello| hello.cluster_id = 8), Some(RefusedWhy::Cluster));
    assert_eq!(other(|hello| hello.to = NodeId(3)), Some(RefusedWhy::Node));
    assert_eq!(other(|hello| hello.from = NodeId(1)), Some(RefusedWhy::Node));
}

#[test]
fn a_disk_is_known_from_the_first_meeting_on_and_another_is_refused() {
    let mut memory = Memory::default();
    assert_eq!(judge_incarnation(&mut memory, NodeId(2), Index(0), 5), Ok(()));
    assert_eq!(judge_incarnation(&mut memory, NodeId(2), Index(0), 5), Ok(()));
    let wiped = judge_incarnation(&mut memory, NodeId(2), Index(0), 6);
    assert_eq!(wiped.map_err(|refused| refused.why), Err(RefusedWhy::Incarnation));
}

#[test]
fn who_was_removed_is_told_so_and_who_is_not_known_yet_is_let_in() {
    let mut memory = Memory::default();
    let member = quorate_core::types::Member::voter(NodeId(2), "p", "c");
    let membership = Membership { removed: vec![NodeId(3)], ..Membership::of(vec![member]) };
    let mut why = |committed, node| {
        let judged = judge_member(&mut memory, committed, &membership, NodeId(node), 5);
        judged.err().map(|refused| refused.why)
    };
    assert_eq!(why(true, 3), None, "with a disk that was never met it may have been added again");
    memory.remember(NodeId(3), Index(0), 5).unwrap();
    let mut why = |committed, node| {
        let judged = judge_member(&mut memory, committed, &membership, NodeId(node), 5);
        judged.err().map(|refused| refused.why)
    };
    assert_eq!(why(true, 3), Some(RefusedWhy::Removed));
    assert_eq!(why(false, 3), None, "the removal may be undone");
    assert_eq!(why(true, 9), None, "this node's membership may be an old one");
    assert_eq!(why(true, 2), None);
}

#[test]
fn a_proof_holds_only_with_the_same_secret_and_side() {
    let hello = hello(&settings(2, Some(b"one")), NodeId(1));
    let proof = |secret, prover| prove(secret, prover, &hello, b"nonce", 101);
    let good = proof(Some(b"one".as_slice()), Prover::Dialler);
    assert!(proof_holds(&good, &proof(Some(b"one"), Prover::Dialler)));
    assert!(!proof_holds(&good, &proof(Some(b"two"), Prover::Dialler)));
    assert!(!proof_holds(&good, &proof(Some(b"one"), Prover::Acceptor)));
    assert!(!proof_holds(&good, &proof(None, Prover::Dialler)));
    assert!(proof_holds(&[], &proof(None, Prover::Acceptor)));
}

#[test]
fn a_challenge_without_the_secret_is_not_followed() {
    let dialler = settings(2, Some(b"one"));
    let hello = hello(&dialler, NodeId(1));
    let challenge = |secret| Challenge {
        incarnation: 101,
        election_timeout_ms: 500,
        nonce: Bytes::from_static(b"n"),
        proof: prove(secret, Prover::Acceptor, &hello, b"n", 101),
    };
    assert!(judge_challenge(&dialler, &hello, &challenge(Some(b"one".as_slice()))).is_ok());
    assert!(judge_challenge(&dialler, &hello, &challenge(None)).is_err());
}
