//! Whether a member comes with the disk that it is known by.

use quorate_core::types::{Index, Membership, NodeId};
use quorate_core::wire::peer::{PeerHello, Refused, RefusedWhy};

use super::refused;

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
