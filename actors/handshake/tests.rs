//! Each reason to turn a peer away.

use std::collections::BTreeMap;

use super::*;
use quorate_core::raft;
use quorate_core::types::Membership;

#[derive(Default)]
struct Memory(BTreeMap<(NodeId, Index), u64>);

impl Incarnations for Memory {
    fn known(&self, node: NodeId, added: Index) -> Option<u64> {
        self.0.get(&(node, added)).copied()
    }
    fn met(&self, node: NodeId, incarnation: u64) -> bool {
        self.0.iter().any(|((id, _), met)| *id == node && *met == incarnation)
    }
    fn remember(&mut self, node: NodeId, added: Index, incarnation: u64) -> std::io::Result<()> {
        self.0.insert((node, added), incarnation);
        Ok(())
    }
}

pub(crate) fn settings(id: u64, secret: Option<&[u8]>) -> Settings {
    Settings {
        id: NodeId(id),
        cluster: "demo".into(),
        cluster_id: 7,
        incarnation: 100 + id,
        joined: false,
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
        process: Default::default,
    }
}

fn why(hello: &PeerHello) -> Option<RefusedWhy> {
    judge_hello(&settings(1, None), hello).err().map(|refused| refused.why)
}

#[test]
fn a_member_of_the_same_cluster_is_let_in() {
    assert_eq!(why(&hello(&settings(2, None), NodeId(1), None)), None);
}

#[test]
fn each_difference_is_refused_by_its_own_reason() {
    let good = hello(&settings(2, None), NodeId(1), None);
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
        let judged = judge_member(&mut memory, committed, &membership, disk(node, 5, 0));
        judged.err().map(|refused| refused.why)
    };
    assert_eq!(why(true, 3), None, "with a disk that was never met it may have been added again");
    memory.remember(NodeId(3), Index(0), 5).unwrap();
    let mut why = |committed, node| {
        let judged = judge_member(&mut memory, committed, &membership, disk(node, 5, 0));
        judged.err().map(|refused| refused.why)
    };
    assert_eq!(why(true, 3), Some(RefusedWhy::Removed));
    assert_eq!(why(false, 3), None, "the removal may be undone");
    assert_eq!(why(true, 9), None, "this node's membership may be an old one");
    assert_eq!(why(true, 2), None);
}

/// A disk that knows of members.
fn disk(node: u64, incarnation: u64, added: u64) -> Disk {
    Disk { node: NodeId(node), incarnation, added: Some(Index(added)) }
}

#[test]
fn the_disk_from_before_a_member_was_added_again_does_not_pass_for_its_new_one() {
    // This node has met neither of them.
    let mut memory = Memory::default();
    let mut member = quorate_core::types::Member::voter(NodeId(2), "p", "c");
    member.added = Index(57);
    let membership = Membership::of(vec![member]);
    let mut why = |disk| {
        let judged = judge_member(&mut memory, true, &membership, disk);
        judged.err().map(|refused| refused.why)
    };
    let empty = |incarnation| Disk { added: None, ..disk(2, incarnation, 0) };
    assert_eq!(why(disk(2, 5, 0)), Some(RefusedWhy::Incarnation), "of the first start");
    assert_eq!(why(disk(2, 5, 40)), Some(RefusedWhy::Incarnation), "added by an earlier entry");
    assert_eq!(why(empty(6)), None);
    assert_eq!(why(disk(2, 6, 57)), None, "the same, once it has the entry");
    assert_eq!(why(empty(7)), Some(RefusedWhy::Incarnation), "lost again");
}

#[test]
fn who_was_added_again_is_let_in_by_one_that_has_not_heard_of_it_and_a_lost_disk_is_not() {
    let mut memory = Memory::default();
    let member = quorate_core::types::Member::voter(NodeId(2), "p", "c");
    let membership = Membership::of(vec![member]);
    let mut why = |disk| {
        let judged = judge_member(&mut memory, true, &membership, disk);
        judged.err().map(|refused| refused.why)
    };
    assert_eq!(why(disk(2, 5, 0)), None);
    assert_eq!(why(disk(2, 6, 0)), Some(RefusedWhy::Incarnation), "it knows of no other entry");
    assert_eq!(why(disk(2, 6, 57)), None, "its log says that it was added again");
    assert_eq!(why(disk(2, 7, 57)), Some(RefusedWhy::Incarnation), "lost again");
    assert_eq!(why(disk(2, 5, 0)), None, "an old membership knows it by its old disk");
}

#[test]
fn a_proof_holds_only_with_the_same_secret_and_side() {
    let hello = hello(&settings(2, Some(b"one")), NodeId(1), None);
    let challenge = Challenge {
        incarnation: 101,
        added: None,
        election_timeout_ms: 500,
        nonce: Bytes::from_static(b"nonce"),
        proof: Bytes::new(),
    };
    let proof = |secret, prover| prove(secret, prover, &hello, &challenge);
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
    let hello = hello(&dialler, NodeId(1), None);
    let challenge = |secret| {
        let mut challenge = Challenge {
            incarnation: 101,
            added: None,
            election_timeout_ms: 500,
            nonce: Bytes::from_static(b"n"),
            proof: Bytes::new(),
        };
        challenge.proof = prove(secret, Prover::Acceptor, &hello, &challenge);
        challenge
    };
    assert!(judge_challenge(&dialler, &hello, &challenge(Some(b"one".as_slice()))).is_ok());
    assert!(judge_challenge(&dialler, &hello, &challenge(None)).is_err());
}
