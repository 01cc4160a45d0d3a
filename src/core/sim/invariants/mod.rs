//! What must hold after every fact. One claim a file.

use quorate_core::types::NodeId;

use crate::facts::Fact;
use crate::known::Known;

mod i01_election_safety;
mod i02_log_matching;
mod i03_leader_completeness;
mod i04_state_machine_safety;
mod i05_committed_on_a_quorum;
mod i06_monotone;
mod i07_order;
mod i08_promises_are_durable;
mod i09_one_vote;
mod i10_equal_replicas;
mod i11_at_most_once;
mod i12_client_outcomes;
mod i13_reads;
mod i14_no_waiter_left;
mod i15_leases;
mod i16_membership;
mod i17_the_disk_keeps;
mod i18_elected_by_a_quorum;
mod i19_reads_are_confirmed;
mod i20_what_matches_matches;
mod i21_clients_keep_to_the_protocol;
mod rounds;
#[cfg(test)]
mod tests;

/// A claim that is checked with every fact.
pub trait Invariant {
    /// Its short name, such as `I1`.
    fn id(&self) -> &'static str;

    /// What it claims, in a sentence.
    fn claim(&self) -> &'static str;

    /// Looks at a fact; `known` has taken it in already.
    ///
    /// # Errors
    /// What contradicts the claim, for a person to read.
    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String>;

    /// Looks once more when the run is over and `whole` are well again: what still waits will
    /// wait for ever.
    ///
    /// # Errors
    /// What contradicts the claim.
    fn at_end(&mut self, known: &Known, whole: &[NodeId]) -> Result<(), String> {
        let _ = (known, whole);
        Ok(())
    }
}

/// A claim that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's short name.
    pub invariant: String,
    /// What contradicts it.
    pub what: String,
}

/// All claims, and what is known of the run.
pub struct Invariants {
    known: Known,
    list: Vec<Box<dyn Invariant>>,
}

impl Default for Invariants {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariants {
    /// Before the first fact.
    #[must_use]
    pub fn new() -> Self {
        Self { known: Known::default(), list: all() }
    }

    /// Takes in a fact and checks every claim.
    ///
    /// # Errors
    /// The first claim that does not hold.
    pub fn observe(&mut self, fact: &Fact<'_>) -> Result<(), Violation> {
        self.known.absorb(fact);
        for invariant in &mut self.list {
            let checked = invariant.check(&self.known, fact);
            checked.map_err(|what| violation(&**invariant, what))?;
        }
        Ok(())
    }

    /// The run is over, and these nodes are well again.
    ///
    /// # Errors
    /// The first claim that does not hold.
    pub fn end(&mut self, whole: &[NodeId]) -> Result<(), Violation> {
        for invariant in &mut self.list {
            let checked = invariant.at_end(&self.known, whole);
            checked.map_err(|what| violation(&**invariant, what))?;
        }
        Ok(())
    }

    /// What is known of the run.
    #[must_use]
    pub fn known(&self) -> &Known {
        &self.known
    }
}

fn violation(invariant: &dyn Invariant, what: String) -> Violation {
    Violation { invariant: invariant.id().to_owned(), what }
}

/// Every claim, before the first fact.
#[must_use]
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(i01_election_safety::ElectionSafety::default()),
        Box::new(i02_log_matching::LogMatching::default()),
        Box::new(i03_leader_completeness::LeaderCompleteness::default()),
        Box::new(i04_state_machine_safety::StateMachineSafety::default()),
        Box::new(i05_committed_on_a_quorum::CommittedOnAQuorum),
        Box::new(i06_monotone::Monotone::default()),
        Box::new(i07_order::Order),
        Box::new(i08_promises_are_durable::PromisesAreDurable),
        Box::new(i09_one_vote::OneVote::default()),
        Box::new(i10_equal_replicas::EqualReplicas::default()),
        Box::new(i11_at_most_once::AtMostOnce::default()),
        Box::new(i12_client_outcomes::ClientOutcomes::default()),
        Box::new(i13_reads::Reads::default()),
        Box::new(i14_no_waiter_left::NoWaiterLeft::default()),
        Box::new(i15_leases::LeasesExclude::default()),
        Box::new(i16_membership::MembershipOfTheLog::default()),
        Box::new(i17_the_disk_keeps::TheDiskKeeps),
        Box::new(i18_elected_by_a_quorum::ElectedByAQuorum::default()),
        Box::new(i19_reads_are_confirmed::ReadsAreConfirmed::default()),
        Box::new(i20_what_matches_matches::WhatMatchesMatches),
        Box::new(i21_clients_keep_to_the_protocol::ClientsKeepToTheProtocol::default()),
    ]
}
