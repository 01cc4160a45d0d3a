//! Who is dialled, where, and as what.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quorate_core::types::NodeId;
use quorate_core::wire::peer::{RAFT_PATH, SNAPSHOT_PATH};

use crate::handshake::{Disk, Incarnations, judge_member};
use crate::settings::Settings;
use crate::view::View;

/// Makes ways to other members.
#[derive(Clone)]
pub struct Dialler {
    /// This node's settings.
    pub settings: Arc<Settings>,
    /// Which disks the others had when they were first met.
    pub incarnations: Arc<Mutex<dyn Incarnations>>,
    /// Who the members are.
    pub view: Arc<View>,
}

impl Dialler {
    /// A way for messages of Raft to a member, which is reached at that address unless the
    /// configuration says otherwise.
    #[must_use]
    pub fn raft(&self, peer: NodeId, address: String) -> Dial {
        self.dial(peer, address, RAFT_PATH)
    }

    /// A way for a snapshot.
    #[must_use]
    pub fn snapshot(&self, peer: NodeId, address: String) -> Dial {
        self.dial(peer, address, SNAPSHOT_PATH)
    }

    fn dial(&self, peer: NodeId, address: String, path: &'static str) -> Dial {
        let Self { settings, incarnations, view } = self.clone();
        let seed = settings.raft.seed ^ peer.0;
        let address = settings.dial.get(&peer).cloned().unwrap_or(address);
        let own = Arc::clone(&view);
        let judge = move |disk| {
            let (committed, membership) = view.membership();
            let mut known = incarnations.lock().unwrap_or_else(PoisonError::into_inner);
            let judged = judge_member(&mut *known, committed, &membership, disk);
            judged.map_err(|refused| refused.reason)
        };
        let since = Instant::now();
        let (queued, disk_known) = (Arc::default(), Box::new(judge));
        Dial { settings, view: own, peer, address, path, queued, disk_known, seed, since }
    }
}

/// A leader that was heard within this time is one.
const HEARD: Duration = Duration::from_secs(2);
/// A node that joins is called on within this time, by a leader that knows it.
const WELCOME: Duration = Duration::from_secs(10);

impl Dial {
    /// Whether no leader takes this node for a member.
    pub(crate) fn stands_alone(&self) -> bool {
        let hears = self.view.contact_age().is_some_and(|age| age < HEARD);
        let waits = self.settings.joined && self.since.elapsed() < WELCOME;
        !hears && !waits
    }

    /// Goes by the address that the members' list has now.
    pub(crate) fn follow_address(&mut self) {
        let (_, membership) = self.view.membership();
        if let Some(member) = membership.member(self.peer)
            && !self.settings.dial.contains_key(&self.peer)
        {
            self.address.clone_from(&member.peer);
        }
    }
}

/// What a dialling task needs.
pub struct Dial {
    /// This node's settings.
    pub settings: Arc<Settings>,
    /// Who the members are, as this node knows.
    pub view: Arc<View>,
    /// The peer.
    pub peer: NodeId,
    /// The path that is asked for: what goes over the connection.
    pub path: &'static str,
    /// Where it is dialled.
    pub address: String,
    /// Bytes handed to the connection and not yet written.
    pub queued: Arc<AtomicUsize>,
    /// Says whether a peer's disk is the one known; see `judge_member`.
    pub disk_known: Box<dyn FnMut(Disk) -> Result<(), String> + Send>,
    /// The seed of the pauses.
    pub seed: u64,
    /// When dialling began.
    pub since: Instant,
}
