//! What must hold in every state, whatever happened on the way (Raft figure 3, and what
//! `quorate_core::raft` promises beside it).
//!
//! The rules that speak about the past need a memory of it: [`History`] is part of the state.

use std::collections::BTreeMap;
use std::rc::Rc;

use quorate_core::raft::{Message, RoleKind};
use quorate_core::types::{Entry, Index, NodeId, Term};

use super::machine::{Machine, Outcome};
use super::print::{Print, print};

/// An entry that some leader has committed.
#[derive(Clone, Debug, Hash)]
struct Committed {
    entry: Entry,
    /// The term of whoever said so first.
    by: Term,
}

/// What the past binds the future to.
#[derive(Clone, Debug)]
pub(super) struct History {
    leaders: BTreeMap<Term, NodeId>,
    /// The newest vote that each gave, and its term. Votes leave in the order of the terms.
    votes: BTreeMap<NodeId, (Term, NodeId)>,
    committed: BTreeMap<Index, Committed>,
    pub(super) print: Print,
}

/// What happened: one machine, before and after.
pub(super) struct Happened<'a> {
    pub(super) before: &'a Machine,
    pub(super) after: &'a Machine,
    pub(super) outcome: &'a Outcome,
    /// All machines, with the one in its new state.
    pub(super) machines: &'a [Rc<Machine>],
}

impl Happened<'_> {
    /// Whether it can bind or break anything; most of what happens cannot. Other machines than
    /// the one have no part in the answer.
    pub(super) fn matters(&self) -> bool {
        self.after.commit > self.before.commit
            || self.leads_anew()
            || self.votes().next().is_some()
            || !self.outcome.early.is_empty()
            || !self.outcome.applied.is_empty()
            || self.has_new_log()
    }

    /// The votes that leave, each with its term and candidate. A candidate's request tells of its
    /// vote for itself.
    fn votes(&self) -> impl Iterator<Item = (Term, NodeId)> + '_ {
        self.outcome.left.iter().filter_map(|(to, message)| match message {
            Message::RequestVoteReply { term, granted: true } => Some((*term, *to)),
            Message::RequestVote { term, .. } => Some((*term, self.after.id)),
            Message::RequestVoteReply { .. }
            | Message::PreVote { .. }
            | Message::PreVoteReply { .. }
            | Message::AppendEntries { .. }
            | Message::AppendEntriesReply { .. }
            | Message::Heartbeat { .. }
            | Message::HeartbeatReply { .. }
            | Message::TimeoutNow { .. }
            | Message::ReadIndex { .. }
            | Message::ReadIndexReply { .. }
            | Message::WantSnapshot { .. } => None,
        })
    }

    fn has_new_log(&self) -> bool {
        self.after.chain != self.before.chain
    }

    fn leads_anew(&self) -> bool {
        self.after.role == RoleKind::Leader
            && (self.before.role != RoleKind::Leader || self.before.term != self.after.term)
    }
}

/// Checks what happened against the past, and adds it. Only for what [`Happened::matters`].
///
/// # Errors
/// The rule that is broken, in words.
pub(super) fn check(history: &mut Rc<History>, happened: &Happened<'_>) -> Result<(), String> {
    nothing_leaves_early(happened)?;
    if happened.has_new_log() {
        log_matching(happened)?;
    }
    let mut next = History::clone(history);
    next.one_vote(happened)?;
    if happened.leads_anew() {
        next.one_leader(happened)?;
    }
    if happened.after.commit > happened.before.commit {
        next.commit_stands(happened)?;
    }
    next.applies_in_order(happened)?;
    next.settle();
    if next.print != history.print {
        *history = Rc::new(next);
    }
    Ok(())
}

/// Durability: votes, acknowledgements and requests of a new term leave only after their sync.
fn nothing_leaves_early(happened: &Happened<'_>) -> Result<(), String> {
    match happened.outcome.early.first() {
        None => Ok(()),
        Some((to, message)) => Err(format!(
            "a promise leaves before its sync: n{} sends n{to} {message:?}",
            happened.after.id
        )),
    }
}

/// Log matching (Raft §5.3): two logs with one entry in common are equal up to it.
fn log_matching(happened: &Happened<'_>) -> Result<(), String> {
    let ours = &happened.after.log;
    for other in happened.machines.iter().filter(|other| other.id != happened.after.id) {
        let mut both = ours.iter().zip(&other.log);
        let common = both.rposition(|(a, b)| a.position() == b.position());
        let Some(common) = common else { continue };
        if happened.after.chain[common] != other.chain[common] {
            return Err(format!(
                "log matching: n{} and n{} agree on {} and not on all before it",
                happened.after.id,
                other.id,
                ours[common].position()
            ));
        }
    }
    Ok(())
}

impl History {
    /// Of a cluster to which nothing has happened.
    pub(super) fn new() -> Self {
        let (leaders, votes, committed) = <(_, _, _)>::default();
        let mut history = Self { leaders, votes, committed, print: 0 };
        history.settle();
        history
    }

    fn settle(&mut self) {
        self.print = print(&(&self.leaders, &self.votes, &self.committed));
    }

    /// A node gives at most one vote in a term (Raft §5.2), restarts or not.
    fn one_vote(&mut self, happened: &Happened<'_>) -> Result<(), String> {
        let id = happened.after.id;
        for (term, candidate) in happened.votes() {
            let (newest, voted) = *self.votes.entry(id).or_insert((term, candidate));
            if term < newest || (term == newest && candidate != voted) {
                return Err(format!(
                    "one vote: n{id} votes for n{candidate} in term {term}, after its vote for \
                     n{voted} in term {newest}"
                ));
            }
            self.votes.insert(id, (term, candidate));
        }
        Ok(())
    }

    /// Election safety (Raft §5.2), and leader completeness (§5.4): a leader's log holds every
    /// entry that was committed in an earlier term.
    fn one_leader(&mut self, happened: &Happened<'_>) -> Result<(), String> {
        let Machine { id, term, log, .. } = happened.after;
        let leader = *self.leaders.entry(*term).or_insert(*id);
        if leader != *id {
            return Err(format!("election safety: n{leader} and n{id} lead in term {term}"));
        }
        let earlier = self.committed.values().filter(|committed| committed.by < *term);
        match earlier.into_iter().find(|committed| !log.contains(&committed.entry)) {
            None => Ok(()),
            Some(lacking) => Err(format!(
                "leader completeness: n{id} leads in term {term} without {}, committed in term {}",
                lacking.entry.position(),
                lacking.by
            )),
        }
    }

    /// What is committed is on the disks of a majority, and stays what it is.
    fn commit_stands(&mut self, happened: &Happened<'_>) -> Result<(), String> {
        let Machine { id, term, role, log, .. } = happened.after;
        let news = (happened.before.commit, happened.after.commit);
        for entry in log.iter().filter(|entry| news.0 < entry.index && entry.index <= news.1) {
            let holders = happened.machines.iter().filter(|machine| machine.disk.holds(entry));
            let position = entry.position();
            if *role == RoleKind::Leader && holders.count() * 2 <= happened.machines.len() {
                return Err(format!(
                    "durability: n{id} commits {position}, on no majority of disks"
                ));
            }
            let newer =
                |machine: &&Rc<Machine>| machine.role == RoleKind::Leader && machine.term > *term;
            let lacks = |machine: &&Rc<Machine>| !machine.log.contains(entry);
            if let Some(leader) = happened.machines.iter().filter(newer).find(lacks) {
                return Err(format!(
                    "leader completeness: n{} leads in term {} without {position}, which n{id} \
                     commits in term {term}",
                    leader.id, leader.term
                ));
            }
            let fresh = || Committed { entry: entry.clone(), by: *term };
            let committed = self.committed.entry(entry.index).or_insert_with(fresh);
            if committed.entry != *entry {
                return Err(format!(
                    "committed entries stand: n{id} commits {position} where {} was committed",
                    committed.entry.position()
                ));
            }
            committed.by = committed.by.min(*term);
        }
        Ok(())
    }

    /// State machine safety (Raft §5.4.3): what is applied was committed at that place.
    fn applies_in_order(&self, happened: &Happened<'_>) -> Result<(), String> {
        let Machine { id, disk, .. } = happened.after;
        let mut last = happened.before.applied;
        for entry in &happened.outcome.applied {
            if entry.index != last.next() {
                return Err(format!("n{id} applies {} right after {last}", entry.index));
            }
            last = entry.index;
            let committed = self.committed.get(&entry.index);
            if committed.is_none_or(|committed| committed.entry != *entry) {
                return Err(format!("state machine safety: n{id} applies {}", entry.position()));
            }
            if !disk.holds(entry) {
                return Err(format!("n{id} applies {} before it is durable", entry.position()));
            }
        }
        Ok(())
    }
}
