//! The helpers of the MIT course's tests (6.5840), for real processes: what its `config.go` does to
//! goroutines, with the course's own limits.
//!
//! A node that is *cut* reaches no other node, and clients reach it: that is how a client comes to
//! talk to a leader of the past. A command is a `put` to a key of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use quorate_client::{Client, Error, Pending};
use quorate_core::raft::Random;
use quorate_core::wire::client::{Get, Op, Put, Success};
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, Setup};
use crate::proxy::{Place, Rules, Way};

/// The course's limit for one agreement.
const AGREEMENT_TIME: Duration = Duration::from_secs(10);

/// An agreement is tried anew after this.
const TRY_TIME: Duration = Duration::from_secs(2);

/// Whether the course's full length is asked for: `QUORATE_MIT=full`.
#[must_use]
pub fn is_full() -> bool {
    std::env::var("QUORATE_MIT").is_ok_and(|text| text == "full")
}

/// The course's number, or a smaller one unless its full length is asked for.
#[must_use]
pub fn length(full: u64, short: u64) -> u64 {
    if is_full() { full } else { short }
}

/// A cluster under test.
#[derive(Debug)]
pub struct Lab {
    /// The nodes.
    pub cluster: Cluster,
    /// Draws.
    pub random: Random,
    cut: BTreeSet<u64>,
    clients: BTreeMap<u64, Client>,
    commands: u64,
    /// Commands that were acknowledged.
    acked: BTreeSet<u64>,
}

impl Lab {
    /// Starts a cluster of so many nodes.
    #[must_use]
    pub fn start(program: &Path, size: u64, more: &str) -> Self {
        let cluster = Setup::new(program, size).proxies(size).more(more).start();
        Self {
            cluster,
            random: Random::new(size),
            cut: BTreeSet::new(),
            clients: BTreeMap::new(),
            commands: 0,
            acked: BTreeSet::new(),
        }
    }

    /// Every way between nodes obeys these rules, unless it is cut.
    pub fn network(&self, rules: &Rules) {
        let ids = self.cluster.ids();
        for (a, b) in ids.iter().flat_map(|a| ids.iter().map(move |b| (*a, *b))) {
            let cut = self.cut.contains(&a) || self.cut.contains(&b);
            self.cluster.net().set(Way::nodes(a, b), Rules { cut, ..rules.clone() });
        }
    }

    /// The ways between clients and nodes obey these rules.
    pub fn client_network(&self, rules: &Rules) {
        for id in self.cluster.ids() {
            let way = Way::new(Place::Clients, Place::Node(id));
            self.cluster.net().set(way, rules.clone());
            self.cluster.net().set(way.back(), rules.clone());
        }
    }

    /// Cuts a node off from all others.
    pub fn cut(&mut self, id: u64) {
        self.cut.insert(id);
        self.apply_cuts();
    }

    /// Connects a node with all others that are not cut off.
    pub fn connect(&mut self, id: u64) {
        self.cut.remove(&id);
        self.apply_cuts();
    }

    /// Connects every node.
    pub fn connect_all(&mut self) {
        self.cut.clear();
        self.apply_cuts();
    }

    fn apply_cuts(&self) {
        let ids = self.cluster.ids();
        for (a, b) in ids.iter().flat_map(|a| ids.iter().map(move |b| (*a, *b))) {
            let cut = self.cut.contains(&a) || self.cut.contains(&b);
            self.cluster.net().change(Way::nodes(a, b), |rules| rules.cut = cut);
        }
    }

    /// Whether a node is cut off.
    #[must_use]
    pub fn is_cut(&self, id: u64) -> bool {
        self.cut.contains(&id)
    }

    /// The nodes that run and are not cut off.
    pub fn connected(&mut self) -> Vec<u64> {
        let ids = self.cluster.ids().into_iter();
        ids.filter(|id| !self.cut.contains(id) && self.cluster.is_running(*id)).collect()
    }

    /// All nodes but one.
    #[must_use]
    pub fn others(&self, id: u64) -> Vec<u64> {
        self.cluster.ids().into_iter().filter(|other| *other != id).collect()
    }

    /// Ends a node with SIGKILL.
    pub fn crash(&mut self, id: u64) {
        self.cluster.kill(id);
        self.clients.remove(&id);
    }

    /// Starts a node that was ended, and connects it.
    pub fn revive(&mut self, id: u64) {
        if !self.cluster.is_started(id) {
            self.cluster.start_node(id);
        }
        self.connect(id);
    }

    /// The leader of the newest term among the connected nodes, and that term. Two leaders of one
    /// term are a failure, and so are five seconds without one.
    pub async fn check_one_leader(&mut self) -> (u64, u64) {
        let connected = self.connected();
        for _ in 0..10 {
            sleep(Duration::from_millis(450 + self.random.below(100))).await;
            if let Some(found) = self.leader_now(&connected).await {
                return found;
            }
        }
        panic!("no leader among {connected:?} in five seconds");
    }

    /// The leader of the newest term among some nodes, right now, and that term.
    pub async fn leader_now(&self, ids: &[u64]) -> Option<(u64, u64)> {
        let mut leaders: BTreeMap<u64, u64> = BTreeMap::new();
        for status in self.cluster.statuses_of(ids).await {
            if status.role == "leader" {
                let before = leaders.insert(status.term, status.node);
                assert_eq!(before, None, "two leaders of term {}", status.term);
            }
        }
        leaders.pop_last().map(|(term, node)| (node, term))
    }

    /// Nobody among the connected nodes leads.
    pub async fn check_no_leader(&mut self) {
        let connected = self.connected();
        let leader = self.leader_now(&connected).await;
        assert_eq!(leader, None, "a leader without a quorum");
    }

    /// The term on which the connected nodes agree.
    pub async fn check_terms(&mut self) -> u64 {
        let connected = self.connected();
        let statuses = self.cluster.statuses_of(&connected).await;
        let terms: BTreeSet<u64> = statuses.iter().map(|status| status.term).collect();
        assert_eq!(terms.len(), 1, "nodes disagree on the term");
        terms.into_iter().next().unwrap_or(0)
    }

    /// Offers a command to one node, whoever leads, and gives its number.
    pub fn offer(&mut self, id: u64) -> (u64, Pending) {
        self.offer_of(id, 0)
    }

    /// As [`Lab::offer`], with so many bytes of value.
    pub fn offer_of(&mut self, id: u64, bytes: usize) -> (u64, Pending) {
        self.commands += 1;
        let number = self.commands;
        let value = format!("{number}{}", "x".repeat(bytes)).into();
        let put = Put { key: key(number).into(), value, ..Put::default() };
        let address = self.cluster.addresses.get(&id).expect("a node of the cluster").clone();
        let client = self.clients.entry(id).or_insert_with(|| {
            let builder = Client::builder().endpoint(address).pinned(true);
            builder.deadline(TRY_TIME).start().expect("there is an endpoint")
        });
        (number, client.submit(Op::Put(put), None))
    }

    /// Notes what became of a command; its index, if it was acknowledged.
    pub fn note(&mut self, number: u64, ended: &Result<Success, Error>) -> Option<u64> {
        let Ok(Success::Put { index, .. }) = ended else { return None };
        self.acked.insert(number);
        Some(*index)
    }

    /// One agreement: some connected node takes a new command within ten seconds, and at least
    /// `expected` nodes apply it. Its index.
    pub async fn one(&mut self, expected: usize) -> u64 {
        self.one_of(expected, 0).await
    }

    /// As [`Lab::one`], with so many bytes of value.
    pub async fn one_of(&mut self, expected: usize, bytes: usize) -> u64 {
        let by = Instant::now() + AGREEMENT_TIME;
        while Instant::now() < by {
            for id in self.connected() {
                let (number, pending) = self.offer_of(id, bytes);
                let ended = pending.await;
                let Some(index) = self.note(number, &ended) else { continue };
                if self.applied_by(index, expected, TRY_TIME).await {
                    return index;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("no agreement of {expected} in ten seconds");
    }

    /// Whether so many nodes apply an index in time.
    pub async fn applied_by(&self, index: u64, expected: usize, within: Duration) -> bool {
        let by = Instant::now() + within;
        while Instant::now() < by {
            if self.applied(index).await >= expected {
                return true;
            }
            sleep(Duration::from_millis(20)).await;
        }
        false
    }

    /// How many nodes have applied an index.
    pub async fn applied(&self, index: u64) -> usize {
        let statuses = self.cluster.statuses().await;
        statuses.iter().filter(|status| status.applied_index >= index).count()
    }

    /// A command offered to a leader without a quorum must not be acknowledged in two seconds.
    pub async fn never(&mut self, id: u64) {
        let commit = self.commit_of(id).await;
        let (number, pending) = self.offer(id);
        let ended = pending.await;
        assert_eq!(self.note(number, &ended), None, "acknowledged without a quorum");
        assert_eq!(self.commit_of(id).await, commit, "committed without a quorum");
    }

    async fn commit_of(&self, id: u64) -> u64 {
        self.cluster.status(id).await.expect("the node answers").commit_index
    }

    /// The end of every test: all nodes run and are connected, have the same state, and hold
    /// every command that was ever acknowledged.
    pub async fn finish(mut self) {
        for id in self.cluster.ids() {
            self.revive(id);
        }
        self.cluster.net().heal();
        self.cluster.leader().await;
        let client = self.cluster.client().await;
        self.cluster.settled().await;
        let read = |number: &u64| {
            let get = Get { key: key(*number).into(), ..Get::default() };
            (*number, client.submit(Op::Get(get), None))
        };
        let reads: Vec<(u64, Pending)> = self.acked.iter().map(read).collect();
        for (number, pending) in reads {
            let Ok(Success::Get { entry: Some(entry), .. }) = pending.await else {
                panic!("command {number} was acknowledged and is lost");
            };
            let value = String::from_utf8_lossy(&entry.value).into_owned();
            assert_eq!(value.trim_end_matches('x'), number.to_string());
            assert_eq!(entry.version, 1, "command {number} was executed more than once");
        }
    }
}

fn key(number: u64) -> String {
    format!("command/{number}")
}
