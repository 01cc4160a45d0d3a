//! What happens to the frames of one way, and what has happened.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_core::raft::Random;

/// How much later something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delay {
    /// Not at all.
    #[default]
    None,
    /// By so much.
    Fixed(Duration),
    /// By something between the two.
    Uniform(Duration, Duration),
    /// By something with this mean, without memory.
    Exponential(Duration),
    /// By the first, and by something up to a draw that is itself up to the second: mostly
    /// short, at times long.
    Nested(Duration, Duration),
}

impl Delay {
    /// Draws one.
    #[must_use]
    pub fn draw(self, random: &mut Random) -> Duration {
        match self {
            Delay::None => Duration::ZERO,
            Delay::Fixed(delay) => delay,
            Delay::Uniform(low, high) => {
                let width = high.saturating_sub(low).as_micros();
                let width = u64::try_from(width).unwrap_or(u64::MAX).saturating_add(1);
                low + Duration::from_micros(random.below(width))
            }
            Delay::Nested(low, width) => {
                let width = Delay::Uniform(Duration::ZERO, width).draw(random);
                low + Delay::Uniform(Duration::ZERO, width).draw(random)
            }
            Delay::Exponential(mean) => {
                // Of 2^20 steps, none at zero, where the logarithm has no end.
                #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
                let share = (random.below(1 << 20) + 1) as f64 / f64::from(1 << 20);
                mean.mul_f64(-share.ln())
            }
        }
    }

    fn later(self, other: Self) -> Self {
        if self == Delay::None { other } else { self }
    }
}

/// What happens to the frames of one way. Shares are of a million data frames; what belongs to
/// the websocket itself (ping, close) is only cut, held up and slowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Everything vanishes, and the connection stays.
    pub cut: bool,
    /// Everything waits, in its order, until this is over.
    pub clogged: bool,
    /// Messages of these kinds ([`super::frame::kind`]) wait until this is over; others pass.
    pub hold: BTreeSet<String>,
    /// How long frames are under way.
    pub delay: Delay,
    /// Each frame goes its own way: a later one may overtake an earlier one.
    pub unordered: bool,
    /// So many of the replies between nodes are late by as much more, and overtaken.
    pub late_replies: Option<(u64, Delay)>,
    /// So many vanish.
    pub drop_millionths: u64,
    /// So many arrive twice.
    pub double_millionths: u64,
    /// So many have a byte that is wrong.
    pub corrupt_millionths: u64,
    /// At so many, the connection breaks.
    pub reset_millionths: u64,
    /// How many bytes fit through in a second.
    pub bytes_per_second: Option<u64>,
}

impl Rules {
    /// Everything vanishes.
    #[must_use]
    pub fn cut() -> Self {
        Self { cut: true, ..Self::default() }
    }

    /// The course's unreliable network, one direction: up to 26 ms late, each frame on its own
    /// way, one of ten lost.
    #[must_use]
    pub fn unreliable() -> Self {
        Self {
            delay: Delay::Uniform(Duration::ZERO, Duration::from_millis(26)),
            unordered: true,
            drop_millionths: 100_000,
            ..Self::default()
        }
    }

    /// The course's long reordering: of the replies, two of three are 0.2 to 2.2 s late, by 0.7 s
    /// in the mean. Requests are not: with both ways that slow, an election takes longer than any
    /// node waits before it begins another, and Raft promises nothing (section 5.6 of the paper).
    #[must_use]
    pub fn long_reordering() -> Self {
        let delay = Delay::Nested(Duration::from_millis(200), Duration::from_millis(1_999));
        Self { late_replies: Some((666_667, delay)), ..Self::unreliable() }
    }

    /// Both rules at once: the worse of each.
    pub fn add(&mut self, other: &Rules) {
        self.cut |= other.cut;
        self.clogged |= other.clogged;
        self.hold.extend(other.hold.iter().cloned());
        self.delay = other.delay.later(self.delay);
        self.unordered |= other.unordered;
        self.late_replies = other.late_replies.or(self.late_replies);
        self.drop_millionths = self.drop_millionths.max(other.drop_millionths);
        self.double_millionths = self.double_millionths.max(other.double_millionths);
        self.corrupt_millionths = self.corrupt_millionths.max(other.corrupt_millionths);
        self.reset_millionths = self.reset_millionths.max(other.reset_millionths);
        let slower = [self.bytes_per_second, other.bytes_per_second];
        self.bytes_per_second = slower.into_iter().flatten().min();
    }
}

/// What a way has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that were passed on.
    pub frames: u64,
    /// Bytes that were passed on, with the frames' headers.
    pub bytes: u64,
    /// Messages between nodes that were read, by kind, whatever became of them.
    pub messages: BTreeMap<String, u64>,
    /// Frames that vanished.
    pub dropped: u64,
    /// Frames that were passed on twice.
    pub doubled: u64,
    /// Frames that overtook an earlier one.
    pub overtook: u64,
    /// Frames with a wrong byte.
    pub corrupted: u64,
    /// Frames that were held until a rule was over.
    pub held: u64,
    /// Frames that were passed on again much later.
    pub replayed: u64,
    /// Connections that a rule broke.
    pub broken: u64,
}

impl Counts {
    /// Adds others.
    pub fn add(&mut self, other: &Counts) {
        for (kind, count) in &other.messages {
            *self.messages.entry(kind.clone()).or_default() += count;
        }
        for (mine, others) in [
            (&mut self.frames, other.frames),
            (&mut self.bytes, other.bytes),
            (&mut self.dropped, other.dropped),
            (&mut self.doubled, other.doubled),
            (&mut self.overtook, other.overtook),
            (&mut self.corrupted, other.corrupted),
            (&mut self.held, other.held),
            (&mut self.replayed, other.replayed),
            (&mut self.broken, other.broken),
        ] {
            *mine += others;
        }
    }

    /// How many messages of a kind were read.
    #[must_use]
    pub fn of(&self, kind: &str) -> u64 {
        self.messages.get(kind).copied().unwrap_or(0)
    }
}
