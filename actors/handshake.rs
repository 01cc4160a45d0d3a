//! Who may speak as a member: the checks and proofs of the peers' handshake. No sockets here.

use bytes::Bytes;
use hmac::{Hmac, Mac};
use quorate_core::types::{Index, Membership, NodeId};
use quorate_core::wire::peer::{
    Challenge, PROTOCOL_VERSION, PeerHello, Prover, Refused, RefusedWhy, transcript,
};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::settings::Settings;

/// The largest id that a configuration may give a node.
const LARGEST_ID: u64 = 65_535;

/// What this node remembers of the other members' disks.
pub trait Incarnations: Send {
    /// The incarnation that a member had when it was first met. `added` is the index of the
    /// entry that added it: one that was removed and added again is another member.
    fn known(&self, node: NodeId, added: Index) -> Option<u64>;

    /// Whether a node was ever met with that incarnation, under whichever membership.
    fn met(&self, node: NodeId, incarnation: u64) -> bool;

    /// Remembers a member's incarnation, durably.
    ///
    /// # Errors
    /// The disk's; fatal.
    fn remember(&mut self, node: NodeId, added: Index, incarnation: u64) -> std::io::Result<()>;
}

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

/// Which disk a node comes with.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// The node.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: u64,
    /// What the node knows of the entry that added it; see [`PeerHello::added`].
    pub added: Option<Index>,
}

impl Disk {
    /// Of who introduces itself.
    #[must_use]
    pub fn of(hello: &PeerHello) -> Self {
        Self { node: hello.from, incarnation: hello.incarnation, added: hello.added }
    }
}

/// A judgement of a proven peer: whether it may take part under its id with its disk. Who is no
/// member is let in: this node's membership may be an old one. So is who was added again by an
/// entry that this node lacks: it knows that from its own log, which a lost disk does not have,
/// and it may lead, so that this node gets the entry from nobody else. Who was removed is not.
///
/// A member that was removed and added again comes with an empty disk, and what it then gets
/// begins behind the entry that added it. So a disk that knows of members and not of that entry
/// is the one it had before: were it let in, it would pass for the new one here, and
/// two disks would vote under one id (Ongaro 2014, §4.1 asks for ids that are never used again).
///
/// # Errors
/// Why it is turned away.
pub fn judge_member(
    known: &mut dyn Incarnations,
    committed: bool,
    membership: &Membership,
    Disk { node, incarnation, added }: Disk,
) -> Result<(), Refused> {
    if let Some(member) = membership.member(node) {
        if added.is_some_and(|added| added < member.added) {
            return Err(former_disk(node));
        }
        let added = member.added.max(added.unwrap_or_default());
        return judge_incarnation(known, node, added, incarnation);
    }
    // One with a disk that is new here may have been added again, which this node need not know.
    if committed && membership.removed.contains(&node) && known.met(node, incarnation) {
        let text = format!(
            "node {node} was removed from this cluster. To bring it back: quorate member add {node} --peer ... --client ..., \
             and start it with an empty data directory and cluster.join"
        );
        return Err(refused(RefusedWhy::Removed, text));
    }
    Ok(())
}

fn former_disk(node: NodeId) -> Refused {
    let text = format!(
        "node {node} comes with the disk that it had before it was removed and added again: \
         it returns with an empty data directory and cluster.join only. Move the old directory away"
    );
    refused(RefusedWhy::Incarnation, text)
}

/// Whether a proven node still has the disk that this node met first.
///
/// # Errors
/// Why it is turned away, with the sentence that its operator needs.
pub fn judge_incarnation(
    known: &mut dyn Incarnations,
    node: NodeId,
    added: Index,
    incarnation: u64,
) -> Result<(), Refused> {
    match known.known(node, added) {
        Some(first) if first == incarnation => Ok(()),
        Some(_) => Err(refused(
            RefusedWhy::Incarnation,
            format!(
                "node {node} comes with another disk than the one this cluster knows: its log and votes are lost, \
                 so it must not return under its old id. Replace it: quorate member replace {node}, then start it with an empty data directory and cluster.join"
            ),
        )),
        None => {
            known.remember(node, added, incarnation).unwrap_or_else(|error| {
                crate::fatal::fatal(
                    crate::fatal::exit::DISK,
                    format_args!(
                        "disk error: cannot remember the incarnation of node {node}: {error}"
                    ),
                )
            });
            Ok(())
        }
    }
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
