//! Checkpoints and snapshots under a script's control. A checkpoint waits until it is stored; a
//! snapshot arrives whole, at once, when the script says so.

use std::time::Duration;

use quorate_core::raft::{Effects, Input};
use quorate_core::types::NodeId;

use super::args::Args;
use super::cluster::Cluster;
use super::machine::{Snapshot, Storing};
use super::notation::{members, name, names};

/// A command about checkpoints and snapshots.
///
/// # Errors
/// When it makes no sense where it stands.
pub(crate) fn command(
    cluster: &mut Cluster,
    verb: &str,
    args: &mut Args<'_>,
) -> Result<(), String> {
    let id = args.node()?;
    match verb {
        "checkpoint" => cluster.feed(id, [Input::Checkpoint]),
        "store" => cluster.store(id),
        "install" => cluster.install(id),
        "lose" => cluster.lose_checkpoint(id),
        "send" => cluster.send_snapshot(id, args.node()?),
        "arrive" => cluster.arrive(id, args.node()?),
        "sent" => cluster.sent(id, args.node()?),
        _ => {
            let to = args.node()?;
            cluster.send_snapshot(id, to)?;
            cluster.arrive(id, to)?;
            cluster.store(to)?;
            cluster.install(to)?;
            cluster.sent(id, to)
        }
    }
}

fn text(snapshot: &Snapshot) -> String {
    format!("{} members({})", snapshot.position, members(&snapshot.membership))
}

impl Cluster {
    /// What a node wants done about its log, its checkpoints and others' snapshots.
    pub(crate) fn keep_up(&mut self, id: NodeId, effects: &Effects) -> Result<(), String> {
        let own = name(id);
        if effects.capture {
            let snapshot = self.machine(id)?.state.clone();
            self.say(format!("{own} checkpoint {}", text(&snapshot)));
            self.machine(id)?.storing.push_back(Storing { snapshot, installs: false });
        }
        if let Some(to) = effects.trim {
            self.say(format!("{own} trim   to {to}"));
            self.machine(id)?.disk.trim(to);
        }
        if let Some(install) = effects.install {
            let verdict = if install.accept { "accept" } else { "drop" };
            self.say(format!("{own} {verdict:<6} snapshot {}", install.position));
            let received = self.machine(id)?.received.take();
            let snapshot = received.ok_or("a verdict on a snapshot that did not come")?;
            if install.accept {
                self.machine(id)?.storing.push_back(Storing { snapshot, installs: true });
            }
        }
        if let Some(needing) = &effects.snapshots {
            self.sending.retain(|(from, to), _| *from != id || needing.contains(to));
            match needing.as_slice() {
                [] => self.say(format!("{own} sends no snapshot")),
                _ => self.say(format!("{own} sends a snapshot to {}", names(needing))),
            }
        }
        Ok(())
    }

    /// A node begins to send its state.
    fn send_snapshot(&mut self, from: NodeId, to: NodeId) -> Result<(), String> {
        let snapshot = self.machine(from)?.state.clone();
        let index = snapshot.position.index;
        let cause = format!("{} => {}  snapshot {}", name(from), name(to), text(&snapshot));
        self.sending.insert((from, to), snapshot);
        self.below(cause, |cluster| {
            cluster.feed(from, [Input::SnapshotStarted { peer: to, index }])
        })
    }

    /// All of it has come in.
    fn arrive(&mut self, from: NodeId, to: NodeId) -> Result<(), String> {
        let snapshot = self.sending.get(&(from, to)).cloned().ok_or("none is on its way")?;
        if self.cut.contains(&(from, to)) {
            return Err("their link is cut".to_owned());
        }
        let cause = format!("{} <= {}  snapshot {}", name(to), name(from), text(&snapshot));
        let Snapshot { position, membership } = snapshot.clone();
        self.machine(to)?.received = Some(snapshot);
        self.below(cause, |cluster| {
            cluster.feed(to, [Input::SnapshotReceived { position, membership }])
        })
    }

    /// The oldest checkpoint that waits is durable. One that was begun before a snapshot was
    /// installed is older than that, and takes no place.
    fn store(&mut self, id: NodeId) -> Result<(), String> {
        self.node(id)?;
        let machine = self.machine(id)?;
        let Storing { snapshot, installs } =
            machine.storing.pop_front().ok_or("no checkpoint waits")?;
        let position = snapshot.position;
        let newest = machine.disk.checkpoint.as_ref().map(|newest| newest.position.index);
        if newest.is_none_or(|newest| newest < position.index) || installs {
            machine.disk.checkpoint = Some(snapshot.clone());
        }
        let cause = format!("{} stored {}", name(id), text(&snapshot));
        if installs {
            machine.replacing = Some(snapshot);
            self.say(cause);
            return Ok(());
        }
        self.below(cause, |cluster| {
            cluster.feed(id, [Input::Captured { position, rest: Duration::ZERO }])
        })
    }

    /// What was stored becomes the state.
    fn install(&mut self, id: NodeId) -> Result<(), String> {
        let machine = self.machine(id)?;
        let snapshot = machine.replacing.take().ok_or("no snapshot is stored")?;
        machine.applying.clear();
        machine.state = snapshot.clone();
        let position = snapshot.position;
        let cause = format!("{} state  {}", name(id), text(&snapshot));
        self.below(cause, |cluster| cluster.feed(id, [Input::Installed { position }]))
    }

    /// The sender is told that all of it is there.
    fn sent(&mut self, from: NodeId, to: NodeId) -> Result<(), String> {
        let snapshot = self.sending.remove(&(from, to)).ok_or("none was on its way")?;
        let index = snapshot.position.index;
        self.feed(from, [Input::SnapshotSent { peer: to, index }])
    }

    /// A checkpoint rots, or somebody removes it.
    fn lose_checkpoint(&mut self, id: NodeId) -> Result<(), String> {
        if self.is_up(id) {
            return Err(format!("{} is up", name(id)));
        }
        self.machine(id)?.disk.checkpoint = None;
        Ok(())
    }
}
