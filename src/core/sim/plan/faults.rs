//! What can go wrong, as data.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Order;

/// A fault and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// When, in milliseconds of virtual time.
    pub at_ms: u64,
    /// Names its own stream of chance, so that it does the same in a smaller plan.
    pub id: u64,
    /// What.
    #[serde(flatten)]
    pub fault: Fault,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A node's process ends, and starts again after a while.
    Crash {
        /// Which.
        node: Target,
        /// What its disk keeps.
        power: Power,
        /// How long it is down.
        down_ms: u64,
    },
    /// It ends when it next reaches a point.
    CrashAt {
        /// Which.
        node: Target,
        /// Where.
        point: Point,
        /// What its disk keeps.
        power: Power,
        /// How long it is down.
        down_ms: u64,
    },
    /// It ends again and again, each time shortly after its start.
    CrashLoop {
        /// Which.
        node: Target,
        /// How often.
        times: u64,
        /// Between two ends.
        every_ms: u64,
        /// What its disk keeps.
        power: Power,
    },
    /// Every node ends at once.
    CrashAll {
        /// What the disks keep.
        power: Power,
        /// How long they are down, each a little different.
        down_ms: u64,
    },
    /// A node stands still, then goes on with everything that waits.
    Pause {
        /// Which.
        node: Target,
        /// How long.
        ms: u64,
    },
    /// A node's processor is slow.
    Slow {
        /// Which.
        node: Target,
        /// How many times.
        factor: u64,
        /// How long.
        ms: u64,
    },
    /// One direction of one link is cut.
    Cut {
        /// Who is not heard.
        from: Target,
        /// Who does not hear.
        to: Target,
        /// How long.
        ms: u64,
    },
    /// Many links are cut.
    Partition {
        /// Which.
        shape: Shape,
        /// How long.
        ms: u64,
    },
    /// The leader's connections to the other nodes break, and none can be made for a while: the
    /// others hear at once that it is gone, and it still believes to lead.
    Usurp {
        /// How long.
        ms: u64,
    },
    /// The connections between two nodes break, and what is under way is lost.
    Reset {
        /// One.
        a: Target,
        /// The other.
        b: Target,
    },
    /// Messages of one direction wait, then all arrive at once.
    Clog {
        /// Who is not heard.
        from: Target,
        /// Who does not hear.
        to: Target,
        /// How long.
        ms: u64,
    },
    /// Every link loses and doubles many messages.
    Storm {
        /// Of a hundred messages, so many are lost.
        loss_percent: u64,
        /// Of a hundred, so many arrive twice.
        duplicate_percent: u64,
        /// How long.
        ms: u64,
    },
    /// Messages that have arrived long ago arrive again.
    Replay {
        /// How many.
        messages: u64,
    },
    /// A disk's syncs hang.
    Stall {
        /// Whose.
        node: Target,
        /// How long.
        ms: u64,
    },
    /// A disk's next sync fails.
    SyncError {
        /// Whose.
        node: Target,
        /// How long the node is down then.
        down_ms: u64,
        /// Whether the power goes, too, before the node is up again: what the kernel kept is
        /// lost.
        power: bool,
    },
    /// A disk's next write fails.
    WriteError {
        /// Whose.
        node: Target,
        /// How long the node is down then.
        down_ms: u64,
    },
    /// A disk is full for a while; the node ends and starts until it is not.
    Full {
        /// Whose.
        node: Target,
        /// How many more bytes there are.
        bytes: u64,
        /// How long.
        ms: u64,
    },
    /// A node ends, and what it had synced rots: it must notice, and stays down.
    Rot {
        /// Whose.
        node: Target,
    },
    /// A node ends, and its disk is empty: it stays down.
    Wipe {
        /// Whose.
        node: Target,
    },
    /// A node ends, and its checkpoint is lost: what its log does not hold any more it must get from
    /// its leader, and it votes meanwhile.
    LoseCheckpoint {
        /// Whose.
        node: Target,
        /// How long it is down.
        down_ms: u64,
    },
    /// An operator wants a checkpoint now.
    Checkpoint {
        /// Of which node.
        node: Target,
    },
    /// A node's clock jumps ahead.
    ClockJump {
        /// Whose.
        node: Target,
        /// By how much.
        ms: u64,
    },
    /// A node is told to stop leading.
    StepDown {
        /// Which.
        node: Target,
    },
    /// A leader is told to hand leadership over.
    Transfer {
        /// To whom; where it leads already, to whoever is best placed.
        to: Target,
    },
    /// An operator changes the members.
    Members(Order),
    /// A client's connection breaks.
    ClientReset {
        /// Which client.
        client: u64,
    },
    /// A client's connection goes silent, and nobody is told.
    ClientSilence {
        /// Which client.
        client: u64,
        /// Its requests still arrive.
        requests_arrive: bool,
    },
}

impl Fault {
    /// Its kind, as the ledger counts it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Crash { power: Power::Process, .. } => "process killed",
            Fault::Crash { .. } => "power lost",
            Fault::CrashAt { .. } => "killed at a point",
            Fault::CrashLoop { .. } => "restart loop",
            Fault::CrashAll { .. } => "all killed at once",
            Fault::Pause { .. } => "paused",
            Fault::Slow { .. } => "slow processor",
            Fault::Cut { .. } => "one-way cut",
            Fault::Partition { shape, .. } => shape.kind(),
            Fault::Usurp { .. } => "leader disconnected",
            Fault::Reset { .. } => "connection reset",
            Fault::Clog { .. } => "clogged link",
            Fault::Storm { .. } => "loss and duplication",
            Fault::Replay { .. } => "old messages replayed",
            Fault::Stall { .. } => "disk stalled",
            Fault::SyncError { .. } => "sync failed",
            Fault::WriteError { .. } => "write failed",
            Fault::Full { .. } => "disk full",
            Fault::Rot { .. } => "bit rot",
            Fault::Wipe { .. } => "disk wiped",
            Fault::LoseCheckpoint { .. } => "checkpoint lost",
            Fault::Checkpoint { .. } => "checkpoint asked for",
            Fault::ClockJump { .. } => "clock jumped",
            Fault::StepDown { .. } => "told to step down",
            Fault::Transfer { .. } => "told to hand over",
            Fault::Members(order) => order.kind(),
            Fault::ClientReset { .. } => "client cut off",
            Fault::ClientSilence { .. } => "client unheard",
        }
    }

    /// Every kind, in the order of the ledger's table.
    pub const KINDS: &'static [&'static str] = &[
        "process killed",
        "power lost",
        "killed at a point",
        "restart loop",
        "all killed at once",
        "paused",
        "slow processor",
        "one-way cut",
        "partition: isolated node",
        "partition: halves",
        "partition: bridge",
        "partition: chain",
        "partition: ring",
        "leader disconnected",
        "connection reset",
        "clogged link",
        "loss and duplication",
        "old messages replayed",
        "disk stalled",
        "sync failed",
        "write failed",
        "disk full",
        "bit rot",
        "disk wiped",
        "checkpoint lost",
        "checkpoint asked for",
        "clock jumped",
        "told to step down",
        "told to hand over",
        "member added",
        "learner promoted",
        "voter demoted",
        "member removed",
        "member replaced",
        "members swapped",
        "client cut off",
        "client unheard",
    ];
}

/// A node, by number or by what it is at the time. Written `n2`, `leader`, `follower1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// By number.
    Node(u64),
    /// The leader of the highest term; node 1 while there is none.
    Leader,
    /// The n-th of the others, from 1.
    Follower(u64),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Node(id) => write!(f, "n{id}"),
            Target::Leader => f.write_str("leader"),
            Target::Follower(place) => write!(f, "follower{place}"),
        }
    }
}

impl FromStr for Target {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse().ok().filter(|number| *number > 0);
        let found = match text {
            "leader" => Some(Target::Leader),
            _ => match text.strip_prefix("follower") {
                Some(place) => number(place).map(Target::Follower),
                None => text.strip_prefix('n').and_then(number).map(Target::Node),
            },
        };
        found.ok_or_else(|| format!("`{text}` is no node: write n1, leader or follower1"))
    }
}

impl TryFrom<String> for Target {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}

/// What a disk keeps of what was written and not synced when a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// Everything: only the process ended, the machine runs on.
    Process,
    /// Nothing.
    Synced,
    /// A random beginning.
    Prefix,
    /// Random pieces.
    Subset,
    /// A random beginning, and a part of the piece behind it.
    Torn,
}

/// Where a node may end, between two things it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// After a drain, before anything of it is done.
    Drained,
    /// After some of the messages have left.
    BetweenMessages,
    /// A `Persist` is handed to the log, and nothing of it is written.
    Handed,
    /// In the middle of the write and sync of the log.
    InSync,
    /// Synced, and nobody knows.
    Synced,
    /// Some of the messages that waited for the sync have left.
    BetweenPromises,
    /// Everything has left, and the core has not heard that it is durable.
    Promised,
    /// In the middle of applying.
    BetweenApplies,
    /// Applied, and nobody is answered.
    Applied,
    /// Right after the disk was read at a start.
    Started,
    /// A checkpoint is about to be durable.
    Capturing,
    /// It is, and the core has not heard of it.
    Captured,
    /// A snapshot is accepted, and nothing of it is durable.
    Accepted,
    /// It is the durable checkpoint, and nothing else has changed.
    Installed,
    /// It is the state, and the core has not heard of it.
    Replaced,
    /// The log has let go of entries.
    Trimmed,
}

impl Point {
    /// Every point.
    pub const ALL: &'static [Point] = &[
        Point::Drained,
        Point::BetweenMessages,
        Point::Handed,
        Point::InSync,
        Point::Synced,
        Point::BetweenPromises,
        Point::Promised,
        Point::BetweenApplies,
        Point::Applied,
        Point::Started,
        Point::Capturing,
        Point::Captured,
        Point::Accepted,
        Point::Installed,
        Point::Replaced,
        Point::Trimmed,
    ];
}

/// Which links a partition cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// One node hears nobody and is heard by nobody.
    Isolated(Target),
    /// Two groups; the number's bits say who is in the first.
    Halves(u64),
    /// Two groups that only this node reaches.
    Bridge(Target),
    /// Each node reaches only the one before and the one behind it.
    Chain,
    /// As a chain, and the last reaches the first.
    Ring,
}

impl Shape {
    fn kind(self) -> &'static str {
        match self {
            Shape::Isolated(_) => "partition: isolated node",
            Shape::Halves(_) => "partition: halves",
            Shape::Bridge(_) => "partition: bridge",
            Shape::Chain => "partition: chain",
            Shape::Ring => "partition: ring",
        }
    }
}
