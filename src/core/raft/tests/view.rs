//! Looking at the tests' cluster, and waiting for what is to be seen.

use super::checks::Outcome;
use super::harness::Cluster;
use super::machine::Machine;
use crate::raft::node::Role;
use crate::types::{Index, Moment, Ticket};

impl Cluster {
    pub(super) fn is_leader(&self, id: u64) -> bool {
        self.machines[&id].node.as_ref().is_some_and(|n| matches!(n.role, Role::Leader(_)))
    }

    /// The leader of the highest term that has committed in it.
    pub(super) fn leader(&self) -> Option<u64> {
        let settled = |id: &u64| self.is_leader(*id) && self.node(*id).status().settled;
        self.ids().into_iter().filter(settled).max_by_key(|id| self.node(*id).term())
    }

    /// Runs until there is a leader that has committed in its term.
    pub(super) fn elect(&mut self) -> u64 {
        self.run_until(10_000, "a leader", |cluster| cluster.leader().is_some());
        self.leader().expect("just seen")
    }

    /// That node's election timeout passes now, the others' never do.
    pub(super) fn campaign(&mut self, id: u64) {
        for other in self.ids() {
            if let Some(node) = &mut self.machine(other).node {
                let due = if other == id { 0 } else { u64::MAX };
                node.election_deadline = Moment(due);
            }
        }
    }

    /// Makes that node the leader: the others do not campaign, for they hang meanwhile.
    pub(super) fn elect_node(&mut self, id: u64) {
        self.campaign(id);
        self.run_until(2_000, "that leader", |cluster| cluster.leader() == Some(id));
    }

    /// Runs until every node that is up has committed and applied the same log.
    pub(super) fn settle(&mut self) {
        self.run_until(10_000, "all equal", Cluster::all_equal);
    }

    pub(super) fn all_equal(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let last = self.node(leader).log.last();
        let up = self.machines.values().filter_map(|machine| machine.node.as_ref());
        up.clone().all(|node| {
            node.log.last() == last
                && node.commit == last.index
                && node.applied_index() == last.index
                && node.log.durable() == last.index
        })
    }

    /// The terms of a node's log behind the first entry.
    pub(super) fn terms(&self, id: u64) -> Vec<u64> {
        let node = self.node(id);
        (2..=node.log.last().index.0).map(|i| node.log.term_at(Index(i)).unwrap().0).collect()
    }

    /// A line for each node, for messages.
    pub(super) fn picture(&self) -> String {
        let line = |(id, machine): (&u64, &Machine)| match &machine.node {
            None => format!("  {id}: down\n"),
            Some(node) => {
                let s = node.status();
                let (term, last, durable) = (s.term, node.log.last(), s.durable_index);
                let deadline = node.election_deadline.0 / 1_000;
                format!(
                    "  {id}: {:?} term {term} last {last} durable {durable} commit {} applied {} \
                     leader {:?} deadline {deadline} followers {:?}\n",
                    s.role, s.commit, s.applied, s.leader, s.followers
                )
            }
        };
        let lines: String = self.machines.iter().map(line).collect();
        format!("at {} ms, cut {:?}\n{lines}", self.now, self.cut)
    }

    /// The write was applied, or the read answered.
    pub(super) fn assert_done(&self, ticket: Ticket) {
        let outcome = self.outcome(ticket);
        let done = matches!(outcome, Some(Outcome::Applied(_) | Outcome::Read(_)));
        assert!(done, "{ticket:?} ended as {outcome:?}\n{}", self.picture());
    }
}
