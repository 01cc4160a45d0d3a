//! When clients call.

use super::World;
use super::queue::Event;

impl World {
    /// The time of a client's next call has come.
    pub(super) fn call(&mut self, id: u64) {
        let workload = self.plan.workload.clone();
        let calls = self.history.len() as u64;
        let generation = calls / (workload.calls_per_key * workload.keys).max(1);
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.done || self.calm {
            return;
        }
        let pause = client.habits.pause(&workload);
        self.queue.push(self.now + 1 + pause, Event::Call { client: id });
        let open = client.open.len() as u64;
        let op = client.habits.next(&workload, generation);
        let twin = client.open.values().any(|(_, other)| op.is_write() && *other == op);
        if open < workload.outstanding && !twin {
            self.submit(id, op, workload.deadline_ms);
        }
    }
}
