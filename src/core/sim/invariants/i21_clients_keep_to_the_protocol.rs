//! I21: a client's session keeps to the protocol.
//!
//! In one message the ids of writes rise, also of those sent again; a request acknowledges only ids whose calls have ended;
//! and an id names one write for ever.

use std::collections::BTreeMap;

use super::Invariant;
use crate::facts::Fact;
use crate::known::Known;

/// What a client has in a session.
#[derive(Debug, Default)]
struct Sent {
    /// Calls that were sent under an id and have not ended.
    open: BTreeMap<u64, u64>,
    /// The message of the newest request, and its id.
    newest: (u64, u64),
}

/// Clients keep to the protocol.
#[derive(Debug, Default)]
pub(super) struct ClientsKeepToTheProtocol {
    sessions: BTreeMap<(u64, u64), Sent>,
}

impl Invariant for ClientsKeepToTheProtocol {
    fn id(&self) -> &'static str {
        "I21"
    }

    fn claim(&self) -> &'static str {
        "a client acknowledges only what has ended, and its ids rise in each message"
    }

    fn check(&mut self, _: &Known, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Posted { client, call, session, id, acked, message } => {
                let sent = self.sessions.entry((*client, *session)).or_default();
                let (last_message, last_id) = sent.newest;
                if last_message == *message && *id <= last_id {
                    return Err(format!(
                        "client {client} sends {session}:{id} after {session}:{last_id} in one message"
                    ));
                }
                sent.newest = (*message, *id);
                sent.open.insert(*id, *call);
                if let Some((open, _)) = sent.open.first_key_value()
                    && open <= acked
                {
                    return Err(format!(
                        "client {client} acknowledges {session}:{acked}, and waits for {session}:{open}"
                    ));
                }
            }
            Fact::Completed { client, call, .. } => {
                let of = (*client, 0)..=(*client, u64::MAX);
                for sent in self.sessions.range_mut(of).map(|(_, sent)| sent) {
                    sent.open.retain(|_, open| open != call);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
