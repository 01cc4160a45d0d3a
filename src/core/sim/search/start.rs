//! Where a search starts: what the nodes find on their disks.

use quorate_core::raft::Boot;
use quorate_core::types::{Entry, HardState, Index, Member, Membership, NodeId, Payload, Term};

use super::machine::{Disk, Machine};

/// The disks of a cluster.
#[derive(Clone, Debug)]
pub struct Start {
    term: Term,
    logs: Vec<Vec<u64>>,
}

impl Start {
    /// The disks of 1 to 7 nodes as at the first boot, which hold the members and nothing else.
    #[must_use]
    pub fn fresh(nodes: usize) -> Self {
        Self { term: Term(1), logs: vec![vec![]; nodes] }
    }

    /// Disks in that term without a vote. Each log gives the terms of the entries behind the
    /// first, which holds the members.
    #[must_use]
    pub fn seeded(term: u64, logs: &[&[u64]]) -> Self {
        Self { term: Term(term), logs: logs.iter().map(|log| log.to_vec()).collect() }
    }

    pub(super) fn term(&self) -> Term {
        self.term
    }

    /// Whether nothing but its number tells one node from another.
    pub(super) fn is_symmetric(&self) -> bool {
        self.logs.windows(2).all(|pair| pair[0] == pair[1])
    }

    pub(super) fn machines(&self) -> Vec<Machine> {
        assert!((1..=7).contains(&self.logs.len()), "a search is of 1 to 7 nodes");
        let ids = (1..).map(NodeId).take(self.logs.len());
        let member = |id| Member::voter(id, String::new(), String::new());
        let membership = Membership::of(ids.clone().map(member).collect());
        let disks = self.logs.iter().map(|log| self.disk(&membership, log));
        ids.zip(disks).map(|(id, disk)| Machine::new(id, disk)).collect()
    }

    fn disk(&self, membership: &Membership, log: &[u64]) -> Disk {
        let mut entries = Boot::first(membership.clone()).entries;
        let behind = (2u64..).zip(log).map(|(index, term)| {
            let command = format!("{index}@{term}").into_bytes().into();
            Entry { term: Term(*term), index: Index(index), payload: Payload::Command(command) }
        });
        entries.extend(behind);
        Disk { hard_state: HardState { term: self.term, vote: None }, entries }
    }
}
