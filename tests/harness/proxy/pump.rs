//! One direction of one connection: reads frames, decides what becomes of each, writes them
//! when their time has come.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quorate_core::raft::Random;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::frame::{Frame, kind};
use super::rules::Rules;
use super::{Connection, Shared, Way};

/// More than this is not read ahead: then the sender waits.
const AHEAD_BYTES: usize = 64 << 20;

/// So many frames are kept to be sent again.
const KEPT_FRAMES: usize = 256;

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The lines of HTTP before the frames.
    Head,
    /// Frames.
    Frames,
    /// Bytes, since nobody asked for a websocket.
    Raw,
}

/// How a frame goes its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// By the rules for everything.
    Plain,
    /// It waits until its kind is let go.
    Held,
    /// It is a reply between nodes.
    Reply,
}

/// One direction.
pub(super) struct Pump {
    shared: Arc<Shared>,
    way: Way,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    changed: watch::Receiver<u64>,
    silenced: watch::Receiver<[bool; 2]>,
    is_forward: bool,
    random: Random,
    stage: Stage,
    buffer: BytesMut,
    /// What is under way, by the time at which it arrives and its number.
    queue: BTreeMap<(Instant, u64), Bytes>,
    queued_bytes: usize,
    next: u64,
    /// What waits for a rule to be over.
    held: VecDeque<Bytes>,
    /// The number of the newest frame that was written.
    newest: u64,
    /// When the latest frame in order arrives.
    latest: Instant,
    /// When the line is free again.
    free: Instant,
    kept: VecDeque<Bytes>,
}

impl Pump {
    pub(super) fn new(
        shared: &Arc<Shared>,
        connection: &Connection,
        number: u64,
        way: Way,
        reader: OwnedReadHalf,
        writer: OwnedWriteHalf,
    ) -> Self {
        let is_forward = way == connection.way;
        let stream = number.wrapping_mul(2) + u64::from(is_forward);
        Self {
            shared: Arc::clone(shared),
            way,
            reader,
            writer,
            changed: shared.changed.subscribe(),
            silenced: connection.silenced.subscribe(),
            is_forward,
            random: Random::new(shared.seed ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            stage: Stage::Head,
            buffer: BytesMut::with_capacity(8 << 10),
            queue: BTreeMap::new(),
            queued_bytes: 0,
            next: 0,
            held: VecDeque::new(),
            newest: 0,
            latest: Instant::now(),
            free: Instant::now(),
            kept: VecDeque::new(),
        }
    }

    /// Until either end is gone or a rule breaks the connection.
    pub(super) async fn run(mut self) {
        let mut is_open = true;
        while is_open || !self.queue.is_empty() || self.is_stuck() {
            if self.write_due().await.is_err() {
                return;
            }
            let next = self.queue.keys().next().map(|(at, _)| *at);
            tokio::select! {
                biased;
                _ = self.changed.changed() => self.rules_changed(),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                read = self.reader.read_buf(&mut self.buffer),
                    if is_open && self.queued_bytes < AHEAD_BYTES =>
                {
                    is_open = matches!(read, Ok(bytes) if bytes > 0);
                    if self.take().is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// An end that nobody may hear of yet: what is cut or held up is silent.
    fn is_stuck(&self) -> bool {
        let rules = self.shared.rules(self.way);
        self.is_cut(&rules) || rules.clogged || !self.held.is_empty()
    }

    fn is_cut(&self, rules: &Rules) -> bool {
        let [forward, back] = *self.silenced.borrow();
        rules.cut || if self.is_forward { forward } else { back }
    }

    /// Takes everything whole off the buffer. An error breaks the connection.
    fn take(&mut self) -> Result<(), Broken> {
        let rules = self.shared.rules(self.way);
        loop {
            match self.stage {
                Stage::Head => {
                    let Some(end) = end_of_head(&self.buffer) else { return Ok(()) };
                    let head = self.buffer.split_to(end).freeze();
                    let is_websocket = starts_websocket(&head);
                    self.stage = if is_websocket { Stage::Frames } else { Stage::Raw };
                    self.pass(&rules, &head, Manner::Plain);
                }
                Stage::Raw if self.buffer.is_empty() => return Ok(()),
                Stage::Raw => {
                    let bytes = self.buffer.split().freeze();
                    self.pass(&rules, &bytes, Manner::Plain);
                }
                Stage::Frames => {
                    let Some(frame) = Frame::take(&mut self.buffer) else { return Ok(()) };
                    self.take_frame(&rules, &frame)?;
                }
            }
        }
    }

    fn take_frame(&mut self, rules: &Rules, frame: &Frame) -> Result<(), Broken> {
        let between_nodes = matches!(self.way.from, super::Place::Node(_))
            && matches!(self.way.to, super::Place::Node(_));
        let messages = if between_nodes { frame.messages() } else { None };
        let Some(messages) = messages else {
            return self.decide(rules, frame, Manner::Plain);
        };
        let kinds: Vec<String> = messages.iter().map(kind).collect();
        self.shared.count(self.way, |counts| {
            for kind in &kinds {
                *counts.messages.entry(kind.clone()).or_default() += 1;
            }
        });
        if rules.hold.is_empty() && rules.late_replies.is_none() {
            return self.decide(rules, frame, Manner::Plain);
        }
        // Only some messages are held or late: each one travels alone.
        for (message, kind) in messages.iter().zip(&kinds) {
            let manner = match kind {
                kind if rules.hold.contains(kind) => Manner::Held,
                kind if kind.ends_with("Reply") => Manner::Reply,
                _ => Manner::Plain,
            };
            self.decide(rules, &frame.of_message(message), manner)?;
        }
        Ok(())
    }

    /// Draws what becomes of a frame.
    fn decide(&mut self, rules: &Rules, frame: &Frame, manner: Manner) -> Result<(), Broken> {
        if !frame.is_data() {
            self.pass(rules, &frame.bytes, manner);
            return Ok(());
        }
        if self.hits(rules.reset_millionths) {
            self.shared.count(self.way, |counts| counts.broken += 1);
            return Err(Broken);
        }
        if self.hits(rules.drop_millionths) {
            self.shared.count(self.way, |counts| counts.dropped += 1);
            return Ok(());
        }
        let mut bytes = frame.bytes.clone();
        if self.hits(rules.corrupt_millionths) {
            bytes = frame.corrupted(self.random.below(u64::MAX)).bytes;
            self.shared.count(self.way, |counts| counts.corrupted += 1);
        }
        self.pass(rules, &bytes, manner);
        if self.hits(rules.double_millionths) {
            self.shared.count(self.way, |counts| counts.doubled += 1);
            self.pass(rules, &bytes, manner);
        }
        if self.kept.len() == KEPT_FRAMES {
            self.kept.pop_front();
        }
        self.kept.push_back(bytes);
        Ok(())
    }

    /// Puts bytes under way, unless they vanish or wait.
    fn pass(&mut self, rules: &Rules, bytes: &Bytes, manner: Manner) {
        if self.is_cut(rules) {
            self.shared.count(self.way, |counts| counts.dropped += 1);
            return;
        }
        self.queued_bytes += bytes.len();
        if rules.clogged || manner == Manner::Held {
            self.shared.count(self.way, |counts| counts.held += 1);
            self.held.push_back(bytes.clone());
            return;
        }
        let now = Instant::now();
        let mut at = now + rules.delay.draw(&mut self.random);
        if let Some(speed) = rules.bytes_per_second {
            let micros = (bytes.len() as u64 * 1_000_000).checked_div(speed).unwrap_or(0);
            self.free = self.free.max(now) + Duration::from_micros(micros);
            at = at.max(self.free);
        }
        let late = rules.late_replies.filter(|_| manner == Manner::Reply);
        let late = late.filter(|(share, _)| self.hits(*share));
        if let Some((_, delay)) = late {
            at += delay.draw(&mut self.random);
        } else if !rules.unordered || self.stage != Stage::Frames {
            at = at.max(self.latest);
            self.latest = at;
        }
        self.enqueue(at, bytes.clone());
    }

    fn enqueue(&mut self, at: Instant, bytes: Bytes) {
        self.next += 1;
        self.queue.insert((at, self.next), bytes);
    }

    /// Lets go what no rule holds any more, and sends old frames again if that is asked for.
    fn rules_changed(&mut self) {
        let rules = self.shared.rules(self.way);
        if !rules.clogged && rules.hold.is_empty() {
            let now = Instant::now();
            self.latest = self.latest.max(now);
            for bytes in std::mem::take(&mut self.held) {
                self.enqueue(self.latest, bytes);
            }
        }
        if self.kept.is_empty() {
            return;
        }
        let Some(frames) = self.shared.state().replays.remove(&self.way) else { return };
        let frames = usize::try_from(frames).unwrap_or(usize::MAX).min(self.kept.len());
        for bytes in self.kept.iter().take(frames).cloned().collect::<Vec<_>>() {
            self.queued_bytes += bytes.len();
            self.enqueue(Instant::now(), bytes);
        }
        self.shared.count(self.way, |counts| counts.replayed += frames as u64);
    }

    /// Writes everything whose time has come.
    async fn write_due(&mut self) -> io::Result<()> {
        while let Some(first) = self.queue.first_entry()
            && first.key().0 <= Instant::now()
        {
            let (_, number) = *first.key();
            let bytes = first.remove();
            self.queued_bytes -= bytes.len();
            let overtook = self.newest > number;
            self.newest = self.newest.max(number);
            self.shared.count(self.way, |counts| {
                counts.frames += 1;
                counts.bytes += bytes.len() as u64;
                counts.overtook += u64::from(overtook);
            });
            self.writer.write_all(&bytes).await?;
        }
        Ok(())
    }

    fn hits(&mut self, millionths: u64) -> bool {
        millionths > 0 && self.random.below(1_000_000) < millionths
    }
}

/// A rule breaks the connection.
#[derive(Debug)]
struct Broken;

fn end_of_head(buffer: &[u8]) -> Option<usize> {
    buffer.windows(4).position(|four| four == b"\r\n\r\n").map(|place| place + 4)
}

/// Whether the lines of HTTP ask for a websocket, or grant one.
fn starts_websocket(head: &[u8]) -> bool {
    String::from_utf8_lossy(head).to_ascii_lowercase().contains("upgrade: websocket")
}
