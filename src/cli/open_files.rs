//! How many files and sockets the system lets this process have, and how many of them clients may
//! take: a log that cannot open its next file ends the node, so a crowd must not use them up.

use quorate_actors::settings::Queues;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Kept for files, for the sockets of other nodes, and for HTTP requests.
const KEPT: usize = 160;
/// Of these for what is not accepted: an idle node has 35, the log and sled open a few more, and each
/// other node is dialled twice.
const FILES: usize = 96;
/// More sockets than this are not accepted, whatever the system allows.
const MOST: usize = 1 << 20;
/// So many clients are taken in any case.
const LEAST: usize = 16;

/// Asks for as many open files as the system allows, and fits the bounds of `queues` into them.
pub(super) fn fit(queues: &mut Queues) {
    let allowed = raise();
    let most = allowed.saturating_sub(KEPT).max(LEAST);
    queues.sockets = allowed.saturating_sub(FILES).clamp(2 * LEAST, MOST);
    if queues.connections > most {
        log::warn!(
            "node: the system allows {allowed} open files, so {most} connections are taken and not {} \
             (limits.connections). To take all, raise its limit (ulimit -n) to {}",
            queues.connections,
            queues.connections + KEPT
        );
        queues.connections = most;
    }
}

/// Raises the soft limit to the hard one; what is allowed then.
fn raise() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        limit = raised;
    }
    limit.current.and_then(|allowed| usize::try_from(allowed).ok()).unwrap_or(usize::MAX)
}
