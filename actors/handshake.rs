//! Who may speak as a member: the checks and proofs of the peers' handshake. No sockets here.

use bytes::Bytes;
use hmac::{Hmac, Mac};
use quorate_core::types::{Index, NodeId};
use quorate_core::wire::peer::{
    Challenge, PROTOCOL_VERSION, PeerHello, Prover, Refused, RefusedWhy, transcript,
};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::settings::Settings;

mod disks;

pub use disks::{Disk, Incarnations, judge_incarnation, judge_member};

/// The largest id that a configuration may give a node.
const LARGEST_ID: u64 = 65_535;

/// Thirty-two bytes of the operating system's randomness.
///
/// # Panics
/// When the operating system has none.
#[must_use]
pub fn nonce() -> Bytes {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    Bytes::copy_from_slice(&bytes)
}

/// A dialler's introduction.
#[must_use]
pub fn hello(settings: &Settings, to: NodeId, added: Option<Index>) -> PeerHello {
    PeerHello {
        version: PROTOCOL_VERSION,
        cluster: settings.cluster.clone(),
        cluster_id: settings.cluster_id,
        from: settings.id,
        to,
        incarnation: settings.incarnation,
        added,
        election_timeout_ms: crate::view::millis(settings.raft.election_timeout),
        address: settings.peer_advertise.clone(),
        nonce: nonce(),
    }
}

/// A proof that this side knows the secret; empty without one.
///
/// # Panics
/// Never: HMAC takes keys of any length.
#[must_use]
pub fn prove(
    secret: Option<&[u8]>,
    prover: Prover,
    hello: &PeerHello,
    challenge: &Challenge,
) -> Bytes {
    let Some(secret) = secret else { return Bytes::new() };
    let mut mac =
        <Hmac<Sha256> as Mac>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(&transcript(prover, hello, challenge));
    Bytes::copy_from_slice(&mac.finalize().into_bytes())
}

/// Compares proofs in a time that does not depend on where they differ.
#[must_use]
pub fn proof_holds(expected: &[u8], given: &[u8]) -> bool {
    expected.ct_eq(given).into()
}

/// An acceptor's judgement of a dialler's introduction, before any proof.
///
/// # Errors
/// Why the dialler is turned away.
pub fn judge_hello(settings: &Settings, hello: &PeerHello) -> Result<(), Refused> {
    let PeerHello { from, to, .. } = hello;
    let own = settings.id;
    if hello.version != PROTOCOL_VERSION {
        let theirs = hello.version;
        return Err(refused(
            RefusedWhy::Version,
            format!(
                "node {from} speaks peer protocol {theirs}, node {own} speaks {PROTOCOL_VERSION}: run one version"
            ),
        ));
    }
    if hello.cluster != settings.cluster {
        let (theirs, ours) = (&hello.cluster, &settings.cluster);
        return Err(refused(
            RefusedWhy::Cluster,
            format!(
                "node {from} is of cluster \"{theirs}\", node {own} is of \"{ours}\": check the peer addresses"
            ),
        ));
    }
    if hello.cluster_id != settings.cluster_id {
        return Err(refused(
            RefusedWhy::Cluster,
            format!(
                "node {from} and node {own} were first started with different members (cluster ids {:016x} and {:016x}): \
                 the [[node]] lists of their first config.toml must be equal; use `dial` for proxies",
                hello.cluster_id, settings.cluster_id
            ),
        ));
    }
    if *to != own {
        return Err(refused(
            RefusedWhy::Node,
            format!(
                "node {from} means to reach node {to}, and this is node {own}: check the peer addresses"
            ),
        ));
    }
    if !(1..=LARGEST_ID).contains(&from.0) {
        let text = format!("node ids are 1 to {LARGEST_ID}, and this one is {from}");
        return Err(refused(RefusedWhy::Node, text));
    }
    if *from == own {
        let text = format!("node {from} dials itself: check the peer addresses");
        return Err(refused(RefusedWhy::Node, text));
    }
    Ok(())
}

/// A dialler's judgement of the challenge.
///
/// # Errors
/// Why it does not go on.
pub fn judge_challenge(
    settings: &Settings,
    hello: &PeerHello,
    challenge: &Challenge,
) -> Result<(), String> {
    let expected = prove(settings.secret.as_deref(), Prover::Acceptor, hello, challenge);
    if !proof_holds(&expected, &challenge.proof) {
        return Err(format!("node {} does not prove the shared secret", hello.to));
    }
    if challenge.election_timeout_ms != hello.election_timeout_ms {
        log::warn!(
            "peer: node {} has raft.election_timeout_ms = {}, this node {}: make them equal",
            hello.to,
            challenge.election_timeout_ms,
            hello.election_timeout_ms
        );
    }
    Ok(())
}

/// A refusal.
#[must_use]
pub fn refused(why: RefusedWhy, reason: String) -> Refused {
    Refused { why, reason }
}

#[cfg(test)]
pub(crate) mod tests;
