//! How old what this node has applied is. That it hears its leader says nothing of that: a
//! follower that lags hears it as often as any other, and is not told how far the leader has
//! committed. What does is a linearizable read that was answered here: at that moment everything
//! was applied that was committed when it was asked. So a read that may be no older than some
//! time is answered here where such a read is recent enough, and is such a read otherwise.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_core::raft::Status;
use quorate_core::types::Moment;

use crate::view::View;

/// As of when this node's state is known to be complete.
#[derive(Debug, Default)]
pub struct Age(AtomicU64);

/// Who answers a stale read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// This node, from what it has applied.
    Here,
    /// This node, once its leader has said how far it must have applied.
    Confirmed,
    /// Another node.
    Elsewhere,
}

impl Age {
    /// Everything is applied here that was committed at that moment.
    pub fn complete_as_of(&self, asked: Moment) {
        self.0.fetch_max(asked.0, Ordering::AcqRel);
    }

    /// Who answers a stale read that may be so old; `None`: of any age.
    #[must_use]
    pub fn way(&self, now: Moment, most: Option<Duration>, raft: &Status) -> Way {
        let Some(most) = most else { return Way::Here };
        let recent = |moment: Moment| now.since(moment) <= most;
        if raft.lacks_state || !raft.leader_contact.is_some_and(recent) {
            return Way::Elsewhere;
        }
        let complete = Moment(self.0.load(Ordering::Acquire));
        if complete > Moment(0) && recent(complete) { Way::Here } else { Way::Confirmed }
    }
}

impl View {
    /// Who answers a stale read that may be so old; `None`: of any age.
    pub fn way(&self, max_age_ms: Option<u64>) -> Way {
        let now = self.clock.now();
        self.age.way(now, max_age_ms.map(Duration::from_millis), &self.lock())
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::raft::{Boot, Config, Node};
    use quorate_core::types::{Member, Membership, NodeId};

    use super::*;

    const NOW: Moment = Moment(3_600_000_000);

    /// The status of a follower that has just heard its leader.
    fn heard() -> Status {
        let members = (1..=3).map(|id| Member::voter(NodeId(id), "peer:1", "client:1"));
        let boot = Boot::first(Membership::of(members.collect()));
        let status = Node::new(Config::new(NodeId(1), 1), boot, NOW).status();
        Status { leader_contact: Some(NOW), ..status }
    }

    fn ago(millis: u64) -> Moment {
        Moment(NOW.0 - millis * 1_000)
    }

    const SECOND: Option<Duration> = Some(Duration::from_secs(1));

    #[test]
    fn a_read_of_any_age_is_answered_here() {
        let status = Status { leader_contact: None, lacks_state: true, ..heard() };
        assert_eq!(Age::default().way(NOW, None, &status), Way::Here);
    }

    #[test]
    fn to_hear_the_leader_is_not_to_have_what_it_has() {
        let age = Age::default();
        assert_eq!(age.way(NOW, SECOND, &heard()), Way::Confirmed);
        age.complete_as_of(ago(1_001));
        assert_eq!(age.way(NOW, SECOND, &heard()), Way::Confirmed);
        age.complete_as_of(ago(1_000));
        age.complete_as_of(ago(5_000));
        assert_eq!(age.way(NOW, SECOND, &heard()), Way::Here);
    }

    #[test]
    fn without_its_leader_or_its_state_a_node_sends_the_reader_elsewhere() {
        let age = Age::default();
        age.complete_as_of(NOW);
        let silent = Status { leader_contact: Some(ago(1_001)), ..heard() };
        assert_eq!(age.way(NOW, SECOND, &silent), Way::Elsewhere);
        let never = Status { leader_contact: None, ..heard() };
        assert_eq!(age.way(NOW, SECOND, &never), Way::Elsewhere);
        let lacking = Status { lacks_state: true, ..heard() };
        assert_eq!(age.way(NOW, SECOND, &lacking), Way::Elsewhere);
    }
}
